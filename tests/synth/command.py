"""``python -m tests.synth``: area and speed of the NIC's blocks in an ECP5, and what its protection costs.

Names choose blocks. Without any, all are measured, and those with a part of the protection without it, too: the NIC is
the sum of its blocks. --small takes the smallest NIC. What was measured is kept in build/synth, so a run that was
interrupted goes on where it was. Writes build/synth/report.json. Ends with 2 if a tool is missing or fails.
"""

import argparse
import json
import sys
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from cosim.errors import USAGE_STATUS, UserError
from rtl.nic.parameters import NicParameters
from tests.commands.jobs import Ended, in_parallel
from tests.commands.tables import Column, show
from tests.commands.tools import ToolError, require, versions
from tests.formal.theorems import SMALL
from tests.synth.blocks import BLOCKS, LONGEST, VARIANTS
from tests.synth.flow import MOST_SECONDS, TOOLS, Cost, Use, cost_of
from tests.synth.prices import Costs, block_rows, clock_rows, price_rows

FOLDER = Path(__file__).parents[2] / "build" / "synth"
_NUMBERS = tuple(Column(heading=heading) for heading in ("LUTs", "flip-flops", "block RAMs", "multipliers"))
_BLOCKS = (Column(heading="block", words=True), *_NUMBERS, Column(heading="MHz"))
_PRICES = (
    Column(heading="protection", words=True),
    Column(heading="in", words=True),
    *_NUMBERS[:3],
    Column(heading="ns"),
)
_CLOCKS = (
    Column(heading="protection", words=True),
    Column(heading="slowest of", words=True),
    *(Column(heading=heading, words=True) for heading in ("ns with it", "ns without")),
    Column(heading="ns"),
)


@dataclass(frozen=True, kw_only=True)
class Job:
    """A block of the NIC, or (`variant` counts from 0) of the NIC that does without something."""

    block: str
    small: bool
    use: Use
    variant: int | None = None

    def __str__(self) -> str:
        return self.block if self.variant is None else f"{self.block} without {VARIANTS[self.variant].without}"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """`error`: why there is no cost."""

    seconds: float
    cost: Cost | None = None
    error: str = ""

    def __str__(self) -> str:
        if self.cost is None:
            return self.error
        speed = "" if self.cost.fmax_mhz is None else f", {self.cost.fmax_mhz:.0f} MHz"
        return f"{self.cost.luts} LUTs{speed}, {self.seconds:.0f} s"


def run(job: Job) -> Outcome:
    kind = "whole" if job.variant is None else f"variant-{job.variant}"
    folder = FOLDER / job.block.replace(" ", "-") / kind
    begin = time.monotonic()
    try:
        with nullcontext() if job.variant is None else VARIANTS[job.variant].built():
            design = BLOCKS[job.block](SMALL if job.small else NicParameters())
            cost = cost_of(design, folder, use=job.use, cache=FOLDER / "kept")
    except ToolError as error:  # it concerns this job alone
        return Outcome(error=error.message, seconds=time.monotonic() - begin)
    return Outcome(cost=cost, seconds=time.monotonic() - begin)


def main() -> int:
    options = _options()
    require(TOOLS, "synth")
    if unknown := [name for name in options.blocks if name not in BLOCKS]:
        raise UserError(f"{unknown[0]}: no such block; there are {', '.join(BLOCKS)}")
    use = Use(versions=versions(TOOLS), limit_seconds=options.limit)
    jobs = _jobs(options.blocks, options.small, use)
    costs: Costs = {}
    errors = []
    ending = in_parallel(run, jobs)
    with Ended(len(jobs)) as ended:
        for job, outcome in ending:
            ended.show(f"{job}: {outcome}")
            if outcome.cost is None:
                errors.append(f"synth: {job}: {outcome.error}")
            else:
                costs[job.block, job.variant] = outcome.cost
    _tell(costs, options.small)
    for error in errors:
        print(error, file=sys.stderr)
    return USAGE_STATUS if errors else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.synth", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("blocks", nargs="*", metavar="block", help=f"one of: {', '.join(BLOCKS)}")
    parser.add_argument("--small", action="store_true", help="the smallest NIC instead of the default one")
    parser.add_argument(
        "--limit", type=float, default=MOST_SECONDS, metavar="SECONDS", help="of each call of a tool (%(default)g)"
    )
    return parser.parse_args()


def _jobs(blocks: list[str], small: bool, use: Use) -> list[Job]:
    """What is to be measured, the longest first."""
    wanted: list[tuple[str, int | None]] = [(name, None) for name in dict.fromkeys(blocks or BLOCKS)]
    if not blocks:
        wanted += [(name, index) for index, variant in enumerate(VARIANTS) for name in variant.blocks]
    wanted.sort(key=lambda pair: LONGEST.index(pair[0]) if pair[0] in LONGEST else len(LONGEST))
    return [Job(block=name, small=small, use=use, variant=variant) for name, variant in wanted]


def _tell(costs: Costs, small: bool) -> None:
    console = Console()
    show(console, _BLOCKS, block_rows(costs))
    if prices := price_rows(costs):
        show(console, _PRICES, prices, title="what each protection adds to the blocks that it is in")
    if clocks := clock_rows(costs):
        title = (
            "what each protection adds to the longest path: of the blocks that it is in, and of all (the NIC's clock)"
        )
        show(console, _CLOCKS, clocks, title=title)
        console.print(
            "paths between registers of one block, the median of some placements; links between blocks are not counted"
        )
    report = FOLDER / "report.json"
    parameters = asdict(SMALL if small else NicParameters())
    rows = [
        {"block": block, "without": None if variant is None else VARIANTS[variant].without, **asdict(cost)}
        for (block, variant), cost in costs.items()
    ]
    FOLDER.mkdir(parents=True, exist_ok=True)
    report.write_text(json.dumps({"parameters": parameters, "costs": rows}, indent=2) + "\n")
    console.print(f"report: {report}", soft_wrap=True)
