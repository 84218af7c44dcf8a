"""``python -m tests.rtl.whole``: random traffic between whole NICs, compared with the golden model."""

import argparse
import time
from collections import Counter
from itertools import count, product
from pathlib import Path

from rich.console import Console

from rtl.packets import DATAPATH_BITS
from tests.commands.tables import Column, show
from tests.rtl.whole.board import SHAPES, parameters_of
from tests.rtl.whole.campaign import Campaign
from tests.rtl.whole.coverage import Coverage
from tests.rtl.whole.simulator import library

# The rarest bins come once in a thousand phases or more, of which a processor does five in a second, for two datapaths.
LONG_SECONDS = 3600
_COLUMNS = (
    Column(heading="group", words=True),
    *(Column(heading=heading) for heading in ("reached", "of", "holes")),
    Column(heading="not reached", words=True),
)


def main() -> int:
    """1 if hardware and model disagree, or if bins were not reached that this run was to reach."""
    options = _options()
    console = Console(highlight=False)
    widths = DATAPATH_BITS if options.datapath is None else (options.datapath,)
    kinds = list(product(options.shape or SHAPES, widths))
    for shape, bits in kinds:
        console.print(f"a NIC of shape {shape} with a datapath of {bits} bits is compiled, if it is not yet")
        library(parameters_of(bits, shape))
    coverage = {bits: Coverage() for bits in widths}
    done: Counter[str] = Counter()
    began = shown = time.monotonic()
    for number in count():
        shape, bits = kinds[number % len(kinds)]
        campaign = Campaign(parameters_of(bits, shape), options.seed + number // len(kinds), coverage[bits])
        try:
            while campaign.phases.total() < options.phases and time.monotonic() - began < options.seconds:
                campaign.phase()
        except AssertionError as difference:
            phase, seed = campaign.phases.total(), options.seed + number // len(kinds)
            console.print(f"\nseed {seed}, shape {shape}, {bits} bits, phase {phase} ({campaign.name}):")
            console.print(str(difference), markup=False, soft_wrap=True)
            again = f"--seed {seed} --shape {shape} --datapath {bits} --phases {phase}"
            console.print(f"again: python -m tests.rtl.whole {again}", soft_wrap=True)
            return 1
        done.update(seeds=1, phases=campaign.phases.total(), cycles=campaign.board.simulator.cycle)
        campaign.close()
        if time.monotonic() - shown > 10:
            shown = time.monotonic()
            console.print(f"{shown - began:.0f} s: {', '.join(f'{value} {what}' for what, value in done.items())}")
        if time.monotonic() - began >= options.seconds:
            break
    missed = []
    for bits in widths:
        show(console, _COLUMNS, coverage[bits].rows(), title=f"coverage, {bits} bits, {done['phases']} phases in all")
        for hole in coverage[bits].explanations():
            console.print(hole, soft_wrap=True)
        missed += [f"{bits} bits: {what}" for what in coverage[bits].shortcomings()]
        if options.report is not None:
            coverage[bits].save(options.report.with_stem(f"{options.report.stem}-{bits}"))
    if not _is_required(options):
        return 0
    for what in missed:
        console.print(f"fuzz-nic: {what}", soft_wrap=True, markup=False)
    return 1 if missed else 0


def _is_required(options: argparse.Namespace) -> bool:
    """Whether all bins must have been reached: unless told, by a run that is long and leaves nothing out."""
    if options.require is not None:
        return bool(options.require)
    return options.seconds >= LONG_SECONDS and options.shape is None and options.datapath is None


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.rtl.whole", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="stop after so long (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the first run of phases (default %(default)s)")
    parser.add_argument("--phases", type=int, default=60, help="of each seed (default %(default)s)")
    parser.add_argument("--datapath", type=int, choices=DATAPATH_BITS, help="bits (default: all, one after the other)")
    parser.add_argument("--shape", choices=SHAPES, action="append", help="of the NICs (default: all in turn)")
    parser.add_argument("--report", type=Path, help="where to write the coverage as JSON, one file for each datapath")
    parser.add_argument(
        "--require", action=argparse.BooleanOptionalAction,
        help=f"fail unless all bins were reached (default: if --seconds is at least {LONG_SECONDS})",
    )  # fmt: skip
    return parser.parse_args()
