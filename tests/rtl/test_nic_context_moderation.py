"""Interrupts: how many events and counter changes they wait for, how long, and which are counted at all."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from amaranth.hdl import Fragment
from amaranth.sim import Simulator
from nic_context_bench import Bench, Transfer

from rtl.nic.context.moderation import Moderation
from rtl.nic.parameters import NicParameters
from tests.rtl.quiescence import QuiescenceJudge

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


@dataclass(frozen=True, kw_only=True)
class Cycle:
    """What comes to Moderation in one cycle: of which context an event or counter change has happened, who restarts."""

    happened: int | None = None
    event: bool = True
    restarted: tuple[int, ...] = ()


def pulses(cycles: Sequence[Cycle], *registers: dict[str, int], interval: int) -> list[tuple[int, int]]:
    """Of contexts with these registers: (cycle, context)."""
    dut = Moderation(NicParameters(contexts=len(registers)))
    fragment = Fragment.get(dut, None)
    judge = QuiescenceJudge(fragment, dut.quiescent)
    found: list[tuple[int, int]] = []

    async def test(ctx: Any) -> None:
        ctx.set(dut.interval, interval)
        for number, fields in enumerate(registers):
            for name, value in fields.items():
                ctx.set(getattr(dut.contexts[number], name), value)
        for number, cycle in enumerate(cycles):
            ctx.set(dut.happened, cycle.happened is not None)
            ctx.set(dut.context, cycle.happened or 0)
            ctx.set(dut.event, cycle.event)
            for context, state in enumerate(dut.states):
                ctx.set(state.restarted, context in cycle.restarted)
            told = ctx.get(dut.interrupts)
            found.extend((number, context) for context in range(len(registers)) if told >> context & 1)
            await judge.tick(ctx)
        assert ctx.get(dut.quiescent)

    simulator = Simulator(fragment)
    simulator.add_clock(1e-8)
    simulator.add_testbench(test)
    simulator.run()
    return found


def at(*cycles: int, restarted: Sequence[int] = (), until: int = 500) -> list[Cycle]:
    """Events of context 0 in these cycles, and its restarts."""
    return [
        Cycle(happened=0 if number in cycles else None, restarted=(0,) * (number in restarted))
        for number in range(until)
    ]


@pytest.mark.parametrize(("count", "told"), [(1, [1, 2, 3, 4, 5]), (2, [2, 4]), (3, [3])])
def test_what_happens_in_the_cycle_of_an_interrupt_counts_for_the_next(count: int, told: list[int]) -> None:
    """Five counter changes of context 1 in five cycles; the interrupts come a cycle after those that `told` names."""
    registers = {"counter_interrupt": 1, "moderation_count": count}
    cycles = [*[Cycle(happened=1, event=False)] * 5, *[Cycle()] * 5]
    assert pulses(cycles, registers, registers, interval=0) == [(cycle, 1) for cycle in told]


# ---- the interval, which its process does not choose ----

EVERY = {"interrupt": 1}
LATE = {"interrupt": 1, "moderation_count": 9, "moderation_cycles": 30}

# Registers, the cycles in which events happen, those in which the context restarts, and those of its interrupts when
# they are to be 100 cycles apart.
AT_INTERVALS: dict[str, tuple[dict[str, int], list[int], list[int], list[int]]] = {
    "the first comes at once": (EVERY, [7], [], [8]),
    "so does the next one after a silence": (EVERY, [7, 107, 300], [], [8, 108, 301]),
    "what happens meanwhile waits": (EVERY, [7, 8, 20, 21], [], [8, 108]),
    "and is told of once": (EVERY, [7, 20, 99, 107, 108], [], [8, 108, 208]),
    "a flood": (EVERY, list(range(250)), [], [1, 101, 201, 301]),
    "a restart forgets what happened": (EVERY, [7, 20], [30], [8]),
    "but not when the last interrupt was": (EVERY, [7, 40], [20, 30], [8, 108]),
    "a restart in the cycle of an interrupt": (EVERY, [7, 40], [8], [8, 108]),
    "a count that is reached": ({**EVERY, "moderation_count": 3}, [7, 8, 9, 11, 12, 13, 14], [], [10, 110]),
    "a count that is not reached": ({**EVERY, "moderation_count": 3}, [7, 8, 9, 11, 12, 150], [], [10, 151]),
    "a time that ends sooner": (LATE, [7, 40], [], [37, 137]),
    "a time that ends later": (LATE, [7, 120], [], [37, 150]),
    "of no interest": ({"counter_interrupt": 1}, [7, 20], [], []),
}


@pytest.mark.parametrize("name", AT_INTERVALS)
def test_interrupts_of_a_context_are_an_interval_apart(name: str) -> None:
    registers, events, restarts, told = AT_INTERVALS[name]
    found = pulses(at(*events, restarted=restarts), registers, interval=100)
    assert found == [(cycle, 0) for cycle in told]


@pytest.mark.parametrize("interval", [0, 1, 2, 3])
def test_the_shortest_intervals(interval: int) -> None:
    found = pulses(at(*range(12), until=20), EVERY, interval=interval)
    assert [cycle for cycle, _ in found] == list(range(1, 14 if interval > 1 else 13, max(interval, 1)))


def test_a_flood_of_one_context_delays_no_other() -> None:
    cycles = [Cycle(happened=1 if number in (60, 260) else 0) for number in range(300)]
    found = pulses([*cycles, *[Cycle()] * 200], EVERY, EVERY, interval=100)
    assert [cycle for cycle, context in found if context == 0] == [1, 101, 201, 301]
    assert [cycle for cycle, context in found if context == 1] == [61, 261]


class Calls:
    """One context's interrupts, by the times of what happened."""

    def __init__(self, registers: dict[str, int], interval: int) -> None:
        self._kinds = (registers.get("counter_interrupt", 0), registers.get("interrupt", 0))
        self._count = max(registers.get("moderation_count", 0), 1)
        self._patience = registers.get("moderation_cycles", 0)
        self._interval = interval
        self._times: list[int] = []  # of what no interrupt has told of
        self._free_at = 0

    def look(self, now: int) -> bool:
        if not self._times or now < self._free_at:
            return False
        enough = len(self._times) >= self._count
        if not enough and not (self._patience and now >= self._times[0] + self._patience):
            return False
        self._times, self._free_at = [], now + self._interval
        return True

    def happen(self, now: int, event: bool) -> None:
        if self._kinds[event]:
            self._times.append(now)

    def restart(self) -> None:
        self._times = []


@pytest.mark.parametrize(("seed", "interval"), list(enumerate([0, 1, 2, 17, 90, 90, 300])))
def test_random_events_restarts_and_intervals(seed: int, interval: int) -> None:
    rng = random.Random(seed)
    registers = [
        {
            "interrupt": rng.randrange(3) > 0, "counter_interrupt": rng.randrange(3) > 0,
            "moderation_count": rng.choice([0, 1, 2, 5, 60]), "moderation_cycles": rng.choice([0, 1, 10, 200]),
        }
        for _ in range(3)
    ]  # fmt: skip
    busy = rng.choice([0.02, 0.2, 0.9])
    cycles = [
        Cycle(
            happened=rng.randrange(3) if rng.random() < busy else None,
            event=rng.random() < 0.5,
            restarted=tuple(context for context in range(3) if rng.random() < 0.01),
        )
        for _ in range(1500)
    ]
    cycles += [Cycle()] * 400
    calls = [Calls(fields, interval) for fields in registers]
    expected = []
    for now, cycle in enumerate(cycles):
        expected += [(now, context) for context, one in enumerate(calls) if one.look(now)]
        if cycle.happened is not None:
            calls[cycle.happened].happen(now, cycle.event)
        for context in cycle.restarted:
            calls[context].restart()
    assert pulses(cycles, *registers, interval=interval) == expected
