"""Requests to which nothing comes: when they end, with what, and what meets them on the way."""

import dataclasses
import random
from typing import Any

import pytest

from rtl.portals import AckRequest, EventKind, Fail, Operation
from tests.rtl.collect_bench import Bench
from tests.rtl.collect_reference import Entry, reply, response

GET, PUT = Operation.GET, Operation.PUT
# From a tick to the report of the last entry: a walk over all entries, and Collect's and Complete's share.
LATE_CYCLES = 60


async def until_quiet(bench: Bench) -> None:
    await bench.tick(2)
    await bench.settle()


@pytest.mark.parametrize(
    ("fields", "kind", "counter"),
    [
        ({"operation": GET, "size": 100, "count": 1, "ct_bytes": 1, "counter": 5}, EventKind.REPLY, (5, 0, 1)),
        ({"operation": Operation.FETCH_ATOMIC, "size": 8, "success_disable": 1}, EventKind.REPLY, None),
        ({"operation": PUT, "ack_request": AckRequest.FULL, "success_disable": 1}, EventKind.ACK, None),
        ({"operation": PUT, "ack_request": AckRequest.COUNTING, "count": 1, "counter": 2}, None, (2, 0, 1)),
        ({"operation": PUT, "ack_request": AckRequest.COUNTING}, None, None),
    ],
)
def test_what_is_told_of_a_request_to_which_nothing_comes(
    fields: dict[str, Any], kind: EventKind | None, counter: tuple[int, int, int] | None
) -> None:
    """The entry can be used again; its response, which comes after all, is refused before and after that."""
    bench = Bench(contexts=2, outstanding=1)

    async def test() -> None:
        bench.ctx.set(bench.block.timeout, 50)
        entry = await bench.allocate(context=1, user_data=0xAB, dst_nid=7, **fields)
        await bench.leave(entry)
        await until_quiet(bench)
        bench.expected.expire(entry, bench.jid(1))
        late = dataclasses.replace(response(entry, segment_offset=0), entry=None)
        await bench.send(late)
        again = await bench.allocate(context=1, **fields)
        assert again.handle == entry.handle
        await bench.send(late)
        await bench.send(response(again, segment_offset=0))
        await until_quiet(bench)

    bench.run(test)
    bench.judge()
    assert (bench.timed_out, bench.collected, len(bench.refused)) == (1, 1, 2)
    if kind is None and counter is None:
        assert bench.reports == []
        return
    report = bench.reports[0]
    assert (report.context, report.counter) == (1, counter)
    told = {name: value for name, value in (report.event or {}).items() if value}
    said = {"src_nid": 7, "src_pid": 0x200, "jid": 0x9001, "user_data": 0xAB, "fail": Fail.UNDELIVERABLE}
    assert told == ({"kind": kind, **said} if kind else {})


@pytest.mark.parametrize("timeout", [1, 130, 300])
def test_it_ends_after_the_timeout_and_before_twice_as_long(timeout: int) -> None:
    """Of 3 contexts with 4 entries each, which leave at any time; those that have not left do not end."""
    bench = Bench(outstanding=4, seed=timeout)
    left: dict[int, int] = {}

    async def test() -> None:
        bench.ctx.set(bench.block.timeout, timeout)
        never = [await bench.allocate(context=context, operation=GET, user_data=99) for context in range(3)]
        for number in range(9):
            entry = await bench.allocate(context=number % 3, operation=GET, user_data=number)
            await bench.tick(bench.random.randrange(timeout))
            left[number] = bench.cycle
            await bench.leave(entry)
        await bench.tick(4 * timeout + 200)
        for entry in never:
            await bench.send(response(entry, segment_offset=0))
        await until_quiet(bench)

    bench.run(test)
    ends = {
        report.event["user_data"]: cycle
        for report, (cycle, _) in zip(bench.reports, bench.report_cycles, strict=True)
        if report.event and report.event["fail"]
    }
    assert ends.keys() == left.keys()
    for number, cycle in ends.items():
        waited = cycle - left[number]
        assert timeout <= waited <= 2 * max(timeout, 2 * 12) + LATE_CYCLES, (number, waited)
    assert (bench.timed_out, bench.collected) == (9, 3)


def test_every_packet_of_a_reply_begins_the_time_anew() -> None:
    """Six packets, each after nearly all the time; the seventh does not come, and what was written stays written."""
    bench = Bench(outstanding=2)
    ends = []

    async def test() -> None:
        bench.ctx.set(bench.block.timeout, 100)
        entry = await bench.allocate(context=0, operation=GET, size=7 * 64)
        await bench.leave(entry)
        for packet in reply(entry, bytes(range(1, 65)) * 7, 64)[:6]:
            await bench.tick(90)
            await bench.send(packet)
        ends.append(bench.cycle)
        await until_quiet(bench)
        bench.expected.expire(entry, bench.jid(0))

    bench.run(test)
    bench.judge()
    assert 100 <= bench.report_cycles[0][0] - ends[0] <= 200 + LATE_CYCLES


def test_the_first_failure_of_a_reply_is_told() -> None:
    bench = Bench(outstanding=2)

    async def test() -> None:
        bench.ctx.set(bench.block.timeout, 50)
        entry = await bench.allocate(context=0, operation=GET, size=100, window=1)
        await bench.leave(entry)
        await bench.send(reply(entry, bytes(100), 64)[0])
        await until_quiet(bench)
        bench.expected.expire(entry, bench.jid(0))

    bench.run(test)
    bench.judge()
    assert [report.event["fail"] for report in bench.reports if report.event] == [Fail.SEGMENT]


def test_without_a_timeout_or_an_active_context_nothing_ends_and_the_clock_may_stop() -> None:
    bench = Bench(outstanding=2)

    async def test() -> None:
        entry = await bench.allocate(context=0, operation=GET, size=8)
        await bench.leave(entry)
        await until_quiet(bench)
        bench.ctx.set(bench.block.timeout, 10)
        await bench.tick()
        assert not bench.ctx.get(bench.block.quiescent)
        bench.ctx.set(bench.block.states[0].active, 0)
        await until_quiet(bench)
        bench.ctx.set(bench.block.states[0].active, 1)
        bench.ctx.set(bench.block.timeout, 0)
        await until_quiet(bench)
        await bench.send(reply(entry, bytes(8), 64)[0])
        await until_quiet(bench)

    bench.run(test)
    bench.judge()
    assert bench.timed_out == 0


def test_a_context_that_is_not_active_hears_of_nothing_while_others_wait() -> None:
    bench = Bench(outstanding=2)

    async def test() -> None:
        bench.ctx.set(bench.block.timeout, 20)
        other = await bench.allocate(context=1, operation=GET, size=8)
        await bench.leave(await bench.allocate(context=0, operation=GET, size=8))
        bench.ctx.set(bench.block.states[0].active, 0)
        await bench.tick(300)
        await bench.send(reply(other, bytes(8), 64)[0])
        await until_quiet(bench)

    bench.run(test)
    bench.judge()


@pytest.mark.parametrize("packets", [1, 2])
def test_a_response_that_comes_as_the_time_ends_is_collected_or_refused(packets: int) -> None:
    """Whatever the cycle: one report of every request, and nothing is written after it."""
    bench = Bench(contexts=1, outstanding=2, latency=2)
    timeout = 20
    outcomes = set()

    async def test() -> None:
        bench.ctx.set(bench.block.timeout, timeout)
        for delay in range(timeout, 3 * timeout):
            entry = await bench.allocate(context=0, operation=GET, size=64 * packets)
            await bench.leave(entry)
            reports, refused = len(bench.reports), len(bench.refused)
            await bench.tick(delay)
            for packet in reply(entry, bytes([delay]) * 64 * packets, 64):
                await bench.send_unpredicted(packet)
            await until_quiet(bench)
            [report] = bench.reports[reports:]
            assert report.event
            fail, kept = report.event["fail"], packets - (len(bench.refused) - refused)
            assert fail == (Fail.OK if kept else Fail.UNDELIVERABLE)
            outcomes.add(kept)

    bench.run(test)
    assert outcomes == {0, packets}


def test_a_restart_at_any_moment_of_the_end() -> None:
    """Nothing of the old life is told in the new one, whose entries have their own time."""
    bench = Bench(contexts=2, outstanding=2, latency=3)
    timeout = 16

    async def life(delay: int, *, epoch_first: bool) -> None:
        entries = [await bench.allocate(context=0, operation=GET, size=8) for _ in range(2)]
        for entry in entries:
            await bench.leave(entry)
        await bench.tick(delay)
        await bench.restart(0, epoch_first=epoch_first)
        await bench.leave(entries[1])  # of the life that is over
        reports, epoch, begun = len(bench.reports), bench.epochs[0], bench.cycle
        new: list[Entry] = [await bench.allocate(context=0, operation=GET, size=8) for _ in range(2)]
        for entry in new:
            await bench.leave(entry)
        await until_quiet(bench)
        told = [(report.epoch, cycle) for report, (cycle, _) in zip(bench.reports, bench.report_cycles, strict=True)]
        mine = [cycle for life_of, cycle in told[reports:] if life_of == epoch]
        assert len(mine) == 2
        assert all(cycle >= begun + timeout for cycle in mine)

    async def test() -> None:
        bench.ctx.set(bench.block.timeout, timeout)
        for delay in range(timeout, 2 * timeout + 16):
            await life(delay, epoch_first=bool(delay % 2))

    bench.run(test)


def test_what_left_in_a_former_life_is_not_taken_for_what_is_being_sent_in_this_one() -> None:
    """Handles and generations that a restart has outrun are given out again."""
    bench = Bench(contexts=2, outstanding=2)

    async def test() -> None:
        bench.ctx.set(bench.block.timeout, 20)
        await bench.restart(0, epoch_first=True)
        entry = await bench.allocate(context=0, operation=GET, size=8)
        await bench.leave(dataclasses.replace(entry, epoch=0))
        await bench.tick(200)
        assert bench.timed_out == 0
        await bench.leave(entry)
        await until_quiet(bench)
        bench.expected.expire(entry, bench.jid(0))

    bench.run(test)
    bench.judge()


def test_random_silence_among_responses() -> None:
    """Every request is told of once, whether its response comes soon, late or never."""
    bench = Bench(contexts=3, outstanding=4, stall=0.3, latency=8, seed=5)
    source = random.Random(5)
    made: list[int] = []

    async def test() -> None:
        bench.ctx.set(bench.block.timeout, 150)
        for number in range(120):
            entry = await bench.allocate(context=source.randrange(3), operation=GET, size=64, user_data=number)
            made.append(number)
            await bench.leave(entry)
            if source.random() < 0.6:
                bench.background.append(reply(entry, bytes(64), 64)[0])
            await bench.tick(source.randrange(30))
        await until_quiet(bench)

    bench.run(test)
    assert sorted(report.event["user_data"] for report in bench.reports if report.event) == made
    assert bench.timed_out > 20
    assert bench.collected > 20
    assert bench.timed_out + bench.collected == len(made)
