"""The golden model: match entries, unexpected headers, search, unlinking, with answers worked out by hand."""

import pytest

from rtl.portals import EventKind, Fail, List, Operation, Refusal
from tests.golden.effects import Pause
from tests.golden.judging import FROM_NODE_0, TEXT, TO_NODE_1, meant, pair, said
from tests.golden.process import append, get, portal, portal_do, put, search, unlink


def send(machine, bits, length=4, **fields):
    """A put of `length` bytes with match bits `bits`; the target's new events."""
    before = len(machine.events[1, 0])
    machine.do(0, 0, put(**TO_NODE_1, match_bits=bits, length_bytes=length, **fields))
    return [event.fields for event in machine.events[1, 0][before:]]


def kinds(events):
    return [EventKind(event["kind"]) for event in events]


# ---- appending and unlinking ----


def test_link_tells_of_itself():
    machine = pair()
    entry = append(pt_index=2, entry=0, user_data=3, event_link_disable=0)
    over = append(List.OVERFLOW, pt_index=2, entry=1, user_data=4, event_link_disable=0)
    assert said(machine.do(1, 0, entry, over)) == meant(
        {"kind": EventKind.LINK, "pt_index": 2, "user_data": 3, "list": List.PRIORITY},
        {"kind": EventKind.LINK, "pt_index": 2, "user_data": 4, "list": List.OVERFLOW},
    )


@pytest.mark.parametrize(
    ("options", "uses", "left"),
    [
        # 100 bytes; messages of 40: bytes that each gets, and whether the entry is still linked.
        ({}, [40, 40, 40], True),
        ({"use_once": 1}, [40], False),
        ({"manage_local": 1}, [40, 40, 20, 0, 0], True),
        ({"manage_local": 1, "min_free": 1}, [40, 40, 20], False),
        ({"manage_local": 1, "min_free": 20}, [40, 40, 20], False),
        ({"manage_local": 1, "min_free": 21}, [40, 40], False),
        ({"manage_local": 1, "min_free": 101}, [40], False),
        ({"manage_local": 1, "min_free": 1, "no_truncate": 1}, [40, 40], True),
        ({"min_free": 200}, [40, 40], True),
    ],
)
def test_how_long_an_entry_lasts(options, uses, left):
    machine = pair()
    machine.write(0, 0, 0, TEXT)
    machine.do(1, 0, append(pt_index=2, entry=0, offset=0x100, length_bytes=100, user_data=9, **options))
    at = 0
    for number, taken in enumerate(uses):
        told = send(machine, 0, 40)
        assert (told[0]["start_offset"], told[0]["manipulated_bytes"]) == (0x100 + at, taken)
        at += taken if options.get("manage_local") else 0
        gone = number == len(uses) - 1 and not left
        assert said(told[1:]) == meant(
            *[{"kind": EventKind.AUTO_UNLINK, "pt_index": 2, "user_data": 9, "list": List.PRIORITY}] * gone
        )
    machine.do(1, 0, unlink(0))
    assert [refused.reason for refused in machine.refusals[1]] == ([] if left else [Refusal.COMMAND_ENTRY])


def test_an_entry_that_was_unlinked_takes_nothing_and_can_be_used_again():
    machine = pair()
    machine.do(1, 0, append(pt_index=2, entry=0, length_bytes=10))
    assert kinds(send(machine, 0)) == [EventKind.PUT]
    assert machine.do(1, 0, unlink(0)) == []
    assert send(machine, 0) == []
    machine.do(1, 0, append(pt_index=2, entry=0, length_bytes=10, user_data=1))
    assert send(machine, 0)[0]["user_data"] == 1


def test_events_that_nobody_wants_are_not_written():
    machine = pair()
    for options, length, wanted in [
        ({"event_comm_disable": 1, "use_once": 1}, 4, [EventKind.AUTO_UNLINK]),
        ({"event_success_disable": 1, "use_once": 1}, 4, [EventKind.AUTO_UNLINK]),
        ({"event_success_disable": 1, "use_once": 1, "window": 1}, 4, [EventKind.PUT, EventKind.AUTO_UNLINK]),
        ({"event_unlink_disable": 1, "use_once": 1}, 4, [EventKind.PUT]),
        ({"event_comm_disable": 1, "event_unlink_disable": 1, "use_once": 1}, 4, []),
    ]:
        machine.do(1, 0, append(pt_index=2, entry=0, length_bytes=10, **options))
        assert kinds(send(machine, 0, length)) == wanted
    assert machine.nics[1].contexts[0].queue.reserved == 0


# ---- unexpected messages ----


def overflow(machine, **options):
    """Entry 7 in the overflow list, from offset 0x800 of the window on; it manages its offset."""
    fields = {"length_bytes": 100, "offset": 0x800, "manage_local": 1, "ignore_bits": (1 << 64) - 1, "user_data": 70}
    machine.do(1, 0, append(List.OVERFLOW, pt_index=2, entry=7, **(fields | options)))


def test_what_came_too_early_is_given_to_the_entry_that_wants_it():
    machine = pair()
    machine.write(0, 0, 0, TEXT)
    overflow(machine)
    told = send(machine, 0xB, 10, header_data=5, remote_offset=3)
    usual = FROM_NODE_0 | {"pt_index": 2, "list": List.OVERFLOW}
    first = {"requested_bytes": 10, "manipulated_bytes": 10, "match_bits": 0xB, "header_data": 5, "remote_offset": 3}
    assert said(told) == meant(usual | first | {"kind": EventKind.PUT, "start_offset": 0x800, "user_data": 70})
    send(machine, 0xC, 20)
    machine.do(0, 0, get(**TO_NODE_1, match_bits=0xB, length_bytes=6))
    assert machine.read(1, 0, 0x800, 31) == TEXT[:10] + TEXT[:20] + b"\0"
    told = machine.do(1, 0, append(pt_index=2, entry=1, match_bits=0xB, length_bytes=50, user_data=8, ct_overflow=1))
    assert said(told) == meant(
        usual | first | {"kind": EventKind.PUT_OVERFLOW, "start_offset": 0x800, "user_data": 8},
        usual
        | {"requested_bytes": 6, "manipulated_bytes": 6, "match_bits": 0xB}
        | {"kind": EventKind.GET_OVERFLOW, "start_offset": 0x81E, "user_data": 8},
    )
    assert machine.counter(1, 0, 0) == (2, 0)
    assert machine.do(1, 0, append(pt_index=2, entry=2, match_bits=0xB, length_bytes=50)) == []
    assert kinds(machine.do(1, 0, append(pt_index=2, entry=3, match_bits=0xC))) == [EventKind.PUT_OVERFLOW]
    assert kinds(send(machine, 0xB)) == [EventKind.PUT]


@pytest.mark.parametrize(
    ("options", "wanted", "counter"),
    [
        ({}, ["over", "over"], 0),
        ({"event_over_disable": 1, "ct_overflow": 1}, [], 2),
        ({"ct_overflow": 1, "ct_bytes": 1}, ["over", "over"], 34),
        ({"use_once": 1, "ct_overflow": 1}, ["over", "unlink"], 1),
        ({"use_once": 1, "event_unlink_disable": 1, "event_link_disable": 0}, ["over"], 0),
        ({"use_once": 1, "event_over_disable": 1}, ["unlink"], 0),
        ({"event_link_disable": 0}, ["over", "over", "link"], 0),
        ({"no_truncate": 1, "length_bytes": 29, "ct_overflow": 1, "ct_bytes": 1}, ["over"], 14),
        ({"no_truncate": 1, "length_bytes": 34, "ct_overflow": 1, "ct_bytes": 1}, ["over", "over"], 34),
        ({"no_truncate": 1, "length_bytes": 20, "manage_local": 1}, ["over", "over"], 0),
        ({"any_pid": 0, "match_pid": 11, "use_once": 1, "event_link_disable": 0}, ["link"], 0),
    ],
)
def test_which_early_messages_an_entry_takes(options, wanted, counter):
    names = {
        "over": EventKind.PUT_OVERFLOW,
        "unlink": EventKind.AUTO_UNLINK,
        "link": EventKind.LINK,
    }
    machine = pair()
    overflow(machine)
    send(machine, 1, 14)
    send(machine, 1, 20, remote_offset=14)
    told = machine.do(1, 0, append(pt_index=2, entry=0, match_bits=1, **({"length_bytes": 34} | options)))
    assert kinds(told) == [names[name] for name in wanted]
    assert machine.counter(1, 0, 0) == (counter, 0)
    # An entry that was used up is not linked.
    linked = not (options.get("use_once") and "link" not in wanted)
    machine.do(1, 0, unlink(0))
    assert len(machine.refusals[1]) == (0 if linked else 1)
    assert machine.nics[1].contexts[0].queue.reserved == 0


def test_an_overflow_entry_is_freed_with_its_last_header():
    machine = pair()
    overflow(machine, min_free=70)
    assert kinds(send(machine, 1, 20)) == [EventKind.PUT]
    assert said(send(machine, 2, 20)[1:]) == meant(
        {"kind": EventKind.AUTO_UNLINK, "pt_index": 2, "user_data": 70, "list": List.OVERFLOW}
    )
    assert send(machine, 3) == []
    machine.do(1, 0, append(pt_index=2, entry=7))  # still in use
    assert kinds(machine.do(1, 0, append(pt_index=2, entry=0, match_bits=2))) == [EventKind.PUT_OVERFLOW]
    machine.do(1, 0, append(pt_index=2, entry=7))
    assert [refused.reason for refused in machine.refusals[1]] == [Refusal.COMMAND_ENTRY] * 2
    told = machine.do(1, 0, append(pt_index=2, entry=1, match_bits=1, use_once=1))
    assert kinds(told) == [EventKind.PUT_OVERFLOW, EventKind.AUTO_FREE, EventKind.AUTO_UNLINK]
    assert said(told[1:2]) == meant(
        {"kind": EventKind.AUTO_FREE, "pt_index": 2, "user_data": 70, "list": List.OVERFLOW}
    )
    assert machine.do(1, 0, append(pt_index=2, entry=7)) == []
    assert len(machine.refusals[1]) == 2


def test_an_overflow_entry_that_keeps_no_headers():
    machine = pair()
    overflow(machine, unexpected_header_disable=1, use_once=1)
    assert kinds(send(machine, 1)) == [EventKind.PUT, EventKind.AUTO_UNLINK, EventKind.AUTO_FREE]
    assert machine.do(1, 0, append(pt_index=2, entry=7, match_bits=1)) == []
    assert kinds(send(machine, 1)) == [EventKind.PUT]


def under_way(machine, bits, **options):
    """The second of two packets of a message to node 1; the first one has come."""
    packets = machine.nics[0].command(0, put(**TO_NODE_1, match_bits=bits, length_bytes=70, **options)).packets
    machine.nics[1].packet(packets[0].flits, response=False)
    return packets[1]


def test_an_overflow_entry_without_headers_is_freed_with_the_last_of_its_messages():
    machine = pair()
    overflow(machine, unexpected_header_disable=1, min_free=20)
    last = under_way(machine, 1)
    machine.do(1, 0, unlink(7))
    packets = machine.nics[0].command(1, put(**TO_NODE_1, match_bits=1, length_bytes=20)).packets
    events = machine.nics[1].packet(packets[0].flits, response=False).events
    assert kinds(event.fields for event in events) == [EventKind.PUT, EventKind.AUTO_UNLINK]
    machine.do(1, 0, append(pt_index=2, entry=7))
    assert [refused.reason for refused in machine.refusals[1]] == [Refusal.COMMAND_ENTRY] * 2
    events = machine.nics[1].packet(last.flits, response=False).events
    assert said(event.fields for event in events[1:]) == meant(
        {"kind": EventKind.AUTO_FREE, "pt_index": 2, "user_data": 70, "list": List.OVERFLOW}
    )
    assert machine.do(1, 0, append(pt_index=2, entry=7)) == []


def test_an_entry_is_in_use_until_its_messages_have_ended():
    machine = pair()
    machine.do(1, 0, append(pt_index=2, entry=1, length_bytes=100, match_bits=1))
    machine.do(1, 0, append(pt_index=2, entry=2, length_bytes=100, match_bits=2, use_once=1))
    for bits, again in ((1, unlink(1)), (2, append(pt_index=2, entry=2, length_bytes=100, match_bits=2))):
        last = under_way(machine, bits)
        assert kinds(machine.do(1, 0, again)) == [EventKind.REFUSED]
        machine.nics[1].packet(last.flits, response=False)
        assert machine.do(1, 0, again) == []
    # One that is abandoned has ended, too.
    under_way(machine, 2)
    lost = machine.nics[0].command(0, put(**TO_NODE_1, match_bits=3)).packets
    machine.nics[1].packet(lost[0].flits, response=False)
    assert machine.do(1, 0, unlink(2)) == []


def test_an_unlinking_that_came_too_early_is_refused_if_a_message_has_been_there():
    machine = pair()
    machine.nics[1].lists(0).early.add(0)  # the user data of all that `unlink` makes
    machine.do(1, 0, append(pt_index=2, entry=1, length_bytes=100, match_bits=1))
    assert machine.do(1, 0, unlink(1)) == []
    machine.do(1, 0, append(pt_index=2, entry=1, length_bytes=100, match_bits=1))
    send(machine, 1)
    assert kinds(machine.do(1, 0, unlink(1))) == [EventKind.REFUSED]


def test_entries_with_headers_cannot_be_unlinked_nor_their_portal_freed():
    machine = pair()
    overflow(machine)
    send(machine, 1)
    machine.do(1, 0, unlink(7), portal_do(Operation.PT_FREE, 2))
    machine.do(1, 0, search(pt_index=2, match_bits=1, search_delete=1))
    assert len(machine.refusals[1]) == 2
    machine.do(1, 0, portal_do(Operation.PT_FREE, 2), unlink(7), portal_do(Operation.PT_FREE, 2))
    assert len(machine.refusals[1]) == 3
    machine.do(1, 0, portal(2))
    assert {refused.reason for refused in machine.refusals[1]} == {Refusal.COMMAND_ENTRY}
    assert len(machine.refusals[1]) == 3


# ---- search ----


def test_search_looks_and_takes():
    machine = pair()
    overflow(machine)
    send(machine, 1, 10, header_data=1)
    send(machine, 2, 10, header_data=2)
    send(machine, 1, 10, header_data=3)
    looked = {"pt_index": 2, "match_bits": 1, "user_data": 6}
    found = FROM_NODE_0 | {
        "kind": EventKind.SEARCH,
        "pt_index": 2,
        "requested_bytes": 10,
        "manipulated_bytes": 10,
        "match_bits": 1,
        "user_data": 6,
        "list": List.OVERFLOW,
    }
    first, third = found | {"header_data": 1, "start_offset": 0x800}, found | {"header_data": 3, "start_offset": 0x814}
    taken = {"kind": EventKind.PUT_OVERFLOW}
    nothing = {"kind": EventKind.SEARCH, "pt_index": 2, "user_data": 6, "fail": Fail.NO_MATCH}
    assert said(machine.do(1, 0, search(**looked))) == meant(first, third)
    assert said(machine.do(1, 0, search(**looked, use_once=1))) == meant(first)
    assert said(machine.do(1, 0, search(**looked, any_nid=0, match_nid=1))) == meant(nothing)
    assert said(machine.do(1, 0, search(**looked, use_once=1, search_delete=1))) == meant(first | taken)
    assert said(machine.do(1, 0, search(**looked, search_delete=1))) == meant(third | taken)
    assert said(machine.do(1, 0, search(**looked))) == meant(nothing)
    assert kinds(machine.do(1, 0, search(**(looked | {"match_bits": 2}), search_delete=1))) == [EventKind.PUT_OVERFLOW]


@pytest.mark.parametrize(
    ("options", "found", "counter"),
    [
        ({}, ["search", "search"], (0, 0)),
        ({"event_over_disable": 1}, ["search", "search"], (0, 0)),
        ({"event_comm_disable": 1, "ct_overflow": 1}, [], (2, 1)),
        ({"use_once": 1, "ct_overflow": 1}, ["search"], (1, 0)),
        ({"ct_overflow": 1, "ct_bytes": 1}, ["search", "search"], (34, 1)),
        ({"search_delete": 1}, ["over", "over"], (0, 0)),
        ({"search_delete": 1, "event_comm_disable": 1}, ["over", "over"], (0, 0)),
        ({"search_delete": 1, "event_over_disable": 1, "ct_overflow": 1}, [], (2, 1)),
        ({"search_delete": 1, "use_once": 1, "event_unlink_disable": 0}, ["over"], (0, 0)),
        ({"no_truncate": 1, "length_bytes": 29}, ["search"], (0, 0)),
        ({"no_truncate": 1, "length_bytes": 34}, ["search", "search"], (0, 0)),
        ({"no_truncate": 1, "length_bytes": 20, "manage_local": 1}, ["search", "search"], (0, 0)),
        ({"no_truncate": 1, "ct_overflow": 1}, ["nothing"], (0, 1)),
        ({"no_truncate": 1, "search_delete": 1, "event_over_disable": 1}, ["nothing"], (0, 0)),
        ({"no_truncate": 1, "event_comm_disable": 1, "ct_overflow": 1}, [], (0, 1)),
    ],
)
def test_which_early_messages_a_search_finds_and_what_it_tells(options, found, counter):
    machine = pair()
    overflow(machine)
    send(machine, 1, 14)
    send(machine, 1, 20, remote_offset=14)
    told = machine.do(1, 0, search(pt_index=2, match_bits=1, **options))
    named = {(EventKind.SEARCH, Fail.OK): "search", (EventKind.SEARCH, Fail.NO_MATCH): "nothing"}
    named[EventKind.PUT_OVERFLOW, Fail.OK] = "over"
    assert [named[event["kind"], event["fail"]] for event in told] == found
    assert machine.counter(1, 0, 0) == counter
    assert machine.nics[1].contexts[0].queue.reserved == 0
    # What a search takes out is gone, what it looks at is not.
    left = machine.do(1, 0, search(pt_index=2, match_bits=1, event_comm_disable=0, ct_overflow=1, counter=1))
    taken = (1 if options.get("use_once") else 2) if options.get("search_delete") and "nothing" not in found else 0
    assert machine.counter(1, 0, 1) == (2 - taken, 1)
    assert len(left) == max(2 - taken, 1)


def test_a_search_that_takes_the_last_header_frees_the_entry():
    machine = pair()
    overflow(machine, use_once=1)
    send(machine, 1)
    told = machine.do(1, 0, search(pt_index=2, match_bits=1, search_delete=1, user_data=1))
    assert [(e["kind"], e["user_data"]) for e in told] == [(EventKind.PUT_OVERFLOW, 1), (EventKind.AUTO_FREE, 70)]


# ---- waiting ----


def test_a_search_waits_for_a_message_that_is_still_arriving():
    machine = pair()
    overflow(machine)
    target = machine.nics[1]
    packets = machine.nics[0].command(0, put(**TO_NODE_1, match_bits=1, length_bytes=70)).packets
    target.packet(packets[0].flits, response=False)
    effects = target.command(0, append(pt_index=2, entry=0, match_bits=1, user_data=4, length_bytes=9))
    assert (effects.waits, effects.events) == (Pause.HEADER, [])
    assert target.proceed(0).waits is Pause.HEADER
    assert kinds(e.fields for e in target.packet(packets[1].flits, response=False).events) == [EventKind.PUT]
    effects = target.proceed(0)
    assert effects.waits is None
    assert kinds(event.fields for event in effects.events) == [EventKind.PUT_OVERFLOW]


def test_a_search_for_another_message_does_not_wait():
    machine = pair()
    overflow(machine)
    send(machine, 2)
    packets = machine.nics[0].command(0, put(**TO_NODE_1, match_bits=1, length_bytes=70)).packets
    machine.nics[1].packet(packets[0].flits, response=False)
    assert kinds(machine.do(1, 0, search(pt_index=2, match_bits=2))) == [EventKind.SEARCH]


def test_a_message_that_fails_leaves_no_header():
    machine = pair()
    overflow(machine, use_once=1)
    target = machine.nics[1]
    packets = machine.nics[0].command(0, put(**TO_NODE_1, match_bits=1, length_bytes=70)).packets
    target.packet(packets[0].flits, response=False)
    again = machine.nics[0].command(0, put(**TO_NODE_1, match_bits=1, length_bytes=0)).packets
    effects = target.packet(again[0].flits, response=False)  # the second packet was lost
    assert effects.reasons == [Refusal.PACKET_ABORTED]
    entry = {"pt_index": 2, "user_data": 70, "list": List.OVERFLOW}
    assert said(event.fields for event in effects.events) == meant(
        {"kind": EventKind.AUTO_UNLINK, **entry, "fail": Fail.UNDELIVERABLE}, {"kind": EventKind.AUTO_FREE, **entry}
    )
    assert target.contexts[0].queue.reserved == 0
    assert target.contexts[0].dropped == 1  # no entry was left for the second message


def test_list_commands_wait_for_room():
    machine = pair(event_log2=2)
    machine.consuming.clear()
    overflow(machine)
    for _ in range(2):
        send(machine, 1)
    target = machine.nics[1]
    # Two of four places are taken; the command keeps one in case it is refused.
    effects = target.command(0, append(pt_index=2, entry=0, match_bits=1))
    assert (kinds(event.fields for event in effects.events), effects.waits) == ([EventKind.PUT_OVERFLOW], Pause.ROOM)
    target.event_head(0, 1)
    effects = target.proceed(0)
    assert (kinds(event.fields for event in effects.events), effects.waits) == ([EventKind.PUT_OVERFLOW], None)
    assert target.contexts[0].queue.reserved == 0
    assert target.contexts[0].queue.free(2) == 1


def test_taking_a_header_needs_two_places_only_if_it_frees_its_entry():
    machine = pair(event_log2=2)
    machine.consuming.remove((1, 0))
    overflow(machine, min_free=93)  # holds two messages of 4 bytes
    for expected in (1, 2):
        send(machine, expected)
        machine.consuming.add((1, 0))
        machine.nics[1].event_head(0, machine.nics[1].contexts[0].queue.tail)
        machine.consuming.remove((1, 0))
    target = machine.nics[1]
    tail = target.contexts[0].queue.tail
    target.event_head(0, tail - 2)
    # Of the four places two are taken, the command holds one, and one is free.
    look = {"pt_index": 2, "search_delete": 1}
    assert target.command(0, search(match_bits=1, **look)).waits is None
    target.event_head(0, tail - 1)
    effects = target.command(0, search(match_bits=2, **look))
    assert (effects.waits, effects.events) == (Pause.ROOM, [])
    target.event_head(0, tail)
    assert kinds(event.fields for event in target.proceed(0).events) == [EventKind.PUT_OVERFLOW, EventKind.AUTO_FREE]


def test_headers_can_be_used_again():
    machine = pair()  # with four headers
    overflow(machine)
    for _ in range(3):
        assert [len(send(machine, 1)) for _ in range(5)] == [1, 1, 1, 1, 0]
        assert len(machine.do(1, 0, search(pt_index=2, match_bits=1, search_delete=1))) == 4


# ---- refusals ----


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (portal(2), Refusal.COMMAND_ENTRY),
        (portal(4), Refusal.COMMAND_ENTRY),
        (portal_do(Operation.PT_FREE, 1), Refusal.COMMAND_ENTRY),
        (portal_do(Operation.PT_FREE, 2), Refusal.COMMAND_ENTRY),
        (portal_do(Operation.PT_ENABLE, 3), Refusal.COMMAND_ENTRY),
        (portal_do(Operation.PT_DISABLE, 255), Refusal.COMMAND_ENTRY),
        (append(pt_index=1, entry=1), Refusal.COMMAND_ENTRY),
        (append(pt_index=2, entry=0), Refusal.COMMAND_ENTRY),
        (append(pt_index=2, entry=8), Refusal.COMMAND_ENTRY),
        (append(pt_index=2, entry=1, ct_comm=1, counter=4), Refusal.COMMAND_ENTRY),
        (append(pt_index=2, entry=1, ct_overflow=1, counter=255), Refusal.COMMAND_ENTRY),
        (append(pt_index=2, entry=1, counter=255), None),
        (unlink(1), Refusal.COMMAND_ENTRY),
        (unlink(65535), Refusal.COMMAND_ENTRY),
        (search(pt_index=0), Refusal.COMMAND_ENTRY),
        (search(pt_index=2, ct_overflow=1, counter=4), Refusal.COMMAND_ENTRY),
        ([portal(1)[0], 1 << 63, 0, 0, 0, 0, 4, 0], Refusal.COMMAND_MALFORMED),
        ([portal(1)[0] | 1 << 20, 0, 0, 0, 0, 0, 4, 0], Refusal.COMMAND_MALFORMED),
    ],
)
def test_list_commands_that_are_refused(words, reason):
    machine = pair()
    machine.do(1, 0, append(pt_index=2, entry=0))
    told = machine.do(1, 0, [*words[:6], 4, *words[7:]])
    refused = {"kind": EventKind.REFUSED, "fail": reason, "user_data": 4}
    assert said(told) == (meant(refused) if reason else [])
    assert [refused.reason for refused in machine.refusals[1]] == ([reason] if reason else [])
    assert machine.nics[1].contexts[0].queue.reserved == 0
