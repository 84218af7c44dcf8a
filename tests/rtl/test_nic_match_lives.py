"""List commands that wait hold up nobody but their own context; what is asked for a life that is over does nothing."""

from collections.abc import Awaitable, Callable

import pytest

from rtl.nic.parameters import NicParameters
from rtl.portals import EventKind, Fail, List, Operation, Refusal
from tests.rtl.nic_match_bench import MatchBench, append

PARAMETERS = NicParameters(contexts=3, portal_entries=2, match_entries=8, unexpected_headers=4, counters=4)
SEARCH = {"operation": Operation.ME_SEARCH, "match_bits": 0xAB, "any_nid": 1, "any_pid": 1}


def run(test: Callable[[MatchBench], Awaitable[None]], *, places: int = 4) -> MatchBench:
    bench = MatchBench(PARAMETERS, places=places)
    bench.run(lambda: test(bench))
    return bench


async def alloc(bench: MatchBench, *contexts: int) -> None:
    for context in contexts:
        assert await bench.command(context, operation=Operation.PT_ALLOC) == Refusal.NONE


async def keep_header(bench: MatchBench, context: int) -> int:
    """An unexpected header of a message that is still arriving."""
    await bench.command(context, **append(7, list=List.OVERFLOW, event_comm_disable=1))
    return (await bench.match(context))["header"]


def kinds(bench: MatchBench, context: int) -> list[EventKind]:
    return [EventKind(event["kind"]) for owner, event, _ in bench.told if owner == context and event]


async def append_many(bench: MatchBench, context: int) -> None:
    """Appends with an event each, as the process consumes them, and what else a process does with its lists."""
    for entry in range(6):
        assert await bench.command(context, **append(entry, event_link_disable=0)) == Refusal.NONE
        bench.give_places(context, 1)
    for entry in range(6):
        assert await bench.command(context, operation=Operation.ME_UNLINK, entry=entry) == Refusal.NONE


def test_a_full_queue_holds_up_its_own_context_alone() -> None:
    async def test(bench: MatchBench) -> None:
        await alloc(bench, 0, 1, 2)
        for context in (0, 2):
            bench.give_places(context, -bench.free[context])
            bench.post(context, **append(0, event_link_disable=0))
        await append_many(bench, 1)
        assert kinds(bench, 1) == [EventKind.LINK] * 6
        assert (kinds(bench, 0), kinds(bench, 2)) == ([], [])
        assert bench.deferrals == 2, "what waits is not tried again before there is something to try it with"
        bench.give_places(2, 1)
        await bench.settle()
        assert (kinds(bench, 0), kinds(bench, 2)) == ([], [EventKind.LINK])
        bench.give_places(0, 1)
        await bench.settle()
        assert kinds(bench, 0) == [EventKind.LINK]
        assert bench.deferrals == 2
        assert bench.owed == [0, 0, 0]

    run(test)


def test_a_header_that_still_arrives_holds_up_its_own_context_alone() -> None:
    async def test(bench: MatchBench) -> None:
        await alloc(bench, 0, 1, 2)
        headers = [await keep_header(bench, context) for context in (0, 2)]
        assert headers[0] == headers[1]
        bench.post(0, **append(0, event_link_disable=0))
        bench.post(2, **SEARCH)
        await append_many(bench, 1)
        assert bench.deferrals == 2
        for context, expected in ((2, [EventKind.SEARCH]), (0, [EventKind.PUT_OVERFLOW, EventKind.LINK])):
            assert kinds(bench, context) == []
            await bench.finish(headers[0], context)
            await bench.settle()
            assert kinds(bench, context) == expected
        assert bench.deferrals == 2

    run(test)


@pytest.mark.parametrize(
    ("command", "takes"),
    [({"event_link_disable": 0}, True), ({"operation": Operation.ME_SEARCH, "match_bits": 0xCD}, False)],
)
def test_a_command_that_meets_many_headers_lets_messages_of_all_contexts_go_first(
    command: dict[str, int], takes: bool
) -> None:
    """One header, taken or passed, is all that a message waits for; nothing is met twice or left out."""
    many = NicParameters(contexts=2, portal_entries=2, match_entries=4, unexpected_headers=32, counters=1)

    async def test(bench: MatchBench) -> None:
        for context in (0, 1):
            assert await bench.command(context, operation=Operation.PT_ALLOC) == Refusal.NONE
            fields = {"list": List.OVERFLOW, "event_comm_disable": 1}
            assert await bench.command(context, **append(0, **fields)) == Refusal.NONE
        for number in range(20):
            await bench.finish((await bench.match(header_data=number + 1))["header"])
        already, waited = len(bench.answered), []
        bench.post(0, **append(1, user_data=7, **command))
        for number in range(20, 30):
            before = bench.cycles
            found = await bench.match(number % 2, header_data=number + 1)
            waited.append(bench.cycles - before)
            if found["overflow"]:
                await bench.finish(found["header"], number % 2)
            if len(bench.answered) == already:
                under_way.append(number)
        await bench.settle()
        assert max(waited) <= (32 if takes else 16), waited
        shown = [event for _, event, _ in bench.told if event]
        if takes:
            assert [event["header_data"] for event in shown[:-1]] == [*range(1, 21), *(n + 1 for n in under_way[::2])]
            assert shown[-1]["kind"] == EventKind.LINK
        else:
            assert shown == [{"kind": EventKind.SEARCH, "fail": Fail.NO_MATCH, "user_data": 7}]

    under_way: list[int] = []
    bench = MatchBench(many, places=64)
    bench.run(lambda: test(bench), judged=False)
    assert len(under_way) >= 4
    assert bench.deferrals >= 4


def test_contexts_that_all_wait_keep_what_they_have_reached() -> None:
    """Each has passed a different header and holds a place, and goes on from there."""

    async def test(bench: MatchBench) -> None:
        await alloc(bench, 0, 1, 2)
        headers: list[list[int]] = []
        for context in range(3):
            await bench.command(context, **append(7, list=List.OVERFLOW, ignore_bits=0xFF, event_comm_disable=1))
            bits = [0xAB if number == context else 1 for number in range(4)]
            found = [await bench.match(context, match_bits=value, header_data=value) for value in bits]
            headers.append([each["header"] for each in found])
            await bench.finish(headers[context][context], context)
            bench.give_places(context, -bench.free[context] + 1)
            # Wants two places, the header's and its own unlinking, of which there is one.
            bench.post(context, **append(0, use_once=1))
        await bench.settle()
        assert bench.deferrals == 3
        assert bench.owed == [1, 1, 1]
        await bench.finish(headers[2][1], 2, failed=True)  # the one that context 2 has passed last
        await bench.finish(headers[1][0], 1, failed=True)
        await bench.settle()
        assert bench.deferrals == 3
        for context in (1, 0, 2):
            bench.give_places(context, 1)
            await bench.settle()
            assert kinds(bench, context) == [EventKind.PUT_OVERFLOW, EventKind.AUTO_UNLINK]
        assert [event["header_data"] for _, event, _ in bench.told if event and "header_data" in event] == [0xAB] * 3
        assert bench.owed == [0, 0, 0]

    run(test)


@pytest.mark.parametrize("late_epoch", [True, False])
@pytest.mark.parametrize("waits_for_room", [True, False])
def test_a_restart_forgets_a_command_that_waits_or_is_about_to(late_epoch: bool, waits_for_room: bool) -> None:
    """In every cycle from before the command is offered until after it is deferred."""

    async def life(bench: MatchBench, delay: int) -> None:
        await alloc(bench, 0)
        header = await keep_header(bench, 0)
        if waits_for_room:
            await bench.finish(header)
            bench.give_places(0, -bench.free[0] + 1)
            bench.post(0, **append(0, use_once=1))
        else:
            bench.post(0, **append(0))
        await bench.ctx.tick().repeat(delay)
        answered = len(bench.answered)
        told = len(bench.told)
        await bench.restart(0)
        await bench.settle()
        assert bench.answered[answered:] == [Refusal.NONE]
        assert (bench.free[0], bench.owed[0]) == (bench.places, 0)
        assert len(bench.told) == told
        # The new life finds nothing of the old one.
        await alloc(bench, 0)
        header = await keep_header(bench, 0)
        await bench.finish(header)
        assert await bench.command(0, **append(0, event_link_disable=0)) == Refusal.NONE
        assert kinds(bench, 0)[-2:] == [EventKind.PUT_OVERFLOW, EventKind.LINK]
        await bench.restart(0)
        await bench.settle()

    async def test(bench: MatchBench) -> None:
        bench.late_epoch = late_epoch
        for delay in range(1, 17):
            await life(bench, delay)
        assert bench.deferrals > 1

    run(test)


def test_a_context_that_is_switched_off_has_its_waiting_command_answered() -> None:
    async def test(bench: MatchBench) -> None:
        await alloc(bench, 0)
        await keep_header(bench, 0)
        bench.post(0, **append(0))
        await bench.settle()
        answered = len(bench.answered)
        bench.ctx.set(bench.block.states[0].active, 0)
        await bench.settle()
        assert bench.answered[answered:] == [Refusal.NONE]
        assert bench.told == []

    run(test)


@pytest.mark.parametrize("off", [True, False])
def test_a_message_of_a_life_that_is_over_is_matched_against_nothing(off: bool) -> None:
    """The tables of the present life have what the message would match, be it in a list, by flow control, or by
    having no room; none of it changes, no place is reserved and nothing is counted."""

    async def test(bench: MatchBench) -> None:
        bench.epoch[0] = 5
        bench.ctx.set(bench.block.states[0].epoch, 5)
        await bench.command(0, operation=Operation.PT_ALLOC, flow_control=1)
        await bench.command(0, **append(0, use_once=1))
        before = list(bench.free)
        bench.ctx.set(bench.block.states[0].active, not off)
        for fields in ({}, {"match_bits": 1}, {"pt_index": 1}, {"kind": Operation.GET}):
            found = await bench.match(0, epoch=5 if off else 4, **fields)
            assert found == dict.fromkeys(found, 0) | {"fail": Fail.DROPPED}
        await bench.settle()
        bench.ctx.set(bench.block.states[0].active, 1)
        assert (bench.free, bench.owed) == (before, [0, 0, 0])
        assert (bench.told, bench.counted) == ([], [])
        found = await bench.match(0)
        assert (found["fail"], found["user_data"], found["unlinked"]) == (Fail.OK, 0x500, 1)

    run(test)


def test_a_message_that_waits_while_its_context_is_restarted_does_not_meet_the_new_life() -> None:
    """It is asked for in the cycle of the restart, or while the tables are emptied and filled again."""

    async def test(bench: MatchBench) -> None:
        for context in (0, 1):
            await alloc(bench, context)
            await bench.command(context, **append(0))
            await bench.restart(context)
            old = bench.epoch[context] - 1
            assert (await bench.match(context, epoch=old))["fail"] == Fail.DROPPED
            await alloc(bench, context)
            await bench.command(context, **append(1))
            assert (await bench.match(context, epoch=old))["fail"] == Fail.DROPPED
            assert (await bench.match(context))["user_data"] == 0x501
        assert bench.counted == []

    run(test)
