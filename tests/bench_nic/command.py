"""``python -m tests.bench_nic``: cycles of the NIC, and the speed of its simulation."""

import argparse
import json
from pathlib import Path

from rich.console import Console

from rtl.nic.parameters import NicParameters
from rtl.packets import DATAPATH_BITS
from rtl.portals import MAX_MESSAGE_BYTES
from tests.bench_nic import behind, largest, latency, machines, rates
from tests.bench_nic.figures import Figure, as_data, show_figures
from tests.bench_nic.rig import Rig
from tests.commands.tables import Column, show

OUT = Path(__file__).parents[2] / "build" / "bench" / "nic.json"
STAGED_BYTES = 64


def main() -> int:
    """1 if a bound does not hold."""
    options = _options()
    console = Console()
    found: dict[str, list[Figure]] = {"cycles": [], "rates": [], "behind": [], "largest": [], "machines": []}
    stages = {}
    for bits in DATAPATH_BITS:
        with console.status(f"NIC of {bits} bits"):
            rig = Rig(NicParameters(datapath_bits=bits))
        stages[bits] = latency.one_way(rig, STAGED_BYTES)
        found["cycles"] += latency.figures(rig)
        found["rates"] += rates.figures(rig)
        found["behind"] += behind.figures(rig)
        rig.close()
    with console.status(f"a message of {MAX_MESSAGE_BYTES >> 20} MiB"):
        found["largest"] += largest.figures()
    show_stages(console, stages)
    show_figures(console, "one message, alone", found["cycles"])
    show_figures(console, "all the time", found["rates"])
    show_figures(console, "one message behind another", found["behind"])
    show_figures(console, "the largest message", found["largest"])
    if options.nodes:
        with console.status("machines") as status:
            found["machines"] = machines.figures(options.nodes, status.update)
        show_figures(console, "simulation under cocotb, and by a bare loop", found["machines"])
    options.out.parent.mkdir(parents=True, exist_ok=True)
    report = {
        **{name: as_data(figures) for name, figures in found.items()},
        "stages": {str(bits): {mark.what: mark.cycle for mark in marks} for bits, marks in stages.items()},
    }
    options.out.write_text(json.dumps(report, indent=2) + "\n")
    return int(not all(figure.holds for figures in found.values() for figure in figures))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench_nic", description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT, help="where the figures go as JSON (default %(default)s)")
    parser.add_argument(
        "--nodes", type=int, nargs="*", default=machines.NODES,
        help="sizes of the machines to be built and simulated, or none (default %(default)s)",
    )  # fmt: skip
    return parser.parse_args()


def show_stages(console: Console, stages: dict[int, list[latency.Mark]]) -> None:
    """Prints what happens when in a put, for each datapath."""
    columns = [Column(heading="stage", words=True), *(Column(heading=f"{bits} bits") for bits in stages)]
    rows = [[marks[0].what, *(str(mark.cycle) for mark in marks)] for marks in zip(*stages.values(), strict=True)]
    show(console, columns, rows, title=f"put of {STAGED_BYTES} bytes: cycles since the doorbell was accepted")
