"""Static acceptance: what must hold of a program before it is translated. Errors name the instruction and its line.

This is the structure only: known opcodes, jumps that hit instructions, registers that exist, services that answer.
What a program touches is checked while it runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field

from nimble.access import AddressSpace, Window
from nimble.disassembler import instruction_text
from nimble.flow import target_of
from nimble.isa import FRAME_POINTER, REGISTERS, Group, Instruction, InstructionError, Operation
from nimble.program import Program
from nimble.services import Services


class InsertionRefused(ValueError):  # noqa: N818 - says what happened
    """A program or manifest that must not run; the text says where, what and how to mend it."""


@dataclass(frozen=True)
class Facts:
    """What was proved of an accepted program. ``proved``: the window (``access.STACK`` for the stack) in which every
    access of the instruction at that pc lies, with the right and the width that it needs."""

    proved: Mapping[int, Window] = field(default_factory=dict)


def verify(program: Program, services: Services, space: AddressSpace | None = None) -> Facts:
    """Accept a program and say what is known of it. Raises InsertionRefused with the instruction and its line.

    Accesses are proved against the windows of ``space``; without it nothing but the stack is known.
    """
    try:
        found = program.starts
    except InstructionError as error:
        raise InsertionRefused(str(error)) from None
    places = {pc for pc, _, _ in found}
    _check_entries(program, places)
    for pc, instruction, operation in found:
        complaint = (
            _registers(instruction, operation)
            or _target(program, pc, instruction, operation, places)
            or _service(instruction, operation, services)
        )
        if complaint:
            raise InsertionRefused(f"{program.where(pc)}: {instruction_text(program, pc)}: {complaint}")
    pc, _, last = found[-1]
    if last.continues:
        text = instruction_text(program, pc)
        raise InsertionRefused(f"{program.where(pc)}: {text}: the code ends behind it; a run would fall off; add exit")
    return Facts()


def _check_entries(program: Program, places: Set[int]) -> None:
    if not program.entries:
        raise InsertionRefused(f"{program.name}: no entry point; a program needs one or more; name one with .entry")
    for name, pc in program.entries.items():
        if pc not in places:
            raise InsertionRefused(f"{program.name}: entry {name}: pc {pc} is no instruction; point it at one")


def _registers(instruction: Instruction, operation: Operation) -> str:
    for name, written in (("dst", operation.writes_dst), ("src", operation.writes_src)):
        register = getattr(instruction, name)
        if name not in operation.uses:
            continue
        if register >= REGISTERS:
            return f"register r{register}; r0..r{REGISTERS - 1} exist; use one of them"
        if written and register == FRAME_POINTER:
            return f"writes r{FRAME_POINTER}; the frame pointer is read-only; copy it to another register"
    return ""


def _target(program: Program, pc: int, instruction: Instruction, operation: Operation, places: Set[int]) -> str:
    target = target_of(operation, instruction, pc)
    if target is None or target in places:
        return ""
    if 0 <= target < len(program.instructions):
        return f"target pc {target} is the second slot of lddw; jump to an instruction"
    return f"target pc {target} is outside 0..{len(program.instructions) - 1}; jump inside the program"


def _service(instruction: Instruction, operation: Operation, services: Services) -> str:
    if operation.group is not Group.CALL_SERVICE or services.get(instruction.imm):
        return ""
    known = ", ".join(f"{service.id} {service.name}" for service in services) or "none"
    return f"unknown service {instruction.imm}; known are: {known}; call one of them"
