"""What the benchmark runs inside a simulator: `machine` over the harness, `reference` over cocotbext-axi."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.handle import HierarchyObject
from cocotb.triggers import Timer, ValueChange

from cosim.bridge import Bridge, Core
from cosim.signals import Toggle, Watch, now_ps
from cosim.store import Layout, Store

Order = dict[str, Any]
Result = dict[str, float]


class _NoTrace:
    def record(self, *_: object) -> None:
        pass


def _timed(action: Callable[[], None]) -> float:
    """Seconds of processor time: what else the machine does then weighs little."""
    began = time.process_time()
    action()
    return time.process_time() - began


def _configure(core: Core, order: Order) -> None:
    for address, value in order["setup"][core.node]:
        core.store(address, value, privileged=True)


def _send(core: Core, order: Order) -> None:
    core.store(order["doorbell"], order["commands"], privileged=True)


def _measure(core: Core, order: Order, cycles: Callable[[], int]) -> Result:
    """Runs on a core of node 0, while those of the other nodes only start their NICs when `busy_from_ps` comes."""

    def round_trips() -> None:
        for _ in range(order["round_trips"] // 2):
            core.store(order["scratch"], 0, privileged=True)
            core.load(order["scratch"], privileged=True)

    round_trips()  # warm
    result = {"round_trips_s": _timed(round_trips)}
    _configure(core, order)
    result["idle_ps"] = order["busy_from_ps"] - core.now_ps
    result["idle_s"] = _timed(lambda: core.idle(order["busy_from_ps"]))
    _send(core, order)
    began_cycles = cycles()
    result["busy_s"] = _timed(lambda: core.idle(core.now_ps + order["busy_ps"]))
    result["busy_cycles"] = cycles() - began_cycles
    result["packets"] = sum(core.load(address, privileged=True) for address in order["counters"])
    return result


@cocotb.test
async def machine(dut: HierarchyObject) -> None:
    """Round trips, idle time and busy cycles of the machine in its harness."""
    order: Order = json.loads(Path(os.environ["NIMBLE_BENCH"]).read_text())
    layout = Layout(**order["layout"])
    store = Store(layout)
    os.environ["NIMBLE_STORE"] = store.path
    for node, image in enumerate(order["images"]):
        data = bytearray(Path(image).read_bytes())
        store.memory(node)[: len(data)] = data
    await Timer(order["start_ps"] + 1, "ps")
    bridge = Bridge(finished=Toggle(dut.finished), housekeeping=lambda: None)
    ended = ValueChange(dut.finished)
    Watch(dut.done, bridge.ports_changed, settled=True)
    cores = [
        Core(
            node=node, index=0, core_mhz=1000, port=node * layout.cores, store=store,
            request=Toggle(dut.node[node].core[0].port.request), cancel=Toggle(dut.node[node].core[0].port.cancel),
            trace=_NoTrace(), start_ps=now_ps() - 1, limit_ps=1 << 62, on_limit=lambda: bridge.finish("limit"),
        )
        for node in range(layout.nodes)
    ]  # fmt: skip

    def entry(core: Core) -> None:
        if core.node:
            _configure(core, order)
            core.idle(order["busy_from_ps"])
            if core.node < order["senders"]:
                _send(core, order)
            return
        result = _measure(core, order, lambda: int(dut.cycles.value))
        Path(order["result"]).write_text(json.dumps(result))
        bridge.finish("finished")

    bridge.start(cores, entry)
    await ended
    if bridge.failure:
        raise bridge.failure


@cocotb.test
async def reference(dut: HierarchyObject) -> None:
    """The same round trips by cocotbext-axi's AxiLiteMaster."""
    from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiProt

    order: Order = json.loads(Path(os.environ["NIMBLE_BENCH"]).read_text())
    Clock(dut.clk, order["period_ps"], "ps").start()
    master = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "core"), dut.clk, dut.rst)
    dut.rst.value = 1
    await Timer(20 * order["period_ps"], "ps")
    dut.rst.value = 0
    await Timer(20 * order["period_ps"], "ps")

    async def round_trips(count: int) -> None:
        for _ in range(count // 2):
            await master.write(order["scratch"], bytes(8), prot=AxiProt.PRIVILEGED)
            await master.read(order["scratch"], 8, prot=AxiProt.PRIVILEGED)

    await round_trips(100)  # warm
    began = time.process_time()
    await round_trips(order["reference_round_trips"])
    Path(order["result"]).write_text(json.dumps({"round_trips_s": time.process_time() - began}))
