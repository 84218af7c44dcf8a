"""The golden model: messages that break off, lives of contexts, replies; worked out by hand."""

import pytest

from rtl.nic.parameters import NicParameters
from rtl.packets import RESPONSE, pack
from rtl.portals import AckRequest, EventKind, Fail, Refusal
from tests.golden.context import Right, Settings, Window
from tests.golden.effects import Pause
from tests.golden.judging import FROM_NODE_0, TEXT, TO_NODE_1, meant, pair, said, target
from tests.golden.process import append, get, put


def settings(machine, nid, **changes):
    """Changes what the kernel said about context 0."""
    nic = machine.nics[nid]
    nic.configure(0, Settings(**(vars(nic.contexts[0].settings) | changes)))


# ---- messages that break off at their sender ----


def start(machine, length=150, **fields):
    """The first packet of a put of 150 bytes (64 + 64 + 22) leaves node 0."""
    words = put(**TO_NODE_1, length_bytes=length, ack_request=AckRequest.FULL, ct_send=1, counter=1, **fields)
    effects = machine.nics[0].begin(0, words)
    assert effects.waits is Pause.PACKET
    return effects.packets


@pytest.mark.parametrize("how", ["window", "rights", "disabled"])
def test_a_message_that_cannot_go_on_is_aborted(how):
    machine = target()
    packets = start(machine)
    if how == "disabled":
        effects = machine.nics[0].disable(0)
    else:
        window = Window(base=0, length=100) if how == "window" else Window(base=0, length=1000, rights=Right(0xE))
        settings(machine, 0, windows=[window])
        effects = machine.nics[0].proceed(0)
    assert effects.waits is None
    aborted = effects.packets[0].fields(64)
    names = ("aborted", "first", "last", "payload_bytes", "segment_offset", "message_bytes", "sequence")
    assert [aborted[name] for name in names] == [1, 0, 1, 0, 64, 150, 1]
    assert said(event.fields for event in effects.events) == meant({"kind": EventKind.SEND, "fail": Fail.SEGMENT})
    assert machine.counter(0, 0, 1) == (0, 1)
    assert machine.nics[1].packet(packets[0].flits, response=False).reasons == []
    end = machine.nics[1].packet(effects.packets[0].flits, response=False)
    assert [(e.fields["fail"], e.fields["manipulated_bytes"]) for e in end.events] == [(Fail.UNDELIVERABLE, 0)]
    assert end.packets[0].fields(64)["fail"] == Fail.UNDELIVERABLE
    assert machine.read(1, 0, 0x100, 65) == TEXT[:64] + b"\0"
    told = machine.nics[0].packet(end.packets[0].flits, response=True)
    if how == "disabled":
        assert told.reasons == [Refusal.PACKET_DESTINATION]
    else:
        assert [event.fields["fail"] for event in told.events] == [Fail.UNDELIVERABLE]


@pytest.mark.parametrize("at", [0, 70])
def test_memory_that_cannot_be_read_poisons_the_packet(at):
    machine = target()
    machine.nics[0].memory.faulty = [range(at, at + 1)]
    machine.write(1, 0, 0x140, b"before")
    words = put(**TO_NODE_1, length_bytes=150, ack_request=AckRequest.FULL, event_success_disable=1)
    effects = machine.nics[0].command(0, words)
    assert [packet.poisoned for packet in effects.packets] == [False] * (at // 64) + [True]
    assert said(event.fields for event in effects.events) == meant({"kind": EventKind.SEND, "fail": Fail.SEGMENT})
    arrived = [machine.nics[1].packet(packet.flits, response=False) for packet in effects.packets]
    told = [event.fields["fail"] for effects in arrived for event in effects.events]
    assert told == [Fail.UNDELIVERABLE] * (at // 64)  # nobody is told of a message whose first packet is poisoned
    answer = arrived[-1].packets[0]
    assert answer.fields(64)["fail"] == Fail.UNDELIVERABLE
    event = machine.nics[0].packet(answer.flits, response=True).events[0].fields
    assert (event["kind"], event["fail"]) == (EventKind.ACK, Fail.UNDELIVERABLE)
    assert machine.read(1, 0, 0x140, 6) == b"before"
    assert machine.nics[1].contexts[0].queue.reserved == 0


def test_one_message_keeps_one_identity():
    machine = target()
    start(machine)
    settings(machine, 0, pid=33, jid=44)
    later = machine.nics[0].proceed(0).packets[0].fields(64)
    assert (later["src_pid"], later["jid"]) == (10, 1)
    machine.nics[0].proceed(0)
    fresh = machine.nics[0].command(0, put(**TO_NODE_1)).packets[0].fields(64)
    assert (fresh["src_pid"], fresh["jid"]) == (33, 44)


# ---- messages that break off on their way ----


@pytest.mark.parametrize("lost", [1, 2])
def test_a_gap_ends_a_message_of_which_counter_and_auto_unlink_tell(lost):
    machine = target(ct_comm=1, counter=1, use_once=1, user_data=9)
    packets = machine.nics[0].command(0, put(**TO_NODE_1, length_bytes=200, ack_request=AckRequest.FULL)).packets
    arrived = [p for number, p in enumerate(packets) if number != lost]
    effects = [machine.nics[1].packet(packet.flits, response=False) for packet in arrived]
    # The first packet after the gap is refused, and so is what there was of the message.
    refused = [[Refusal.PACKET_ABORTED] * number for number in (2, 1)]
    assert [e.reasons for e in effects] == [[]] * lost + refused[: 3 - lost]
    told = effects[lost]
    unlinked = {"kind": EventKind.AUTO_UNLINK, "pt_index": 2, "user_data": 9, "fail": Fail.UNDELIVERABLE}
    assert said(event.fields for event in told.events) == meant(unlinked)
    assert [(change.counter, change.success, change.failure) for change in told.counters] == [(1, 0, 1)]
    assert not any(e.events or e.counters for e in effects if e is not told)
    assert not any(e.packets for e in effects)
    assert machine.nics[1].contexts[0].queue.reserved == 0


def test_a_restart_forgets_messages_under_way():
    machine = target()
    packets = machine.nics[0].command(0, put(**TO_NODE_1, length_bytes=100)).packets
    machine.nics[1].packet(packets[0].flits, response=False)
    machine.nics[1].disable(0)
    machine.nics[1].enable(0)
    assert machine.nics[1].packet(packets[1].flits, response=False).reasons == [Refusal.PACKET_ABORTED]
    assert machine.nics[1].contexts[0].queue.reserved == 0


def test_a_restart_forgets_everything_but_the_order_of_packets():
    machine = pair()
    sender = machine.nics[0]
    machine.do(0, 0, put(dst_nid=1, dst_pid=10, user_data=1))
    asked = sender.command(0, put(**TO_NODE_1, ack_request=AckRequest.FULL)).packets[0]
    sender.disable(0)
    sender.enable(0)
    answer = machine.nics[1].packet(asked.flits, response=False).packets[0]
    assert sender.packet(answer.flits, response=True).reasons == [Refusal.PACKET_HANDLE]
    effects = sender.command(0, put(dst_nid=1, dst_pid=10))
    assert effects.packets[0].fields(64)["sequence"] == 2
    assert (effects.events[0].fields["sequence"], effects.events[0].address) == (1, 0x1_0000)
    assert machine.nics[1].contexts[0].dropped == 2


# ---- responses that do not come ----


@pytest.mark.parametrize(
    ("command", "kind", "counted"),
    [
        (put(**TO_NODE_1, ack_request=AckRequest.FULL, user_data=5, ct_ack=1, counter=1), EventKind.ACK, 1),
        (put(**TO_NODE_1, ack_request=AckRequest.FULL, user_data=5, event_success_disable=1), EventKind.ACK, 0),
        (put(**TO_NODE_1, ack_request=AckRequest.COUNTING, ct_ack=1, ct_bytes=1, counter=1), None, 1),
        (get(**TO_NODE_1, length_bytes=100, user_data=5, ct_reply=1, counter=1), EventKind.REPLY, 1),
    ],
)
def test_a_request_whose_time_is_over_fails_and_its_late_response_is_refused(command, kind, counted):
    machine = pair()
    sender = machine.nics[0]
    asked = sender.command(0, command).packets[0]
    [(handle, _)] = sender.waiting_requests(0)
    effects = sender.expire(0, handle)
    told = {"kind": kind, "src_nid": 1, "src_pid": 10, "jid": 1, "user_data": 5, "fail": Fail.UNDELIVERABLE}
    assert said(event.fields for event in effects.events) == (meant(told) if kind else [])
    assert [(change.counter, change.success, change.failure) for change in effects.counters] == [(1, 0, 1)] * counted
    assert sender.contexts[0].queue.reserved == 0
    answer = machine.nics[1].packet(asked.flits, response=False).packets[0]
    assert sender.packet(answer.flits, response=True).reasons == [Refusal.PACKET_HANDLE]
    with pytest.raises(ValueError, match=f"^outstanding: nothing waits for a response to handle {handle}$"):
        sender.expire(0, handle)


def test_the_first_failure_of_a_reply_that_stops_is_told():
    machine = target()
    settings(machine, 0, windows=[Window(base=0x2_0000, length=0x100)])
    asked = machine.nics[0].command(0, get(**TO_NODE_1, length_bytes=200)).packets[0]
    replies = machine.nics[1].packet(asked.flits, response=False).packets
    settings(machine, 0, windows=[Window(base=0x2_0000, length=0)])
    machine.nics[0].packet(replies[0].flits, response=True)
    [(handle, _)] = machine.nics[0].waiting_requests(0)
    [event] = machine.nics[0].expire(0, handle).events
    assert event.fields["fail"] == Fail.SEGMENT


# ---- writing at the target ----


def test_a_segment_outside_the_window_is_not_written():
    machine = pair()
    machine.write(0, 0, 0, TEXT)
    machine.do(1, 0, append(pt_index=2, entry=0, offset=0xFF80, length_bytes=1000))
    effects = machine.do(0, 0, put(**TO_NODE_1, length_bytes=150, ack_request=AckRequest.FULL))
    assert effects[-1]["fail"] == Fail.SEGMENT
    assert machine.read(1, 0, 0xFF80, 128) == TEXT[:128]
    assert machine.events[1, 0][0].fields["fail"] == Fail.SEGMENT


def test_memory_that_cannot_be_written_fails_the_message():
    machine = target()
    machine.nics[1].memory.faulty = [range(0x150, 0x151)]
    effects = machine.do(0, 0, put(**TO_NODE_1, length_bytes=150, ack_request=AckRequest.FULL))
    assert (effects[-1]["fail"], effects[-1]["manipulated_bytes"]) == (Fail.SEGMENT, 0)


# ---- replies ----


def reply(machine, length=150, **fields):
    """A get of 150 bytes has reached node 1; the effects of its reply's first packet."""
    asked = machine.nics[0].command(0, get(**TO_NODE_1, length_bytes=length, local_offset=0x400, **fields)).packets[0]
    assert machine.nics[1].arrive(asked.flits, response=False).waits is Pause.PACKET
    return machine.nics[1].reply(0)


def test_a_reply_is_cut_into_packets():
    machine = target()
    machine.write(1, 0, 0x100, TEXT)
    headers = [reply(machine).packets[0].fields(64)]
    effects = machine.nics[1].reply(0)
    assert effects.events == []  # the target hears of it when it has left
    headers.append(effects.packets[0].fields(64))
    effects = machine.nics[1].reply(0)
    headers.append(effects.packets[0].fields(64))
    assert effects.waits is None
    names = ("payload_bytes", "segment_offset", "manipulated_bytes", "last", "sequence", "lane", "fail")
    assert [[header[name] for name in names] for header in headers] == [
        [64, 0, 150, 0, 0, 2, 0],
        [64, 64, 150, 0, 1, 2, 0],
        [22, 128, 150, 1, 2, 2, 0],
    ]
    assert said(event.fields for event in effects.events) == meant(
        FROM_NODE_0
        | {"kind": EventKind.GET, "pt_index": 2, "start_offset": 0x100}
        | {"requested_bytes": 150, "manipulated_bytes": 150}
    )
    assert machine.nics[1].replies == []


def test_a_reply_whose_window_is_closed_on_the_way():
    machine = target()
    machine.write(1, 0, 0x100, TEXT)
    first = reply(machine).packets[0]
    settings(machine, 1, windows=[Window(base=0, length=0x100 + 149)])
    effects = machine.nics[1].reply(0)
    names = ("payload_bytes", "segment_offset", "manipulated_bytes", "last", "fail")
    assert [effects.packets[0].fields(64)[name] for name in names] == [0, 64, 150, 1, Fail.SEGMENT]
    assert [(e.fields["fail"], e.fields["manipulated_bytes"]) for e in effects.events] == [(Fail.SEGMENT, 0)]
    assert machine.nics[0].packet(first.flits, response=True).events == []
    told = machine.nics[0].packet(effects.packets[0].flits, response=True).events[0].fields
    assert (told["kind"], told["fail"], told["manipulated_bytes"]) == (EventKind.REPLY, Fail.SEGMENT, 0)
    assert machine.read(0, 0, 0x400, 65) == TEXT[:64] + b"\0"


def test_a_reply_that_memory_does_not_give_is_poisoned():
    machine = target()
    machine.nics[1].memory.faulty = [range(0x130, 0x131)]
    effects = reply(machine)
    assert (effects.packets[0].poisoned, effects.waits) == (True, None)
    assert [event.fields["fail"] for event in effects.events] == [Fail.SEGMENT]
    told = machine.nics[0].packet(effects.packets[0].flits, response=True).events[0].fields
    assert (told["kind"], told["fail"]) == (EventKind.REPLY, Fail.SEGMENT)
    assert machine.read(0, 0, 0x400, 150) == bytes(150)


@pytest.mark.parametrize("how", ["window", "longer", "memory"])
def test_a_reply_that_cannot_be_written(how):
    machine = target()
    machine.write(1, 0, 0x100, TEXT)
    packet = reply(machine, length=60, ct_reply=1, counter=2).packets[0]
    flits = packet.flits
    if how == "window":
        settings(machine, 0, windows=[Window(base=0, length=0x1_0000, rights=Right.LOCAL_READ)])
    elif how == "memory":
        machine.nics[0].memory.faulty = [range(0x400, 0x401)]
    else:
        header = packet.fields(64) | {"manipulated_bytes": 61}
        del header["payload_bytes"]
        flits = pack(RESPONSE, TEXT[:61], **header)
    told = machine.nics[0].packet(flits, response=True).events[0].fields
    assert (told["fail"], told["manipulated_bytes"]) == (Fail.SEGMENT, 0)
    assert machine.counter(0, 0, 2) == (0, 1)
    assert machine.read(0, 0, 0x401, 59) == (TEXT[1:60] if how == "memory" else bytes(59))


def test_a_nic_of_another_size():
    machine = pair(datapath_bits=128, mtu_bytes=256, contexts=2)
    assert machine.parameters == NicParameters(
        contexts=2,
        windows=2,
        portal_entries=4,
        match_entries=8,
        unexpected_headers=4,
        counters=4,
        outstanding=2,
        mtu_bytes=256,
        datapath_bits=128,
    )
    machine.write(0, 0, 1, TEXT)
    machine.do(1, 0, append(pt_index=2, entry=0, offset=7, length_bytes=1000))
    machine.do(0, 0, put(**TO_NODE_1, local_offset=1, length_bytes=200))
    assert machine.read(1, 0, 7, 201) == TEXT + b"\0"
