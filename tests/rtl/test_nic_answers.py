# amaranth: UnusedElaboratable=no
"""Responses: their packets, what their end is told, what stops them, and that none holds up the others."""

import random
from itertools import pairwise
from typing import Any

import pytest

from rtl.nic.target.reply_flights import MOST_IN_FLIGHT
from rtl.packets import RESPONSE, PacketKind
from rtl.portals import EVENT, EventKind, Fail
from tests.rtl.nic_answers_bench import CLOSED, OPEN, WINDOW_BYTES, AnswersBench, Owed, window_base

MTU = 64
HEADER = {"dst_nid": 1, "dst_pid": 0x102, "pt_index": 7, "remote_offset": 0xABCD, "generation": 9, "list": 1}
EVENT_FIELDS = {"kind": EventKind.GET, "requested_bytes": 999, "manipulated_bytes": 320, "user_data": 0x1234_5678}
UNLINK = {"kind": EventKind.AUTO_UNLINK, "user_data": 77}


def reply(handle: int, size: int, **options: Any) -> Owed:
    header = HEADER | {"handle": handle, "manipulated_bytes": size} | options.pop("header", {})
    return Owed(header=header, **options)


def ack(handle: int, **options: Any) -> Owed:
    header = HEADER | {"handle": handle, "manipulated_bytes": 0x0123_4567, "silent": 1} | options.pop("header", {})
    return Owed(kind=PacketKind.ACK, header=header, **options)


def random_fields(generator: random.Random, record: Any, leave: set[str]) -> dict[str, int]:
    return {field.name: generator.getrandbits(field.width) for field in record if field.name not in leave}


def give_all(bench: AnswersBench, owed: list[Owed]) -> None:
    async def test() -> None:
        for one in owed:
            await bench.give(one)
        await bench.settle()

    bench.run(test)


TRUSTED = {"src_nid", "src_pid", "jid", "lane", "sequence"}
FILLED_IN = {"kind", "payload_bytes", "segment_offset", "last"}


def test_an_acknowledgement_is_one_packet_with_the_fields_it_was_given() -> None:
    generator = random.Random(1)
    owed = [
        Owed(kind=PacketKind.ACK, context=index % 2, header=random_fields(generator, RESPONSE, TRUSTED | FILLED_IN))
        for index in range(6)
    ]
    bench = AnswersBench()
    give_all(bench, owed)
    assert [job["context"] for job in bench.jobs] == [0, 1] * 3
    for one in owed:
        assert bench.headers(one.handle) == one.packets(MTU)
    assert bench.told == []


@pytest.mark.parametrize("size", [0, 1, MTU - 1, MTU, MTU + 1, 3 * MTU, 5 * MTU + 17, WINDOW_BYTES])
def test_a_reply_is_cut_into_packets_of_the_mtu(size: int) -> None:
    generator = random.Random(size)
    header = random_fields(generator, RESPONSE, TRUSTED | FILLED_IN | {"manipulated_bytes"})
    owed = Owed(
        context=1, header=header | {"manipulated_bytes": size}, offset=generator.randint(0, WINDOW_BYTES - size)
    )
    bench = AnswersBench()
    give_all(bench, [owed])
    assert bench.headers(owed.handle) == owed.packets(MTU)
    assert {job["context"] for job in bench.jobs} == {1}


@pytest.mark.parametrize("size", [4, 24, 64])
def test_a_reply_of_data_at_hand_looks_at_no_window(size: int) -> None:
    data = random.Random(size).randbytes(size)
    owed = reply(3, size, data=data, window=CLOSED, offset=1 << 40)
    bench = AnswersBench()
    give_all(bench, [owed])
    assert bench.headers(3) == owed.packets(MTU)
    assert bench.inline == [data]


REFUSED = {
    "beyond the end by one byte": {"offset": WINDOW_BYTES - 3 * MTU + 1},
    "far beyond": {"offset": (1 << 48) - 1},
    "without the right": {"window": CLOSED},
    "without a window": {"window": 2},
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_range_that_may_not_be_read_is_refused_as_a_whole(name: str) -> None:
    owed = reply(5, 3 * MTU, event=EVENT_FIELDS, unlink=UNLINK, counter=(4, 3 * MTU, 0), **REFUSED[name])
    bench = AnswersBench()
    give_all(bench, [owed])
    refusal = {"manipulated_bytes": 0, "fail": Fail.SEGMENT, "last": 1, "address": 0}
    assert bench.headers(5) == [dict.fromkeys(RESPONSE.fields, 0) | owed.header | {"kind": 64} | refusal]
    assert bench.told == owed.reports(failed=True)


def test_an_answer_without_payload_looks_at_no_window() -> None:
    bench = AnswersBench()
    owed = [reply(1, 0, header={"fail": Fail.DROPPED}, window=CLOSED), ack(2, header={"fail": Fail.OPERATION})]
    give_all(bench, owed)
    for one in owed:
        assert bench.headers(one.handle) == one.packets(MTU)


def close_window(bench: AnswersBench) -> None:
    bench.ctx.set(bench.block.contexts[0].window_remote_read[OPEN], 0)


def shrink_window(bench: AnswersBench) -> None:
    bench.ctx.set(bench.block.contexts[0].window_bytes[OPEN], 6 * MTU - 1)


@pytest.mark.parametrize("change", [close_window, shrink_window])
def test_a_reply_that_may_not_go_on_ends_with_a_packet_that_says_so(change: Any) -> None:
    owed = reply(5, 6 * MTU, event=EVENT_FIELDS, unlink=UNLINK, counter=(4, 6 * MTU, 0))
    other = reply(6, 6 * MTU, context=1, event=EVENT_FIELDS)
    bench = AnswersBench(stall=0.3)

    async def test() -> None:
        await bench.give(owed)
        await bench.give(other)
        while len(bench.headers(5)) < 2:
            await bench.ctx.tick()
        change(bench)
        await bench.settle()

    bench.run(test)
    *before, end = bench.headers(5)
    # The packet that was being offered when the change came still goes.
    assert 2 <= len(before) <= 3
    assert before == owed.packets(MTU)[: len(before)]
    unlike = {"payload_bytes": 0, "last": 1, "address": 0, "fail": Fail.SEGMENT}
    assert end == owed.packets(MTU)[len(before)] | unlike
    assert [told for told in bench.told if told[0] == 0] == owed.reports(failed=True)
    assert bench.headers(6) == other.packets(MTU)
    assert [told for told in bench.told if told[0] == 1] == other.reports(failed=False)


def disable(bench: AnswersBench) -> None:
    bench.ctx.set(bench.block.states[0].active, 0)


def restart(bench: AnswersBench) -> None:
    bench.ctx.set(bench.block.states[0].epoch, 8)


@pytest.mark.parametrize("change", [disable, restart])
@pytest.mark.parametrize("cycles", range(1, 13))
def test_nothing_is_said_for_a_life_that_is_over(change: Any, cycles: int) -> None:
    """Neither by replies, small ones that are at hand, nothing to read, or begun, nor by acknowledgements; what others
    owe goes out, and the processes are told of what was cut short."""
    told = {"event": EVENT_FIELDS, "counter": (4, 6 * MTU, 0)}
    replies = [reply(5, 6 * MTU, **told), reply(6, 8, data=bytes(8), **told), reply(7, 0, **told)]
    others = [reply(20, 6 * MTU, context=1, **told), ack(21, context=1), ack(22, context=1)]
    bench = AnswersBench(replies=8, ahead=1)
    job = bench.block.o_job

    def offers() -> int:
        return int(bench.ctx.get(job.valid & (job.context == 0)))

    async def test() -> None:
        await bench.force(replies[0])
        await bench.force(others[0])
        while len(bench.headers(5)) < 2:
            await bench.ctx.tick()
        bench.ahead = 0
        for one in (*replies[1:], ack(8), others[1], ack(9), others[2]):
            await bench.force(one)
        bench.ahead = 1
        await bench.ctx.tick().repeat(cycles)
        change(bench)
        may_offer = 1  # the packet that was being offered when the change came still goes
        for _ in range(150):
            may_offer &= offers()
            assert may_offer or not offers()
            await bench.ctx.tick()
        await bench.settle()
        # All places are free again.
        assert bench.ctx.get(bench.block.i_answer.ack_ready)
        assert bench.ctx.get(bench.block.i_answer.reply_ready)

    bench.run(test)
    for one in others:
        assert bench.headers(one.handle) == one.packets(MTU)
    for one in replies:
        made = bench.headers(one.handle)
        assert made == one.packets(MTU)[: len(made)]
        complete = len(made) == len(one.packets(MTU))
        assert [words for words in bench.told if words in one.reports(failed=not complete)]
    assert len([words for words in bench.told if words[0] == 0]) == len(replies)


@pytest.mark.parametrize("bad", [0, 2, 5])
def test_a_packet_whose_payload_cannot_be_read_is_the_last_one(bad: int) -> None:
    owed = reply(5, 6 * MTU, event=EVENT_FIELDS, counter=(4, 6 * MTU, 0))
    bench = AnswersBench(done_cycles=2, ahead=2)
    bench.fails = lambda job: job["segment_offset"] == bad * MTU
    give_all(bench, [owed])
    made = bench.headers(5)
    assert bad + 1 <= len(made) <= min(bad + 3, 6)  # those that were made before it was known
    assert made == owed.packets(MTU)[: len(made)]
    assert bench.told == owed.reports(failed=True)


def test_failures_of_several_replies_end_these_and_no_other() -> None:
    """Also when the packets of all leave in cycles that follow each other."""
    owed = [
        reply(number, 6 * MTU, context=number % 2, event=EVENT_FIELDS | {"header_data": number}) for number in range(6)
    ]
    failing = {1: 0, 2: 1, 4: 5}  # handle: number of the packet that memory does not give
    bench = AnswersBench(replies=8, ahead=100)
    bench.fails = lambda job: job["segment_offset"] == failing.get(job["handle"], -1) * MTU
    bench.flowing = False

    async def test() -> None:
        for one in owed:
            await bench.give(one)
        await bench.ctx.tick().repeat(120)
        bench.flowing = True
        await bench.settle()

    bench.run(test)
    for one in owed:
        made = bench.headers(one.handle)
        bad = failing.get(one.handle, 5)
        assert bad + 1 <= len(made) <= 6
        assert made == one.packets(MTU)[: len(made)]
    assert len(bench.headers(1)) < 6
    expected = [told for one in owed for told in one.reports(failed=one.handle in failing)]
    assert sorted(map(str, bench.told)) == sorted(map(str, expected))


def test_a_reply_knows_nothing_of_the_one_that_was_in_its_slot_before() -> None:
    bench = AnswersBench(replies=1, done_cycles=2, ahead=2)
    slots = 5
    bench.fails = lambda job: job["handle"] < slots and job["segment_offset"] == 0
    owed = [reply(number, 3 * MTU, event=EVENT_FIELDS | {"header_data": number}) for number in range(2 * slots)]

    async def test() -> None:
        for one in owed:
            await bench.give(one)
            await bench.settle()

    bench.run(test)
    assert bench.told == [told for one in owed for told in one.reports(failed=one.handle < slots)]
    for one in owed[slots:]:
        assert bench.headers(one.handle) == one.packets(MTU)


def test_a_failure_is_known_whenever_another_reply_begins() -> None:
    bench = AnswersBench(replies=2, ahead=4)
    bench.fails = lambda job: job["handle"] % 2 == 0 and job["segment_offset"] == 0

    async def test() -> None:
        for cycles in range(1, 24):
            already = len(bench.told)
            bad, good = (
                reply(2 * cycles + number, 4 * MTU, context=number, event=EVENT_FIELDS | {"header_data": cycles})
                for number in range(2)
            )
            await bench.force(bad)
            await bench.ctx.tick().repeat(cycles)
            await bench.force(good)
            await bench.settle()
            expected = bad.reports(failed=True) + good.reports(failed=False)
            assert sorted(map(str, bench.told[already:])) == sorted(map(str, expected))

    bench.run(test)


@pytest.mark.parametrize("bad", [0, 4, 5])
def test_a_packet_may_fail_when_all_of_its_reply_were_made(bad: int) -> None:
    owed = reply(5, 6 * MTU, event=EVENT_FIELDS, counter=(4, 6 * MTU, 0))
    bench = AnswersBench(done_cycles=60, ahead=100)
    bench.fails = lambda job: job["segment_offset"] == bad * MTU
    give_all(bench, [owed])
    assert bench.headers(5) == owed.packets(MTU)
    assert bench.told == owed.reports(failed=True)


REPORTS: list[dict[str, Any]] = [
    {},
    {"event": EVENT_FIELDS},
    {"unlink": UNLINK},
    {"counter": (3, 1, 0)},
    {"event": EVENT_FIELDS, "counter": (15, 1 << 40, 0)},
    {"event": EVENT_FIELDS, "unlink": UNLINK, "counter": (0, 0, 1)},
    {"event": EVENT_FIELDS, "success_disable": True},
    {"event": EVENT_FIELDS, "success_disable": True, "unlink": UNLINK},
    {"event": EVENT_FIELDS, "success_disable": True, "counter": (2, 5, 0)},
    {"event": EVENT_FIELDS | {"fail": Fail.UNDELIVERABLE}, "success_disable": True},
    {"success_disable": True},
    {"taker": (9, 1), "unexpected": 5},
    {"event": EVENT_FIELDS, "success_disable": True, "taker": (0, 1), "unexpected": 0, "counter": (3, 1, 0)},
    {"event": EVENT_FIELDS | {"fail": Fail.UNDELIVERABLE}, "unlink": UNLINK, "taker": (9, 1), "unexpected": 1023},
    {"event": EVENT_FIELDS, "taker": (1023, 0)},
    {"event": EVENT_FIELDS, "unlink": UNLINK, "taker": (5, 1)},
]


@pytest.mark.parametrize("stall", [0.0, 0.6])
@pytest.mark.parametrize("failed", [False, True])
def test_what_is_told_of_a_reply(failed: bool, stall: float) -> None:
    owed = [
        reply(number, 3 * MTU, context=number % 2, window=CLOSED if failed else OPEN, **options)
        for number, options in enumerate(REPORTS)
    ]
    bench = AnswersBench(stall=stall, replies=1)

    async def test() -> None:
        for one in owed:
            already = len(bench.told)
            await bench.give(one)
            await bench.settle()
            assert bench.told[already:] == one.reports(failed=failed)

    bench.run(test)


def test_every_field_of_an_event_is_told_and_failure_mends_two_of_them() -> None:
    generator = random.Random(2)
    fields = random_fields(generator, EVENT, {"fail"})
    owed = [
        reply(1, MTU, event=fields, unlink=random_fields(generator, EVENT, set())),
        reply(2, 1, window=9, event=fields),
    ]
    bench = AnswersBench()
    give_all(bench, owed)
    assert bench.told == owed[0].reports(failed=False) + owed[1].reports(failed=True)


def test_nothing_is_told_before_the_last_packet_has_left() -> None:
    bench = AnswersBench(done_cycles=30)

    async def test() -> None:
        await bench.give(reply(1, 4 * MTU, event=EVENT_FIELDS, taker=(7, 1), unexpected=3))
        while len(bench.done) < 4:
            assert bench.told == []
            await bench.ctx.tick()
        await bench.settle()
        assert len(bench.told) == 2

    bench.run(test)


def test_replies_take_turns_and_acknowledgements_go_between_them() -> None:
    bench = AnswersBench(replies=4)

    async def test() -> None:
        for number in range(3):
            await bench.force(reply(number, 6 * MTU))
        for number in range(4):
            await bench.force(ack(10 + number))
        await bench.settle()

    bench.run(test)
    order = [job["handle"] for job in bench.jobs]
    assert all(order.count(number) == 6 for number in range(3))
    acks = [at for at, handle in enumerate(order) if handle >= 10]
    assert [order[at] for at in acks] == [10, 11, 12, 13]
    assert {later - before for before, later in pairwise(acks)} == {2}
    turns = [handle for handle in order[acks[0] :] if handle < 10]
    complete = turns[: 3 * (len(turns) // 3)]
    assert all(sorted(complete[at : at + 3]) == [0, 1, 2] for at in range(0, len(complete), 3))


@pytest.mark.parametrize(("replies", "large"), [(4, 2), (32, 20)])
def test_a_small_reply_waits_for_one_packet_of_each_large_one(replies: int, large: int) -> None:
    bench = AnswersBench(replies=replies)

    async def test() -> None:
        for number in range(large):
            await bench.give(reply(1 + number, 8 * MTU))
        while len(bench.jobs) < 2 * large:
            await bench.ctx.tick()
        before = len(bench.jobs)
        await bench.give(reply(100, 8, data=bytes(8)))
        await bench.settle()
        # One packet may have been on offer, and one be chosen in the cycle in which the answer comes.
        assert [job["handle"] for job in bench.jobs].index(100) - before <= large + 2

    bench.run(test)


def test_room_is_promised_for_four_answers_of_each_kind() -> None:
    bench = AnswersBench(replies=2, ahead=0)
    port = bench.block.i_answer
    given: list[Owed] = []

    async def before() -> None:
        """Some places were used before, some never."""
        bench.ahead = 2
        for number in range(3):
            await bench.give(reply(number, 1))
            await bench.settle()
        bench.ahead = 0
        await bench.ctx.tick().repeat(2)

    async def test() -> None:
        await before()
        while bench.ctx.get(port.ack_ready):
            given.append(ack(100 + len(given)))
            await bench.force(given[-1])
        assert len(given) == 5  # four of eight places are free while fewer are taken
        assert bench.ctx.get(port.reply_ready)
        while bench.ctx.get(port.reply_ready):
            given.append(reply(100 + len(given), MTU + 1))
            await bench.force(given[-1])
        assert len(given) == 5 + 3
        for _ in range(3):
            given.append(ack(100 + len(given)))
            await bench.force(given[-1])
            given.append(reply(100 + len(given), MTU + 1))
            await bench.force(given[-1])
        bench.ahead = 2
        await bench.settle()
        assert bench.ctx.get(port.ack_ready)
        assert bench.ctx.get(port.reply_ready)

    bench.run(test)
    for one in given:
        assert bench.headers(one.handle) == one.packets(MTU)


def test_a_large_reply_is_handed_over_without_waiting_for_packets_to_leave() -> None:
    bench = AnswersBench(ahead=100)
    bench.flowing = False

    async def test() -> None:
        await bench.give(reply(1, WINDOW_BYTES))
        await bench.ctx.tick().repeat(100)
        cycles = [job["cycle"] for job in bench.jobs]
        assert len(cycles) == MOST_IN_FLIGHT
        assert {later - before for before, later in pairwise(cycles)} == {5}
        assert bench.ctx.get(bench.block.quiescent)
        bench.flowing = True
        await bench.settle()

    bench.run(test)
    assert len(bench.jobs) == WINDOW_BYTES // MTU


@pytest.mark.parametrize("cycles", range(1, 5))
def test_replies_may_come_in_every_cycle_while_others_take_their_turns(cycles: int) -> None:
    bench = AnswersBench(replies=8)
    owed = [reply(number, 8 * MTU) for number in range(6)]

    async def test() -> None:
        for one in owed[:2]:
            await bench.force(one)
        while len(bench.jobs) < 4:
            await bench.ctx.tick()
        await bench.ctx.tick().repeat(cycles)
        for one in owed[2:]:
            await bench.force(one)
        await bench.settle()

    bench.run(test)
    for one in owed:
        assert bench.headers(one.handle) == one.packets(MTU)


def test_packets_of_several_replies_take_four_cycles_each() -> None:
    bench = AnswersBench()

    async def test() -> None:
        for number in range(2):
            await bench.force(reply(number, 8 * MTU))
        await bench.settle()

    bench.run(test)
    assert [job["handle"] for job in bench.jobs] == [0, 1] * 8
    cycles = [job["cycle"] for job in bench.jobs]
    assert {later - before for before, later in pairwise(cycles)} == {4}


def test_an_acknowledgement_takes_two_cycles() -> None:
    bench = AnswersBench()

    async def test() -> None:
        for number in range(4):
            await bench.force(ack(number))
        await bench.settle()

    bench.run(test)
    cycles = [job["cycle"] for job in bench.jobs]
    assert [cycle - cycles[0] for cycle in cycles] == [0, 2, 4, 6]


@pytest.mark.parametrize("replies", [1, 4, 64])
def test_any_mixture_is_answered_packet_by_packet_and_told_as_it_ends(replies: int) -> None:
    generator = random.Random(replies)
    bench = AnswersBench(replies=replies, stall=0.3, done_cycles=12)
    bench.fails = lambda job: job["handle"] in failing and job["segment_offset"] == 64
    failing = range(0, 80, 5)
    owed: list[Owed] = []
    for number in range(80):
        context = generator.randrange(2)
        if generator.random() < 0.4:
            owed.append(ack(number, context=context))
            continue
        data = generator.randbytes(8) if generator.random() < 0.3 else None
        size = 8 if data else generator.choice([0, 1, 63, 64, 65, 200, 500])
        owed.append(
            reply(
                number,
                size,
                context=context,
                data=data,
                window=generator.choice([OPEN, OPEN, OPEN, CLOSED]),
                offset=generator.randrange(WINDOW_BYTES),
                event=generator.choice([None, EVENT_FIELDS | {"header_data": number}]),
                success_disable=generator.random() < 0.4,
                counter=generator.choice([None, (number % 16, number, 0)]),
                unlink=generator.choice([None, UNLINK | {"header_data": number}]),
                taker=generator.choice([None, (number + 1, 0), (number + 1, 1)]),
                unexpected=generator.choice([None, number]),
            )
        )
    give_all(bench, owed)
    expected = []
    for one in owed:
        packets = one.packets(MTU)
        fails = one.handle in failing and len(packets) > 1
        made = bench.headers(one.handle)
        assert made == packets[: len(made)]
        assert len(made) >= (2 if fails else len(packets))
        if one.kind is PacketKind.REPLY:
            expected += one.reports(failed=fails or packets[0]["fail"] == Fail.SEGMENT)
    assert sorted(map(str, bench.told)) == sorted(map(str, expected))
    sent = [job["address"] for job in bench.jobs if job["address"]]
    assert all(
        any(base <= address < base + WINDOW_BYTES for base in (window_base(0, OPEN), window_base(1, OPEN)))
        for address in sent
    )
