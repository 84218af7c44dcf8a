"""What the verifier needs of each row of the instruction table, as plain integers and found once."""

from __future__ import annotations

from typing import NamedTuple

from nimble.isa import TABLE, Group, Operand, Operation

# Kinds of instructions. From JUMP on they end a block.
BY_IMMEDIATE, BY_REGISTER, CONSTANT, COPY, LOAD, STORE, ATOMIC, SERVICE, JUMP, BRANCH, CALL, CALLX, EXIT = range(13)

R0 = 1
ARGUMENTS_MASK = 0b111110  # r1..r5
FRAME_MASK = 1 << 10
KEPT_MASK = 0b1111000000 | FRAME_MASK  # what a call leaves as it was


class Row(NamedTuple):
    """``kind``, and which registers it reads and writes: 1 or 0 for its dst and src fields, and masks of others."""

    kind: int
    reads_dst: int
    reads_src: int
    reads: int
    writes_dst: int
    writes_src: int
    writes: int


_KINDS = {
    Group.SWAP: BY_IMMEDIATE, Group.WIDE: CONSTANT, Group.LOAD: LOAD, Group.STORE: STORE, Group.ATOMIC: ATOMIC,
    Group.CALL_SERVICE: SERVICE, Group.JUMP: JUMP, Group.BRANCH: BRANCH, Group.CALL_LOCAL: CALL,
    Group.CALL_REGISTER: CALLX, Group.EXIT: EXIT,
}  # fmt: skip


def _kind(row: Operation) -> int:
    if row.group is not Group.ARITHMETIC:
        return _KINDS[row.group]
    by_register = Operand.SRC in row.operands
    if row.name == "mov" and row.bits == 64:
        return COPY if by_register else CONSTANT
    return BY_REGISTER if by_register else BY_IMMEDIATE


def _row(row: Operation) -> Row:
    operands = row.operands
    only_written = row.group in (Group.WIDE, Group.LOAD) or row.name.startswith("mov")
    reads_dst = ("dst" in row.uses) and not only_written
    reads_src = Operand.SRC in operands or Operand.AT_SRC in operands
    exchanges = row.name == "cmpxchg"
    return Row(
        _kind(row), int(reads_dst), int(reads_src), R0 * exchanges, int(row.writes_dst), int(row.writes_src),
        R0 * exchanges,
    )  # fmt: skip


ROWS: dict[Operation, Row] = {row: _row(row) for row in TABLE}
