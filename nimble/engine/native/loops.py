"""Loops of one basic block, in which nothing can happen for a number of turns that is known when they begin.

Nothing happens: no fault, no end of the budget. For that the addresses of accesses must move by a constant in each
turn, so that the first turn that leaves the window can be computed. The ``native`` engine runs so many turns without
checks and meter, and charges them all at once.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import NamedTuple

from nimble.engine.lowering import by_register
from nimble.engine.runs import Placed
from nimble.isa import Group

_MEMORY = (Group.LOAD, Group.STORE)
_BODY = (Group.ARITHMETIC, Group.SWAP, Group.WIDE, *_MEMORY)


class Moving(NamedTuple):
    """An access of a loop that nothing proves: its address register, what the loop has added to it before the access,
    and what each turn adds to it; bytes."""

    placed: Placed
    register: int
    before: int
    step: int


class Loop(NamedTuple):
    """``body`` ends with the branch that leads back to its beginning."""

    body: tuple[Placed, ...]
    accesses: tuple[Moving, ...]


def loop_at(placed: Mapping[int, Placed], pc: int, labelled: Container[int]) -> Loop | None:
    """The loop that begins at ``pc``, if there is one of this kind. ``labelled``: pcs that jumps lead to."""
    body = [placed[pc]]
    while body[-1].row.group in _BODY:
        following = body[-1].pc + body[-1].row.slots
        if following in labelled:
            return None
        body.append(placed[following])
    if body[-1].row.group is not Group.BRANCH or body[-1].target != pc:
        return None
    return _moving(tuple(body))


def _moving(body: tuple[Placed, ...]) -> Loop | None:
    """The loop, if it has accesses that nothing proves and their registers change by constants only."""
    added: dict[int, int] = {}
    otherwise: set[int] = set()
    found: list[tuple[Placed, int, int]] = []
    for one in body[:-1]:
        row, instruction = one.row, one.instruction
        if one.proved is not None and one.proved.backing.visible:
            return None  # what others see is paid for in each turn
        if row.group in _MEMORY and one.proved is None:
            register = instruction.src if row.group is Group.LOAD else instruction.dst
            found.append((one, register, added.get(register, 0)))
        if row.group is Group.STORE:
            continue
        if row.name == "add" and row.bits == 64 and not by_register(row):
            added[instruction.dst] = added.get(instruction.dst, 0) + instruction.imm
        else:
            otherwise.add(instruction.dst)
    if not found or any(register in otherwise for _, register, _ in found):
        return None  # without accesses there is little to gain: the meter alone costs one subtraction
    accesses = (Moving(one, register, before, added.get(register, 0)) for one, register, before in found)
    return Loop(body, tuple(accesses))
