"""What a theorem is, and how a seeded bug gets into the hardware."""

import importlib
import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from types import FunctionType
from typing import Any

from rtl.nic.parameters import NicParameters
from rtl.packets import DATAPATH_BITS
from tests.formal.bench import Bench

# The smallest NIC in which everything that can be mistaken for another thing is there twice.
SMALL = NicParameters(
    contexts=2,
    windows=2,
    portal_entries=2,
    match_entries=2,
    unexpected_headers=2,
    counters=2,
    outstanding=2,
    prefetch=2,
    replies=1,
    read_ahead_flits=16,
    mtu_bytes=64,
    nodes=2,
    interrupt_lines=2,
)


@dataclass(frozen=True, kw_only=True)
class Bug:
    """The hardware with `old`, which stands once in the source of `function` ("module:qualified.name"), made `new`."""

    function: str
    old: str
    new: str

    @contextmanager
    def seeded(self) -> Iterator[None]:
        """The bug is there while this lasts, whoever has imported the function under whatever name."""
        function = self._find()
        source = textwrap.dedent(inspect.getsource(function))
        if source.count(self.old) != 1:
            raise LookupError(
                f"{self.function}: {self.old!r} stands there {source.count(self.old)} times; "
                "the hardware has changed, seed the bug anew"
            )
        namespace: dict[str, Any] = {}
        exec(compile(source.replace(self.old, self.new), self.function, "exec"), function.__globals__, namespace)
        sound = function.__code__
        function.__code__ = inspect.unwrap(namespace[function.__name__]).__code__
        try:
            yield
        finally:
            function.__code__ = sound

    def _find(self) -> FunctionType:
        module, _, path = self.function.partition(":")
        found: Any = importlib.import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
        return inspect.unwrap(found)  # type: ignore[no-any-return]


@dataclass(frozen=True, kw_only=True)
class Theorem:
    """`build` makes the bench; `number` is that of the property which it is part of.

    It is proved by induction over `induction` cycles, and so holds for any number of them. Each of `bugs` breaks it.
    """

    name: str
    number: int
    block: str
    says: str
    build: Callable[..., Bench]
    induction: int
    bugs: tuple[Bug, ...]


THEOREMS: dict[str, Theorem] = {}


def theorem(
    number: int, block: str, *, bugs: tuple[Bug, ...], induction: int = 1, every_width: bool = False
) -> Callable[[Callable[..., Bench]], Callable[..., Bench]]:
    """Enters a function that builds a bench; its docstring is what the theorem says.

    With `every_width` the function takes parameters (SMALL, if it is given none), and becomes a theorem for each width
    of the datapath: that of SMALL has the function's name and all bugs, the others end with their bits and have the
    first of the bugs.
    """

    def enter(build: Callable[..., Bench]) -> Callable[..., Bench]:
        room = build.__module__.rpartition(".")[2]
        name = f"{room}.{build.__name__}"
        says = " ".join((build.__doc__ or "").split())
        THEOREMS[name] = Theorem(
            name=name, number=number, block=block, says=says, build=build, induction=induction, bugs=bugs
        )
        for bits in DATAPATH_BITS:
            if every_width and bits != SMALL.datapath_bits:
                THEOREMS[f"{name}_{bits}"] = replace(
                    THEOREMS[name],
                    name=f"{name}_{bits}",
                    says=f"{says} On a datapath of {bits} bits.",
                    build=partial(build, replace(SMALL, datapath_bits=bits)),
                    bugs=bugs[:1],
                )
        return build

    return enter
