"""Arithmetic and conditions on random operands against fixed-width numpy arithmetic."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from nimble.engine.outcome import Status, no_time
from nimble.isa import TABLE, Group, Instruction, Operand, Operation
from nimble.program import Program
from tests.nimble.engines import each_engine, thread_of

UNSIGNED: dict[int, Any] = {8: np.uint8, 16: np.uint16, 32: np.uint32, 64: np.uint64}
SIGNED: dict[int, Any] = {8: np.int8, 16: np.int16, 32: np.int32, 64: np.int64}
EDGES = (0, 1, 2, 31, 32, 63, 64, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)
PAIRS = 60  # each immediate is an instruction of its own, so there are fewer of them


def truncated(a: Any, b: Any) -> int:
    return math.trunc(Fraction(int(a), int(b)))


def wrapped(value: int, like: Any) -> Any:
    """A Python integer cut to the width of ``like`` by its two's complement bytes."""
    size = like.dtype.itemsize
    return np.frombuffer((value % (1 << 8 * size)).to_bytes(size, "little"), dtype=like.dtype)[0]


def answer(operation: Operation, a: int, b: int) -> int | bool:
    """``a`` and ``b`` are 64-bit register values; immediates come sign-extended."""
    bits = operation.bits
    dst, src = UNSIGNED[64](a).astype(UNSIGNED[bits]), UNSIGNED[64](b).astype(UNSIGNED[bits])
    sdst, ssrc = dst.astype(SIGNED[bits]), src.astype(SIGNED[bits])
    count = src & UNSIGNED[bits](bits - 1) if bits > 16 else src
    table: dict[str, Callable[[], Any]] = {
        "add": lambda: dst + src,
        "sub": lambda: dst - src,
        "mul": lambda: dst * src,
        "div": lambda: dst // src if src else UNSIGNED[bits](0),
        "mod": lambda: dst % src if src else dst,
        "sdiv": lambda: wrapped(truncated(sdst, ssrc), sdst) if ssrc else SIGNED[bits](0),
        "smod": lambda: wrapped(int(sdst) - int(ssrc) * truncated(sdst, ssrc), sdst) if ssrc else sdst,
        "or": lambda: np.bitwise_or(dst, src),
        "and": lambda: np.bitwise_and(dst, src),
        "xor": lambda: np.bitwise_xor(dst, src),
        "lsh": lambda: np.left_shift(dst, count),
        "rsh": lambda: np.right_shift(dst, count),
        "arsh": lambda: np.right_shift(sdst, count.astype(SIGNED[bits])),
        "neg": lambda: np.negative(sdst),
        "mov": lambda: src,
        "movsx8": lambda: src.astype(SIGNED[8]).astype(SIGNED[bits]),
        "movsx16": lambda: src.astype(SIGNED[16]).astype(SIGNED[bits]),
        "movsx32": lambda: src.astype(SIGNED[32]).astype(SIGNED[bits]),
        "le": lambda: dst,
        "be": lambda: dst.byteswap(),
        "bswap": lambda: dst.byteswap(),
        "jeq": lambda: dst == src,
        "jne": lambda: dst != src,
        "jset": lambda: np.bitwise_and(dst, src) != 0,
        "jgt": lambda: dst > src,
        "jge": lambda: dst >= src,
        "jlt": lambda: dst < src,
        "jle": lambda: dst <= src,
        "jsgt": lambda: sdst > ssrc,
        "jsge": lambda: sdst >= ssrc,
        "jslt": lambda: sdst < ssrc,
        "jsle": lambda: sdst <= ssrc,
    }
    with np.errstate(over="ignore"):
        result = table[operation.name]()
    return bool(result) if operation.group is Group.BRANCH else int(result.astype(UNSIGNED[bits]))


def code(operation: Operation, imm: int) -> tuple[Instruction, ...]:
    """The operation on r1 and r2 (or imm), its result in r0; for conditions, whether it jumped."""
    fields = dict(operation.fixed)
    if Operand.SRC in operation.operands:
        fields["src"] = 2
    if Operand.IMMEDIATE in operation.operands:
        fields["imm"] = imm
    exit_ = Instruction(0x95)
    if operation.group is Group.BRANCH:
        tested = Instruction(operation.opcode, 1, offset=2, **fields)
        return tested, Instruction(0xB7, 0), exit_, Instruction(0xB7, 0, imm=1), exit_
    return Instruction(operation.opcode, 1, **fields), Instruction(0xBF, 0, 1), exit_


def program(operation: Operation, immediates: Sequence[int]) -> Program:
    """One entry for each immediate, named by its index."""
    pieces = [code(operation, imm) for imm in immediates]
    entries = {str(index): index * len(piece) for index, piece in enumerate(pieces)}
    return Program(instructions=tuple(slot for piece in pieces for slot in piece), entries=entries)


def pairs(seed: str, count: int) -> list[tuple[int, int]]:
    generator = random.Random(seed)

    def value() -> int:
        return generator.choice(EDGES) if generator.random() < 0.5 else generator.getrandbits(generator.choice((8, 64)))

    return [(value(), value()) for _ in range(count)]


ROWS = [row for row in TABLE if row.group in (Group.ARITHMETIC, Group.SWAP, Group.BRANCH)]


@each_engine
@pytest.mark.parametrize(
    "operation", ROWS, ids=lambda row: f"{row.mnemonic}-{row.operands[-1].name.lower()}-{row.opcode:x}"
)
def test_random_operands(operation: Operation, engine: str) -> None:
    by_register = Operand.IMMEDIATE not in operation.operands
    cases = pairs(f"{operation.mnemonic} {operation.opcode}", PAIRS if by_register else PAIRS // 3)
    immediates = [0] if by_register else [(b + (1 << 31)) % (1 << 32) - (1 << 31) for _, b in cases]
    thread = thread_of(program(operation, immediates), engine)
    for index, (a, b) in enumerate(cases):
        second = b if by_register else immediates[index] % (1 << 64)
        outcome = thread.run("0" if by_register else str(index), (a, b), budget=10, spend=no_time)
        assert outcome.status is Status.RETURNED
        assert outcome.r0 == answer(operation, a, second), f"{operation.mnemonic} 0x{a:x}, 0x{second:x}"


def test_the_reference_itself_on_worked_answers() -> None:
    rows = {
        (row.mnemonic, row.operands[-1] if row.group is Group.ARITHMETIC else row.operands[1]): row
        for row in ROWS
        if len(row.operands) > 1
    }
    assert answer(rows["smod", Operand.SRC], -13 % (1 << 64), 3) == -1 % (1 << 64)
    assert answer(rows["sdiv32", Operand.SRC], 1 << 31, 0xFFFF_FFFF) == 1 << 31
    assert answer(rows["jsgt32", Operand.SRC], 5, 0xFFFF_FFFF) is True
