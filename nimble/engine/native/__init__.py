"""The fast engine: a program's own machine code. Each operation is inlined, registers live in the machine's, and what
makes an extension safe stays: every access is checked unless it is proved, every run is metered.

A function of the program becomes a function of machine code. Its basic blocks begin with a landing, which charges the
run that starts there. Whatever ends a run early writes the registers back to the context and unwinds; where the budget
ends inside a run, the ``threaded`` engine executes the last instructions.
"""

from __future__ import annotations

from collections.abc import Mapping

from nimble.access import AddressSpace
from nimble.engine import NATIVE_SLOTS
from nimble.engine import context as layout
from nimble.engine.compiled import CompiledThread
from nimble.engine.context import Context
from nimble.engine.jit import compile_ir
from nimble.engine.native.module import ENTER, module
from nimble.engine.runs import ONE_EACH, Costs
from nimble.engine.threaded import ThreadedThread
from nimble.isa import MASK64
from nimble.program import Program
from nimble.services import Services
from nimble.verifier import Facts, InsertionRefused, verify

__all__ = ["NativeThread", "translate"]


def translate(
    program: Program,
    *,
    space: AddressSpace,
    services: Services,
    checked: bool,
    costs: Costs = ONE_EACH,
    facts: Facts | None = None,
    seen: Mapping[int, int] | None = None,
) -> NativeThread:
    """A thread that runs ``program`` in ``space``. Raises InsertionRefused, as ``verifier.verify`` does, and for a
    program of more than NATIVE_SLOTS slots.

    ``seen`` says by pc in which window (its base) accesses were seen to fall, as ``ThreadedThread.seen`` knows it: they
    are then found without a search.
    """
    if len(program.instructions) > NATIVE_SLOTS:
        size = len(program.instructions)
        raise InsertionRefused(f"{program.name}: {size} slots; native takes {NATIVE_SLOTS}; use threaded")
    if facts is None:
        facts = verify(program, services, space)
    return NativeThread(program, space, services, checked, costs, facts, seen or {})


class NativeThread(CompiledThread):
    """A program as machine code, and as slots for its last instructions."""

    def __init__(
        self,
        program: Program,
        space: AddressSpace,
        services: Services,
        checked: bool,
        costs: Costs,
        facts: Facts,
        seen: Mapping[int, int],
    ) -> None:
        super().__init__(program, space=space, services=services, checked=checked, costs=costs, facts=facts)
        self._slots = ThreadedThread(program, space=space, services=services, checked=checked, costs=costs, facts=facts)
        names = {pc: f"{ENTER}{pc}" for pc in sorted(set(program.entries.values()))}
        text = module(program, self.placed, space, checked=checked, seen=seen, flat=costs.flat())
        self._code = compile_ir(text, names.values(), optimise=True)
        for entry, pc in program.entries.items():
            self._entries[entry] = layout.ENTER(self._code.addresses[names[pc]]), 0

    def _finish(self, context: Context, pc: int) -> int:
        """This code charges before it asks whether the budget allows it."""
        words, placed = context.words, self.placed[pc]
        words[layout.LEFT // layout.WORD] = words[layout.LEFT // layout.WORD] + placed.length & MASK64
        words[layout.COST // layout.WORD] -= placed.cost
        return super()._finish(context, pc)

    def step(self, context: Context, pc: int, count: int) -> int:
        return self._slots.step(context, pc, count)
