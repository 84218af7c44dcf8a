"""Engines: ways to run one program; all agree on results, faults and instruction counts.

An engine is a module of this folder with ``translate``; it is imported when it is first asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from nimble.access import AddressSpace
    from nimble.engine.outcome import Outcome, Spend
    from nimble.engine.runs import Costs
    from nimble.program import Program
    from nimble.services import Services
    from nimble.verifier import Facts


class Thread(Protocol):
    """A translated program: run it as often as wanted, from as many greenlets as wanted."""

    def run(self, entry: str, args: Sequence[int], *, budget: int, spend: Spend) -> Outcome:
        """Execute from ``entry`` with ``args`` in r1..r5, for at most ``budget`` instructions.

        ``spend`` is called with the cost of the instructions executed since its last call, before every access to
        device registers or shared memory, before every service call, and at the end.
        """
        ...


class Translate(Protocol):
    """What an engine does; ``facts`` are those that ``verify`` found with the same services and space."""

    def __call__(
        self, program: Program, *, space: AddressSpace, services: Services, checked: bool, costs: Costs, facts: Facts
    ) -> Thread:
        """A thread that runs ``program`` in ``space``."""
        ...


def _load(name: str) -> Translate:
    return cast(Translate, import_module(f"{__name__}.{name}").translate)


ENGINES: dict[str, Callable[[], Translate]] = {
    name: partial(_load, name) for name in ("closures", "threaded", "native")
}
DEFAULT_ENGINE = "threaded"
NATIVE_SLOTS = 1 << 12  # the longest program for ``native``: LLVM takes more than a millisecond per instruction


def load_engine(name: str) -> Translate:
    """The engine of that name. Raises ValueError."""
    if name not in ENGINES:
        raise ValueError(f"engine: {name!r} is unknown; known are {', '.join(ENGINES)}; choose one of them")
    return ENGINES[name]()
