"""Forms of operations that touch registers only, from the lines of ``semantics``, and the steps that swap bytes."""

from __future__ import annotations

from functools import cache

from nimble.engine.closures.run import RegisterFile, Step
from nimble.engine.closures.steps import Form, landing
from nimble.engine.semantics import ARITHMETIC, BRANCHES, Result
from nimble.isa import BY_MNEMONIC, MASK64, Group, Instruction, Operand, Operation

WIDE = Form(("r[{d}] = {imm}",))
JUMP = Form(landing("taken"), moves=True)

_WIDTHS = {
    64: {"MASK": str(MASK64), "SIGN": str(1 << 63), "SHIFT": "63"},
    32: {"MASK": str((1 << 32) - 1), "SIGN": str(1 << 31), "SHIFT": "31"},
}
_SUB = {row.mnemonic: row for row in (*BY_MNEMONIC["sub"], *BY_MNEMONIC["sub32"]) if Operand.IMMEDIATE in row.operands}


def compute(row: Operation, instruction: Instruction) -> tuple[Form, int]:
    """The form of an arithmetic operation or a branch, and its immediate, sign-extended to the operation's width.

    Compilers subtract a constant by adding its negative; that would leave the width each time and be cut.
    """
    imm = instruction.imm & ((1 << row.bits) - 1)
    if row.name == "add" and Operand.IMMEDIATE in row.operands and instruction.imm < 0:
        return _form(_SUB[row.mnemonic.replace("add", "sub")]), -instruction.imm
    return _form(row), imm


@cache
def _form(row: Operation) -> Form:
    lines = _branch(row) if row.group is Group.BRANCH else _arithmetic(row)
    for name, value in _WIDTHS[row.bits].items():
        lines = tuple(line.replace(name, value) for line in lines)  # literals: a name would be looked up at every step
    return Form(lines, moves=row.group is Group.BRANCH)


def _operands(row: Operation, *, exact: bool) -> dict[str, str]:
    """How the lines of semantics say their operands; ``exact`` ones have no bits above the width."""
    a, b = "r[{d}]", "r[{s}]" if Operand.SRC in row.operands else "{imm}"
    if row.bits == 32 and exact:
        a, b = "(r[{d}] & MASK)", "(r[{s}] & MASK)" if Operand.SRC in row.operands else "{imm}"
    return {"a": a, "b": b}


def _branch(row: Operation) -> tuple[str, ...]:
    condition = BRANCHES[row.name].format_map(_operands(row, exact=True))
    return (f"if {condition}:", *(f"    {line}" for line in landing("taken")), *landing("following"))


def _arithmetic(row: Operation) -> tuple[str, ...]:
    """Results that rarely leave their width are asked whether they do: faster than cutting, when values are small."""
    meaning = ARITHMETIC[row.name]
    expression = meaning.expression.format_map(_operands(row, exact=meaning.exact))
    if meaning.result is Result.ANYWHERE:
        return (f"r[{{d}}] = ({expression}) & MASK",)
    leaves = ["value < 0"] if meaning.result is Result.BELOW else []
    if meaning.result is Result.ABOVE or (row.bits == 32 and not meaning.exact):
        leaves.append("value > MASK")
    if not leaves:
        return (f"r[{{d}}] = {expression}",)
    return (f"value = {expression}", f"if {' or '.join(leaves)}:", "    value &= MASK", "r[{d}] = value")


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
