"""One fuzz case: a program, what it may touch, and how it is called. Plain values, and JSON for the corpus."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from nimble.isa import decode
from nimble.program import Program

READ, WRITE = 1, 2
NEVER = -1
FLAT = 1 << 16  # in a seed: all operations cost the same


class Backing(NamedTuple):
    """What stands behind areas: ``size`` bytes of ``memory`` or ``shared`` memory, or the registers of a ``device``."""

    kind: str
    size: int


class Area(NamedTuple):
    """A window: ``length`` bytes at address ``base``, from byte ``origin`` of a backing (by index)."""

    name: str
    backing: int
    base: int
    length: int
    rights: int = READ | WRITE
    widths: tuple[int, ...] = (1, 2, 4, 8)
    origin: int = 0


class Call(NamedTuple):
    """One run: entry, r1..r5, instructions allowed."""

    entry: str
    args: tuple[int, ...]
    budget: int


@dataclass(frozen=True, kw_only=True)
class Case:
    """``seed`` decides what memory holds at first, what devices and services answer, and what operations cost;
    with FLAT in it they all cost the same.

    ``trouble``: the number of the event (payment, register access, service call) at which an exception of the
    caller's is raised; NEVER for none. ``interleave``: the calls are made at once, each in a greenlet of its own, and
    every event switches to the next; otherwise they are made one after the other.
    """

    code: bytes
    entries: dict[str, int]
    calls: tuple[Call, ...]
    backings: tuple[Backing, ...] = ()
    areas: tuple[Area, ...] = ()
    state: int = 0  # bytes of own state
    state_shared: bool = False
    seed: int = 0
    trouble: int = NEVER
    interleave: bool = False
    note: str = field(default="", compare=False)

    @cached_property
    def program(self) -> Program:
        """Raises InstructionError or ValueError when the code is none."""
        return Program(
            instructions=decode(self.code), entries=self.entries, state=filling(self.seed, -1, self.state), name="fuzz"
        )

    def to_json(self, expected: Any = None) -> str:
        """``expected`` is kept beside the case; None when it is that the verifier refuses it."""
        record = asdict(self) | {"code": self.code.hex(), "expected": expected}
        return json.dumps(record) + "\n"

    @classmethod
    def from_json(cls, text: str) -> tuple[Case, Any]:
        """The case and what was kept as expected."""
        record = json.loads(text)
        expected = record.pop("expected")
        record["code"] = bytes.fromhex(record["code"])
        record["calls"] = tuple(Call(entry, tuple(args), budget) for entry, args, budget in record["calls"])
        record["backings"] = tuple(Backing(*values) for values in record["backings"])
        areas = (Area(*values) for values in record["areas"])
        record["areas"] = tuple(area._replace(widths=tuple(area.widths)) for area in areas)
        return cls(**record), expected


def filling(seed: int, index: int, size: int) -> bytes:
    """What memory holds at first: different in each backing."""
    step = (seed * 2 + index * 14 + 37) | 1
    return bytes((seed + step * at) & 0xFF for at in range(size))
