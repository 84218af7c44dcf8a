"""The cocotb entry: joins the simulated hardware to the kernel, runs the jobs, hands over what came of it."""

import os
import signal
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import cocotb
import numpy as np
import numpy.typing as npt
from cocotb.handle import HierarchyObject
from cocotb.triggers import Timer, ValueChange

from cosim.bridge import Bridge, Core
from cosim.build import store_layout
from cosim.handover import Order, Progress, write_result
from cosim.scenario import PS_PER_MS, Job, Scenario, from_canonical
from cosim.signals import Toggle, Watch, now_ps
from cosim.store import Store
from cosim.trace import Recorder
from cosim.wire import Wire
from nimble import objects
from rtl.devices import DEVICES
from rtl.fabric.parameters import Topology
from sw import machine
from sw.kernel.hardware import Device, Trace

_PROGRESS_PERIOD_S = 0.1
_RESET_CYCLES = 16  # the harness holds the reset for half of them


@dataclass(frozen=True, kw_only=True)
class Node:
    """hardware.Node over the simulation."""

    nid: int
    memory: npt.NDArray[np.uint8]
    cores: tuple[Core, ...]
    devices: tuple[Device, ...]
    trace: Trace


class Run:
    """One run of a scenario inside the simulator."""

    def __init__(self, dut: HierarchyObject, order: Order, scenario: Scenario) -> None:
        self._order = order
        self._scenario = scenario
        self._dut = dut
        self._store = Store(store_layout(scenario))
        os.environ["NIMBLE_STORE"] = self._store.path  # read by hdl/store.cpp at the first access
        self._trace = Recorder(Path(order.trace_path), scenario.limits.trace_records)
        self._wire = Wire(self._store, self._trace)
        self._progress = Progress(order)
        self._next_progress_s = 0.0
        self._bridge = Bridge(finished=Toggle(dut.finished), housekeeping=self._housekeeping)
        self._system: machine.System | None = None

    async def run(self) -> None:
        """Simulate until all jobs have ended, the time limit, a stop from outside or an error; write the result."""
        started_s = time.perf_counter()
        signal.signal(signal.SIGINT, self._stop)
        signal.signal(signal.SIGTERM, self._stop)
        await Timer(_RESET_CYCLES * self._scenario.machine.clock_period_ps + 1, "ps")
        ended = ValueChange(self._dut.finished)
        verilator = self._scenario.simulator == "verilator"
        Watch(self._dut.done, self._bridge.ports_changed, settled=verilator)
        nodes = self._nodes()
        self._system = self._boot(nodes)
        self._bridge.start([core for node in nodes for core in node.cores], self._system.core_main)
        await ended
        self._wire.drain()
        outcome = self._outcome()
        write_result(self._order, {**outcome, "wall_s": time.perf_counter() - started_s})
        self._trace.close()

    # ---- building ----

    def _nodes(self) -> list[Node]:
        devices = tuple(
            Device(
                name=row.name,
                base=row.base,
                length_bytes=row.length_bytes,
                clock_period_ps=self._scenario.machine.clock_period_ps,
            )
            for row in DEVICES
        )
        return [
            Node(
                nid=nid,
                memory=self._store.memory(nid),
                cores=tuple(self._core(nid, index) for index in range(self._scenario.machine.node.cores)),
                devices=devices,
                trace=self._trace,
            )
            for nid in range(self._scenario.machine.nodes)
        ]

    def _core(self, node: int, index: int) -> Core:
        port = self._dut.node[node].core[index].port
        return Core(
            node=node,
            index=index,
            core_mhz=self._scenario.machine.cpu.core_mhz,
            port=node * self._scenario.machine.node.cores + index,
            store=self._store,
            request=Toggle(port.request),
            cancel=Toggle(port.cancel),
            trace=self._trace,
            start_ps=now_ps() - 1,
            limit_ps=self._scenario.limits.simulated_ms * PS_PER_MS,
            on_limit=lambda: self._bridge.finish("limit"),
        )

    def _boot(self, nodes: list[Node]) -> machine.System:
        cpu = self._scenario.machine.cpu
        return machine.start(
            nodes,
            core_mhz=cpu.core_mhz,
            costs=cpu.costs,
            jobs=[_job(job) for job in self._scenario.jobs],
            drivers=self._scenario.kernel.drivers,
            engine=self._scenario.kernel.engine,
            response_timeout_us=self._scenario.machine.node.nic.response_timeout_us,
            interrupt_interval_us=self._scenario.kernel.interrupt_interval_us,
            seed=self._scenario.seed,
            on_finished=lambda: self._bridge.finish("finished"),
        )

    # ---- while it runs ----

    def _housekeeping(self) -> None:
        self._wire.drain()
        if time.perf_counter() >= self._next_progress_s:
            self._next_progress_s = time.perf_counter() + _PROGRESS_PERIOD_S
            assert self._system is not None
            if not self._progress.send(simulated_ps=now_ps(), cycles=self._cycles(), jobs=self._system.job_states()):
                self._bridge.finish("interrupted")

    def _stop(self, number: int, _: FrameType | None) -> None:
        self._bridge.request_stop("interrupted")

    def _cycles(self) -> int:
        return int(self._dut.cycles.value)

    # ---- afterwards ----

    def _outcome(self) -> dict[str, Any]:
        """What cosim.handover asks for."""
        assert self._system is not None
        outcome: dict[str, Any] = {
            "status": "finished" if self._bridge.status == "finished" else "failed",
            "simulated_ps": now_ps() - 1,
            "cycles": self._cycles(),
            "node_cycles": self._node_cycles(),
        }
        match self._bridge.status:
            case "limit":
                outcome["reason"] = (
                    f"limits.simulated_ms: {self._scenario.limits.simulated_ms} ms have passed and jobs are still "
                    f"running ({self._activities()}); raise the limit, or find out what they wait for"
                )
            case "interrupted":
                outcome["status"] = "interrupted"
                outcome["reason"] = "stopped by a signal"
            case "failed":
                failure = self._bridge.failure
                assert failure is not None
                traceback.print_exception(failure)
                outcome["status"] = "crashed"
                outcome["reason"] = f"internal error: {type(failure).__name__}: {failure}"
        outcome["trace_dropped"] = self._trace.dropped + self._wire.lost
        results = self._system.results()
        results["counters"] |= self._fabric_counters()
        return outcome | results

    def _node_cycles(self) -> list[int]:
        """Clock edges that each node really had."""
        return [int(self._dut.board.node[nid].gate.cycles.value) for nid in range(self._scenario.machine.nodes)]

    def _fabric_counters(self) -> dict[str, Any]:
        """What the routers count, as the software's counters are reported."""
        machine = self._scenario.machine
        # Each node has a router, but for those around a crossbar: its switch is the only one, and stands behind them.
        places = [machine.nodes] if machine.fabric.topology == Topology.CROSSBAR else range(machine.nodes)
        dropped = self._dut.dropped.value
        width = len(dropped) // (machine.nodes + 1)
        routers = [dropped.to_unsigned() >> width * place & (1 << width) - 1 for place in places]
        return {
            "fabric.packets_dropped": {
                "description": "Packets to no node of the machine, consumed by a router.",
                "unit": "packets",
                "total": sum(routers),
                "routers": routers,
            }
        }

    def _activities(self) -> str:
        return ", ".join(f"node {core.node} core {core.index}: {core.activity}" for core in self._bridge.cores.values())


def _job(job: Job) -> machine.JobSpec:
    return machine.JobSpec(
        name=job.name,
        jid=job.jid,
        app=job.app,
        placement=tuple((place.node, place.core) for place in job.placement),
        parameters=job.parameters,
        after=job.after,
    )


@cocotb.test
async def run(dut: HierarchyObject) -> None:
    """The only test: the scenario that the environment names."""
    order = Order.read()
    objects.keep_in(Path(order.objects_path))
    await Run(dut, order, from_canonical(order.scenario)).run()
