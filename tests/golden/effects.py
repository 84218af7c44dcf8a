"""What one transaction has done, in the order in which it did it."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field

from rtl.packets import unpack
from rtl.portals import EVENT, Refusal


class Pause(enum.Enum):
    """Why a command or reply stands still. A PACKET was made and others follow; all the rest wait for something."""

    PACKET = "packet"
    ROOM = "room"  # places in the event queue
    OUTSTANDING = "outstanding"  # an entry for a request that a response will answer
    HEADER = "header"  # a message that a search has found is still arriving


class Source(enum.Enum):
    """Who writes an event. Events of one source and context are ordered, if nothing else is said; those of several
    sources are not."""

    COMMANDS = "commands"
    LISTS = "lists"
    REQUESTS = "requests"  # puts and atomics that arrive
    REPLIES = "replies"  # what is told when a reply has left; ordered within each reply alone
    RESPONSES = "responses"
    OWED = "owed"  # what waited for a place without stopping anything else
    SILENCE = "silence"  # what is told of messages and requests that were given up; ordered with nothing


@dataclass(frozen=True, kw_only=True)
class SentPacket:
    """A packet that leaves; those of one lane to one node keep their order. The last flit is the CRC."""

    dst_nid: int
    lane: int
    response: bool
    poisoned: bool
    flits: tuple[int, ...]

    def fields(self, datapath_bits: int) -> dict[str, int]:
        """Header fields; ValueError if the packet is poisoned."""
        return unpack(self.flits, datapath_bits)[0]


@dataclass(frozen=True, kw_only=True)
class WrittenEvent:
    """An event in host memory, and where."""

    context: int
    source: Source
    address: int
    words: tuple[int, ...]

    @property
    def fields(self) -> dict[str, int]:
        return EVENT.unpack(self.words)


@dataclass(frozen=True, kw_only=True)
class CounterChange:
    """A counting event after its change, as host memory shows it."""

    context: int
    counter: int
    success: int
    failure: int


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A refusal; `context` is None if it was no context's yet. `detail` is a command's index or a packet's word 1."""

    reason: Refusal
    context: int | None
    detail: int


@dataclass(kw_only=True)
class Effects:
    """Packets, events, counters and refusals, and what data was written; `waits` if something is left to be done."""

    packets: list[SentPacket] = field(default_factory=list)
    events: list[WrittenEvent] = field(default_factory=list)
    counters: list[CounterChange] = field(default_factory=list)
    writes: list[tuple[int, bytes]] = field(default_factory=list)
    refusals: list[Refused] = field(default_factory=list)
    waits: Pause | None = None

    @property
    def reasons(self) -> Sequence[Refusal]:
        return [refused.reason for refused in self.refusals]

    def take(self, waits: Pause | None) -> "Effects":
        """What has been done since the last time."""
        taken = Effects(
            packets=self.packets,
            events=self.events,
            counters=self.counters,
            writes=self.writes,
            refusals=self.refusals,
            waits=waits,
        )
        self.packets, self.events, self.counters, self.writes, self.refusals = [], [], [], [], []
        return taken

    def add(self, later: "Effects") -> None:
        """Appends what a later transaction did."""
        self.packets += later.packets
        self.events += later.events
        self.counters += later.counters
        self.writes += later.writes
        self.refusals += later.refusals
        self.waits = later.waits
