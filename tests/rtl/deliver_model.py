"""What the deliverer should do with packets, as a plain program over bytes that takes one packet after the other.

Each `Told` counts the write requests that must have been answered by then. Atomics add their data modulo 2, whatever
they are called: the operations are another block's business.
"""

import random
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rtl.packets import REQUEST, PacketKind
from rtl.portals import EVENT, AtomicOperation, AtomicType, EventKind, Fail, Operation

FIRST_EPOCH = 40  # context c lives in epoch FIRST_EPOCH + c


@dataclass(frozen=True, kw_only=True)
class Window:
    address: int
    bytes: int
    remote_read: bool = True
    remote_write: bool = True


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What the match unit answers; `options` are fields of word 1 of the entry's command."""

    fail: int = Fail.OK
    found: bool = True
    number: int = 0
    window: int = 0
    start: int = 0
    bytes: int = 0
    remote_offset: int = 0
    event: int = 1
    unlinked: int = 0
    overflow: int = 0
    header: int = 0
    user_data: int = 0
    counter: int = 0
    options: dict[str, int] = field(default_factory=dict)

    @property
    def end(self) -> tuple[int, int, int | None]:
        """What the match unit is told when the message has ended: entry, its list, its header if it has one."""
        unexpected = self.overflow and not self.options.get("unexpected_header_disable")
        return self.number, int(self.overflow), self.header if unexpected else None

    @staticmethod
    def arbitrary(source: random.Random, **fields: Any) -> "Entry":
        options = ("event_success_disable", "ack_disable", "ct_comm", "ct_bytes", "unexpected_header_disable")
        return Entry(
            **{
                "fail": source.choice([Fail.OK] * 8 + [Fail.DROPPED, Fail.PT_DISABLED, Fail.OPERATION]),
                "window": source.choice([0, 0, 0, 1, 2]),
                "start": source.randrange(64),
                "bytes": source.randrange(1 << 10),
                "remote_offset": source.getrandbits(64),
                "event": source.random() < 0.8,
                "unlinked": source.random() < 0.2,
                "overflow": source.random() < 0.2,
                "header": (header := source.getrandbits(16)),
                "number": header ^ 0x5A5A,
                "user_data": source.getrandbits(64),
                "counter": source.getrandbits(8),
                "options": {name: source.getrandbits(1) for name in options},
                **fields,
            }
        )


NOTHING = Entry(event=0, found=False)


@dataclass(kw_only=True)
class Packet:
    context: int
    header: dict[str, int]
    payload: bytes = b""
    poisoned: bool = False

    @property
    def words(self) -> list[int]:
        return REQUEST.pack(payload_bytes=len(self.payload), **self.header)

    @property
    def identity(self) -> int:
        return self.words[1]


class Told(NamedTuple):
    """What went out on a port; `context` and `epoch` are 0 where the port has none."""

    kind: str
    context: int
    epoch: int
    detail: Any
    writes: int = 0


@dataclass
class _Message:
    context: int
    entry: Entry
    pt_index: int
    next_offset: int = 0
    failed: bool = False


class Model:
    """`memory` is changed by the packets; addresses in `bad` err. `told`, `refusals` and `asked` grow."""

    def __init__(
        self,
        memory: bytearray,
        windows: dict[tuple[int, int], Window],
        entries: dict[int, Entry],
        bad: set[int] = frozenset(),  # type: ignore[assignment]
    ) -> None:
        self.memory = memory
        self.told: list[Told] = []
        self.refusals: list[tuple[int, int]] = []
        self.asked: list[int] = []
        self.delivered = 0
        self._windows = windows
        self._entries = entries
        self._bad = bad
        self._writes = 0
        self._open: dict[tuple[int, int], _Message] = {}

    def take(self, packet: Packet) -> None:
        header = packet.header
        lane = (header["src_nid"], header["lane"])
        message = self._open.get(lane)
        cut = bool(packet.poisoned or header.get("aborted"))
        if header.get("first"):
            if message:
                self._abandon(lane, packet.identity)
            if cut:
                self._end(packet, NOTHING, Fail.UNDELIVERABLE)
                return
            self.asked.append(header["header_data"])
            message = self._open[lane] = _Message(
                packet.context, self._entries[header["header_data"]], header["pt_index"]
            )
        elif message is None or message.context != packet.context:
            self.refusals.append((packet.context, packet.identity))
            return
        elif message.next_offset != header["segment_offset"]:
            self._abandon(lane, packet.identity)
            self.refusals.append((packet.context, packet.identity))
            return
        self._go_on(lane, message, packet, cut)

    def _go_on(self, lane: tuple[int, int], message: _Message, packet: Packet, cut: bool) -> None:
        header, entry = packet.header, message.entry
        if not cut and entry.fail == Fail.OK and header["kind"] == Operation.PUT:
            message.failed |= not self._put(entry, packet)
        message.next_offset += len(packet.payload)
        if not cut and not header.get("last"):
            return
        del self._open[lane]
        if cut:
            self._end(packet, entry if entry.fail == Fail.OK else NOTHING, Fail.UNDELIVERABLE)
        elif entry.fail != Fail.OK:
            self._end(packet, NOTHING, entry.fail)
        elif header["kind"] == Operation.PUT:
            self._end(packet, entry, Fail.SEGMENT if message.failed else Fail.OK)
        elif header["kind"] == Operation.GET:
            inside = entry.bytes == 0 or self._address(packet.context, entry, 0, entry.bytes, read=True) is not None
            self._end(packet, entry, Fail.OK if inside else Fail.SEGMENT)
        else:
            self._atomic(packet, entry)

    def _address(
        self, context: int, entry: Entry, offset: int, length: int, *, read: bool = False, write: bool = False
    ) -> int | None:
        window = self._windows.get((context, entry.window))
        first = entry.start + offset
        if window is None or first + length > window.bytes:
            return None
        if (read and not window.remote_read) or (write and not window.remote_write):
            return None
        return window.address + first

    def _put(self, entry: Entry, packet: Packet) -> bool:
        offset = packet.header["segment_offset"]
        text = packet.payload[: max(0, entry.bytes - offset)]
        if not text:
            return True
        address = self._address(packet.context, entry, offset, len(text), write=True)
        if address is None:
            return False
        self._writes += 1
        if not self._bad.isdisjoint(range(address, address + len(text))):
            return False
        self.memory[address : address + len(text)] = text
        return True

    def _atomic(self, packet: Packet, entry: Entry) -> None:
        header = packet.header
        datum = AtomicType(header["atomic_type"]).length_bytes
        length = entry.bytes // datum * datum
        operand, data = b"", packet.payload
        if header["atomic_operation"] in (AtomicOperation.CSWAP, AtomicOperation.MSWAP):
            operand, data = data[:8], data[8:]
        if length == 0:
            self._end(packet, entry, Fail.OK, length=0)
            return
        address = self._address(packet.context, entry, 0, length, read=True, write=True)
        if address is None:
            self._end(packet, entry, Fail.SEGMENT)
        elif address % datum:
            self._end(packet, entry, Fail.ARGUMENT)
        else:
            request = {
                "address": address,
                "bytes": length,
                "operation": header["atomic_operation"],
                "type": header["atomic_type"],
                "operand": operand,
                "data": data[:length],
            }
            self._tell("atomic", packet, request, nameless=True)
            old = execute(self.memory, self._bad, address, data[:length])
            self._end(packet, entry, Fail.OK if old is not None else Fail.SEGMENT, length=length, old=old or b"")

    def expire(self, lane: tuple[int, int]) -> None:
        """Nothing more has come of a message for too long."""
        self._abandon(lane, lane[0])

    def _abandon(self, lane: tuple[int, int], detail: int) -> None:
        message = self._open.pop(lane)
        entry = message.entry
        self.refusals.append((message.context, detail))
        if entry.fail != Fail.OK:
            return
        owner = Packet(context=message.context, header={})
        if entry.event:
            self._tell("release", owner, 1)
        unlink = {"pt_index": message.pt_index, "user_data": entry.user_data, "fail": Fail.UNDELIVERABLE}
        unlink = complete(EVENT, unlink, kind=EventKind.AUTO_UNLINK, list=entry.overflow)
        counts = entry.options.get("ct_comm")
        if entry.unlinked or counts:
            self._tell("event", owner, (unlink if entry.unlinked else None, (entry.counter, 0, 1) if counts else None))
        self._tell("finish", owner, (*entry.end, True))

    def _tell(self, kind: str, packet: Packet, detail: Any, *, nameless: bool = False) -> None:
        context = 0 if nameless else packet.context
        self.told.append(Told(kind, context, 0 if nameless else FIRST_EPOCH + context, detail, self._writes))

    def _end(
        self, packet: Packet, entry: Entry, fail: int, *, length: int | None = None, old: bytes | None = None
    ) -> None:
        """Event and counter, AUTO_UNLINK, the end for the match unit, answer."""
        header = packet.header
        manipulated = (entry.bytes if length is None else length) if fail == Fail.OK else 0
        self.delivered += fail == Fail.OK
        wanted = entry.event and (fail != Fail.OK or not entry.options.get("event_success_disable"))
        is_get = header["kind"] == Operation.GET
        event = event_fields(packet, entry, fail, manipulated) if wanted or (is_get and entry.event) else None
        unlink = None
        if entry.unlinked:
            unlink = {"kind": EventKind.AUTO_UNLINK, "pt_index": header["pt_index"], "user_data": entry.user_data}
            unlink = complete(EVENT, unlink, list=entry.overflow)
        counter = None
        if entry.options.get("ct_comm"):
            amount = manipulated if entry.options.get("ct_bytes") else 1
            counter = (entry.counter, amount if fail == Fail.OK else 0, int(fail != Fail.OK))
        if not is_get:
            if event or counter:
                self._tell("event", packet, (event, counter))
            if entry.event and not wanted:
                self._tell("release", packet, 1)
            if unlink:
                self._tell("event", packet, (unlink, None))
        if entry.found and not is_get:
            self._tell("finish", packet, (*entry.end, fail != Fail.OK))
        fetches = header["kind"] in (Operation.GET, Operation.FETCH_ATOMIC, Operation.SWAP)
        if fetches or header.get("ack_request"):
            answer = response_fields(packet, entry, fail, manipulated, fetches)
            if is_get:
                answer |= {"window": entry.window, "offset": entry.start} if manipulated else {}
                answer |= {
                    "events": (event, unlink, counter),
                    "if_failed": entry.options.get("event_success_disable", 0),
                    "end": entry.end if entry.found else None,
                }
            elif fetches:
                answer |= {"old": (old or b"") if fail == Fail.OK else b""}
            self._tell("answer", packet, answer)


def execute(memory: bytearray, bad: set[int], address: int, data: bytes) -> bytes | None:
    """What the atomic unit of these tests does: adds modulo 2. The bytes before, or None if memory erred."""
    places = range(address, address + len(data))
    if not bad.isdisjoint(places):
        return None
    old = bytes(memory[places.start : places.stop])
    memory[places.start : places.stop] = bytes(a ^ b for a, b in zip(old, data, strict=True))
    return old


def complete(record: Any, fields: dict[str, int], **more: int) -> dict[str, int]:
    """All fields of a record; those not given are 0."""
    return dict.fromkeys(record.fields, 0) | fields | more


def event_fields(packet: Packet, entry: Entry, fail: int, manipulated: int) -> dict[str, int]:
    header = packet.header
    kinds = {
        Operation.PUT: EventKind.PUT,
        Operation.GET: EventKind.GET,
        Operation.ATOMIC: EventKind.ATOMIC,
        Operation.FETCH_ATOMIC: EventKind.FETCH_ATOMIC,
        Operation.SWAP: EventKind.FETCH_ATOMIC,
    }
    same = ("pt_index", "src_nid", "src_pid", "jid", "remote_offset", "match_bits", "header_data")
    return complete(
        EVENT,
        {name: header.get(name, 0) for name in (*same, "atomic_operation", "atomic_type")},
        kind=kinds[Operation(header["kind"])],
        start_offset=entry.start % 2**48,
        start_window=entry.window,
        requested_bytes=header["message_bytes"],
        manipulated_bytes=manipulated,
        user_data=entry.user_data,
        fail=fail,
        list=entry.overflow,
    )


def response_fields(packet: Packet, entry: Entry, fail: int, manipulated: int, fetches: bool) -> dict[str, Any]:
    """The fields of an answer that are not 0."""
    header = packet.header
    fields = {
        "dst_nid": header["src_nid"],
        "dst_pid": header["src_pid"],
        "kind": PacketKind.REPLY if fetches else PacketKind.ACK,
        "pt_index": header["pt_index"],
        "manipulated_bytes": manipulated,
        "remote_offset": entry.remote_offset,
        "fail": fail,
        "list": entry.overflow,
        "silent": int(not fetches and entry.options.get("ack_disable", 0)),
        "handle": header.get("handle", 0),
        "generation": header.get("generation", 0),
    }
    return {name: int(value) for name, value in fields.items() if value}
