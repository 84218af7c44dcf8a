"""Which sequences of operations a recorded run executes most, and what it would gain to make them superoperators.

The run is translated with a counter where its straight runs begin; everything else follows from those counts, for what
comes behind a beginning is executed as often. A thread that nobody profiles has no counters.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from nimble.access import AddressSpace
from nimble.assembler import assemble
from nimble.engine.closures import Landings, translate
from nimble.engine.outcome import Outcome, Status, no_time
from nimble.engine.runs import ONE_EACH, Placed, place
from nimble.engine.superoperators import FUSIBLE, SUPEROPERATORS, Superoperator, cover, label
from nimble.program import Program
from nimble.services import Services
from nimble.verifier import verify

_MEASURED = 60  # sequences whose saving is worked out

# A loop that measures a dispatch: copies of a sequence, then the end of a turn.
_COPIED = ("mov %r0, %r1", "add %r0, %r1")
_COPIES, _TURNS, _REPEATS = 20, 500, 5


@dataclass(frozen=True, kw_only=True)
class Frequency:
    """A sequence inside runs: how often it was executed, and the dispatches that it saves as a superoperator.

    A known one saves what would be lost without it; another one what would be won with it.
    """

    operations: Superoperator
    times: int
    known: bool
    saves: int

    @property
    def text(self) -> str:
        return "; ".join(map(label, self.operations))


class DispatchTime(NamedTuple):
    """What a dispatch of ``closures`` takes, in nanoseconds, beside what a whole instruction takes on its own."""

    dispatch_ns: float
    instruction_ns: float

    @property
    def share(self) -> float:
        """The part of an instruction's time that is dispatch."""
        return self.dispatch_ns / self.instruction_ns


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A recorded run. ``dispatches``: steps that ``closures`` takes for its instructions, superoperators in use.

    ``sequences``: of fusible operations, those that save most first.
    """

    outcome: Outcome
    dispatches: int
    sequences: tuple[Frequency, ...]

    def percent(self, found: Frequency) -> float:
        """What a sequence saves, of the dispatches that there are without it."""
        return 100 * found.saves / max(self.dispatches + (found.saves if found.known else 0), 1)

    def time_percent(self, found: Frequency, dispatch: DispatchTime) -> float:
        """The same of the run's time in ``closures``, estimated: instructions without dispatch, and dispatches."""
        without = self.dispatches + (found.saves if found.known else 0)
        time_in_instructions = self.outcome.instructions * (1 - dispatch.share) + without * dispatch.share
        return 100 * found.saves * dispatch.share / max(time_in_instructions, 1)


def profile(
    program: Program,
    entry: str,
    args: Sequence[int],
    *,
    space: AddressSpace,
    services: Services,
    checked: bool,
    budget: int,
    longest: int = 3,
) -> Profile:
    """Run ``entry`` once and count sequences of 2 to ``longest`` operations. Raises InsertionRefused, ValueError."""
    facts = verify(program, services, space)
    landings = Landings()
    thread = translate(
        program, space=space, services=services, checked=checked, facts=facts, superoperators=(), landings=landings
    )
    outcome = thread.run(entry, args, budget=budget, spend=no_time)
    record = _Record(place(program, facts, ONE_EACH, checked=checked), landings, outcome)
    return Profile(
        outcome=outcome,
        dispatches=record.dispatches(SUPEROPERATORS),
        sequences=tuple(sorted(record.frequencies(longest), key=lambda found: (-found.saves, found.text))),
    )


class _Record:
    """What was executed: straight pieces of code, by the pcs in them, and how often."""

    def __init__(self, places: Mapping[int, Placed], landings: Landings, outcome: Outcome) -> None:
        self._places = places
        self._pieces: Counter[tuple[int, ...]] = Counter()
        for pc, times in landings.times.items():
            self._pieces[self._line(pc)] += times
        surplus = sum(len(piece) * times for piece, times in self._pieces.items()) - outcome.instructions
        if surplus > 0:  # a fault cut the last run short
            line = self._line(landings.last)
            self._pieces[line] -= 1
            self._pieces[line[:-surplus]] += 1
        elif surplus < 0:  # too little was left for the last run, which was executed one by one and not counted
            pcs = sorted(places)
            end = pcs.index(outcome.pc) + (outcome.status is Status.FAULT)
            self._pieces[tuple(pcs[end + surplus : end])] += 1

    def _line(self, pc: int) -> tuple[int, ...]:
        """The pcs of a whole run from ``pc``."""
        pcs = [pc]
        while self._places[pc].length > 1:
            pc += self._places[pc].row.slots
            pcs.append(pc)
        return tuple(pcs)

    def dispatches(self, superoperators: Sequence[Superoperator]) -> int:
        """Steps that the recorded run takes with these superoperators."""
        lengths = cover(self._places, superoperators)
        total = 0
        for piece, times in self._pieces.items():
            at = 0
            while at < len(piece):
                at += lengths[piece[at]]
                total += times
        return total

    def frequencies(self, longest: int) -> list[Frequency]:
        """The sequences that could save most, and what they do save."""
        times: Counter[Superoperator] = Counter()
        for piece, executed in self._pieces.items():
            rows = [self._places[pc].row for pc in piece]
            for length in range(2, longest + 1):
                for at in range(len(rows) - length + 1):
                    times[tuple(rows[at : at + length])] += executed
        fusible = [found for found in times if all(row.group in FUSIBLE for row in found)]
        fusible.sort(key=lambda found: -times[found] * (len(found) - 1))
        now = self.dispatches(SUPEROPERATORS)
        return [self._frequency(found, times[found], now) for found in fusible[:_MEASURED]]

    def _frequency(self, found: Superoperator, times: int, now: int) -> Frequency:
        known = found in SUPEROPERATORS
        if known:
            saves = self.dispatches([other for other in SUPEROPERATORS if other != found]) - now
        else:
            saves = now - self.dispatches((*SUPEROPERATORS, found))
        return Frequency(operations=found, times=times, known=known, saves=saves)


def measure_dispatch() -> DispatchTime:
    """Time one loop with fused steps and without: the two differ in nothing but dispatches."""
    program = assemble("\n".join(("turn:", *_COPIED * _COPIES, "sub %r1, 1", "jne %r1, 0, turn", "exit")))
    copied = tuple(row for _, _, row in program.starts[: len(_COPIED)])
    alone, fused = _time(program, ()), _time(program, (copied,))
    instructions = _TURNS * len(_COPIED) * _COPIES
    saved = _TURNS * (len(_COPIED) - 1) * _COPIES
    return DispatchTime(max(alone - fused, 0) / saved, alone / instructions)


def _time(program: Program, superoperators: Sequence[Superoperator]) -> int:
    """Nanoseconds of the fastest of several runs."""
    services, space = Services(), AddressSpace([])
    thread = translate(program, space=space, services=services, checked=True, superoperators=superoperators)
    times = []
    for _ in range(_REPEATS):
        begin = time.process_time_ns()
        thread.run("main", (_TURNS,), budget=1 << 40, spend=no_time)
        times.append(time.process_time_ns() - begin)
    return min(times)
