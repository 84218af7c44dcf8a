"""``python -m tests.bench_nic``: cycles of the NIC, and the speed of its simulation."""

import argparse
import json
from pathlib import Path

from rich.console import Console

from rtl.nic.parameters import NicParameters
from rtl.packets import DATAPATH_BITS
from rtl.portals import MAX_MESSAGE_BYTES
from tests.bench_nic import behind, largest, latency, machines, rates
from tests.bench_nic.documented import DOCUMENT, differences
from tests.bench_nic.figures import Figure, as_data, show_figures
from tests.bench_nic.rig import Rig
from tests.commands.tables import Column, show

ROOT = Path(__file__).parents[2]
OUT = ROOT / "build" / "bench" / "nic.json"
STAGED_BYTES = 64
# Headings of tables, here and in the NIC's document.
STAGES = f"put of {STAGED_BYTES} bytes, cycles since the doorbell was accepted"
TITLES = {
    "cycles": "one message, alone, in cycles",
    "rates": "all the time",
    "behind": f"small put behind one of {behind.LARGE_BYTES >> 10} KiB",
}


def main() -> int:
    """1 if a bound does not hold, or if the NIC's document says something else of cycles."""
    options = _options()
    console = Console()
    found: dict[str, list[Figure]] = {"cycles": [], "rates": [], "behind": [], "machines": []}
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
        found["rates"] += largest.figures()
    show_stages(console, stages)
    for name, title in TITLES.items():
        show_figures(console, title, found[name])
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
    measured = {title: {figure.name: figure.text for figure in found[name]} for name, title in TITLES.items()}
    measured[STAGES] = {
        f"{mark.what}, {bits} bits": str(mark.cycle) for bits, marks in stages.items() for mark in marks
    }
    wrong = list(differences((ROOT / DOCUMENT).read_text(encoding="utf-8"), measured))
    for line in wrong:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    return int(bool(wrong) or not all(figure.holds for figures in found.values() for figure in figures))


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
    show(console, columns, rows, title=STAGES)
