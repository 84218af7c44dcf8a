"""What is expected of the collection of responses, from the semantics alone: no RTL, no time.

The reference sees packets in the order in which their headers are taken.
"""

from dataclasses import dataclass, field

from rtl.packets import RESPONSE, PacketKind
from rtl.portals import COMMAND, EVENT, FETCHING_OPERATIONS, AckRequest, EventKind, Fail, Operation

WINDOW_BYTES = 0x1000
JOB = 0x7000


@dataclass(kw_only=True)
class Entry:
    """A request that waits, as the issuer knows it. Windows: 0 may be written, 1 may not, 2 does not exist."""

    context: int
    operation: Operation
    dst_nid: int = 1
    dst_pid: int = 0x200
    window: int = 0
    offset: int = 0
    size: int = 0
    ack_request: AckRequest = AckRequest.NONE
    success_disable: int = 0
    count: int = 0
    ct_bytes: int = 0
    counter: int = 0
    user_data: int = 0
    handle: int = 0
    generation: int = 0
    epoch: int = 0
    received: int = 0
    fail: Fail = Fail.OK

    @property
    def fetching(self) -> bool:
        return self.operation in FETCHING_OPERATIONS

    @property
    def command_word(self) -> int:
        return COMMAND.pack(
            operation=self.operation,
            ack_request=self.ack_request,
            event_success_disable=self.success_disable,
            ct_ack=int(self.count and not self.fetching),
            ct_reply=int(self.count and self.fetching),
            ct_bytes=self.ct_bytes,
            counter=self.counter,
            pt_index=0xFF,  # of no concern here
        )[0]


@dataclass(kw_only=True)
class Packet:
    """A response as it is admitted. `entry` is the one that it is meant for, if it may be believed."""

    context: int
    header: dict[str, int]
    payload: bytes = b""
    poisoned: bool = False
    entry: Entry | None = None

    @property
    def words(self) -> list[int]:
        return RESPONSE.pack(payload_bytes=len(self.payload), jid=JOB, **self.header)


@dataclass(kw_only=True)
class Report:
    """What an EventPort carries."""

    context: int
    epoch: int
    event: dict[str, int] | None
    counter: tuple[int, int, int] | None  # counter, success, failure


def response(entry: Entry, payload: bytes = b"", **fields: int) -> Packet:
    header = {
        "kind": PacketKind.REPLY if entry.fetching else PacketKind.ACK,
        "src_nid": entry.dst_nid,
        "src_pid": entry.dst_pid,
        "handle": entry.handle,
        "generation": entry.generation,
        "last": 1,
        **fields,
    }
    return Packet(context=entry.context, header=header, payload=payload, entry=entry)


def reply(entry: Entry, data: bytes, mtu_bytes: int, *, fail: Fail = Fail.OK, **fields: int) -> list[Packet]:
    """All packets of a reply with `data`."""
    starts = range(0, max(len(data), 1), mtu_bytes)
    return [
        response(
            entry,
            data[start : start + mtu_bytes],
            segment_offset=start,
            manipulated_bytes=len(data),
            last=int(start == starts[-1]),
            fail=fail,
            **fields,
        )
        for start in starts
    ]


@dataclass
class Expected:
    """The reference. `memory` has all contexts' windows, `bad` the bytes that memory refuses."""

    memory: bytearray
    bad: range
    reports: list[Report] = field(default_factory=list)
    released: list[tuple[int, int]] = field(default_factory=list)  # context, epoch
    refused: list[tuple[int, int]] = field(default_factory=list)  # context, identity word
    collected: int = 0
    timed_out: int = 0

    def see(self, packet: Packet) -> None:
        entry, header = packet.entry, packet.header
        if entry is None:
            self.refused.append((packet.context, packet.words[1]))
            return
        unwritten = packet.poisoned or (packet.payload and not self._write(entry, header, packet.payload))
        if unwritten:
            fail = Fail.SEGMENT
        elif header["last"] and header.get("fail"):
            fail = Fail(header["fail"])
        elif entry.fetching and header["segment_offset"] != entry.received:
            fail = Fail.UNDELIVERABLE
        else:
            fail = Fail.OK
        if entry.fail is Fail.OK:
            entry.fail = fail
        entry.received = header.get("segment_offset", 0) + len(packet.payload)
        if header["last"] or packet.poisoned:
            self.collected += 1
            self._end(entry, header, packet.words[1])

    def expire(self, entry: Entry, jid: int) -> None:
        """Nothing has come for too long for an entry of a context that has this `jid`."""
        if entry.fail is Fail.OK:
            entry.fail = Fail.UNDELIVERABLE
        self.timed_out += 1
        self._end(entry, {}, entry.dst_nid | entry.dst_pid << 16 | jid << 32)

    def _write(self, entry: Entry, header: dict[str, int], payload: bytes) -> bool:
        segment_offset = header["segment_offset"]
        start = entry.offset + segment_offset
        within = segment_offset + len(payload) <= entry.size and start + len(payload) <= WINDOW_BYTES
        if not within or entry.window != 0:
            return False
        address = window_address(entry.context, 0) + start
        for index, byte in enumerate(payload):
            if address + index not in self.bad:
                self.memory[address + index] = byte
        return not set(range(address, address + len(payload))) & set(self.bad)

    def _end(self, entry: Entry, header: dict[str, int], identity: int) -> None:
        ok = entry.fail is Fail.OK
        place = entry.fetching or entry.ack_request is AckRequest.FULL
        silent = bool(header.get("silent"))
        event = place and not silent and not (ok and entry.success_disable)
        if place and not event:
            self.released.append((entry.context, entry.epoch))
        if silent or not (event or entry.count):
            return
        manipulated = header.get("manipulated_bytes", 0) if ok else 0
        told = None
        if event:
            words = EVENT.pack(
                kind=EventKind.REPLY if entry.fetching else EventKind.ACK,
                manipulated_bytes=manipulated,
                remote_offset=header.get("remote_offset", 0),
                user_data=entry.user_data,
                fail=entry.fail,
                list=header.get("list", 0),
            )
            told = EVENT.unpack([words[0], identity, *words[2:]])
        success = (manipulated if entry.ct_bytes else 1) if ok else 0
        counter = (entry.counter, success, int(not ok)) if entry.count else None
        self.reports.append(Report(context=entry.context, epoch=entry.epoch, event=told, counter=counter))


def window_address(context: int, window: int) -> int:
    return 0x10000 + 2 * WINDOW_BYTES * context + WINDOW_BYTES * window
