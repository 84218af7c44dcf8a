"""Arithmetic and conditions on random operands against fixed-width numpy arithmetic."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from nimble.engine.outcome import Status
from nimble.isa import TABLE, Group, Instruction, Operand, Operation
from nimble.program import Program
from tests.nimble.engines import each_engine, silent, thread_of

UNSIGNED: dict[int, Any] = {8: np.uint8, 16: np.uint16, 32: np.uint32, 64: np.uint64}
SIGNED: dict[int, Any] = {8: np.int8, 16: np.int16, 32: np.int32, 64: np.int64}
EDGES = (0, 1, 2, 31, 32, 63, 64, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)
PAIRS = 60


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


def program(operation: Operation, imm: int) -> Program:
    """The operation on r1 and r2 (or imm), its result in r0; for conditions, whether it jumped."""
    fields = dict(operation.fixed)
    if Operand.SRC in operation.operands:
        fields["src"] = 2
    if Operand.IMMEDIATE in operation.operands:
        fields["imm"] = imm
    exit_ = Instruction(0x95)
    code: tuple[Instruction, ...]
    if operation.group is Group.BRANCH:
        tested = Instruction(operation.opcode, 1, offset=2, **fields)
        code = (tested, Instruction(0xB7, 0), exit_, Instruction(0xB7, 0, imm=1), exit_)
    else:
        code = (Instruction(operation.opcode, 1, **fields), Instruction(0xBF, 0, 1), exit_)
    return Program(instructions=code, entries={"main": 0})


def pairs(seed: str) -> list[tuple[int, int]]:
    generator = random.Random(seed)

    def value() -> int:
        return generator.choice(EDGES) if generator.random() < 0.5 else generator.getrandbits(generator.choice((8, 64)))

    return [(value(), value()) for _ in range(PAIRS)]


ROWS = [row for row in TABLE if row.group in (Group.ARITHMETIC, Group.SWAP, Group.BRANCH)]


@each_engine
@pytest.mark.parametrize(
    "operation", ROWS, ids=lambda row: f"{row.mnemonic}-{row.operands[-1].name.lower()}-{row.opcode:x}"
)
def test_random_operands(operation: Operation, engine: str) -> None:
    immediate = Operand.IMMEDIATE in operation.operands
    for index, (a, b) in enumerate(pairs(f"{operation.mnemonic} {operation.opcode}")):
        imm = (b + (1 << 31)) % (1 << 32) - (1 << 31) if immediate else 0
        if index == 0 or immediate:
            thread = thread_of(program(operation, imm), engine, checked=bool(index % 2))
        outcome = thread.run("main", (a, b), budget=10, spend=silent)
        assert outcome.status is Status.RETURNED
        expected = answer(operation, a, imm % (1 << 64) if immediate else b)
        assert outcome.r0 == expected, f"{operation.mnemonic} 0x{a:x}, 0x{imm if immediate else b:x}"


def test_the_reference_itself_on_worked_answers() -> None:
    rows = {
        (row.mnemonic, row.operands[-1] if row.group is Group.ARITHMETIC else row.operands[1]): row
        for row in ROWS
        if len(row.operands) > 1
    }
    assert answer(rows["smod", Operand.SRC], -13 % (1 << 64), 3) == -1 % (1 << 64)
    assert answer(rows["sdiv32", Operand.SRC], 1 << 31, 0xFFFF_FFFF) == 1 << 31
    assert answer(rows["jsgt32", Operand.SRC], 5, 0xFFFF_FFFF) is True
