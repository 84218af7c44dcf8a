"""The host memory and the packet monitor of the harness, judged inside the simulators by `memory_programs`."""

import os
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path

import cocotb_tools.config
import pytest

from cosim import build
from tests.cosim import harness

HERE = Path(__file__).parent / "hdl"
TOP = "memory_bench"
SOURCES = (build.HDL / "host_memory.sv", build.HDL / "packet_monitor.sv", HERE / "memory_bench.sv")
LATENCIES = {"READ_LATENCY": 7, "WRITE_LATENCY": 3}
NO_ICARUS = pytest.mark.skipif(
    shutil.which("iverilog") is None, reason="Icarus Verilog is not installed (Debian: apt install iverilog)"
)
PROGRAMS = [
    *(("verilator", 64, name) for name in ("memory", "refusals", "latencies", "ahead", "monitor")),
    *(("verilator", 128, name) for name in ("memory", "refusals", "ahead", "monitor")),
    *(pytest.param("icarus", 128, name, marks=NO_ICARUS) for name in ("refusals", "latencies", "ahead", "monitor")),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


def verilator(data_bits: int) -> Sequence[str | Path]:
    sources = [build.HDL / "main.cpp", build.HDL / "store.cpp", HERE / "memory_bench.vlt", *SOURCES]
    parameters = {**LATENCIES, "DATA_BITS": data_bits}
    program = build.verilate(
        TOP, sources, cocotb=True, parameters=parameters, cache=harness.CACHE, progress=lambda text: None
    )
    return [program]


def icarus(data_bits: int, folder: Path) -> Sequence[str | Path]:
    """The command runs in any folder that has store.vpi."""
    model = folder / f"model_{data_bits}.vvp"
    if not model.exists():
        build._compile_vpi(folder, folder / "build.log")
        parameters = {**LATENCIES, "DATA_BITS": data_bits}
        flags = [f"-P{TOP}.{name}={value}" for name, value in parameters.items()]
        command = ["iverilog", "-g2012", "-s", TOP, *flags, "-L.", "-mstore", f"-I{build.HDL}", "-o", model, *SOURCES]
        subprocess.run(command, cwd=folder, check=True)
    return ["vvp", "-m", cocotb_tools.config.lib_entry("vpi", "icarus"), model]


def run(simulator: str, data_bits: int, name: str, models: Path, folder: Path) -> None:
    """Program `name` in `folder`; fails with the simulator's output."""
    command = verilator(data_bits) if simulator == "verilator" else icarus(data_bits, models)
    if simulator == "icarus":
        shutil.copy(models / "store.vpi", folder)
    results = folder / "results.xml"
    environment = os.environ | build.cocotb_environment(TOP, verilator=simulator == "verilator")
    environment |= {
        "COCOTB_TEST_MODULES": "tests.cosim.memory_programs",
        "COCOTB_TEST_FILTER": rf"\.{name}$",
        "COCOTB_RESULTS_FILE": str(results),
        "MEMORY_DATA_BITS": str(data_bits),
        "PYTHONPATH": f"{harness.ROOT}{os.pathsep}{environment['PYTHONPATH']}",
    }
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    cases = ElementTree.parse(results).findall(".//testcase")
    assert [(case.get("name"), case.find("failure") is None) for case in cases] == [(name, True)], done.stdout


@pytest.mark.parametrize(("simulator", "data_bits", "name"), PROGRAMS)
def test_inside_the_simulator(simulator: str, data_bits: int, name: str, folder: Path, tmp_path: Path) -> None:
    run(simulator, data_bits, name, folder, tmp_path)


@NO_ICARUS
def test_both_simulators_do_the_same_in_every_cycle(folder: Path, tmp_path: Path) -> None:
    traces = []
    for simulator in ("verilator", "icarus"):
        (tmp_path / simulator).mkdir()
        run(simulator, 128, "traffic", folder, tmp_path / simulator)
        traces.append((tmp_path / simulator / "traffic.txt").read_text())
    assert traces[0] == traces[1]
    assert traces[0].count("\n") == 600
