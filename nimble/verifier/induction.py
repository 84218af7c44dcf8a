"""Loops that count: what a register may hold at the head of a loop, if every turn adds the same number to it.

Intervals alone lose a pointer that moves beside a counter, because nothing compares the pointer. But if each turn adds
d to a register and e to a counter, and the counter stays in a known range, then there are so many turns at most, and
the pointer is no further than as many times d from where it was when the loop was entered.

The loop is that of a head and the blocks that lead back to it without passing it; a loop with another way in is left
alone. What a turn does to a register is followed by names: at the head each register holds its own name, copies and
sums with constants keep it, everything else loses it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import gcd

from nimble.isa import FRAME_POINTER
from nimble.verifier import arithmetic
from nimble.verifier.graph import Block, Graph
from nimble.verifier.rows import ATOMIC, BY_IMMEDIATE, CALL, CALLX, COPY, SERVICE, STORE
from nimble.verifier.steps import NO_REGISTER, Step
from nimble.verifier.values import HALF, RING, Value, arc, join, shifted

# The register whose value at the head it is, and what was added since; None: something else.
_Name = tuple[int, int] | None
_MOST_BLOCKS = 256  # of a loop that is looked at

Registers = list[Value]
StepsOf = Callable[[int], list[Step]]


def limits(
    graph: Graph, head: int, entered: Registers, latches: Mapping[int, Registers], steps_of: StepsOf
) -> dict[int, Value]:
    """By register, a value that holds all that it can be at the head of a loop.

    ``entered`` are the registers when the loop is entered, ``latches``, by the blocks that lead back, those then.
    """
    body = _body(graph, head, latches)
    if body is None:
        return {}
    names = _names(graph, head, body, latches, steps_of)
    steps = {register: _step(register, names.values()) for register in range(FRAME_POINTER)}
    moving = {register: step for register, step in steps.items() if step}
    turns = [_turns(register, step, entered, latches, names) for register, step in moving.items()]
    most = min((count for count in turns if count is not None), default=None)
    if most is None:
        return {}
    return {register: _moved(entered[register], step, most) for register, step in moving.items()}


def _body(graph: Graph, head: int, latches: Iterable[int]) -> set[int] | None:
    """The blocks of the loop; None if it has another way in, or is too large."""
    roots = graph.callees | graph.taken_addresses | set(graph.entries)
    body, work = {head}, list(latches)
    while work:
        number = work.pop()
        if number in body:
            continue
        if number in roots or len(body) == _MOST_BLOCKS:
            return None
        body.add(number)
        work += graph.before.get(number, ())
    return body


def _names(
    graph: Graph, head: int, body: set[int], latches: Iterable[int], steps_of: StepsOf
) -> dict[int, list[_Name]]:
    """What registers hold, by latch, where it leads back."""
    found: dict[int, list[_Name]] = {head: [(register, 0) for register in range(FRAME_POINTER + 1)]}
    ends: dict[int, list[_Name]] = {}
    work = [head]
    while work:
        number = work.pop()
        names = found[number].copy()
        _follow(names, steps_of(number), graph.blocks[number])
        ends[number] = names
        for successor in graph.blocks[number].successors():
            if successor == head or successor not in body:
                continue
            before = found.get(successor)
            both = names if before is None else [a if a == b else None for a, b in zip(before, names, strict=True)]
            if both != before:
                found[successor] = both.copy()
                work.append(successor)
    return {latch: ends[latch] for latch in latches}


def _follow(names: list[_Name], steps: list[Step], block: Block) -> None:
    for kind, dst, src, what, given, _ in steps:
        if kind == COPY:
            names[dst] = names[src]
        elif kind == BY_IMMEDIATE and what in (arithmetic.add, arithmetic.sub):
            name = names[dst]
            if name is not None:
                number = given[0] if given[0] < HALF else given[0] - RING
                names[dst] = name[0], name[1] + (number if what is arithmetic.add else -number)
        elif kind == SERVICE:
            names[:6] = [None] * 6
        elif kind == ATOMIC:
            if given[1] != NO_REGISTER:
                names[given[1]] = None
        elif kind != STORE:
            names[dst] = None
    if block.kind in (CALL, CALLX):
        names[:6] = [None] * 6


def _step(register: int, ends: Iterable[list[_Name]]) -> int:
    """What every turn adds to a register; 0 if that is not one number."""
    steps = set()
    for names in ends:
        name = names[register]
        steps.add(name[1] if name is not None and name[0] == register else 0)
    return steps.pop() if len(steps) == 1 else 0


def _turns(
    register: int,
    step: int,
    entered: Registers,
    latches: Mapping[int, Registers],
    names: Mapping[int, list[_Name]],
) -> int | None:
    """How many turns end at the head at most, as far as this register tells."""
    entry = held = entered[register]
    for latch, registers in latches.items():
        # A copy from before the step, or after it, may be what was compared.
        known = [
            shifted(registers[other], step - name[1])
            for other, name in enumerate(names[latch][:FRAME_POINTER])
            if name is not None and name[0] == register
        ]
        held = join(held, min(known, key=_size))
    gap = RING - _size(held)
    if held[3] != entry[3] or gap <= abs(step):
        return None  # it could go round
    if step > 0:
        return (_size(held) - (entry[0] - held[0]) % RING) // step
    return ((entry[1] - held[0]) % RING) // -step


def _size(value: Value) -> int:
    return value[1] - value[0]


def _moved(entry: Value, step: int, turns: int) -> Value:
    low, high = entry[0], entry[1]
    if step > 0:
        high += step * turns
    else:
        low += step * turns
    return arc(low, high, gcd(entry[2], step) if low < high else 0, entry[3])
