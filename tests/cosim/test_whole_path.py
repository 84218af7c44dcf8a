"""YAML to report over the RTL: what the first scenario promises, the same on every run and on both simulators."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from cosim import build, cli
from cosim.scenario import load
from cosim.trace import NIC_RECEIVED, NIC_SENT
from tests.cosim.harness import CACHE, ROOT

QUICKSTART = ROOT / "configs" / "quickstart.yaml"
PORTALS = ROOT / "configs" / "portals.yaml"
TORUS = ROOT / "configs" / "torus.yaml"


def nimble(folder: Path, config: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "cosim", "run", str(config), "--out", str(folder), "--build-dir", str(CACHE)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    return subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True, check=False)


def report(folder: Path, name: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads((folder / name / "report.json").read_text())
    return answer


def without_wall_time(folder: Path, name: str) -> str:
    """The report's bytes but for the one figure that may differ."""
    text = (folder / name / "report.json").read_text()
    assert len(re.findall(r'"wall_s": [0-9.e+-]+', text)) == 1
    return re.sub(r'"wall_s": [0-9.e+-]+', "", text)


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("quickstart")
    done = nimble(folder, QUICKSTART)
    assert done.returncode == 0, done.stderr
    return folder


def test_both_handlers_apply_every_update_and_nothing_forged_arrives(quickstart: Path) -> None:
    found = report(quickstart, "quickstart")
    assert found["status"] == "passed"
    for handler in ("process", "extension"):
        section = found["random_access"][handler]
        assert (section["errors"], section["reference_mismatches"], section["updates"]) == (0, 0, 4096)
        assert section["updates_per_s"] > 0
        assert section["interrupts"] > 0
    assert found["random_access"]["process"]["context_switches"] > 0
    assert found["random_access"]["extension"]["context_switches"] == 0
    assert found["random_access"]["extension"]["extension_instructions"] > 0
    assert found["forgery"]["attempts"] >= 10
    assert found["forgery"]["delivered"] == 0
    assert found["simulated_ps"] > 0
    assert found["cycles"] > 0
    counters = {name: counter["total"] for name, counter in found["counters"].items()}
    assert counters["nic.access_unprivileged"] > 0  # the hardware itself refused, not only the page tables
    assert counters["nic.packet_job"] > 0
    assert counters["fabric.packets_dropped"] == 0
    refused = sum(value for name, value in counters.items() if name.startswith("nic.packet_") and "log" not in name)
    assert counters["nic.packets_sent"] == counters["nic.messages_delivered"] + refused


def test_refusals_are_logged_with_who_what_where_and_when(quickstart: Path) -> None:
    found = report(quickstart, "quickstart")
    total = {name.removeprefix("nic."): counter["total"] for name, counter in found["counters"].items()}
    logged = Counter(violation["reason"].lower() for violation in found["violations"])
    # A log holds 64 until the kernel comes; what finds it full is counted, by reason and as lost.
    lost = total["violation_log_lost"] + total["packet_log_lost"]
    assert all(count <= total[reason] for reason, count in logged.items())
    assert sum(logged.values()) + lost == sum(total[reason] for reason in logged)
    assert lost < sum(logged.values()) / 10
    assert {subject["subject"] for subject in found["violations"]} == {"access", "command", "packet"}
    times = [violation["time_ps"] for violation in found["violations"]]
    assert times == sorted(times)
    assert 0 < times[0] < times[-1] < found["simulated_ps"]
    forger = found["jobs"]["forger"]["jid"]
    for violation in found["violations"]:
        assert violation["jid"] == forger
        if violation["subject"] == "packet":  # told by the node that it came to
            assert (violation["nid"], violation["src_nid"]) == (0, 1)
        else:
            assert (violation["nid"], violation["process"]) == (1, "forger.0")


def test_a_quiet_node_has_no_clock(quickstart: Path) -> None:
    found = report(quickstart, "quickstart")
    assert [0 < cycles < found["cycles"] for cycles in found["node_cycles"]] == [True, True]


def test_the_timeline_has_cores_extensions_registers_packets_and_interrupts(quickstart: Path) -> None:
    events = json.loads((quickstart / "quickstart" / "trace.json").read_text())
    spans = [event for event in events if event["ph"] == "X"]
    categories = {"process", "extension", "interrupt", "mmio", "packet", "context switch"}
    assert {event["cat"] for event in spans} >= categories
    assert {event["pid"] for event in spans} == {0, 1}
    found = report(quickstart, "quickstart")
    packets = Counter(event["tid"] for event in spans if event["cat"] == "packet")
    assert packets[NIC_SENT] == packets[NIC_RECEIVED] == found["counters"]["nic.packets_sent"]["total"]
    assert max(event["ts"] + event["dur"] for event in spans) <= found["simulated_ps"] / 1e6


def test_a_second_run_gives_the_same_bytes(quickstart: Path, tmp_path: Path) -> None:
    assert nimble(tmp_path, QUICKSTART).returncode == 0
    assert without_wall_time(tmp_path, "quickstart") == without_wall_time(quickstart, "quickstart")
    trace = "quickstart/trace.json"
    assert (tmp_path / trace).read_bytes() == (quickstart / trace).read_bytes()


def small(folder: Path) -> Path:
    """The quickstart with a table of 32 words."""
    text = QUICKSTART.read_text()
    config = folder / "small.yaml"
    config.write_text(text.replace("log2_table_words: 10", "log2_table_words: 5"))
    assert config.read_text() != text
    return config


@pytest.mark.skipif(
    shutil.which("iverilog") is None, reason="Icarus Verilog is not installed (Debian: apt install iverilog)"
)
def test_both_simulators_give_the_same_report(tmp_path: Path) -> None:
    config = small(tmp_path)
    for simulator in ("verilator", "icarus"):
        done = nimble(tmp_path / simulator, config, "--simulator", simulator)
        assert done.returncode == 0, done.stderr
    icarus = without_wall_time(tmp_path / "icarus", "quickstart").replace('"icarus"', '"verilator"')
    assert icarus == without_wall_time(tmp_path / "verilator", "quickstart")
    first, second = (tmp_path / simulator / "quickstart" / "trace.json" for simulator in ("verilator", "icarus"))
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.skipif(
    shutil.which("iverilog") is None, reason="Icarus Verilog is not installed (Debian: apt install iverilog)"
)
def test_nobody_sees_the_gates_but_who_counts_edges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All clocks run while any does: the same report, but that every node's clock has run all the time."""
    config = tmp_path / "tiny.yaml"
    config.write_text(
        """\
name: tiny
machine: {nodes: 2, node: {cores: 2}}
jobs:
  - name: updates
    jid: 1
    app: random_access
    placement: [{node: 0, core: 0}, {node: 1, core: 0}]
    parameters: {log2_table_words: 4}
"""
    )
    gated, reports = build.harness_parameters, []
    for gates in (1, 0):
        monkeypatch.setattr(
            build, "harness_parameters", lambda scenario, gates=gates: gated(scenario) | {"GATED": gates}
        )
        arguments = ("--simulator", "icarus", "--out", str(tmp_path), "--build-dir", str(CACHE))
        assert cli.main(["run", str(config), *arguments]) == 0
        reports.append(report(tmp_path, "tiny"))
    cycles, all_cycles = (found.pop("node_cycles") for found in reports)
    for found in reports:
        del found["wall_s"]
    assert reports[0] == reports[1]
    assert max(cycles) < min(all_cycles)
    assert all_cycles == [reports[1]["cycles"]] * 2


def test_all_that_portals_has_does_what_it_must(tmp_path: Path) -> None:
    """On the quickstart's machine, so that nothing more is compiled."""
    assert load(PORTALS).machine == load(QUICKSTART).machine
    done = nimble(tmp_path, PORTALS)
    found = report(tmp_path, "portals")
    assert done.returncode == 0, found["portals_check"]["failures"]
    check = found["portals_check"]
    assert (check["failed"], check["failures"]) == (0, [])
    assert check["checks"] > 800
    counters = {name: counter["total"] for name, counter in found["counters"].items()}
    assert not any(value for name, value in counters.items() if name.startswith("nic.packet_"))
    assert counters["nic.command_entry"] == len(found["violations"]) == 4  # each round unlinks two entries in vain


def half_a_torus(folder: Path, name: str, nodes: range) -> Path:
    """Four of its columns closed, with the narrowest NIC, on the wide datapath with links half as wide; a rank on each
    of these nodes."""
    nic = "contexts: 2, windows: 1, portal_entries: 1, match_entries: 1, unexpected_headers: 1, counters: 1, "
    nic += "outstanding: 1, prefetch: 1, replies: 1, mtu_bytes: 64, datapath_bits: 128"
    numbers = {
        "name: torus": f"name: {name}",
        "nodes: 16": "nodes: 8",
        "memory_mib: 16}": f"memory_mib: 16, nic: {{{nic}}}}}",
        "dimensions: [4, 4]": "dimensions: [4, 2]",
        "channels: 1 ": "link_width_bits: 64\n    channels: 2 ",
        "log2_table_words: 10": "log2_table_words: 6",
        **{f"      - {{node: {node}, core: 0}}\n": "" for node in range(16) if node not in nodes},
    }
    text = TORUS.read_text()
    for old, new in numbers.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    config = folder / f"{name}.yaml"
    config.write_text(text)
    return config


def test_another_machine_needs_only_other_numbers(tmp_path: Path) -> None:
    done = nimble(tmp_path, half_a_torus(tmp_path, "half", range(8)))
    assert done.returncode == 0, done.stderr
    found = report(tmp_path, "half")
    section = found["random_access"]["extension"]
    assert (section["errors"], section["reference_mismatches"], section["updates"]) == (0, 0, 4 << 6)
    assert found["counters"]["fabric.packets_dropped"]["total"] == 0


def test_nodes_of_the_same_machine_that_have_nothing_to_do_have_next_to_no_clock(tmp_path: Path) -> None:
    """Nodes 0 and 1 are neighbours, and pass each other's packets through nobody else."""
    done = nimble(tmp_path, half_a_torus(tmp_path, "pair", range(2)))
    assert done.returncode == 0, done.stderr
    cycles = report(tmp_path, "pair")["node_cycles"]
    busy, idle = cycles[:2], cycles[2:]
    assert len(idle) == 6
    assert 20 * max(idle) < min(busy)


def test_a_waveform_holds_the_span_that_was_asked_for(tmp_path: Path) -> None:
    """Of a machine that is quickly compiled."""
    config = tmp_path / "alone.yaml"
    config.write_text(
        """\
name: alone
machine: {nodes: 1, node: {cores: 1, nic: {contexts: 1, mtu_bytes: 64}}}
jobs:
  - name: forger
    jid: 1
    app: forger
    placement: [{node: 0, core: 0}]
    parameters: {rounds: 1, patience_us: 0}
"""
    )
    done = nimble(tmp_path, config, "--waves", "--waves-from", "70000", "--waves-to", "75000")
    assert done.returncode == 0, done.stderr
    (wave,) = (tmp_path / "alone").glob("wave.*")
    assert wave.suffix in (".vcd", ".fst")
    if wave.suffix == ".vcd":
        lines = wave.read_text().splitlines()
        assert any(line.split()[:3] == ["$scope", "module", "nic"] for line in lines)
        times = [int(line[1:]) for line in lines if line.startswith("#")]
        assert min(times) >= 70_000_000
        assert max(times) <= 75_000_000
        assert len(times) > 100  # the forger is at work
