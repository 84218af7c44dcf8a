"""Several whole NICs whose packets are lost: what their processes hear of it, and that nobody waits for ever."""

import pytest

from rtl.packets import DATAPATH_BITS
from rtl.portals import AtomicOperation, AtomicType, EventKind, Fail, Operation
from tests.golden.context import Window
from tests.golden.judging import meant, said
from tests.golden.process import append, atomic, get, portal, put
from tests.rtl.whole.board import Place
from tests.rtl.whole.scene import scene, to

A, B = (0, 0), (1, 0)
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
