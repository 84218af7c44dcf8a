"""Who waits for whom, how long, and what becomes of messages that cannot go on."""

import random
from itertools import pairwise
from typing import Any

import pytest

from rtl.nic.initiator.departures import PACKETS
from rtl.nic.initiator.handover import LIGHT_BYTES
from rtl.portals import EventKind, Fail, Operation, Refusal
from tests.rtl.nic_initiator_bench import simulate
from tests.rtl.nic_issue_bench import MTU, IssueBench, Job, window_base
from tests.rtl.quiescence import QuiescenceJudge

PT_DISABLE = Operation.PT_DISABLE


def packets(bench: IssueBench, context: int) -> list[Job]:
    return [job for job in bench.jobs if job.context == context]


def events(bench: IssueBench, context: int) -> list[tuple[int, int]]:
    """(user data, fail) of each."""
    told = [report.event for report in bench.of(context) if report.event]
    return [(event.get("user_data", 0), event.get("fail", 0)) for event in told]


def segments(jobs: list[Job]) -> list[tuple[int, int, int, int]]:
    """(offset, payload, last, aborted) of each packet."""
    names = ("segment_offset", "payload_bytes", "last", "aborted")
    return [tuple(job.header[name] for name in names) for job in jobs]  # type: ignore[misc]


async def until(bench: IssueBench, ctx: Any, judge: QuiescenceJudge, condition: Any) -> None:
    for _ in range(2000):
        if condition():
            return
        await bench.step(ctx, judge)
    raise AssertionError("it has not come to that after 2000 cycles")


def play(bench: IssueBench, script: Any) -> None:
    async def test(ctx: Any, judge: QuiescenceJudge) -> None:
        bench.configure(ctx)
        await bench.step(ctx, judge)
        await script(ctx, judge)

    simulate(bench.issue, test)


# ---- cycles ----


@pytest.mark.parametrize(("datapath_bits", "send_cycles"), [(64, 9), (128, 5)])
def test_cycles_of_small_puts(datapath_bits: int, send_cycles: int) -> None:
    """From `available` to the job at most 7, from packet to packet at most 12: as fast as the sender takes them."""
    bench = IssueBench(contexts=2, datapath_bits=datapath_bits)
    bench.send_cycles = send_cycles
    begun = []

    async def script(ctx: Any, judge: QuiescenceJudge) -> None:
        await bench.run(ctx, judge)
        begun.append(bench.cycle)
        bench.post(1, length_bytes=8)
        await bench.run(ctx, judge)
        for _ in range(8):
            bench.post(1, length_bytes=8, event_send_disable=1)
        await bench.run(ctx, judge)

    play(bench, script)
    assert bench.jobs[0].shown - begun[0] <= 7
    shown = [job.shown for job in bench.jobs[1:]]
    periods = [after - before for before, after in pairwise(shown)]
    assert max(periods) <= (10 if datapath_bits == 64 else 7)


def test_one_context_does_not_wait_for_more_than_one_packet_of_another() -> None:
    """A large put, small ones of another context, and a third that keeps the issuer busy with refused commands."""
    bench = IssueBench(contexts=3)
    bench.processes[2].places = 10**6
    posted: list[int] = []

    async def script(ctx: Any, judge: QuiescenceJudge) -> None:
        bench.post(0, length_bytes=MTU * 60)
        source = random.Random(4)
        for _ in range(8):
            for _ in range(source.randrange(30, 60)):
                if len(bench.processes[2].commands) < 4:
                    bench.post(2, operation=0)
                await bench.step(ctx, judge)
            posted.append(bench.cycle)
            bench.post(1, length_bytes=8)
        await bench.run(ctx, judge)

    play(bench, script)
    small = packets(bench, 1)
    assert len(small) == 8
    assert segments(packets(bench, 0)) == [(i * MTU, MTU, int(i == 59), 0) for i in range(60)]
    for job, cycle in zip(small, posted, strict=True):
        before = [other for other in packets(bench, 0) if cycle < other.shown < job.shown]
        assert len(before) <= 1
    assert len(list(bench.of(2))) > 20


def test_a_packet_is_chosen_when_the_sender_is_lean() -> None:
    """Until then a command of whom else comes has its turn as well, and what sends nothing goes past."""
    bench = IssueBench(contexts=3)

    async def script(ctx: Any, judge: QuiescenceJudge) -> None:
        bench.lean = False
        bench.post(0, length_bytes=MTU * 4)
        for _ in range(60):
            await bench.step(ctx, judge)
        bench.post(1, length_bytes=8)
        bench.post(2, operation=0)
        for _ in range(60):
            await bench.step(ctx, judge)
        assert not bench.jobs
        assert len(list(bench.of(2))) == 1
        bench.lean = True
        await bench.run(ctx, judge)

    play(bench, script)
    assert {job.context for job in bench.jobs[:2]} == {0, 1}
    assert len(packets(bench, 0)) == 4


@pytest.mark.parametrize(("size", "ahead"), [(LIGHT_BYTES, 2), (LIGHT_BYTES + 1, 1)])
def test_behind_a_large_packet_none_is_chosen_before_it_was_taken(size: int, ahead: int) -> None:
    assert size < MTU
    bench = IssueBench(contexts=2)
    bench.blocked = True

    async def script(ctx: Any, judge: QuiescenceJudge) -> None:
        for _ in range(4):
            bench.post(0, length_bytes=size)
        for _ in range(60):
            await bench.step(ctx, judge)
        bench.post(1, length_bytes=8)
        for _ in range(60):
            await bench.step(ctx, judge)
        bench.blocked = False
        await bench.run(ctx, judge)

    play(bench, script)
    assert [job.context for job in bench.jobs].index(1) == ahead


def test_three_large_puts_take_turns() -> None:
    bench = IssueBench(contexts=3)

    async def script(ctx: Any, judge: QuiescenceJudge) -> None:
        for context in range(3):
            bench.post(context, length_bytes=MTU * 10)
        await bench.run(ctx, judge)

    play(bench, script)
    for turn in range(0, 30, 3):
        assert {job.context for job in bench.jobs[turn : turn + 3]} == {0, 1, 2}


# ---- waiting ----


def test_what_waits_holds_up_nobody_and_lets_the_clock_stop() -> None:
    bench = IssueBench(contexts=4)
    no_places, no_entries, no_answer, free = range(4)

    async def script(ctx: Any, judge: QuiescenceJudge) -> None:
        bench.processes[no_places].places = 0
        bench.processes[no_entries].entries = 0
        bench.list_waits.add(77)
        bench.post(no_places, length_bytes=8)
        bench.post(no_entries, operation=Operation.GET, length_bytes=8)
        bench.post(no_answer, words=[PT_DISABLE, 0, 0, 0, 0, 0, 77, 0])
        bench.post(no_answer, length_bytes=8)
        for _ in range(5):
            bench.post(free, length_bytes=8)
        await until(bench, ctx, judge, lambda: len(events(bench, free)) == 5)
        for user_data in (78, 79):  # beside the other list command
            bench.post(free, words=[PT_DISABLE, 0, 0, 0, 0, 0, user_data, 0])
        await until(bench, ctx, judge, lambda: len(list(bench.of(free))) == 7)
        quiet = judge.quiet_edges
        for _ in range(30):
            await bench.step(ctx, judge)
        assert judge.quiet_edges > quiet + 10
        assert [owner for owner, _ in bench.lists] == [free] * 2
        assert bench.deferrals == 1, "what waits is not offered before it would get on"
        assert [job.context for job in bench.jobs] == [free] * 5
        bench.processes[no_places].places = 1
        bench.processes[no_entries].entries = 1
        bench.list_waits.clear()
        await bench.run(ctx, judge)

    play(bench, script)
    assert [owner for owner, _ in bench.lists] == [free, free, no_answer]
    assert [len(packets(bench, context)) for context in range(4)] == [1, 1, 1, 5]
    assert [len(list(bench.of(context))) for context in range(4)] == [1, 1, 2, 7]


def test_a_blocked_sender_holds_up_no_command_that_needs_it_not() -> None:
    bench = IssueBench(contexts=3)
    bench.blocked = True

    async def script(ctx: Any, judge: QuiescenceJudge) -> None:
        for _ in range(4):
            bench.post(0, length_bytes=MTU * 2)
        bench.post(1, words=[PT_DISABLE, 0, 0, 0, 0, 0, 1, 0])
        bench.post(1, operation=0)
        bench.post(1, words=[Operation.COUNTER_SET | 3 << 32, 0, 5, 6, 0, 0, 2, 0])
        bench.post(2, length_bytes=8)
        await until(bench, ctx, judge, lambda: len(list(bench.of(1))) == 3)
        assert not bench.jobs
        bench.blocked = False
        await bench.run(ctx, judge)

    play(bench, script)
    assert [told.counter for told in bench.of(1)] == [None, None, (3, 1, 5, 6)]
    assert [told.refusal for told in bench.of(1)] == [None, (Refusal.COMMAND_MALFORMED, 1), None]
    assert len(bench.jobs) == 9


def test_of_two_places_the_first_is_kept_while_the_second_is_waited_for() -> None:
    bench = IssueBench(contexts=2)
    process = bench.processes[0]

    async def script(ctx: Any, judge: QuiescenceJudge) -> None:
        process.places = 1
        bench.post(0, operation=Operation.GET, length_bytes=8)
        quiet = judge.quiet_edges
        for _ in range(40):
            await bench.step(ctx, judge)
        assert judge.quiet_edges > quiet + 20
        assert process.reserved == 1
        assert not bench.opened
        process.places = 2
        await bench.run(ctx, judge)
        await until(bench, ctx, judge, lambda: not process.open_entries)
        bench.restart(0)
        process.places = 1
        await bench.step(ctx, judge)
        bench.post(0, operation=Operation.GET, length_bytes=8)
        await until(bench, ctx, judge, lambda: process.reserved == 1)
        for _ in range(10):
            await bench.step(ctx, judge)
        bench.restart(0)  # what was kept is forgotten
        await bench.step(ctx, judge)
        bench.post(0, length_bytes=8)
        await bench.run(ctx, judge)

    play(bench, script)
    assert len(bench.opened) == 1
    assert process.reserved == 0
    assert [job.header["kind"] for job in bench.jobs] == [Operation.GET, Operation.PUT]


@pytest.mark.parametrize("places", [1, 2])
@pytest.mark.parametrize("cycles", range(12))
def test_who_restarts_takes_no_place_that_is_kept_for_another(places: int, cycles: int) -> None:
    """Neither in the cycle in which the place is taken, nor in the one in which its command begins and gives it up."""
    bench = IssueBench(contexts=2)
    process = bench.processes[0]

    async def script(ctx: Any, judge: QuiescenceJudge) -> None:
        process.places = 1
        bench.post(0, operation=Operation.GET, length_bytes=8)
        if places == 2:
            await until(bench, ctx, judge, lambda: process.reserved == 1)
            process.places = 2
        for _ in range(cycles):
            await bench.step(ctx, judge)
        bench.restart(1)
        for _ in range(30):
            await bench.step(ctx, judge)
        process.places = 2
        await bench.run(ctx, judge)
        await until(bench, ctx, judge, lambda: not process.open_entries)
        bench.post(0, operation=Operation.GET, length_bytes=8)
        await bench.run(ctx, judge)
        await until(bench, ctx, judge, lambda: not process.open_entries)

    play(bench, script)
    assert len(bench.opened) == 2
    assert process.reserved == 0


def test_what_sends_nothing_waits_for_what_was_sent_before_it_and_is_waited_for() -> None:
    bench = IssueBench(contexts=2)
    bench.leave_cycles = 50

    async def script(ctx: Any, judge: QuiescenceJudge) -> None:
        bench.post(0, length_bytes=8, user_data=1)
        bench.post(0, words=[PT_DISABLE, 0, 0, 0, 0, 0, 2, 0])
        bench.post(0, length_bytes=8, user_data=3)
        bench.post(0, operation=0, user_data=4)
        await until(bench, ctx, judge, lambda: bench.lists)
        assert events(bench, 0) == [(1, Fail.OK)]
        assert len(bench.jobs) == 1
        await bench.run(ctx, judge)

    play(bench, script)
    assert events(bench, 0) == [(1, Fail.OK), (3, Fail.OK), (4, Refusal.COMMAND_MALFORMED)]
    assert [told.retired for told in bench.of(0)] == [False, False, False, True]


def test_no_more_packets_are_handed_over_than_can_be_accounted_for() -> None:
    bench = IssueBench(contexts=1)
    bench.send_cycles, bench.leave_cycles = 1, 400
    bench.processes[0].places = 2 * PACKETS

    async def script(ctx: Any, judge: QuiescenceJudge) -> None:
        for index in range(2 * PACKETS):
            bench.post(0, length_bytes=8, user_data=index)
        await until(bench, ctx, judge, lambda: bench.jobs)
        for _ in range(390):
            await bench.step(ctx, judge)
        assert len(bench.jobs) == PACKETS
        bench.leave_cycles = 5
        await bench.run(ctx, judge)

    play(bench, script)
    assert events(bench, 0) == [(index, Fail.OK) for index in range(2 * PACKETS)]


# ---- messages that cannot go on ----

LONG = {"length_bytes": 6 * MTU, "user_data": 5, "ct_send": 1, "counter": 2, "ack_request": 1}


def test_a_window_that_closes_ends_the_message() -> None:
    bench = IssueBench(contexts=2)

    async def script(ctx: Any, judge: QuiescenceJudge) -> None:
        bench.post(0, **LONG)
        bench.post(0, length_bytes=0, user_data=6)
        await until(bench, ctx, judge, lambda: len(bench.jobs) == 2)
        bench.close(ctx, 0)
        await bench.run(ctx, judge)

    play(bench, script)
    *whole, (offset, payload_bytes, last, aborted) = segments(packets(bench, 0)[:-1])
    assert whole == [(i * MTU, MTU, 0, 0) for i in range(len(whole))]
    assert 2 <= len(whole) < 6
    assert (offset, payload_bytes, last, aborted) == (len(whole) * MTU, 0, 1, 1)
    assert {job.header["handle"] for job in packets(bench, 0)[:-1]} == {bench.opened[0]["handle"]}
    assert events(bench, 0) == [(5, Fail.SEGMENT), (6, Fail.OK)]
    assert [told.counter for told in bench.of(0)] == [(2, 0, 0, 1), None]


def test_a_context_that_is_disabled_ends_its_message_and_begins_none() -> None:
    bench = IssueBench(contexts=2)

    async def script(ctx: Any, judge: QuiescenceJudge) -> None:
        bench.post(0, **LONG)
        bench.post(0, length_bytes=8)
        await until(bench, ctx, judge, lambda: len(bench.jobs) == 2)
        bench.processes[0].active = False
        for _ in range(150):
            await bench.step(ctx, judge)
        assert judge.quiet_edges > 20

    play(bench, script)
    assert segments(packets(bench, 0))[-1][1:] == (0, 1, 1)
    assert 3 <= len(bench.jobs) <= 4
    assert events(bench, 0) == [(5, Fail.SEGMENT)]


@pytest.mark.parametrize("delay", range(1, 6))
def test_a_context_that_is_disabled_before_its_command_begins_keeps_it(delay: int) -> None:
    bench = IssueBench(contexts=1)

    async def script(ctx: Any, judge: QuiescenceJudge) -> None:
        bench.post(0, words=[Operation.COUNTER_SET, 0, 5, 6, 0, 0, 2, 0])
        for _ in range(delay):
            await bench.step(ctx, judge)
        bench.processes[0].active = False
        for _ in range(20):
            await bench.step(ctx, judge)

    play(bench, script)
    assert len(bench.processes[0].commands) == 1
    assert not bench.told


@pytest.mark.parametrize("length_bytes", [6 * MTU, 3 * MTU])
def test_a_restart_ends_the_message_and_forgets_it(length_bytes: int) -> None:
    """With three packets the last one waits ahead of the sender when its context is restarted."""
    bench = IssueBench(contexts=2)

    async def script(ctx: Any, judge: QuiescenceJudge) -> None:
        bench.post(0, **{**LONG, "length_bytes": length_bytes, "dst_pid": 0x77})
        bench.post(0, length_bytes=8)
        await until(bench, ctx, judge, lambda: len(bench.jobs) == 1)
        for _ in range(8):
            await bench.step(ctx, judge)
        bench.restart(0)
        await bench.step(ctx, judge)
        bench.post(0, length_bytes=8, user_data=9, dst_pid=0x88)
        await bench.run(ctx, judge)

    play(bench, script)
    *old, new = packets(bench, 0)
    assert segments(old) == [(0, MTU, 0, 0), (MTU, MTU, 0, 0), (2 * MTU, 0, 1, 1)]
    assert all(job.header["dst_pid"] == 0x77 for job in old)
    assert [job.resume for job in [*old, new]] == [False, True, True, False]
    assert new.header["dst_pid"] == 0x88
    assert events(bench, 0) == [(9, Fail.OK)]
    assert [told.retired for told in bench.of(0)] == [False]


@pytest.mark.parametrize("length_bytes", [8, 6 * MTU])
@pytest.mark.parametrize("again", [True, False])
def test_a_message_whose_context_dies_before_the_sender_has_seen_it_is_not_sent(length_bytes: int, again: bool) -> None:
    """Its identity would be the next process's."""
    bench = IssueBench(contexts=2)
    bench.blocked = True

    async def script(ctx: Any, judge: QuiescenceJudge) -> None:
        bench.post(1, length_bytes=8)
        await until(bench, ctx, judge, lambda: ctx.get(bench.issue.o_job.valid))
        bench.post(0, length_bytes=length_bytes)
        for _ in range(20):
            await bench.step(ctx, judge)
        assert not bench.processes[0].commands, "it is handed over"
        if again:
            bench.restart(0)
            await bench.step(ctx, judge)
            bench.post(0, length_bytes=8, user_data=9)
        else:
            bench.processes[0].active = False
        bench.blocked = False
        await bench.run(ctx, judge)

    play(bench, script)
    assert [job.context for job in bench.jobs] == ([1, 0] if again else [1])
    assert all(job.life == bench.processes[job.context].life for job in bench.jobs)
    assert events(bench, 0) == ([(9, Fail.OK)] if again else [(0, Fail.SEGMENT)])


@pytest.mark.parametrize("bad", range(6))
def test_memory_that_fails_ends_the_message_without_another_packet(bad: int) -> None:
    bench = IssueBench(contexts=2)
    bench.bad.add(window_base(0, 0) + bad * MTU)

    async def script(ctx: Any, judge: QuiescenceJudge) -> None:
        bench.post(0, **LONG)
        bench.post(0, length_bytes=6 * MTU, local_offset=6 * MTU, user_data=6)
        await bench.run(ctx, judge)

    play(bench, script)
    jobs = packets(bench, 0)
    begins = [index for index, job in enumerate(jobs) if not job.resume]
    assert len(begins) == 2
    first = segments(jobs[: begins[1]])
    assert first == [(i * MTU, MTU, int(i == 5), 0) for i in range(len(first))]
    assert bad < len(first) <= bad + 5
    assert segments(jobs[begins[1] :]) == [(i * MTU, MTU, int(i == 5), 0) for i in range(6)]
    assert events(bench, 0) == [(5, Fail.SEGMENT), (6, Fail.OK)]
    assert [told.counter for told in bench.of(0)] == [(2, 0, 0, 1), None]
    assert bench.processes[0].reserved == sum(entry["place"] for entry in bench.processes[0].open_entries)


# ---- everything at once ----


def judge_messages(jobs: list[Job]) -> None:
    """Each message of a context is whole, or ended, or was given up when a packet of it failed or its context died."""
    messages: list[list[Job]] = []
    for job in jobs:
        if job.resume:
            messages[-1].append(job)
        else:
            messages.append([job])
    for index, message in enumerate(messages):
        total = message[0].header["message_bytes"]
        for number, job in enumerate(message):
            header = job.header
            assert header["segment_offset"] == number * MTU
            assert header["message_bytes"] == total
            assert header["first"] == (number == 0)
            if header["aborted"]:
                assert (header["last"], header["payload_bytes"], number > 0) == (1, 0, True)
            elif header["kind"] == Operation.PUT:
                assert header["payload_bytes"] == min(MTU, total - number * MTU)
                assert header["last"] == (number * MTU + MTU >= total)
            assert header["last"] == (job is message[-1]) or any(packet.failed for packet in message)
        assert not message[0].header["aborted"]
        assert index == len(messages) - 1 or message[-1].header["last"] or any(packet.failed for packet in message)


@pytest.mark.parametrize(("seed", "places"), [(0, 8), (1, 3), (75, 2)])
def test_lives_and_windows_end_at_any_time(seed: int, places: int) -> None:
    """Each life's reports come once, in order, and without a gap; places are neither lost nor used twice."""
    bench = IssueBench(contexts=3, seed=seed, stall=0.2)
    bench.send_cycles, bench.list_defers = 4, 0.7
    for process in bench.processes:
        process.places = places
    source = random.Random(seed)
    bench.bad = {window_base(context, 0) + source.randrange(8) * MTU for context in range(3)}

    async def script(ctx: Any, judge: QuiescenceJudge) -> None:
        for _ in range(900):
            process = source.choice(bench.processes)
            draw = source.random()
            if draw < 0.03:
                process.active = False
            if draw < 0.05 or (not process.active and draw < 0.3):
                process.active = True
                bench.closed = {(c, w) for c, w in bench.closed if c != process.number}
                bench.configure(ctx)
                bench.restart(process.number)
            elif draw < 0.06:
                bench.close(ctx, process.number)
            elif draw < 0.2 and process.active and len(process.commands) < 4:
                user_data = process.life << 32 | process.posted + 1
                if draw < 0.08:
                    bench.post(process.number, operation=source.choice([0, 32]), user_data=user_data)
                elif draw < 0.12:
                    bench.post(process.number, words=[PT_DISABLE, 0, 0, 0, 0, 0, user_data, 0])
                    bench.list_refusals[user_data] = Refusal.COMMAND_ENTRY
                else:
                    fields = {"local_offset": MTU * source.randrange(8), "ack_request": source.randrange(3)}
                    length_bytes = source.choice([8, 300, 700])
                    marks = {"user_data": user_data, "match_bits": user_data}
                    bench.post(process.number, length_bytes=length_bytes, **marks, **fields)
            await bench.step(ctx, judge)
        for process in bench.processes:
            process.active = True
        await bench.run(ctx, judge)
        for process in bench.processes:
            await until(bench, ctx, judge, lambda process=process: not process.open_entries)

    play(bench, script)
    for process in bench.processes:
        judge_messages(packets(bench, process.number))
        told = list(bench.of(process.number))
        assert all(report.retired is not None for report in told)
        for life in range(process.life + 1):
            reports = [report for report in told if report.life == life]
            for index, event in enumerate(report.event for report in reports):
                assert event is None or event["user_data"] == life << 32 | index + 1, "out of order"
        assert len(reports) == process.posted
        judge_fails(packets(bench, process.number), [report.event for report in told if report.event])
        assert process.reserved == 0
    assert len({job.life for job in bench.jobs}) > 3
    assert bench.deferrals > 10


def judge_fails(jobs: list[Job], told: list[dict[str, int]]) -> None:
    """SEND says SEGMENT if a packet of the message failed, if it was aborted, and if it was not sent at all."""
    for event in told:
        if event["kind"] == EventKind.SEND:
            message = [job for job in jobs if job.header["match_bits"] == event["user_data"]]
            bad = not message or any(job.failed or job.header["aborted"] for job in message)
            assert event.get("fail", 0) == (Fail.SEGMENT if bad else Fail.OK)
