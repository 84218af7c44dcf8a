"""The bounds that the engines are meant to keep, and whether they do on this machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import geometric_mean

from nimble.bench.bench import Measured, Results
from nimble.bench.contenders import CHECKED, Name
from nimble.engine import DEFAULT_ENGINE

# Bounds in nanoseconds per instruction hold where an addition that waits for the one before it takes so long.
YARDSTICK_NS = 0.3
SIMPLE = 5  # programs over which means are taken; without one of them there is none
_CLOSURES, _THREADED, _NATIVE = ((engine, CHECKED.name) for engine in ("closures", "threaded", "native"))


@dataclass(frozen=True)
class Bound:
    """``value``: what was measured, at most ``most`` of it is allowed; None when it was not measured."""

    figure: str
    unit: str
    value: float | None
    most: float

    @property
    def verdict(self) -> str:
        if self.value is None:
            return "not measured"
        return "holds" if self.value <= self.most else "does not hold"


def bounds(results: Results) -> tuple[Bound, ...]:
    """All of them; medians are judged. The simple programs count, each as much as another."""
    return (
        Bound("native, checked and metered, against C", "times", over_c(results, _NATIVE), 1.5),
        Bound(
            "threaded, checked and metered, per instruction", "additions", _additions(results, _THREADED), _scaled(1)
        ),
        Bound(
            "closures, checked and metered, per instruction", "additions", _additions(results, _CLOSURES), _scaled(90)
        ),
        Bound("insertion of 100 instructions", "us", results.insertions[DEFAULT_ENGINE].ready.median / 1e3, 1000),
        Bound("call of an empty extension", "us", results.calls[DEFAULT_ENGINE].event.median / 1e3, 1.5),
    )


def over_c(results: Results, name: Name) -> float | None:
    """The geometric mean of the ratios to C; None without C or one of the programs."""
    return _mean(results, lambda one: None if (ratio := one.ratio(name)) is None else ratio.median)


def per_instruction(results: Results, name: Name) -> float | None:
    """The geometric mean of nanoseconds per instruction; None without one of the programs."""
    return _mean(results, lambda one: one.ns(name).median)


def _additions(results: Results, name: Name) -> float | None:
    mean = per_instruction(results, name)
    return None if mean is None or results.yardstick is None else mean / results.yardstick.median


def _scaled(ns: float) -> float:
    return ns / YARDSTICK_NS


def _mean(results: Results, figure: Callable[[Measured], float | None]) -> float | None:
    found: Sequence[float | None] = [figure(one) for one in results.measured if one.case.simple]
    known = [one for one in found if one is not None]
    return geometric_mean(known) if len(known) == SIMPLE else None
