"""Engines: ways to run one program; all agree on results, faults and instruction counts.

An engine is a folder here with ``translate``; it is imported when it is first asked for: ``closures``, the definition
to read; ``threaded``, direct-threaded machine code made in advance; ``native``, a program's own machine code.

What they share: ``task`` (what they are given), ``runs`` (instructions in their places, and how they are paid for),
``outcome`` (how a run ends, and in which words), ``reach`` (the general way to memory and registers), ``semantics``
(what operations mean, in Python) and ``superoperators`` (sequences done in one step). The two compiled ones share
``lowering`` (what operations mean, in LLVM IR), ``context`` (a run's memory, and the way back into Python), ``paths``
(from machine code to memory), ``compiled`` (how runs begin and end) and ``jit`` (IR to machine code). ``profile``
counts sequences in recorded runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, Unpack, cast

if TYPE_CHECKING:
    from nimble.engine.outcome import Outcome, Spend
    from nimble.engine.task import Given
    from nimble.program import Program


class Thread(Protocol):
    """A translated program: run it as often as wanted, from as many greenlets as wanted."""

    def run(self, entry: str, args: Sequence[int], *, budget: int, spend: Spend) -> Outcome:
        """Execute from ``entry`` with ``args`` in r1..r5, for at most ``budget`` instructions.

        ``spend`` is called with the cost of the instructions executed since its last call, before every access to
        device registers or shared memory, before every service call, and at the end.
        """
        ...


class Translate(Protocol):
    """What an engine does; see ``task.Given``."""

    def __call__(self, program: Program, **given: Unpack[Given]) -> Thread:
        """A thread that runs ``program``. Raises InsertionRefused, as ``verifier.verify`` does."""
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
