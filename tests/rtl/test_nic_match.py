"""The match unit, by hand-worked cases."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from rtl.nic.parameters import NicParameters
from rtl.portals import LIST_COMMAND, EventKind, Fail, List, Operation, Refusal
from tests.rtl.nic_match_bench import MatchBench, append

SMALL = NicParameters(contexts=2, portal_entries=4, match_entries=8, unexpected_headers=4, counters=4)
MALFORMED, ENTRY = Refusal.COMMAND_MALFORMED, Refusal.COMMAND_ENTRY


def run(test: Callable[[MatchBench], Awaitable[None]], **options: Any) -> MatchBench:
    bench = MatchBench(SMALL, **options)
    bench.run(lambda: test(bench))
    return bench


async def alloc(bench: MatchBench, pt_index: int = 0, context: int = 0, **fields: int) -> None:
    assert await bench.command(context, operation=Operation.PT_ALLOC, pt_index=pt_index, **fields) == Refusal.NONE


async def link(bench: MatchBench, entry: int, context: int = 0, **fields: int) -> None:
    assert await bench.command(context, **append(entry, **fields)) == Refusal.NONE


# Fields of the entry, fields of the message, answers.
RULE: list[tuple[dict[str, int], dict[str, int], dict[str, int]]] = [
    ({}, {}, {"fail": Fail.OK, "window": 2, "start": 0x1000, "bytes": 16, "remote_offset": 0, "user_data": 0x500}),
    ({}, {"match_bits": 0xAA}, {"fail": Fail.DROPPED}),
    ({"ignore_bits": 1}, {"match_bits": 0xAA}, {"fail": Fail.OK}),
    ({"match_bits": 1 << 63}, {"match_bits": 0}, {"fail": Fail.DROPPED}),
    ({"any_nid": 0, "match_nid": 7}, {}, {"fail": Fail.OK}),
    ({"any_nid": 0, "match_nid": 6}, {}, {"fail": Fail.DROPPED}),
    ({"any_pid": 0, "match_pid": 70}, {}, {"fail": Fail.OK}),
    ({"any_pid": 0, "match_pid": 71}, {}, {"fail": Fail.DROPPED}),
    ({}, {"remote_offset": 250}, {"fail": Fail.OK, "start": 0x10FA, "bytes": 6, "remote_offset": 250}),
    ({}, {"remote_offset": 256}, {"fail": Fail.OK, "start": 0x1100, "bytes": 0}),
    ({}, {"remote_offset": (1 << 63) + 5}, {"fail": Fail.OK, "start": 0x1005, "bytes": 0}),
    ({"offset": 2**48 - 16}, {"remote_offset": 16}, {"fail": Fail.OK, "start": 2**48, "bytes": 16}),
    ({"no_truncate": 1}, {"remote_offset": 240}, {"fail": Fail.OK, "bytes": 16}),
    ({"no_truncate": 1}, {"remote_offset": 241}, {"fail": Fail.DROPPED}),
    ({"no_truncate": 1}, {"remote_offset": 300, "message_bytes": 0}, {"fail": Fail.OK, "bytes": 0}),
    ({"manage_local": 1}, {"remote_offset": 99}, {"fail": Fail.OK, "start": 0x1000, "remote_offset": 0}),
    ({"length_bytes": 1 << 47}, {"message_bytes": 1 << 26}, {"fail": Fail.OK, "bytes": 1 << 26}),
    ({"op_put": 0}, {}, {"fail": Fail.OPERATION}),
    ({"op_get": 0}, {"kind": Operation.GET}, {"fail": Fail.OPERATION}),
    ({"op_put": 0}, {"kind": Operation.GET}, {"fail": Fail.OK}),
    ({"op_get": 0}, {"kind": Operation.ATOMIC}, {"fail": Fail.OK}),
    ({"op_get": 0}, {"kind": Operation.FETCH_ATOMIC}, {"fail": Fail.OPERATION}),
    ({"op_put": 0}, {"kind": Operation.SWAP}, {"fail": Fail.OPERATION}),
    ({"event_comm_disable": 1}, {}, {"event": 0, "unlinked": 0}),
    ({"use_once": 1}, {}, {"event": 1, "unlinked": 1}),
    ({"use_once": 1, "event_unlink_disable": 1}, {}, {"event": 1, "unlinked": 0}),
    ({"manage_local": 1, "min_free": 240}, {}, {"unlinked": 0}),
    ({"manage_local": 1, "min_free": 241}, {}, {"unlinked": 1}),
    ({"min_free": 1000}, {}, {"unlinked": 0}),
    ({"counter": 3, "ct_comm": 1}, {}, {"counter": 3, "overflow": 0, "entry_word": 0x0020_8303_0000_0000}),
    ({"list": List.OVERFLOW}, {}, {"fail": Fail.OK, "overflow": 1, "header": 0}),
    ({"list": List.OVERFLOW, "unexpected_header_disable": 1}, {}, {"fail": Fail.OK, "overflow": 1}),
    ({}, {"pt_index": 1}, {"fail": Fail.DROPPED}),
    ({}, {"pt_index": 4}, {"fail": Fail.DROPPED}),
]


def test_an_entry_takes_what_the_rule_says() -> None:
    async def test(bench: MatchBench) -> None:
        for number, (entry, fields, expected) in enumerate(RULE):
            await alloc(bench)
            await link(bench, 0, **entry)
            found = await bench.match(**fields)
            assert {name: found[name] for name in expected} == expected, f"case {number}"
            if found["fail"]:
                assert not any(value for name, value in found.items() if name != "fail"), f"case {number}"
            await bench.restart(0)
            await bench.settle()

    bench = run(test)
    assert bench.counted.count((0, "violated")) == sum(e.get("fail") == Fail.OPERATION for _, _, e in RULE)
    assert bench.counted.count((0, "dropped")) == sum(e.get("fail") == Fail.DROPPED for _, _, e in RULE)


_ALLOC = {"operation": Operation.PT_ALLOC}
_UNLINK = {"operation": Operation.ME_UNLINK}
_OVERFLOW = append(0, list=List.OVERFLOW)
# Commands, and how the last one is answered; a number among them is a message to that portal table entry, which ends.
COMMANDS: list[tuple[list[dict[str, int] | int], Refusal]] = [
    ([_ALLOC], Refusal.NONE),
    ([_ALLOC, _ALLOC], ENTRY),
    ([{**_ALLOC, "pt_index": 4}], ENTRY),
    ([{"operation": Operation.PT_FREE}], ENTRY),
    ([_ALLOC, {"operation": Operation.PT_FREE}], Refusal.NONE),
    ([_ALLOC, {"operation": Operation.PT_FREE}, _ALLOC], Refusal.NONE),
    ([_ALLOC, append(0), {"operation": Operation.PT_FREE}], ENTRY),
    ([_ALLOC, append(0), {**_UNLINK, "entry": 0}, {"operation": Operation.PT_FREE}], Refusal.NONE),
    ([_ALLOC, {**_OVERFLOW, "use_once": 1}, 0, {"operation": Operation.PT_FREE}], ENTRY),
    ([{"operation": Operation.PT_ENABLE}], ENTRY),
    ([_ALLOC, {"operation": Operation.PT_DISABLE}], Refusal.NONE),
    ([{"operation": Operation.PT_DISABLE, "pt_index": 255}], ENTRY),
    ([append(0)], ENTRY),
    ([_ALLOC, append(7)], Refusal.NONE),
    ([_ALLOC, append(8)], ENTRY),
    ([_ALLOC, append(0), append(0)], ENTRY),
    ([_ALLOC, append(0, counter=3, ct_comm=1)], Refusal.NONE),
    ([_ALLOC, append(0, counter=4, ct_comm=1)], ENTRY),
    ([_ALLOC, append(0, counter=4, ct_overflow=1)], ENTRY),
    ([_ALLOC, append(0, counter=4)], Refusal.NONE),
    ([_ALLOC, {**_UNLINK, "entry": 0}], ENTRY),
    ([_ALLOC, append(0), {**_UNLINK, "entry": 8}], ENTRY),
    ([_ALLOC, append(0), {**_UNLINK, "entry": 0, "pt_index": 200}], Refusal.NONE),
    ([_ALLOC, _OVERFLOW, {**_UNLINK, "entry": 0}], Refusal.NONE),
    ([_ALLOC, _OVERFLOW, 0, {**_UNLINK, "entry": 0}], ENTRY),
    ([_ALLOC, {**_OVERFLOW, "use_once": 1}, 0, {**_UNLINK, "entry": 0}], ENTRY),
    ([_ALLOC, {**_OVERFLOW, "use_once": 1}, 0, append(0)], ENTRY),
    ([_ALLOC, append(0, use_once=1), 0, append(0)], Refusal.NONE),
    ([{"operation": Operation.ME_SEARCH}], ENTRY),
    ([{"operation": Operation.ME_SEARCH, "pt_index": 9}], ENTRY),
    ([_ALLOC, {"operation": Operation.ME_SEARCH, "counter": 4}], Refusal.NONE),
    ([_ALLOC, {"operation": Operation.ME_SEARCH, "counter": 4, "ct_overflow": 1}], ENTRY),
    ([{"operation": 23}], MALFORMED),
]


def test_list_commands_are_refused_for_what_is_wrong_with_them() -> None:
    async def test(bench: MatchBench) -> None:
        for number, (steps, expected) in enumerate(COMMANDS):
            for step in steps:
                if isinstance(step, int):
                    found = await bench.match(pt_index=step)
                    assert found["fail"] == Fail.OK
                    await bench.end(found)
                else:
                    refusal = await bench.command(**step)
            assert refusal == expected, f"case {number}"
            await bench.restart(0)
            await bench.settle()
        for word in range(LIST_COMMAND.length_words):
            reserved = LIST_COMMAND.reserved_mask(word)
            for bit in [bit for bit in range(64) if reserved >> bit & 1][::5]:
                words = LIST_COMMAND.pack(**_ALLOC)
                words[word] |= 1 << bit
                assert await bench.command(words=words) == MALFORMED, f"word {word} bit {bit}"
        await alloc(bench)

    run(test)


def test_entries_are_tried_in_link_order_and_the_overflow_list_last() -> None:
    async def test(bench: MatchBench) -> None:
        async def taken() -> int:
            found = await bench.match()
            await bench.end(found)
            return found["entry"]

        await alloc(bench)
        await link(bench, 5, list=List.OVERFLOW, unexpected_header_disable=1)
        for entry in (3, 1, 4, 2):
            await link(bench, entry, use_once=1)
        assert [await taken() for _ in range(4)] == [3, 1, 4, 2]
        assert await taken() == 5
        for removed in (3, 1, 2):  # head, middle, tail
            for entry in (3, 1, 2):
                await link(bench, entry, use_once=1)
            assert await bench.command(operation=Operation.ME_UNLINK, entry=removed) == Refusal.NONE
            await link(bench, removed, use_once=1)
            left = [entry for entry in (3, 1, 2) if entry != removed]
            assert [await taken() for _ in range(3)] == [*left, removed]
            bench.give_places(0, 6)
        bench.told.clear()

    run(test, places=20)


def test_a_message_costs_five_cycles_and_two_for_each_entry_passed() -> None:
    async def test(bench: MatchBench) -> None:
        await alloc(bench)
        for entry in range(4):
            await link(bench, entry, match_bits=entry)
        for entry in range(4):
            before = bench.cycles
            assert (await bench.match(match_bits=entry))["user_data"] == 0x500 + entry
            assert bench.cycles - before - 1 == 5 + 2 * entry  # valid to done, both included
        await link(bench, 4, list=List.OVERFLOW, match_bits=9)
        header = (await bench.match(match_bits=9))["header"]
        before = bench.cycles
        await bench.finish(header)
        assert bench.cycles - before == 1
        for entry in range(4):
            await bench.end({"entry": entry, "overflow": 0, "header": 0})
        assert bench.cycles - before == 1 + 2 * 4

    run(test, places=12)


def test_an_entry_is_in_use_until_all_messages_that_it_took_have_ended() -> None:
    unlink = {"operation": Operation.ME_UNLINK, "entry": 3}

    async def test(bench: MatchBench) -> None:
        for context in (0, 1):
            await alloc(bench, context=context)
            await link(bench, 3, context)
        found = [await bench.match(context) for context in (0, 0, 1)]
        assert await bench.command(0, **unlink) == ENTRY
        await bench.end(found[0], 0)
        assert await bench.command(0, **unlink) == ENTRY
        await bench.end(found[2], 1, failed=True)
        assert await bench.command(0, **unlink) == ENTRY, "the end of another context's message"
        assert await bench.command(1, **unlink) == Refusal.NONE
        await bench.end(found[1], 0)
        assert await bench.command(0, **unlink) == Refusal.NONE

    run(test, places=20)


def test_an_end_that_is_told_when_a_command_begins_or_before_is_counted_by_then() -> None:
    unlink = {"operation": Operation.ME_UNLINK, "entry": 3}

    async def test(bench: MatchBench) -> None:
        await alloc(bench)
        outcomes = set()
        for delay in range(6):
            await link(bench, 3)
            found = await bench.match()
            bench.post(**unlink)
            begun = 0  # before the end is told
            for _ in range(delay):
                _, _, offered = await bench.ctx.tick().sample(bench.block.i_list.valid)
                begun |= offered
            await bench.end(found)
            await bench.settle()
            outcomes.add((begun, bench.answered[-1]))
            if bench.answered[-1] != Refusal.NONE:
                assert await bench.command(**unlink) == Refusal.NONE
        assert {(0, Refusal.NONE), (1, ENTRY)} <= outcomes
        assert (0, ENTRY) not in outcomes

    run(test, places=20)


def test_an_entry_that_left_with_its_message_is_appended_again_when_that_has_ended() -> None:
    async def test(bench: MatchBench) -> None:
        await alloc(bench)
        await link(bench, 3, use_once=1, event_unlink_disable=1)
        found = await bench.match()
        assert await bench.command(**append(3)) == ENTRY
        await bench.end(found)
        await link(bench, 3)

    run(test)


@pytest.mark.parametrize("quiet", [0, 1])
def test_an_overflow_entry_without_headers_is_freed_with_the_last_of_its_messages(quiet: int) -> None:
    freed = {"kind": EventKind.AUTO_FREE, "user_data": 0x503, "list": List.OVERFLOW}

    async def test(bench: MatchBench) -> None:
        await alloc(bench)
        fields = {"list": List.OVERFLOW, "unexpected_header_disable": 1, "event_unlink_disable": quiet}
        await link(bench, 3, manage_local=1, min_free=240, **fields)
        found = [await bench.match() for _ in range(2)]
        assert [answers["unlinked"] for answers in found] == [0, 1 - quiet]
        await bench.end(found[1])
        await bench.settle()
        assert not bench.told
        assert await bench.command(**append(3)) == ENTRY
        bench.give_places(0, -bench.free[0])
        await bench.end(found[0], failed=True)
        await bench.settle()
        assert not bench.told
        if not quiet:
            assert await bench.command(**append(3)) == ENTRY, "nobody has been told yet"
            bench.give_places(0, 2)
            await bench.settle()
        assert bench.told == ([] if quiet else [(0, freed, None)])
        await link(bench, 3, **fields)
        await bench.end(await bench.match())
        assert await bench.command(operation=Operation.ME_UNLINK, entry=3) == Refusal.NONE

    run(test, places=12)


def test_ends_are_counted_while_tables_are_emptied() -> None:
    async def test(bench: MatchBench) -> None:
        for context in (0, 1):
            await alloc(bench, context=context)
            for entry in range(8):
                await link(bench, entry, context, match_bits=entry)
        found = [[await bench.match(context, match_bits=bits) for bits in range(8)] for context in (0, 1)]
        await bench.restart(1)
        for answers in found[0][:7]:
            await bench.end(answers, 0)
            await bench.end(answers, 1, epoch=bench.epoch[1] - 1)
        await bench.settle()
        unlink = {"operation": Operation.ME_UNLINK}
        assert [await bench.command(0, **unlink, entry=entry) for entry in range(8)] == [Refusal.NONE] * 7 + [ENTRY]
        await alloc(bench, context=1)
        for entry in range(8):
            await link(bench, entry, 1)
            assert await bench.command(1, **unlink, entry=entry) == Refusal.NONE

    run(test, places=20)


def test_an_unexpected_header_goes_to_the_entry_that_comes_later() -> None:
    async def test(bench: MatchBench) -> None:
        await alloc(bench, 1)
        await link(bench, 0, pt_index=1, list=List.OVERFLOW, manage_local=1, use_once=1)
        fields = {"remote_offset": 3, "atomic_operation": 2, "atomic_type": 1, "kind": Operation.ATOMIC}
        found = await bench.match(pt_index=1, **fields)
        assert (found["overflow"], found["unlinked"]) == (1, 1)
        posted = append(1, pt_index=1, ct_overflow=1, ct_bytes=1, counter=2, event_link_disable=0)
        bench.post(**posted)
        await bench.settle()
        assert not bench.answered[2:], "the header is not complete"
        assert not bench.told
        await bench.finish(found["header"])
        await bench.settle()
        assert bench.answered[2:] == [Refusal.NONE]
        header = {"kind": EventKind.ATOMIC_OVERFLOW, "pt_index": 1, "start_offset": 0x1000, "start_window": 2}
        source = {"src_nid": 7, "src_pid": 70, "jid": 700, "match_bits": 0xAB, "header_data": 0xDA7A}
        sizes = {"requested_bytes": 16, "manipulated_bytes": 16, "remote_offset": 3}
        rest = {"user_data": 0x501, "list": List.OVERFLOW, "atomic_operation": 2, "atomic_type": 1}
        freed = {"kind": EventKind.AUTO_FREE, "pt_index": 1, "user_data": 0x500, "list": List.OVERFLOW}
        assert bench.told == [
            (0, header | source | sizes | rest, (2, 16, 0)),
            (0, freed, None),
            (0, {"kind": EventKind.LINK, "pt_index": 1, "user_data": 0x501}, None),
        ]

    run(test)


def test_a_search_finds_what_an_append_would_and_tells_the_same_of_what_it_takes_out() -> None:
    search = {"operation": Operation.ME_SEARCH, "match_bits": 0xAB, "any_nid": 1, "any_pid": 1, "length_bytes": 24}
    counted = {"ct_overflow": 1, "ct_bytes": 1, "counter": 3}

    async def test(bench: MatchBench) -> None:
        await alloc(bench)
        await link(bench, 0, list=List.OVERFLOW)
        for offset, kind in ((0, Operation.GET), (16, Operation.SWAP)):
            found = await bench.match(remote_offset=offset, kind=kind)
            await bench.finish(found["header"])
        for options, expected in (
            ({"no_truncate": 1}, [(EventKind.SEARCH, None)]),
            ({"no_truncate": 1, "manage_local": 1}, [(EventKind.SEARCH, None)] * 2),
            ({"event_comm_disable": 1}, []),
            ({"event_over_disable": 1, **counted}, [(EventKind.SEARCH, (3, 16, 0))] * 2 + [(None, (3, 0, 1))]),
            ({"search_delete": 1, "use_once": 1, **counted}, [(EventKind.GET_OVERFLOW, (3, 16, 0))]),
            ({"search_delete": 1, "no_truncate": 1}, [(EventKind.SEARCH, None)]),
            (
                {"search_delete": 1, "event_over_disable": 1, "ct_overflow": 1},
                [(None, (0, 1, 0)), (None, (0, 0, 1))],
            ),
            ({"event_comm_disable": 1, **counted}, [(None, (3, 0, 1))]),
        ):
            bench.told.clear()
            assert await bench.command(**search, **options) == Refusal.NONE
            told = [(event["kind"] if event else None, counter) for _, event, counter in bench.told]
            assert told == expected, options

    bench = run(test, places=16)
    assert bench.owed == [0, 0]


def test_a_header_of_a_failed_message_is_removed_wherever_it_stands() -> None:
    async def test(bench: MatchBench) -> None:
        for failing in range(3):
            bench.told.clear()
            await alloc(bench)
            await link(bench, 0, list=List.OVERFLOW)
            headers = [(await bench.match(header_data=number + 1))["header"] for number in range(3)]
            before = bench.cycles
            await bench.finish(headers[failing], failed=True)
            assert bench.cycles - before <= 6 + failing
            for header in headers[:failing] + headers[failing + 1 :]:
                await bench.finish(header)
            search = {"operation": Operation.ME_SEARCH, "match_bits": 0xAB, "any_nid": 1, "any_pid": 1}
            for delete in (0, 1):
                assert await bench.command(**search, search_delete=delete, user_data=5) == Refusal.NONE
            assert await bench.command(**search, user_data=6) == Refusal.NONE
            seen = [event["header_data"] for _, event, _ in bench.told if event and "fail" not in event]
            left = [number + 1 for number in range(3) if number != failing]
            assert seen == left + left
            nothing = {"kind": EventKind.SEARCH, "fail": Fail.NO_MATCH, "user_data": 6}
            assert bench.told[-1] == (0, nothing, None)
            assert await bench.command(operation=Operation.ME_UNLINK, entry=0) == Refusal.NONE
            await bench.restart(0)
            await bench.settle()

    run(test, places=10)


def test_an_entry_that_its_last_header_held_is_free_when_that_failed() -> None:
    async def test(bench: MatchBench) -> None:
        freed = {"kind": EventKind.AUTO_FREE, "user_data": 0x500, "list": List.OVERFLOW}
        await alloc(bench)
        for quiet in (0, 1):
            await link(bench, 0, list=List.OVERFLOW, use_once=1, event_unlink_disable=quiet, event_comm_disable=1)
            header = (await bench.match())["header"]
            if not quiet:
                bench.give_places(0, -bench.free[0])
            await bench.finish(header, failed=True)
            await bench.settle()
            if not quiet:
                assert await bench.command(**append(0)) == ENTRY, "nobody has been told yet"
                bench.give_places(0, 2)
                await bench.settle()
            assert bench.told == [(0, freed, None)]

    run(test)


@pytest.mark.parametrize("flow_control", [0, 1])
def test_a_message_without_resources_is_dropped_or_disables_the_portal(flow_control: int) -> None:
    async def test(bench: MatchBench) -> None:
        exhausted = Fail.PT_DISABLED if flow_control else Fail.DROPPED
        event = (0, {"kind": EventKind.PT_DISABLED}, None)
        enable = {"operation": Operation.PT_ENABLE}
        await alloc(bench, flow_control=flow_control)
        assert (await bench.match())["fail"] == exhausted  # nothing matches
        await bench.settle()
        assert bench.told == [event] * flow_control
        assert (await bench.match())["fail"] == exhausted
        await bench.settle()
        assert bench.told == [event] * flow_control, "disabled already"
        await bench.command(**enable)
        await link(bench, 0, list=List.OVERFLOW)
        bench.give_places(0, flow_control)
        for _ in range(4):
            assert (await bench.match())["fail"] == Fail.OK
        bench.give_places(0, 4)
        assert (await bench.match())["fail"] == exhausted  # no header
        await bench.settle()
        assert bench.told == [event] * 2 * flow_control
        await bench.command(**enable)
        await link(bench, 1, match_bits=1)
        await link(bench, 2, match_bits=2, event_flow_control_disable=1)
        taken = bench.free[0]
        bench.give_places(0, -taken)  # a full queue
        assert (await bench.match(match_bits=2))["fail"] == exhausted
        await bench.settle()
        await bench.command(**enable)
        assert (await bench.match(match_bits=1))["fail"] == exhausted
        await bench.settle()
        await bench.command(**enable)
        assert (await bench.match(match_bits=1))["fail"] == exhausted  # its event waits already
        await bench.settle()
        await bench.ctx.tick().repeat(5)
        assert bench.ctx.get(bench.block.quiescent), "an event that waits keeps nobody busy"
        assert bench.told == [event] * 2 * flow_control
        await bench.command(operation=Operation.PT_DISABLE)
        bench.give_places(0, taken)
        await bench.settle()
        assert bench.told == [event] * 3 * flow_control
        assert (await bench.match(match_bits=1))["fail"] == Fail.PT_DISABLED

    run(test)


def test_a_list_command_waits_for_places_and_holds_up_no_message() -> None:
    async def test(bench: MatchBench) -> None:
        await alloc(bench)
        await alloc(bench, context=1)
        await link(bench, 0, context=1)
        await link(bench, 0, list=List.OVERFLOW, use_once=1)
        header = (await bench.match())["header"]
        await bench.finish(header)
        bench.give_places(0, -2)  # four were there: two for the message, the others now are taken, too
        bench.post(**append(1, use_once=1))
        for events in ([], [], [EventKind.PUT_OVERFLOW, EventKind.AUTO_FREE, EventKind.AUTO_UNLINK]):
            await bench.settle()
            assert (await bench.match(context=1))["fail"] == Fail.OK
            bench.give_places(1, 1)
            assert bench.ctx.get(bench.block.quiescent)
            bench.give_places(0, 1)
            await bench.settle()
            assert [event["kind"] for _, event, _ in bench.told if event] == events
        assert bench.owed == [0, 0]

    run(test, places=4)


def test_a_search_resumes_where_it_waited_although_that_header_went() -> None:
    async def test(bench: MatchBench) -> None:
        await alloc(bench)
        await link(bench, 0, list=List.OVERFLOW, ignore_bits=0xFF, event_comm_disable=1)
        headers = [(await bench.match(match_bits=bits, header_data=bits))["header"] for bits in (1, 3, 2, 1)]
        for number in (0, 3):
            await bench.finish(headers[number])
        # Takes 1 and 1, has passed the two between, and waits for a place.
        bench.give_places(0, -bench.free[0] + 1)
        bench.post(operation=Operation.ME_SEARCH, match_bits=1, any_nid=1, any_pid=1)
        await bench.settle()
        assert len(bench.told) == 1
        await bench.finish(headers[2], failed=True)  # the one passed last
        await bench.finish(headers[1], failed=True)
        again = (await bench.match(match_bits=1, header_data=5))["header"]
        await bench.settle()
        bench.give_places(0, 1)
        await bench.settle()
        assert [event["header_data"] for _, event, _ in bench.told if event] == [1, 1]
        await bench.finish(again)
        bench.give_places(0, 1)
        await bench.settle()
        assert [event["header_data"] for _, event, _ in bench.told if event] == [1, 1, 5]
        assert bench.answered[-1] == Refusal.NONE
        assert len(bench.answered) == 3

    run(test)


def test_a_search_resumes_at_the_head_when_that_went() -> None:
    async def test(bench: MatchBench) -> None:
        await alloc(bench)
        await link(bench, 0, list=List.OVERFLOW, ignore_bits=0xFF, event_comm_disable=1)
        headers = [(await bench.match(match_bits=bits))["header"] for bits in (3, 2, 1, 1)]
        for header in headers[2:]:
            await bench.finish(header)
        free = bench.free[0]
        bench.give_places(0, -free)
        bench.post(operation=Operation.ME_SEARCH, match_bits=1, any_nid=1, any_pid=1)
        await bench.settle()  # it has passed two
        await bench.finish(headers[1], failed=True)
        await bench.finish(headers[0], failed=True)
        assert (await bench.match(match_bits=2))["fail"] == Fail.OK  # takes a header that was passed
        bench.give_places(0, free)
        await bench.settle()
        assert [event["match_bits"] for _, event, _ in bench.told if event] == [1, 1]

    run(test)


@pytest.mark.parametrize("late_epoch", [True, False])
def test_a_restart_frees_everything_and_reaches_what_is_under_way(late_epoch: bool) -> None:
    async def test(bench: MatchBench) -> None:
        bench.late_epoch = late_epoch
        for restart_in in (*range(6), 10):
            for context in (0, 1):
                await alloc(bench, 3, context)
                await link(bench, 7, context, pt_index=3, list=List.OVERFLOW, use_once=1)
            bench.hold_reservations = restart_in == 10
            found = await bench.match(pt_index=3, restart_in=restart_in)
            came_first = restart_in == 5
            assert found["fail"] == (Fail.OK if came_first else Fail.DROPPED)
            assert found["event"] == found["unlinked"] == found["overflow"] == came_first
            if came_first:
                await bench.restart(0)
            await bench.settle()
            assert (bench.free[0], bench.owed[0]) == (bench.places, 0)
            assert (await bench.match(pt_index=3))["fail"] == Fail.DROPPED
            assert (await bench.match(1, pt_index=3))["fail"] == Fail.OK
            await bench.restart(1)
            await bench.settle()
        assert not bench.told

    run(test)


def test_commands_and_ends_of_another_life_are_answered_without_effect() -> None:
    async def test(bench: MatchBench) -> None:
        await alloc(bench)
        await link(bench, 0, list=List.OVERFLOW)
        header = (await bench.match())["header"]
        bench.post(**append(1))
        await bench.settle()
        assert len(bench.answered) == 2, "it waits for the header"
        await bench.restart(0)
        await bench.settle()
        assert bench.answered[2:] == [Refusal.NONE]
        await alloc(bench)
        await link(bench, 0, list=List.OVERFLOW)
        assert (await bench.match())["header"] == header
        await bench.finish(header, epoch=0, failed=True)
        await bench.finish(header, epoch=0)
        bench.post(epoch=0, **append(2))
        await bench.settle()
        bench.ctx.set(bench.block.states[0].active, 0)
        assert await bench.command(**append(2)) == Refusal.NONE
        bench.ctx.set(bench.block.states[0].active, 1)
        assert await bench.command(operation=Operation.ME_UNLINK, entry=2) == ENTRY
        bench.post(**append(2))
        await bench.settle()
        assert len(bench.answered) == 8, "the header is neither complete nor gone"
        await bench.finish(header)
        await bench.settle()
        assert [event["kind"] for _, event, _ in bench.told if event] == [EventKind.PUT_OVERFLOW]

    run(test)
