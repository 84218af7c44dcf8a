"""Messages that meet in the same memory: in order, beside one another, from a process to itself.

Ref: Portals 4, sections 2.5 and 3.15.
"""

from collections.abc import Iterator
from functools import partial

from rtl.portals import AckRequest, AtomicOperation, AtomicType, EventKind
from sw.apps.portals_check.side import LOCAL, REMOTE, Side, Step
from sw.portals.counters import Count, Counter
from sw.portals.operations import NO_COUNTING, Counting, Region, Target, atomic, fetch_atomic, get
from sw.portals.portal_table import MatchEntry

ACKNOWLEDGED, REPLIED = 0, 1  # counting events
ACKNOWLEDGEMENTS = Counting(counter=ACKNOWLEDGED, ack=True)
REPLIES = Counting(counter=REPLIED, reply=True)


def _own(side: Side, offset: int = 0) -> Target:
    """The rank's own portal table entry."""
    handle = side.polled.handle
    return Target(nid=handle.nid, pid=handle.pid, pt_index=side.pt_index, remote_offset=offset)


def _offer(side: Side) -> None:
    """All of window REMOTE, of which no event tells."""
    side.allocate()
    side.append(
        MatchEntry(
            window=REMOTE,
            length_bytes=side.area_bytes,
            op_put=True,
            op_get=True,
            event_link_disable=True,
            event_comm_disable=True,
        )
    )
    side.ready()


def _add(side: Side, target: Target, value: int, *, at: int, datum: AtomicType, acknowledged: bool = False) -> None:
    """Add a value, which the process writes at `at` of window LOCAL before."""
    data = value.to_bytes(datum.length_bytes, "little")
    side.write(LOCAL, at, data)
    atomic(
        side.polled,
        target,
        operation=AtomicOperation.SUM,
        datum=datum,
        local=Region(window=LOCAL, offset=at, length_bytes=len(data)),
        ack_request=AckRequest.COUNTING if acknowledged else AckRequest.NONE,
        counting=ACKNOWLEDGEMENTS if acknowledged else NO_COUNTING,
        event_send_disable=True,
    )


def _fetch_and_add(side: Side, target: Target, value: int, *, at: int, datum: AtomicType) -> int:
    """The same; the place of what stood there, behind the value. Only its counting event tells of it."""
    data = value.to_bytes(datum.length_bytes, "little")
    side.write(LOCAL, at, data)
    fetch_atomic(
        side.polled,
        target,
        operation=AtomicOperation.SUM,
        datum=datum,
        local=Region(window=LOCAL, offset=at, length_bytes=len(data)),
        fetched=Region(window=LOCAL, offset=at + len(data), length_bytes=len(data)),
        counting=REPLIES,
        event_send_disable=True,
        event_success_disable=True,
    )
    return at + len(data)


def _get(side: Side, target: Target, *, at: int, datum: AtomicType) -> None:
    """Only its counting event tells of it."""
    local = Region(window=LOCAL, offset=at, length_bytes=datum.length_bytes)
    get(side.polled, target, local=local, counting=REPLIES, event_success_disable=True)


def _wait(side: Side, what: str, counter: Counter, count: int) -> None:
    side.checks.equal(what, counter.wait(count, due_ps=side.due_ps()), Count(success=count, failure=0))


# ---- several messages to one word, none of which waits for the one before ----

ROUNDS = 3
ADDED, ADDED_LATER = 1, 16


def order_target(side: Side) -> Iterator[None]:
    side.write(REMOTE, 0, bytes(8))
    _offer(side)
    yield
    side.expect(REMOTE, 0, (_written(ROUNDS - 1) + ADDED_LATER).to_bytes(8, "little"))
    yield  # the initiator has heard of all


def _written(number: int) -> int:
    return 1000 * (number + 1)


def order_initiator(side: Side) -> Iterator[None]:
    """An atomic, a put over it, a fetching atomic and a get: each sees what those before it have left."""
    replied = side.counter(REPLIED)
    yield
    for number in range(ROUNDS):
        place, word = 64 * number, _written(number)
        _add(side, side.to(), ADDED, at=place, datum=AtomicType.UINT64)
        side.put(side.to(), word.to_bytes(8, "little"), at=place + 8, ack_request=AckRequest.NONE)
        fetched = _fetch_and_add(side, side.to(), ADDED_LATER, at=place + 16, datum=AtomicType.UINT64)
        _get(side, side.to(), at=place + 32, datum=AtomicType.UINT64)
        side.expect(LOCAL, fetched, word.to_bytes(8, "little"))
        side.expect(LOCAL, place + 32, (word + ADDED_LATER).to_bytes(8, "little"))
    _wait(side, "replies", replied, 2 * ROUNDS)
    side.check_memory()
    yield


# ---- atomics to one half of a word, puts and gets to the other ----

TIMES = 12
HALF_BYTES = 4


def neighbours_target(side: Side) -> Iterator[None]:
    """Its own puts and gets; the other rank's atomics leave them alone."""
    acknowledged, replied = side.counter(ACKNOWLEDGED), side.counter(REPLIED)
    side.write(REMOTE, 0, bytes(2 * HALF_BYTES))
    _offer(side)
    yield
    for number in range(TIMES):
        half = (2 + number % 2).to_bytes(HALF_BYTES, "little")
        side.put(_own(side), half, ack_request=AckRequest.COUNTING, counting=ACKNOWLEDGEMENTS)
        _wait(side, f"acknowledgement of put number {number}", acknowledged, number + 1)
        _get(side, _own(side), at=HALF_BYTES, datum=AtomicType.INT32)
        _wait(side, f"reply number {number}", replied, number + 1)
        side.checks.equal(f"half a word got, number {number}", side.read(LOCAL, HALF_BYTES, HALF_BYTES), half)
    side.expect(LOCAL, HALF_BYTES, half)
    side.expect(REMOTE, 0, half + TIMES.to_bytes(HALF_BYTES, "little"))
    yield  # the initiator has heard of all


def neighbours_initiator(side: Side) -> Iterator[None]:
    replied = side.counter(REPLIED)
    yield
    for number in range(TIMES):
        fetched = _fetch_and_add(side, side.to(offset=HALF_BYTES), 1, at=8 * number, datum=AtomicType.INT32)
        side.expect(LOCAL, fetched, number.to_bytes(HALF_BYTES, "little"))
        _wait(side, f"reply number {number}", replied, number + 1)
    side.check_memory()
    yield


# ---- a barrier: each rank adds 1 to the other's word, waits for its own, and takes 1 off ----

BARRIERS = 8


def barrier(side: Side) -> Iterator[None]:
    acknowledged = side.counter(ACKNOWLEDGED)
    side.write(REMOTE, 0, bytes(4))
    _offer(side)
    yield
    for number in range(BARRIERS):
        _add(side, side.to(), 1, at=0, datum=AtomicType.INT32, acknowledged=True)
        due_ps = side.due_ps()
        while side.read(REMOTE, 0, 4) != b"\1\0\0\0" and side.process.now_ps < due_ps:
            pass
        side.checks.equal(f"barrier number {number} before patience was over", side.process.now_ps < due_ps, True)
        _add(side, _own(side), (1 << 32) - 1, at=4, datum=AtomicType.INT32, acknowledged=True)
        _wait(side, f"acknowledgements of barrier number {number}", acknowledged, 2 * (number + 1))
    yield


# ---- a process sends to itself ----

SELF_BYTES = 300


def alone(side: Side) -> Iterator[None]:
    """Whoever it is: the other rank does the same."""
    side.allocate()
    entry = side.append(
        MatchEntry(window=REMOTE, length_bytes=SELF_BYTES, op_put=True, op_get=True, event_link_disable=True)
    )
    side.ready()
    own = side.polled.handle
    data = side.data(0, SELF_BYTES)
    told = partial(side.message, entry=entry, requested_bytes=SELF_BYTES, src_nid=own.nid, src_pid=own.pid)
    side.expect(REMOTE, 0, data)
    side.put(_own(side), data, at=1, ack_request=AckRequest.NONE, header_data=7)
    told("PUT", EventKind.PUT, header_data=7)
    get(
        side.polled,
        _own(side),
        local=Region(window=LOCAL, offset=SELF_BYTES + 1, length_bytes=SELF_BYTES),
        event_success_disable=True,
    )
    told("GET", EventKind.GET)
    side.expect(LOCAL, SELF_BYTES + 1, data)
    yield


STEPS = (
    Step(name="order", target=order_target, initiator=order_initiator),
    Step(name="neighbours", target=neighbours_target, initiator=neighbours_initiator),
    Step(name="barrier of atomics", target=barrier, initiator=barrier),
    Step(name="to oneself", target=alone, initiator=alone),
)
