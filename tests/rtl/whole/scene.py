"""Machines for tests that know what they want: every context runs, and what happens is compared with the model, too."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from rtl.packets import REQUEST, RESPONSE, crc32, pack
from rtl.portals import Operation
from rtl.records import Record
from tests.golden.process import append, portal
from tests.rtl.whole.board import FIRST_PID, WINDOW_BYTES, WINDOWS, Board, Place, Who, parameters_of, usual
from tests.rtl.whole.compare import Comparison
from tests.rtl.whole.simulator import OKAY, Seen, Settings

JOB = 7


def to(who: Who) -> dict[str, int]:
    """Whom a command is for."""
    return {"dst_nid": who[0], "dst_pid": FIRST_PID + who[1]}


def source(who: Who, jid: int = JOB) -> dict[str, int]:
    """The fields by which packets and events say who spoke."""
    return {"src_nid": who[0], "src_pid": FIRST_PID + who[1], "jid": jid}


class Scene(Comparison):
    """A comparison whose contexts all run, with random bytes in their windows."""

    def __init__(self, board: Board, jobs: dict[Who, int], event_log2: dict[Who, int]) -> None:
        super().__init__(board)
        self.simulator = board.simulator
        filler = random.Random(1)
        for who in board.everybody:
            for window in range(WINDOWS):
                self.fill(who[0], Place(who[1]).window(window), filler.randbytes(WINDOW_BYTES))
            settings = usual(who[1], jid=jobs.get(who, JOB))
            self.start(who, replace(settings, event_log2=event_log2.get(who, settings.event_log2)))

    def post(self, who: Who, *commands: Sequence[int]) -> None:
        """Commands and their doorbell; nothing is waited for."""
        self.write_ring(who, *commands)
        assert self.board.ring(who) == OKAY

    def do(self, who: Who, *commands: Sequence[int]) -> list[dict[str, int]]:
        """Posts, lets everything come to rest, compares; the events of this context meanwhile."""
        self.post(who, *commands)
        return self.rest()[who]

    def rest(self) -> dict[Who, list[dict[str, int]]]:
        """Lets everything come to rest and compares; all events meanwhile."""
        self.simulator.settle()
        told = {who: self.saw_events(who) for who in self.board.everybody}
        self.simulator.settle()
        for who in told:
            told[who] += self.saw_events(who)
        self.compare()
        return told

    def open(self, who: Who, *, pt_index: int = 0, **fields: int) -> None:
        """A portal table entry with a match entry that covers window 1."""
        entry = {"pt_index": pt_index, "entry": pt_index, "window": 1, "length_bytes": WINDOW_BYTES}
        assert self.do(who, portal(pt_index), append(**(entry | fields))) == []

    def put_bytes(self, who: Who, window: int, offset: int, data: bytes) -> None:
        self.fill(who[0], Place(who[1]).window(window) + offset, data)

    def packet(self, response: bool, payload: bytes = b"", *, poisoned: bool = False, **fields: int) -> list[int]:
        """Flits of a packet that this machine did not send."""
        record: Record = RESPONSE if response else REQUEST
        flits = pack(record, payload, datapath_bits=self.board.parameters.datapath_bits, **fields)
        return [*flits[:-1], flits[-1] ^ 0xFFFF_FFFF] if poisoned else flits

    def request(self, sender: Who, receiver: Who, payload: bytes = b"", **fields: int) -> list[int]:
        """A whole put of its own, if nothing else is said."""
        usual_fields = {
            **{"kind": Operation.PUT, "lane": sender[1], "message_bytes": len(payload), "first": 1, "last": 1},
            **to(receiver),
            **source(sender),
        }
        poisoned = bool(fields.pop("poisoned", 0))
        return self.packet(False, payload, poisoned=poisoned, **(usual_fields | fields))

    def resealed(self, flits: Sequence[int]) -> list[int]:
        """The packet with the CRC that belongs to it."""
        return [*flits[:-1], crc32(flits[:-1], self.board.parameters.datapath_bits)]


@contextmanager
def scene(
    datapath_bits: int,
    *,
    jobs: dict[Who, int] | None = None,
    event_log2: dict[Who, int] | None = None,
    settings: Settings | None = None,
) -> Iterator[Scene]:
    board = Board(parameters_of(datapath_bits), settings)
    try:
        yield Scene(board, jobs or {}, event_log2 or {})
    finally:
        board.simulator.close()


def left(seen: Sequence[Seen]) -> list[Seen]:
    """Packets that left their nodes."""
    return [one for one in seen if not one.received]
