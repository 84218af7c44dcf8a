"""Runs cocotb tests of an Amaranth design on Verilator, for pytest: independent judges drive the RTL's own ports."""

import os
import subprocess
from pathlib import Path

from amaranth.back import verilog
from amaranth.lib import wiring
from cocotb_tools.check_results import get_results

from cosim import build
from rtl.machine import without_collection

TOP = "top"
CACHE = Path(__file__).parents[2] / "build"
# Tests see but the ports: with every signal public a large design takes minutes to compile.
PORTS = f"""`verilator_config
public_flat_rw -module "{TOP}" -var "*"
"""


def run(design: wiring.Component, *, test_module: str, folder: Path) -> None:
    """Converts `design` to a module with ports named as its members joined by two underscores, clk and rst; builds it
    and runs all cocotb tests of `test_module`, which lies beside the pytest test, in `folder`. Fails if one fails.
    """
    source, ports, results = folder / "top.v", folder / "ports.vlt", folder / "results.xml"
    with without_collection():
        source.write_text(verilog.convert(design, name=TOP, emit_src=False, strip_internal_attrs=True))
    ports.write_text(PORTS)
    sources = [build.HDL / "main.cpp", ports, source]
    program = build.verilate(
        TOP, sources, cocotb=True, parameters={}, cache=CACHE, progress=lambda text: None, short=True
    )  # fmt: skip
    environment = {
        **os.environ, **build.cocotb_environment(TOP, verilator=True), "COCOTB_TEST_MODULES": test_module,
        "COCOTB_RESULTS_FILE": str(results),
    }  # fmt: skip
    done = subprocess.run([program], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert results.exists(), done.stdout + done.stderr
    tests, failures = get_results(results)
    assert tests > 0, f"{test_module} has no cocotb test"
    assert failures == 0, done.stdout + done.stderr
