"""A program: code, named entry points and the first image of its state. Knows neither rights nor services."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from nimble.isa import Instruction

INSTRUCTION_LIMIT = 1 << 20  # slots; as Linux bounds what a privileged program may have processed
STATE_LIMIT_BYTES = 1 << 20


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
