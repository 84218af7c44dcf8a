"""Put, get and atomics: what is moved, and what both sides are told."""

import numpy as np
import pytest
from fake_machine import FakeMachine
from portal_sides import MEMORY_BYTES, Side, everything, pair
from sw_jobs import job

from rtl.portals import AckRequest, AtomicOperation, AtomicType, EventKind, Fail, List
from sw.apps.application import Job
from sw.kernel.process import Process
from sw.portals.counters import Counter
from sw.portals.endpoint import EndpointError
from sw.portals.operations import Region, Target, atomic, fetch_atomic, get, put, swap
from sw.portals.portal_table import MatchEntry, Source


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
