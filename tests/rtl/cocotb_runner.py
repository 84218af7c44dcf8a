"""Runs cocotb tests of an Amaranth design on Verilator, for pytest: independent judges drive the RTL's own ports."""

import os
from pathlib import Path

import pytest
from amaranth.back import verilog
from amaranth.lib import wiring
from cocotb_tools.check_results import get_results
from cocotb_tools.runner import get_runner

from cosim.toolchain import find_verilator

# Amaranth's Verilog draws lint warnings; `interrupt`, a port of devices, also means something in C++. The runner makes
# every signal public, which is why a large design takes minutes to compile; tests see but the ports.
FLAGS = ["-Wno-lint", "-Wno-SYMRSVDWORD", "-O1", "--no-public-flat-rw"]
PORTS = """`verilator_config
public_flat_rw -module "top" -var "*"
"""


def run(design: wiring.Component, *, test_module: str, folder: Path) -> None:
    """Converts `design` to module `top`, with ports named as its members joined by two underscores, clk and rst; builds
    it in `folder` and runs all cocotb tests of `test_module`, which lies beside the pytest test. Fails if one fails.
    """
    source = folder / "top.v"
    source.write_text(verilog.convert(design, name="top", emit_src=False, strip_internal_attrs=True))
    ports = folder / "ports.vlt"
    ports.write_text(PORTS)
    tool = find_verilator()
    with pytest.MonkeyPatch.context() as environment:
        for name, value in tool.environment.items():
            environment.setenv(name, value)
        environment.setenv("PATH", f"{tool.program.parent}{os.pathsep}{os.environ['PATH']}")
        quoted = (variable.replace(" ", r"\ ") for variable in tool.make_variables)
        # These tests take thousands of cycles: compiling costs more than running.
        flags = [f"-j{os.cpu_count() or 1}", *quoted, "OPT_FAST=-O0", "OPT_SLOW=-O0", "OPT_GLOBAL=-O0"]
        environment.setenv("MAKEFLAGS", " ".join(flags))
        runner = get_runner("verilator")
        runner.build(
            sources=[source],
            hdl_toplevel="top",
            build_dir=folder,
            build_args=[*FLAGS, str(ports)],
            timescale=("1ns", "1ps"),
            log_file=folder / "build.log",
        )
        results = runner.test(
            test_module=test_module,
            hdl_toplevel="top",
            build_dir=folder,
            test_dir=folder,
            results_xml=str(folder / "results.xml"),
            log_file=folder / "test.log",
        )
    tests, failures = get_results(results)
    assert tests > 0, f"{test_module} has no cocotb test"
    assert failures == 0, (folder / "test.log").read_text()
