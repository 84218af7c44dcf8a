"""Builds the stub machine into the harness and runs a program of `harness_programs` on it."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from cosim import build
from cosim.build import Model
from tests.cosim import harness_programs

ROOT = Path(__file__).parent.parent.parent
CACHE = ROOT / "build"
STUB = Path(__file__).parent / "hdl" / "stub_machine.sv"
HARNESS = {
    **harness_programs.LAYOUT.parameters(), "PERIOD_PS": 4000, "READ_LATENCY": 5, "WRITE_LATENCY": 3,
}  # fmt: skip


def model(folder: Path, *, simulator: str, always_on: bool = False, hierarchical: bool = False) -> Model:
    source = folder / f"stub_{always_on}.sv"
    source.write_text(("`define ALWAYS_ON\n" if always_on else "") + STUB.read_text())
    return build.build_model(
        source, HARNESS, simulator=simulator, waves=False, cache=CACHE, progress=lambda text: None,
        hierarchical=hierarchical,
    )  # fmt: skip


def run(model: Model, folder: Path, program: str, *, simulator: str) -> dict[str, Any]:
    """What the program left; fails with the simulator's output."""
    order, result = folder / "order.json", folder / f"{program}.json"
    result.unlink(missing_ok=True)
    order.write_text(
        json.dumps({"program": program, "settled": simulator == "verilator", "result": str(result)})
    )  # fmt: skip
    environment = {
        **os.environ, **model.environment, "COCOTB_TEST_MODULES": "tests.cosim.harness_programs",
        "PYTHONPATH": f"{ROOT}{os.pathsep}{model.environment['PYTHONPATH']}", "HARNESS_ORDER": str(order),
    }  # fmt: skip
    done = subprocess.run(model.command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert result.exists(), done.stdout + done.stderr
    answer: dict[str, Any] = json.loads(result.read_text())
    return answer
