"""Put and get: acknowledgements, what matches, where bytes go, how entries are used up.

Ref: Portals 4, sections 3.12 and 3.15.
"""

from collections.abc import Iterator

from rtl.portals import AckRequest, EventKind, Fail, List, Refusal
from sw.apps.portals_check.side import LOCAL, REMOTE, Side, Step
from sw.portals.operations import Counting, Region, get, put
from sw.portals.portal_table import ALL_BITS, MatchEntry, Source

ENTRY_BYTES = 4096
ENTRY_OFFSET = 72  # of the entry in its window
ENTRY_DATA = 0x5A

# ---- put ----

PUTS = (  # bytes, offset in the match entry, acknowledgement
    (0, 0, AckRequest.NONE),
    (1, 7, AckRequest.NONE),
    (100, 64, AckRequest.FULL),
    (333, 517, AckRequest.COUNTING),
    (1000, 1001, AckRequest.FULL),
)


def put_target(side: Side) -> Iterator[None]:
    side.allocate()
    entry = side.append(_entry(match_bits=0xB175, op_put=True, user_data=ENTRY_DATA))
    side.ready()
    yield
    for number, (length, offset, _) in enumerate(PUTS):
        side.expect(REMOTE, ENTRY_OFFSET + offset, side.data(number, length))
        side.message(
            f"PUT of {length} bytes",
            EventKind.PUT,
            entry=entry,
            entry_data=ENTRY_DATA,
            start_offset=ENTRY_OFFSET + offset,
            requested_bytes=length,
            remote_offset=offset,
            match_bits=0xB175,
            header_data=ALL_BITS - number,
        )


def put_initiator(side: Side) -> Iterator[None]:
    counter = side.counter(0)
    yield
    for number, (length, offset, ack_request) in enumerate(PUTS):
        side.write(LOCAL, 3, side.data(number, length))
        put(
            side.polled,
            side.to(bits=0xB175, offset=offset),
            local=Region(window=LOCAL, offset=3, length_bytes=length),
            header_data=ALL_BITS - number,
            ack_request=ack_request,
            user_data=number,
            counting=Counting(counter=0, ack=True),
        )
        side.event(f"SEND of {length} bytes", kind=EventKind.SEND, entry_data=number)
        if ack_request == AckRequest.FULL:
            side.answered(f"ACK of {length} bytes", moved=length, offset=offset, user_data=number)
    side.counted("acknowledgements", counter, success=3)


# ---- events and acknowledgements that are switched off ----


def silence_target(side: Side) -> Iterator[None]:
    side.allocate()
    counter = side.counter(1)
    quiet = {"op_put": True, "counter": 1, "ct_comm": True}
    side.append(_entry(match_bits=1, event_comm_disable=True, **quiet))
    side.append(_entry(match_bits=2, event_success_disable=True, **quiet))
    entry = side.append(_entry(match_bits=3, ack_disable=True, **quiet))
    side.ready()
    yield
    side.message("PUT whose acknowledgement is disabled", EventKind.PUT, entry=entry, match_bits=3, start_offset=72)
    side.counted("messages", counter, success=3)


def silence_initiator(side: Side) -> Iterator[None]:
    counter = side.counter(0)
    yield
    for bits in (1, 2, 3):
        put(
            side.polled,
            side.to(bits=bits),
            ack_request=AckRequest.FULL,
            counting=Counting(counter=0, send=True, ack=True),
            event_success_disable=True,
        )
    side.counted("sends and acknowledgements", counter, success=3 + 2)


# ---- truncation ----

CUT_BYTES = 64
TRUNCATED = (  # match bits, bytes, offset, how it ends, bytes that are taken
    (1, 100, 0, Fail.OK, 64),
    (1, 10, 60, Fail.OK, 4),
    (1, 10, 70, Fail.OK, 0),
    (2, 65, 0, Fail.DROPPED, 0),
    (2, 64, 1, Fail.DROPPED, 0),
    (2, 64, 0, Fail.OK, 64),
)


def truncate_target(side: Side) -> Iterator[None]:
    side.allocate()
    entries = {
        1: side.append(_entry(match_bits=1, offset=0, length_bytes=CUT_BYTES, op_put=True)),
        2: side.append(_entry(match_bits=2, offset=512, length_bytes=CUT_BYTES, op_put=True, no_truncate=True)),
    }
    side.ready()
    yield
    for number, (bits, length, offset, fail, taken) in enumerate(TRUNCATED):
        if fail != Fail.OK:
            continue
        start = 512 * (bits - 1) + offset
        side.expect(REMOTE, start, side.data(number, length)[:taken])
        side.message(
            f"PUT of {length} bytes at {offset}",
            EventKind.PUT,
            entry=entries[bits],
            start_offset=start,
            requested_bytes=length,
            manipulated_bytes=taken,
            remote_offset=offset,
            match_bits=bits,
        )


def truncate_initiator(side: Side) -> Iterator[None]:
    yield
    for number, (bits, length, offset, fail, taken) in enumerate(TRUNCATED):
        side.put(side.to(bits=bits, offset=offset), side.data(number, length))
        there = offset if fail == Fail.OK else 0
        side.answered(f"ACK of {length} bytes at {offset}", moved=taken, offset=there, fail=fail)


# ---- offset management ----

MANAGED_BYTES, MIN_FREE = 256, 100
MANAGED = (60, 50, 60)  # bytes of the messages: with the last one less than MIN_FREE is left


def manage_local_target(side: Side) -> Iterator[None]:
    side.allocate()
    entry = side.append(_entry(length_bytes=MANAGED_BYTES, op_put=True, manage_local=True, min_free=MIN_FREE))
    side.ready()
    yield
    for number, length in enumerate(MANAGED):
        start = ENTRY_OFFSET + sum(MANAGED[:number])
        side.expect(REMOTE, start, side.data(number, length))
        side.message(
            f"PUT number {number}",
            EventKind.PUT,
            entry=entry,
            start_offset=start,
            requested_bytes=length,
            remote_offset=999,  # what the initiator asked for, and nobody heeds
        )
    side.unlinked("AUTO_UNLINK at min_free", entry=entry)


def manage_local_initiator(side: Side) -> Iterator[None]:
    yield
    for number, length in enumerate(MANAGED):
        side.put(side.to(offset=999), side.data(number, length))
        side.answered(f"ACK number {number}", moved=length, offset=sum(MANAGED[:number]))
    side.put(side.to(offset=999), b"too late")
    side.answered("ACK when the entry is used up", fail=Fail.DROPPED)


# ---- use once, and unlink ----


def unlink_target(side: Side) -> Iterator[None]:
    side.allocate()
    table = side.tables[side.polled]
    once = side.append(_entry(ignore_bits=ALL_BITS, op_put=True, use_once=True, event_link_disable=False))
    lasting = side.append(_entry(ignore_bits=ALL_BITS, op_put=True, event_link_disable=False))
    for entry in (once, lasting):
        side.event("LINK", kind=EventKind.LINK, pt_index=side.pt_index, entry=entry, list=List.PRIORITY)
    side.ready()
    yield
    side.message("PUT that uses an entry up", EventKind.PUT, entry=once, match_bits=1, start_offset=ENTRY_OFFSET)
    side.unlinked("AUTO_UNLINK of an entry to be used once", entry=once)
    side.message("PUT to the next entry", EventKind.PUT, entry=lasting, match_bits=2, start_offset=ENTRY_OFFSET)
    side.checks.equal("unlinking an entry", table.unlink(lasting), True)
    side.checks.equal("unlinking it again", table.unlink(lasting), False)
    side.event("REFUSED", kind=EventKind.REFUSED, fail=Refusal.COMMAND_ENTRY)
    yield


def unlink_initiator(side: Side) -> Iterator[None]:
    yield
    for bits in (1, 2):
        side.put(side.to(bits=bits))
        side.answered(f"ACK number {bits}")
    yield
    side.put(side.to(bits=3))
    side.answered("ACK when nothing is linked", fail=Fail.DROPPED)


# ---- what matches ----

TOP_BIT = 1 << 63
IGNORING = (  # match bits, ignore bits; the first entry that matches takes the message
    (0xAB00, 0x00FF),
    (TOP_BIT, TOP_BIT - 1),
    (0, ALL_BITS),
)
SENT_BITS = (  # match bits of a message, number of the entry that takes it
    (0xAB00, 0),
    (0xABCD, 0),
    (0xACCD, 2),
    (0x1AB00, 2),
    (TOP_BIT | 0xAB00, 1),
    (TOP_BIT, 1),
    (0, 2),
)


def ignore_bits_target(side: Side) -> Iterator[None]:
    side.allocate()
    entries = [side.append(_entry(match_bits=bits, ignore_bits=ignore, op_put=True)) for bits, ignore in IGNORING]
    side.ready()
    yield
    for bits, number in SENT_BITS:
        side.message(f"PUT to {bits:#x}", EventKind.PUT, entry=entries[number], match_bits=bits, start_offset=72)


def ignore_bits_initiator(side: Side) -> Iterator[None]:
    yield
    for bits, _ in SENT_BITS:
        side.put(side.to(bits=bits))
        side.answered(f"ACK of {bits:#x}")


def source_target(side: Side) -> Iterator[None]:
    side.allocate()
    peer, own_nid = side.peer, side.polled.handle.nid
    sources = (
        Source(nid=own_nid),
        Source(nid=own_nid, pid=peer.pid),
        Source(nid=peer.nid, pid=peer.interrupting_pid),
        Source(pid=peer.pid),
    )
    entries = [side.append(_entry(ignore_bits=ALL_BITS, op_put=True, source=source)) for source in sources]
    side.ready()
    yield
    pids = (peer.pid, peer.interrupting_pid)
    for what, entry, pid in zip(("any node, that PID", "that node and PID"), entries[:1:-1], pids, strict=True):
        side.message(f"PUT from {what}", EventKind.PUT, entry=entry, sender_pid=pid, start_offset=ENTRY_OFFSET)


def source_initiator(side: Side) -> Iterator[None]:
    yield
    for endpoint in (side.polled, side.interrupting):
        side.put(side.to(), endpoint=endpoint)
        side.answered(f"ACK of PID {endpoint.handle.pid}", endpoint=endpoint)


# ---- get ----

GETS = (  # match bits, bytes, offset, how it ends, bytes that come
    (1, 0, 0, Fail.OK, 0),
    (1, 1, 3, Fail.OK, 1),
    (1, 1000, 77, Fail.OK, 1000),
    (1, 100, ENTRY_BYTES - 6, Fail.OK, 6),
    (2, 8, 0, Fail.OPERATION, 0),
    (3, 8, 0, Fail.DROPPED, 0),
)


def get_target(side: Side) -> Iterator[None]:
    side.write(REMOTE, ENTRY_OFFSET, side.data(0, ENTRY_BYTES))
    side.allocate()
    entry = side.append(_entry(match_bits=1, op_get=True))
    side.append(_entry(match_bits=2, op_put=True))
    side.ready()
    yield
    for _, length, offset, fail, moved in GETS:
        if fail == Fail.OK:
            side.message(
                f"GET of {length} bytes",
                EventKind.GET,
                entry=entry,
                match_bits=1,
                start_offset=ENTRY_OFFSET + offset,
                requested_bytes=length,
                manipulated_bytes=moved,
                remote_offset=offset,
            )


def get_initiator(side: Side) -> Iterator[None]:
    counter = side.counter(2)
    yield
    place = 5
    for number, (bits, length, offset, fail, moved) in enumerate(GETS):
        get(
            side.polled,
            side.to(bits=bits, offset=offset),
            local=Region(window=LOCAL, offset=place, length_bytes=length),
            user_data=number,
            counting=Counting(counter=2, reply=True, in_bytes=True),
        )
        side.expect(LOCAL, place, side.data(0, ENTRY_BYTES)[offset : offset + moved])
        there = offset if fail == Fail.OK else 0
        what = f"REPLY of {length} bytes"
        side.answered(what, EventKind.REPLY, moved=moved, offset=there, fail=fail, user_data=number)
        place += length
    side.counted("bytes of replies", counter, success=1007, failure=2)


# ---- messages of several packets ----


def long_bytes(side: Side) -> int:
    """Three packets and a piece."""
    return 3 * side.polled.handle.limits.mtu_bytes + 5


def long_target(side: Side) -> Iterator[None]:
    length = long_bytes(side)
    side.allocate()
    entry = side.append(_entry(length_bytes=length, op_put=True, op_get=True))
    side.ready()
    yield
    side.expect(REMOTE, ENTRY_OFFSET, side.data(0, length))
    for kind in (EventKind.PUT, EventKind.GET):
        side.message(kind.name, kind, entry=entry, start_offset=ENTRY_OFFSET, requested_bytes=length)


def long_initiator(side: Side) -> Iterator[None]:
    length = long_bytes(side)
    yield
    side.put(side.to(), side.data(0, length), at=3)
    side.answered("ACK", moved=length)
    side.write(LOCAL, 3, bytes(length))
    get(side.polled, side.to(), local=Region(window=LOCAL, offset=3, length_bytes=length))
    side.expect(LOCAL, 3, side.data(0, length))
    side.answered("REPLY", EventKind.REPLY, moved=length)


def _entry(**fields: object) -> MatchEntry:
    """Memory of window REMOTE, without LINK."""
    common = {"window": REMOTE, "offset": ENTRY_OFFSET, "length_bytes": ENTRY_BYTES, "event_link_disable": True}
    return MatchEntry(**common | fields)  # type: ignore[arg-type]


STEPS = (
    Step(name="put", target=put_target, initiator=put_initiator),
    Step(name="events disabled", target=silence_target, initiator=silence_initiator),
    Step(name="truncate", target=truncate_target, initiator=truncate_initiator),
    Step(name="manage_local", target=manage_local_target, initiator=manage_local_initiator),
    Step(name="unlink", target=unlink_target, initiator=unlink_initiator),
    Step(name="ignore_bits", target=ignore_bits_target, initiator=ignore_bits_initiator),
    Step(name="match_id", target=source_target, initiator=source_initiator),
    Step(name="get", target=get_target, initiator=get_initiator),
    Step(name="several packets", target=long_target, initiator=long_initiator),
)
