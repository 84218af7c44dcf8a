"""A program in compiled code, ``threaded`` or ``native``: begins runs, ends them, and words how they ended."""

from __future__ import annotations

import ctypes
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from nimble.access import STACK
from nimble.disassembler import complaint
from nimble.engine import context as layout
from nimble.engine.context import Context, WindowTable
from nimble.engine.outcome import Outcome, Spend, Status, exhausted, refuse_run
from nimble.engine.reach import Reach
from nimble.engine.task import Task
from nimble.faults import Fault
from nimble.isa import ARGUMENTS, MASK64, Group

_LEFT, _COST, _PC, _ENTERED, _BUDGET = (
    offset // layout.WORD for offset in (layout.LEFT, layout.COST, layout.PC, layout.ENTERED, layout.BUDGET)
)
_LONGEST = 1 << 62  # a larger budget is no different
_RETURNED = Status.RETURNED
_NEW_OUTCOME = tuple.__new__  # of three ways to make a named tuple the fastest: one is made per call

Enter = Callable[[ctypes.c_void_p], int]


class CompiledThread(ABC):
    """A translated program: run it as often as wanted, from as many greenlets as wanted.

    ``_entries`` gives for each entry the function that enters it and its argument. Runs begin nowhere else: what the
    verifier proved holds for them alone.
    """

    def __init__(self, task: Task) -> None:
        self.program = task.program
        self.services = task.services
        self.placed = task.placed
        self.reach = Reach(task.space, checked=task.checked)
        self.windows = WindowTable(task.space, checked=task.checked)
        self.writes_stack = any(
            window is STACK and self.placed[pc].row.group is not Group.LOAD for pc, window in task.facts.proved.items()
        )
        self.text_table = 0, 0
        self.code_base = 0
        self._entries: dict[str, tuple[Enter, int]] = {}
        self._idle: list[Context] = []

    @abstractmethod
    def step(self, context: Context, pc: int, count: int) -> int:
        """Execute ``count`` instructions of one stretch from ``pc``, and stop; the status."""

    def run(self, entry: str, args: Sequence[int], *, budget: int, spend: Spend) -> Outcome:
        """Execute from ``entry`` with ``args`` in r1..r5, for at most ``budget`` instructions.

        ``spend`` is called before every access to device registers or shared memory and before every service call,
        with the cost of the instructions executed since the last call, the accessing one included; and once more at
        the end, if there is any left. Raises ValueError for an unknown entry, more than five arguments or a negative
        budget, and whatever a service, a device or ``spend`` raises.
        """
        begin = self._entries.get(entry)
        if begin is None or len(args) > ARGUMENTS or budget < 0:
            refuse_run(entry, self._entries, args, budget)
        context = self._idle.pop() if self._idle else Context(self)
        words = context.words
        register = 1
        for value in args:
            words[register] = value & MASK64
            register += 1
        enter, code = begin
        if code != context.entered:
            words[_ENTERED] = context.entered = code
        if budget != context.budget:
            if budget > _LONGEST:
                budget = _LONGEST
            words[_BUDGET] = context.budget = budget
        context.spend = spend
        left = enter(context.reference)
        if left < 0:
            return self._stop(context, -left)
        # It returned: the most frequent way, in as few steps as possible.
        due = words[_COST]
        if context.asked:
            due -= context.settled
            left += context.used
            context.asked = context.settled = context.used = 0
        if due:
            spend(due)
        outcome = _NEW_OUTCOME(Outcome, (_RETURNED, words[0], budget - left, -1, "", ()))
        self._idle.append(context)
        return outcome

    def _stop(self, context: Context, status: int) -> Outcome:
        pc = context.words[_PC]
        if status == layout.SHORT:
            status = self._finish(context, pc)
            pc = context.words[_PC]
        placed = self.placed[pc]
        faulted = status == layout.STOPPED
        error, registers = context.stopped, context.registers()
        behind = placed.cost - placed.own * faulted
        instructions, cost = context.executed(placed, itself=faulted), context.words[_COST] - behind
        budget = context.budget
        if not faulted:
            error = exhausted(budget)
        if not isinstance(error, Fault):
            context.wipe()
            self._idle.append(context)
            raise error or KeyboardInterrupt  # without a word, only a signal ends a call of Python: see `_general`
        context.pay(cost)
        context.wipe()
        self._idle.append(context)
        reason = complaint(self.program, pc, str(error))
        kind = Status.FAULT if faulted else Status.BUDGET
        return Outcome(kind, registers[0], instructions, pc, reason, registers)

    def _finish(self, context: Context, pc: int) -> int:
        """The budget ends within the stretch that begins at ``pc``: charge it all, execute what is left."""
        words, placed = context.words, self.placed[pc]
        left = words[_LEFT]
        words[_LEFT] = left - placed.length & MASK64
        words[_COST] += placed.cost
        return self.step(context, pc, left)
