"""The golden model: packets that are admitted and packets that are refused; worked out by hand."""

import pytest

from rtl.packets import REQUEST, RESPONSE, PacketKind, pack
from rtl.portals import AckRequest, EventKind, Operation, Refusal
from tests.golden.judging import TO_NODE_1, pair, target
from tests.golden.process import put

# A put of 4 bytes from node 0, context 0, of the machine that `pair` makes (2 nodes, 2 contexts, MTU 64).
PUT = {
    **{"dst_nid": 1, "dst_pid": 10, "kind": Operation.PUT, "pt_index": 2, "src_nid": 0, "src_pid": 10, "jid": 1},
    **{"message_bytes": 4, "first": 1, "last": 1},
}
ACK = {
    **{"dst_nid": 1, "dst_pid": 10, "kind": PacketKind.ACK, "src_nid": 0, "src_pid": 10, "jid": 1},
    **{"lane": 2, "last": 1},
}

# Changes of the put, payload: why it is refused.
REQUESTS = [
    ({}, 4, None),
    ({"dst_nid": 0}, 4, Refusal.PACKET_DESTINATION),
    ({"dst_pid": 12}, 4, Refusal.PACKET_DESTINATION),
    ({"jid": 2}, 4, Refusal.PACKET_JOB),
    ({"sequence": (1 << 55) - 1}, 4, None),
    ({"sequence": 1 << 55}, 4, Refusal.PACKET_SEQUENCE),
    ({"sequence": (1 << 56) - 1}, 4, Refusal.PACKET_SEQUENCE),
    ({"src_nid": 2}, 4, Refusal.PACKET_MALFORMED),
    ({"lane": 2}, 4, Refusal.PACKET_MALFORMED),
    ({"kind": 6}, 4, Refusal.PACKET_MALFORMED),
    ({"kind": PacketKind.REPLY}, 4, Refusal.PACKET_MALFORMED),
    ({"kind": Operation.ME_APPEND}, 4, Refusal.PACKET_MALFORMED),
    ({"message_bytes": 5}, 4, Refusal.PACKET_MALFORMED),
    ({"message_bytes": (1 << 26) + 64, "last": 0}, 64, Refusal.PACKET_MALFORMED),
    ({"message_bytes": 1 << 26, "last": 0}, 64, None),
    ({"message_bytes": 65}, 65, Refusal.PACKET_MALFORMED),
    ({"message_bytes": 100, "last": 0}, 63, Refusal.PACKET_MALFORMED),
    ({"last": 0}, 4, Refusal.PACKET_MALFORMED),
    ({"last": 0, "message_bytes": 64}, 64, Refusal.PACKET_MALFORMED),
    ({"first": 0}, 4, Refusal.PACKET_MALFORMED),
    ({"first": 0, "segment_offset": 64, "message_bytes": 68}, 4, Refusal.PACKET_ABORTED),
    ({"segment_offset": 64, "message_bytes": 68}, 4, Refusal.PACKET_MALFORMED),
    ({"first": 0, "aborted": 1, "segment_offset": 64, "message_bytes": 68}, 0, Refusal.PACKET_ABORTED),
    ({"aborted": 1}, 4, Refusal.PACKET_MALFORMED),
    ({"aborted": 1}, 0, None),
    ({"kind": Operation.GET}, 4, Refusal.PACKET_MALFORMED),
    ({"kind": Operation.GET, "last": 0}, 0, Refusal.PACKET_MALFORMED),
    ({"kind": Operation.ATOMIC}, 4, None),
    ({"kind": Operation.ATOMIC, "atomic_type": 9}, 4, Refusal.PACKET_MALFORMED),
    ({"kind": Operation.SWAP, "atomic_operation": 9}, 4, Refusal.PACKET_MALFORMED),
    ({"kind": Operation.SWAP, "atomic_operation": 9}, 12, None),
]


@pytest.mark.parametrize(("changes", "payload", "reason"), REQUESTS)
def test_requests_are_admitted_or_refused(changes, payload, reason):
    machine = target()
    effects = machine.nics[1].packet(pack(REQUEST, bytes(payload), **(PUT | changes)), response=False)
    assert effects.reasons == ([reason] if reason else [])
    if reason:
        assert [effects.events, effects.packets, effects.writes, effects.counters] == [[]] * 4


@pytest.mark.parametrize("datapath_bits", [64, 128])
@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda flits: [*flits[:-1], flits[-1] ^ 1], Refusal.PACKET_CRC),
        (lambda flits: [flits[0] ^ 1 << 20, *flits[1:]], Refusal.PACKET_CRC),
        (lambda flits: flits[:-1], Refusal.PACKET_CRC),
        (lambda flits: [flits[-1]], Refusal.PACKET_CRC),
        (lambda flits: [0], Refusal.PACKET_MALFORMED),
    ],
)
def test_damage_is_noticed(datapath_bits, damage, reason):
    machine = pair(datapath_bits=datapath_bits)
    flits = pack(REQUEST, bytes(4), datapath_bits=datapath_bits, **PUT)
    assert machine.nics[1].packet(damage(flits), response=False).reasons == [reason]


def test_order_is_kept_for_each_lane_alone():
    machine = target()

    def arrive(**changes):
        flits = pack(REQUEST, bytes(4), **(PUT | changes))
        return machine.nics[1].packet(flits, response=False).reasons

    assert arrive(sequence=5) == []
    assert arrive(sequence=5) == [Refusal.PACKET_SEQUENCE]
    assert arrive(sequence=5, lane=1) == []
    assert arrive(sequence=5, src_nid=1) == []
    assert arrive(sequence=9, dst_pid=99) == [Refusal.PACKET_DESTINATION]
    assert arrive(sequence=9, jid=2) == [Refusal.PACKET_JOB]
    assert arrive(sequence=6) == []
    assert arrive(sequence=6 + (1 << 55)) == []
    assert arrive(sequence=7) == [Refusal.PACKET_SEQUENCE]


@pytest.mark.parametrize(
    ("changes", "payload", "reason"),
    [
        ({}, 0, Refusal.PACKET_HANDLE),
        ({}, 1, Refusal.PACKET_MALFORMED),
        ({"last": 0}, 0, Refusal.PACKET_MALFORMED),
        ({"lane": 0}, 0, Refusal.PACKET_MALFORMED),
        ({"kind": Operation.PUT}, 0, Refusal.PACKET_MALFORMED),
        ({"handle": 0xFFFF}, 0, Refusal.PACKET_HANDLE),
        ({"jid": 3}, 0, Refusal.PACKET_JOB),
        ({"kind": PacketKind.REPLY, "manipulated_bytes": 3}, 4, Refusal.PACKET_MALFORMED),
        ({"kind": PacketKind.REPLY, "manipulated_bytes": 100, "last": 0}, 63, Refusal.PACKET_MALFORMED),
        ({"kind": PacketKind.REPLY, "manipulated_bytes": 100, "last": 0}, 64, Refusal.PACKET_HANDLE),
    ],
)
def test_responses_that_nobody_waits_for(changes, payload, reason):
    machine = pair()
    flits = pack(RESPONSE, bytes(payload), **(ACK | changes))
    assert machine.nics[1].packet(flits, response=True).reasons == [reason]


def test_a_response_must_come_from_where_the_request_went():
    machine = pair()
    sender = machine.nics[0]
    sender.command(0, put(**TO_NODE_1, ack_request=AckRequest.FULL))
    answer = {"dst_nid": 0, "dst_pid": 10, "src_nid": 1, "src_pid": 10, "jid": 1, "lane": 2, "last": 1}
    wrong = [
        {"src_pid": 11, "kind": PacketKind.ACK},
        {"src_nid": 0, "kind": PacketKind.ACK},
        {"dst_pid": 11, "kind": PacketKind.ACK},
        {"generation": 1, "kind": PacketKind.ACK},
        {"handle": 1, "kind": PacketKind.ACK},
        {"kind": PacketKind.REPLY},
    ]
    for number, changes in enumerate(wrong):
        flits = pack(RESPONSE, b"", sequence=number, **(answer | changes))
        assert sender.packet(flits, response=True).reasons == [Refusal.PACKET_HANDLE], changes
    flits = pack(RESPONSE, b"", sequence=9, kind=PacketKind.ACK, **answer)
    assert [event.fields["kind"] for event in sender.packet(flits, response=True).events] == [EventKind.ACK]
