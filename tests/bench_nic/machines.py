"""How fast machines of several nodes are simulated and built, each figure beside a bare Verilator loop."""

import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from cosim.bench import Bench
from cosim.build import Progress
from cosim.scenario import Scenario
from tests.bench_nic.figures import Figure

NODES = (1, 2, 4, 16)
LEAST_LINK_SHARE = 0.95
_RUNS = 2  # of each measurement; the fastest counts, since all that disturbs makes slower


def scenario_of(nodes: int) -> Scenario:
    """A machine with default sizes; up to two nodes are joined by links alone, more by a ring of routers."""
    topology = "point_to_point" if nodes <= 2 else "ring"
    machine = {"nodes": nodes, "node": {"cores": 1, "memory_mib": 8}, "fabric": {"topology": topology}}
    job = {"name": "none", "jid": 1, "app": "forger", "placement": [{"node": 0, "core": 0}]}  # a scenario has one
    return Scenario.model_validate_json(json.dumps({"name": "bench", "machine": machine, "jobs": [job]}))


def figures(sizes: Sequence[int], progress: Progress) -> list[Figure]:
    """Cycles per second, build times, and the rate over a real link of what was built anew for this."""
    found = []
    for nodes in sizes:
        folder = Path(tempfile.mkdtemp(prefix="nimble-bench-"))
        try:
            found += _measure(nodes, folder, progress)
        finally:
            shutil.rmtree(folder)
    return found


def _measure(nodes: int, folder: Path, progress: Progress) -> list[Figure]:
    scenario = scenario_of(nodes)
    found = []
    for senders in sorted({1, nodes}, reverse=True):
        began = time.perf_counter()
        bench = Bench(scenario, cache=folder / "build", folder=folder, progress=progress, senders=senders)
        machine = [bench.machine()]
        if senders == nodes:
            seconds = time.perf_counter() - began - machine[0]["busy_s"]
            found.append(Figure(name=f"{nodes} nodes: build and start", value=seconds, unit="s"))
        bare = [bench.bare()]
        for run in range(1, _RUNS):
            progress(f"{nodes} nodes, {senders} busy: measuring ({run + 1} of {_RUNS})")
            machine.append(bench.machine())
            bare.append(bench.bare())
        value, reference = (max(run["busy_cycles"] / run["busy_s"] for run in runs) for runs in (machine, bare))
        found.append(Figure(name=f"{nodes} nodes, {senders} busy", value=value, unit="cycles/s", reference=reference))
        if senders > 1:
            found.append(_link_share(scenario, machine[0], senders))
    return found


def _link_share(scenario: Scenario, run: dict[str, float], senders: int) -> Figure:
    """Node 0 sends and receives at once: what it sent and received of what a link could carry."""
    nic = scenario.machine.node.nic
    carried = run["packets"] / 2 * nic.mtu_bytes / (scenario.machine.fabric_parameters["datapath_bits"] // 8)
    return Figure(
        name=f"{senders} nodes: large puts over links", value=carried / run["busy_cycles"],
        unit="payload of datapath", at_least=LEAST_LINK_SHARE,
    )  # fmt: skip
