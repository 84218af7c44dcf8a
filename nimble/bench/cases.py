"""The programs that are measured, and the data they run on."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from nimble.access import READ_WRITE, AddressSpace, Memory, Right, Window, state_window
from nimble.program import Program
from nimble.python import compile_program
from nimble.services import Services

PROGRAMS = Path(__file__).parent / "programs"
ENTRY = "run"
SERVICES = Services()  # the programs call none

_FIRST_BASE = 1 << 28
_STRIDE = 1 << 28


@dataclass(frozen=True)
class Data:
    """A window that a program is given: its first bytes, and what may be done with them."""

    name: str
    content: bytes
    rights: Right = READ_WRITE


@dataclass(frozen=True)
class Case:
    """A program: ``run(repetitions, the windows' addresses, the arguments)`` gives a number.

    ``simple`` marks the five programs over which bounds are taken.
    """

    name: str
    windows: tuple[Data, ...] = ()
    arguments: tuple[int, ...] = ()
    simple: bool = False

    @property
    def c_source(self) -> Path:
        return PROGRAMS / f"{self.name}.c"

    @cached_property
    def program(self) -> Program:
        """The program in the Python subset, compiled once."""
        return compile_program(PROGRAMS / f"{self.name}.py", {})

    def place(self) -> Placed:
        """Fresh memory for one contender."""
        return Placed(self)


class Placed:
    """A case's data in memory of its own: as a space for an engine, and as bytes for C."""

    def __init__(self, case: Case) -> None:
        self.memories = tuple(bytearray(data.content) for data in case.windows)
        self._windows = [
            Window(data.name, _FIRST_BASE + index * _STRIDE, len(memory), data.rights, Memory(memory))
            for index, (data, memory) in enumerate(zip(case.windows, self.memories, strict=True))
        ]
        self.bases = tuple(window.base for window in self._windows)
        self.arguments = case.arguments
        self._state = bytearray(case.program.state)

    @cached_property
    def space(self) -> AddressSpace:
        """The windows and the program's state."""
        state = state_window(self._state)
        return AddressSpace((*self._windows, state) if state else self._windows)


def _words(seed: int, count: int) -> bytes:
    return random.Random(seed).randbytes(4 * count)


def _padded(message: bytes) -> bytes:
    """Whole blocks for MD5 (RFC 1321, sections 3.1 and 3.2)."""
    zeros = -(len(message) + 9) % 64
    return message + b"\x80" + bytes(zeros) + (8 * len(message)).to_bytes(8, "little")


def _chain(pages: list[int]) -> bytes:
    """A list of nodes (page, number of the next one), from node 1 on; node 0 is its end."""
    nodes = [(0, 0), *((page, number + 2) for number, page in enumerate(pages))]
    nodes[-1] = (nodes[-1][0], 0)
    return b"".join(word.to_bytes(8, "little") for node in nodes for word in node)


def _queue(hot: list[int], heads: int) -> list[int]:
    """Candidates: seven hot pages, then one that is not hot, and so on; none behind ``heads`` is the last."""
    choose = random.Random(3)
    cold = iter(range(1 << 20, 1 << 21))
    return [next(cold) if index % 8 == 7 else choose.choice(hot) for index in range(heads + 8)]


MESSAGE = _words(2, 1 << 14)
HOT_PAGES = random.Random(4).sample(range(1, 1 << 16), 64)
QUEUE_HEADS = 256
QUEUE = _queue(HOT_PAGES, QUEUE_HEADS)
CHECKSUM_WORDS = 1 << 14
SIEVE_SIZE = 8190  # as in the program with which BYTE compared machines in 1981
DISK_BLOCKS = 1 << 16


def cases() -> Iterator[Case]:
    """All of them; the simple ones first."""
    words = _words(1, CHECKSUM_WORDS)
    yield Case("arithmetic", simple=True)
    yield Case("checksum", (Data("data", words, Right.READ),), (CHECKSUM_WORDS,), simple=True)
    yield Case("primes", simple=True)
    yield Case("sieve", (Data("flags", bytes(SIEVE_SIZE)),), (SIEVE_SIZE,), simple=True)
    yield Case("recursion", simple=True)
    blocks = _padded(MESSAGE)
    yield Case("md5", (Data("digest", bytes(16)), Data("message", blocks, Right.READ)), (len(blocks) // 64,))
    lists = Data("queue", _chain(QUEUE), Right.READ), Data("hot", _chain(HOT_PAGES), Right.READ)
    yield Case("eviction", lists, (QUEUE_HEADS,))
    yield Case("logical_disk", (Data("map", bytes(4 * DISK_BLOCKS)),), (DISK_BLOCKS,))
