"""The fast engine: a program's own machine code. Each operation is inlined, registers live in the machine's, and what
makes an extension safe stays: every access is checked unless it is proved, every run is metered.

A function of the program becomes a function of machine code. Its basic blocks begin with a landing, which charges the
run that starts there. Whatever ends a run early writes the registers back to the context and unwinds; where the budget
ends inside a run, the ``threaded`` engine executes the last instructions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Unpack

from nimble.engine import NATIVE_SLOTS
from nimble.engine import context as layout
from nimble.engine.compiled import CompiledThread
from nimble.engine.context import Context
from nimble.engine.jit import compile_ir
from nimble.engine.native.module import ENTER, module
from nimble.engine.task import Given, Task
from nimble.engine.threaded import ThreadedThread
from nimble.isa import MASK64
from nimble.program import Program
from nimble.verifier import InsertionRefused

__all__ = ["NativeThread", "translate"]


def translate(program: Program, *, seen: Mapping[int, int] | None = None, **given: Unpack[Given]) -> NativeThread:
    """A thread that runs ``program``. Raises InsertionRefused, as ``verifier.verify`` does, and for a program of more
    than NATIVE_SLOTS slots, or one whose functions and calls multiply to too much code.

    ``seen`` says by pc in which window (its base) accesses were seen to fall, as ``ThreadedThread.seen`` knows it: they
    are then found without a search.
    """
    if len(program.instructions) > NATIVE_SLOTS:
        size = len(program.instructions)
        raise InsertionRefused(f"{program.name}: {size} slots; native takes {NATIVE_SLOTS}; use threaded")
    return NativeThread(Task(program, **given), seen or {})


class NativeThread(CompiledThread):
    """A program as machine code, and as slots for its last instructions."""

    def __init__(self, task: Task, seen: Mapping[int, int]) -> None:
        super().__init__(task)
        self._slots = ThreadedThread(task)
        entries = task.program.entries
        names = {pc: f"{ENTER}{pc}" for pc in sorted(set(entries.values()))}
        self._code = compile_ir(module(task, seen=seen), names.values(), optimise=True)
        for entry, pc in entries.items():
            self._entries[entry] = layout.ENTER(self._code.addresses[names[pc]]), 0

    def _finish(self, context: Context, pc: int) -> int:
        """This code charges before it asks whether the budget allows it."""
        words, placed = context.words, self.placed[pc]
        words[layout.LEFT // layout.WORD] = words[layout.LEFT // layout.WORD] + placed.length & MASK64
        words[layout.COST // layout.WORD] -= placed.cost
        return super()._finish(context, pc)

    def step(self, context: Context, pc: int, count: int) -> int:
        return self._slots.step(context, pc, count)
