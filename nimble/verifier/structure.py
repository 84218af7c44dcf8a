"""What must hold of each instruction by itself: fields, targets and services that exist, accesses inside the frame."""

from __future__ import annotations

from collections.abc import Set

from nimble.access import FRAME_BYTES
from nimble.disassembler import complaint
from nimble.flow import target_of
from nimble.isa import FRAME_POINTER, REGISTERS, Instruction, InstructionError, Operation
from nimble.program import Program
from nimble.services import Services
from nimble.verifier.facts import InsertionRefused
from nimble.verifier.rows import ATOMIC, JUMP, LOAD, ROWS, SERVICE, STORE


def refusal(program: Program, pc: int, why: str) -> InsertionRefused:
    """The refusal of a program for one of its instructions."""
    return InsertionRefused(complaint(program, pc, why))


def check_structure(program: Program, services: Services) -> None:
    """Raises InsertionRefused at the first instruction that cannot be right, whatever the others are."""
    try:
        found = program.starts
    except InstructionError as error:
        raise InsertionRefused(str(error)) from None
    places = {pc for pc, _, _ in found}
    _check_entries(program, places)
    for pc, instruction, row in found:
        # Most instructions have no field that could be wrong, and 0..9 are registers for everything.
        kind = ROWS[row].kind
        if kind < LOAD and instruction.dst < FRAME_POINTER and instruction.src < FRAME_POINTER:
            continue
        why = _registers(instruction, row)
        if not why and kind >= JUMP:
            why = _target(program, pc, instruction, row, places)
        elif not why and kind == SERVICE:
            why = _service(instruction, services)
        elif not why and kind in (LOAD, STORE, ATOMIC):
            why = _frame(instruction, row, kind)
        if why:
            raise refusal(program, pc, why)
    pc, _, last = found[-1]
    if last.continues:
        raise refusal(program, pc, "the code ends behind it; a run would fall off; add exit")


def _check_entries(program: Program, places: Set[int]) -> None:
    if not program.entries:
        raise InsertionRefused(f"{program.name}: no entry point; a program needs one or more; name one with .entry")
    for name, pc in program.entries.items():
        if pc not in places:
            raise InsertionRefused(f"{program.name}: entry {name}: pc {pc} is no instruction; point it at one")


def _registers(instruction: Instruction, operation: Operation) -> str:
    if instruction.dst < FRAME_POINTER and instruction.src < FRAME_POINTER:
        return ""
    for field, written in (("dst", operation.writes_dst), ("src", operation.writes_src)):
        register = getattr(instruction, field)
        if field not in operation.uses:
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


def _service(instruction: Instruction, services: Services) -> str:
    if services.get(instruction.imm):
        return ""
    known = ", ".join(f"{service.id} {service.name}" for service in services) or "none"
    return f"unknown service {instruction.imm}; known are: {known}; call one of them"


def _frame(instruction: Instruction, operation: Operation, kind: int) -> str:
    """Accesses by r10 itself; those by registers made of it wait until their values are known."""
    register = instruction.src if kind == LOAD else instruction.dst
    return outside_frame(instruction.offset, operation.bits // 8) if register == FRAME_POINTER else ""


def outside_frame(offset: int, width: int, above: int = 0) -> str:
    """The complaint about an access of ``width`` bytes at r10 plus ``offset``, if it does not lie in the frame or the
    ``above`` bytes of callers' frames that are known to follow."""
    if -FRAME_BYTES <= offset <= above - width:
        return ""
    reach = f"r10-{FRAME_BYTES}..r10-1" if not above else f"r10-{FRAME_BYTES}..r10+{above - 1}"
    return f"{width} bytes at r10{offset:+d} leave the stack; it is {reach} here; use less of it"
