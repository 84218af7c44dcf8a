"""The default engine: native direct-threaded code.

Each operation is a small native function (a *subroutine* of the paper) that reads its operands from a slot of 64 bytes,
works on the registers in the context, and jumps to the subroutine of the next slot: a tail call, so nothing returns.
The subroutines are compiled once; a program is then threaded by filling in slots, which takes microseconds.

A slot of a memory access remembers where the window lies that it hit last; what is not in it is searched by a second,
slow subroutine, and what no window of plain memory holds goes to Python. Checked and unchecked threads differ in the
limits that the search knows, and accesses that the verifier proved have subroutines without the question.
"""

from __future__ import annotations

import struct
from functools import cache

from nimble.access import STACK, AddressSpace, Memory
from nimble.engine import context as layout
from nimble.engine.compiled import CompiledThread
from nimble.engine.context import SLOT_BYTES, WORD, Context, aligned
from nimble.engine.jit import compile_ir
from nimble.engine.outcome import Outcome, Spend, Status
from nimble.engine.runs import ONE_EACH, Costs, Placed
from nimble.engine.subroutines import (
    CELL_BASE,
    CELL_LIMIT,
    ENTER,
    LAND,
    MEMORY,
    ON_STACK,
    RESUME,
    SITE,
    STOP,
    WINDOW,
    module,
    name_of,
)
from nimble.flow import functions
from nimble.isa import TABLE, Group, Operation, wide_immediate
from nimble.program import Program
from nimble.services import Services
from nimble.verifier import Facts, verify

__all__ = ["Outcome", "Spend", "Status", "ThreadedThread", "translate"]

# A slot: subroutine, destination, source, immediate; then what its kind of operation needs.
_PLAIN = struct.Struct("<QIIQ")
_ACCESS = struct.Struct("<QIIQqQQQ")
_CONTROL = struct.Struct("<QIIQQQQQQ")
_SUBROUTINE = struct.Struct("<Q")
_MASK64 = (1 << 64) - 1


def translate(
    program: Program,
    *,
    space: AddressSpace,
    services: Services,
    checked: bool,
    costs: Costs = ONE_EACH,
    facts: Facts | None = None,
) -> ThreadedThread:
    """A thread that runs ``program`` in ``space``. Raises InsertionRefused, as ``verifier.verify`` does."""
    if facts is None:
        facts = verify(program, services, space)
    return ThreadedThread(program, space=space, services=services, checked=checked, costs=costs, facts=facts)


class ThreadedThread(CompiledThread):
    """A program as slots: one per pc, and behind them one for each function, which charges its first run."""

    def __init__(
        self,
        program: Program,
        *,
        space: AddressSpace,
        services: Services,
        checked: bool,
        costs: Costs,
        facts: Facts,
    ) -> None:
        super().__init__(program, space=space, services=services, checked=checked, costs=costs, facts=facts)
        begins = sorted(functions(program))
        slots = len(program.instructions)
        self.code_base, self._code = aligned((slots + len(begins)) * SLOT_BYTES)
        for placed in self.placed.values():
            self._fill(placed)
        self._text_address, self._text = aligned(slots * WORD)
        self.text_table = self._text_address, slots
        self._land(begins)

    def _address(self, pc: int) -> int:
        return self.code_base + pc * SLOT_BYTES

    def _land(self, begins: list[int]) -> None:
        """A slot for each function; where calls through a register find it, and runs that begin there."""
        subroutines, text = _subroutines(), self._text.cast("Q")
        for index, pc in enumerate(begins, start=len(self.program.instructions)):
            first = self.placed[pc]
            _CONTROL.pack_into(
                self._code, index * SLOT_BYTES, subroutines.named[LAND], 0, 0, 0,
                self._address(pc), first.length, first.cost, 0, 0,
            )  # fmt: skip
            text[pc] = self._address(index)
            self._entries[pc] = subroutines.enter, text[pc]
        for name, pc in self.program.entries.items():
            self._entries[name] = self._entries[pc]

    def _fill(self, placed: Placed) -> None:
        """The slot of one instruction."""
        instruction, row = placed.instruction, placed.row
        at, group = placed.pc * SLOT_BYTES, row.group
        subroutine = _subroutines().of[row]
        d, s = instruction.dst * WORD, instruction.src * WORD
        if group in MEMORY:
            form, bias = self._form(placed)
            value = instruction.imm & _MASK64
            named = subroutine if form == SITE else _subroutines().named[name_of((row,), (form,))]
            _ACCESS.pack_into(self._code, at, named, d, s, value, instruction.offset, 0, 0, bias)
        elif group in (Group.ARITHMETIC, Group.SWAP):
            _PLAIN.pack_into(self._code, at, subroutine, d, s, instruction.imm & (1 << row.bits) - 1)
        elif group is Group.WIDE:
            value = wide_immediate(instruction, self.program.instructions[placed.pc + 1])
            _PLAIN.pack_into(self._code, at, subroutine, d, s, value)
        else:
            value = instruction.imm & _MASK64
            _CONTROL.pack_into(self._code, at, subroutine, d, s, value, *self._taken(placed), *self._next(placed))

    def _form(self, placed: Placed) -> tuple[str, int]:
        """The form of an access, and the bias of its window if it is proved to lie in plain memory."""
        window = placed.proved
        if window is STACK:
            return ON_STACK, 0
        if window is None or not isinstance(window.backing, Memory) or window.backing.shared:
            return SITE, 0
        return WINDOW, self.windows.bias(window)

    def _taken(self, placed: Placed) -> tuple[int, int, int]:
        if placed.target is None:
            return 0, 0, 0
        target = self.placed[placed.target]
        return self._address(target.pc), target.length, target.cost

    def _next(self, placed: Placed) -> tuple[int, int]:
        following = self.placed.get(placed.pc + 1)
        return (following.length, following.cost) if following else (0, 0)

    def seen(self) -> dict[int, int]:
        """By pc, the base of the window that an access fell into last, as far as there is one of plain memory."""
        words = self._code.cast("Q")
        return {
            pc: words[pc * SLOT_BYTES // WORD + CELL_BASE // WORD]
            for pc, placed in self.placed.items()
            if placed.row.group in MEMORY and words[pc * SLOT_BYTES // WORD + CELL_LIMIT // WORD]
        }

    def step(self, context: Context, pc: int, count: int) -> int:
        """Copy the slots that are still allowed, unfused, with a stop behind them, and run the copy."""
        code = bytearray()
        at, subroutines = pc, _subroutines()
        for _ in range(count):
            placed = self.placed[at]
            slots = bytearray(self._code[at * SLOT_BYTES : (at + placed.row.slots) * SLOT_BYTES])
            if placed.row.group not in MEMORY:
                _SUBROUTINE.pack_into(slots, 0, subroutines.of[placed.row])
            code += slots
            at += placed.row.slots
        code += _PLAIN.pack(subroutines.named[STOP], 0, 0, at)
        address, copy = aligned(len(code))
        copy[:] = code
        context.code_base = address - pc * SLOT_BYTES
        words = context.words
        left, cost = words[layout.LEFT // WORD], words[layout.COST // WORD]
        return subroutines.resume(context.address, address, left, cost)


class _Subroutines:
    """The compiled subroutines: addresses by operation and by name, and the functions that enter a thread."""

    def __init__(self) -> None:
        text, names = module(())
        self._code = compile_ir(text, names, optimise=False)
        self.named = self._code.addresses
        self.of: dict[Operation, int] = {row: self.named[name_of((row,), (SITE,))] for row in TABLE}
        self.enter = layout.ENTER(self.named[ENTER])
        self.resume = layout.RESUME(self.named[RESUME])


@cache
def _subroutines() -> _Subroutines:
    return _Subroutines()
