"""Instructions made ready to be run on values, one tuple each, so that running them asks nothing of the table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nimble.isa import Group, Instruction, Operand, Operation, wide_immediate
from nimble.program import Start
from nimble.services import Services
from nimble.verifier.arithmetic import TRANSFERS
from nimble.verifier.branches import HALF_REFINEMENTS, REFINEMENTS, Refinement
from nimble.verifier.graph import Block, Graph
from nimble.verifier.rows import ATOMIC, BY_IMMEDIATE, BY_REGISTER, CONSTANT, COPY, EXIT, JUMP, LOAD, ROWS, STORE
from nimble.verifier.values import ANY, Value, arc, constant, up_to

# kind, dst, src, what, with, pc. ``what`` is the transfer function of arithmetic, the offset of an access, the service
# of a call. ``with`` is an immediate as a value, or for accesses what ``_access`` says.
Step = tuple[int, int, int, Any, Any, int]
# The refinement of a branch, that for lower halves (None: it compares whole registers), dst, src, and the immediate as
# a value or None.
Condition = tuple[Refinement, Refinement | None, int, int, Value | None]

# Kinds of steps besides those of ``rows``: 32-bit arithmetic, and what else reads nothing but lower halves.
HALF_BY_IMMEDIATE, HALF_BY_REGISTER = EXIT + 1, EXIT + 2

NO_REGISTER = -1


def steps_of(graph: Graph, block: Block, services: Services) -> list[Step]:
    """The instructions of a block but for one that moves control."""
    slots = graph.program.instructions
    return [_step(start, slots, services) for start in _plain(graph, block)]


def _plain(graph: Graph, block: Block) -> Iterator[Start]:
    for start in graph.code[block.start : block.end]:
        if ROWS[start[2]].kind < JUMP:
            yield start


def condition_of(graph: Graph, block: Block) -> Condition:
    """The condition of the branch at the end of a block."""
    _, instruction, row = graph.code[block.end - 1]
    immediate = None if Operand.SRC in row.operands else constant(instruction.imm)
    return REFINEMENTS[row], HALF_REFINEMENTS.get(row), instruction.dst, instruction.src, immediate


def _step(start: Start, slots: tuple[Instruction, ...], services: Services) -> Step:
    pc, instruction, row = start
    kind, dst, src = ROWS[row].kind, instruction.dst, instruction.src
    if kind == BY_IMMEDIATE:
        kind = HALF_BY_IMMEDIATE if _reads_halves(row) else kind
        return kind, dst, src, TRANSFERS[row], constant(instruction.imm), pc
    if kind == BY_REGISTER:
        return HALF_BY_REGISTER if _reads_halves(row) else kind, dst, src, TRANSFERS[row], None, pc
    if kind == CONSTANT:
        number = wide_immediate(instruction, slots[pc + 1]) if row.slots == 2 else instruction.imm
        return kind, dst, src, None, constant(number), pc
    if kind == COPY:
        return kind, dst, src, None, None, pc
    if kind in (LOAD, STORE, ATOMIC):
        return kind, dst, src, instruction.offset, _access(kind, instruction, row), pc
    return kind, dst, src, services.get(instruction.imm), None, pc


def _reads_halves(row: Operation) -> bool:
    return row.group is Group.ARITHMETIC and (row.bits == 32 or row.name == "movsx32")


def _access(kind: int, instruction: Instruction, row: Operation) -> tuple[Any, ...]:
    """Of a load its width in bytes, what it gives at least, and whether it is zero-extended; of a store its width and
    the immediate as a value or None; of an atomic its width, where the old value goes, and what that is at least."""
    width = row.bits // 8
    least = ANY if row.bits == 64 else up_to((1 << row.bits) - 1)
    if kind == LOAD and row.name == "load_signed":
        half = 1 << row.bits - 1
        return width, arc(-half, half - 1, 1), False
    if kind == LOAD:
        return width, least, True
    if kind == STORE:
        mask = (1 << row.bits) - 1
        return width, None if Operand.SRC in row.operands else constant(instruction.imm & mask)
    fetches = instruction.src if row.writes_src else 0 if row.name == "cmpxchg" else NO_REGISTER
    return width, fetches, least
