"""Headers as the wire brings them: what a NIC with these sizes says to each, and a reference that lists what is legal.

The destination is context 1 of three: process 11 of job JOB. Process 10 is of job JOB + 1, process 12 is not active.
"""

from rtl.packets import PacketKind
from rtl.portals import AtomicOperation, AtomicType, Fail, Operation, Refusal

NID, NODES, CONTEXTS, MTU_BYTES = 1, 3, 3, 128
JOB = 0x7000_0001
MAX = 1 << 26
OK = Refusal.NONE
MALFORMED, DESTINATION = Refusal.PACKET_MALFORMED, Refusal.PACKET_DESTINATION
SEQUENCE, WRONG_JOB = Refusal.PACKET_SEQUENCE, Refusal.PACKET_JOB

PLACE = {"dst_nid": NID, "dst_pid": 11, "src_nid": 2, "src_pid": 99, "jid": JOB, "sequence": 0}
ALONE = {"first": 1, "last": 1}
PUT = {"kind": Operation.PUT, **ALONE}
MIDDLE = {**PUT, "first": 0, "last": 0, "message_bytes": 300, "segment_offset": 128, "payload_bytes": 128}
GET = {"kind": Operation.GET, **ALONE}
ATOMIC = {"kind": Operation.ATOMIC, **ALONE, "message_bytes": 64, "payload_bytes": 64}
SWAP = {**ATOMIC, "kind": Operation.SWAP, "atomic_operation": AtomicOperation.SWAP}
CSWAP = {**SWAP, "atomic_operation": AtomicOperation.CSWAP, "message_bytes": 4, "payload_bytes": 12}
CSWAP_LONG = {**CSWAP, "atomic_type": AtomicType.UINT64, "message_bytes": 8, "payload_bytes": 16}
CUT = {**MIDDLE, "aborted": 1, "last": 1, "payload_bytes": 0}
REPLY = {"kind": PacketKind.REPLY, "last": 1}
REPLY_MIDDLE = {**REPLY, "last": 0, "manipulated_bytes": 300, "segment_offset": 128, "payload_bytes": 128}
ACK = {"kind": PacketKind.ACK, "last": 1}

REQUESTS = {
    "an empty put": ({**PUT}, OK),
    "a put in one packet": ({**PUT, "message_bytes": 5, "payload_bytes": 5}, OK),
    "a put of just the MTU": ({**PUT, "message_bytes": 128, "payload_bytes": 128}, OK),
    "the first of several": ({**PUT, "last": 0, "message_bytes": 129, "payload_bytes": 128}, OK),
    "one in the middle": ({**MIDDLE}, OK),
    "the last": ({**MIDDLE, "segment_offset": 256, "payload_bytes": 44, "last": 1}, OK),
    "the last, full": ({**MIDDLE, "message_bytes": 256, "last": 1}, OK),
    "the longest message": ({**MIDDLE, "message_bytes": MAX}, OK),
    "longer than the longest": ({**MIDDLE, "message_bytes": MAX + 1}, MALFORMED),
    "far longer": ({**MIDDLE, "message_bytes": (1 << 32) - 1}, MALFORMED),
    "acknowledged": ({**PUT, "ack_request": 1}, OK),
    "counted": ({**PUT, "ack_request": 2}, OK),
    "no such acknowledgement": ({**PUT, "ack_request": 3}, MALFORMED),
    "first in the middle": ({**MIDDLE, "first": 1}, MALFORMED),
    "not first at the beginning": ({**PUT, "first": 0}, MALFORMED),
    "last in the middle": ({**MIDDLE, "last": 1}, MALFORMED),
    "not last at the end": ({**PUT, "last": 0}, MALFORMED),
    "an empty segment at the end": ({**MIDDLE, "message_bytes": 128, "payload_bytes": 0, "last": 1}, MALFORMED),
    "a segment beyond the end": ({**MIDDLE, "segment_offset": 384, "payload_bytes": 0, "last": 1}, MALFORMED),
    "a segment that wraps": ({**MIDDLE, "segment_offset": (1 << 32) - 128}, MALFORMED),
    "a segment at an odd place": ({**MIDDLE, "segment_offset": 64}, MALFORMED),
    "less than a segment": ({**MIDDLE, "payload_bytes": 127}, MALFORMED),
    "more than what remains": ({**PUT, "message_bytes": 5, "payload_bytes": 6}, MALFORMED),
    "less than what remains": ({**PUT, "message_bytes": 5, "payload_bytes": 4}, MALFORMED),
    "a put with an atomic operation": ({**PUT, "atomic_operation": 1}, MALFORMED),
    "a put with an atomic type": ({**PUT, "atomic_type": 1}, MALFORMED),
    "cut short": ({**CUT}, OK),
    "cut short at the beginning": ({**CUT, "segment_offset": 0, "first": 1}, OK),
    "cut short, but first in the middle": ({**CUT, "first": 1}, MALFORMED),
    "cut short, but not last": ({**CUT, "last": 0}, MALFORMED),
    "cut short, with payload": ({**MIDDLE, "aborted": 1}, MALFORMED),
    "cut short beyond the end": ({**CUT, "segment_offset": 384}, MALFORMED),
    "cut short at an odd place": ({**CUT, "segment_offset": 130}, MALFORMED),
    "an empty get": ({**GET}, OK),
    "a long get": ({**GET, "message_bytes": MAX}, OK),
    "a get that is too long": ({**GET, "message_bytes": MAX + 1}, MALFORMED),
    "a get with payload": ({**GET, "message_bytes": 8, "payload_bytes": 8}, MALFORMED),
    "a get that is not first": ({**GET, "first": 0}, MALFORMED),
    "a get that is not last": ({**GET, "last": 0}, MALFORMED),
    "a get of a segment": ({**GET, "message_bytes": 300, "segment_offset": 128}, MALFORMED),
    "a get with acknowledgement": ({**GET, "ack_request": 1}, MALFORMED),
    "a get with an atomic type": ({**GET, "atomic_type": 1}, MALFORMED),
    "an atomic": ({**ATOMIC}, OK),
    "an atomic with acknowledgement": ({**ATOMIC, "ack_request": 2}, OK),
    "an atomic of one datum": ({**ATOMIC, "message_bytes": 4, "payload_bytes": 4}, OK),
    "an atomic of half a datum": ({**ATOMIC, "atomic_type": 3, "message_bytes": 4, "payload_bytes": 4}, MALFORMED),
    "an atomic of two bytes": ({**ATOMIC, "message_bytes": 2, "payload_bytes": 2}, MALFORMED),
    "an atomic of nothing": ({**ATOMIC, "message_bytes": 0, "payload_bytes": 0}, MALFORMED),
    "an atomic that is too long": ({**ATOMIC, "message_bytes": 72, "payload_bytes": 72}, MALFORMED),
    "an atomic whose length wraps": ({**ATOMIC, "message_bytes": 128 + 64, "payload_bytes": 64}, MALFORMED),
    "an atomic with less payload": ({**ATOMIC, "payload_bytes": 56}, MALFORMED),
    "an atomic of no type": ({**ATOMIC, "atomic_type": 4}, MALFORMED),
    "an atomic of no operation": ({**ATOMIC, "atomic_operation": 6}, MALFORMED),
    "an atomic of a far operation": ({**ATOMIC, "atomic_operation": 11}, MALFORMED),
    "an atomic that swaps": ({**ATOMIC, "atomic_operation": AtomicOperation.SWAP}, MALFORMED),
    "an atomic in the middle": ({**ATOMIC, "first": 0}, MALFORMED),
    "an atomic that goes on": ({**ATOMIC, "last": 0}, MALFORMED),
    "an atomic at an offset": ({**ATOMIC, "message_bytes": 64, "segment_offset": 128}, MALFORMED),
    "an atomic cut short": ({**ATOMIC, "aborted": 1, "payload_bytes": 0}, OK),
    "an atomic cut short, with payload": ({**ATOMIC, "aborted": 1}, MALFORMED),
    "a fetch": ({**ATOMIC, "kind": Operation.FETCH_ATOMIC, "atomic_operation": AtomicOperation.XOR}, OK),
    "a fetch that swaps": ({**SWAP, "kind": Operation.FETCH_ATOMIC}, MALFORMED),
    "a fetch with acknowledgement": ({**ATOMIC, "kind": Operation.FETCH_ATOMIC, "ack_request": 1}, MALFORMED),
    "a swap": ({**SWAP}, OK),
    "a swap that sums": ({**SWAP, "atomic_operation": AtomicOperation.SUM}, MALFORMED),
    "a compare and swap": ({**CSWAP}, OK),
    "a long compare and swap": ({**CSWAP_LONG}, OK),
    "a masked swap": ({**CSWAP_LONG, "atomic_operation": AtomicOperation.MSWAP}, OK),
    "a compare and swap without operand": ({**CSWAP, "payload_bytes": 4}, MALFORMED),
    "a compare and swap of two": ({**CSWAP, "message_bytes": 8, "payload_bytes": 16}, MALFORMED),
    "a long compare and swap of two": ({**CSWAP_LONG, "message_bytes": 16, "payload_bytes": 24}, MALFORMED),
    "no operation": ({**PUT, "kind": 0}, MALFORMED),
    "a list operation": ({**PUT, "kind": Operation.ME_APPEND}, MALFORMED),
    "a response among requests": ({**ACK, "first": 1}, MALFORMED),
    "another kind": ({**PUT, "kind": 6}, MALFORMED),
    "a node that is not there": ({**PUT, "src_nid": NODES}, MALFORMED),
    "a node that is far from there": ({**PUT, "src_nid": 0x8002}, MALFORMED),
    "the lane of responses": ({**PUT, "lane": CONTEXTS}, MALFORMED),
    "the last lane": ({**PUT, "lane": CONTEXTS - 1}, OK),
    "a lane that is not there": ({**PUT, "lane": 0x82}, MALFORMED),
    "another node": ({**PUT, "dst_nid": 2}, DESTINATION),
    "another node, replayed": ({**PUT, "dst_nid": 2, "sequence": (1 << 56) - 1}, DESTINATION),
    "another node, malformed": ({**PUT, "dst_nid": 2, "last": 0}, MALFORMED),
    "replayed": ({**PUT, "sequence": (1 << 56) - 1}, SEQUENCE),
    "replayed, no such process": ({**PUT, "sequence": (1 << 56) - 1, "dst_pid": 99}, SEQUENCE),
    "no such process": ({**PUT, "dst_pid": 99}, DESTINATION),
    "a process that is not active": ({**PUT, "dst_pid": 12}, DESTINATION),
    "a process of another job": ({**PUT, "dst_pid": 10}, WRONG_JOB),
    "from another job": ({**PUT, "jid": JOB ^ 1 << 31}, WRONG_JOB),
    "from job 0": ({**PUT, "jid": 0}, WRONG_JOB),
}
RESPONSES = {
    "an acknowledgement": ({**ACK, "manipulated_bytes": 300}, OK),
    "a silent one": ({**ACK, "silent": 1}, OK),
    "a failed one": ({**ACK, "fail": Fail.DROPPED}, OK),
    "one with payload": ({**ACK, "manipulated_bytes": 8, "payload_bytes": 8}, MALFORMED),
    "one that is not last": ({**ACK, "last": 0}, MALFORMED),
    "one of a segment": ({**ACK, "manipulated_bytes": 300, "segment_offset": 128}, MALFORMED),
    "one of too much": ({**ACK, "manipulated_bytes": MAX + 1}, MALFORMED),
    "an empty reply": ({**REPLY}, OK),
    "a reply": ({**REPLY, "manipulated_bytes": 7, "payload_bytes": 7}, OK),
    "a reply in the middle": ({**REPLY_MIDDLE}, OK),
    "a failing reply in the middle": ({**REPLY_MIDDLE, "fail": Fail.SEGMENT}, OK),
    "a reply of too much": ({**REPLY_MIDDLE, "manipulated_bytes": MAX + 1}, MALFORMED),
    "the end of a reply": ({**REPLY_MIDDLE, "segment_offset": 256, "payload_bytes": 44, "last": 1}, OK),
    "a reply that ends early": ({**REPLY_MIDDLE, "last": 1}, MALFORMED),
    "a reply that does not end": ({**REPLY, "last": 0}, MALFORMED),
    "a reply of less": ({**REPLY_MIDDLE, "payload_bytes": 120}, MALFORMED),
    "a reply that gave up": ({**REPLY_MIDDLE, "fail": Fail.SEGMENT, "payload_bytes": 0, "last": 1}, OK),
    "a reply that gave up without failing": ({**REPLY_MIDDLE, "payload_bytes": 0, "last": 1}, MALFORMED),
    "a reply that gave up and goes on": ({**REPLY_MIDDLE, "fail": Fail.SEGMENT, "payload_bytes": 0}, MALFORMED),
    "a reply that gave up beyond": (
        {**REPLY_MIDDLE, "fail": Fail.SEGMENT, "payload_bytes": 0, "last": 1, "segment_offset": 384},
        MALFORMED,
    ),
    "a request among responses": ({**REPLY, "kind": Operation.PUT}, MALFORMED),
    "another kind of response": ({**ACK, "kind": 66}, MALFORMED),
    "the lane of a context": ({**ACK, "lane": 0}, MALFORMED),
    "a lane beyond": ({**ACK, "lane": CONTEXTS + 1}, MALFORMED),
    "a node that is not there": ({**ACK, "src_nid": NODES}, MALFORMED),
    "another node": ({**ACK, "dst_nid": 0}, DESTINATION),
    "replayed": ({**ACK, "sequence": 1 << 55}, SEQUENCE),
    "just not replayed": ({**ACK, "sequence": (1 << 55) - 1}, OK),
    "a process that is not active": ({**ACK, "dst_pid": 12}, DESTINATION),
    "from another job": ({**ACK, "jid": JOB + 1}, WRONG_JOB),
}


def _segments(total_bytes: int, near: int) -> set[tuple[int, int, int]]:
    """(offset, bytes, last) of those segments of a message that lie about `near`, and of the last one."""
    offsets = range(0, max(total_bytes, 1), MTU_BYTES)
    chosen = {offset for offset in range(near - 1, near + 2) if offset in offsets} | {offsets[-1]}
    return {(offset, min(MTU_BYTES, total_bytes - offset), int(offset == offsets[-1])) for offset in chosen}


def is_request(header: dict[str, int]) -> bool:
    """A reference for requests: lists what is legal instead of deriving it."""
    kind, total = header["kind"], header["message_bytes"]
    segment = header["segment_offset"], header["payload_bytes"], header["last"]
    segments = _segments(total, segment[0])
    legal: set[tuple[int, ...]] = set()  # segment and first
    pairs = {(0, 0)}
    acks = {0, 1, 2} if kind in (Operation.PUT, Operation.ATOMIC) else {0}
    if kind == Operation.PUT and header["aborted"]:
        legal = {(offset, 0, 1, 0) for offset, _, _ in segments} | {(0, 0, 1, 1)}
    elif kind == Operation.PUT:
        legal = {(offset, size, last, int(offset == 0)) for offset, size, last in segments}
    elif kind == Operation.GET:
        legal = {(0, 0, 1, 1)}
    elif kind in (Operation.ATOMIC, Operation.FETCH_ATOMIC, Operation.SWAP):
        operations = {8, 9, 10} if kind == Operation.SWAP else {0, 1, 2, 3, 4, 5}
        datum = {0: 4, 1: 4, 2: 8, 3: 8}.get(header["atomic_type"], 0)
        paired = header["atomic_operation"] in (9, 10)
        sizes = {datum} if paired else set(range(datum, 65, datum or 100))
        pairs = {(operation, datum_type) for operation in operations for datum_type in range(4)}
        if total in sizes and datum:
            legal = {(0, 0 if header["aborted"] else total + 8 * paired, 1, 1)}
    return (
        (*segment, header["first"]) in legal
        and header["ack_request"] in acks
        and (header["atomic_operation"], header["atomic_type"]) in pairs
        and total <= MAX
    )


def is_response(header: dict[str, int]) -> bool:
    segment = header["segment_offset"], header["payload_bytes"], header["last"]
    segments = _segments(header["manipulated_bytes"], segment[0])
    if header["fail"]:
        segments |= {(offset, 0, 1) for offset, _, _ in segments}
    legal = {PacketKind.ACK: {(0, 0, 1)}, PacketKind.REPLY: segments}
    return segment in legal.get(header["kind"], ()) and header["manipulated_bytes"] <= MAX
