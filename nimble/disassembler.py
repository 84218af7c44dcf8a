"""Code to text, in the syntax that the assembler reads back to the same code."""

from __future__ import annotations

from collections.abc import Iterator

from nimble.flow import target_of
from nimble.isa import Operand, operation_of, wide_immediate
from nimble.program import Program

_DATA_COLUMNS = 4


def instruction_text(program: Program, pc: int) -> str:
    """One instruction, its jumps relative (``+2``). Raises InstructionError."""
    return _text(program, pc, {})


def disassemble(program: Program) -> str:
    """Text that ``assemble`` turns into an equal program. Raises InstructionError."""
    found = program.starts
    places = {pc for pc, _, _ in found}
    targets = {target_of(operation, instruction, pc) for pc, instruction, operation in found}
    labels = {pc: f"L{pc}" for pc in targets if pc is not None and pc in places}
    lines = list(_state_lines(program.state))
    for pc, _, _ in found:
        lines += [f".entry {name}" for name, entry in program.entries.items() if entry == pc]
        if pc in labels:
            lines.append(f"{labels[pc]}:")
        lines.append(f"    {_text(program, pc, labels)}")
    return "\n".join(lines) + "\n"


def _text(program: Program, pc: int, labels: dict[int, str]) -> str:
    instruction = program.instructions[pc]
    operation = operation_of(instruction)
    texts = []
    for operand in operation.operands:
        if operand is Operand.DST:
            texts.append(f"%r{instruction.dst}")
        elif operand is Operand.SRC:
            texts.append(f"%r{instruction.src}")
        elif operand in (Operand.AT_DST, Operand.AT_SRC):
            register = instruction.dst if operand is Operand.AT_DST else instruction.src
            texts.append(f"[%r{register}{instruction.offset:+d}]" if instruction.offset else f"[%r{register}]")
        elif operand is Operand.WIDE:
            texts.append(f"0x{wide_immediate(instruction, program.instructions[pc + 1]):x}")
        elif operand in (Operand.IMMEDIATE, Operand.SERVICE):
            texts.append(str(instruction.imm))
        else:
            target = target_of(operation, instruction, pc)
            assert target is not None  # every other operand is a place in the code
            texts.append(labels.get(target, f"{target - pc - 1:+d}"))
    return f"{operation.mnemonic} {', '.join(texts)}".rstrip()


def _state_lines(state: bytes) -> Iterator[str]:
    image = state.rstrip(b"\0")
    for at in range(0, len(image), _DATA_COLUMNS):
        yield ".byte " + ", ".join(f"0x{byte:02x}" for byte in image[at : at + _DATA_COLUMNS])
    if len(state) > len(image):
        yield f".state {len(state) - len(image)}"
