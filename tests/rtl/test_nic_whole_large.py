"""Whole NICs: messages of many packets, in memory that ends where all addresses end."""

import random
from collections.abc import Iterator

import pytest

from rtl.packets import DATAPATH_BITS
from rtl.portals import EVENT, AckRequest, EventKind, Fail
from tests.golden.context import Right, Window
from tests.golden.process import append, get, portal, put
from tests.rtl.whole.board import Board, Who, parameters_of, usual
from tests.rtl.whole.scene import JOB, to
from tests.rtl.whole.simulator import Settings

A, B = (0, 0), (1, 0)
ADDRESSES = 1 << 48
MEMORY_BYTES = 3 << 20
LENGTH = 1 << 20
BASE = 8
WINDOW = Window(base=BASE, length=ADDRESSES - BASE, rights=Right.ALL)
END = WINDOW.length  # offset of the byte that no address has
PART = 777  # of an offset, where two are added


@pytest.fixture(params=DATAPATH_BITS)
def board(request: pytest.FixtureRequest) -> Iterator[Board]:
    """Window 1 of A and B reaches from the second word to the end of all addresses; B's entry ends there, too."""
    made = Board(parameters_of(request.param), Settings(memory_bytes=MEMORY_BYTES, mirrored=True))
    filler = random.Random(1)
    for who in (A, B):
        settings = usual(who[1], jid=JOB)
        settings.windows[1] = WINDOW
        made.configure(who, settings)
        made.enable(who)
        made.memory[who[0]][-2 * LENGTH :] = filler.randbytes(2 * LENGTH)
    entry = {"pt_index": 0, "entry": 0, "window": 1, "offset": END - LENGTH - PART, "length_bytes": LENGTH + PART}
    assert made.do(B, portal(0), append(**entry)) == []
    yield made
    made.simulator.close()


def last_bytes(board: Board, who: Who, count: int) -> bytes:
    return bytes(board.memory[who[0]][-count:])


def told(events: list[dict[str, int]]) -> list[tuple[int, int, int]]:
    return [(event["kind"], event["fail"], event["manipulated_bytes"]) for event in events]


def test_a_mebibyte_goes_to_the_last_byte_of_all_addresses(board: Board) -> None:
    length = LENGTH - 5
    before = last_bytes(board, B, 2 * LENGTH)[:-length]
    sent = last_bytes(board, A, LENGTH)[:length]
    fields = {"local_window": 1, "local_offset": END - LENGTH, "remote_offset": PART + 5, "length_bytes": length}
    events = board.do(A, put(**to(B), **fields, ack_request=AckRequest.FULL))
    assert told(events) == [(EventKind.SEND, Fail.OK, 0), (EventKind.ACK, Fail.OK, length)]
    assert told([EVENT.unpack(words) for words in board.events(B)]) == [(EventKind.PUT, Fail.OK, length)]
    assert last_bytes(board, B, 2 * LENGTH) == before + sent
    back = {"local_window": 1, "local_offset": END - 5001, "remote_offset": PART + LENGTH - 5000, "length_bytes": 5000}
    assert told(board.do(A, get(**to(B), **back))) == [(EventKind.REPLY, Fail.OK, 5000)]
    assert last_bytes(board, A, 5001)[:-1] == last_bytes(board, B, 5000)


def test_one_byte_beyond_all_addresses_is_in_no_window(board: Board) -> None:
    before = [last_bytes(board, who, 2 * LENGTH) for who in (A, B)]
    place = {"local_window": 1, "local_offset": END - 64, "remote_offset": LENGTH + PART - 64}
    [refused] = board.do(A, put(**to(B), **place, length_bytes=65))
    assert refused["kind"] == EventKind.REFUSED
    # B's entry truncates what goes beyond it; an entry that begins there and goes on does not change what is inside.
    beyond = append(pt_index=0, entry=1, window=1, offset=END - 64, length_bytes=1000, match_bits=1)
    assert board.do(B, beyond) == []
    events = board.do(A, put(**to(B), length_bytes=65, match_bits=1, ack_request=AckRequest.FULL))
    assert told(events) == [(EventKind.SEND, Fail.OK, 0), (EventKind.ACK, Fail.SEGMENT, 0)]
    assert [last_bytes(board, who, 2 * LENGTH) for who in (A, B)] == before
