"""Speed of the co-simulation, each figure beside a reference that runs on the same machine in the same minute.

Seconds are those of a processor, so that other work on the machine weighs little.

busy        simulated clock cycles per second of the machine under cocotb, all NICs sending and receiving, against a
            bare C++ loop over the same RTL, verilated without timing and VPI, with the same memories and traffic
mmio        register round trips per second through the bridge, against cocotbext-axi's AxiLiteMaster on the same RTL
dma         bytes per second that the NICs move from and to host memory while busy
idle        seconds for a second of simulated time in which nothing happens
"""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from cosim import build
from cosim.build import BOARD, HDL, Model, Progress
from cosim.errors import UserError
from cosim.scenario import Scenario
from rtl import devices
from rtl.nic.parameters import NicParameters
from rtl.portals import COMMAND, LIST_COMMAND, Operation

_ROUND_TRIPS = 20_000
_REFERENCE_ROUND_TRIPS = 4_000
_BUSY_FROM_PS = 10**12 + 10**10
_BUSY_CYCLES = 300_000
_RUNS = 3  # of each measurement; the fastest counts, since all that disturbs makes slower
_RESET_CYCLES = 16

# Where things lie in the memory of each node.
_RING = 1 << 20
_QUEUE = 2 << 20
_COUNTERS = 3 << 20
_WINDOW = 4 << 20
_LOG2_COMMANDS = 12
_PREPARATION = 2  # commands that make a node ready to receive


class Traffic:
    """Each of the first `senders` nodes sends puts of one packet of the largest size to the next of them."""

    def __init__(self, scenario: Scenario, senders: int) -> None:
        self.senders = senders
        nic = NicParameters(**scenario.machine.nic_parameters)
        self.payload_bytes = nic.mtu_bytes
        self._map = nic.registers

    def address(self, path: str) -> int:
        """Physical address of a register."""
        return devices.NIC_BASE + self._map.address(path)

    def setup(self, node: int) -> list[tuple[int, int]]:
        """The register writes, (address, value), after which a node's NIC is ready to receive, and for its doorbell."""
        values = {
            "NODE_ID": node,
            "CONTEXT[0].IDENTITY": 1 << 32 | 1,
            "CONTEXT[0].COMMAND_BASE": _RING,
            "CONTEXT[0].COMMAND_SIZE": _LOG2_COMMANDS,
            "CONTEXT[0].EVENT_BASE": _QUEUE,
            "CONTEXT[0].EVENT_SIZE": _LOG2_COMMANDS,
            "CONTEXT[0].COUNTER_BASE": _COUNTERS,
            "CONTEXT[0].WINDOW[0].BASE": _WINDOW,
            "CONTEXT[0].WINDOW[0].LENGTH": 2 * self.payload_bytes,
            "CONTEXT[0].WINDOW[0].RIGHTS": 0b1111,
            "CONTEXT[0].CONTROL": 1,
            "PAGE[0].COMMAND_TAIL": _PREPARATION,
        }
        return [(self.address(path), value) for path, value in values.items()]

    def memory(self, node: int) -> bytes:
        """What lies in a node's memory from address 0 on."""
        prepare = (
            LIST_COMMAND.pack(operation=Operation.PT_ALLOC),
            LIST_COMMAND.pack(
                operation=Operation.ME_APPEND, any_nid=1, any_pid=1, op_put=1, ignore_bits=(1 << 64) - 1,
                offset=self.payload_bytes, length_bytes=self.payload_bytes, event_link_disable=1, event_comm_disable=1,
            ),
        )  # fmt: skip
        put = COMMAND.pack(
            operation=Operation.PUT, length_bytes=self.payload_bytes, dst_nid=(node + 1) % self.senders, dst_pid=1,
            event_send_disable=1,
        )  # fmt: skip
        commands = [*prepare, *[put] * ((1 << _LOG2_COMMANDS) - len(prepare))]
        return bytes(_RING) + b"".join(word.to_bytes(8, "little") for command in commands for word in command)


class Bench:
    """Builds what is measured and what it is measured against, in `folder`. Nodes that are no `senders` have nothing to
    do; all nodes send unless it is given."""

    def __init__(
        self, scenario: Scenario, *, cache: Path, folder: Path, progress: Progress, senders: int | None = None
    ) -> None:  # fmt: skip
        self._scenario = scenario
        self._cache = cache
        self._folder = folder
        self._progress = progress
        self._traffic = Traffic(scenario, scenario.machine.nodes if senders is None else senders)
        self._verilog = build.elaborate(build.rtl_parameters(scenario), cache=cache, progress=progress)
        self._harness = build.harness_parameters(scenario)

    def machine(self) -> dict[str, float]:
        """The machine under cocotb."""
        model = build.build(self._scenario, progress=self._progress, cache=self._cache)
        layout = build.store_layout(self._scenario)
        images = []
        for node in range(layout.nodes):
            images.append(self._folder / f"memory{node}")
            images[-1].write_bytes(self._traffic.memory(node))
        period_ps = self._harness["PERIOD_PS"]
        order = {
            "layout": asdict(layout),
            "images": [str(image) for image in images],
            "setup": [self._traffic.setup(node) for node in range(layout.nodes)],
            "doorbell": self._traffic.address("PAGE[0].COMMAND_TAIL"),
            "commands": 1 << _LOG2_COMMANDS,
            "senders": self._traffic.senders,
            "counters": [self._traffic.address(name) for name in ("PACKETS_SENT", "MESSAGES_DELIVERED")],
            "scratch": self._traffic.address("INT_ENABLE"),
            "round_trips": _ROUND_TRIPS,
            "start_ps": _RESET_CYCLES * period_ps,
            "busy_from_ps": _BUSY_FROM_PS,
            "busy_ps": _BUSY_CYCLES * period_ps,
        }
        return self._inside(model, "machine", order)

    def bare(self) -> dict[str, float]:
        """The same RTL, memories and traffic in a bare C++ loop."""
        parameters = {name: self._harness[name] for name in _BARE_PARAMETERS}
        sources = [HDL / name for name in ("bare.cpp", "store.cpp", "bare.sv", *BOARD)]
        program = build.verilate(
            "bare", [self._verilog, *sources], cocotb=False, parameters=parameters, cache=self._cache,
            progress=self._progress, hierarchical=build.is_hierarchical(self._scenario),
        )  # fmt: skip
        layout = build.store_layout(self._scenario)
        store = self._folder / "store"
        with store.open("wb") as file:
            for node in range(layout.nodes):
                file.seek(layout.memory_base + node * layout.memory_bytes)
                file.write(self._traffic.memory(node))
            file.truncate(layout.total_bytes)
        nodes = range(layout.nodes)
        writes = [(node, *write) for node in nodes for write in self._traffic.setup(node)]
        doorbell = self._traffic.address("PAGE[0].COMMAND_TAIL")
        writes += [(node, doorbell, 1 << _LOG2_COMMANDS) for node in range(self._traffic.senders)]
        script = self._folder / "script"
        script.write_text("".join(f"{node} {address} {value}\n" for node, address, value in writes))
        environment = os.environ | {"NIMBLE_STORE": str(store)}
        seconds = _checked([str(program), str(script), str(_BUSY_CYCLES)], environment)
        return {"busy_s": float(seconds), "busy_cycles": _BUSY_CYCLES}

    def reference(self) -> dict[str, float]:
        """The same round trips on the same RTL by cocotbext-axi."""
        sources = [HDL / name for name in ("main.cpp", "single_port.vlt", "single_port.sv")]
        program = build.verilate(
            "single_port", [self._verilog, *sources], cocotb=True, parameters={}, cache=self._cache,
            progress=self._progress,
        )  # fmt: skip
        model = Model(
            command=[str(program)], environment=build.cocotb_environment("single_port", verilator=True), waves_suffix=""
        )
        order = {
            "period_ps": self._harness["PERIOD_PS"],
            "scratch": self._traffic.address("INT_ENABLE"),
            "reference_round_trips": _REFERENCE_ROUND_TRIPS,
        }
        return self._inside(model, "reference", order)

    def _inside(self, model: Model, test: str, order: dict[str, Any]) -> dict[str, float]:
        """Run a test of cosim.bench_inside and return what it measured."""
        order_path, result_path = self._folder / "order.json", self._folder / "result.json"
        order_path.write_text(json.dumps({**order, "result": str(result_path)}))
        environment = os.environ | model.environment
        environment |= {
            "COCOTB_TEST_MODULES": "cosim.bench_inside",
            "COCOTB_TEST_FILTER": f"{test}$",
            "COCOTB_LOG_LEVEL": "WARNING",
            "GPI_LOG_LEVEL": "WARNING",
            "COCOTB_RESULTS_FILE": str(self._folder / "results.xml"),
            "NIMBLE_BENCH": str(order_path),
        }
        result_path.unlink(missing_ok=True)
        output = _checked(model.command, environment)
        if not result_path.exists():
            raise UserError(f"benchmark {test}: no result: {output.strip().splitlines()[-1:]}; run it again")
        result: dict[str, float] = json.loads(result_path.read_text())
        return result


_BARE_PARAMETERS = (
    "MEMORY_BYTES", "MEMORY_BASE", "READ_LATENCY", "WRITE_LATENCY", "RECORDS", "RINGS_BASE",
)  # fmt: skip


def _checked(command: Sequence[str], environment: dict[str, str]) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(
            f"{Path(command[0]).name}: status {done.returncode}: {done.stderr.strip() or done.stdout[-500:]}"
        )
    return done.stdout


def measure(scenario: Scenario, *, cache: Path, progress: Progress) -> dict[str, dict[str, float]]:
    """All figures with their references: rows of figure -> {value, reference, ratio, bound}."""
    folder = Path(tempfile.mkdtemp(prefix="nimble-bench-"))
    try:
        bench = Bench(scenario, cache=cache, folder=folder, progress=progress)
        machine, bare, reference = [], [], []
        for run in range(1, _RUNS + 1):
            progress(f"measuring ({run} of {_RUNS})")
            machine.append(bench.machine())
            bare.append(bench.bare())
            reference.append(bench.reference())
    finally:
        shutil.rmtree(folder)

    def fastest(runs: list[dict[str, float]], seconds: str, amount: Callable[[dict[str, float]], float]) -> float:
        return max(amount(run) / run[seconds] for run in runs)

    busy = fastest(machine, "busy_s", lambda run: run["busy_cycles"])
    loop = fastest(bare, "busy_s", lambda run: run["busy_cycles"])
    trips = fastest(machine, "round_trips_s", lambda run: _ROUND_TRIPS)
    axi = fastest(reference, "round_trips_s", lambda run: _REFERENCE_ROUND_TRIPS)
    payload_bytes = scenario.machine.node.nic.mtu_bytes * scenario.machine.nodes
    moved = fastest(machine, "busy_s", lambda run: run["packets"] * payload_bytes)
    idle = min(run["idle_s"] / run["idle_ps"] * 1e12 for run in machine)
    return {
        "busy_cycles_per_s": {"value": busy, "reference": loop, "ratio": busy / loop, "at_least": 0.4},
        "mmio_per_s": {"value": trips, "at_least": 40_000},
        "mmio_against_cocotbext_axi": {"value": trips, "reference": axi, "ratio": trips / axi, "at_least": 5},
        "dma_bytes_per_s": {"value": moved, "at_least": 3e6},
        "idle_s_per_simulated_s": {"value": idle, "at_most": 0.1},
    }


def main(scenario: Scenario, *, cache: Path, out: Path, progress: Progress, console: Console) -> int:
    """Measure, print a table, write out/bench.json. Exit status 1 if a bound does not hold."""
    figures = measure(scenario, cache=cache, progress=progress)
    out.mkdir(parents=True, exist_ok=True)
    (out / "bench.json").write_text(json.dumps(figures, indent=2) + "\n")
    table = Table(title="speed of the co-simulation")
    for heading in ("figure", "value", "reference", "ratio", "bound", "holds"):
        table.add_column(heading, justify="left" if heading == "figure" else "right")
    missed = 0
    for name, figure in figures.items():
        judged = figure.get("ratio", figure["value"])
        holds = figure.get("at_least", judged) <= judged <= figure.get("at_most", judged)
        missed += not holds
        bound = f">= {figure['at_least']:g}" if "at_least" in figure else f"<= {figure['at_most']:g}"
        cells = (f"{figure[key]:,.3g}" if key in figure else "" for key in ("value", "reference", "ratio"))
        table.add_row(name, *cells, bound, "yes" if holds else "NO")
    console.print(table)
    return 1 if missed else 0
