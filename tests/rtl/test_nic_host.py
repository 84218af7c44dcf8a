"""The NIC's port to host memory: alignment, bursts, order, errors, bandwidth, against plain byte arrays."""

import random
from dataclasses import dataclass, field
from typing import Any

import pytest

from rtl.nic.host.port import MemoryPort
from rtl.nic.parameters import NicParameters
from tests.rtl.host_bench import HostMemory, simulate, until

WIDTHS = (64, 128)
REGION = 0x4000  # requests of the random tests lie inside, so that they overlap


@dataclass(kw_only=True)
class Requests:
    """Requests of one reader or writer: (address, bytes); of a writer with `data`. `gap`: chance to pause."""

    requests: list[tuple[int, int]]
    gap: float = 0.0
    data: list[bytes] = field(default_factory=list)
    cycles: list[int] = field(default_factory=list)  # when each was taken
    flits: list[tuple[int, int, int]] = field(default_factory=list)  # of a reader: data, last, error
    flit_cycles: list[int] = field(default_factory=list)
    done: list[int] = field(default_factory=list)  # of a writer: `error` of each


class Bench:
    def __init__(self, bits: int, readers: list[Requests], writers: list[Requests], **memory: Any) -> None:
        parameters = NicParameters(datapath_bits=bits)
        self.size = bits // 8
        self.port = MemoryPort(parameters, readers=max(len(readers), 1), writers=max(len(writers), 1))
        self.readers, self.writers = readers, writers
        self.memory = HostMemory(width=self.size, **memory)
        self.expected = bytearray(self.memory.data)  # memory, with every write done in order of acceptance
        self.bursts_due: list[list[int]] = [[] for _ in writers]  # answers needed before each `done`
        self.bursts = 0
        self.random = random.Random(5)

    def word_of(self, address: int) -> int:
        """Address of the bus word that the byte lies in."""
        return address // self.size * self.size

    def run(self) -> None:
        roles: list[Any] = [
            lambda ctx: self.memory.serve_reads(ctx, self.port.memory),
            lambda ctx: self.memory.serve_writes(ctx, self.port.memory),
        ]
        for index, reader in enumerate(self.readers):
            roles.append(lambda ctx, port=self.port.readers[index], plan=reader: self._ask(ctx, port, plan, None))
            roles.append(lambda ctx, port=self.port.readers[index], plan=reader: self._take(ctx, port, plan))
        for index, writer in enumerate(self.writers):
            roles.append(lambda ctx, port=self.port.writers[index], plan=writer, i=index: self._ask(ctx, port, plan, i))
            roles.append(lambda ctx, port=self.port.writers[index], plan=writer: self._give(ctx, port, plan))
            roles.append(
                lambda ctx, port=self.port.writers[index], plan=writer, i=index: self._hear(ctx, port, plan, i)
            )
        simulate(self.port, self._until_done, roles)

    async def _until_done(self, ctx: Any) -> None:
        while not self._done():
            await ctx.tick()
        for _ in range(5):
            await ctx.tick()
        assert ctx.get(self.port.quiescent), "not quiescent when all is done"

    def _done(self) -> bool:
        flits_due = (sum(-(-size // self.size) for _, size in plan.requests) for plan in self.readers)
        return all(len(plan.flits) == due for plan, due in zip(self.readers, flits_due, strict=True)) and all(
            len(plan.done) == len(plan.requests) for plan in self.writers
        )

    async def _ask(self, ctx: Any, port: Any, plan: Requests, writer: int | None) -> None:
        for number, (address, size) in enumerate(plan.requests):
            while self.random.random() < plan.gap:
                await ctx.tick()
            ctx.set(port.valid, 1)
            ctx.set(port.address, address)
            ctx.set(port.bytes, size)
            await until(ctx, port.ready)
            ctx.set(port.valid, 0)
            plan.cycles.append(self.memory.cycle)
            if writer is not None:
                self._accept(writer, address, plan.data[number])

    def _accept(self, writer: int, address: int, text: bytes) -> None:
        for index, byte in enumerate(text):
            if self.word_of(address + index) not in self.memory.bad:
                self.expected[address + index] = byte
        block = 256 * self.size
        self.bursts += (address + len(text) - 1) // block - address // block + 1
        self.bursts_due[writer].append(self.bursts)

    async def _take(self, ctx: Any, port: Any, plan: Requests) -> None:
        async for _, _, valid, *flit in ctx.tick().sample(port.data_valid, port.data, port.data_last, port.data_error):
            if valid:
                plan.flits.append((flit[0], flit[1], flit[2]))
                plan.flit_cycles.append(self.memory.cycle)

    async def _give(self, ctx: Any, port: Any, plan: Requests) -> None:
        """Flits, each offered no earlier than its request; what lies beyond the request's end is garbage."""
        for number, text in enumerate(plan.data):
            while len(plan.cycles) < number:
                await ctx.tick()
            for start in range(0, len(text), self.size):
                while self.random.random() < plan.gap:
                    await ctx.tick()
                flit = text[start : start + self.size].ljust(self.size, b"\xa5")
                ctx.set(port.data, int.from_bytes(flit, "little"))
                ctx.set(port.data_valid, 1)
                await until(ctx, port.data_ready)
                ctx.set(port.data_valid, 0)

    async def _hear(self, ctx: Any, port: Any, plan: Requests, writer: int) -> None:
        async for _, _, done, error in ctx.tick().sample(port.done, port.error):
            if done:
                due = self.bursts_due[writer][len(plan.done)]
                assert self.memory.answered >= due, "done before memory has answered all of it"
                plan.done.append(error)

    def expected_flits(self, plan: Requests) -> list[tuple[int, int, int]]:
        """What a reader must get, from the memory as it is."""
        flits = []
        for address, size in plan.requests:
            for start in range(0, size, self.size):
                here = range(address + start, address + min(start + self.size, size))
                error = any(self.word_of(byte) in self.memory.bad for byte in here)
                value = 0 if error else int.from_bytes(bytes(self.memory.data[byte] for byte in here), "little")
                flits.append((value, int(start + self.size >= size), int(error)))
        return flits

    def judge_reads(self) -> None:
        for plan in self.readers:
            assert plan.flits == self.expected_flits(plan)

    def judge_writes(self) -> None:
        assert self.memory.data == self.expected
        for plan in self.writers:
            bad = [
                any(self.word_of(byte) in self.memory.bad for byte in range(address, address + size))
                for address, size in plan.requests
            ]
            assert plan.done == bad


def requests_of(source: random.Random, count: int, *, write: bool, gap: float) -> Requests:
    requests = []
    for _ in range(count):
        size = source.choice((1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 64, 65, 200))
        requests.append((source.randrange(REGION - size), size))
    requests[source.randrange(count)] = (0xFF9, 4099)  # over boundaries of 2 and 4 KiB
    data = [source.randbytes(size) for _, size in requests] if write else []
    return Requests(requests=requests, gap=gap, data=data)


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize("stall", [0.0, 0.4])
def test_random_reads(bits: int, stall: float) -> None:
    source = random.Random(bits)
    readers = [requests_of(source, 24, write=False, gap=stall / 2) for _ in range(3)]
    bench = Bench(bits, readers, [], stall=stall, latency=9)
    bench.memory.bad = {REGION // 64 * index // bench.size * bench.size for index in range(3, 64, 9)}
    bench.run()
    bench.judge_reads()
    touched = {
        word for address, count in bench.memory.read_bursts for word in range(address, address + count * bench.size)
    }
    wanted = {
        bench.word_of(byte) + index
        for plan in readers
        for address, size in plan.requests
        for byte in range(address, address + size)
        for index in range(bench.size)
    }
    assert touched == wanted, "only bus words that contain requested bytes are read"


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize(("stall", "address_awaits_data"), [(0.0, False), (0.4, False), (0.3, True)])
def test_random_writes(bits: int, stall: float, address_awaits_data: bool) -> None:
    source = random.Random(bits + 1)
    writers = [requests_of(source, 16, write=True, gap=gap) for gap in (0.0, stall / 2, stall)]
    bench = Bench(bits, [], writers, stall=stall, latency=9, address_awaits_data=address_awaits_data)
    bench.memory.bad = {REGION // 64 * index // bench.size * bench.size for index in range(3, 64, 19)}
    bench.run()
    bench.judge_writes()


@pytest.mark.parametrize("bits", WIDTHS)
def test_every_alignment_and_short_length(bits: int) -> None:
    """Reads and writes at once, in separate regions, each combination of offset and length up to 2 words and a bit."""
    size = bits // 8
    shapes = [(offset, length) for offset in range(size) for length in range(1, 2 * size + 2, 1 if size == 8 else 3)]
    reads = Requests(requests=[(0x1000 + offset, length) for offset, length in shapes])
    source = random.Random(3)
    writes = [(0x2000 + 4 * size * (index % 64) + offset, length) for index, (offset, length) in enumerate(shapes)]
    writer = Requests(requests=writes, data=[source.randbytes(length) for _, length in writes])
    bench = Bench(bits, [reads], [writer], latency=2)
    bench.run()
    bench.judge_reads()
    bench.judge_writes()


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize("offset", [0, 5])
def test_large_requests_have_the_whole_bandwidth(bits: int, offset: int) -> None:
    """Three of 4 KiB each way: a flit a cycle, at most two cycles between requests, although memory is slow."""
    requests = [(0x1000 + 0x2000 * index + offset, 0x1000) for index in range(3)]
    data = [bytes(range(256)) * 16] * 3
    bench = Bench(bits, [Requests(requests=requests)], [Requests(requests=requests, data=data)], latency=40)
    bench.run()
    bench.judge_writes()
    flits = 3 * 0x1000 // bench.size
    assert bench.readers[0].flit_cycles[-1] - bench.readers[0].flit_cycles[0] <= flits + 2 * 2
    assert bench.memory.written_words[-1] - bench.memory.written_words[0] <= flits + 3 + 2 * 2


@pytest.mark.parametrize("bits", WIDTHS)
def test_small_requests_follow_one_another(bits: int) -> None:
    """A request of 8 bytes every 3 cycles at most, and at least 8 of each kind unanswered at a time."""
    count = 40
    reads = [(0x1000 + 24 * index, 8) for index in range(count)]
    writes = [(0x3003 + 24 * index, 8) for index in range(count)]
    data = [index.to_bytes(8, "little") for index in range(count)]
    bench = Bench(bits, [Requests(requests=reads)], [Requests(requests=writes, data=data)], latency=24)
    bench.run()
    bench.judge_reads()
    bench.judge_writes()
    for plan in (bench.readers[0], bench.writers[0]):
        assert plan.cycles[-1] - plan.cycles[0] <= 3 * (count - 1)
    assert min(bench.memory.most_reads, bench.memory.most_writes) >= 8


@pytest.mark.parametrize("bits", WIDTHS)
def test_latency(bits: int) -> None:
    """By hand: request taken at edge 0; address offered from then on, accepted at edge 1; the word comes `latency` + 1
    cycles later and its flit one cycle after it. A write's address likewise; its word is accepted at edge 2."""
    reader = Requests(requests=[(0x1000, 8)])
    writer = Requests(requests=[(0x2000, 8)], data=[bytes(8)])
    bench = Bench(bits, [reader], [writer], latency=5)
    bench.run()
    (taken,), (word,), (flit,) = reader.cycles, bench.memory.read_words, reader.flit_cycles
    assert (word - taken, flit - word) == (1 + 5 + 1, 1)
    assert bench.memory.written_words[0] - writer.cycles[0] == 2


def test_nobody_starves() -> None:
    """Readers and writers that always ask get every turn alike; the order of acceptance shows it."""
    readers = [Requests(requests=[(0x1000, 64)] * 12) for _ in range(3)]
    writers = [Requests(requests=[(0x2000, 64)] * 12, data=[bytes(64)] * 12) for _ in range(3)]
    bench = Bench(64, readers, writers)
    bench.run()
    for plans in (readers, writers):
        order = [
            owner for _, owner in sorted((cycle, owner) for owner, plan in enumerate(plans) for cycle in plan.cycles)
        ]
        turns = [order[index : index + 3] for index in range(0, 30, 3)]
        assert all(sorted(turn) == [0, 1, 2] for turn in turns), order


def test_an_error_in_any_burst_of_a_write_counts_for_that_request_alone() -> None:
    """Three bursts each; the first burst of the second request errs."""
    requests = [(0x17F8 + 0x2000 * index, 0x810) for index in range(3)]
    bench = Bench(64, [], [Requests(requests=requests, data=[bytes(0x810)] * 3)])
    bench.memory.bad = {0x37F8}
    bench.run()
    assert bench.writers[0].done == [0, 1, 0]
    bench.judge_writes()
