"""Several whole NICs whose packets are lost: what their processes hear of it, and that nobody waits for ever."""

import pytest

from rtl.packets import DATAPATH_BITS
from rtl.portals import AckRequest, AtomicOperation, AtomicType, EventKind, Fail, List, Operation, Refusal
from tests.golden.context import Window
from tests.golden.judging import meant, said
from tests.golden.process import append, atomic, fetch_atomic, get, portal, put, unlink
from tests.rtl.whole.board import Place
from tests.rtl.whole.scene import Scene, left, scene, source, to

A, B, C = (0, 0), (1, 0), (2, 0)
TIMEOUT_CYCLES = 3000
ENTRIES = 4  # of requests that wait, of a context
widths = pytest.mark.parametrize("bits", DATAPATH_BITS)


@widths
@pytest.mark.parametrize("cause", ["a new message", "a gap"])
def test_an_entry_that_goes_with_an_abandoned_message_is_said_to_be_unlinked(bits: int, cause: str) -> None:
    """The place of its AUTO_UNLINK was reserved; the other one is free again, and the counter has a failure."""
    with scene(bits, event_log2={B: 2}) as at:
        entry = {"window": 1, "length_bytes": 1000, "use_once": 1, "ct_comm": 1, "counter": 2}
        at.do(B, portal(3), append(pt_index=3, entry=1, user_data=8, **entry))
        for number in range(6):  # more than the queue has places
            at.do(B, append(pt_index=3, entry=2, user_data=9, **entry))
            fields = {"message_bytes": 384, "last": 0, "pt_index": 3}
            at.simulator.inject(1, at.request(A, B, bytes(128), **fields, sequence=2 * number))
            rest = {**fields, "first": 0, "segment_offset": 256, "last": 1}
            after = rest if cause == "a gap" else {"pt_index": 5}
            payload = bytes(128) if cause == "a gap" else b"new"
            at.simulator.inject(1, at.request(A, B, payload, **after, sequence=2 * number + 1))
            [told] = said(at.rest()[B])
            user_data = 8 if number == 0 else 9
            unlinked = {"kind": EventKind.AUTO_UNLINK, "pt_index": 3, "user_data": user_data}
            assert [told] == meant({**unlinked, "fail": Fail.UNDELIVERABLE})
            assert at.board.counter(B, 2) == (0, number + 1)
            if number == 0:
                at.do(B, append(pt_index=3, entry=1, user_data=9, **entry))


@widths
@pytest.mark.parametrize("operation", [Operation.PUT, Operation.GET, Operation.ATOMIC])
def test_a_start_beyond_all_addresses_does_not_come_round_to_the_windows_begin(bits: int, operation: Operation) -> None:
    with scene(bits) as at:
        at.window(B, 1, Window(base=Place(0).window(1), length=0x3800))
        at.do(B, portal(0), append(pt_index=0, entry=0, window=1, offset=2**48 - 64, length_bytes=1000))
        fields = {**to(B), "length_bytes": 8, "remote_offset": 64, "user_data": 4}
        command = {
            Operation.PUT: put(**fields, ack_request=1),
            Operation.GET: get(**fields, local_window=2),
            Operation.ATOMIC: atomic(AtomicOperation.SUM, **fields, atomic_type=AtomicType.INT64, ack_request=1),
        }[operation]
        before = at.board.read(B, 1, 0, 64)
        at.post(A, command)
        told = at.rest()
        assert at.board.read(B, 1, 0, 64) == before
        assert told[A][-1]["fail"] == told[B][0]["fail"] == Fail.SEGMENT


def sent_by(at: Scene, nid: int) -> list[int]:
    """Lets everything come to rest and compares; the flits of the only packet that has left the node meanwhile."""
    at.simulator.settle()
    at.saw_events(A)
    at.saw_events(B)
    [seen] = [seen for seen in left(at.compare().seen) if seen.node == nid]
    return list(seen.flits)


@widths
def test_requests_that_another_job_does_not_get_end_when_their_time_is_over(bits: int) -> None:
    """More of them than the context has entries, each told of by its event and its counter."""
    with scene(bits, jobs={B: 8}) as at:
        at.time_out(0, TIMEOUT_CYCLES)
        counted = {**to(B), "length_bytes": 8, "ct_reply": 1, "ct_ack": 1, "counter": 3}
        by_kind = {
            EventKind.REPLY: [get(**counted, user_data=5), fetch_atomic(0, 3, **counted, user_data=5)],
            EventKind.ACK: [put(**counted, user_data=5, ack_request=AckRequest.FULL)],
        }
        ended = 0
        for kind, command in [(kind, one) for kind, some in by_kind.items() for one in some] * ENTRIES:
            at.post(A, command)
            cycles = at.simulator.settle()
            assert TIMEOUT_CYCLES <= cycles <= 2 * TIMEOUT_CYCLES + 300
            told = said(at.rest()[A])
            failed = {"kind": kind, **source(B), "user_data": 5, "fail": Fail.UNDELIVERABLE}
            assert [event for event in told if event["kind"] != EventKind.SEND] == meant(failed)
            ended += 1
            assert at.board.counter(A, 3) == (0, ended)
        assert at.simulator.value(0, "RESPONSES_TIMED_OUT") == ended
        assert at.simulator.value(0, "RESPONSES_COLLECTED") == 0
        assert at.simulator.value(1, "PACKET_JOB") == ended


@widths
def test_a_request_that_was_damaged_and_a_response_that_was_lost_free_their_entries(bits: int) -> None:
    """What comes for them after all is refused, and their memory is not written."""
    with scene(bits) as at:
        at.open(B)
        at.time_out(0, TIMEOUT_CYCLES)
        at.simulator.manual()
        for _ in range(ENTRIES + 1):
            at.post(A, get(**to(B), length_bytes=64, local_window=1, user_data=1))
            asked = sent_by(at, 0)
            at.simulator.inject(1, [asked[0] ^ 1 << 63, *asked[1:]])
            at.rest()
            at.post(A, put(**to(B), length_bytes=64, user_data=2, ack_request=AckRequest.FULL))
            at.simulator.inject(1, sent_by(at, 0))
            acknowledged = sent_by(at, 1)
            at.simulator.inject(0, acknowledged, response=True)
            at.rest()
        assert at.simulator.value(0, "RESPONSES_TIMED_OUT") == 2 * (ENTRIES + 1)
        assert at.simulator.value(0, Refusal.PACKET_HANDLE.name) == ENTRIES + 1
        assert at.simulator.value(1, Refusal.PACKET_CRC.name) == ENTRIES + 1
        before = at.board.read(A, 1, 0, 64)
        at.post(A, get(**to(B), length_bytes=64, local_window=1))
        at.simulator.inject(1, sent_by(at, 0))
        late = sent_by(at, 1)
        at.simulator.inject(0, late, response=True)
        at.rest()
        assert at.board.read(A, 1, 0, 64) == before
        at.simulator.manual(False)
        [event] = at.do(A, get(**to(B), length_bytes=64, local_window=1))
        assert event["fail"] == Fail.OK
        assert at.board.read(A, 1, 0, 64) == at.board.read(B, 1, 0, 64)


@widths
def test_large_messages_have_all_the_time_that_they_take(bits: int) -> None:
    """Several times the timeout to send, and as long to be answered."""
    with scene(bits) as at:
        at.open(B)
        at.time_out(0, 400)
        at.time_out(1, 400)
        large = {**to(B), "length_bytes": 0x3000, "local_window": 2}
        for command in (put(**large, ack_request=AckRequest.FULL), get(**large)):
            at.post(A, command)
            at.post((0, 1), command)
            assert at.simulator.settle() > 3 * 400
            fails = [event["fail"] for events in at.rest().values() for event in events]
            assert not any(fails)
        assert at.simulator.value(0, "RESPONSES_TIMED_OUT") == 0
        assert at.simulator.value(1, "MESSAGES_TIMED_OUT") == 0


@widths
def test_a_node_whose_requests_wait_keeps_its_clock_only_with_a_timeout(bits: int) -> None:
    with scene(bits, jobs={B: 8}) as at:
        at.post(A, get(**to(B), length_bytes=8))
        assert at.simulator.settle() < 500
        at.time_out(0, TIMEOUT_CYCLES)
        assert at.simulator.settle() >= TIMEOUT_CYCLES
        assert [event["fail"] for event in at.rest()[A]] == [Fail.UNDELIVERABLE]


@widths
def test_a_target_goes_on_when_the_sender_of_a_message_has_died(bits: int) -> None:
    """The message holds an unexpected header, its entry, and two of the four places for events; a command of the
    target waits for it. All are free when its time is over, as often as it happens."""
    with scene(bits, event_log2={B: 2}) as at:
        at.time_out(1, TIMEOUT_CYCLES)
        catching = {"window": 1, "length_bytes": 0x4000, "use_once": 1, "ct_comm": 1, "counter": 2}
        at.do(B, portal(3))
        for number in range(6):
            at.do(B, append(List.OVERFLOW, pt_index=3, entry=1, user_data=8, **catching))
            at.post(A, put(**to(B), pt_index=3, length_bytes=0x1000))
            at.simulator.run(250)
            at.simulator.silence(0)
            retired = at.board.page(B, "COMMAND_HEAD")
            at.post(B, append(pt_index=3, entry=2, user_data=9, window=1, length_bytes=8, event_link_disable=0))
            at.simulator.run(TIMEOUT_CYCLES - 250)
            assert at.board.page(B, "COMMAND_HEAD") == retired, "it waits for the rest of the message"
            at.simulator.settle(limit=TIMEOUT_CYCLES + 300)
            told = said(at.rest()[B])
            unlinked = {"kind": EventKind.AUTO_UNLINK, "pt_index": 3, "list": List.OVERFLOW, "user_data": 8}
            freed = {"kind": EventKind.AUTO_FREE, "pt_index": 3, "list": List.OVERFLOW, "user_data": 8}
            linked = {"kind": EventKind.LINK, "pt_index": 3, "user_data": 9}
            assert told == meant({**unlinked, "fail": Fail.UNDELIVERABLE}, freed, linked)
            assert at.board.counter(B, 2) == (0, number + 1)
            assert at.simulator.value(1, "MESSAGES_TIMED_OUT") == number + 1
            assert at.simulator.value(1, Refusal.PACKET_ABORTED.name) == number + 1
            at.simulator.silence(0, False)
            [event] = at.do(
                C, put(**to(B), pt_index=3, length_bytes=8, event_send_disable=1, ack_request=AckRequest.FULL)
            )
            assert event["fail"] == Fail.OK
            assert at.do(B, unlink(2)) == []


@widths
def test_a_packet_that_comes_as_the_time_of_its_message_ends_goes_on_with_it_or_is_refused(bits: int) -> None:
    """Whatever the cycle: it ends well or is given up, never both and never neither."""
    timeout, outcomes, sequence = 200, [], 0
    with scene(bits) as at:
        at.open(B, ct_comm=1, counter=1)
        at.time_out(1, timeout)
        for delay in range(2 * timeout - 30, 2 * timeout + 50):
            begins = {"message_bytes": 200, "last": 0}
            goes_on = {"message_bytes": 200, "first": 0, "segment_offset": 128, "last": 1}
            at.simulator.inject(1, at.request(A, B, bytes(128), **begins, sequence=sequence))
            at.simulator.run(delay)
            at.simulator.inject(1, at.request(A, B, bytes(72), **goes_on, sequence=sequence + 1))
            at.simulator.settle()
            sequence += 2
            timed_out, refused = (at.simulator.value(1, name) for name in ("MESSAGES_TIMED_OUT", "PACKET_ABORTED"))
            outcomes.append(timed_out - sum(outcomes))
            assert refused == 2 * timed_out
            assert at.board.counter(B, 1) == (len(outcomes) - timed_out, timed_out)
            assert len(at.board.events(B)) == 1 - outcomes[-1]
    assert outcomes == sorted(outcomes), "the later the packet, the sooner the message has ended"
    assert set(outcomes) == {0, 1}
