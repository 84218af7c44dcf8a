"""``python -m tests.rtl.load``: saturating random loads on whole fabrics, and how much of it they carry."""

import argparse
import sys
import time
from itertools import count

from rich.console import Console
from rich.table import Table

from rtl.fabric.parameters import FabricParameters
from tests.rtl.load.model import FABRICS, Load, bisection, bound, program, rate, run

LARGER = {
    "ring of 16": FabricParameters(topology="ring", nodes=16),
    "mesh 8x8": FabricParameters(topology="mesh", nodes=64, dimensions=(8, 8)),
    "torus 8x8": FabricParameters(topology="torus", nodes=64, dimensions=(8, 8)),
    "torus 4x4x4": FabricParameters(topology="torus", nodes=64, dimensions=(4, 4, 4)),
}


def main() -> int:
    """1 if a packet did not arrive as it should."""
    options = _options()
    fabrics = FABRICS | (LARGER if options.larger else {})
    console = Console(highlight=False)
    columns = ("fabric", "flits per node and cycle", "bisection allows", "of what is possible")
    table = Table(*columns, title="throughput when saturated")
    for name, fabric in fabrics.items():
        console.print(f"{name} is compiled, if it is not yet")
        program(fabric)
        measured = rate(fabric, Load(packets=options.packets, seed=options.seed))
        table.add_row(name, f"{measured:.3f}", f"{bisection(fabric):.2f}", f"{measured / bound(fabric):.0%}")
    console.print(table)
    began = time.monotonic()
    packets = 0
    for seed in count(options.seed):
        for name, fabric in fabrics.items():
            for answers in (False, True):
                load = Load(packets=options.packets, stall=128, answers=answers, pauses=True, seed=seed)
                result = run(fabric, load)
                packets += result["packets"]
                if result["outcome"] != "arrived":
                    console.print(f"{name}, {load}: {result}", markup=False, soft_wrap=True)
                    return 1
                if time.monotonic() - began >= options.seconds:
                    console.print(f"{packets} packets arrived as they should, seeds {options.seed} to {seed}")
                    return 0
    raise AssertionError("seeds never end")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.rtl.load", description=__doc__)
    parser.add_argument("--packets", type=int, default=500, help="of each node and class (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=30, help="stop after so long (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the first loads (default %(default)s)")
    parser.add_argument("--larger", action="store_true", help="fabrics of up to 64 nodes, too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
