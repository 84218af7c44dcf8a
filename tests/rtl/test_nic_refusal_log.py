"""The log of refusals: every one is counted, the oldest are kept for the kernel, a flood hides nothing else."""

import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from amaranth.hdl import Fragment
from amaranth.sim import Simulator

from rtl.nic.parameters import NicParameters
from rtl.nic.refusal_log import RefusalLog, Refusals
from rtl.portals import Refusal
from tests.rtl.quiescence import QuiescenceJudge

Record = tuple[int, int, int]  # reason, context, detail


class Bench:
    """`time` changes in every cycle; `test` does the rest."""

    def __init__(self, dut: RefusalLog | Refusals) -> None:
        self.dut = dut
        self.ctx: Any = None
        self.cycle = 0
        self.counts: Counter[int] = Counter()
        self.quiet_edges = 0

    def run(self, test: Callable[[], Awaitable[None]]) -> None:
        fragment = Fragment.get(self.dut, None)
        simulator = Simulator(fragment)
        simulator.add_clock(1e-8)
        judge = QuiescenceJudge(fragment, self.dut.quiescent)

        async def bench(ctx: Any) -> None:
            self.ctx = ctx
            await test()

        async def clock(ctx: Any) -> None:
            counts = [self.dut.counts] if isinstance(self.dut, Refusals) else []
            async for _, _, *sampled in ctx.tick().sample(*counts):
                self.cycle += 1
                ctx.set(self.dut.time, self.cycle)
                self.counts.update(reason for value in sampled for reason in Refusal if value >> reason & 1)

        simulator.add_testbench(bench)
        simulator.add_testbench(clock, background=True)
        simulator.add_testbench(judge.watch, background=True)
        simulator.run()
        self.quiet_edges = judge.quiet_edges

    async def cycle_with(self, refusals: dict[int, Record] | None = None, *, ports: str = "refusals") -> None:
        """One cycle in which these ports refuse."""
        for number, port in enumerate(getattr(self.dut, ports)):
            record = (refusals or {}).get(number)
            self.ctx.set(port.valid, record is not None)
            for name, value in zip(("reason", "context", "detail"), record or (0, 0, 0), strict=True):
                self.ctx.set(getattr(port, name), value)
        await self.ctx.tick()

    async def quiet(self, cycles: int = 12) -> None:
        for ports in ("refusals", "processes", "packets"):
            for port in getattr(self.dut, ports, ()):
                self.ctx.set(port.valid, 0)
        await self.ctx.tick().repeat(cycles)
        assert self.ctx.get(self.dut.quiescent)

    def oldest(self, log: Any) -> Record | None:
        record = tuple(self.ctx.get(getattr(log, name)) for name in ("reason", "context", "detail"))
        held = self.ctx.get(log.held)
        assert held or record == (0, 0, 0)
        return record if held else None

    async def drain(self, log: Any) -> list[Record]:
        """All records, acknowledged one by one."""
        records: list[Record] = []
        while (record := self.oldest(log)) is not None:
            records.append(record)
            self.ctx.set(log.acknowledge, 1)
            await self.ctx.tick()
            self.ctx.set(log.acknowledge, 0)
        return records


def test_records_are_kept_in_order_with_their_times_until_acknowledged() -> None:
    dut = RefusalLog(sources=2)
    bench = Bench(dut)

    async def test() -> None:
        cycles = []
        for number in range(3):
            cycles.append(bench.cycle)
            await bench.cycle_with({number % 2: (7, number, 1 << 63 | number)})
            await bench.quiet(20)
        assert bench.oldest(dut.log) == (7, 0, 1 << 63)
        for number in range(3):
            assert cycles[number] < bench.ctx.get(dut.log.time) <= cycles[number] + 2
            assert bench.oldest(dut.log) == (7, number, 1 << 63 | number)
            bench.ctx.set(dut.log.acknowledge, 1)
            await bench.ctx.tick()
            bench.ctx.set(dut.log.acknowledge, 0)
        assert bench.oldest(dut.log) is None
        assert bench.ctx.get(dut.log.time) == 0
        bench.ctx.set(dut.log.acknowledge, 1)  # of nothing
        await bench.ctx.tick()
        bench.ctx.set(dut.log.acknowledge, 0)
        await bench.cycle_with({0: (3, 2, 1)})
        await bench.quiet()
        assert await bench.drain(dut.log) == [(3, 2, 1)]
        assert bench.ctx.get(dut.log.lost) == 0

    bench.run(test)
    assert bench.quiet_edges > 30


def test_refusals_of_one_cycle_are_all_logged() -> None:
    dut = RefusalLog(sources=5)
    bench = Bench(dut)

    async def test() -> None:
        await bench.cycle_with({number: (6, number, number) for number in range(5)})
        await bench.quiet()
        assert sorted(await bench.drain(dut.log)) == [(6, number, number) for number in range(5)]
        assert bench.ctx.get(dut.log.lost) == 0

    bench.run(test)


def test_what_waits_is_not_replaced_by_what_comes_later() -> None:
    dut = RefusalLog(sources=2)
    bench = Bench(dut)

    async def test() -> None:
        for cycle in range(2):
            await bench.cycle_with({number: (6, number, cycle) for number in range(2)})
        await bench.quiet()
        records = await bench.drain(dut.log)
        assert {(6, 0, 0), (6, 1, 0)} < set(records)
        assert (len(records), bench.ctx.get(dut.log.lost)) == (3, 1)

    bench.run(test)


@pytest.mark.parametrize("depth", [1, 8])
def test_a_full_log_keeps_the_oldest_and_counts_the_others(depth: int) -> None:
    dut = RefusalLog(sources=1, depth=depth)
    bench = Bench(dut)

    async def test() -> None:
        for number in range(depth + 5):
            await bench.cycle_with({0: (1, 0, number)})
        await bench.quiet()
        assert bench.ctx.get(dut.log.lost) == 5
        assert await bench.drain(dut.log) == [(1, 0, number) for number in range(depth)]

    bench.run(test)


def test_what_is_lost_is_counted_to_the_last_one_and_stays_at_the_maximum() -> None:
    dut = RefusalLog(sources=3)
    bench = Bench(dut)
    rng = random.Random(5)
    given = 0

    async def test() -> None:
        nonlocal given
        for _ in range(200):
            chosen = {number: (9, number, 0) for number in range(3) if rng.random() < 0.6}
            given += len(chosen)
            await bench.cycle_with(chosen)
        await bench.quiet()
        assert len(await bench.drain(dut.log)) + bench.ctx.get(dut.log.lost) == given
        bench.ctx.set(dut.log.lost, (1 << 32) - 3)  # nobody waits for four thousand million
        for _ in range(20):
            await bench.cycle_with(dict.fromkeys(range(3), (9, 0, 0)))
        await bench.quiet()
        assert bench.ctx.get(dut.log.lost) == (1 << 32) - 1

    bench.run(test)


ACCESSES = {
    "the kernel's page": (0x0018, True, (Refusal.ACCESS_UNPRIVILEGED, 255, 0x0018)),
    "the first context's page": (0x1_0008, False, (Refusal.ACCESS_REFUSED, 0, 0x1_0008)),
    "the last context's page": (0x3_0000, False, (Refusal.ACCESS_REFUSED, 2, 0x3_0000)),
    "beyond the last page": (0x4_0000, False, (Refusal.ACCESS_REFUSED, 255, 0x4_0000)),
    "far beyond": (0xFFFF_FFF8, True, (Refusal.ACCESS_UNPRIVILEGED, 255, 0xFFFF_FFF8)),
}


@pytest.mark.parametrize("name", ACCESSES)
def test_an_access_is_logged_with_the_context_of_its_page(name: str) -> None:
    address, unprivileged, record = ACCESSES[name]
    dut = Refusals(NicParameters(contexts=3), process_sources=1, packet_sources=1)
    bench = Bench(dut)

    async def test() -> None:
        kind = dut.access_unprivileged if unprivileged else dut.access_refused
        bench.ctx.set(dut.access_address, address)
        bench.ctx.set(kind, 1)
        await bench.ctx.tick()
        bench.ctx.set(kind, 0)
        await bench.quiet()
        assert await bench.drain(dut.processes_log) == [record]
        assert bench.oldest(dut.packets_log) is None

    bench.run(test)
    assert bench.counts == {record[0]: 1}


def test_a_flood_of_packets_is_counted_and_hides_no_process() -> None:
    dut = Refusals(NicParameters(), process_sources=2, packet_sources=3)
    bench = Bench(dut)
    rng = random.Random(3)
    given: Counter[int] = Counter()
    logged = []

    async def test() -> None:
        for cycle in range(400):
            reasons = [reason for reason in Refusal if reason >= Refusal.PACKET_CRC]
            packets = {n: (rng.choice(reasons), n, cycle) for n in range(3) if rng.random() < 0.3}
            process = {}
            if cycle % 100 == 50:
                process = {cycle // 100 % 2: (Refusal.COMMAND_WINDOW, 1, cycle)}
                logged.extend(process.values())
            given.update(record[0] for record in (*packets.values(), *process.values()))
            for number, port in enumerate(dut.packets):
                bench.ctx.set(port.valid, number in packets)
                bench.ctx.set(port.reason, packets.get(number, (0,))[0])
            await bench.cycle_with(process, ports="processes")
        for _ in range(50):  # three for one reason in each cycle
            given.update([Refusal.PACKET_JOB] * 3)
            await bench.cycle_with(dict.fromkeys(range(3), (Refusal.PACKET_JOB, 0, 0)), ports="packets")
        await bench.quiet(120)
        assert await bench.drain(dut.processes_log) == logged
        assert bench.ctx.get(dut.processes_log.lost) == 0
        assert len(await bench.drain(dut.packets_log)) == 64
        assert bench.ctx.get(dut.packets_log.lost) == sum(given.values()) - len(logged) - 64

    bench.run(test)
    assert bench.counts == given


@pytest.mark.parametrize("interval", [0, 40])
def test_a_flood_is_told_of_once_in_an_interval(interval: int) -> None:
    """The first refusal at once; what comes after an acknowledgement, when the interval is over, and not before."""
    dut = RefusalLog(sources=1)
    bench = Bench(dut)
    rose: list[int] = []
    acknowledged: list[int] = []

    async def test() -> None:
        bench.ctx.set(dut.interval, interval)
        due = 0
        for cycle in range(400):
            acknowledges = bench.ctx.get(dut.log.due) and cycle % 7 == 0
            bench.ctx.set(dut.log.acknowledge, acknowledges)
            if acknowledges:
                acknowledged.append(bench.cycle)
            if bench.ctx.get(dut.log.due) and not due:
                rose.append(bench.cycle)
            due = bench.ctx.get(dut.log.due)
            assert bench.ctx.get(dut.log.held) or not due
            await bench.cycle_with({0: (Refusal.PACKET_JOB, 255, cycle)})
        bench.ctx.set(dut.log.acknowledge, 0)
        await bench.quiet(interval + 4)
        assert bench.ctx.get(dut.log.due)

    bench.run(test)
    assert rose[0] <= 3
    waits = [later - at for at, later in zip(acknowledged, rose[1:], strict=False)]
    assert len(waits) > 5
    assert all(interval <= wait <= interval + 2 for wait in waits)
