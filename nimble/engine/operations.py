"""Steps that touch registers only: one factory per row of the table, made from the lines of ``semantics``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nimble.engine import semantics
from nimble.engine.run import MASK64, RegisterFile, Step
from nimble.isa import TABLE, Group, Instruction, Operand, Operation, wide_immediate

# A factory binds the fields of one instruction. ``following`` and ``taken`` are cells that ``link`` fills in later,
# for a step may come before the steps that it leads to.
_ARITHMETIC = """
def make(d, s, imm):
    following = None
    def step(r):
        r[d] = {result}
        return following
    return step
"""
_BRANCH = """
def make(d, s, imm):
    following = taken = None
    def step(r):
        if {condition}:
            return taken
        return following
    return step
"""
_WIDTHS = {
    64: {"MASK": str(MASK64), "SIGN": str(1 << 63), "SHIFT": "63"},
    32: {"MASK": str((1 << 32) - 1), "SIGN": str(1 << 31), "SHIFT": "31"},
}


def _build(row: Operation) -> Callable[[int, int, int], Step]:
    meaning = semantics.ARITHMETIC[row.name] if row.group is Group.ARITHMETIC else None
    exact = meaning is None or meaning.exact
    by_register = Operand.SRC in row.operands
    a, b = "r[d]", "r[s]" if by_register else "imm"
    if row.bits == 32 and exact:
        a, b = "(r[d] & MASK)", "(r[s] & MASK)" if by_register else "imm"
    if meaning is None:
        text = _BRANCH.format(condition=semantics.BRANCHES[row.name].format(a=a, b=b))
    else:
        result = meaning.expression.format(a=a, b=b)
        closed = meaning.closed and (row.bits == 64 or exact)
        text = _ARITHMETIC.format(result=result if closed else f"({result}) & MASK")
    for name, value in _WIDTHS[row.bits].items():
        text = text.replace(name, value)  # literals: a global would be looked up at every step
    names: dict[str, Any] = {
        "signed_quotient": semantics.signed_quotient,
        "signed_remainder": semantics.signed_remainder,
    }
    exec(compile(text, f"<nimble {row.mnemonic}>", "exec"), names)
    make: Callable[[int, int, int], Step] = names["make"]
    return make


_FACTORIES = {row: _build(row) for row in TABLE if row.group in (Group.ARITHMETIC, Group.BRANCH)}


def compute(row: Operation, instruction: Instruction) -> Step:
    """The step of an arithmetic operation or a branch. Immediates are sign-extended to the operation's width."""
    imm = instruction.imm & ((1 << row.bits) - 1)
    return _FACTORIES[row](instruction.dst, instruction.src, imm)


def wide(first: Instruction, second: Instruction) -> Step:
    """The step of ``lddw``."""
    d, value = first.dst, wide_immediate(first, second)
    following: Step | None = None

    def step(r: RegisterFile) -> Step | None:
        r[d] = value
        return following

    return step


def swap(row: Operation, instruction: Instruction) -> Step:
    """The step of a byte swap. Ref: RFC 9669, section 4.2; the machine is little-endian, so ``le`` only cuts."""
    d, mask, width = instruction.dst, (1 << row.bits) - 1, row.bits // 8
    following: Step | None = None

    def cut(r: RegisterFile) -> Step | None:
        r[d] &= mask
        return following

    def reverse(r: RegisterFile) -> Step | None:
        r[d] = int.from_bytes((r[d] & mask).to_bytes(width, "little"), "big")
        return following

    return cut if row.name == "le" else reverse
