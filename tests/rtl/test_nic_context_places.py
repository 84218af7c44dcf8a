"""Places in the event queues: counted to the last one, given in turn, forgotten by a restart."""

import pytest
from nic_context_bench import QUEUE, Bench, Transfer


def test_places_are_counted_to_the_last_one() -> None:
    bench = Bench(queue_log2=(2, 2))

    async def test() -> None:
        await bench.start(0, 1)
        events, ctx = bench.dut.events, bench.ctx
        assert await bench.reserve(0, 3)
        assert not await bench.reserve(0, 2)
        assert await bench.reserve(0, 1, reserver=1)
        assert ctx.get(events.room) == 0b10
        assert not await bench.reserve(0, 1)
        assert await bench.reserve(0, 0)
        await bench.release(0, 2)
        assert ctx.get(events.room) == 0b11
        assert await bench.reserve(0, 2)
        await bench.release(0, 1, epoch=7)  # of another life
        assert not await bench.reserve(0, 1)
        assert await bench.reserve(1, 3)  # the other's queue is another one
        bench.give(0, *(Transfer(mark=mark) for mark in range(4)))
        await bench.settle()
        assert not await bench.reserve(0, 1)  # written, not consumed
        assert await bench.doorbell("event_head", 0, 1)
        assert await bench.reserve(0, 1)
        assert not await bench.reserve(0, 1)

    bench.run(test)
    bench.judge()


def test_releases_in_one_cycle_are_all_heard() -> None:
    bench = Bench(reservers=3, queue_log2=(3,))

    async def test() -> None:
        await bench.start(0)
        ctx = bench.ctx
        for count in (3, 3, 2):
            assert await bench.reserve(0, count)
        for port, count in zip(bench.dut.events.reserves, (3, 2, 1), strict=True):
            ctx.set(port.release_epoch, 1)
            ctx.set(port.release_count, count)
            ctx.set(port.release_valid, 1)
        await bench.ticks()
        for port in bench.dut.events.reserves:
            ctx.set(port.release_valid, 0)
        assert not await bench.reserve(0, 3)  # not yet
        assert await bench.reserve(0, 3)
        assert await bench.reserve(0, 3)
        assert not await bench.reserve(0, 1)

    bench.run(test)


def test_reservers_are_answered_in_turn_and_never_for_the_same_place() -> None:
    bench = Bench(reservers=3, queue_log2=(3,))
    answers: list[tuple[int, int]] = []

    async def test() -> None:
        await bench.start(0)
        ctx, ports = bench.ctx, list(bench.dut.events.reserves)
        for port in ports:
            ctx.set(port.count, 1)
            ctx.set(port.valid, 1)
        for _ in range(12):
            _, _, *sampled = await ctx.tick().sample(*(signal for port in ports for signal in (port.ready, port.room)))
            ready = [index for index in range(3) if sampled[2 * index]]
            assert len(ready) == 1
            answers.append((ready[0], sampled[2 * ready[0] + 1]))
        for port in ports:
            ctx.set(port.valid, 0)

    bench.run(test)
    first = answers[0][0]
    assert [index for index, _ in answers] == [(first + n) % 3 for n in range(12)]
    assert [room for _, room in answers] == [1] * 8 + [0] * 4


def test_a_restart_forgets_reservations_and_begins_at_the_first_place() -> None:
    bench = Bench(queue_log2=(2,))

    async def test() -> None:
        await bench.start(0)
        assert await bench.reserve(0, 3)
        bench.give(0, Transfer(mark=1), Transfer(mark=2))
        await bench.settle()
        await bench.stop(0)
        assert bench.state(0, "event_tail") == 2
        await bench.start(0)
        assert bench.state(0, "event_tail") == 0
        assert await bench.reserve(0, 3)
        assert await bench.reserve(0, 1)
        bench.give(0, Transfer(mark=9), Transfer(mark=3, epoch=2))
        await bench.settle()
        assert bench.state(0, "event_tail") == 1

    bench.run(test)
    assert [address for address, _ in bench.memory.writes] == [QUEUE, QUEUE + 64, QUEUE]
    bench.judge()


def test_a_place_is_not_given_away_in_the_cycle_of_a_restart() -> None:
    """It would be forgotten at the end of that cycle, and the event would have none."""
    bench = Bench(queue_log2=(1,))

    async def test() -> None:
        await bench.start(0)
        await bench.stop(0)
        ctx, port = bench.ctx, bench.dut.events.reserves[0]
        ctx.set(bench.dut.registers[0].enable, 1)
        await bench.ticks()
        ctx.set(port.count, 2)
        ctx.set(port.valid, 1)
        _, _, restarted, ready = await ctx.tick().sample(bench.dut.contexts.states[0].restarted, port.ready)
        assert (restarted, ready) == (1, 0)
        _, _, ready, room = await ctx.tick().sample(port.ready, port.room)
        assert (ready, room) == (1, 1)
        ctx.set(port.valid, 0)
        assert not await bench.reserve(0, 1)

    bench.run(test)


@pytest.mark.parametrize("register", ["event_base", "event_log2"])
def test_the_kernel_cannot_make_the_writer_overwrite_events_that_wait(register: str) -> None:
    """A queue that is moved or made smaller under its process stays where and what it was until the next start."""
    bench = Bench(queue_log2=(2,))

    async def test() -> None:
        await bench.start(0)
        assert await bench.reserve(0, 3)
        bench.give(0, *(Transfer(mark=mark) for mark in range(3)))
        await bench.ticks(12)
        bench.ctx.set(getattr(bench.dut.registers[0], register), QUEUE - 64 if register == "event_base" else 0)
        await bench.settle()
        assert await bench.reserve(0, 1)
        assert not await bench.reserve(0, 1)

    bench.run(test)
    assert [address for address, _ in bench.memory.writes] == [QUEUE + 64 * slot for slot in range(3)]
