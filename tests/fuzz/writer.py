"""Writes the code of one random program: pieces of a few instructions that a verifier should accept.

No register is read before it is written, jumps hit instructions, and frames are not overrun on purpose; addresses and
values are likely to be sensible, and at times not. Loops may be endless: the budget ends them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from random import Random

from nimble.access import TEXT_BASE
from nimble.isa import TABLE, Group, Operand
from tests.fuzz.case import READ, WRITE
from tests.fuzz.layout import Layout
from tests.fuzz.world import BORROWING, SERVICE_IDS

_SLOT = struct.Struct("<BBhi")
_SIGN = 1 << 31
FP = 10
_EXIT, _JA, _GOTOL, _CALL, _CALLX, _LDDW, _MOV_IMM, _MOV = 0x95, 0x05, 0x06, 0x85, 0x8D, 0x18, 0xB7, 0xBF
_ADD, _ADD_IMM, _SUB_IMM, _AND_IMM, _MOD_IMM, _RSH_IMM = 0x0F, 0x07, 0x17, 0x57, 0x97, 0x77
_JNE_IMM, _JGE_IMM, _JGE32_IMM = 0x55, 0x35, 0x36

_COMPUTE = [
    (row.opcode, Operand.SRC in row.operands, Operand.IMMEDIATE in row.operands, dict(row.fixed), row.name[:3] == "mov")
    for row in TABLE
    if row.group in (Group.ARITHMETIC, Group.SWAP)
]
_LOADS = [(row.opcode, row.bits // 8) for row in TABLE if row.group is Group.LOAD]
_STORES = [(row.opcode, row.bits // 8, Operand.SRC in row.operands) for row in TABLE if row.group is Group.STORE]
_ATOMICS = [(row.opcode, row.bits // 8, row.fixed[0][1]) for row in TABLE if row.group is Group.ATOMIC]
_BRANCHES = [(row.opcode, Operand.SRC in row.operands) for row in TABLE if row.group is Group.BRANCH]
_SERVICES = sorted(SERVICE_IDS)


class Writer:
    """The code of one program; ``functions`` are the pcs of its functions, ``main`` first."""

    def __init__(self, random: Random, layout: Layout, hints: dict[int, int]) -> None:
        """``hints``: addresses that are likely to be in registers at the start of ``main``."""
        self.random, self.layout = random, layout
        self.slots: list[tuple[int, int, int, int, int]] = []
        self.functions: list[int] = []
        self._calls: list[tuple[int, int]] = []  # slot, number of the function called
        self._addresses: list[tuple[int, int]] = []  # slot of lddw, number of the function
        self._count = random.choice((1, 1, 2, 2, 3, 4))
        self._live: set[int] = set()  # registers known to be written
        self._points: dict[int, int] = {}  # what a register is likely to hold
        self._forward: list[tuple[int, int, frozenset[int]]] = []  # slot of a jump, piece it goes to, live there
        self._labels: list[tuple[int, frozenset[int]]] = []
        self._piece = 0
        self._pieces = (
            [self._compute] * 10 + [self._constant] * 2 + [self._move] * 2 + [self._load] * 5 + [self._store] * 5
            + [self._atomic] * 3 + [self._frame] * 3 + [self._branch] * 6
            + [self._back, self._loop, self._jump, self._leave]
            + [self._service] * 2 + [self._through] + [self._masked] * 2
        )  # fmt: skip
        if self._count > 1:
            self._pieces += [self._call] * 3
        elif random.random() < 0.15:
            self._pieces.append(self._call)
        self._wanted = 1  # functions that something leads to
        while len(self.functions) < self._wanted:
            self._function(len(self.functions), hints)
        self._patch()

    def code(self) -> bytes:
        return packed(self.slots)

    def _callee(self) -> int:
        """The number of a function, often one more than there are."""
        number = int(self.random.random() * min(self._wanted + 1, self._count))
        self._wanted = max(self._wanted, number + 1)
        return number

    def _emit(self, op: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> None:
        self.slots.append((op, dst, src, off, imm))

    def _function(self, number: int, hints: dict[int, int]) -> None:
        random = self.random
        self.functions.append(len(self.slots))
        self._live, self._points = {1, 2, 3, 4, 5, FP}, dict(hints) if number == 0 else {}
        self._forward, self._labels, self._piece = [], [], 0
        for register in (0, 6, 7, 8, 9):
            if random.random() < 0.4:
                self._set(register)
        for _ in range(random.choice((1, 2, 3, 5, 8, 12)) if number else random.choice((1, 2, 4, 6, 8, 12, 16, 24))):
            self._labels.append((len(self.slots), frozenset(self._live)))
            random.choice(self._pieces)()
            self._piece += 1
            self._land(self._piece)
        self._land(None)
        if 0 not in self._live:
            self._emit(_MOV_IMM, 0, imm=number)
        self._emit(_EXIT)

    def _land(self, piece: int | None) -> None:
        """Let the jumps to this piece (all, if None) come here."""
        here, waiting = len(self.slots), []
        for slot, to, live in self._forward:
            if piece is not None and to > piece:
                waiting.append((slot, to, live))
                continue
            self._live &= live
            op, dst, src, off, imm = self.slots[slot]
            if op == _GOTOL:
                imm = here - slot - 1
            else:
                off = here - slot - 1
            self.slots[slot] = op, dst, src, off, imm
        self._forward = waiting

    def _patch(self) -> None:
        for slot, number in self._calls:
            op, dst, src, off, _ = self.slots[slot]
            self.slots[slot] = op, dst, src, off, self.functions[number] - slot - 1
        for slot, number in self._addresses:
            op, dst, *_ = self.slots[slot]
            low, high = halves(TEXT_BASE + 8 * self.functions[number])
            self.slots[slot], self.slots[slot + 1] = (op, dst, 0, 0, low), (0, 0, 0, 0, high)

    def _some(self) -> int:
        """A register that may be read."""
        return self.random.choice([*self._live])

    def _writable(self) -> int:
        return int(self.random.random() * 10)

    def _written(self, register: int, points: int | None = None) -> None:
        self._live.add(register)
        if points is None:
            self._points.pop(register, None)
        else:
            self._points[register] = points

    def _lddw(self, register: int, value: int) -> None:
        low, high = halves(value)
        self._emit(_LDDW, register, imm=low)
        self._emit(0, imm=high)
        self._written(register, value)

    def _set(self, register: int) -> None:
        if self.random.random() < 0.35:
            self._lddw(register, self.layout.value())
        else:
            self._emit(_MOV_IMM, register, imm=self.layout.immediate())
            self._written(register)

    def _constant(self) -> None:
        self._lddw(self._writable(), self.layout.value())

    def _move(self) -> None:
        dst, src = self._writable(), self._some()
        self._emit(_MOV, dst, src)
        self._written(dst, self._points.get(src))

    def _compute(self) -> None:
        op, from_source, from_immediate, fixed, moves = self.random.choice(_COMPUTE)
        dst = self._writable()
        if not moves and dst not in self._live:
            self._emit(_MOV, dst, self._some())
        src = self._some() if from_source else 0
        imm = self.layout.immediate() if from_immediate else fixed.get("imm", 0)
        self._emit(op, dst, src, fixed.get("offset", 0), imm)
        self._written(dst)

    def _pointer(self, width: int, rights: int) -> tuple[int, int]:
        """A register, and an offset from it to something to access."""
        address = self.layout.address(width, rights)
        if self.random.random() < 0.6:
            for register, points in self._points.items():
                if register in self._live and -0x8000 <= address - points < 0x8000:
                    return register, address - points
        if self.random.random() < 0.02:
            return self._some(), self.random.choice((0, 8, -8, 0x7FFF, -0x8000))
        register = self._writable()
        offset = self.random.choice((0, 0, 0, 8, -8, 4, 0x7FFF, -0x8000))
        self._lddw(register, address - offset & (1 << 64) - 1)
        return register, offset

    def _load(self) -> None:
        op, width = self.random.choice(_LOADS)
        src, off = self._pointer(width, READ)
        dst = self._writable()
        self._emit(op, dst, src, off)
        self._written(dst)

    def _store(self) -> None:
        op, width, from_source = self.random.choice(_STORES)
        dst, off = self._pointer(width, WRITE)
        if from_source:
            self._emit(op, dst, self._some(), off)
        else:
            self._emit(op, dst, 0, off, self.layout.immediate())

    def _atomic(self) -> None:
        op, width, imm = self.random.choice(_ATOMICS)
        if 0 not in self._live:
            self._set(0)
        dst, off = self._pointer(width, READ | WRITE)
        src = self._some()
        if src == FP:
            src = 0
        self._emit(op, dst, src, off, imm)
        self._points.pop(src, None)
        self._points.pop(0, None)

    def _frame(self) -> None:
        """A store and a load in the frame, by r10 or a copy of it."""
        random = self.random
        base, shift = FP, 0
        if random.random() < 0.3:
            base, shift = self._writable(), random.choice((0, -8, -64, -512))
            self._emit(_MOV, base, FP)
            if shift:
                self._emit(_ADD_IMM, base, imm=shift)
            self._written(base)
        op, width, from_source = random.choice(_STORES)
        off = random.choice((-8, -8, -16, -24, -512, -512 + 8, -width, -9)) - shift
        if random.random() < 0.02:
            off += random.choice((1, -1, 8, 9, 512, -505))
        if not from_source:
            self._emit(op, base, 0, off, self.layout.immediate())
        else:
            self._emit(op, base, self._some(), off)
        op = random.choice([op for op, size in _LOADS if size <= width])
        dst = self._writable()
        self._emit(op, dst, base, off)
        self._written(dst)

    def _masked(self) -> None:
        """An access at a base plus an index that is kept small: by a mask, a remainder, a shift or a branch."""
        random = self.random
        index, base = random.sample(range(10), 2)
        if index not in self._live:
            self._emit(_MOV, index, self._some())
            self._written(index)
        loads = random.random() < 0.5
        op, width, from_source = (*random.choice(_LOADS), False) if loads else random.choice(_STORES)
        area = self.layout.place(width, READ if loads else WRITE)
        room = max(area.length - width + 1, 1) + (0 if random.random() < 0.8 else random.choice((-8, -1, 1, 8)))
        self._bound(index, max(room, 1))
        self._lddw(base, area.base)
        self._emit(_ADD, base, index)
        self._written(base)
        off = 0 if random.random() < 0.8 else random.choice((1, 8, -8, -width))
        if loads:
            dst = self._writable()
            self._emit(op, dst, base, off)
            self._written(dst)
        elif from_source:
            self._emit(op, base, self._some(), off)
        else:
            self._emit(op, base, 0, off, self.layout.immediate())

    def _bound(self, index: int, room: int) -> None:
        """Keep a register below ``room``, or nearly, or jump over the next pieces."""
        random, chance = self.random, self.random.random()
        self._written(index)
        if chance < 0.4:
            power = 1 << room.bit_length() - 1
            self._emit(
                _AND_IMM, index, imm=random.choice((power - 1, power - 1, power - 8 & power - 1, 7, room - 1, -8))
            )
        elif chance < 0.6:
            self._emit(_MOD_IMM, index, imm=room)
        elif chance < 0.7:
            self._emit(_RSH_IMM, index, imm=random.choice((58, 60, 61, 63, 32)))
        else:
            op = random.choice(_BRANCHES)[0] & ~8 if chance < 0.8 else random.choice((_JGE_IMM, _JGE32_IMM))
            self._forward.append((len(self.slots), self._piece + 1, frozenset(self._live)))
            self._emit(op, index, imm=room)

    def _condition(self) -> tuple[int, int, int, int]:
        op, from_source = self.random.choice(_BRANCHES)
        dst = self._some()
        return (op, dst, self._some(), 0) if from_source else (op, dst, 0, self.layout.immediate())

    def _branch(self) -> None:
        op, dst, src, imm = self._condition()
        self._ahead()
        self._emit(op, dst, src, 0, imm)

    def _jump(self) -> None:
        """A jump that a branch may leap over."""
        op, dst, src, imm = self._condition()
        self._emit(op, dst, src, 1, imm)
        self._ahead()
        self._emit(self.random.choice((_JA, _GOTOL)))

    def _leave(self) -> None:
        """An ``exit`` that a branch may leap over."""
        if 0 not in self._live:
            self._set(0)
        op, dst, src, imm = self._condition()
        self._emit(op, dst, src, 1, imm)
        self._emit(_EXIT)

    def _ahead(self) -> None:
        """The next instruction jumps some pieces ahead."""
        to = self._piece + self.random.choice((1, 1, 2, 2, 3, 5))
        self._forward.append((len(self.slots), to, frozenset(self._live)))

    def _back(self) -> None:
        label, live = self.random.choice(self._labels)
        if live <= self._live:
            op, dst, src, imm = self._condition()
            self._emit(op, dst, src, label - len(self.slots) - 1, imm)

    def _loop(self) -> None:
        """A few instructions, some times over."""
        counter = self.random.choice((6, 7, 8, 9))
        self._emit(_MOV_IMM, counter, imm=self.random.choice((1, 2, 3, 5, 20)))
        self._written(counter)
        top = len(self.slots)
        for _ in range(self.random.choice((0, 1, 2))):
            self.random.choice((self._compute, self._load, self._store, self._atomic))()
        if counter not in self._live:
            return
        self._emit(_SUB_IMM, counter, imm=1)
        self._emit(_JNE_IMM, counter, 0, top - len(self.slots) - 1)
        self._points.pop(counter, None)

    def _arguments(self, wanted: int) -> None:
        for register in range(1, wanted + 1):
            if register not in self._live:
                self._set(register)

    def _called(self) -> None:
        self._live -= {1, 2, 3, 4, 5}
        self._written(0)

    def _call(self) -> None:
        self._arguments(5)
        self._calls.append((len(self.slots), self._callee()))
        self._emit(_CALL, 0, 1)
        self._called()

    def _service(self) -> None:
        number = BORROWING if self.random.random() < 0.2 else self.random.choice(_SERVICES)
        self._arguments(5)
        self._emit(_CALL, 0, 0, 0, number)
        self._called()

    def _through(self) -> None:
        """A call through a register: of a function, a service, or whatever is there."""
        chance, register = self.random.random(), self._writable()
        self._arguments(5)
        if chance < 0.5:
            self._addresses.append((len(self.slots), self._callee()))
            self._lddw(register, TEXT_BASE)
        elif chance < 0.75:
            self._lddw(register, self.random.choice(_SERVICES))
        elif chance < 0.85:
            self._lddw(register, TEXT_BASE + self.random.choice((1, 4, 8, 16, 24, 800, -8, 1 << 63)))
        else:
            register = self._some()
        self._emit(_CALLX, register)
        self._called()


def packed(slots: Iterable[tuple[int, int, int, int, int]]) -> bytes:
    """The bytes of slots: (opcode, dst, src, offset, imm) each. Raises struct.error when a field does not fit."""
    return b"".join([_SLOT.pack(op, src << 4 | dst, off, imm) for op, dst, src, off, imm in slots])


def halves(value: int) -> tuple[int, int]:
    """The two signed immediates of a 64-bit constant."""
    low, high = value & 0xFFFF_FFFF, value >> 32
    return (low ^ _SIGN) - _SIGN, (high ^ _SIGN) - _SIGN
