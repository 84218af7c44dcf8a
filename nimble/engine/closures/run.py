"""One run of a thread: its meter, its stack, and the loop that follows the thread.

A step is a closure that executes one instruction (or a sequence of them) on the registers it is given and returns the
next step; the outermost ``exit`` returns None. The registers are one list per run: r0..r10, then what a running call
holds besides, so that a step needs no other argument and any number of runs can be inside one thread.

The meter is one integer: instructions left, times ``INSTRUCTION``, and below them what is left of ``COST_LIMIT`` after
the costs that were not reported yet. So one subtraction pays for a run in both currencies, and where it gives less than
0, instructions are short. A run is paid when it is landed on: an access in its middle that reports time, and a fault,
know the price of what lies *behind* them, which is paid but not executed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nimble.access import STACK_BYTES, Memory
from nimble.disassembler import complaint
from nimble.engine.outcome import Outcome, Spend, Status, exhausted, refuse_run
from nimble.engine.reach import STACK_TOP
from nimble.engine.runs import Placed
from nimble.faults import Fault
from nimble.isa import ARGUMENTS, MASK64, REGISTERS
from nimble.program import Program

METER, SPEND, FRAMES, MEMORY, LENT, LANDED = range(REGISTERS, REGISTERS + 6)
STACK_VIEW = {width: LANDED + 1 + index for index, width in enumerate((1, 2, 4, 8))}  # by width in bytes

INSTRUCTION = 1 << 64
COST_LIMIT = INSTRUCTION - 1  # hundredths of a cycle between two reports: centuries

RegisterFile = list[Any]
Step = Callable[[RegisterFile], Any]  # returns the next Step or None

_CLEAN = bytes(STACK_BYTES)


class Stack:
    """The stack memory of one run at a time: eight frames of 512 bytes."""

    def __init__(self) -> None:
        self.bytes = bytearray(STACK_BYTES)
        self.memory = Memory(self.bytes)
        self.views = tuple(self.memory.view(0, STACK_BYTES, width) for width in STACK_VIEW)


def price_of(place: Placed) -> int:
    """What landing on an instruction costs the meter: the rest of its run."""
    return place.length * INSTRUCTION + place.cost


def prices_behind(places: Mapping[int, Placed]) -> dict[int, int]:
    """By pc, the price of what follows the instruction in its run."""
    return {
        pc: price_of(places[pc + place.row.slots]) if place.length > 1 else 0  # the last of a run moves control
        for pc, place in places.items()
    }


def settle(r: RegisterFile, behind: int) -> None:
    """Report the cost executed since the last report. May switch to another greenlet."""
    cost = COST_LIMIT - (r[METER] & COST_LIMIT) - (behind & COST_LIMIT)
    if cost:
        r[METER] += cost
        r[SPEND](cost)


def short(r: RegisterFile, step: Step) -> Step | None:
    """Leave the thread before ``step``: less is left than its run takes."""
    r[LANDED] = step
    return None


class Thread:
    """A translated program: run it as often as wanted, from as many greenlets as wanted."""

    def __init__(
        self,
        program: Program,
        places: Mapping[int, Placed],
        steps: Mapping[int, Step],
        heads: Mapping[int, Step],
    ) -> None:
        """``steps`` by pc, of one instruction; ``heads``: the steps that runs and jumps go to, which may do several."""
        self._program = program
        self._places = places
        self._steps = steps
        self._behind = prices_behind(places)
        self._pcs = {step: pc for table in (steps, heads) for pc, step in table.items()}
        self._entries = {name: (heads[pc], price_of(places[pc])) for name, pc in program.entries.items()}
        self._idle: list[Stack] = []

    def run(self, entry: str, args: Sequence[int], *, budget: int, spend: Spend) -> Outcome:
        """Execute from ``entry`` with ``args`` in r1..r5, for at most ``budget`` instructions.

        ``spend(cost)`` is called before every access to device registers or shared memory and before every service
        call, with the cost of the instructions executed since the last call, the accessing one included; and once more
        at the end, if any is left. Raises ValueError for an unknown entry, more than five arguments or a negative
        budget.
        """
        begin = self._entries.get(entry)
        if begin is None or len(args) > ARGUMENTS or budget < 0:
            refuse_run(entry, self._entries, args, budget)
        stack = self._idle.pop() if self._idle else Stack()
        step, price = begin
        meter = budget * INSTRUCTION + COST_LIMIT - price
        r: RegisterFile = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, STACK_TOP, meter, spend, None, stack.memory, 0, None]
        r += stack.views
        for index, value in enumerate(args, 1):
            r[index] = value & MASK64
        outcome = self._follow(step if meter >= 0 else short(r, step), r, budget)
        stack.bytes[:] = _CLEAN  # no run sees what another left
        self._idle.append(stack)
        return outcome

    def _follow(self, step: Step | None, r: RegisterFile, budget: int) -> Outcome:
        try:
            while step is not None:
                step = step(r)
        except Fault as fault:
            assert step is not None
            pc = self._pcs[step]
            return self._stopped(Status.FAULT, r, budget, pc, self._behind[pc], fault)
        if r[LANDED] is not None:
            return self._run_short(r, budget)
        settle(r, 0)
        return Outcome(Status.RETURNED, r[0], budget - r[LENT] - r[METER] // INSTRUCTION, -1, "")

    def _run_short(self, r: RegisterFile, budget: int) -> Outcome:
        """Execute one by one what is left of the budget: a part of the straight run ahead, which is paid in full."""
        pc = self._pcs[r[LANDED]]
        for _ in range(r[METER] // INSTRUCTION + self._places[pc].length):
            try:
                self._steps[pc](r)
            except Fault as fault:
                return self._stopped(Status.FAULT, r, budget, pc, self._behind[pc], fault)
            pc += self._places[pc].row.slots
        return self._stopped(Status.BUDGET, r, budget, pc, price_of(self._places[pc]), exhausted(budget))

    def _stopped(self, status: Status, r: RegisterFile, budget: int, pc: int, unused: int, why: Fault) -> Outcome:
        """The end of a run that did not return; ``unused`` was paid for what is not executed."""
        r[METER] += unused
        settle(r, 0)
        executed = budget - r[LENT] - r[METER] // INSTRUCTION
        return Outcome(status, r[0], executed, pc, complaint(self._program, pc, str(why)), tuple(r[:REGISTERS]))
