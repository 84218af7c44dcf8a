"""Whose doing a refusal was, however late the device tells of it."""

from types import SimpleNamespace
from typing import Any

import pytest

from sw.drivers.interface import Subject
from sw.kernel.counters import Counts
from sw.kernel.violations import Violations

PERIOD_PS = 4_000
BASE = 0xC000_0000
NONE = 255  # no context
DEVICE = SimpleNamespace(base=BASE, clock_period_ps=PERIOD_PS)
NETWORK: Any = SimpleNamespace(device=DEVICE, driver=SimpleNamespace(reasons={}))


def process(name: str, jid: int, *, at_cycle: int) -> Any:
    return SimpleNamespace(name=name, jid=jid, now_ps=at_cycle * PERIOD_PS)


@pytest.fixture
def log() -> Violations:
    kernel: Any = SimpleNamespace(node=SimpleNamespace(nid=0), counts=Counts())
    log = Violations(kernel)
    log.opened(2, process("first", 1, at_cycle=100))
    log.opened(2, process("second", 7, at_cycle=200))
    log.bus_error(BASE + 8, process("third", 3, at_cycle=300))
    log.bus_error(BASE + 8, process("fourth", 4, at_cycle=400))
    return log


@pytest.mark.parametrize(
    ("subject", "index", "detail", "cycle", "who"),
    [
        (Subject.COMMAND, 2, 5, 99, (None, None, None)),
        (Subject.COMMAND, 2, 5, 101, (2, 1, "first")),
        (Subject.COMMAND, 2, 5, 199, (2, 1, "first")),
        (Subject.COMMAND, 2, 5, 200, (2, 7, "second")),
        (Subject.COMMAND, 3, 5, 200, (None, None, None)),
        (Subject.ACCESS, 2, 0x30000, 150, (2, 1, "first")),
        (Subject.ACCESS, NONE, 8, 299, (None, 3, "third")),
        (Subject.ACCESS, NONE, 8, 301, (None, 4, "fourth")),
        (Subject.ACCESS, NONE, 8, 401, (None, None, None)),
        (Subject.ACCESS, NONE, 16, 299, (None, None, None)),
    ],
)
def test_its_time_says_whose_a_refusal_was(
    log: Violations,
    subject: Subject,
    index: int,
    detail: int,
    cycle: int,
    who: tuple[int | None, int | None, str | None],
) -> None:
    log.refused(NETWORK, subject, 1, index, detail, cycle)
    (entry,) = log.entries
    assert (entry.context, entry.jid, entry.process) == who
    assert entry.time_ps == cycle * PERIOD_PS


def test_one_error_after_the_other_is_found(log: Violations) -> None:
    for cycle in (299, 399):
        log.refused(NETWORK, Subject.ACCESS, 1, NONE, 8, cycle)
    assert [entry.process for entry in log.entries] == ["third", "fourth"]


def test_cores_whose_errors_are_told_in_another_order(log: Violations) -> None:
    log.bus_error(BASE + 8, process("earlier", 5, at_cycle=350))
    log.refused(NETWORK, Subject.ACCESS, 1, NONE, 8, 349)
    log.refused(NETWORK, Subject.ACCESS, 1, NONE, 8, 399)
    assert [entry.process for entry in log.entries] == ["earlier", "fourth"]
