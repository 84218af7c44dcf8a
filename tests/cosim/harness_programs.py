"""Runs inside the simulator: programs of the cores over the stub machine. Leaves a JSON file of times."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cocotb
from cocotb.triggers import Timer, ValueChange

from cosim.bridge import Bridge, Core
from cosim.signals import Toggle, Watch, now_ps
from cosim.store import Layout, Store
from sw.kernel.hardware import BusError, Interrupt

NODES, CORES = 2, 2
LAYOUT = Layout(nodes=NODES, cores=CORES, memory_bytes=1 << 16)
CORE_MHZ = 2000
START_PS = 64_000
LIMIT_PS = 10**13

Log = list[Any]
PROGRAMS: dict[str, Callable[[Core, list[Core], Log], None]] = {}


def program(function: Callable[[Core, list[Core], Log], None]) -> Callable[[Core, list[Core], Log], None]:
    PROGRAMS[function.__name__] = function
    return function


def register(number: int) -> int:
    return number * 8


@program
def round_trips(core: Core, cores: list[Core], log: Log) -> None:
    """Times of accesses with and without computing in between; data must come back."""
    core.store(register(0), 0xFEDCBA9876543210, privileged=False)
    log.append(core.now_ps)
    value = core.load(register(0), privileged=False)
    log.append([core.now_ps, value])
    core.spend(3)  # 1500 ps: still the same clock cycle
    core.load(register(1), privileged=False)
    log.append(core.now_ps)
    core.spend(8)  # exactly a clock period: due on the edge, served by the next one
    core.store(register(2), 1, privileged=False)
    log.append(core.now_ps)
    core.spend(2_000_000)
    core.settle()
    log.append(core.now_ps)
    core.store(register(3), 1, privileged=False)
    log.append(core.now_ps)


@program
def refusals(core: Core, cores: list[Core], log: Log) -> None:
    """Bus errors name address and response; privilege reaches the bus."""
    core.store(register(15), 7, privileged=True)
    for action in (
        lambda: core.store(register(15), 8, privileged=False),
        lambda: core.load(0x100, privileged=True),
    ):
        try:
            action()
        except BusError as error:
            log.append(str(error))
    log.append(core.load(register(15), privileged=False))


@program
def interrupt_in_computation(core: Core, cores: list[Core], log: Log) -> None:
    """An interrupt preempts at its time, its handler takes time, and the rest is computed afterwards."""

    def handler(cause: Interrupt) -> None:
        log.append([cause.value, core.now_ps, core.interrupts_enabled])
        core.spend(100)
        core.store(register(13), 0, privileged=True)
        core.spend(10)

    if core.index or core.node:
        return
    core.on_interrupt = handler
    core.store(register(14), 5, privileged=True)
    log.append(core.now_ps)
    core.interrupts_enabled = True
    core.spend(1000)
    core.settle()
    log.append([core.now_ps, core.interrupts_enabled])
    core.store(register(14), 3, privileged=True)
    core.interrupts_enabled = False
    core.spend(100)
    core.settle()  # masked: waits to the end
    log.append(core.now_ps)
    core.interrupts_enabled = True
    core.spend(2)
    core.settle()  # pending: taken at once, though hardly anything is owed
    log.append(core.now_ps)
    core.store(register(14), 7, privileged=True)
    core.idle()
    log.append(core.now_ps)


@program
def interrupts_of_all_cores(core: Core, cores: list[Core], log: Log) -> None:
    """Each core is interrupted by its own line alone, at a time of its own."""

    def handler(cause: Interrupt) -> None:
        log.append([cause.value, core.now_ps])
        core.store(register(13), 0, privileged=True)

    core.on_interrupt = handler
    core.store(register(14), 5 + 10 * core.index + 20 * core.node, privileged=True)
    core.interrupts_enabled = True
    core.idle()
    core.spend(1000)
    core.settle()


@program
def signals_between_cores(core: Core, cores: list[Core], log: Log) -> None:
    """Core 0 signals core 1 while that idles, computes, has interrupts masked, and is in the middle of an access."""
    if core.node:
        return
    if core.index == 0:
        for delay_ps in (0, 1_000, 0, 0):
            core.spend(20_000)
            core.settle()
            cores[1].signal(delay_ps)
        return

    def handler(cause: Interrupt) -> None:
        log.append([cause.value, core.now_ps])
        core.spend(50)

    core.on_interrupt = handler
    core.interrupts_enabled = True
    core.idle()
    log.append(["idle ended", core.now_ps])
    core.spend(30_000)
    core.settle()
    log.append(["computed", core.now_ps])
    core.interrupts_enabled = False
    core.spend(15_000)
    core.settle()
    log.append(["masked", core.now_ps])
    core.interrupts_enabled = True
    core.settle()
    log.append(["unmasked", core.now_ps])
    while len(log) < 8:
        core.load(register(1), privileged=False)
        core.spend(1)
    log.append(["accessed", core.now_ps])


@program
def long_idle(core: Core, cores: list[Core], log: Log) -> None:
    """A second of simulated time with nothing to do."""
    core.idle(START_PS + 10**12)
    log.append(core.now_ps)


class NoTrace:
    def record(self, *_: Any) -> None:
        pass


@cocotb.test
async def run(dut: Any) -> None:
    order = json.loads(Path(os.environ["HARNESS_ORDER"]).read_text())
    store = Store(LAYOUT)
    os.environ["NIMBLE_STORE"] = store.path
    await Timer(START_PS + 1, "ps")
    bridge = Bridge(finished=Toggle(dut.finished), housekeeping=lambda: None)
    ended = ValueChange(dut.finished)
    Watch(dut.done, bridge.ports_changed, settled=order["settled"])
    cores = [
        Core(
            node=node, index=index, core_mhz=CORE_MHZ, port=node * CORES + index, store=store,
            request=Toggle(dut.node[node].core[index].port.request),
            cancel=Toggle(dut.node[node].core[index].port.cancel),
            trace=NoTrace(), start_ps=START_PS, limit_ps=LIMIT_PS, on_limit=lambda: bridge.finish("limit"),
        )
        for node in range(NODES) for index in range(CORES)
    ]  # fmt: skip
    logs: list[Log] = [[] for _ in cores]
    running = len(cores)

    def entry(core: Core) -> None:
        nonlocal running
        number = core.node * CORES + core.index
        PROGRAMS[order["program"]](core, cores, logs[number])
        running -= 1
        if running == 0:
            bridge.finish("finished")

    bridge.start(cores, entry)
    await ended
    if bridge.failure:
        raise bridge.failure
    result = {"status": bridge.status, "logs": logs, "end_ps": now_ps(), "cycles": int(dut.cycles.value)}
    Path(order["result"]).write_text(json.dumps(result))
