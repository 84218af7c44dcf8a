"""One run of a thread: its meter, its stack, and the loop that follows the thread.

A step is a closure that executes one instruction on the registers it is given and returns the next step. The registers
are one list per run: r0..r10, then the run itself and the views of its stack, so that a step needs no other argument
and any number of runs can be inside one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import repeat
from typing import Any

from nimble.access import STACK_BYTES, Memory
from nimble.engine.outcome import Outcome, Spend, Status
from nimble.engine.reach import STACK_TOP
from nimble.faults import Fault
from nimble.isa import ARGUMENTS

MASK64 = (1 << 64) - 1
RUN = 11
STACK_VIEW = {1: 12, 2: 13, 4: 14, 8: 15}  # by width in bytes

RegisterFile = list[Any]
Step = Callable[[RegisterFile], Any]  # returns the next Step

_CLEAN = bytes(STACK_BYTES)


class Returned(Exception):  # noqa: N818 - no error
    """Raised by the outermost ``exit``."""


class Stack:
    """The stack memory of one run at a time: eight frames of 512 bytes."""

    def __init__(self) -> None:
        self.bytes = bytearray(STACK_BYTES)
        self.memory = Memory(self.bytes)
        self.views = [self.memory.view(0, STACK_BYTES, width) for width in STACK_VIEW]


class Run:
    """What a running call holds besides its registers."""

    __slots__ = ("budget", "frames", "meter", "settled", "spend", "stack")

    def __init__(self, stack: Stack, budget: int, spend: Spend) -> None:
        self.stack = stack
        self.budget = budget
        self.spend = spend
        self.meter = repeat(None, budget)
        self.settled = 0
        self.frames: list[tuple[Step, list[int]]] = []  # where to return to, and r1..r10 there

    def left(self) -> int:
        """Instructions that the budget still allows."""
        return self.meter.__length_hint__()

    def use_up(self, instructions: int) -> None:
        """Take instructions off the budget that another run executed for this one."""
        left = max(self.left() - instructions, 0)
        self.budget -= self.left() - left
        self.meter = repeat(None, left)

    def executed(self) -> int:
        """Instructions begun so far, the present one included: what the meter has given out."""
        return self.budget - self.meter.__length_hint__()


def settle(run: Run) -> None:
    """Report the instructions executed since the last report. May switch to another greenlet."""
    executed = run.executed()
    unreported = executed - run.settled
    run.settled = executed
    if unreported:
        run.spend(unreported)


class Thread:
    """A translated program: run it as often as wanted, from as many greenlets as wanted."""

    def __init__(self, steps: Mapping[int, Step], entries: Mapping[str, int], explain: Callable[[int, str], str]):
        """``steps`` by pc; ``explain`` words the reason of a stop at a pc."""
        self._entries: dict[str | int, Step] = {name: steps[pc] for name, pc in entries.items()}
        self._entries.update((pc, step) for pc, step in steps.items())
        self._places = {step: pc for pc, step in steps.items()}
        self._names = ", ".join(entries)
        self._explain = explain
        self._idle: list[Stack] = []

    def run(self, entry: str | int, args: Sequence[int], *, budget: int, spend: Spend) -> Outcome:
        """Execute from ``entry`` (a name or a pc) with ``args`` in r1..r5, for at most ``budget`` instructions.

        ``spend(n)`` is called before every access to device registers or shared memory and before every service call,
        with the instructions executed since the last call, the accessing one included; and once more at the end, if
        any are left. Raises ValueError for an unknown entry, more than five arguments or a negative budget.
        """
        step = self._entries.get(entry)
        if step is None:
            raise ValueError(f"entry: {entry} is unknown; known are {self._names}; name one of them")
        if len(args) > ARGUMENTS or budget < 0:
            raise ValueError(f"run: {len(args)} arguments, budget {budget}; at most {ARGUMENTS}, 0 or more are allowed")
        stack = self._idle.pop() if self._idle else Stack()
        run = Run(stack, budget, spend)
        registers: RegisterFile = [0] * 10
        registers[1 : 1 + len(args)] = [value & MASK64 for value in args]
        registers += (STACK_TOP, run, *stack.views)
        status, reason = Status.BUDGET, ""
        try:
            for _ in run.meter:
                step = step(registers)
        except Returned:
            status = Status.RETURNED
        except Fault as fault:
            status, reason = Status.FAULT, str(fault)
        settle(run)
        stack.bytes[:] = _CLEAN  # no run sees what another left
        self._idle.append(stack)
        if status is Status.RETURNED:
            return Outcome(status, registers[0], run.executed(), -1, "")
        pc = self._places[step]
        if status is Status.BUDGET:
            reason = f"the budget of {budget} instructions is exhausted; raise it or do less per call"
        return Outcome(status, registers[0], run.executed(), pc, self._explain(pc, reason), tuple(registers[:11]))
