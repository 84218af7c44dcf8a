"""What the NIC must reach in cycles, on a small one; `make bench-nic` measures large ones and their simulation."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest

from rtl.packets import packet_flits
from tests.bench_nic import behind, command, latency, rates
from tests.bench_nic.documented import DOCUMENT, differences
from tests.bench_nic.figures import Figure, as_data
from tests.bench_nic.rig import Rig, Times
from tests.rtl.whole.board import parameters_of


@pytest.fixture(scope="module", params=[64, 128])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    made = Rig(parameters_of(request.param))
    yield made
    made.close()


def test_a_message_that_meets_nobody_keeps_its_bounds(rig: Rig) -> None:
    found = latency.figures(rig)
    assert [figure.name for figure in found if not figure.holds] == []
    bounded = [figure for figure in found if figure.bound]
    assert len(bounded) == 2 * len(latency.SIZES_BYTES)
    assert all(figure.value > 10 for figure in found)


@pytest.mark.parametrize("size", [0, 64])
def test_stages_follow_each_other_and_the_fabric_takes_as_long_as_the_packet_is(rig: Rig, size: int) -> None:
    marks = latency.one_way(rig, size)
    cycles = {mark.what: mark.cycle for mark in marks}
    assert marks[0].what == "doorbell accepted"
    assert marks[-1].what == "event visible in memory"
    assert [mark.cycle for mark in marks] == sorted(cycles.values())
    flits = packet_flits(size, rig.parameters.datapath_bits)
    assert cycles["last flit leaves"] - cycles["first flit leaves"] >= flits - 1
    assert cycles["last flit arrives"] - cycles["last flit leaves"] == flits
    assert cycles["command there"] - cycles["command asked for"] >= 20


def test_a_slow_memory_is_seen(rig: Rig) -> None:
    """The bench can fail."""
    slow = Rig(rig.parameters, Times(read_latency=60, write_latency=50))
    late = [figure for figure in latency.figures(slow) if not figure.holds]
    slow.close()
    assert len(late) == 2 * len(latency.SIZES_BYTES) - 1  # a message without payload waits for no write


def test_rates(rig: Rig) -> None:
    """From a fast memory: this NIC fetches only two commands ahead."""
    fast = Rig(rig.parameters, Times(read_latency=5))
    found = rates.figures(fast)
    fast.close()
    assert [figure.name for figure in found if not figure.holds] == []
    shares = [figure.value for figure in found if figure.unit == "payload of datapath"]
    assert len(shares) == 2
    assert all(share < 1 for share in shares)


def test_a_small_put_waits_for_one_packet_and_what_is_read_ahead(rig: Rig) -> None:
    found = behind.figures(rig)
    assert [figure.name for figure in found if not figure.holds] == []
    assert len([figure for figure in found if figure.bound]) == 1
    assert all(figure.value > 0 for figure in found), "the large one was under way"


@pytest.mark.parametrize(
    ("bounds", "holds", "text"),
    [
        ({}, True, ""),
        ({"at_least": 2}, False, ">= 2"),
        ({"at_least": 1.5}, True, ">= 1.5"),
        ({"at_most": 1.5}, True, "<= 1.5"),
        ({"at_most": 1}, False, "<= 1"),
    ],
)
def test_a_figure_is_judged_by_its_bound(bounds: dict[str, float], holds: bool, text: str) -> None:
    figure = Figure(name="x", value=1.5, unit="cycles", **bounds)
    assert (figure.holds, figure.bound) == (holds, text)
    assert as_data([figure]) == [{"name": "x", "value": 1.5, "unit": "cycles", **bounds}]


# ---- the document ----

TEXT = """
| put | 64 bits | 128 bits | bound |
|---|--:|--:|--:|
| of 0 bytes | 80 | 65.5 | ≤ 80 |
| of 8 bytes |  | 95 |  |

| get | 64 bits |
|---|--:|
| of 8 bytes | 7 |
"""
PUTS = {"of 0 bytes, 64 bits": "80", "of 0 bytes, 128 bits": "65.5", "of 8 bytes, 128 bits": "95"}


@pytest.mark.parametrize(
    ("table", "measured", "found"),
    [
        ("put", PUTS, []),
        ("put", PUTS | {"of 0 bytes, 128 bits": "65.6"}, ["of 0 bytes, 128 bits: 65.5 is documented, 65.6"]),
        ("put", PUTS | {"of 8 bytes, 64 bits": "9"}, ["of 8 bytes, 64 bits: nothing is documented, 9"]),
        ("put", PUTS | {"of 9 bytes, 64 bits": "9"}, ["of 9 bytes, 64 bits: nothing is documented, 9"]),
        ("get", {}, ["of 8 bytes, 64 bits: 7 is documented, nothing"]),
        ("add", {"of 8 bytes, 64 bits": "7"}, ["of 8 bytes, 64 bits: nothing is documented, 7"]),
    ],
    ids=["right", "stale", "no figure", "no row", "not measured", "no table"],
)
def test_a_document_says_what_is_measured(table: str, measured: dict[str, str], found: list[str]) -> None:
    remedy = "was measured; mend rtl/nic/NIC.md or the RTL"
    assert list(differences(TEXT, {table: measured})) == [f"rtl/nic/NIC.md: {table}: {line} {remedy}" for line in found]


@pytest.mark.parametrize("table", [command.STAGES, *command.TITLES.values()])
def test_the_document_of_the_nic_has_every_table(table: str) -> None:
    text = (command.ROOT / DOCUMENT).read_text(encoding="utf-8")
    assert len(list(differences(text, {table: {}}))) >= 6


@pytest.mark.parametrize(("documented", "status"), [(4, 0), (5, 1)])
def test_the_bench_fails_if_the_document_is_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, documented: int, status: int
) -> None:
    rows = f"| {command.STAGES} | 64 bits | 128 bits |\n|---|--:|--:|\n| command there | 4 | {documented} |\n"
    (tmp_path / DOCUMENT).parent.mkdir(parents=True)
    (tmp_path / DOCUMENT).write_text(rows, encoding="utf-8")
    marks = [latency.Mark(what="command there", cycle=4)]
    for name in ("latency", "rates", "behind", "largest"):
        measure = SimpleNamespace(figures=lambda *_: [], one_way=lambda *_: marks)
        monkeypatch.setattr(command, name, measure)
    monkeypatch.setattr(command, "Rig", MagicMock())
    monkeypatch.setattr(command, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["bench-nic", "--nodes", "--out", str(tmp_path / "nic.json")])
    assert command.main() == status
