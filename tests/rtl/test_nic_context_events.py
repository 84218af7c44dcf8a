"""Event queues and counting events: every write in its place and order, lives, errors, speed."""

import random

import pytest
from nic_context_bench import COUNTERS, COUNTERS_BYTES, QUEUE, QUEUE_BYTES, Bench, Transfer

from rtl.portals import Refusal

WIDTHS = [64, 128]


@pytest.mark.parametrize("bits", WIDTHS)
def test_events_and_counters_of_two_sources(bits: int) -> None:
    bench = Bench(datapath_bits=bits, stall=0.3)

    async def test() -> None:
        await bench.start(0, 1)
        for context in (0, 1):
            for _ in range(2):
                assert await bench.reserve(context, 3)
        bench.give(0, *(Transfer(context=n % 2, mark=n, counter=n % 3, success=n, failure=1) for n in range(6)))
        bench.give(1, *(Transfer(context=1, mark=20 + n, event=n % 2 == 0, counter=2, success=1) for n in range(6)))
        await bench.settle()
        assert [bench.state(context, "event_tail") for context in (0, 1)] == [3, 6]

    bench.run(test)
    assert bench.written == 9
    assert len(bench.memory.writes) == 21
    bench.judge()


COUNTER_TRANSFERS = {
    "added": ([(3, 4, False), (5, 6, False)], [(3, 4), (8, 10)]),
    "set, then added": ([(9, 8, False), (2, 1, True), (1, 1, False)], [(9, 8), (2, 1), (3, 2)]),
    "wraps": ([((1 << 64) - 1, 0, False), (2, 0, False)], [((1 << 64) - 1, 0), (1, 0)]),
}


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize("name", COUNTER_TRANSFERS)
def test_a_counter_is_written_after_each_change(name: str, bits: int) -> None:
    """Hand-worked values; counter changes alone follow each other as fast as they can."""
    changes, values = COUNTER_TRANSFERS[name]
    bench = Bench(datapath_bits=bits, sources=1)

    async def test() -> None:
        await bench.start(1)
        bench.give(
            0,
            *(
                Transfer(context=1, event=False, counter=3, success=success, failure=failure, set=replace)
                for success, failure, replace in changes
            ),
        )
        await bench.settle()

    bench.run(test)
    address = COUNTERS + COUNTERS_BYTES + 3 * 16
    assert bench.memory.writes == [
        (address, success.to_bytes(8, "little") + failure.to_bytes(8, "little")) for success, failure in values
    ]


def test_counters_are_zero_in_each_life_and_only_those_of_the_context() -> None:
    bench = Bench()
    one = {"event": False, "success": 1}

    async def test() -> None:
        await bench.start(0, 1)
        for context in (0, 1):
            bench.give(0, *(Transfer(context=context, counter=counter, **one) for counter in range(4)))
        await bench.settle()
        await bench.stop(0)
        await bench.start(0)
        bench.give(0, *(Transfer(context=0, epoch=2, counter=counter, **one) for counter in (2, 2, 0)))
        bench.give(0, Transfer(context=1, counter=2, **one), Transfer(context=0, epoch=1, counter=2, **one))
        await bench.settle()
        assert [bench.memory.word(COUNTERS + 16 * counter) for counter in range(4)] == [1, 1, 2, 1]
        assert bench.memory.word(COUNTERS + COUNTERS_BYTES + 32) == 2

    bench.run(test)
    bench.judge()


@pytest.mark.parametrize("delay", range(8))
def test_a_life_that_ends_in_the_middle_of_a_change_says_nothing_of_the_next_ones_counters(delay: int) -> None:
    bench = Bench(sources=1, queue_log2=(2,))
    change = {"event": False, "counter": 1, "success": 5}

    async def test() -> None:
        await bench.start(0)
        bench.give(0, Transfer(**change))
        await bench.settle()
        bench.give(0, Transfer(**change))
        await bench.stop(0)
        for _ in range(delay):
            await bench.ticks()
        await bench.start(0)
        bench.give(0, Transfer(epoch=2, **change))
        await bench.settle()
        assert bench.memory.word(COUNTERS + 16) == 5

    bench.run(test)
    bench.judge()


def test_an_event_may_be_consumed_as_soon_as_memory_shows_it() -> None:
    """Several are unanswered; each is accepted when it stands in memory, and none before."""
    bench = Bench(sources=1, queue_log2=(3,))

    async def test() -> None:
        await bench.start(0)
        bench.memory.silent = True
        assert await bench.reserve(0, 3)
        assert not await bench.doorbell("event_head", 0, 1)
        bench.give(0, *(Transfer(mark=mark) for mark in range(3)))
        for number in range(3):
            while bench.memory.sequence(0, number) != number + 1:
                assert not await bench.doorbell("event_head", 0, number + 2)
            assert await bench.doorbell("event_head", 0, number + 1)
        assert bench.state(0, "event_tail") == 0
        assert bench.state(0, "event_head") == 3
        for _ in range(2):
            assert await bench.reserve(0, 3)
        bench.memory.silent = False
        await bench.settle()
        assert bench.state(0, "event_tail") == 3

    bench.run(test)


def test_an_event_that_memory_refuses_keeps_its_place_and_disturbs_no_other() -> None:
    bench = Bench(sources=1, latency=30)
    bench.memory.bad = {QUEUE + 64, COUNTERS + 16}

    async def test() -> None:
        await bench.start(0, 1)
        assert await bench.reserve(0, 3)
        assert await bench.reserve(1, 1)
        bench.give(0, Transfer(mark=1), Transfer(mark=2, counter=1, success=1), Transfer(context=1, mark=3))
        bench.give(0, Transfer(mark=4, counter=1, success=1))
        await bench.settle()
        assert [bench.state(context, "event_tail") for context in (0, 1)] == [3, 1]
        assert [bench.memory.sequence(0, slot) for slot in range(3)] == [1, 0, 3]
        assert await bench.doorbell("event_head", 0, 3)

    bench.run(test)
    assert bench.written == 3
    assert bench.refusals == [
        (Refusal.MEMORY_ERROR, 0, address) for address in (QUEUE + 64, COUNTERS + 16, COUNTERS + 16)
    ]
    bench.judge()


@pytest.mark.parametrize("shown", [False, True])
def test_events_of_a_former_life_cannot_be_consumed_in_the_next(shown: bool) -> None:
    """Neither those that memory shows nor those that it is given after the restart."""
    bench = Bench(sources=1, queue_log2=(1,))

    async def test() -> None:
        await bench.start(0)
        assert await bench.reserve(0, 2)
        bench.memory.blocked = not shown
        bench.give(0, Transfer(mark=1))
        await bench.ticks(20)
        assert len(bench.memory.writes) == shown
        await bench.stop(0)
        bench.ctx.set(bench.dut.registers[0].enable, 1)
        await bench.ticks(10)
        bench.memory.blocked = False
        await bench.start(0)
        assert len(bench.memory.writes) == 1
        assert not await bench.doorbell("event_head", 0, 1)
        assert await bench.reserve(0, 2)
        assert not await bench.reserve(0, 1)

    bench.run(test)


def test_eight_writes_are_unanswered_at_most_and_the_rest_waits() -> None:
    bench = Bench(queue_log2=(4, 4))

    async def test() -> None:
        await bench.start(0, 1)
        for context in (0, 1):
            for _ in range(3):
                assert await bench.reserve(context, 3)
        bench.memory.silent = True
        for source in (0, 1):
            bench.give(source, *(Transfer(context=source, mark=mark, counter=0, success=1) for mark in range(9)))
        await bench.ticks(150)
        assert bench.memory.most_unanswered == 8
        bench.memory.silent = False
        await bench.settle()
        assert bench.memory.most_unanswered == 8

    bench.run(test)
    assert len(bench.memory.writes) == 36
    bench.judge()


def test_a_life_begins_only_when_memory_has_answered_the_former_one() -> None:
    bench = Bench(sources=1)

    async def test() -> None:
        await bench.start(0, 1)
        bench.memory.silent = True
        assert await bench.reserve(0, 2)
        bench.give(0, Transfer(mark=1, counter=0, success=1), Transfer(context=1, event=False, counter=0))
        await bench.ticks(40)
        await bench.stop(0)
        bench.ctx.set(bench.dut.registers[0].enable, 1)
        await bench.ticks(40)
        assert (bench.state(0, "active"), bench.state(1, "active")) == (0, 1)
        assert bench.state(0, "epoch") == 2
        bench.memory.silent = False
        await bench.start(0)
        assert len(bench.memory.writes) == 3
        assert bench.state(0, "event_tail") == 0
        assert not bench.interrupts

    bench.run(test)


SPEEDS = [(64, False, 10), (64, True, 12), (128, False, 6), (128, True, 6)]


@pytest.mark.parametrize(("bits", "counted", "cycles"), SPEEDS)
@pytest.mark.parametrize("latency", [3, 30])
def test_an_event_every_few_cycles_whatever_the_latency_of_memory(
    bits: int, counted: bool, cycles: int, latency: int
) -> None:
    """Eight writes may be unanswered, which is what the latencies amount to; with counters an event needs two."""
    bench = Bench(datapath_bits=bits, latency=latency // (1 + counted), queue_log2=(4,), sources=1)

    async def test() -> None:
        await bench.start(0)
        for _ in range(4):
            assert await bench.reserve(0, 3)
        bench.give(0, *(Transfer(mark=mark, counter=1 if counted else None) for mark in range(12)))
        await bench.settle()

    bench.run(test)
    bench.judge()
    taken = [cycle for cycle, _, _ in bench.taken]
    assert taken[-1] - taken[0] <= cycles * 11
    assert bench.memory.most_unanswered <= 8


def test_a_transfer_is_requested_of_memory_within_three_cycles() -> None:
    bench = Bench()

    async def test() -> None:
        await bench.start(0)
        assert await bench.reserve(0, 1)
        for transfer in (Transfer(mark=1), Transfer(event=False, counter=1)):
            bench.give(1, transfer)
            while not bench.ctx.get(bench.dut.events.ports[1].valid):
                await bench.ticks()
            cycles = 0
            while not bench.ctx.get(bench.dut.events.write.valid):
                await bench.ticks()
                cycles += 1
            assert cycles <= 3
            await bench.settle()

    bench.run(test)


def test_sources_are_served_in_turn() -> None:
    bench = Bench(sources=3, queue_log2=(4,))

    async def test() -> None:
        await bench.start(0)
        for _ in range(3):
            assert await bench.reserve(0, 3)
        for source in range(3):
            bench.give(source, *(Transfer(mark=16 * source + n) for n in range(3)))
        await bench.settle()

    bench.run(test)
    assert sorted(source for _, source, _ in bench.taken[:3]) == [0, 1, 2]
    assert [source for _, source, _ in bench.taken[3:6]] == [source for _, source, _ in bench.taken[:3]]
    bench.judge()


@pytest.mark.parametrize(("bits", "seed"), [(64, 1), (128, 2)])
def test_random_traffic_with_restarts(bits: int, seed: int) -> None:
    """Blocks reserve, use and release; processes poll memory and consume, or lie; the kernel restarts contexts.

    No event is overwritten before its process has consumed it, none is lost, and room is found when there is some.
    """
    queue_log2 = (1, 2, 3)
    bench = Bench(datapath_bits=bits, sources=3, reservers=3, queue_log2=queue_log2, stall=0.2, latency=8)
    rng = random.Random(seed)
    heads = [0, 0, 0]
    claimed = [0, 0, 0]
    consumed = 0

    async def test() -> None:
        nonlocal consumed
        await bench.start(0, 1, 2, interrupt=1, moderation_count=2)
        for step in range(400):
            context, unit = rng.randrange(3), rng.randrange(3)
            epoch = bench.state(context, "epoch")
            choice = rng.random()
            if choice < 0.4:
                count = rng.randrange(4)
                fits = claimed[context] - heads[context] + count <= 1 << queue_log2[context]
                assert await bench.reserve(context, count, reserver=unit) == fits
                if fits:
                    used = rng.randrange(count + 1)
                    claimed[context] += used
                    for _ in range(used):
                        counter = rng.choice([None, 0, 3])
                        bench.give(
                            unit,
                            Transfer(
                                context=context, epoch=epoch, mark=step, counter=counter, success=rng.randrange(9)
                            ),
                        )
                    if count > used:
                        await bench.release(context, count - used, epoch=epoch, reserver=unit)
            elif choice < 0.45:
                await bench.ticks(30)
            elif choice < 0.98:
                unread = heads[context]
                while bench.memory.sequence(context, unread % (1 << queue_log2[context])) == unread + 1:
                    unread += 1
                    if rng.random() < 0.5:
                        break
                if unread > heads[context]:
                    assert await bench.doorbell("event_head", context, unread)
                    consumed += unread - heads[context]
                    heads[context] = unread
                else:
                    assert not await bench.doorbell("event_head", context, heads[context] + rng.randrange(2, 1 << 31))
            else:
                await bench.stop(context)
                await bench.start(context)  # from here on nothing of the former life is written
                base = QUEUE + QUEUE_BYTES * context
                for slot in range(1 << queue_log2[context]):
                    bench.memory.data.update(dict.fromkeys(range(base + 64 * slot, base + 64 * slot + 64), 0))
                heads[context] = claimed[context] = 0
        await bench.settle()

    bench.run(test)
    bench.judge()
    assert consumed > 40
    assert bench.quiet_edges > 20
