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
    """Writes; the delays are in cycles, of the answer after it is offered. Returns (response, cycles until offered)."""
    address_sent = data_sent = False
    offered: int | None = None
    for cycle in range(WATCHDOG_CYCLES):
        ctx.set(bus.awvalid, not address_sent and cycle >= address_delay)
        ctx.set(bus.awaddr, address)
        ctx.set(bus.awprot, prot)
        ctx.set(bus.wvalid, not data_sent and cycle >= data_delay)
        ctx.set(bus.wdata, data)
        ctx.set(bus.wstrb, strobe)
        if ctx.get(bus.bvalid):
            assert min(address_sent, data_sent), "answered before the whole request was accepted"
            offered = cycle if offered is None else offered
        ctx.set(bus.bready, offered is not None and cycle >= offered + answer_delay)
        response = ctx.get(bus.bresp)
        done = bool(ctx.get(bus.bvalid) and ctx.get(bus.bready))
        address_sent |= bool(ctx.get(bus.awvalid) and ctx.get(bus.awready))
        data_sent |= bool(ctx.get(bus.wvalid) and ctx.get(bus.wready))
        await ctx.tick()
        if done:
            assert offered is not None
            ctx.set(bus.bready, 0)
            return response, offered
    raise AssertionError(f"no answer to a write at {address:#x} within {WATCHDOG_CYCLES} cycles")


async def read(
    ctx: SimulatorContext, bus: Any, address: int, *, prot: int = KERNEL, answer_delay: int = 0
) -> tuple[int, int, int]:
    """Reads. Returns (data, response, cycles until the answer was offered)."""
    address_sent = False
    offered: int | None = None
    for cycle in range(WATCHDOG_CYCLES):
        ctx.set(bus.arvalid, not address_sent)
        ctx.set(bus.araddr, address)
        ctx.set(bus.arprot, prot)
        if ctx.get(bus.rvalid):
            assert address_sent, "answered before the request was accepted"
            offered = cycle if offered is None else offered
        ctx.set(bus.rready, offered is not None and cycle >= offered + answer_delay)
        answer = ctx.get(bus.rdata), ctx.get(bus.rresp)
        done = bool(ctx.get(bus.rvalid) and ctx.get(bus.rready))
        address_sent |= bool(ctx.get(bus.arvalid) and ctx.get(bus.arready))
        await ctx.tick()
        if done:
            assert offered is not None
            ctx.set(bus.rready, 0)
            return *answer, offered
    raise AssertionError(f"no answer to a read at {address:#x} within {WATCHDOG_CYCLES} cycles")
