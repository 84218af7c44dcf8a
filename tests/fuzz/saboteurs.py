"""Engines that are wrong on purpose, each in one way: the fuzzer must find them all.

They are made of ``closures``, and can be named to the driver as ``tests.fuzz.saboteurs:NAME``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from threading import Event
from typing import Any

from nimble.access import AddressSpace, Right
from nimble.engine.closures import translate
from nimble.engine.outcome import Outcome
from nimble.engine.runs import ONE_EACH
from nimble.isa import Instruction
from nimble.program import Program
from tests.fuzz.lockstep import Translate

ARSH, RSH, JSLT, JLT = 0xC7, 0x77, 0xC5, 0xA5
ATOMIC, FETCH = 0xDB, 1


class _Wrapped:
    """A thread whose runs begin or end otherwise."""

    def __init__(self, thread: Any, run: Callable[..., Outcome]) -> None:
        self.thread, self.change = thread, run

    def run(self, entry: str, args: tuple[int, ...], *, budget: int, spend: Callable[[int], None]) -> Outcome:
        return self.change(self.thread, entry, args, budget, spend)


def _altered(change: Callable[[Instruction], Instruction]) -> Translate:
    def altered(program: Program, **rest: Any) -> Any:
        wrong = replace(program, instructions=tuple(change(instruction) for instruction in program.instructions))
        return translate(wrong, **rest)

    return altered


def _running(run: Callable[..., Outcome]) -> Translate:
    return lambda program, **rest: _Wrapped(translate(program, **rest), run)


def _opcode(wrong: Mapping[int, int]) -> Translate:
    return _altered(lambda slot: replace(slot, opcode=wrong.get(slot.opcode, slot.opcode)) if slot.opcode else slot)


def _unchecked(program: Program, *, checked: bool, **rest: Any) -> Any:
    return translate(program, checked=False, **rest)


def _generous(program: Program, *, space: AddressSpace, **rest: Any) -> Any:
    """Every window takes every access."""
    windows = [replace(window, rights=Right.READ | Right.WRITE) for window in space.windows]
    return translate(program, space=AddressSpace(windows), **rest)


def _cheap(program: Program, *, costs: Any, **rest: Any) -> Any:
    return translate(program, costs=ONE_EACH, **rest)


def _one_more(thread: Any, entry: str, args: tuple[int, ...], budget: int, spend: Callable[[int], None]) -> Outcome:
    return thread.run(entry, args, budget=budget + 1, spend=spend)


def _late(thread: Any, entry: str, args: tuple[int, ...], budget: int, spend: Callable[[int], None]) -> Outcome:
    """All payments at the end."""
    costs: list[int] = []
    outcome: Outcome = thread.run(entry, args, budget=budget, spend=costs.append)
    spend(sum(costs))
    return outcome


def _forgets(thread: Any, entry: str, args: tuple[int, ...], budget: int, spend: Callable[[int], None]) -> Outcome:
    outcome: Outcome = thread.run(entry, args, budget=budget, spend=spend)
    return outcome._replace(registers=outcome.registers and (*outcome.registers[:9], 0, outcome.registers[10]))


def _vague(thread: Any, entry: str, args: tuple[int, ...], budget: int, spend: Callable[[int], None]) -> Outcome:
    outcome: Outcome = thread.run(entry, args, budget=budget, spend=spend)
    return outcome._replace(reason=outcome.reason and "something went wrong")


def _worded(thread: Any, entry: str, args: tuple[int, ...], budget: int, spend: Callable[[int], None]) -> Outcome:
    outcome: Outcome = thread.run(entry, args, budget=budget, spend=spend)
    return outcome._replace(reason=outcome.reason and f"{outcome.reason}!")


def _has_bswap64(program: Program) -> bool:
    return any(slot.opcode == 0xD7 and slot.imm == 64 for slot in program.instructions)


def dies(program: Program, **rest: Any) -> Any:
    """Ends the process at a program with ``bswap64``."""
    if _has_bswap64(program):
        os.abort()
    return translate(program, **rest)


def hangs(program: Program, **rest: Any) -> Any:
    """Never ends at a program with ``bswap64``."""
    if _has_bswap64(program):
        Event().wait()
    return translate(program, **rest)


arsh_fills_with_zeros = _opcode({ARSH: RSH})
jslt_compares_unsigned = _opcode({JSLT: JLT})
fetch_add_only_adds = _altered(
    lambda slot: replace(slot, imm=slot.imm & ~FETCH) if (slot.opcode, slot.imm) == (ATOMIC, FETCH) else slot
)
checks_nothing = _unchecked
ignores_rights = _generous
ignores_costs = _cheap
allows_one_more = _running(_one_more)
pays_late = _running(_late)
forgets_r9 = _running(_forgets)
gives_no_reason = _running(_vague)
words_it_otherwise = _running(_worded)
SABOTEURS = (
    "arsh_fills_with_zeros", "jslt_compares_unsigned", "fetch_add_only_adds", "checks_nothing", "ignores_rights",
    "ignores_costs", "allows_one_more", "pays_late", "forgets_r9", "gives_no_reason",
)  # fmt: skip
