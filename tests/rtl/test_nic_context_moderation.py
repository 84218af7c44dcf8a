"""Interrupts: how many events and counter changes they wait for, how long, and which are counted at all."""

from typing import Any

import pytest
from amaranth.sim import Simulator
from nic_context_bench import Bench, Transfer

from rtl.nic.context.moderation import Moderation
from rtl.nic.parameters import NicParameters

EVENT = Transfer(mark=1)
COUNTER = Transfer(event=False, counter=0, success=1)

# Registers, transfers one after the other, and of which answers of memory an interrupt tells, with the cycles after it.
CASES = {
    "nothing enabled": ({}, [EVENT, COUNTER], []),
    "every event": ({"interrupt": 1}, [EVENT, COUNTER, EVENT], [(0, 1), (2, 1)]),
    "a count of one": ({"interrupt": 1, "moderation_count": 1}, [EVENT, EVENT], [(0, 1), (1, 1)]),
    "every counter change": ({"counter_interrupt": 1}, [EVENT, COUNTER, EVENT], [(1, 1)]),
    "three of both": (
        {"interrupt": 1, "counter_interrupt": 1, "moderation_count": 3},
        [EVENT, COUNTER, EVENT, EVENT, COUNTER],
        [(2, 1)],
    ),
    "three events": (
        {"interrupt": 1, "moderation_count": 3},
        [EVENT, COUNTER, EVENT, COUNTER, EVENT, EVENT],
        [(4, 1)],
    ),
    "after a time": ({"interrupt": 1, "moderation_count": 9, "moderation_cycles": 50}, [EVENT, EVENT], [(0, 50)]),
    "a time of one cycle": (
        {"interrupt": 1, "moderation_count": 9, "moderation_cycles": 1},
        [EVENT, EVENT],
        [(0, 1), (1, 1)],
    ),
    "count before time": (
        {"interrupt": 1, "moderation_count": 2, "moderation_cycles": 60},
        [EVENT, EVENT, EVENT],
        [(1, 1), (2, 60)],
    ),
    "a time, no count": ({"interrupt": 1, "moderation_cycles": 50}, [EVENT], [(0, 1)]),
}


@pytest.mark.parametrize("name", CASES)
def test_interrupts(name: str) -> None:
    registers, transfers, told = CASES[name]
    bench = Bench(sources=1)

    async def test() -> None:
        await bench.start(0, **registers)
        await bench.start(1, interrupt=1, counter_interrupt=1)
        for _ in range(2):
            assert await bench.reserve(0, 3)
        bench.give(0, *transfers)
        await bench.settle()
        await bench.ticks(3)
        assert bench.ctx.get(bench.dut.events.quiescent)

    bench.run(test)
    answers = bench.memory.answer_cycles
    assert len(answers) == len(transfers)
    assert bench.interrupts == [(answers[index] + cycles, 0) for index, cycles in told]


async def one_waits(bench: Bench, **registers: int) -> None:
    """Context 0 has one event that is counted and not told; clocks run as its registers say."""
    await bench.start(0, interrupt=1, **registers)
    assert await bench.reserve(0, 3)
    bench.give(0, EVENT)
    while not bench.memory.answer_cycles:
        await bench.ticks()
    assert not bench.interrupts


# What is changed while one event waits for two more; the cycles after which that tells of it; and how many interrupts
# there are after a second event, if it then takes two.
CHANGES = {
    "the count is lowered": ({"moderation_count": 1}, 1, 1),
    "a time is set": ({"moderation_cycles": 5}, 5, 2),
    "events are of no interest any more": ({"interrupt": 0}, None, 0),
    "another kind is of interest, too": ({"counter_interrupt": 1}, None, 1),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_waits_follows_the_registers(name: str) -> None:
    registers, cycles, interrupts = CHANGES[name]
    bench = Bench(sources=1)

    async def test() -> None:
        await one_waits(bench, moderation_count=3)
        await bench.ticks(20)
        assert bench.ctx.get(bench.dut.events.quiescent)
        start = bench.memory.cycle + 1  # the edge that the test has just seen is not counted yet
        for register, value in registers.items():
            bench.ctx.set(getattr(bench.dut.registers[0], register), value)
        await bench.ticks(20)
        assert bench.interrupts == ([] if cycles is None else [(start + cycles, 0)])
        bench.ctx.set(bench.dut.registers[0].moderation_count, 2)
        bench.ctx.set(bench.dut.registers[0].interrupt, 1)
        bench.give(0, EVENT)
        await bench.settle()
        await bench.ticks(2)

    bench.run(test)
    assert len(bench.interrupts) == interrupts


def test_a_restart_forgets_what_was_not_told() -> None:
    bench = Bench(sources=1)

    async def test() -> None:
        await one_waits(bench, moderation_count=5, moderation_cycles=30)
        assert not bench.ctx.get(bench.dut.events.quiescent)
        await bench.stop(0)
        await bench.start(0)
        await bench.ticks(40)
        assert bench.ctx.get(bench.dut.events.quiescent)

    bench.run(test)
    assert not bench.interrupts


def test_an_event_that_memory_refused_is_told_too() -> None:
    """Its process waits for it, and learns from EVENT_TAIL that it is lost."""
    bench = Bench(sources=1)

    async def test() -> None:
        await bench.start(0, interrupt=1)
        assert await bench.reserve(0, 1)
        bench.memory.bad.add(bench.ctx.get(bench.dut.registers[0].event_base))
        bench.give(0, EVENT)
        await bench.settle()
        await bench.ticks()

    bench.run(test)
    assert len(bench.interrupts) == 1
    assert bench.written == 0


@pytest.mark.parametrize(("count", "told"), [(1, [1, 2, 3, 4, 5]), (2, [2, 4]), (3, [3])])
def test_what_happens_in_the_cycle_of_an_interrupt_counts_for_the_next(count: int, told: list[int]) -> None:
    """Five counter changes of context 1 in five cycles; the interrupts come a cycle after those that `told` names."""
    dut = Moderation(NicParameters(contexts=2))
    interrupts = []

    async def test(ctx: Any) -> None:
        for registers in dut.contexts:
            ctx.set(registers.counter_interrupt, 1)
            ctx.set(registers.moderation_count, count)
        ctx.set(dut.context, 1)
        for cycle in range(10):
            ctx.set(dut.happened, cycle < 5)
            _, _, pulses = await ctx.tick().sample(dut.interrupts)
            interrupts.extend((cycle, number) for number in range(2) if pulses >> number & 1)

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(test)
    simulator.run()
    assert interrupts == [(cycle, 1) for cycle in told]
