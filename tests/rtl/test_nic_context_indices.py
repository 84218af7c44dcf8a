"""Lives and indices of contexts: which doorbells are accepted, what a restart does."""

from typing import Any

import pytest
from amaranth.hdl import ResetInserter, Signal
from amaranth.sim import Simulator
from nic_context_bench import Bench

from rtl.nic.context.indices import Contexts
from rtl.nic.parameters import NicParameters

TOP = 1 << 32
INDICES = ("command_tail", "command_fetched", "command_head", "event_head", "event_tail")


async def pulse(bench: Bench, name: str, context: int, *, refused: bool = False) -> None:
    ctx, contexts = bench.ctx, bench.dut.contexts
    ctx.set(getattr(contexts, f"{name}_context"), context)
    ctx.set(contexts.retired_refused, refused)
    ctx.set(getattr(contexts, name), 1)
    await ctx.tick()
    ctx.set(getattr(contexts, name), 0)


# Doorbells one after the other, and how often a command is fetched and retired before each, in a ring of 4 commands.
COMMAND_TAILS = [
    (0, 5, False),
    (0, TOP - 1, False),
    (0, 3, True),
    (0, 2, False),  # what was rung cannot be taken back
    (0, 3, True),
    (0, 4, True),
    (0, 5, False),
    (1, 5, True),
    (0, 6, False),
    (0, 4, False),
    (4, 9, True),
    (0, 10, False),
    (0, 5, False),
]


@pytest.mark.parametrize("first", [0, TOP - 6])
def test_command_tails_stay_within_the_ring(first: int) -> None:
    """From 0 and where the indices wrap, which is reached by jumps of a ring each."""
    bench = Bench()

    async def test() -> None:
        await bench.start(0, 1, command_log2=2)
        if first:  # nobody rings four thousand million times: the registers are set
            state = bench.dut.contexts.states[1]
            for name in INDICES[:3]:
                bench.ctx.set(getattr(state, name), first)
            await bench.ticks()
        for retired, tail, accepted in COMMAND_TAILS:
            for _ in range(retired):
                await pulse(bench, "fetched", 1)
                await pulse(bench, "retired", 1)
            value = tail if tail == TOP - 1 and not first else tail + first
            assert await bench.doorbell("command_tail", 1, value) == accepted, f"after {retired}: {tail}"
        assert [bench.state(0, name) for name in INDICES] == [0] * 5
        assert [bench.state(1, name) for name in INDICES[:3]] == [(index + first) % TOP for index in (9, 5, 5)]

    bench.run(test)


def test_pending_follows_doorbell_and_fetch_in_the_next_cycle() -> None:
    bench = Bench()

    async def test() -> None:
        await bench.start(0, 1, command_log2=2)
        pending = bench.dut.contexts.pending
        assert await bench.doorbell("command_tail", 1, 2)
        assert bench.ctx.get(pending) == 0b10
        assert bench.ctx.get(bench.dut.contexts.quiescent)  # what is pending is the fetcher's to do
        await pulse(bench, "fetched", 1)
        assert bench.ctx.get(pending) == 0b10
        await pulse(bench, "fetched", 1)
        assert bench.ctx.get(pending) == 0
        assert await bench.doorbell("command_tail", 1, 3)
        await bench.stop(1)
        assert bench.ctx.get(pending) == 0

    bench.run(test)


def test_refused_commands_are_counted_for_each_life_of_a_context() -> None:
    bench = Bench()

    async def test() -> None:
        await bench.start(0, 1)
        for refused in (True, False, True):
            await pulse(bench, "retired", 1, refused=refused)
        counts = bench.dut.contexts.commands_refused
        assert [bench.ctx.get(count) for count in counts] == [0, 2]
        await bench.stop(1)
        assert bench.ctx.get(counts[1]) == 2
        await bench.start(1)
        assert bench.ctx.get(counts[1]) == 0

    bench.run(test)


def test_a_context_that_is_off_accepts_nothing_and_starts_from_zero() -> None:
    bench = Bench(queue_log2=(2, 2))

    async def test() -> None:
        assert not await bench.doorbell("command_tail", 0, 0)
        assert not await bench.doorbell("event_head", 0, 0)
        await bench.start(0, 1, command_log2=2)
        for context in (0, 1):
            assert await bench.doorbell("command_tail", context, 2)
            await pulse(bench, "fetched", context)
            await pulse(bench, "retired", context)
        await bench.stop(0)
        assert not await bench.doorbell("command_tail", 0, 3)
        await bench.start(0)
        assert [bench.state(0, name) for name in (*INDICES, "epoch")] == [0, 0, 0, 0, 0, 2]
        assert [bench.state(1, name) for name in (*INDICES, "epoch")] == [2, 1, 1, 0, 0, 1]

    bench.run(test)


@pytest.mark.parametrize("cycles", [1, 2, 3])
def test_the_epoch_is_new_in_the_cycle_of_the_restart_and_the_context_active_after_it(cycles: int) -> None:
    """Also if it is switched off for a cycle or few: `cycles`."""
    bench = Bench()

    async def test() -> None:
        seen = []
        await bench.start(0)
        bench.ctx.set(bench.dut.registers[0].enable, 0)
        await bench.ticks(cycles)
        bench.ctx.set(bench.dut.registers[0].enable, 1)
        for _ in range(4):
            seen.append(tuple(bench.state(0, name) for name in ("restarted", "epoch", "active")))
            await bench.ticks()
        assert seen == [(0, 1, 0), (1, 2, 0), (0, 2, 1), (0, 2, 1)]

    bench.run(test)


def test_switched_off_in_the_cycle_of_its_restart_it_starts_anew() -> None:
    bench = Bench()

    async def test() -> None:
        for _ in range(2):
            bench.ctx.set(bench.dut.registers[0].enable, 1)
            await bench.ticks()
            assert bench.state(0, "restarted")
            await bench.stop(0)
            await bench.ticks(2)
            assert not bench.state(0, "active")
        await bench.start(0)
        assert bench.state(0, "epoch") == 3

    bench.run(test)


def test_pulses_in_the_cycle_of_the_restart_are_of_the_former_life() -> None:
    bench = Bench()

    async def test() -> None:
        ctx, contexts = bench.ctx, bench.dut.contexts
        ctx.set(bench.dut.registers[1].enable, 1)
        await bench.ticks()
        assert bench.state(1, "restarted")
        for name in ("fetched", "retired"):
            ctx.set(getattr(contexts, name), 1)
            ctx.set(getattr(contexts, f"{name}_context"), 1)
        ctx.set(contexts.retired_refused, 1)
        await bench.ticks()
        for name in ("fetched", "retired"):
            ctx.set(getattr(contexts, name), 0)
        assert [bench.state(1, name) for name in INDICES] == [0] * 5
        assert ctx.get(contexts.commands_refused[1]) == 0

    bench.run(test)


def test_a_reset_does_not_bring_back_an_epoch() -> None:
    """Memories of other blocks, which a reset leaves as they are, mark what they keep by its epoch."""
    parameters = NicParameters(contexts=1)
    contexts = Contexts(parameters)
    reset = Signal()
    simulator = Simulator(ResetInserter(reset)(contexts))
    simulator.add_clock(1e-8)
    epochs = []

    async def test(ctx: Any) -> None:
        for _ in range(3):
            ctx.set(contexts.contexts[0].enable, 1)
            await ctx.tick().repeat(5)
            epochs.append(ctx.get(contexts.states[0].epoch))
            ctx.set(contexts.contexts[0].enable, 0)
            ctx.set(reset, 1)
            await ctx.tick()
            ctx.set(reset, 0)

    simulator.add_testbench(test)
    simulator.run()
    assert epochs == [1, 2, 3]
