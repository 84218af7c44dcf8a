"""Many contexts on many nodes, all at work at once; and the largest NIC that a scenario can ask for."""

from collections.abc import Iterator

import pytest
from amaranth.hdl import Fragment

from rtl.machine import without_collection
from rtl.nic.nic import Nic
from rtl.nic.parameters import BOUNDS, NicParameters
from rtl.portals import AckRequest, AtomicOperation, AtomicType, EventKind, Fail
from tests.golden.process import append, fetch_atomic, portal, put
from tests.rtl.whole.board import CONTEXT_BYTES, WINDOWS, Board, Who
from tests.rtl.whole.scene import JOB, Scene, source, to
from tests.rtl.whole.simulator import Settings

CROWD = NicParameters(
    contexts=9, windows=WINDOWS, portal_entries=1, match_entries=1, unexpected_headers=1, counters=1, outstanding=2,
    prefetch=1, replies=8, mtu_bytes=64, nodes=4,
)  # fmt: skip
LENGTH = 100  # bytes: two packets


@pytest.fixture
def crowd() -> Iterator[Scene]:
    board = Board(CROWD, Settings(memory_bytes=CROWD.contexts * CONTEXT_BYTES))
    # A job for each context number: who hears of another one's messages would say so.
    yield Scene(board, {who: JOB + who[1] for who in board.everybody}, {})
    board.simulator.close()


def test_everybody_of_a_crowd_hears_its_own_and_nothing_else(crowd: Scene) -> None:
    everybody = crowd.board.everybody
    entry = append(entry=0, window=1, length_bytes=0x1000, user_data=5)
    for who in everybody:
        crowd.post(who, portal(0), entry)
    crowd.rest()
    old = {who: crowd.board.read(who, 1, 0x200, 8) for who in everybody}
    for nid, context in everybody:
        peer = _after((nid, context))
        crowd.post(
            (nid, context),
            put(**to(peer), length_bytes=LENGTH, header_data=context, ack_request=AckRequest.FULL),
            fetch_atomic(
                AtomicOperation.SUM, AtomicType.UINT64, **to(peer), length_bytes=8, local_offset=LENGTH + 4,
                remote_offset=0x200, get_window=2, event_send_disable=1,
            ),
        )  # fmt: skip
    told = crowd.rest()
    for who in everybody:
        peer, jid = _after(who), JOB + who[1]
        heard = [event for event in told[peer] if event["kind"] == EventKind.PUT]
        wanted = {**source(who, jid), "header_data": who[1], "manipulated_bytes": LENGTH, "fail": Fail.OK}
        assert [{name: event[name] for name in wanted} for event in heard] == [wanted]
        assert sorted(event["kind"] for event in told[who]) == sorted(
            [EventKind.PUT, EventKind.FETCH_ATOMIC, EventKind.SEND, EventKind.ACK, EventKind.REPLY]
        )
        assert crowd.board.read(peer, 1, 0, LENGTH) == crowd.board.read(who, 0, 0, LENGTH)
        assert crowd.board.read(who, 2, 0, 8) == old[peer]


def _after(who: Who) -> Who:
    """The same context of the next node."""
    return (who[0] + 1) % CROWD.nodes, who[1]


def test_the_largest_nic_can_be_made() -> None:
    """All blocks of it; not its netlist, which takes minutes."""
    with without_collection():
        Fragment.get(Nic(NicParameters(**{name: most for name, (_, most, *_) in BOUNDS.items()})), None)
