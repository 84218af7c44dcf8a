"""Makes a case smaller for as long as it still shows what it showed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from nimble.access import TEXT_BASE
from tests.fuzz.case import NEVER, Case
from tests.fuzz.reference import LOW, Slot, slots_of
from tests.fuzz.writer import packed

Shows = Callable[[Case], bool]


def shrink(case: Case, shows: Shows, *, tries: int = 3000) -> Case:
    """The smallest case found of which ``shows`` is true, asking it no more than ``tries`` times."""
    left = tries
    again = True
    while again:
        again = False
        for smaller in _smaller(case):
            if not left:
                return case
            left -= 1
            if shows(smaller):
                case, again = smaller, True
                break
    return case


def _smaller(case: Case) -> Iterator[Case]:
    """Each way to take one thing away, the greatest first."""
    if case.interleave:
        yield replace(case, interleave=False)
    if case.trouble != NEVER:
        yield replace(case, trouble=NEVER)
    if len(case.calls) > 1:
        for index in range(len(case.calls)):
            yield replace(case, calls=case.calls[:index] + case.calls[index + 1 :])
    for name in case.entries:
        if name != "main" and all(call.entry != name for call in case.calls):
            yield replace(case, entries={key: pc for key, pc in case.entries.items() if key != name})
    yield from _less_code(case)
    for index in range(len(case.areas)):
        yield replace(case, areas=case.areas[:index] + case.areas[index + 1 :])
    if case.state:
        yield replace(case, state=0)
    if case.state_shared:
        yield replace(case, state_shared=False)
    yield from _simpler_calls(case)
    yield from _simpler_slots(case)


def _simpler_calls(case: Case) -> Iterator[Case]:
    for index, call in enumerate(case.calls):
        calls = list(case.calls)
        for budget in {call.budget // 2, call.budget - 1} - {-1, call.budget}:
            calls[index] = call._replace(budget=budget)
            yield replace(case, calls=tuple(calls))
        for at, value in enumerate(call.args):
            if value:
                calls[index] = call._replace(args=(*call.args[:at], 0, *call.args[at + 1 :]))
                yield replace(case, calls=tuple(calls))


def _less_code(case: Case) -> Iterator[Case]:
    slots = slots_of(case.code)
    for length in (16, 8, 4, 2, 1):
        for at in range(len(slots) - 1, -1, -1):
            if at + length < len(slots) or (at and at + length == len(slots)):
                yield _without(case, slots, at, length)


def _without(case: Case, slots: list[Slot], at: int, length: int) -> Case:
    """The case without the slots ``at`` and the next; what led into them leads behind them."""

    def moved(pc: int) -> int:
        return pc if pc <= at else max(at, pc - length)

    code = []
    for pc, (op, dst, src, off, imm) in enumerate(slots):
        if at <= pc < at + length:
            continue
        here = moved(pc) + 1
        if op == 0x06 or (op == 0x85 and src == 1):
            imm = moved(pc + 1 + imm) - here
        elif op == 0x05 or (op & 7 in (5, 6) and op not in _NO_BRANCH):
            off = moved(pc + 1 + off) - here
        elif op == 0x18 and pc + 1 < len(slots) and slots[pc + 1][4] == TEXT_BASE >> 32 and imm >= 0:
            imm = 8 * moved(imm // 8)
        code.append((op, dst, src, off, imm))
    entries = {name: moved(pc) for name, pc in case.entries.items()}
    return replace(case, code=packed(code), entries=entries)


def _simpler_slots(case: Case) -> Iterator[Case]:
    slots = slots_of(case.code)
    for pc, slot in enumerate(slots):
        for simpler in _simpler(*slot):
            yield replace(case, code=packed([*slots[:pc], simpler, *slots[pc + 1 :]]))


def _simpler(op: int, dst: int, src: int, off: int, imm: int) -> Iterator[Slot]:
    """The instruction with a smaller constant, without its offset, or a ``mov`` in its place."""
    kind = op & 7
    computes = kind in (4, 7) and op >> 4 != 0xD
    branches = kind in (5, 6) and op not in _NO_BRANCH
    if (computes or branches or kind == 2 or op == 0x18) and imm & LOW > 1:
        yield op, dst, src, off, 0
        yield op, dst, src, off, 1
    if kind in (1, 2, 3) and off:
        yield op, dst, src, 0, imm
    if op != _MOV_IMM and kind in (1, 4, 7):
        yield _MOV_IMM, dst, 0, 0, 1


_MOV_IMM = 0xB7
_NO_BRANCH = (0x05, 0x06, 0x85, 0x8D, 0x95)
