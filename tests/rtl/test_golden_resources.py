"""The golden model: flow control, full queues, counting events, with answers worked out by hand."""

import pytest

from rtl.portals import AckRequest, EventKind, Fail, List, Operation, Refusal
from tests.golden.context import WORD_MODULUS
from tests.golden.effects import Pause
from tests.golden.judging import TO_NODE_1, meant, pair, said
from tests.golden.process import append, counter_increment, counter_set, get, portal, portal_do, put

DISABLED = {"kind": EventKind.PT_DISABLED, "pt_index": 2}


def outcome(machine, **fields):
    """How a put with a full acknowledgement ends at its sender."""
    command = put(**(TO_NODE_1 | {"length_bytes": 4, "ack_request": AckRequest.FULL} | fields))
    return Fail(machine.do(0, 0, command)[-1]["fail"])


def told(machine):
    """Events of the target since the last call."""
    events = machine.events[1, 0]
    new, events[:] = [event.fields for event in events], []
    return new


# ---- the portal table ----


def test_a_disabled_portal_takes_nothing_until_it_is_enabled():
    machine = pair()
    machine.do(1, 0, append(pt_index=2, entry=0, length_bytes=4))
    assert outcome(machine) == Fail.OK
    told(machine)
    assert machine.do(1, 0, portal_do(Operation.PT_DISABLE, 2)) == []
    assert outcome(machine) == Fail.PT_DISABLED
    assert told(machine) == []
    machine.do(1, 0, portal_do(Operation.PT_ENABLE, 2))
    assert outcome(machine) == Fail.OK
    assert machine.nics[1].contexts[0].dropped == 1


def test_what_is_no_portal_drops_everything():
    machine = pair()
    assert [outcome(machine, pt_index=index) for index in (1, 3, 4, 255)] == [Fail.DROPPED] * 4
    machine.do(1, 0, portal_do(Operation.PT_FREE, 2))
    assert outcome(machine) == Fail.DROPPED
    assert machine.nics[1].contexts[0].dropped == 5


# ---- flow control ----


def test_without_a_match_flow_control_stops_the_portal():
    machine = pair(flow_control=True)
    assert outcome(machine) == Fail.PT_DISABLED
    assert said(told(machine)) == meant(DISABLED)
    machine.do(1, 0, append(pt_index=2, entry=0, length_bytes=4))
    assert outcome(machine) == Fail.PT_DISABLED
    assert told(machine) == []
    machine.do(1, 0, portal_do(Operation.PT_ENABLE, 2))
    assert outcome(machine) == Fail.OK


@pytest.mark.parametrize("flow_control", [False, True])
@pytest.mark.parametrize("quiet", [False, True])
def test_without_a_free_unexpected_header(flow_control, quiet):
    machine = pair(flow_control=flow_control, unexpected_headers=2)
    machine.do(1, 0, append(List.OVERFLOW, pt_index=2, entry=0, length_bytes=4, event_flow_control_disable=quiet))
    assert [outcome(machine) for _ in range(2)] == [Fail.OK] * 2
    told(machine)
    assert outcome(machine) == (Fail.PT_DISABLED if flow_control else Fail.DROPPED)
    assert said(told(machine)) == meant(*[DISABLED] * (flow_control and not quiet))
    # An entry that keeps no headers needs none.
    machine.do(1, 0, portal_do(Operation.PT_ENABLE, 2))
    machine.do(1, 0, append(List.PRIORITY, pt_index=2, entry=1, match_bits=1, length_bytes=4))
    assert outcome(machine, match_bits=1) == Fail.OK


@pytest.mark.parametrize("flow_control", [False, True])
def test_without_room_in_the_event_queue(flow_control):
    machine = pair(flow_control=flow_control, event_log2=2)
    machine.do(1, 0, append(pt_index=2, entry=0, length_bytes=4))
    machine.consuming.remove((1, 0))
    assert [outcome(machine) for _ in range(4)] == [Fail.OK] * 4
    assert outcome(machine) == (Fail.PT_DISABLED if flow_control else Fail.DROPPED)
    assert len(told(machine)) == 4
    effects = machine.nics[1].event_head(0, 1)
    assert said(event.fields for event in effects.events) == meant(*[DISABLED] * flow_control)
    assert machine.nics[1].event_head(0, 2).events == []


def test_a_message_needs_places_for_all_that_will_be_told():
    machine = pair(event_log2=2)
    machine.do(1, 0, append(pt_index=2, entry=0, length_bytes=4, match_bits=1))
    machine.do(1, 0, append(pt_index=2, entry=1, length_bytes=4, use_once=1))
    machine.consuming.remove((1, 0))
    assert [outcome(machine, match_bits=1) for _ in range(3)] == [Fail.OK] * 3
    assert outcome(machine) == Fail.DROPPED  # PUT and AUTO_UNLINK
    machine.nics[1].event_head(0, 1)
    assert outcome(machine) == Fail.OK
    assert [EventKind(event["kind"]) for event in told(machine)[3:]] == [EventKind.PUT, EventKind.AUTO_UNLINK]


def test_what_cannot_be_matched_does_not_disable_for_its_operation():
    machine = pair(flow_control=True)
    machine.do(1, 0, append(pt_index=2, entry=0, length_bytes=4, op_put=0))
    assert [outcome(machine) for _ in range(2)] == [Fail.OPERATION] * 2
    assert told(machine) == []
    assert machine.nics[1].contexts[0].violations == 2
    assert machine.do(0, 0, get(**TO_NODE_1, length_bytes=4))[-1]["fail"] == Fail.OK


# ---- the sender's queue ----


def test_commands_wait_for_places_of_all_that_they_will_tell():
    machine = pair(event_log2=2)
    sender = machine.nics[0]
    machine.consuming.remove((0, 0))
    machine.do(0, 0, *[put(dst_nid=1, dst_pid=10)] * 3)
    effects = sender.command(0, put(dst_nid=1, dst_pid=10, ack_request=AckRequest.FULL))
    assert (effects.waits, effects.packets) == (Pause.ROOM, [])
    assert sender.proceed(0).waits is Pause.ROOM
    sender.event_head(0, 1)
    effects = sender.proceed(0)
    assert (effects.waits, len(effects.packets), len(effects.events)) == (None, 1, 1)
    # The fourth place is kept for the acknowledgement.
    assert sender.command(0, put(dst_nid=1, dst_pid=10)).waits is Pause.ROOM
    assert sender.contexts[0].queue.reserved == 1


def test_the_queue_is_a_ring_and_events_are_numbered():
    machine = pair(event_log2=2)
    for user_data in range(6):
        machine.do(0, 0, put(dst_nid=1, dst_pid=10, user_data=user_data))
    events = machine.events[0, 0]
    assert [event.fields["sequence"] for event in events] == [1, 2, 3, 4, 5, 6]
    assert [event.address for event in events] == [0x1_0000 + 64 * place for place in (0, 1, 2, 3, 0, 1)]
    shown = [int.from_bytes(machine.read(0, 0, 0x1_0030 + 64 * place, 8), "little") for place in range(4)]
    assert shown == [4, 5, 2, 3]


# ---- counting events ----


def test_counters_are_set_and_incremented():
    machine = pair()
    assert machine.do(0, 0, counter_set(3, 10, 20), counter_increment(3, 5), counter_increment(3, 0, 2)) == []
    assert machine.counter(0, 0, 3) == (15, 22)
    machine.do(0, 0, counter_increment(3, WORD_MODULUS - 15))
    assert machine.counter(0, 0, 3) == (0, 22)
    refused = {"kind": EventKind.REFUSED, "fail": Refusal.COMMAND_ENTRY, "user_data": 8}
    assert said(machine.do(0, 0, counter_set(4, 1, user_data=8))) == meant(refused)
    words = counter_set(1, 1, user_data=8)
    words[7] = 1
    refused["fail"] = Refusal.COMMAND_MALFORMED
    assert said(machine.do(0, 0, words)) == meant(refused)
    assert machine.counter(0, 0, 1) == (0, 0)


# What counts: options of the put and of the entry; counter 1 of the sender, counter 2 of the target.
COUNTED = [
    ({"ct_send": 1}, {"ct_comm": 1}, (2, 0), (2, 0)),
    ({"ct_send": 1, "ct_bytes": 1}, {"ct_comm": 1}, (80, 0), (2, 0)),
    ({"ct_send": 1, "ct_bytes": 1}, {"ct_comm": 1, "ct_bytes": 1}, (80, 0), (60, 0)),
    ({}, {"ct_comm": 1, "event_comm_disable": 1}, (0, 0), (2, 0)),
    ({"ct_send": 1}, {"ct_comm": 1, "window": 1}, (2, 0), (0, 2)),
    ({"ct_bytes": 1}, {"ct_bytes": 1, "ct_overflow": 1}, (0, 0), (0, 0)),
]


@pytest.mark.parametrize(("command", "entry", "sender", "target"), COUNTED)
def test_messages_are_counted(command, entry, sender, target):
    machine = pair()
    machine.do(1, 0, append(pt_index=2, entry=0, length_bytes=30, counter=2, **entry))
    machine.do(0, 0, *[put(**TO_NODE_1, length_bytes=40, counter=1, **command)] * 2)
    assert machine.counter(0, 0, 1) == sender
    assert machine.counter(1, 0, 2) == target


def test_replies_are_counted_and_gets_are_not_sent():
    machine = pair()
    machine.do(1, 0, append(pt_index=2, entry=0, length_bytes=30))
    words = get(**TO_NODE_1, length_bytes=40, counter=1, ct_reply=1, ct_bytes=1, ct_send=1, event_success_disable=1)
    assert machine.do(0, 0, words) == []
    assert machine.counter(0, 0, 1) == (30, 0)


def test_portals_belong_to_their_context():
    machine = pair()
    machine.do(1, 0, append(pt_index=2, entry=0, length_bytes=4))
    assert outcome(machine, dst_pid=11) == Fail.DROPPED
    machine.do(1, 1, portal(2), append(pt_index=2, entry=0, length_bytes=4, user_data=1))
    assert outcome(machine, dst_pid=11) == Fail.OK
    assert told(machine) == []
    assert machine.events[1, 1][0].fields["user_data"] == 1
