"""Code to text, in the syntax that the assembler reads back to the same code."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from nimble.flow import slot_at, target_of
from nimble.isa import Group, InstructionError, Operand, operation_of, wide_immediate
from nimble.program import Program

_DATA_COLUMNS = 4
_PLAIN_NAME = re.compile(r"[\w.$@/*-]+", re.ASCII)


def instruction_text(program: Program, pc: int) -> str:
    """One instruction, its jumps relative (``+2``). Raises InstructionError."""
    return _text(program, pc, {})


def complaint(program: Program, pc: int, why: str) -> str:
    """An error about one instruction: its place, its text, and ``why``. Raises InstructionError."""
    return f"{program.where(pc)}: {instruction_text(program, pc)}: {why}"


def disassemble(program: Program) -> str:
    """Text that ``assemble`` turns into an equal program. Raises InstructionError."""
    found = program.starts
    places = {pc for pc, _, _ in found}
    targets = {target_of(operation, instruction, pc) for pc, instruction, operation in found}
    targets |= {
        slot_at(_wide(program, pc)) for pc, _, operation in found if operation.group is Group.WIDE
    }  # addresses of functions
    labels = {pc: f"L{pc}" for pc in targets if pc is not None and pc in places}
    lines = list(_state_lines(program.state))
    names = _entry_names(program, places)
    for pc, _, _ in found:
        lines += [f".entry {name}" for name in names.get(pc, ())]
        if pc in labels:
            lines.append(f"{labels[pc]}:")
        lines.append(f"    {_text(program, pc, labels)}")
    return "\n".join(lines) + "\n"


def _entry_names(program: Program, places: set[int]) -> dict[int, list[str]]:
    names: dict[int, list[str]] = {}
    for name, pc in program.entries.items():
        if pc not in places:
            raise InstructionError(f"{program.name}: entry {name}: pc {pc} is no instruction; point it at one")
        names.setdefault(pc, []).append(name if _PLAIN_NAME.fullmatch(name) else json.dumps(name))
    return names


def _wide(program: Program, pc: int) -> int:
    return wide_immediate(program.instructions[pc], program.instructions[pc + 1])


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
            value = _wide(program, pc)
            texts.append(labels.get(slot_at(value), f"0x{value:x}"))
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
