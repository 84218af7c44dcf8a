"""``python -m tests.rtl.whole``: random traffic between whole NICs, compared with the golden model."""

import argparse
import sys
import time
from pathlib import Path

from rich.console import Console

from rtl.packets import DATAPATH_BITS
from tests.rtl.whole.board import parameters_of
from tests.rtl.whole.campaign import Campaign
from tests.rtl.whole.coverage import Coverage
from tests.rtl.whole.simulator import library


def main() -> int:
    """1 if hardware and model disagree."""
    options = _options()
    console = Console()
    widths = DATAPATH_BITS if options.datapath is None else (options.datapath,)
    coverage = {bits: Coverage(parameters_of(bits)) for bits in widths}
    for bits in widths:
        console.print(f"a NIC with a datapath of {bits} bits is compiled, if it is not yet", highlight=False)
        library(parameters_of(bits))
    began = shown = time.monotonic()
    campaigns = phases = cycles = 0
    while time.monotonic() - began < options.seconds:
        bits, seed = widths[campaigns % len(widths)], options.seed + campaigns // len(widths)
        campaign = Campaign(bits, seed, coverage[bits])
        try:
            for _ in range(options.phases):
                if time.monotonic() - began > options.seconds:
                    break
                campaign.phase()
        except AssertionError as difference:
            number = sum(campaign.phases.values())
            console.print(f"\nseed {seed}, {bits} bits, phase {number} ({campaign.name}):", highlight=False)
            console.print(str(difference), markup=False, highlight=False, soft_wrap=True)
            console.print(
                f"again: python -m tests.rtl.whole --seed {seed} --datapath {bits} --phases {number}", highlight=False
            )
            return 1
        campaigns, phases = campaigns + 1, phases + sum(campaign.phases.values())
        cycles += campaign.board.simulator.cycle
        campaign.close()
        if time.monotonic() - shown > 10:
            shown = time.monotonic()
            console.print(
                f"{shown - began:.0f} s: {campaigns} seeds, {phases} phases, {cycles} cycles", highlight=False
            )
    for bits in widths:
        console.print(coverage[bits].table(f"coverage, {bits} bits, {phases} phases in all"))
        if options.report is not None:
            coverage[bits].save(options.report.with_stem(f"{options.report.stem}-{bits}"))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.rtl.whole", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="stop after so long (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the first run of phases (default %(default)s)")
    parser.add_argument("--phases", type=int, default=60, help="of each seed (default %(default)s)")
    parser.add_argument("--datapath", type=int, choices=DATAPATH_BITS, help="bits (default: all, one after the other)")
    parser.add_argument("--report", type=Path, help="where to write the coverage as JSON, one file for each datapath")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
