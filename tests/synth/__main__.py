"""``python -m tests.synth``: area and speed of the NIC's blocks in an ECP5, and what its protection costs.

Names choose blocks. Without any, all are measured, the whole NIC and its protection, too, which takes long; --small
takes the smallest NIC. Writes build/synth/report.json. Ends with 2 if a tool is missing or fails.
"""

import argparse
import json
import sys
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from rtl.nic.parameters import NicParameters
from tests.formal.theorems import SMALL
from tests.synth.blocks import BLOCKS, UNPLACED, VARIANTS
from tests.synth.flow import Cost, ToolError, cost_of, missing_tools

FOLDER = Path(__file__).parents[2] / "build" / "synth"
WORKERS = 2


@dataclass(frozen=True, kw_only=True)
class Job:
    """A block of the NIC, or (`variant` counts from 0) of the NIC that does without something."""

    block: str
    small: bool
    variant: int | None = None


def run(job: Job) -> Cost:
    kind = "whole" if job.variant is None else f"variant-{job.variant}"
    folder = FOLDER / job.block.replace(" ", "-") / kind
    with nullcontext() if job.variant is None else VARIANTS[job.variant].built():
        design = BLOCKS[job.block](SMALL if job.small else NicParameters())
        return cost_of(design, folder, place=job.block not in UNPLACED)


def main() -> int:
    options = _options()
    missing = missing_tools()
    if missing:
        print(f"synth: {', '.join(missing)} not found; install the extra `synth`: pip install -e '.[synth]'")
        return 2
    unknown = [name for name in options.blocks if name not in BLOCKS]
    if unknown:
        print(f"synth: {unknown[0]}: no such block; there are {', '.join(BLOCKS)}")
        return 2
    jobs = [Job(block=name, small=options.small) for name in options.blocks or BLOCKS]
    if not options.blocks:
        jobs += [
            Job(block=name, small=options.small, variant=index)
            for index, variant in enumerate(VARIANTS)
            for name in (*variant.blocks, "nic")
        ]
    try:
        with ProcessPoolExecutor(WORKERS) as pool:
            costs = dict(zip(jobs, pool.map(run, jobs), strict=True))
    except ToolError as error:
        print(f"synth: {error}")
        return 2
    _tell(costs, options.small)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.synth", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("blocks", nargs="*", metavar="block", help=f"one of: {', '.join(BLOCKS)}")
    parser.add_argument("--small", action="store_true", help="the smallest NIC instead of the default one")
    return parser.parse_args()


def _tell(costs: dict[Job, Cost], small: bool) -> None:
    console = Console()
    console.print(_block_table(costs))
    if any(job.variant is not None for job in costs):
        console.print(_price_table(costs))
    report = FOLDER / "report.json"
    parameters = asdict(SMALL if small else NicParameters())
    rows = [{"block": job.block, "without": _without(job), **asdict(cost)} for job, cost in costs.items()]
    report.write_text(json.dumps({"parameters": parameters, "costs": rows}, indent=2) + "\n")
    console.print(f"report: {report}", soft_wrap=True)


def _without(job: Job) -> str | None:
    return None if job.variant is None else VARIANTS[job.variant].without


def _block_table(costs: dict[Job, Cost]) -> Table:
    table = Table("block", "LUTs", "flip-flops", "block RAMs", "multipliers", "MHz")
    for job, cost in costs.items():
        if job.variant is None:
            numbers = (cost.luts, cost.flip_flops, cost.block_rams, cost.multipliers)
            table.add_row(job.block, *map(str, numbers), "" if cost.fmax_mhz is None else f"{cost.fmax_mhz:.0f}")
    return table


def _price_table(costs: dict[Job, Cost]) -> Table:
    """What each part of the protection adds to each block that it is in, and to the longest path there."""
    table = Table("protection", "in", "LUTs", "flip-flops", "block RAMs", "ns")
    for job, without in costs.items():
        if job.variant is None:
            continue
        whole = costs[Job(block=job.block, small=job.small)]
        table.add_row(
            VARIANTS[job.variant].without,
            job.block,
            f"{whole.luts - without.luts:+}",
            f"{whole.flip_flops - without.flip_flops:+}",
            f"{whole.block_rams - without.block_rams:+}",
            "" if whole.fmax_mhz is None or without.fmax_mhz is None
            else f"{1000 / whole.fmax_mhz - 1000 / without.fmax_mhz:+.1f}",
        )  # fmt: skip
    return table


if __name__ == "__main__":
    sys.exit(main())
