"""Entries that are unlinked while messages to them are under way, in whole NICs: IN_USE, and after that nothing."""

import pytest

from rtl.packets import DATAPATH_BITS
from rtl.portals import EVENT, AckRequest, EventKind, Fail, List, Refusal
from tests.golden.judging import meant, said
from tests.golden.process import append, get, portal, put, unlink
from tests.rtl.whole.board import WINDOW_BYTES
from tests.rtl.whole.scene import Scene, scene, to

A, B = (0, 0), (1, 0)
BYTES = 2000
REFUSED = {"kind": EventKind.REFUSED, "fail": Refusal.COMMAND_ENTRY}
widths = pytest.mark.parametrize("bits", DATAPATH_BITS)


@widths
@pytest.mark.parametrize("which", list(List))
def test_an_entry_cannot_be_unlinked_until_its_message_has_ended(bits: int, which: List) -> None:
    """Whether it ends well or is abandoned."""
    entry = {"pt_index": 0, "entry": 1, "window": 1, "length_bytes": 1000, "unexpected_header_disable": 1}
    fields = {"message_bytes": 200, "last": 0}
    rest = {"message_bytes": 200, "first": 0, "segment_offset": 128}
    with scene(bits) as at:
        at.do(B, portal(0), append(which, **entry))
        at.simulator.inject(1, at.request(A, B, bytes(128), **fields))
        at.rest()
        assert said(at.do(B, unlink(1))) == meant(REFUSED)
        at.simulator.inject(1, at.request(A, B, bytes(72), **rest, sequence=1))
        assert [event["kind"] for event in at.rest()[B]] == [EventKind.PUT]
        assert at.do(B, unlink(1), append(which, **entry)) == []
        at.simulator.inject(1, at.request(A, B, bytes(128), **fields, sequence=2))
        at.rest()
        assert said(at.do(B, unlink(1))) == meant(REFUSED)
        at.simulator.inject(1, at.request(A, B, bytes(72), sequence=3, pt_index=5))  # the rest was lost
        at.rest()
        assert at.do(B, unlink(1)) == []


@widths
def test_an_overflow_entry_without_headers_is_freed_when_its_last_message_has_ended(bits: int) -> None:
    with scene(bits) as at:
        entry = {"pt_index": 0, "entry": 1, "window": 1, "length_bytes": 400, "manage_local": 1, "min_free": 100}
        at.do(B, portal(0), append(List.OVERFLOW, **entry, unexpected_header_disable=1, user_data=6))
        at.simulator.inject(1, at.request(A, B, bytes(128), message_bytes=200, last=0))
        whole = at.request((0, 1), B, bytes(128))
        at.simulator.inject(1, whole)
        assert [event["kind"] for event in at.rest()[B]] == [EventKind.PUT, EventKind.AUTO_UNLINK]
        assert said(at.do(B, append(**entry))) == meant(REFUSED)
        ends = {"message_bytes": 200, "first": 0, "segment_offset": 128, "sequence": 1}
        at.simulator.inject(1, at.request(A, B, bytes(72), **ends))
        told = at.rest()[B]
        assert [(event["kind"], event["user_data"]) for event in told] == [
            (EventKind.PUT, 6),
            (EventKind.AUTO_FREE, 6),
        ]
        assert at.do(B, append(**entry)) == []


def race(at: Scene, command: list[int], delay: int) -> tuple[bool, int]:
    """Whether B's unlink was refused so many cycles after A's doorbell, and how A's message ended."""
    at.board.post(A, command)
    at.simulator.run(delay)
    before = at.board.page(B, "COMMAND_HEAD")
    at.board.post(B, unlink(0))
    while at.board.page(B, "COMMAND_HEAD") == before:
        at.simulator.run(1)
    when_answered = at.board.read(B, 1, 0, BYTES)
    at.simulator.settle()
    told = [EVENT.unpack(words)["kind"] for words in at.board.events(B)]
    [answer] = [EVENT.unpack(words) for words in at.board.events(A)]
    refused = EventKind.REFUSED in told
    if not refused:
        assert at.board.read(B, 1, 0, BYTES) == when_answered, "memory was written that was no match entry's any more"
    assert len(told) == refused + (answer["fail"] == Fail.OK)
    return refused, answer["fail"]


@widths
@pytest.mark.parametrize("reads", [False, True])
def test_an_unlink_that_races_with_a_message_of_many_packets(bits: int, reads: bool) -> None:
    """It comes before the message, which then finds nothing; is refused; or comes when all is over."""
    fields = {**to(B), "length_bytes": BYTES}
    writes = put(**fields, ack_request=AckRequest.FULL, event_send_disable=1)
    command = get(**fields, local_window=2) if reads else writes
    outcomes = set()
    with scene(bits) as at:
        at.board.do(B, portal(0))
        for number, delay in enumerate(range(0, 1000, 50)):
            at.board.do(B, append(pt_index=0, entry=0, window=1, length_bytes=WINDOW_BYTES))
            at.board.write(A, 0, 0, bytes([number + 1]) * BYTES)
            refused, fail = race(at, command, delay)
            outcomes.add((refused, fail))
            if refused:
                assert at.board.do(B, unlink(0)) == []
    assert outcomes == {(False, Fail.DROPPED), (True, Fail.OK), (False, Fail.OK)}
