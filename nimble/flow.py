"""How control moves through a program: where its instructions lead, and where functions begin."""

from __future__ import annotations

from collections.abc import Iterator

from nimble.access import TEXT_BASE
from nimble.isa import SLOT_BYTES, Group, Instruction, Operation, wide_immediate
from nimble.program import Program

WORD_BYTES = 8


def target_of(operation: Operation, instruction: Instruction, pc: int) -> int | None:
    """The pc that a jump, branch or local call goes to; None for every other operation."""
    field = operation.target_field
    return pc + 1 + getattr(instruction, field) if field else None


def functions(program: Program) -> frozenset[int]:
    """The pcs that a call through a register may reach: entries, targets of local calls, and addresses of instructions
    that stand in ``lddw`` or in the state."""
    found = program.starts
    begins = set(program.entries.values())
    for pc, instruction, operation in found:
        if operation.group is Group.CALL_LOCAL:
            begins.add(pc + 1 + instruction.imm)
        elif operation.group is Group.WIDE:
            begins.add(slot_at(wide_immediate(instruction, program.instructions[pc + 1])))
    begins.update(slots_in_state(program))
    return frozenset(begins.intersection(pc for pc, _, _ in found))


def slots_in_state(program: Program) -> Iterator[int]:
    """Slots whose addresses stand in the first image of the state, at multiples of eight bytes: tables of functions."""
    whole = len(program.state) // WORD_BYTES * WORD_BYTES
    for word in memoryview(program.state)[:whole].cast("Q"):
        if word >= TEXT_BASE:
            yield slot_at(word)


def slot_at(address: int) -> int:
    """The slot that has this address in the text; -1 if none can have it."""
    slot, rest = divmod(address - TEXT_BASE, SLOT_BYTES)
    return -1 if rest or slot < 0 else slot


def address_of(pc: int) -> int:
    """The address of a slot, for calls through a register."""
    return TEXT_BASE + SLOT_BYTES * pc
