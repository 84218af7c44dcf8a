"""Commands come whole, in order and of the context's present life, ahead of their being wanted."""

import random
from dataclasses import dataclass, field
from typing import Any

import pytest

from rtl.nic.initiator.fetch import READS, Fetch
from rtl.nic.parameters import NicParameters
from tests.rtl.nic_initiator_bench import simulate
from tests.rtl.quiescence import QuiescenceJudge

RING_LOG2 = 3
MEMORY_SPAN = 1 << 24  # of one life of one context


def word_at(address: int) -> int:
    return random.Random(address).getrandbits(64)


@dataclass
class Ring:
    """One context as the rest of the NIC would show it."""

    number: int
    life: int = 0
    active: bool = True
    tail: int = 0
    fetched: int = 0
    taken: int = 0

    @property
    def base(self) -> int:
        return MEMORY_SPAN * (self.number + 1) + 0x1000 * self.life

    def slot(self, index: int) -> int:
        return self.base + 64 * (index % (1 << RING_LOG2))


@dataclass
class FetchBench:
    """Memory that answers in order, rings, and a taker that looks at commands at random."""

    parameters: NicParameters
    seed: int = 1
    latency: int = 5
    stall: float = 0.0
    restarts: float = 0.0
    errors: float = 0.0
    hasty: bool = False  # the taker takes whatever is there as soon as it can
    requests: list[tuple[int, int]] = field(default_factory=list)  # cycle, context
    cycle: int = 0
    served: int = 0

    def __post_init__(self) -> None:
        self.fetch = Fetch(self.parameters)
        self.random = random.Random(self.seed)
        self.rings = [Ring(number) for number in range(self.parameters.contexts)]
        self.bad: set[int] = set()
        self._due: list[tuple[int, int, bool]] = []  # cycle, address of a flit, last
        self._under_way = 0
        self._restarting: list[Ring] = []
        self._select = 0
        self._selected_before = -1
        self.available = 0

    async def step(self, ctx: Any, judge: QuiescenceJudge) -> None:
        self._show_rings(ctx)
        self._answer(ctx)
        self._take(ctx)
        self._observe(ctx)
        await judge.tick(ctx)
        self.cycle += 1
        self._restarting = []

    def restart(self, ring: Ring) -> None:
        """As the context's indices do it: in this cycle the epoch is new and the old commands are still there."""
        self._restarting.append(ring)
        ring.life += 1

    def _show_rings(self, ctx: Any) -> None:
        for ring, registers, state in zip(self.rings, self.fetch.contexts, self.fetch.states, strict=True):
            if self.random.random() < self.restarts:
                self.restart(ring)
            restarting = ring in self._restarting
            ctx.set(registers.command_base, ring.base)
            ctx.set(registers.command_log2, RING_LOG2)
            ctx.set(state.active, ring.active and not restarting)
            ctx.set(state.restarted, restarting)
            ctx.set(state.epoch, ring.life)
            ctx.set(state.command_fetched, ring.fetched % 2**32)
        pending = [r.active and r not in self._restarting and r.tail != r.fetched for r in self.rings]
        ctx.set(self.fetch.pending, sum(bit << number for number, bit in enumerate(pending)))

    def _answer(self, ctx: Any) -> None:
        read, width = self.fetch.read, self.parameters.datapath_bytes
        ctx.set(read.ready, self.random.random() >= self.stall)
        comes = bool(self._due) and self._due[0][0] <= self.cycle and self.random.random() >= self.stall
        ctx.set(read.data_valid, comes)
        ctx.set(read.data_last, 0)
        if comes:
            _, address, last = self._due.pop(0)
            words = [0 if address in self.bad else word_at(address + 8 * i) for i in range(width // 8)]
            ctx.set(read.data, sum(word << 64 * index for index, word in enumerate(words)))
            ctx.set(read.data_error, address in self.bad)
            ctx.set(read.data_last, last)
            self._under_way -= last

    def _take(self, ctx: Any) -> None:
        commands = self.fetch.o_commands
        # A command that has just become available can be selected from the next cycle on.
        seen, self.available = self.available, ctx.get(commands.available)
        available = seen & self.available
        selected = self._select
        answered = self._selected_before == selected and available >> selected & 1
        taken = bool(answered) and (self.hasty or self.random.random() < 0.5)
        taken = taken and self.rings[selected] not in self._restarting
        self._selected_before = selected if available >> selected & 1 else -1
        ctx.set(commands.take, taken)
        if taken:
            self._check_command(ctx, self.rings[selected])
            self._selected_before = -1
            self.available = 0
        elif self.random.random() < 0.3 or not available >> selected & 1:
            self._select = self.random.choice([n for n in range(len(self.rings)) if available >> n & 1] or [selected])
            self._selected_before = -1
        ctx.set(commands.select, selected)

    def _check_command(self, ctx: Any, ring: Ring) -> None:
        commands, width = self.fetch.o_commands, self.parameters.datapath_bytes
        slot = ring.slot(ring.taken)
        unreadable = any(slot + offset in self.bad for offset in range(0, 64, width))
        assert ctx.get(commands.unreadable) == unreadable
        expected = [0 if unreadable else word_at(slot + 8 * i) for i in range(8)]
        assert [ctx.get(word) for word in commands.words] == expected, f"command {ring.taken} of {ring}"
        assert ctx.get(commands.index) == ring.taken
        ring.taken += 1
        self.served += 1

    def _observe(self, ctx: Any) -> None:
        fetch, width = self.fetch, self.parameters.datapath_bytes
        for ring in self._restarting:
            ring.tail = ring.fetched = ring.taken = 0
        if ctx.get(fetch.fetched):
            ring = self.rings[ctx.get(fetch.fetched_context)]
            assert ring not in self._restarting
            assert ring.active
            assert ring.fetched < ring.tail
            ring.fetched += 1
            assert ring.fetched - ring.taken <= self.parameters.prefetch
        if ctx.get(fetch.read.valid) and ctx.get(fetch.read.ready):
            address = ctx.get(fetch.read.address)
            assert address % 64 == 0
            assert ctx.get(fetch.read.bytes) == 64
            self.requests.append((self.cycle, address // MEMORY_SPAN - 1))
            if self.random.random() < self.errors:
                self.bad.add(address + width * self.random.randrange(64 // width))
            self._due += [(self.cycle + self.latency, address + at, at == 64 - width) for at in range(0, 64, width)]
            self._under_way += 1
            assert self._under_way <= READS


CASES = {
    "as it comes": {},
    "slow memory": {"latency": 40},
    "stalls": {"stall": 0.4},
    "restarts": {"restarts": 0.004, "stall": 0.2, "latency": 12},
    "memory fails": {"errors": 0.2},
    "greedy": {"hasty": True},
    "wide": {"datapath_bits": 128, "stall": 0.2, "restarts": 0.003, "errors": 0.1},
    "one context, one ahead": {"contexts": 1, "prefetch": 1, "restarts": 0.002},
    "many contexts": {"contexts": 7, "prefetch": 8, "latency": 30},
}
SIZES = ("contexts", "prefetch", "datapath_bits")


def bench_of(**case: Any) -> FetchBench:
    sizes = {name: case.pop(name) for name in SIZES if name in case}
    return FetchBench(NicParameters(**{"contexts": 3, "prefetch": 4, **sizes}), **case)


@pytest.mark.parametrize("name", CASES)
def test_commands_come_whole_and_in_order(name: str) -> None:
    bench = bench_of(**CASES[name])

    async def test(ctx: Any, judge: QuiescenceJudge) -> None:
        for _ in range(700):
            for ring in bench.rings:
                if bench.random.random() < 0.1 and ring.tail - ring.taken < 1 << RING_LOG2:
                    ring.tail += 1
            await bench.step(ctx, judge)
        bench.restarts = 0.0
        for _ in range(1500):
            await bench.step(ctx, judge)
            if all(ring.taken == ring.tail for ring in bench.rings) and ctx.get(bench.fetch.quiescent):
                break
        for _ in range(3):
            await bench.step(ctx, judge)
        assert all(ring.taken == ring.tail for ring in bench.rings), bench.rings

    judge = simulate(bench.fetch, test)
    assert bench.served > 30
    assert judge.quiet_edges > 3


@pytest.mark.parametrize("datapath_bits", [64, 128])
def test_cycles_from_the_doorbell(datapath_bits: int) -> None:
    """Doorbell to read request at most 2 cycles, last flit to `available` none, selection to words one."""
    bench = bench_of(datapath_bits=datapath_bits, latency=4)
    fetch = bench.fetch

    async def test(ctx: Any, judge: QuiescenceJudge) -> None:
        await bench.step(ctx, judge)
        bench.rings[2].tail = 1
        rung = bench.cycle
        while not bench.available:
            await bench.step(ctx, judge)
        ((requested, context),) = bench.requests
        assert context == 2
        assert requested - rung <= 2
        flits = 512 // datapath_bits
        assert bench.cycle - 1 == requested + 4 + flits - 1

    simulate(fetch, test)


def test_a_full_buffer_is_quiescent_and_a_disabled_context_is_left_alone() -> None:
    bench = bench_of(contexts=2, prefetch=2)
    fetch = bench.fetch

    async def test(ctx: Any, judge: QuiescenceJudge) -> None:
        bench.rings[0].tail = 5
        bench.rings[1].tail, bench.rings[1].active = 5, False
        bench._take = lambda _ctx: None  # type: ignore[method-assign]  # nobody takes anything
        for _ in range(60):
            await bench.step(ctx, judge)
        assert (bench.rings[0].fetched, bench.rings[1].fetched) == (2, 0)
        assert ctx.get(fetch.o_commands.available) == 0b01
        assert ctx.get(fetch.quiescent)

    simulate(fetch, test)


def test_contexts_in_turn() -> None:
    bench = bench_of(contexts=4, prefetch=8)

    async def test(ctx: Any, judge: QuiescenceJudge) -> None:
        for ring in bench.rings:
            ring.tail = 8
        for _ in range(400):
            await bench.step(ctx, judge)

    simulate(bench.fetch, test)
    order = [context for _, context in bench.requests]
    assert len(order) == 32
    assert all(sorted(order[turn : turn + 4]) == [0, 1, 2, 3] for turn in range(0, 32, 4))
