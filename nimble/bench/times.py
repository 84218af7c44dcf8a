"""Taking times on a machine that does other things as well.

Times are those of the processor in this thread, so that what others take of it does not count; contenders take turns,
so that a change of the clock's speed hits all; and of an odd number of rounds the median counts, with the least
beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import NamedTuple, TypeVar

K = TypeVar("K")
_NS = 1e9


@dataclass(frozen=True)
class Effort:
    """How long to measure: rounds (odd), and seconds for each contender in each of them."""

    rounds: int
    seconds: float


THOROUGH = Effort(rounds=9, seconds=0.03)
QUICK = Effort(rounds=3, seconds=0.004)


class Ratio(NamedTuple):
    """The median of what the rounds gave, and one least time against the other."""

    median: float
    least: float


@dataclass(frozen=True)
class Times:
    """Nanoseconds per repetition, one of each round."""

    ns: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.ns)

    @property
    def least(self) -> float:
        return min(self.ns)

    def over(self, other: Times) -> Ratio:
        """How many times as long this took."""
        rounds = zip(self.ns, other.ns, strict=True)
        return Ratio(median(mine / others for mine, others in rounds), self.least / other.least)


def take_turns(contenders: Mapping[K, Callable[[int], object]], effort: Effort) -> dict[K, Times]:
    """Times of functions of a number of repetitions."""
    counts = {name: _repetitions(run, effort.seconds) for name, run in contenders.items()}
    taken: dict[K, list[float]] = {name: [] for name in contenders}
    for _ in range(effort.rounds):
        for name, run in contenders.items():
            taken[name].append(_measure(run, counts[name]) / counts[name])
    return {name: Times(tuple(times)) for name, times in taken.items()}


def each(calls: Sequence[Callable[[], object]]) -> Times:
    """The times of calls that differ, each made once."""
    return Times(tuple(_measure(partial(_once, call), 1) for call in calls))


def _once(call: Callable[[], object], count: int) -> None:
    for _ in range(count):
        call()


def _repetitions(run: Callable[[int], object], seconds: float) -> int:
    """How many repetitions take about so long."""
    count = 1
    while True:
        taken = _measure(run, count) / _NS
        if taken >= seconds / 2:
            return max(1, round(count * seconds / taken))
        count = max(2 * count, round(0.7 * count * seconds / max(taken, 1e-7)))


def _measure(run: Callable[[int], object], count: int) -> float:
    began = time.thread_time_ns()
    run(count)
    return time.thread_time_ns() - began
