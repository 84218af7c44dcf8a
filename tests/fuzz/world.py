"""What the program of a case can touch: memory, devices, services; and the log of everything that others could see.

The same world serves the reference, which asks it directly, and an engine, through windows and services. What it
answers depends on the case's seed and on how many events there were before: whoever does something else, or in another
order, gets other answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

from greenlet import getcurrent, greenlet

from nimble.access import STATE_BASE, AccessFault, Memory, Registers, Right, Window
from nimble.services import Argument, Service, ServiceFault, Services
from tests.fuzz.case import Area, Call, Case, filling

PLAIN, REFUSING, BORROWING, AGAIN, FAR, NOUGHT = 1, 2, 3, 7, 0x7FFF_FFFF, 0
SERVICE_IDS = frozenset({PLAIN, REFUSING, BORROWING, AGAIN, FAR, NOUGHT})
METERED = frozenset({BORROWING, AGAIN})
NESTED_LIMIT = 2
_EDGES = (0, 1, -1, 1 << 63, (1 << 64) - 1, 1 << 64, (1 << 70) + 5, -(1 << 63), 0x8000_0000, 0xFFFF_FFFF)


class Trouble(Exception):  # noqa: N818 - no error of anybody
    """What the caller of a run raises in the middle of it."""


class DeepTrouble(BaseException):
    """The same, of the kind that ``except Exception`` does not catch."""


class Runner(Protocol):
    """A thread of an engine, or the reference."""

    def run(self, entry: str, args: Sequence[int], *, budget: int, spend: Callable[[int], None]) -> Any: ...


class World:
    """Build it once for a case; ``reset`` before each runner."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.kinds = [backing.kind for backing in case.backings]
        self.kinds.append("shared" if case.state_shared else "memory")
        sizes = [backing.size for backing in case.backings] + [case.state]
        self._first = [filling(case.seed, index, size) for index, size in enumerate(sizes[:-1])]
        self._first.append(filling(case.seed, -1, case.state))
        self.buffers = [bytearray(data) for data in self._first]
        self._shared = [data for kind, data in zip(self.kinds, self.buffers, strict=True) if kind == "shared"]
        self.areas: tuple[Area, ...] = case.areas
        if case.state:
            self.areas = (*self.areas, Area("state", len(case.backings), STATE_BASE, case.state))
        self.log: list[tuple[Any, ...]] = []
        self.events = self.nested = self.present = 0
        self.runner: Runner | None = None

    def reset(self) -> None:
        """Everything as it was at first. The log is a new one."""
        for data, first in zip(self.buffers, self._first, strict=True):
            data[:] = first
        self.log = []
        self.events = self.nested = self.present = 0

    def is_device(self, area: Area) -> bool:
        return self.kinds[area.backing] == "device"

    def is_visible(self, area: Area) -> bool:
        return self.kinds[area.backing] != "memory"

    def windows(self) -> list[Window]:
        """The areas, as engines want them."""
        backings: list[Memory | Registers] = []
        for index, kind in enumerate(self.kinds):
            if kind == "device":
                backings.append(Registers(partial(self.read, index), partial(self.write, index)))
            else:
                backings.append(Memory(self.buffers[index], shared=kind == "shared"))
        return [
            Window(
                area.name, area.base, area.length, Right(area.rights), backings[area.backing], area.widths, area.origin
            )
            for area in self.areas
        ]

    def services(self) -> Services:
        """The services, as engines want them."""
        return Services(
            Service(
                number,
                f"service{number}",
                partial(self.serve, number) if number in METERED else partial(self._serve_plainly, number),
                "of the fuzzer's world",
                (Argument("first", 1 << 63),) if number == REFUSING else (),
                metered=number in METERED,
            )
            for number in sorted(SERVICE_IDS)
        )

    def spend(self, cost: int) -> None:
        self._happened("spend", cost, b"".join(self._shared))

    def read(self, backing: int, offset: int, width: int) -> int:
        self._happened("read", backing, offset, width)
        answer = self._answer(offset)
        if answer % 29 == 0:
            raise AccessFault(offset, width, Right.READ, f"register {offset} of device {backing} does not answer")
        return _EDGES[answer % 10] if answer % 3 == 0 else answer

    def write(self, backing: int, offset: int, width: int, value: int) -> None:
        self._happened("write", backing, offset, width, value)
        if self._answer(offset) % 29 == 0:
            raise AccessFault(offset, width, Right.WRITE, f"register {offset} of device {backing} refuses {value}")

    def serve(self, number: int, left: int, *args: int) -> tuple[int, int]:
        """The result of a service, and the instructions that it used up of the ``left`` ones."""
        self._happened("serve", number, left if number in METERED else None, *args)
        answer = self._answer(args[0])
        if number == REFUSING and answer % 3 == 0:
            raise ServiceFault(f"refused {args[0]} the {self.events}th time")
        if number == BORROWING:
            return answer, (left + answer % 3) if answer % 7 == 0 else answer % 5
        if number == AGAIN and self.nested < NESTED_LIMIT:
            return self._again(min(left, args[2] & 31), args[:2])
        return (_EDGES[answer % 10] if answer % 4 == 0 else answer ^ args[1]), 0

    def _serve_plainly(self, number: int, *args: int) -> int:
        return self.serve(number, 0, *args)[0]

    def _again(self, budget: int, args: tuple[int, ...]) -> tuple[int, int]:
        """The same program once more, inside a service of itself."""
        assert self.runner is not None
        self.nested += 1
        try:
            outcome = self.runner.run("main", args, budget=budget, spend=self.spend)
        finally:
            self.nested -= 1
        return outcome.r0, outcome.instructions

    def _happened(self, *what: Any) -> None:
        self.log.append((self.present, *what))
        self.events += 1
        if self.events == self.case.trouble:
            raise DeepTrouble if self.case.seed & 1 else Trouble
        if self.case.interleave:
            getcurrent().parent.switch()

    def _answer(self, offset: int) -> int:
        """Something that looks random, of the seed, the events so far, and ``offset``."""
        mixed = (self.case.seed * 0x9E37_79B9 + self.events * 0x85EB_CA6B + offset) & 0xFFFF_FFFF_FFFF_FFFF
        return (mixed ^ mixed >> 15) * 0xC2B2_AE3D_27D4_EB4F >> 7 & 0xFFFF_FFFF_FFFF_FFFF

    def perform(self, runner: Runner) -> list[Any]:
        """Make the calls of the case, from the beginning; their outcomes, None for one that trouble ended."""
        self.reset()
        self.runner = runner
        if self.case.interleave:
            return self._interleaved(runner)
        return [self._call(runner, call) for call in self.case.calls]

    def _call(self, runner: Runner, call: Call) -> Any:
        try:
            return runner.run(call.entry, call.args, budget=call.budget, spend=self.spend)
        except (Trouble, DeepTrouble):
            return None

    def _interleaved(self, runner: Runner) -> list[Any]:
        outcomes: list[Any] = [None] * len(self.case.calls)

        def core(index: int) -> None:
            outcomes[index] = self._call(runner, self.case.calls[index])

        cores = [greenlet(partial(core, index)) for index in range(len(outcomes))]
        try:
            while not all(core.dead for core in cores):
                for self.present, waiting in enumerate(cores):
                    if not waiting.dead:
                        waiting.switch()
        finally:
            self.present = 0
        return outcomes
