"""Messages that nobody expected: the overflow list, appends that meet them, searches; and flow control.

Ref: Portals 4, sections 3.7 and 3.12.
"""

from collections.abc import Iterator, Sequence

from rtl.portals import EventKind, Fail, List, Refusal
from sw.apps.portals_check.side import INTERRUPTING_LOG2, REMOTE, Side, Step
from sw.portals.counters import Count
from sw.portals.endpoint import Endpoint
from sw.portals.portal_table import ALL_BITS, MatchEntry

# ---- overflow list ----

UNEXPECTED = ((4, 16), (5, 32), (4, 24))  # match bits and bytes of messages that come before anybody wants them
STORE_OFFSET, STORE_BYTES, STORE_LEAST = 64, 80, 9  # of the overflow entry: after the last of them too little is left
REMOTE_OFFSET = 8
EXPECTED_OFFSET = 1024  # of entries of the priority list


def overflow_target(side: Side) -> Iterator[None]:
    side.allocate()
    table, counter = side.tables[side.polled], side.counter(0)
    store = MatchEntry(
        window=REMOTE,
        offset=STORE_OFFSET,
        length_bytes=STORE_BYTES,
        ignore_bits=ALL_BITS,
        op_put=True,
        manage_local=True,
        min_free=STORE_LEAST,
        user_data=1,
        event_link_disable=True,
    )
    held = table.append(side.pt_index, store, to=List.OVERFLOW)
    side.ready()
    yield
    for number, (_, length) in enumerate(UNEXPECTED):
        side.expect(REMOTE, _start(number), side.data(number, length))
        _unexpected(side, "PUT that nobody expects", EventKind.PUT, number, entry=held, entry_data=1)
    side.unlinked("AUTO_UNLINK at min_free", entry=held, entry_data=1, list=List.OVERFLOW)
    side.checks.equal("unlinking an entry that headers refer to", table.unlink(held), False)
    side.event("REFUSED", kind=EventKind.REFUSED, fail=Refusal.COMMAND_ENTRY)

    table.search(side.pt_index, MatchEntry(match_bits=4, use_once=True), user_data=9)
    _unexpected(side, "SEARCH for one", EventKind.SEARCH, 0, entry_data=9)
    table.search(side.pt_index, MatchEntry(match_bits=4), user_data=10)
    for number in (0, 2):
        _unexpected(side, "SEARCH for all", EventKind.SEARCH, number, entry_data=10)
    too_short = MatchEntry(match_bits=5, length_bytes=REMOTE_OFFSET + 32 - 1, no_truncate=True)
    for entry, delete in ((MatchEntry(match_bits=6), False), (MatchEntry(match_bits=6), True), (too_short, False)):
        table.search(side.pt_index, entry, delete=delete, user_data=11)
        side.event("SEARCH in vain", kind=EventKind.SEARCH, pt_index=side.pt_index, fail=Fail.NO_MATCH, entry_data=11)

    taker = side.append(_expecting(4, use_once=True, user_data=2))
    _unexpected(side, "append that is used up", EventKind.PUT_OVERFLOW, 0, entry=taker, entry_data=2)
    side.unlinked("its AUTO_UNLINK", entry=taker, entry_data=2)
    table.search(side.pt_index, MatchEntry(match_bits=4), delete=True, user_data=12)
    _unexpected(side, "search and delete", EventKind.PUT_OVERFLOW, 2, entry_data=12)
    taker = side.append(_expecting(5, use_once=False, user_data=3))
    _unexpected(side, "append that stays", EventKind.PUT_OVERFLOW, 1, entry=taker, entry_data=3)
    side.unlinked("AUTO_FREE behind the last header", EventKind.AUTO_FREE, entry=held, entry_data=1, list=List.OVERFLOW)
    side.counted("bytes that appends met", counter, success=16 + 32)
    side.ready()
    yield
    side.expect(REMOTE, EXPECTED_OFFSET + REMOTE_OFFSET, side.data(3, 40))
    yield


def _expecting(bits: int, *, use_once: bool, user_data: int) -> MatchEntry:
    """Counts the bytes of what came before it; what comes later is told to nobody."""
    return MatchEntry(
        match_bits=bits,
        window=REMOTE,
        offset=EXPECTED_OFFSET,
        length_bytes=64,
        op_put=True,
        use_once=use_once,
        user_data=user_data,
        counter=0,
        ct_overflow=True,
        ct_bytes=True,
        event_link_disable=True,
        event_comm_disable=True,
    )


def overflow_initiator(side: Side) -> Iterator[None]:
    yield
    for number, (bits, length) in enumerate(UNEXPECTED):
        data = side.data(number, length)
        side.put(side.to(bits=bits, offset=REMOTE_OFFSET), data, header_data=number)
        there = _start(number) - STORE_OFFSET
        side.answered(f"ACK number {number}", moved=length, offset=there, which=List.OVERFLOW)
    yield
    side.put(side.to(bits=5, offset=REMOTE_OFFSET), side.data(3, 40))
    side.answered("ACK when it is expected", moved=40, offset=REMOTE_OFFSET)
    yield


def _start(number: int) -> int:
    """Where the overflow entry puts a message, in the window."""
    return STORE_OFFSET + sum(length for _, length in UNEXPECTED[:number])


def _unexpected(side: Side, what: str, kind: EventKind, number: int, *, entry: int = -1, entry_data: int) -> None:
    """The next event is about one of the messages."""
    bits, length = UNEXPECTED[number]
    side.message(
        what,
        kind,
        entry=entry,
        entry_data=entry_data,
        start_offset=_start(number),
        requested_bytes=length,
        remote_offset=REMOTE_OFFSET,
        match_bits=bits,
        header_data=number,
        list=List.OVERFLOW,
    )


# ---- searches that are counted ----


def _counted(bits: int, *, use_once: bool = False, ct_bytes: bool = False) -> MatchEntry:
    """What a search looks for; no event tells of it."""
    return MatchEntry(
        match_bits=bits,
        use_once=use_once,
        counter=0,
        ct_overflow=True,
        ct_bytes=ct_bytes,
        event_comm_disable=True,
        event_over_disable=True,
    )


SEARCHES = (  # for what, whether that is taken out, what the counting event becomes: a failure is the end of the list
    (_counted(4), False, Count(success=2, failure=1)),
    (_counted(4, ct_bytes=True), False, Count(success=16 + 24, failure=1)),
    (_counted(4, use_once=True), False, Count(success=1, failure=0)),
    (_counted(6, use_once=True), False, Count(success=0, failure=1)),
    (_counted(4, use_once=True), True, Count(success=1, failure=0)),
    (_counted(4, use_once=True), True, Count(success=1, failure=0)),
    (_counted(4, use_once=True), True, Count(success=0, failure=1)),
    (_counted(5), True, Count(success=1, failure=1)),
)


def search_target(side: Side) -> Iterator[None]:
    side.allocate()
    table = side.tables[side.polled]
    table.append(side.pt_index, _silent(window=REMOTE, length_bytes=STORE_BYTES), to=List.OVERFLOW)
    side.ready()
    yield
    side.expect(REMOTE, 0, bytes(max(length for _, length in UNEXPECTED)))
    yield
    for number, (wanted, delete, count) in enumerate(SEARCHES):
        counter = side.counter(0)
        table.search(side.pt_index, wanted, delete=delete)
        side.counted(f"search number {number}", counter, success=count.success, failure=count.failure)


def search_initiator(side: Side) -> Iterator[None]:
    yield
    for number, (bits, length) in enumerate(UNEXPECTED):
        side.put(side.to(bits=bits), bytes(length))
        side.answered(f"ACK number {number}", moved=length, which=List.OVERFLOW)
    yield


def _silent(*, window: int = 0, length_bytes: int = 0) -> MatchEntry:
    """Takes everything, and tells nobody."""
    return MatchEntry(
        window=window,
        length_bytes=length_bytes,
        ignore_bits=ALL_BITS,
        op_put=True,
        event_link_disable=True,
        event_comm_disable=True,
    )


# ---- flow control ----

MESSAGES = 4
ROOM = 2  # of them, before the portal table entry is disabled
MESSAGE_BYTES = 24


def flow_control_target(side: Side) -> Iterator[None]:
    side.allocate(flow_control=True)
    entries = [side.append(_once(number)) for number in range(ROOM)]
    side.ready()
    yield
    yield
    for number in range(ROOM):
        _taken_once(side, entries[number], number)
    side.event("PT_DISABLED", kind=EventKind.PT_DISABLED, pt_index=side.pt_index)
    entries += [side.append(_once(number)) for number in range(ROOM, MESSAGES)]
    side.tables[side.polled].enable(side.pt_index)
    side.ready()
    yield
    for number in range(ROOM, MESSAGES):
        _taken_once(side, entries[number], number)


def _once(number: int) -> MatchEntry:
    """For one message; each has its own place."""
    return MatchEntry(
        window=REMOTE,
        offset=MESSAGE_BYTES * number,
        length_bytes=MESSAGE_BYTES,
        op_put=True,
        use_once=True,
        event_link_disable=True,
    )


def _taken_once(side: Side, entry: int, number: int) -> None:
    """Messages come in the order in which they were sent first, whatever was refused meanwhile."""
    side.expect(REMOTE, MESSAGE_BYTES * number, side.data(number, MESSAGE_BYTES))
    side.message(
        f"PUT number {number}",
        EventKind.PUT,
        entry=entry,
        start_offset=MESSAGE_BYTES * number,
        requested_bytes=MESSAGE_BYTES,
        header_data=number,
    )
    side.unlinked(f"AUTO_UNLINK number {number}", entry=entry)


def flow_control_initiator(side: Side) -> Iterator[None]:
    yield
    for number in range(MESSAGES):
        _try(side, number, refused=number >= ROOM)
    yield
    yield
    for number in range(ROOM, MESSAGES):
        _try(side, number, refused=False)


def _try(side: Side, number: int, *, refused: bool, interrupting: bool = False) -> None:
    """Sends a message, and hears what has become of it."""
    side.put(side.to(interrupting=interrupting), side.data(number, MESSAGE_BYTES), header_data=number)
    side.answered(
        f"ACK number {number}",
        moved=0 if refused else MESSAGE_BYTES,
        fail=Fail.PT_DISABLED if refused else Fail.OK,
        pid=side.peer.interrupting_pid if interrupting else None,
    )


# ---- an event queue that is full ----

PLACES = 1 << INTERRUPTING_LOG2
FLOOD = PLACES + 4


def queue_full_target(side: Side) -> Iterator[None]:
    queue = side.interrupting
    side.allocate(flow_control=True, endpoint=queue)
    entry = side.append(
        MatchEntry(window=REMOTE, length_bytes=MESSAGE_BYTES, op_put=True, event_link_disable=True), endpoint=queue
    )
    side.ready()
    yield
    yield
    _received(side, queue, entry, range(PLACES))
    side.event("PT_DISABLED", endpoint=queue, kind=EventKind.PT_DISABLED, pt_index=side.pt_index)
    side.tables[queue].enable(side.pt_index)
    side.ready()
    yield
    _received(side, queue, entry, range(PLACES, FLOOD))
    side.expect(REMOTE, 0, side.data(FLOOD - 1, MESSAGE_BYTES))


def _received(side: Side, queue: Endpoint, entry: int, numbers: Sequence[int]) -> None:
    for number in numbers:
        side.message(
            f"PUT number {number}",
            EventKind.PUT,
            endpoint=queue,
            entry=entry,
            requested_bytes=MESSAGE_BYTES,
            header_data=number,
        )


def queue_full_initiator(side: Side) -> Iterator[None]:
    yield
    for number in range(FLOOD):
        _try(side, number, refused=number >= PLACES, interrupting=True)
    yield
    yield
    for number in range(PLACES, FLOOD):
        _try(side, number, refused=False, interrupting=True)


# ---- no unexpected header is left ----


def headers_target(side: Side) -> Iterator[None]:
    side.allocate(flow_control=True)
    table = side.tables[side.polled]
    table.append(side.pt_index, _silent(), to=List.OVERFLOW)
    side.ready()
    yield
    yield
    side.event("PT_DISABLED", kind=EventKind.PT_DISABLED, pt_index=side.pt_index)
    table.search(side.pt_index, MatchEntry(use_once=True, event_over_disable=True), delete=True)
    table.enable(side.pt_index)
    side.ready()
    yield
    yield
    side.event("PT_DISABLED once more", kind=EventKind.PT_DISABLED, pt_index=side.pt_index)
    table.search(side.pt_index, MatchEntry(event_over_disable=True), delete=True)


def headers_initiator(side: Side) -> Iterator[None]:
    yield
    for number in range(side.polled.handle.limits.unexpected_headers):
        _early(side, f"ACK number {number}")
    _early(side, "ACK when no header is left", refused=True)
    yield
    yield
    _early(side, "ACK when one has become free")
    _early(side, "ACK when that is in use", refused=True)
    yield


def _early(side: Side, what: str, *, refused: bool = False) -> None:
    side.put(side.to())
    side.answered(what, which=0 if refused else List.OVERFLOW, fail=Fail.PT_DISABLED if refused else Fail.OK)


STEPS = (
    Step(name="overflow and search", target=overflow_target, initiator=overflow_initiator),
    Step(name="counted searches", target=search_target, initiator=search_initiator),
    Step(name="flow control", target=flow_control_target, initiator=flow_control_initiator),
    Step(name="event queue full", target=queue_full_target, initiator=queue_full_initiator),
    Step(name="headers full", target=headers_target, initiator=headers_initiator),
)
