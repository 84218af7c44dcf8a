"""Drives and watches an AXI4-Lite port in Amaranth's simulator."""

from collections.abc import Awaitable, Callable
from typing import Any

from amaranth.sim import Simulator, SimulatorContext

Bench = Callable[[SimulatorContext], Awaitable[None]]
WATCHDOG_CYCLES = 200
KERNEL, USER = 1, 0  # AxPROT


def simulate(design: Any, *benches: Bench, watched: tuple[Any, ...] = (), background: tuple[Bench, ...] = ()) -> None:
    """Runs until all `benches` end; `watched` ports must keep the protocol's rules; `background` runs beside."""
    simulator = Simulator(design)
    simulator.add_clock(1e-9)
    for bench in benches:
        simulator.add_testbench(bench)
    for bench in background:
        simulator.add_testbench(bench, background=True)
    for bus in watched:
        for valid, ready, payload in (
            (bus.bvalid, bus.bready, [bus.bresp]),
            (bus.rvalid, bus.rready, [bus.rdata, bus.rresp]),
        ):
            simulator.add_testbench(_holds(valid, ready, payload), background=True)
    simulator.run()


def _holds(valid: Any, ready: Any, payload: list[Any]) -> Bench:
    async def watch(ctx: SimulatorContext) -> None:
        pending: list[int] | None = None
        async for _, _, is_valid, is_ready, *values in ctx.tick().sample(valid, ready, *payload):
            assert pending is None or (is_valid and values == pending), "valid fell or its payload changed before ready"
            pending = values if is_valid and not is_ready else None

    return watch


# The drivers decide by what lay on the wires at the clock edge: what another bench sets after the same edge, and when
# the simulator lets it, does not matter.


async def write(
    ctx: SimulatorContext,
    bus: Any,
    address: int,
    data: int,
    *,
    prot: int = KERNEL,
    strobe: int = 0xFF,
    address_delay: int = 0,
    data_delay: int = 0,
    answer_delay: int = 0,
) -> tuple[int, int]:
    """Writes; delays in cycles, the answer's from when it is offered. Returns (response, cycle in which offered)."""
    address_sent = data_sent = False
    offered: int | None = None
    ctx.set(bus.awaddr, address)
    ctx.set(bus.awprot, prot)
    ctx.set(bus.wdata, data)
    ctx.set(bus.wstrb, strobe)
    for cycle in range(WATCHDOG_CYCLES):
        sending_address = not address_sent and cycle >= address_delay
        sending_data = not data_sent and cycle >= data_delay
        taking = _taking(cycle, offered, answer_delay)
        ctx.set(bus.awvalid, sending_address)
        ctx.set(bus.wvalid, sending_data)
        ctx.set(bus.bready, taking)
        sampled = await ctx.tick().sample(bus.awready, bus.wready, bus.bvalid, bus.bresp)
        awready, wready, bvalid, response = sampled[-4:]
        if bvalid:
            assert min(address_sent, data_sent), "answered before the whole request was accepted"
            offered = cycle if offered is None else offered
            if taking:
                ctx.set(bus.bready, 0)
                return response, offered
        address_sent |= bool(sending_address and awready)
        data_sent |= bool(sending_data and wready)
    raise AssertionError(f"no answer to a write at {address:#x} within {WATCHDOG_CYCLES} cycles")


async def read(
    ctx: SimulatorContext, bus: Any, address: int, *, prot: int = KERNEL, answer_delay: int = 0
) -> tuple[int, int, int]:
    """Reads. Returns (data, response, cycle in which the answer was offered)."""
    address_sent = False
    offered: int | None = None
    ctx.set(bus.araddr, address)
    ctx.set(bus.arprot, prot)
    for cycle in range(WATCHDOG_CYCLES):
        taking = _taking(cycle, offered, answer_delay)
        ctx.set(bus.arvalid, not address_sent)
        ctx.set(bus.rready, taking)
        sampled = await ctx.tick().sample(bus.arready, bus.rvalid, bus.rdata, bus.rresp)
        arready, rvalid, data, response = sampled[-4:]
        if rvalid:
            assert address_sent, "answered before the request was accepted"
            offered = cycle if offered is None else offered
            if taking:
                ctx.set(bus.rready, 0)
                return data, response, offered
        address_sent |= bool(arready)
    raise AssertionError(f"no answer to a read at {address:#x} within {WATCHDOG_CYCLES} cycles")


def _taking(cycle: int, offered: int | None, answer_delay: int) -> bool:
    return answer_delay == 0 or (offered is not None and cycle >= offered + answer_delay)
