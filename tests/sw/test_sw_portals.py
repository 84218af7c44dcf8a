"""The library in Portals' words: every operation, the portal table and its match entries, counting events."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from fake_machine import FakeMachine
from sw_jobs import job

from rtl.portals import AckRequest, AtomicOperation, AtomicType, EventKind, Fail, List, Refusal
from sw.apps.application import Job
from sw.kernel.contexts import ContextRequest, WindowRequest
from sw.kernel.process import Process
from sw.portals.counters import Count, Counter
from sw.portals.endpoint import Endpoint, EndpointError
from sw.portals.events import Event
from sw.portals.operations import Counting, Region, Target, atomic, fetch_atomic, get, put, swap
from sw.portals.portal_table import ALL_BITS, MatchEntry, PortalTable, Source

PLACES = ((0, 0), (1, 0))
MEMORY_BYTES = 16384
EVERYTHING = {"window": 0, "length_bytes": MEMORY_BYTES, "ignore_bits": ALL_BITS, "op_put": True, "op_get": True}


@dataclass
class Side:
    """A rank with one context, all of whose memory is window 0 with all rights."""

    process: Process
    job: Job
    endpoint: Endpoint
    memory: np.ndarray
    table: PortalTable
    heard: list[Event] = field(default_factory=list)

    @classmethod
    def of(cls, process: Process, job: Job, **request: object) -> "Side":
        va = process.calls.allocate(MEMORY_BYTES)
        window = WindowRequest(
            va=va, length_bytes=MEMORY_BYTES, local_read=True, local_write=True, remote_read=True, remote_write=True
        )
        asked = {"commands_log2": 4, "events_log2": 6, "interrupt": True, "windows": (window,), **request}
        endpoint = Endpoint.open(process, ContextRequest(**asked))  # type: ignore[arg-type]
        memory = process.view(va, MEMORY_BYTES).view(np.uint8)
        return cls(process, job, endpoint, memory, PortalTable(endpoint))

    def events(self, count: int) -> list[Event]:
        """The next events."""
        events = []
        for _ in range(count):
            events.append(self.endpoint.wait())
            self.table.observe(events[-1])
        return events

    def kinds(self, count: int) -> list[EventKind]:
        return [EventKind(event.kind) for event in self.events(count)]


def pair(
    monkeypatch: pytest.MonkeyPatch,
    target: Callable[[Side], object],
    initiator: Callable[[Side, int], object],
    offer: Callable[[Side], object] = lambda side: None,
    **request: object,
) -> list[object]:
    """Rank 0 offers something, then rank 1 (which knows 0's PID) asks for it; what both return."""

    def main(process: Process, job: Job) -> object:
        side = Side.of(process, job, **request)
        offer(side) if job.rank == 0 else None
        side.endpoint.complete()
        pids = process.calls.fence(side.endpoint.handle.pid)
        return target(side) if job.rank == 0 else initiator(side, pids[0])

    return FakeMachine().run(job(monkeypatch, main, jid=9, placement=PLACES)).results()["job"]


def everything(side: Side) -> None:
    side.table.allocate(3)
    side.table.append(3, MatchEntry(user_data=0x5A, event_link_disable=True, **EVERYTHING))  # type: ignore[arg-type]


# ---- operations ----


def test_put_and_every_field_of_its_events(monkeypatch: pytest.MonkeyPatch) -> None:
    def target(side: Side) -> object:
        (event,) = side.events(1)
        assert (event.entry, event.entry_data, event.failure) == (0, 0x5A, None)
        told = {name: getattr(event, name) for name in event.__slots__ if name != "user_data"}
        return told, bytes(side.memory[100:5100]) == bytes(range(250)) * 20

    def initiator(side: Side, pid: int) -> object:
        side.memory[9:5009] = list(range(250)) * 20
        put(
            side.endpoint,
            Target(nid=0, pid=pid, pt_index=3, match_bits=5, remote_offset=100),
            local=Region(window=0, offset=9, length_bytes=5000),
            header_data=6,
            ack_request=AckRequest.FULL,
            user_data=77,
        )
        sent, ack = side.events(2)
        assert (sent.kind, sent.user_data, sent.fail) == (EventKind.SEND, 77, Fail.OK)
        return ack.kind, ack.user_data, ack.src_nid, ack.src_pid == pid, ack.manipulated_bytes, ack.remote_offset

    theirs, own = pair(monkeypatch, target, initiator, everything)
    assert own == (EventKind.ACK, 77, 0, True, 5000, 100)
    assert theirs == (
        {
            "kind": EventKind.PUT, "pt_index": 3, "start_offset": 100, "src_nid": 1, "src_pid": 1, "jid": 9,
            "requested_bytes": 5000, "manipulated_bytes": 5000, "remote_offset": 100, "match_bits": 5, "header_data": 6,
            "sequence": 1, "start_window": 0, "fail": 0, "list": List.PRIORITY, "atomic_operation": 0, "atomic_type": 0,
        },
        True,
    )  # fmt: skip


def test_get(monkeypatch: pytest.MonkeyPatch) -> None:
    def offer(side: Side) -> None:
        everything(side)
        side.memory[:] = np.arange(MEMORY_BYTES) % 251

    def initiator(side: Side, pid: int) -> object:
        region = Region(window=0, offset=3, length_bytes=9000)
        get(side.endpoint, Target(nid=0, pid=pid, pt_index=3, remote_offset=17), local=region, user_data=4)
        (reply,) = side.events(1)
        assert (reply.kind, reply.user_data, reply.manipulated_bytes) == (EventKind.REPLY, 4, 9000)
        return bool((side.memory[3:9003] == np.arange(17, 9017) % 251).all()), int(side.memory[9003])

    heard, read = pair(monkeypatch, lambda side: side.kinds(1), initiator, offer)
    assert (heard, read) == ([EventKind.GET], (True, 0))


ATOMICS = [
    # before, operand of CSWAP and MSWAP, datum, operation, what is there afterwards (worked by hand)
    (7, None, 5, AtomicOperation.SUM, 12),
    (7, None, 5, AtomicOperation.MIN, 5),
    (0b1100, None, 0b1010, AtomicOperation.XOR, 0b0110),
    (7, None, 5, AtomicOperation.SWAP, 5),
    (7, 7, 5, AtomicOperation.CSWAP, 5),
    (7, 8, 5, AtomicOperation.CSWAP, 7),
    (0b1100, 0b0110, 0b1010, AtomicOperation.MSWAP, 0b1010),
]


@pytest.mark.parametrize(
    ("before", "operand", "datum", "operation", "after", "fetching"),
    [
        (*case, fetching)
        for case in ATOMICS
        for fetching in (False, True)
        if fetching or case[3] < AtomicOperation.SWAP  # a swap always fetches
    ],
)
def test_atomics(
    monkeypatch: pytest.MonkeyPatch,
    before: int,
    operand: int | None,
    datum: int,
    operation: AtomicOperation,
    after: int,
    fetching: bool,
) -> None:
    def offer(side: Side) -> None:
        everything(side)
        side.memory.view(np.uint64)[4] = before

    def target(side: Side) -> object:
        (event,) = side.events(1)
        return EventKind(event.kind), event.atomic_operation, int(side.memory.view(np.uint64)[4])

    def initiator(side: Side, pid: int) -> object:
        words = side.memory.view(np.uint64)
        words[:2] = [datum, 0] if operand is None else [operand, datum]
        to, local = Target(nid=0, pid=pid, pt_index=3, remote_offset=32), Region(window=0, offset=0, length_bytes=8)
        fetched = Region(window=0, offset=64, length_bytes=8)
        if operation >= AtomicOperation.SWAP:
            swap(side.endpoint, to, datum=AtomicType.UINT64, local=local, fetched=fetched, operation=operation)
        elif fetching:
            fetch_atomic(side.endpoint, to, operation=operation, datum=AtomicType.UINT64, local=local, fetched=fetched)
        else:
            atomic(side.endpoint, to, operation=operation, datum=AtomicType.UINT64, local=local)
        return side.kinds(1 + fetching), int(words[8])

    theirs, own = pair(monkeypatch, target, initiator, offer)
    assert theirs == (EventKind.FETCH_ATOMIC if fetching else EventKind.ATOMIC, operation, after)
    assert own == ([EventKind.SEND, EventKind.REPLY], before) if fetching else ([EventKind.SEND], 0)


def test_what_the_target_refuses_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that nothing matches, one that the match entry does not allow, and one out of the window."""

    def offer(side: Side) -> None:
        side.table.allocate(3)
        anybody = {"event_link_disable": True, "length_bytes": 8}
        side.table.append(3, MatchEntry(match_bits=1, op_get=True, **anybody))  # type: ignore[arg-type]
        side.table.append(3, MatchEntry(match_bits=2, op_put=True, window=1, **anybody))  # type: ignore[arg-type]
        side.table.append(3, MatchEntry(match_bits=3, op_put=True, source=Source(nid=1, pid=99), **anybody))  # type: ignore[arg-type]

    def initiator(side: Side, pid: int) -> object:
        told = []
        for bits in (0, 1, 2, 3):
            put(
                side.endpoint,
                Target(nid=0, pid=pid, pt_index=3, match_bits=bits),
                local=Region(window=0, offset=0, length_bytes=8),
                ack_request=AckRequest.FULL,
                event_send_disable=True,
            )
            told.append(side.events(1)[0].failure)
        return told

    heard, told = pair(monkeypatch, lambda side: side.events(1)[0].failure, initiator, offer)
    assert (heard, told) == ("SEGMENT", ["DROPPED", "OPERATION", "SEGMENT", "DROPPED"])


def test_values_that_do_not_fit_are_refused_before_anything_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def main(process: Process, job: Job) -> int:
        side = Side.of(process, job)
        with pytest.raises(ValueError, match=r"command\.dst_pid: 0x10000 is out of range 0\.\.0xffff"):
            put(side.endpoint, Target(nid=0, pid=1 << 16))
        with pytest.raises(ValueError, match=r"user_data: 0x1000000000000 has more than 48 bits; use fewer"):
            side.table.append(0, MatchEntry(user_data=1 << 48))
        with pytest.raises(ValueError, match=r"list_command\.min_free"):
            side.table.append(0, MatchEntry(min_free=-1))
        with pytest.raises(EndpointError) as caught:
            Counter(side.endpoint, 16)
        assert str(caught.value) == "counter: 16 is out of range 0..15; take another one"
        return process.load(side.endpoint.handle.page_va)

    assert FakeMachine(nodes=1).run(job(monkeypatch, main)).results()["job"] == [0]


# ---- portal table and match entries ----


def alone(monkeypatch: pytest.MonkeyPatch, main: Callable[[Side], object], **request: object) -> object:
    """A rank that sends to itself."""

    def run(process: Process, job: Job) -> object:
        return main(Side.of(process, job, **request))

    return FakeMachine(nodes=1).run(job(monkeypatch, run)).results()["job"][0]


def to_self(side: Side, *, bits: int = 0, length_bytes: int = 0) -> None:
    put(
        side.endpoint,
        Target(nid=0, pid=side.endpoint.handle.pid, match_bits=bits),
        local=Region(window=0, offset=8192, length_bytes=length_bytes),
        event_send_disable=True,
    )


def test_entries_that_were_used_once_are_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def main(side: Side) -> object:
        side.table.allocate(0)
        numbers = []
        for turn in range(70):  # there are 32
            entry = MatchEntry(
                ignore_bits=ALL_BITS, op_put=True, use_once=True, user_data=turn, event_link_disable=True
            )
            numbers.append(side.table.append(0, entry))
            to_self(side)
            put_event, unlinked = side.events(2)
            assert (put_event.kind, unlinked.kind) == (EventKind.PUT, EventKind.AUTO_UNLINK)
            assert (put_event.entry, unlinked.entry, unlinked.entry_data) == (numbers[-1], numbers[-1], turn)
        return len(set(numbers))

    assert alone(monkeypatch, main) == 1


def test_all_match_entries_are_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    def main(side: Side) -> object:
        side.table.allocate(0)
        entry = MatchEntry(op_put=True, event_link_disable=True)
        numbers = [side.table.append(0, entry) for _ in range(32)]
        with pytest.raises(EndpointError) as caught:
            side.table.append(0, entry)
        assert side.table.unlink(numbers[5])
        return [*numbers, side.table.append(0, entry), side.endpoint.complete(), str(caught.value)]

    *numbers, refused, text = alone(monkeypatch, main)
    assert (numbers, refused) == ([*range(32), 5], 0)
    assert text == ("match entries: all 32 of context 0 are in use; unlink some, or give their events to observe")


def test_an_entry_that_was_refused_is_free_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def main(side: Side) -> object:
        numbers = [side.table.append(7, MatchEntry())]  # that portal table entry was not allocated
        (event,) = side.events(1)
        side.table.allocate(7)
        numbers.append(side.table.append(7, MatchEntry()))
        return event.failure, numbers, side.kinds(1)

    assert alone(monkeypatch, main) == (Refusal.COMMAND_ENTRY.name, [0, 0], [EventKind.LINK])


def test_unexpected_messages_and_the_entry_that_holds_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """The overflow entry cannot be unlinked while headers refer to it; a search shows them, an append takes them."""

    def main(side: Side) -> object:
        table = side.table
        table.allocate(0)
        store = MatchEntry(
            ignore_bits=ALL_BITS, op_put=True, length_bytes=4096, manage_local=True, min_free=4096 - 40, user_data=1
        )
        held = table.append(0, store, to=List.OVERFLOW)
        assert side.kinds(1) == [EventKind.LINK]
        side.memory[8192 : 8192 + 16] = range(16)
        for bits, length in ((4, 16), (5, 32)):
            to_self(side, bits=bits, length_bytes=length)
        assert side.kinds(3) == [EventKind.PUT, EventKind.PUT, EventKind.AUTO_UNLINK]
        assert not table.unlink(held)
        assert side.kinds(1) == [EventKind.REFUSED]
        table.search(0, MatchEntry(match_bits=4, use_once=True), user_data=9)
        table.search(0, MatchEntry(match_bits=6), user_data=10)
        found, missed = side.events(2)
        assert (found.kind, found.user_data, found.manipulated_bytes) == (EventKind.SEARCH, 9, 16)
        assert (missed.failure, missed.user_data) == ("NO_MATCH", 10)
        wanted = MatchEntry(match_bits=4, op_put=True, use_once=True, length_bytes=64, user_data=2)
        taker = table.append(0, wanted)
        overflow, unlinked = side.events(2)
        assert (overflow.kind, overflow.entry, overflow.start_window) == (EventKind.PUT_OVERFLOW, taker, 0)
        assert unlinked.kind == EventKind.AUTO_UNLINK
        assert bytes(side.memory[overflow.start_offset :][:16]) == bytes(range(16))
        table.search(0, MatchEntry(match_bits=5), delete=True)
        assert side.kinds(2) == [EventKind.SEARCH, EventKind.AUTO_FREE]
        return [held, taker, table.append(0, store), table.append(0, wanted)]

    held, taker, *again = alone(monkeypatch, main)
    assert sorted(again) == sorted([held, taker])


def test_flow_control(monkeypatch: pytest.MonkeyPatch) -> None:
    def main(side: Side) -> object:
        side.table.allocate(0, flow_control=True)
        to_self(side)
        (event,) = side.events(1)
        side.table.append(0, MatchEntry(ignore_bits=ALL_BITS, op_put=True, event_link_disable=True))
        to_self(side)  # dropped: disabled
        side.endpoint.complete()
        side.process.compute(10_000)
        side.process.settle()
        side.table.enable(0)
        to_self(side)
        kinds = [EventKind(event.kind), *side.kinds(1)]
        side.table.disable(0)
        side.table.free(0)  # something is in its lists
        return kinds, side.events(1)[0].failure

    assert alone(monkeypatch, main) == ([EventKind.PT_DISABLED, EventKind.PUT], "COMMAND_ENTRY")


# ---- counting events ----


@pytest.mark.parametrize("interrupt", [False, True])
def test_counters(monkeypatch: pytest.MonkeyPatch, interrupt: bool) -> None:
    def offer(side: Side) -> None:
        side.table.allocate(3)
        quiet = {"event_link_disable": True, "event_comm_disable": True}
        side.table.append(
            3,
            MatchEntry(counter=5, ct_comm=True, ct_bytes=True, **quiet, **EVERYTHING),  # type: ignore[arg-type]
        )

    def target(side: Side) -> object:
        return Counter(side.endpoint, 5).wait(300)

    def initiator(side: Side, pid: int) -> object:
        sent, answered = Counter(side.endpoint, 0), Counter(side.endpoint, 1)
        sent.set(success=10, failure=1)
        sent.increment(success=2)
        side.endpoint.complete()
        assert sent.read() == Count(success=12, failure=1)
        sent.set()
        for number, counting in ((0, {"send": True}), (1, {"ack": True, "in_bytes": True})):
            for _ in range(2):
                put(
                    side.endpoint,
                    Target(nid=0, pid=pid, pt_index=3),
                    local=Region(window=0, offset=0, length_bytes=75),
                    ack_request=AckRequest.COUNTING,
                    counting=Counting(counter=number, **counting),
                    event_send_disable=True,
                )
        assert sent.wait(2) == Count(success=2, failure=0)
        assert answered.wait(150) == Count(success=150, failure=0)
        put(
            side.endpoint,
            Target(nid=0, pid=pid, pt_index=4),
            ack_request=AckRequest.COUNTING,
            counting=Counting(counter=1, ack=True),
            event_send_disable=True,
        )
        return answered.wait(151), side.endpoint.poll()

    theirs, own = pair(monkeypatch, target, initiator, offer, interrupt=False, counter_interrupt=interrupt)
    assert theirs == Count(success=300, failure=0)
    assert own == (Count(success=150, failure=1), None)


def test_a_waiting_process_sleeps_only_if_counters_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    def waiting(side: Side) -> object:
        before = side.process.calls.counters()["kernel.wake_ups"]
        Counter(side.endpoint, 2).increment(success=1)
        Counter(side.endpoint, 2).wait(1)
        return side.process.calls.counters()["kernel.wake_ups"] - before

    for interrupt in (False, True):
        assert alone(monkeypatch, waiting, interrupt=False, counter_interrupt=interrupt) == interrupt


@pytest.mark.parametrize(
    ("moderation", "interrupts"),
    [({}, 8), ({"moderation_count": 4}, 2), ({"moderation_count": 8, "moderation_us": 1}, 4)],
)
def test_moderation(monkeypatch: pytest.MonkeyPatch, moderation: dict[str, int], interrupts: int) -> None:
    """Eight messages to oneself, a pair each 5 us; the interrupts that come of it."""

    def main(process: Process, job: Job) -> int:
        side = Side.of(process, job, **moderation)
        side.table.allocate(0)
        side.table.append(0, MatchEntry(ignore_bits=ALL_BITS, op_put=True, event_link_disable=True))
        side.endpoint.complete()
        before = process.calls.counters()["kernel.interrupts"]
        for _ in range(4):
            for _ in range(2):
                to_self(side)
                process.compute(20_000 if not moderation else 0)
            process.compute(10_000)
            process.settle()
        process.compute(20_000)
        process.settle()
        return process.calls.counters()["kernel.interrupts"] - before

    assert FakeMachine(nodes=1).run(job(monkeypatch, main)).results()["job"] == [interrupts]
