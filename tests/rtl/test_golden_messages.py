"""The golden model: puts and gets between two processes, with answers worked out by hand."""

import pytest

from rtl.portals import AckRequest, EventKind, Fail, List, Refusal
from tests.golden.context import Right, Settings, Window
from tests.golden.effects import Source
from tests.golden.judging import FROM_NODE_0, FROM_NODE_1, TEXT, TO_NODE_1, meant, pair, said
from tests.golden.process import append, get, put


def test_a_put_moves_bytes_and_tells_both_sides():
    machine = pair()
    machine.write(0, 0, 0, TEXT)
    machine.do(1, 0, append(pt_index=2, entry=5, offset=0x1003, length_bytes=100, match_bits=0xAB, user_data=77))
    sender = machine.do(
        0,
        0,
        put(
            **TO_NODE_1,
            local_offset=5,
            length_bytes=21,
            match_bits=0xAB,
            remote_offset=30,
            header_data=0xFEED,
            user_data=55,
        ),
    )
    assert said(sender) == meant({"kind": EventKind.SEND, "user_data": 55})
    assert said([event.fields for event in machine.events[1, 0]]) == meant(
        FROM_NODE_0
        | {
            "kind": EventKind.PUT,
            "pt_index": 2,
            "start_offset": 0x1021,
            "requested_bytes": 21,
            "manipulated_bytes": 21,
            "remote_offset": 30,
            "match_bits": 0xAB,
            "header_data": 0xFEED,
            "user_data": 77,
        }
    )
    assert machine.read(1, 0, 0x1020, 23) == b"\0" + bytes(range(6, 27)) + b"\0"


@pytest.mark.parametrize("datapath_bits", [64, 128])
@pytest.mark.parametrize(
    ("length", "payloads"),
    [(0, [0]), (1, [1]), (63, [63]), (64, [64]), (65, [64, 1]), (128, [64, 64]), (200, [64, 64, 64, 8])],
)
def test_a_put_is_cut_into_packets(length, payloads, datapath_bits):
    machine = pair(datapath_bits=datapath_bits)
    machine.write(0, 0, 3, TEXT)
    words = put(dst_nid=1, dst_pid=10, pt_index=2, local_offset=3, length_bytes=length, match_bits=9, header_data=8)
    packets = machine.nics[0].command(0, words).packets
    headers = [packet.fields(datapath_bits) for packet in packets]
    assert [header["payload_bytes"] for header in headers] == payloads
    assert [header["segment_offset"] for header in headers] == [64 * i for i in range(len(payloads))]
    assert [header["first"] for header in headers] == [1] + [0] * (len(payloads) - 1)
    assert [header["last"] for header in headers] == [0] * (len(payloads) - 1) + [1]
    assert [header["sequence"] for header in headers] == list(range(len(payloads)))
    assert {header["message_bytes"] for header in headers} == {length}
    assert {(h["match_bits"], h["header_data"], h["src_nid"], h["src_pid"], h["jid"]) for h in headers} == {
        (9, 8, 0, 10, 1)
    }
    # Header flits, payload flits, one for the CRC.
    size = datapath_bits // 8
    assert [len(packet.flits) for packet in packets] == [64 // size + -(-n // size) + 1 for n in payloads]


@pytest.mark.parametrize("length", [0, 1, 64, 65, 200])
@pytest.mark.parametrize("datapath_bits", [64, 128])
def test_a_get_brings_bytes_and_tells_both_sides(length, datapath_bits):
    machine = pair(datapath_bits=datapath_bits)
    machine.write(1, 0, 0x101, TEXT)
    machine.do(1, 0, append(pt_index=2, entry=0, offset=0x100, length_bytes=300, match_bits=4, user_data=7))
    sender = machine.do(
        0,
        0,
        get(**TO_NODE_1, local_offset=0x703, length_bytes=length, match_bits=4, remote_offset=1, user_data=9),
    )
    assert said(sender) == meant(
        FROM_NODE_1 | {"kind": EventKind.REPLY, "manipulated_bytes": length, "remote_offset": 1, "user_data": 9}
    )
    assert said([event.fields for event in machine.events[1, 0]]) == meant(
        FROM_NODE_0
        | {
            "kind": EventKind.GET,
            "pt_index": 2,
            "start_offset": 0x101,
            "requested_bytes": length,
            "manipulated_bytes": length,
            "remote_offset": 1,
            "match_bits": 4,
            "user_data": 7,
        }
    )
    assert machine.read(0, 0, 0x702, length + 2) == b"\0" + TEXT[:length] + b"\0"


# Length of the message, its remote offset, options of the entry (100 bytes long), bytes moved (None: no match).
TRUNCATIONS = [
    (100, 0, {}, 100),
    (101, 0, {}, 100),
    (50, 60, {}, 40),
    (50, 100, {}, 0),
    (50, 1 << 63, {}, 0),
    (0, 200, {}, 0),
    (100, 0, {"no_truncate": 1}, 100),
    (101, 0, {"no_truncate": 1}, None),
    (41, 60, {"no_truncate": 1}, None),
    (40, 60, {"no_truncate": 1}, 40),
    (0, 200, {"no_truncate": 1}, 0),
    (40, 1 << 40, {"manage_local": 1}, 40),
]


@pytest.mark.parametrize(("length", "offset", "options", "moved"), TRUNCATIONS)
@pytest.mark.parametrize("operation", ["put", "get"])
def test_what_an_entry_has_no_room_for_is_cut_or_not_matched(operation, length, offset, options, moved):
    machine = pair()
    machine.write(0, 0, 0, TEXT)
    machine.write(1, 0, 0x1000, bytes(reversed(TEXT)))
    machine.do(1, 0, append(pt_index=2, entry=0, offset=0x1000, length_bytes=100, **options))
    if operation == "put":
        words = put(**TO_NODE_1, length_bytes=length, remote_offset=offset, ack_request=AckRequest.FULL)
    else:
        words = get(**TO_NODE_1, length_bytes=length, remote_offset=offset)
    answer = machine.do(0, 0, words)[-1]
    at = 0 if options.get("manage_local") else offset
    if moved is None:
        assert answer["fail"] == Fail.DROPPED
        assert machine.nics[1].contexts[0].dropped == 1
        assert machine.events[1, 0] == []
        return
    assert (answer["fail"], answer["manipulated_bytes"], answer["remote_offset"]) == (Fail.OK, moved, at)
    event = machine.events[1, 0][-1].fields
    assert (event["requested_bytes"], event["manipulated_bytes"], event["remote_offset"]) == (length, moved, offset)
    assert event["start_offset"] == (0x1000 + at) % (1 << 48)
    before = bytes(reversed(TEXT))
    if operation == "get":
        assert machine.read(0, 0, 0, 200) == before[at : at + moved] + TEXT[moved:]
    elif moved:
        assert machine.read(1, 0, 0x1000, 200) == before[:at] + TEXT[:moved] + before[at + moved :]
    else:
        assert machine.read(1, 0, 0x1000, 200) == before


# ack_request, options of the command, options of the entry: kinds of the sender's events, its counter 1
ACKNOWLEDGEMENTS = [
    (AckRequest.NONE, {}, {}, [EventKind.SEND], (0, 0)),
    (AckRequest.FULL, {}, {}, [EventKind.SEND, EventKind.ACK], (0, 0)),
    (AckRequest.FULL, {"ct_ack": 1}, {}, [EventKind.SEND, EventKind.ACK], (1, 0)),
    (AckRequest.FULL, {"ct_ack": 1, "ct_bytes": 1}, {}, [EventKind.SEND, EventKind.ACK], (70, 0)),
    (AckRequest.FULL, {"ct_ack": 1, "event_success_disable": 1}, {}, [], (1, 0)),
    (AckRequest.FULL, {"event_send_disable": 1}, {}, [EventKind.ACK], (0, 0)),
    (AckRequest.FULL, {"ct_ack": 1}, {"ack_disable": 1}, [EventKind.SEND], (0, 0)),
    (AckRequest.COUNTING, {"ct_ack": 1}, {}, [EventKind.SEND], (1, 0)),
    (AckRequest.COUNTING, {"ct_ack": 1, "ct_send": 1, "ct_bytes": 1}, {}, [EventKind.SEND], (170, 0)),
    (AckRequest.NONE, {"ct_send": 1}, {}, [EventKind.SEND], (1, 0)),
    (AckRequest.NONE, {"ct_send": 1, "event_send_disable": 1}, {}, [], (1, 0)),
    (AckRequest.COUNTING, {"ct_ack": 1}, {"op_put": 0}, [EventKind.SEND], (0, 1)),
    (AckRequest.FULL, {"ct_ack": 1, "ct_bytes": 1}, {"op_put": 0}, [EventKind.SEND, EventKind.ACK], (0, 1)),
    (AckRequest.FULL, {"event_success_disable": 1}, {"op_put": 0}, [EventKind.ACK], (0, 0)),
]


@pytest.mark.parametrize(("request_", "options", "entry", "kinds", "counter"), ACKNOWLEDGEMENTS)
def test_acknowledgements(request_, options, entry, kinds, counter):
    machine = pair()
    machine.do(1, 0, append(pt_index=2, entry=0, length_bytes=70, **entry))
    words = put(**TO_NODE_1, length_bytes=100, ack_request=request_, counter=1, **options)
    assert [event["kind"] for event in machine.do(0, 0, words)] == kinds
    assert machine.counter(0, 0, 1) == counter
    # Every entry for an answer is free again, and every place is.
    assert machine.nics[0].contexts[0].queue.reserved == machine.nics[1].contexts[0].queue.reserved == 0
    for _ in range(3):
        machine.do(0, 0, words)
    assert not machine.waits(0, 0)


@pytest.mark.parametrize(
    ("fail", "entry", "rights"),
    [
        (Fail.DROPPED, {"match_bits": 1}, Right.ALL),
        (Fail.OPERATION, {"op_put": 0, "op_get": 0}, Right.ALL),
        (Fail.SEGMENT, {"window": 1}, Right.ALL),
        (Fail.SEGMENT, {"window": 200}, Right.ALL),
        (Fail.SEGMENT, {"offset": 0x1_0000 - 49}, Right.ALL),
        (Fail.SEGMENT, {"offset": (1 << 48) - 1}, Right.ALL),
        (Fail.SEGMENT, {}, Right.LOCAL_READ | Right.LOCAL_WRITE),
    ],
)
@pytest.mark.parametrize("operation", ["put", "get"])
def test_failures_are_told_to_both_sides(operation, fail, entry, rights):
    machine = pair()
    old = machine.nics[1].contexts[0].settings
    window = Window(base=0, length=0x1_0000, rights=rights)
    machine.nics[1].configure(0, Settings(**(vars(old) | {"windows": [window]})))
    machine.do(1, 0, append(pt_index=2, entry=0, length_bytes=70, ct_comm=1, counter=3, **entry))
    machine.write(1, 0, 0, TEXT)
    words = {
        "put": put(**TO_NODE_1, length_bytes=50, ack_request=AckRequest.FULL, ct_ack=1, counter=2),
        "get": get(**TO_NODE_1, length_bytes=50, ct_reply=1, counter=2, local_offset=0x100),
    }[operation]
    answer = machine.do(0, 0, words)[-1]
    assert (answer["fail"], answer["manipulated_bytes"]) == (fail, 0)
    assert machine.counter(0, 0, 2) == (0, 1)
    told = [event.fields for event in machine.events[1, 0]]
    matched = fail == Fail.SEGMENT
    assert [(event["fail"], event["manipulated_bytes"]) for event in told] == [(fail, 0)] * matched
    assert machine.counter(1, 0, 3) == (0, 1 if matched else 0)
    context = machine.nics[1].contexts[0]
    assert (context.dropped, context.violations) == (fail == Fail.DROPPED, fail == Fail.OPERATION)
    assert machine.read(0, 0, 0x100, 50) == bytes(50)
    assert machine.read(1, 0, 0, 200) == TEXT


# Commands that are refused, and why.
REFUSED = [
    (None, Refusal.MEMORY_ERROR),
    ([99, 0, 0, 0, 0, 0, 5, 0], Refusal.COMMAND_MALFORMED),
    (put(dst_nid=2), Refusal.COMMAND_MALFORMED),
    (put(ack_request=3), Refusal.COMMAND_MALFORMED),
    (put(atomic_type=1), Refusal.COMMAND_MALFORMED),
    (put(length_bytes=(1 << 26) + 1), Refusal.COMMAND_MALFORMED),
    (get(ack_request=1), Refusal.COMMAND_MALFORMED),
    (put(length_bytes=1 << 26), Refusal.COMMAND_WINDOW),
    (put(length_bytes=2, local_offset=0xFFFF), Refusal.COMMAND_WINDOW),
    (put(length_bytes=1, local_window=1), Refusal.COMMAND_WINDOW),
    (get(length_bytes=1, local_window=7), Refusal.COMMAND_WINDOW),
    (put(counter=4, ct_send=1, length_bytes=2, local_offset=0xFFFF), Refusal.COMMAND_ENTRY),
    (put(counter=4, ct_ack=1), Refusal.COMMAND_ENTRY),
    (get(counter=255, ct_reply=1), Refusal.COMMAND_ENTRY),
    ([put()[0] | 1 << 63, 0, 0, 0, 0, 0, 5, 0], Refusal.COMMAND_MALFORMED),
]


@pytest.mark.parametrize(("words", "reason"), REFUSED)
def test_commands_are_refused_and_the_next_one_is_not(words, reason):
    machine = pair()
    machine.do(0, 0, put(dst_nid=1, dst_pid=10, event_send_disable=1))
    if words is not None:
        words = [*words[:6], 5, *words[7:]]
    told = machine.do(0, 0, words, put(dst_nid=1, dst_pid=10, length_bytes=0, user_data=6))
    assert said(told) == meant(
        {"kind": EventKind.REFUSED, "fail": reason, "user_data": 0 if words is None else 5},
        {"kind": EventKind.SEND, "user_data": 6},
    )
    assert [(r.reason, r.context, r.detail) for r in machine.refusals[0]] == [(reason, 0, 1)]
    assert machine.nics[0].contexts[0].refused == 1
    assert machine.nics[0].contexts[0].queue.reserved == 0


def test_zero_bytes_look_at_no_window():
    machine = pair()
    machine.do(1, 0, append(pt_index=2, entry=0, length_bytes=10, window=9))
    for words in (
        put(**TO_NODE_1, local_window=9, local_offset=1 << 40, ack_request=AckRequest.FULL),
        get(**TO_NODE_1, local_window=9, local_offset=1 << 40),
    ):
        assert machine.do(0, 0, words)[-1]["fail"] == Fail.OK


def test_outstanding_requests_wait_for_an_entry():
    machine = pair()  # with two entries
    sent = [machine.nics[0].command(0, get(**TO_NODE_1)) for _ in range(3)]
    assert [len(effects.packets) for effects in sent] == [1, 1, 0]
    handles = [effects.packets[0].fields(64)["handle"] for effects in sent[:2]]
    assert handles == [0, 1]
    answer = machine.nics[1].packet(sent[1].packets[0].flits, response=False).packets[0]
    assert answer.fields(64)["fail"] == Fail.DROPPED
    machine.nics[0].packet(answer.flits, response=True)
    third = machine.nics[0].proceed(0).packets[0].fields(64)
    assert (third["handle"], third["generation"]) == (1, 1)
    again = machine.nics[0].packet(answer.flits, response=True)
    assert again.reasons == [Refusal.PACKET_SEQUENCE]


def test_the_hardware_may_name_its_requests():
    machine = pair()
    nic = machine.nics[0]
    nic.name_request(0, 1, 9)
    nic.name_request(0, 0, 8)
    packets = [nic.command(0, get(**TO_NODE_1)).packets[0] for _ in range(2)]
    headers = [packet.fields(64) for packet in packets]
    assert [(header["handle"], header["generation"]) for header in headers] == [(1, 9), (0, 8)]
    for packet in packets:
        answer = machine.nics[1].packet(packet.flits, response=False).packets[0]
        assert len(nic.packet(answer.flits, response=True).events) == 1
    nic.name_request(1, 0, 0)
    with pytest.raises(ValueError, match="handle 0 is in use, or not of this context"):
        nic.command(1, get(**TO_NODE_1))


def test_events_say_who_writes_them():
    machine = pair()
    machine.do(1, 0, append(pt_index=2, entry=0, length_bytes=9, event_link_disable=0))
    machine.do(0, 0, put(**TO_NODE_1, ack_request=AckRequest.FULL), get(**TO_NODE_1))
    assert [event.source for event in machine.events[1, 0]] == [Source.LISTS, Source.REQUESTS, Source.REPLIES]
    assert {(event.fields["kind"], event.source) for event in machine.events[0, 0]} == {
        (EventKind.SEND, Source.COMMANDS),
        (EventKind.ACK, Source.RESPONSES),
        (EventKind.REPLY, Source.RESPONSES),
    }


def test_a_message_of_which_nothing_more_comes_gives_back_what_it_held():
    machine = pair()
    receiver = machine.nics[1]
    entry = {"length_bytes": 200, "use_once": 1, "ct_comm": 1, "counter": 1, "user_data": 6}
    machine.do(1, 0, append(List.OVERFLOW, pt_index=2, entry=0, **entry))
    first, second, _ = machine.nics[0].command(0, put(**TO_NODE_1, length_bytes=180)).packets
    receiver.packet(first.flits, response=False)
    assert receiver.messages_under_way == [(0, 0, 0)]
    assert receiver.contexts[0].queue.reserved == 2
    effects = receiver.abandon(0, 0)
    told = {"pt_index": 2, "user_data": 6, "list": List.OVERFLOW}
    assert said(event.fields for event in effects.events) == meant(
        {"kind": EventKind.AUTO_UNLINK, "fail": Fail.UNDELIVERABLE} | told, {"kind": EventKind.AUTO_FREE} | told
    )
    assert [(change.counter, change.success, change.failure) for change in effects.counters] == [(1, 0, 1)]
    assert effects.reasons == [Refusal.PACKET_ABORTED]
    assert receiver.contexts[0].queue.reserved == 0
    assert receiver.lists(0).free_headers == 4
    assert receiver.packet(second.flits, response=False).reasons == [Refusal.PACKET_ABORTED]
    with pytest.raises(ValueError, match=r"^target: no message of lane 0 of node 0 is under way$"):
        receiver.abandon(0, 0)


def test_lists_are_searched_in_their_order_and_by_bits_and_source():
    machine = pair()
    entries = [
        # entry number, which list, options
        (0, List.PRIORITY, {"match_bits": 0x10, "any_nid": 0, "match_nid": 1}),
        (1, List.PRIORITY, {"match_bits": 0x10, "any_pid": 0, "match_pid": 11}),
        (2, List.PRIORITY, {"match_bits": 0xFFFF, "ignore_bits": 0xFF0F, "length_bytes": 3, "no_truncate": 1}),
        (3, List.OVERFLOW, {"ignore_bits": (1 << 64) - 1, "unexpected_header_disable": 1}),
        (4, List.PRIORITY, {"match_bits": 0x10, "use_once": 1, "event_unlink_disable": 1}),
        (5, List.PRIORITY, {"match_bits": 0x10}),
        (6, List.OVERFLOW, {}),
    ]
    for number, which, options in entries:
        fields = {"length_bytes": 50, "user_data": number} | options
        machine.do(1, 0, append(which, pt_index=2, entry=number, **fields))
    # Sending context, bits, length: number of the entry that takes it.
    for context, bits, length, expected in [
        (0, 0x10, 5, 4),
        (0, 0x10, 5, 5),
        (1, 0x10, 5, 1),
        (0, 0xF0, 3, 2),
        (0, 0xF0, 4, 3),
        (0, 0x10, 3, 5),
        (1, 0x11, 3, 3),
    ]:
        before = len(machine.events[1, 0])
        machine.do(0, context, put(**TO_NODE_1, length_bytes=length, match_bits=bits))
        told = [event.fields for event in machine.events[1, 0][before:]]
        assert [(event["user_data"], event["src_pid"]) for event in told] == [(expected, 10 + context)]
        assert told[0]["list"] == (List.OVERFLOW if expected == 3 else List.PRIORITY)
