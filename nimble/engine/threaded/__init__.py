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
from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple, Unpack

from nimble.access import STACK, Memory
from nimble.engine import context as layout
from nimble.engine.compiled import CompiledThread
from nimble.engine.context import SLOT_BYTES, WORD, Context, aligned
from nimble.engine.jit import compile_ir
from nimble.engine.runs import Placed
from nimble.engine.superoperators import SUPEROPERATORS, Superoperator, cover
from nimble.engine.task import Given, Task
from nimble.engine.threaded.slots import CELL_BASE, CELL_LIMIT, LAND, ON_STACK, SITE, STOP, WINDOW
from nimble.engine.threaded.subroutines import ENTER, RESUME, module, name_of
from nimble.flow import functions
from nimble.isa import MASK64, MEMORY, TABLE, Group, Operation, wide_immediate
from nimble.program import Program

__all__ = ["ThreadedThread", "translate"]

# A slot: subroutine, destination, source, immediate; then what its kind of operation needs.
_PLAIN = struct.Struct("<QIIQ")
_ACCESS = struct.Struct("<QIIQqQQQ")
_CONTROL = struct.Struct("<QIIQQQQQQ")
_SUBROUTINE = struct.Struct("<Q")
_COMPUTES = (Group.ARITHMETIC, Group.SWAP)


def translate(program: Program, **given: Unpack[Given]) -> ThreadedThread:
    """A thread that runs ``program``. Raises InsertionRefused, as ``verifier.verify`` does."""
    return ThreadedThread(Task(program, **given))


class ThreadedThread(CompiledThread):
    """A program as slots: one per pc, and behind them one for each function, which charges its first run."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        begins = sorted(functions(self.program))
        slots = len(self.program.instructions)
        self.code_base, self._code = aligned((slots + len(begins)) * SLOT_BYTES)
        self._alone = {placed.pc: self._fill(placed) for placed in self.placed.values()}
        self._fuse()
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
        for name, pc in self.program.entries.items():
            self._entries[name] = subroutines.enter, text[pc]

    def _fill(self, placed: Placed) -> Subroutine:
        """The slot of one instruction; its subroutine."""
        _, instruction, row, *_ = placed
        at, group = placed.pc * SLOT_BYTES, row.group
        subroutine = _subroutines().of[row]
        d, s = instruction.dst * WORD, instruction.src * WORD
        if group in _COMPUTES:
            _PLAIN.pack_into(self._code, at, subroutine.address, d, s, instruction.imm & (1 << row.bits) - 1)
        elif group in MEMORY:
            form, bias = self._form(placed)
            if form != SITE:
                subroutine = _subroutines().proved[form][row]
            value = instruction.imm & MASK64
            _ACCESS.pack_into(self._code, at, subroutine.address, d, s, value, instruction.offset, 0, 0, bias)
        elif group is Group.WIDE:
            value = wide_immediate(instruction, self.program.instructions[placed.pc + 1])
            _PLAIN.pack_into(self._code, at, subroutine.address, d, s, value)
        else:
            operands = d, s, instruction.imm & MASK64, *self._taken(placed), *self._next(placed)
            _CONTROL.pack_into(self._code, at, subroutine.address, *operands)
        return subroutine

    def _fuse(self) -> None:
        """Where a frequent sequence begins, one subroutine does it all; the slots behind stay for jumps to them."""
        fused = _subroutines().fused
        for pc, length in cover(self.placed).items():
            if length > 1:
                address = fused.get(tuple(self._alone[placed.pc].name for placed in self._from(pc, length)))
                if address is not None:
                    _SUBROUTINE.pack_into(self._code, pc * SLOT_BYTES, address)

    def _from(self, pc: int, count: int) -> Iterator[Placed]:
        for _ in range(count):
            placed = self.placed[pc]
            yield placed
            pc += placed.row.slots

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
        code, behind, subroutines = bytearray(), pc, _subroutines()
        for placed in self._from(pc, count):
            behind = placed.pc + placed.row.slots
            slots = bytearray(self._code[placed.pc * SLOT_BYTES : behind * SLOT_BYTES])
            _SUBROUTINE.pack_into(slots, 0, self._alone[placed.pc].address)
            code += slots
        code += _PLAIN.pack(subroutines.named[STOP], 0, 0, behind)
        address, copy = aligned(len(code))
        copy[:] = code
        context.code_base = address - pc * SLOT_BYTES
        words = context.words
        left, cost = words[layout.LEFT // WORD], words[layout.COST // WORD]
        return subroutines.resume(context.address, address, left, cost)


class Subroutine(NamedTuple):
    """One operation in one form."""

    name: str
    address: int


class _Subroutines:
    """The compiled subroutines: by operation, by form and operation if accesses are proved, and of several in one."""

    def __init__(self) -> None:
        sequences = tuple(_sequences())
        text, names = module(sequences)
        self._code = compile_ir(text, names, optimise=False)
        self.named = self._code.addresses
        self.of = {row: self._one(row, SITE) for row in TABLE}
        memory = [row for row in TABLE if row.group in MEMORY]
        self.proved = {form: {row: self._one(row, form) for row in memory} for form in (WINDOW, ON_STACK)}
        self.fused = {_parts(rows, forms): self.named[name_of(rows, forms)] for rows, forms in sequences}
        self.enter = layout.ENTER(self.named[ENTER])
        self.resume = layout.RESUME(self.named[RESUME])

    def _one(self, row: Operation, form: str) -> Subroutine:
        name = name_of((row,), (form,))
        return Subroutine(name, self.named[name])


def _parts(rows: Sequence[Operation], forms: Sequence[str]) -> tuple[str, ...]:
    """The names of the subroutines that a sequence replaces."""
    return tuple(name_of((row,), (form,)) for row, form in zip(rows, forms, strict=True))


def _sequences() -> Iterator[tuple[Superoperator, tuple[str, ...]]]:
    """Superoperators, each in the forms of its accesses; in one sequence these are mostly of the same form."""
    for sequence in SUPEROPERATORS:
        forms = {tuple(form if row.group in MEMORY else SITE for row in sequence) for form in (SITE, WINDOW, ON_STACK)}
        for chosen in sorted(forms):
            yield sequence, chosen


@cache
def _subroutines() -> _Subroutines:
    return _Subroutines()
