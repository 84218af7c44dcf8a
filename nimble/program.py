"""A program: code, named entry points and the first image of its state. Knows neither rights nor services."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from nimble.isa import Instruction, InstructionError, Operation, operation_of

INSTRUCTION_LIMIT = 1 << 20  # slots; as Linux bounds what a privileged program may have processed
STATE_LIMIT_BYTES = 1 << 20


Start = tuple[int, Instruction, Operation]  # pc, instruction, row of the table


class SourceLine(NamedTuple):
    """Where an instruction was written."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, kw_only=True)
class Program:
    """Code as slots: a pc is an index into ``instructions``, and ``lddw`` takes two.

    ``entries`` names pcs where a run may begin; ``state`` is the initial image of the extension's own memory (it
    appears at ``access.STATE_BASE``); ``lines`` says where instructions were written, for errors, and may have gaps.
    Raises ValueError when code or state is larger than its limit, or there is no code.
    """

    instructions: tuple[Instruction, ...]
    entries: Mapping[str, int]
    state: bytes = b""
    lines: Mapping[int, SourceLine] = field(default_factory=dict, compare=False)
    name: str = field(default="program", compare=False)

    def __post_init__(self) -> None:
        count, size = len(self.instructions), len(self.state)
        if not 1 <= count <= INSTRUCTION_LIMIT:
            raise ValueError(f"{self.name}: {count} slots of code; 1..{INSTRUCTION_LIMIT} are allowed; split it")
        if size > STATE_LIMIT_BYTES:
            raise ValueError(
                f"{self.name}: {size} bytes of state; at most {STATE_LIMIT_BYTES} are allowed; ask for a window"
            )

    def where(self, pc: int) -> str:
        """``file:line: pc N`` as far as it is known, to begin an error with."""
        line = self.lines.get(pc)
        return f"{line}: pc {pc}" if line else f"{self.name}: pc {pc}"

    @cached_property
    def starts(self) -> tuple[Start, ...]:
        """Each instruction with its pc and its row of the table; second slots of ``lddw`` are not instructions.

        Raises InstructionError, with the place, at the first slot that is none.
        """
        return tuple(self._find())

    def _find(self) -> Iterator[Start]:
        pc, slots = 0, self.instructions
        while pc < len(slots):
            try:
                operation = operation_of(slots[pc])
                if operation.slots == 2:
                    self._check_second_slot(pc)
            except InstructionError as error:
                raise InstructionError(f"{self.where(pc)}: {error}") from None
            yield pc, slots[pc], operation
            pc += operation.slots

    def _check_second_slot(self, pc: int) -> None:
        if pc + 1 >= len(self.instructions):
            raise InstructionError("lddw: its second slot is cut off; the code ends here; add it")
        second = self.instructions[pc + 1]
        if second.opcode or second.dst or second.src or second.offset:
            raise InstructionError("lddw: its second slot holds more than imm; every other field must be 0; clear them")
