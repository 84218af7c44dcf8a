"""The machine's Verilog: accepted by both simulators, deterministic, and joined as its ports say."""

import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from cosim.toolchain import find_verilator
from rtl.fabric.parameters import FabricParameters
from rtl.machine import MachineParameters, verilog
from rtl.nic.parameters import NicParameters
from rtl.node import NodeParameters

CORES = 2
SMALL = {
    "contexts": 4, "windows": 2, "portal_entries": 4, "match_entries": 8, "unexpected_headers": 4, "counters": 2,
    "outstanding": 2, "prefetch": 2, "replies": 1, "mtu_bytes": 64,
}  # fmt: skip
BENCH = Path(__file__).parent / "machine_bench.sv"
LATENCY = 5
MACHINES: dict[str, dict[str, Any]] = {
    "line": {"nodes": 3, "topology": "mesh", "dimensions": (3,)},
    "switch": {"nodes": 3, "topology": "crossbar"},
}


def parameters(name: str) -> MachineParameters:
    fabric = FabricParameters(link_latency_cycles=LATENCY, **MACHINES[name])
    nic = NicParameters(**SMALL, nodes=fabric.nodes, interrupt_lines=CORES)
    return MachineParameters(node=NodeParameters(cores=CORES, nic=nic), fabric=fabric)


@cache
def text(name: str) -> str:
    return verilog(parameters(name))


def run(*command: str | Path, **environment: str) -> str:
    result = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=100
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


# From the cycle in which a flit leaves its NIC: it is on the first link in the next, and at its end LATENCY later. A
# router or switch takes two cycles, a router's way to its node one more.
DELAYS = {"line": 1 + 2 * (LATENCY + 2) + 1, "switch": 1 + LATENCY + 2 + LATENCY}


@pytest.mark.parametrize("name", MACHINES)
def test_a_message_goes_from_the_last_node_to_the_first_and_no_gate_is_seen(name: str, tmp_path: Path) -> None:
    if shutil.which("iverilog") is None:
        pytest.skip("Icarus Verilog is not installed (Debian: apt install iverilog)")
    source = tmp_path / "machine.v"
    source.write_text(text(name))
    model = tmp_path / "machine.vvp"
    delay = f"-Pbench.DELAY={DELAYS[name]}"
    assert run("iverilog", "-g2012", "-Wall", "-Wno-timescale", delay, "-s", "bench", "-o", model, source, BENCH) == ""
    (line,) = {run("vvp", "-n", model, *arguments).splitlines()[0] for arguments in ((), ("+ungated",))}
    assert re.fullmatch(r"PASS [0-9a-f]{16} after \d+ cycles", line)


def test_verilator_accepts_it(tmp_path: Path) -> None:
    source = tmp_path / "machine.v"
    source.write_text(text("switch"))
    tool = find_verilator()
    for module in ("tile", "fabric"):
        run(tool.program, "--lint-only", "-Wno-lint", "--top-module", module, source, **tool.environment)


def test_the_same_parameters_give_the_same_text_in_another_process() -> None:
    program = (
        "import sys; sys.path.insert(0, 'tests/rtl'); import test_machine; sys.stdout.write(test_machine.text('line'))"
    )
    assert run(sys.executable, "-c", program, PYTHONHASHSEED="77") == text("line")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("line", {"tile", "fabric"}),
        ("switch", {"tile", "crossbar", "fabric"}),
    ],
)
def test_every_module_is_there_once(name: str, expected: set[str]) -> None:
    modules = [line.split()[1].partition("(")[0] for line in text(name).splitlines() if line[:7] == "module "]
    assert len(modules) == len(set(modules))
    assert text(name).count("package machine;\n") == 1
    assert {module for module in modules if "." not in module} == expected


@pytest.mark.parametrize(
    ("nic", "expected"),
    [
        ({"nodes": 3}, r"^machine: nic\.nodes is 3, fabric\.nodes is 2; write the same$"),
        ({"datapath_bits": 128}, r"^machine: nic\.datapath_bits is 128, fabric\.datapath_bits is 64; write the same$"),
    ],
)
def test_a_node_must_fit_its_fabric(nic: dict[str, int], expected: str) -> None:
    fabric = FabricParameters(nodes=2, topology="ring")
    with pytest.raises(ValueError, match=expected):
        MachineParameters(node=NodeParameters(cores=1, nic=NicParameters(**{"nodes": 2, **nic})), fabric=fabric)
