# amaranth: UnusedElaboratable=no
"""The interconnect: decoding, privilege passed on, fairness, and nothing lost between managers and devices."""

import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from amaranth.hdl import Elaboratable, Module
from amaranth.sim import SimulatorContext
from axi_lite_bench import KERNEL, USER, Bench, read, simulate, write

from rtl.axi import Response
from rtl.interconnect import AxiLiteInterconnect

OKAY, SLVERR, DECERR = Response.OKAY, Response.SLVERR, Response.DECERR
RANGES = {"low": (0x1000_0000, 0x1000), "high": (0xC000_0000, 0x40_0000)}


def serve(bus: Any, seed: int, log: list[tuple[str, int, int, int]], memory: dict[int, int]) -> tuple[Bench, Bench]:
    """A device in Python: answers reads and writes after random delays; refuses offset 0x18. Logs what it is asked."""

    async def edge(ctx: SimulatorContext, *signals: Any) -> tuple[int, ...]:
        return (await ctx.tick().sample(*signals))[2:]

    async def answer(ctx: SimulatorContext, valid: Any, ready: Any) -> None:
        ctx.set(valid, 1)
        while not (await edge(ctx, ready))[0]:
            pass
        ctx.set(valid, 0)

    async def reads(ctx: SimulatorContext) -> None:
        generator = random.Random(seed)
        while True:
            accepting = generator.random() < 0.5
            ctx.set(bus.arready, accepting)
            valid, address, prot = await edge(ctx, bus.arvalid, bus.araddr, bus.arprot)
            if not (valid and accepting):
                continue
            ctx.set(bus.arready, 0)
            log.append(("read", address, 0, prot))
            for _ in range(generator.randrange(3)):
                await edge(ctx)
            ctx.set(bus.rdata, memory.get(address, 0))
            ctx.set(bus.rresp, SLVERR if address == 0x18 else OKAY)
            await answer(ctx, bus.rvalid, bus.rready)

    async def writes(ctx: SimulatorContext) -> None:
        generator = random.Random(seed + 1)
        requests: list[tuple[int, int]] = []
        words: list[int] = []
        while True:
            accepting = not requests and generator.random() < 0.5, not words and generator.random() < 0.5
            ctx.set(bus.awready, accepting[0])
            ctx.set(bus.wready, accepting[1])
            awvalid, address, prot, wvalid, word = await edge(
                ctx, bus.awvalid, bus.awaddr, bus.awprot, bus.wvalid, bus.wdata
            )
            if awvalid and accepting[0]:
                requests.append((address, prot))
            if wvalid and accepting[1]:
                words.append(word)
            if not (requests and words):
                continue
            ctx.set(bus.awready, 0)
            ctx.set(bus.wready, 0)
            (address, prot), word = requests.pop(), words.pop()
            log.append(("write", address, word, prot))
            if address != 0x18:
                memory[address] = word
            ctx.set(bus.bresp, SLVERR if address == 0x18 else OKAY)
            await answer(ctx, bus.bvalid, bus.bready)

    return reads, writes


class Rig:
    """An interconnect with two devices in Python; `log` and `memory` of each by name."""

    def __init__(self, managers: int) -> None:
        self.design = AxiLiteInterconnect(managers=managers, map=RANGES)
        self.log: dict[str, list[tuple[str, int, int, int]]] = {name: [] for name in RANGES}
        self.memory: dict[str, dict[int, int]] = {name: {} for name in RANGES}

    def run(self, *benches: Bench) -> None:
        devices = [
            bench
            for seed, name in enumerate(RANGES)
            for bench in serve(getattr(self.design.devices, name), 7 * seed, self.log[name], self.memory[name])
        ]
        simulate(self.design, *benches, watched=tuple(self.design.managers), background=tuple(devices))


@pytest.mark.parametrize(
    ("address", "device", "offset"),
    [
        (0x1000_0000, "low", 0x0),
        (0x1000_0FF8, "low", 0xFF8),
        (0xC000_0010, "high", 0x10),
        (0xC03F_FFF8, "high", 0x3F_FFF8),
    ],
)
@pytest.mark.parametrize("prot", [KERNEL, USER, 0b111])
def test_a_device_sees_its_offset_and_the_privilege_as_given(address: int, device: str, offset: int, prot: int) -> None:
    rig = Rig(1)

    async def bench(ctx: SimulatorContext) -> None:
        bus = rig.design.managers[0]
        assert (await write(ctx, bus, address, 0xFEDC_BA98_7654_3210, prot=prot))[0] == OKAY
        assert (await read(ctx, bus, address, prot=prot))[:2] == (0xFEDC_BA98_7654_3210, OKAY)

    rig.run(bench)
    assert rig.log.pop(device) == [("write", offset, 0xFEDC_BA98_7654_3210, prot), ("read", offset, 0, prot)]
    assert rig.log == {name: [] for name in RANGES if name != device}


@pytest.mark.parametrize("address", [0x0, 0x0FFF_FFF8, 0x1000_1000, 0xBFFF_FFF8, 0xC040_0000, 0xFFFF_FFF8])
@pytest.mark.parametrize("delays", [{}, {"data_delay": 5}, {"address_delay": 5}, {"answer_delay": 5}])
def test_an_address_that_no_device_has_is_answered_decerr(address: int, delays: dict[str, int]) -> None:
    rig = Rig(2)

    async def bench(ctx: SimulatorContext) -> None:
        bus = rig.design.managers[1]
        for _ in range(2):
            assert (await write(ctx, bus, address, 1, **delays))[0] == DECERR
            assert (await read(ctx, bus, address, answer_delay=delays.get("answer_delay", 0)))[:2] == (0, DECERR)
        # The interconnect is none the worse for it.
        assert (await write(ctx, bus, 0x1000_0008, 3))[0] == OKAY
        assert (await read(ctx, bus, 0x1000_0008))[:2] == (3, OKAY)
        await ctx.tick()
        assert ctx.get(rig.design.quiescent)

    rig.run(bench)
    assert len(rig.log["low"]) == 2
    assert rig.log["high"] == []


def test_a_devices_refusal_comes_back() -> None:
    rig = Rig(1)

    async def bench(ctx: SimulatorContext) -> None:
        bus = rig.design.managers[0]
        assert (await write(ctx, bus, 0xC000_0018, 1))[0] == SLVERR
        assert (await read(ctx, bus, 0xC000_0018))[:2] == (0, SLVERR)

    rig.run(bench)


@pytest.mark.parametrize("managers", [1, 2, 3, 5])
def test_every_manager_gets_its_own_answers(managers: int) -> None:
    rig = Rig(managers)

    def manager(index: int) -> Callable[[SimulatorContext], Awaitable[None]]:
        async def bench(ctx: SimulatorContext) -> None:
            generator = random.Random(index)
            bus = rig.design.managers[index]
            for turn in range(12):
                base = RANGES[generator.choice(list(RANGES))][0]
                address, value = base + 0x100 + 8 * index, (index << 32) + turn
                delays = {"address_delay": generator.randrange(4), "answer_delay": generator.randrange(4)}
                response, _ = await write(ctx, bus, address, value, data_delay=generator.randrange(4), **delays)
                assert response == OKAY
                data, response, _ = await read(ctx, bus, address, answer_delay=generator.randrange(4))
                assert (data, response) == (value, OKAY)

        return bench

    rig.run(*map(manager, range(managers)))
    assert sum(map(len, rig.log.values())) == managers * 12 * 2


@pytest.mark.parametrize("channel", ["read", "write"])
def test_managers_that_always_ask_are_served_in_turn(channel: str) -> None:
    managers, rounds = 4, 6
    rig = Rig(managers)

    def manager(index: int) -> Callable[[SimulatorContext], Awaitable[None]]:
        async def bench(ctx: SimulatorContext) -> None:
            for _ in range(rounds):
                bus, address = rig.design.managers[index], 0x1000_0000 + 8 * index
                await (read(ctx, bus, address) if channel == "read" else write(ctx, bus, address, 0))

        return bench

    rig.run(*map(manager, range(managers)))
    served = [address // 8 for _, address, _, _ in rig.log["low"]]
    assert len(served) == managers * rounds
    for start in range(0, len(served), managers):
        assert sorted(served[start : start + managers]) == list(range(managers))
    assert len({tuple(served[start : start + managers]) for start in range(0, len(served), managers)}) == 1


def test_a_read_and_a_write_go_on_at_once() -> None:
    """The answer to a write is left waiting; reads pass it."""
    rig = Rig(2)
    order: list[str] = []

    async def writer(ctx: SimulatorContext) -> None:
        await write(ctx, rig.design.managers[0], 0x1000_0000, 1, answer_delay=100)
        order.append("write")

    async def reader(ctx: SimulatorContext) -> None:
        for _ in range(3):
            await read(ctx, rig.design.managers[1], 0x1000_0008)
            order.append("read")

    rig.run(writer, reader)
    assert order == ["read", "read", "read", "write"]


class Quick(Elaboratable):
    """A device that answers a read at once, to see the interconnect's own delay."""

    def __init__(self) -> None:
        self.interconnect = AxiLiteInterconnect(managers=1, map={"quick": (0, 8)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.interconnect = self.interconnect
        bus = self.interconnect.devices.quick
        m.d.comb += [bus.arready.eq(1), bus.rdata.eq(5)]
        m.d.sync += bus.rvalid.eq(bus.arvalid)
        return m


def test_adds_one_cycle_to_a_read() -> None:
    rig = Quick()

    async def bench(ctx: SimulatorContext) -> None:
        assert await read(ctx, rig.interconnect.managers[0], 0) == (5, OKAY, 2)
        assert await read(ctx, rig.interconnect.managers[0], 0) == (5, OKAY, 2)

    simulate(rig, bench)


def test_a_word_offered_ahead_waits_for_its_own_address() -> None:
    """The manager offers the second write's word at once; the device would take it, but answers the first one late."""
    design = AxiLiteInterconnect(managers=1, map=RANGES)
    manager, device = design.managers[0], design.devices.low
    words: list[int] = []

    async def watch(ctx: SimulatorContext) -> None:
        async for _, _, valid, word in ctx.tick().sample(device.wvalid, device.wdata):
            if valid:
                words.append(word)

    async def bench(ctx: SimulatorContext) -> None:
        for signal in (device.awready, device.wready, manager.awvalid, manager.wvalid, manager.bready):
            ctx.set(signal, 1)
        ctx.set(manager.awaddr, RANGES["low"][0])
        ctx.set(manager.wdata, 1)
        _, _, ready = await ctx.tick().sample(manager.wready)
        while not ready:
            _, _, ready = await ctx.tick().sample(manager.wready)
        ctx.set(manager.awvalid, 0)
        ctx.set(manager.wdata, 2)
        for _ in range(5):
            _, _, ready = await ctx.tick().sample(manager.wready)
            assert not ready
        ctx.set(device.bvalid, 1)
        await ctx.tick()
        ctx.set(device.bvalid, 0)
        await ctx.tick().repeat(3)

    simulate(design, bench, background=(watch,))
    assert words == [1]


def test_quiescent_only_between_transactions() -> None:
    rig = Rig(2)
    bus = rig.design.managers[1]
    said: list[int] = []

    async def watch(ctx: SimulatorContext) -> None:
        async for _, _, quiescent in ctx.tick().sample(rig.design.quiescent):
            said.append(quiescent)

    async def bench(ctx: SimulatorContext) -> None:
        await ctx.tick().repeat(3)
        idle = len(said)
        assert said == [1] * idle
        await write(ctx, bus, 0xC000_0000, 1)
        await read(ctx, bus, 0xC000_0000)
        cycles = len(said)
        assert said[idle + 1 : cycles - 1].count(1) <= 1  # between the two
        await ctx.tick().repeat(3)
        assert said[cycles + 1 :] == [1] * (len(said) - cycles - 1)
        assert len(said) > cycles + 1

    devices = serve(rig.design.devices.high, 0, [], {})
    simulate(rig.design, bench, background=(watch, *devices))


@pytest.mark.parametrize(
    ("managers", "ranges", "text"),
    [
        (0, RANGES, r"^interconnect\.managers: 0 is out of range"),
        (1, {}, r"^interconnect\.map: no device"),
        (1, {"a": (0, 0x3000)}, r"^interconnect\.map\.a: base 0x0, size 0x3000; a size is a power of two"),
        (1, {"a": (0x1000, 0x2000)}, r"^interconnect\.map\.a: base 0x1000, size 0x2000; "),
        (1, {"a": (0x1_0000_0000, 0x1000)}, r"^interconnect\.map\.a: base 0x100000000, size 0x1000; "),
        (1, {"a": (0, 4)}, r"^interconnect\.map\.a: base 0x0, size 0x4; "),
        (
            1,
            {"a": (0, 0x1000), "b": (0x800, 0x800)},
            r"^interconnect\.map\.b: base 0x800 lies inside a, which ends at 0x1000",
        ),
    ],
)
def test_an_impossible_map_is_refused(managers: int, ranges: dict[str, tuple[int, int]], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        AxiLiteInterconnect(managers=managers, map=ranges)
