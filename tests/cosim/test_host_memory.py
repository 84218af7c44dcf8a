"""The host memory and the packet monitor of the harness, judged inside the simulator by `memory_programs`."""

import os
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from cosim import build
from tests.cosim import harness

HERE = Path(__file__).parent / "hdl"
PROGRAMS = ("memory", "refusals", "latencies", "monitor")


@pytest.fixture(scope="module")
def program() -> Path:
    sources = [build.HDL / name for name in ("main.cpp", "store.cpp", "host_memory.sv", "packet_monitor.sv")]
    sources += [HERE / "memory_bench.vlt", HERE / "memory_bench.sv"]
    parameters = {"READ_LATENCY": 7, "WRITE_LATENCY": 3}
    return build.verilate(
        "memory_bench", sources, cocotb=True, parameters=parameters, cache=harness.CACHE, progress=lambda text: None
    )


@pytest.mark.parametrize("name", PROGRAMS)
def test_inside_the_simulator(program: Path, tmp_path: Path, name: str) -> None:
    results = tmp_path / "results.xml"
    environment = os.environ | build.cocotb_environment("memory_bench", verilator=True)
    environment |= {
        "COCOTB_TEST_MODULES": "tests.cosim.memory_programs",
        "COCOTB_TEST_FILTER": rf"\.{name}$",
        "COCOTB_RESULTS_FILE": str(results),
        "PYTHONPATH": f"{harness.ROOT}{os.pathsep}{environment['PYTHONPATH']}",
    }
    done = subprocess.run([program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    cases = ElementTree.parse(results).findall(".//testcase")
    assert [(case.get("name"), case.find("failure") is None) for case in cases] == [(name, True)], done.stdout
