"""When a context that was switched off is done with memory: engines and memory by the rules, at random and at worst."""

import random
from collections import deque
from dataclasses import dataclass
from typing import Any

import pytest
from amaranth import Elaboratable, Module
from amaranth.hdl import Fragment
from amaranth.sim import Simulator
from nic_context_bench import Bench, Transfer

from rtl.nic.context.drain import Drain
from rtl.nic.host.mark import Mark
from rtl.nic.parameters import NicParameters
from tests.rtl.quiescence import QuiescenceJudge

CONTEXTS, ENGINES, MOST = 3, 4, 9
TURN = 2 * ENGINES * 12  # cycles in which every engine is served, at 12 cycles of memory each


class Dut(Elaboratable):
    def __init__(self) -> None:
        self.drain = Drain(NicParameters(contexts=CONTEXTS), engines=ENGINES)
        self.mark = Mark(MOST)

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.drain = self.drain
        m.submodules.mark = self.mark
        m.d.comb += [self.mark.mark.eq(self.drain.mark), self.drain.marked.eq(self.mark.marked)]
        return m


@dataclass(frozen=True, kw_only=True)
class Chances:
    """Of each cycle: an engine judges one more access, memory takes one, memory answers, a context changes."""

    judges: float
    takes: float
    answers: float
    switches: float


class Model:
    """Engines that offer one access at a time, memory that answers in order; which of it belongs to whom. Context 0
    stays on if it is `lasting`."""

    def __init__(self, chances: Chances, *, seed: int, lasting: bool = False) -> None:
        self.chances = chances
        self.lasting = lasting
        self.random = random.Random(seed)
        self.enabled = [False] * CONTEXTS
        self.offered: list[int | None] = [None] * ENGINES
        self.unanswered: deque[int] = deque()
        self.closed_since = [0] * CONTEXTS
        self.waits: list[int] = []
        self._turn = 0

    def goes(self, chance: float) -> bool:
        return self.random.random() < chance

    async def run(self, ctx: Any, dut: Dut, cycles: int) -> None:
        drain, mark = dut.drain, dut.mark
        was_busy = 0
        for cycle in range(cycles):
            for number, state in enumerate(drain.states):
                if self.goes(self.chances.switches) and not was_busy >> number & 1:
                    self.enabled[number] = not self.enabled[number] or (self.lasting and number == 0)
                    self.closed_since[number] = cycle
                ctx.set(state.active, self.enabled[number])
            taken = self._take()
            ends = bool(self.unanswered) and self.goes(self.chances.answers)
            ctx.set(drain.offered, sum(1 << number for number, owner in enumerate(self.offered) if owner is not None))
            ctx.set(drain.passed, 0 if taken is None else 1 << taken)
            ctx.set(mark.begins, taken is not None)
            ctx.set(mark.ends, ends)
            busy = ctx.get(drain.busy)
            self._judge(busy, was_busy, cycle)
            was_busy = busy
            await ctx.tick()
            if ends:
                self.unanswered.popleft()
            if taken is not None:
                self.unanswered.append(self.offered[taken] or 0)
                self.offered[taken] = None
            self._offer()

    def _take(self) -> int | None:
        """The engine whose access memory takes; they have turns."""
        if len(self.unanswered) == MOST or not self.goes(self.chances.takes):
            return None
        for step in range(1, ENGINES + 1):
            number = (self._turn + step) % ENGINES
            if self.offered[number] is not None:
                self._turn = number
                return number
        return None

    def _offer(self) -> None:
        living = [number for number, enabled in enumerate(self.enabled) if enabled]
        for number, owner in enumerate(self.offered):
            if owner is None and living and self.goes(self.chances.judges):
                self.offered[number] = self.random.choice(living)

    def _judge(self, busy: int, was_busy: int, cycle: int) -> None:
        for context, enabled in enumerate(self.enabled):
            there = context in self.unanswered or context in self.offered
            assert not (enabled and busy >> context & 1), "an open context is not busy"
            assert enabled or not there or busy >> context & 1, "it is done, and still has an access"
            if was_busy & ~busy & 1 << context:
                self.waits.append(cycle - self.closed_since[context])


def simulate(model: Model, cycles: int) -> None:
    dut = Dut()
    fragment = Fragment.get(dut, None)
    simulator = Simulator(fragment)
    simulator.add_clock(1e-8)
    judge = QuiescenceJudge(fragment, dut.drain.quiescent, dut.mark.quiescent)

    async def bench(ctx: Any) -> None:
        await model.run(ctx, dut, cycles)

    simulator.add_testbench(bench)
    simulator.add_testbench(judge.watch, background=True)
    simulator.run()


RANDOM = {
    "all at once": Chances(judges=0.5, takes=0.6, answers=0.5, switches=0.05),
    "memory is slow": Chances(judges=0.8, takes=0.8, answers=0.08, switches=0.02),
    "engines wait": Chances(judges=0.8, takes=0.08, answers=0.8, switches=0.02),
    "little happens": Chances(judges=0.03, takes=0.5, answers=0.3, switches=0.05),
}


@pytest.mark.parametrize("name", RANDOM)
def test_a_context_is_busy_while_it_has_an_access(name: str) -> None:
    model = Model(RANDOM[name], seed=len(name))
    simulate(model, 2500)
    assert len(model.waits) > 10


def test_it_ends_however_much_the_others_do() -> None:
    """Engines always have another access, memory is never empty: two rounds, of a turn of all and what memory holds."""
    model = Model(Chances(judges=1, takes=1, answers=1 / 3, switches=0.01), seed=3, lasting=True)
    simulate(model, 6000)
    assert len(model.waits) > 20
    assert max(model.waits) < 2 * (TURN + 12 * MOST)


def test_a_context_without_accesses_is_done_at_once() -> None:
    model = Model(Chances(judges=0, takes=0, answers=0, switches=0.05), seed=1)
    simulate(model, 1000)
    assert model.waits
    assert max(model.waits) <= 8


def test_a_counter_that_follows_its_event_is_waited_for() -> None:
    """Lives that are closed when memory has taken nothing of a transfer, which it then takes slowly."""
    bench = Bench(sources=1, latency=1, stall=0.8)
    lives = 12

    async def test() -> None:
        for epoch in range(1, lives + 1):
            await bench.start(0)
            assert await bench.reserve(0, 1)
            bench.give(0, Transfer(epoch=epoch, mark=epoch, counter=0, success=1))
            while not bench.ctx.get(bench.dut.events.write.valid):
                await bench.ticks()
            await bench.stop(0)
            while bench.ctx.get(bench.dut.drain.busy):
                await bench.ticks()
            assert len(bench.memory.writes) == 2 * epoch
            assert not bench.ctx.get(bench.dut.in_flight)

    bench.run(test)
    bench.judge()


@pytest.mark.parametrize("source", [0, 1])
def test_what_is_taken_from_a_closed_context_is_dropped(source: int) -> None:
    bench = Bench()

    async def test() -> None:
        await bench.start(0, 1)
        assert await bench.reserve(0, 2)
        await bench.stop(0)
        bench.give(source, Transfer(mark=1), Transfer(context=1, event=False, counter=0, success=3))
        await bench.settle()
        assert len(bench.memory.writes) == 1

    bench.run(test)
    bench.judge()
