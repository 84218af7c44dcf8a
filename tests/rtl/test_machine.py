"""The machine's Verilog: accepted by both simulators, deterministic, and wired node by node as its ports say."""

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from cosim.toolchain import find_verilator
from rtl.machine import MachineParameters, verilog, wrapper
from rtl.node import NodeParameters

NODE = NodeParameters(cores=2, contexts=4, windows=2, mtu_bytes=256)
BENCH = Path(__file__).parent / "machine_bench.sv"
LATENCY = 5


def parameters(nodes: int, topology: str) -> MachineParameters:
    return MachineParameters(nodes=nodes, node=NODE, topology=topology, link_latency_cycles=LATENCY)


@cache
def text(nodes: int, topology: str) -> str:
    return verilog(parameters(nodes, topology))


def run(*command: str | Path, **environment: str) -> str:
    result = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=100
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


# Through a switch a packet crosses two links and waits one cycle for its output.
@pytest.mark.parametrize(
    ("nodes", "topology", "delay"), [(2, "point_to_point", LATENCY), (3, "crossbar", 2 * LATENCY + 1)]
)
def test_a_packet_goes_from_the_last_node_to_the_first_on_icarus(
    nodes: int, topology: str, delay: int, tmp_path: Path
) -> None:
    if shutil.which("iverilog") is None:
        pytest.skip("Icarus Verilog is not installed (Debian: apt install iverilog)")
    source, model = tmp_path / "machine.v", tmp_path / "machine.vvp"
    source.write_text(text(nodes, topology))
    defines = [f"-Pbench.N={nodes}", f"-Pbench.C={NODE.cores}", f"-DDELAY={delay}"]
    warnings = run("iverilog", "-g2012", "-Wall", "-Wno-timescale", *defines, "-s", "bench", "-o", model, source, BENCH)
    assert warnings == ""
    assert run("vvp", "-n", model).splitlines()[0] == "PASS"


@pytest.mark.parametrize(("nodes", "topology"), [(1, "point_to_point"), (2, "point_to_point"), (3, "crossbar")])
def test_verilator_accepts_it(nodes: int, topology: str, tmp_path: Path) -> None:
    source = tmp_path / "machine.v"
    source.write_text(text(nodes, topology))
    tool = find_verilator()
    run(tool.program, "--lint-only", "-Wno-lint", "--top-module", "machine", source, **tool.environment)


def test_the_same_parameters_give_the_same_text_in_another_process() -> None:
    program = (
        "import sys; from rtl.machine import *; "
        f"sys.stdout.write(verilog(MachineParameters(nodes=2, node=NodeParameters(cores={NODE.cores}, "
        f"contexts={NODE.contexts}, windows={NODE.windows}, mtu_bytes={NODE.mtu_bytes}), "
        f"topology='point_to_point', link_latency_cycles={LATENCY})))"
    )
    assert run(sys.executable, "-c", program, PYTHONHASHSEED="1") == text(2, "point_to_point")


def test_says_nothing_about_where_it_was_made() -> None:
    assert str(Path(__file__).parents[2]) not in text(2, "point_to_point")


@pytest.mark.parametrize(("nodes", "topology"), [(2, "point_to_point"), (3, "crossbar")])
def test_every_module_is_there_once(nodes: int, topology: str) -> None:
    modules = [
        line.split()[1].partition("(")[0] for line in text(nodes, topology).splitlines() if line[:7] == "module "
    ]
    assert len(modules) == len(set(modules))
    assert {"node", "link", "machine"} <= set(modules)
    assert ("crossbar" in modules) == (topology == "crossbar")


@pytest.mark.parametrize(
    ("nodes", "topology", "declarations"),
    [
        (
            2,
            "point_to_point",
            [
                "input wire [127:0] core_awaddr",  # 2 nodes * 2 cores * 32 bits
                "input wire [11:0] core_arprot",
                "output wire [255:0] core_rdata",
                "output wire [95:0] memory_araddr",
                "input wire [127:0] memory_rdata",
                "output wire [1:0] interrupt",
                "output wire fabric_quiescent",
                "output wire [127:0] rx_word",
            ],
        ),
        (3, "crossbar", ["input wire [5:0] core_awvalid", "output wire [191:0] tx_word", "output wire [2:0] tx_ready"]),
    ],
)
def test_ports_are_packed_vectors(nodes: int, topology: str, declarations: list[str]) -> None:
    lines = [line.strip().rstrip(",") for line in wrapper(parameters(nodes, topology)).splitlines()]
    assert set(declarations) <= set(lines)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"nodes": 0}, r"^machine\.nodes: 0 is out of range 1\.\.64$"),
        ({"nodes": 65, "topology": "crossbar"}, r"^machine\.nodes: 65 is out of range 1\.\.64$"),
        ({"nodes": 3}, r"^machine\.nodes: 3 is out of range 1\.\.2 for point_to_point; choose crossbar$"),
        ({"topology": "torus"}, r"^machine\.topology: 'torus' is none of point_to_point, crossbar$"),
        ({"link_latency_cycles": 0}, r"^machine\.link_latency_cycles: 0 is out of range 1\.\.1024; choose a shorter"),
        ({"link_latency_cycles": 1025}, r"^machine\.link_latency_cycles: 1025 is out of range 1\.\.1024; "),
    ],
)
def test_an_impossible_machine_is_refused(change: dict[str, object], expected: str) -> None:
    possible: dict[str, object] = {"nodes": 2, "node": NODE, "topology": "point_to_point", "link_latency_cycles": 5}
    with pytest.raises(ValueError, match=expected):
        MachineParameters(**possible | change)  # type: ignore[arg-type]
