"""Makes cases of small loops over memory: those that an engine may run for many turns without a question.

Pointers move by constants, mostly; they begin near the ends of what can be touched, and limits are counters, data and
addresses. Each program has a few loops and is called many times, with budgets that end in any turn.
"""

from __future__ import annotations

from random import Random

from nimble.access import STACK_BASE, STACK_BYTES
from nimble.isa import TABLE, Group, Operand
from tests.fuzz.case import FLAT, READ, Call, Case
from tests.fuzz.layout import TOP, Layout
from tests.fuzz.writer import halves, packed

SIZES = (8, 24, 40, 64, 100, 128, 200, 256, 300, 500)

_EXIT, _JA, _LDDW, _MOV_IMM, _MOV, _ADD_IMM, _ADD32_IMM = 0x95, 0x05, 0x18, 0xB7, 0xBF, 0x07, 0x04
_SUB_IMM, _ADD, _JNE_IMM = 0x17, 0x0F, 0x55
_FP = 10
_COMPUTE = [
    (row.opcode, Operand.SRC in row.operands, Operand.IMMEDIATE in row.operands, dict(row.fixed))
    for row in TABLE
    if row.group in (Group.ARITHMETIC, Group.SWAP)
]
_LOADS = [(row.opcode, row.bits // 8) for row in TABLE if row.group is Group.LOAD]
_STORES = [(row.opcode, row.bits // 8, Operand.SRC in row.operands) for row in TABLE if row.group is Group.STORE]
_ATOMICS = [(row.opcode, row.bits // 8, row.fixed[0][1]) for row in TABLE if row.group is Group.ATOMIC]
_BRANCHES = [(row.opcode, Operand.SRC in row.operands) for row in TABLE if row.group is Group.BRANCH]
_COUNTING = (0x55, 0x55, 0x55, 0x25, 0x65, 0xA5, 0x56, 0x35)  # jne, jgt, jsgt, jlt; jne32; jge


def loops_of(random: Random) -> Case:
    """A case of loops."""
    layout = Layout(random, SIZES)
    writer = _Loops(random, layout)
    first = writer.arguments()
    calls = [Call("main", first if random.random() < 0.3 else writer.arguments(), _budget(random)) for _ in range(11)]
    flat = FLAT if random.random() < 0.6 else 0
    return Case(
        code=packed(writer.slots),
        entries={"main": 0},
        calls=(Call("main", first, 400), *calls),
        backings=tuple(layout.backings),
        areas=tuple(layout.areas),
        state=layout.state,
        state_shared=random.random() < 0.1,
        seed=random.getrandbits(16) | flat,
        interleave=random.random() < 0.05,
    )


def _budget(random: Random) -> int:
    chance = random.random()
    return random.randrange(60) if chance < 0.4 else random.randrange(400) if chance < 0.9 else random.randrange(3000)


class _Loops:
    """The code of one program. r1..r5 are arguments, often addresses; any register may point, count or hold data."""

    def __init__(self, random: Random, layout: Layout) -> None:
        self.random, self.layout = random, layout
        self.slots: list[tuple[int, int, int, int, int]] = []
        self.pointers = random.sample(range(1, 8), random.choice((1, 1, 2, 2, 3)))
        self.counter = random.choice([register for register in (0, 8, 9, 6) if register not in self.pointers])
        self.data = [register for register in range(10) if register not in (*self.pointers, self.counter)]
        self._begin()
        for _ in range(random.choice((1, 1, 1, 2))):
            self._loop()
        if random.random() < 0.1:
            self._again()
        self._emit(_EXIT)

    def arguments(self) -> tuple[int, ...]:
        return tuple(self._start() if self.random.random() < 0.8 else self.layout.value() for _ in range(5))

    def _start(self) -> int:
        """Near an end of something, in it, or anywhere."""
        random, area = self.random, self.random.choice(self.layout.places)
        chance = random.random()
        if chance < 0.4:
            return area.base + random.choice((0, 0, 0, 1, 2, 4, 8, -1, -2, -8)) & TOP - 1
        if chance < 0.65:
            return area.base + area.length - random.choice((8, 8, 1, 2, 4, 16, 0, -1, 7, 9)) & TOP - 1
        if chance < 0.9:
            return area.base + random.randrange(area.length)
        return random.choice((0, 1, 8, 64, TOP - 1, TOP - 8, TOP - 64, STACK_BASE, STACK_BASE + STACK_BYTES - 64))

    def _emit(self, op: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> None:
        self.slots.append((op, dst, src, off, imm))

    def _lddw(self, register: int, value: int) -> None:
        low, high = halves(value)
        self._emit(_LDDW, register, imm=low)
        self._emit(0, imm=high)

    def _again(self) -> None:
        """A branch back to anywhere but the second half of a constant."""
        target = self.random.randrange(len(self.slots))
        target -= self.slots[target][0] == 0
        op, from_source = self.random.choice(_BRANCHES)
        source = self.random.choice(self.data) if from_source else 0
        self._emit(op, self.random.choice(self.data), source, target - len(self.slots) - 1)

    def _begin(self) -> None:
        for register in (0, *range(6, 10)):
            if register in self.pointers:
                self._lddw(register, self._start())
            else:
                self._emit(_MOV_IMM, register, imm=self.layout.immediate())

    def _loop(self) -> None:
        random = self.random
        for register in self.pointers:
            chance = random.random()
            if chance < 0.3:
                self._lddw(register, self._start())
            elif chance < 0.4:
                self._emit(_MOV, register, _FP)
                self._emit(_ADD_IMM, register, imm=random.choice((-64, -256, -512)))
            elif chance < 0.5:
                self._emit(_MOV, register, random.choice(self.pointers))
        self._emit(_MOV_IMM, self.counter, imm=random.choice((1, 3, 4, 5, 9, 16, 33, 64, 100, 1000)))
        if random.random() < 0.05:
            self._emit(_JA, off=1)  # into the middle of the loop, if that is where the next but one is
        top = len(self.slots)
        counted = random.random() < 0.75
        for _ in range(random.choice((1, 2, 2, 3, 3, 4, 5, 6))):
            self._piece()
            if len(self.slots) - top >= 6:
                break
        if counted:
            self._emit(random.choice((_SUB_IMM, _ADD_IMM)), self.counter, imm=random.choice((1, 1, 1, -1, 2)))
        self._branch(top, counted)

    def _piece(self) -> None:
        random, chance = self.random, self.random.random()
        if chance < 0.3:
            self._load()
        elif chance < 0.55:
            self._store()
        elif chance < 0.8:
            self._move()
        elif chance < 0.94:
            self._compute()
        elif chance < 0.97:
            self._fixed()
        elif chance < 0.98:
            self._atomic()
        else:
            self._spoil(random.choice(self.pointers))

    def _fixed(self) -> None:
        """A load or store that is likely to be proved, even where others see it."""
        register, chance = self.random.choice(self.data), self.random.random()
        self._lddw(register, self.layout.address(1, READ))
        if chance < 0.7:
            self._emit(self.random.choice(_LOADS)[0], register, register)
        else:
            self._emit(self.random.choice([op for op, _, from_source in _STORES if from_source]), register, register)

    def _pointer(self) -> tuple[int, int]:
        random = self.random
        if random.random() < 0.06:
            return _FP, random.choice((-8, -16, -512, -24, -9))
        offset = 0 if random.random() < 0.6 else random.choice((1, 2, 4, 8, -8, -1, 16, 64))
        if random.random() < 0.01:
            offset = random.choice((0x7FFF, -0x8000))
        return random.choice(self.pointers), offset

    def _load(self) -> None:
        op, _ = self.random.choice(_LOADS)
        pointer, offset = self._pointer()
        self._emit(op, self.random.choice(self.data), pointer, offset)
        if self.random.random() < 0.4:
            self._emit(_ADD, self.random.choice(self.data), self.slots[-1][1])

    def _store(self) -> None:
        op, _, from_source = self.random.choice(_STORES)
        pointer, offset = self._pointer()
        if from_source:
            source = self.random.choice((*self.data, *self.data, *self.pointers, self.counter))
            self._emit(op, pointer, source, offset)
        else:
            self._emit(op, pointer, 0, offset, self.layout.immediate())

    def _atomic(self) -> None:
        op, _, imm = self.random.choice(_ATOMICS)
        pointer, offset = self._pointer()
        self._emit(op, pointer, self.random.choice(self.data), offset, imm)

    def _move(self) -> None:
        random = self.random
        step = random.choice((1, 2, 4, 8, 8, 4, -1, -2, -4, -8, 16, 3, 24, 0))
        if random.random() < 0.05:
            step = random.choice((0x7FFF_FFFF, -0x8000_0000, 0x1000, -0x1000, 1 << 20))
        self._emit(_ADD_IMM, random.choice(self.pointers), imm=step)

    def _compute(self) -> None:
        op, from_source, from_immediate, fixed = self.random.choice(_COMPUTE)
        src = self.random.choice((*self.data, *self.pointers, self.counter)) if from_source else 0
        imm = self.layout.immediate() if from_immediate else fixed.get("imm", 0)
        self._emit(op, self.random.choice(self.data), src, fixed.get("offset", 0), imm)

    def _spoil(self, pointer: int) -> None:
        """Move a pointer in a way that cannot be foreseen, or only by looking closely."""
        random = self.random
        random.choice(
            (
                lambda: self._emit(_ADD32_IMM, pointer, imm=8),
                lambda: self._emit(_ADD, pointer, random.choice(self.data)),
                lambda: self._emit(_SUB_IMM, pointer, imm=random.choice((8, -8))),
                lambda: self._emit(_MOV, pointer, random.choice(self.pointers)),
                lambda: self._emit(random.choice(_LOADS)[0], pointer, pointer, 0),
            )
        )()

    def _branch(self, top: int, counted: bool) -> None:
        random, back = self.random, top - len(self.slots) - 1
        chance = random.random()
        if counted and chance < 0.7:
            self._emit(random.choice(_COUNTING), self.counter, 0, back, random.choice((0, 0, 0, 50, -50)))
        elif counted and chance < 0.8:
            self._emit(random.choice(_COUNTING) | 8, self.counter, random.choice(self.data), back)
        elif chance < 0.9:
            op, from_source = random.choice(_BRANCHES)
            source = random.choice((*self.data, *self.pointers))
            left = random.choice((*self.data, *self.pointers))
            self._emit(op, left, source if from_source else 0, back, 0 if from_source else self.layout.immediate())
        else:
            left, right = random.choice(self.pointers), random.choice(self.pointers)
            self._emit(random.choice((_JNE_IMM, 0xBD, 0x2D)) | 8, left, right, back)
