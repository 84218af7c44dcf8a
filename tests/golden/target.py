"""Requests that arrive: matched, carried out on memory, told of and answered."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass

from rtl.nic.parameters import NicParameters
from rtl.packets import RESPONSE, PacketKind
from rtl.portals import (
    ATOMIC_OPERATIONS,
    FETCHING_OPERATIONS,
    OPERAND_BYTES,
    AckRequest,
    AtomicType,
    EventKind,
    Fail,
    Operation,
    Refusal,
)
from tests.golden import atomics
from tests.golden.context import Context, Right
from tests.golden.effects import Effects, Pause, Refused, Source
from tests.golden.lists import ADDRESS_MASK, Lists, Match, told_of
from tests.golden.memory import Memory
from tests.golden.wire import CONDITIONAL, Arrival, Wire

EVENT_KINDS = {
    Operation.PUT: EventKind.PUT,
    Operation.GET: EventKind.GET,
    Operation.ATOMIC: EventKind.ATOMIC,
    Operation.FETCH_ATOMIC: EventKind.FETCH_ATOMIC,
    Operation.SWAP: EventKind.FETCH_ATOMIC,
}

# A reply from memory on its way: stops after each of its packets but the last one.
Replying = Generator[Pause, None, None]


@dataclass(kw_only=True)
class Message:
    """A request message. `next_offset` is that of the segment that has to come next."""

    context: Context
    epoch: int
    match: Match
    fail: Fail
    next_offset: int = 0


class Target:
    """All requests to one node. `lists` are those of each context, in its present life."""

    def __init__(
        self, parameters: NicParameters, contexts: Sequence[Context], lists: list[Lists], memory: Memory, wire: Wire
    ) -> None:
        self._parameters = parameters
        self._lists = lists
        self._memory = memory
        self._wire = wire
        self._messages: dict[tuple[int, int], Message] = {}  # by (src_nid, lane)

    def forget(self, context: Context) -> None:
        """The end of a context's life is the end of the messages under way to it."""
        self._messages = {lane: m for lane, m in self._messages.items() if m.context is not context}

    @property
    def under_way(self) -> list[tuple[int, int, int]]:
        """Source nodes, lanes and contexts of the messages under way."""
        return [(*lane, message.context.number) for lane, message in self._messages.items()]

    def expire(self, effects: Effects, lane: tuple[int, int]) -> None:
        """Nothing more has come of a message for too long. ValueError if none is under way."""
        if lane not in self._messages:
            raise ValueError(f"target: no message of lane {lane[1]} of node {lane[0]} is under way")
        self._abandon(effects, lane)

    # ---- packets of messages ----

    def request(self, effects: Effects, arrival: Arrival) -> tuple[Refusal, Replying | None]:
        """A request packet has come: why it is refused, and the reply from memory that it sets off."""
        lane = (arrival.header["src_nid"], arrival.header["lane"])
        if arrival.header["first"]:
            if lane in self._messages:
                self._abandon(effects, lane)
            if arrival.void:
                self._answer(effects, arrival, Match(fail=Fail.UNDELIVERABLE), 0)
                return Refusal.NONE, None
            match = self._lists[arrival.context.number].match(arrival.header)
            self._messages[lane] = Message(
                context=arrival.context, epoch=arrival.context.epoch, match=match, fail=match.fail
            )
        else:
            message = self._messages.get(lane)
            if message is None or message.context is not arrival.context:
                return Refusal.PACKET_ABORTED, None
            if arrival.header["segment_offset"] != message.next_offset:
                self._abandon(effects, lane)
                return Refusal.PACKET_ABORTED, None
        return Refusal.NONE, self._go_on(effects, lane, arrival)

    def _abandon(self, effects: Effects, lane: tuple[int, int]) -> None:
        """Forgets a message: only its counter and AUTO_UNLINK tell of it, and what it has not used is free again."""
        message = self._messages.pop(lane)
        context, match, entry = message.context, message.match, message.match.entry
        context.release(match.event)
        if match.unlink_event:
            self._tell_unlinked(effects, Source.SILENCE, message, fail=Fail.UNDELIVERABLE)
        if entry.get("ct_comm"):
            context.count_outcome(effects, entry["counter"], ok=False, in_bytes=False, moved=0)
        self._lists[context.number].finish(match, failed=True)
        # Of the message's header nothing is left.
        effects.refusals.append(Refused(reason=Refusal.PACKET_ABORTED, context=context.number, detail=0))

    def _go_on(self, effects: Effects, lane: tuple[int, int], arrival: Arrival) -> Replying | None:
        """What a packet does to its message."""
        message, header = self._messages[lane], arrival.header
        if arrival.void:
            message.fail = Fail.UNDELIVERABLE
        elif header["kind"] == Operation.GET:
            del self._messages[lane]
            return self._reply_from_memory(effects, message, arrival)
        old = b""
        if not arrival.void and message.match.fail is Fail.OK:
            if header["kind"] in ATOMIC_OPERATIONS:
                old = self._modify(effects, message, arrival)
            else:
                self._store(effects, message, arrival)
        message.next_offset += len(arrival.payload)
        if header["last"] or arrival.void:
            del self._messages[lane]
            self._finish(effects, message, arrival, message.fail)
            self._answer(effects, arrival, message.match, message.match.bytes, fail=message.fail, data=old)
        return None

    # ---- memory ----

    def _store(self, effects: Effects, message: Message, arrival: Arrival) -> None:
        """Writes that part of a put's segment that the match entry takes."""
        match, segment = message.match, arrival.header["segment_offset"]
        data = arrival.payload[: max(match.bytes - segment, 0)]
        if not data:
            return
        address = message.context.address(match.window, match.start + segment, len(data), Right.REMOTE_WRITE)
        if address is None:
            message.fail = Fail.SEGMENT
            return
        effects.writes.append((address, data))
        if not self._memory.write(address, data):
            message.fail = Fail.SEGMENT

    def _modify(self, effects: Effects, message: Message, arrival: Arrival) -> bytes:
        """An atomic on whole data; gives what stood there before."""
        match, header = message.match, arrival.header
        datum = AtomicType(header["atomic_type"]).length_bytes
        match.bytes -= match.bytes % datum
        if not match.bytes:
            return b""
        place = (match.window, match.start, match.bytes)
        address = message.context.address(*place, Right.REMOTE_READ)
        if address is None or message.context.address(*place, Right.REMOTE_WRITE) is None:
            message.fail = Fail.SEGMENT
            return b""
        if address % datum:
            message.fail = Fail.ARGUMENT
            return b""
        operand, data = b"", arrival.payload
        if header["atomic_operation"] in CONDITIONAL:
            operand, data = data[:OPERAND_BYTES], data[OPERAND_BYTES:]
        old = self._memory.read(address, match.bytes)
        if old is None:
            message.fail = Fail.SEGMENT
            return b""
        new = atomics.apply(
            header["atomic_operation"],
            header["atomic_type"],
            old,
            data[: match.bytes],
            int.from_bytes(operand, "little"),
        )
        effects.writes.append((address, new))
        if not self._memory.write(address, new):
            message.fail = Fail.SEGMENT
            return b""
        return old

    # ---- the end of a message ----

    def _finish(self, effects: Effects, message: Message, arrival: Arrival, fail: Fail) -> None:
        """Event, counter, AUTO_UNLINK, match entry, in this order. Nothing if nothing was matched."""
        context, match, entry, header = message.context, message.match, message.match.entry, arrival.header
        if match.fail is not Fail.OK or context.epoch != message.epoch:
            return
        moved = 0 if fail else match.bytes
        source = Source.REPLIES if header["kind"] in FETCHING_OPERATIONS else Source.REQUESTS
        if match.event and (fail or not entry["event_success_disable"]):
            context.write_event(effects, source, **self._event(match, header, fail, moved))
        else:
            context.release(match.event)
        if entry["ct_comm"]:
            context.count_outcome(effects, entry["counter"], ok=not fail, in_bytes=entry["ct_bytes"], moved=moved)
        if match.unlink_event:
            self._tell_unlinked(effects, source, message)
        self._lists[context.number].finish(match, failed=bool(fail))

    @staticmethod
    def _tell_unlinked(effects: Effects, source: Source, message: Message, *, fail: Fail = Fail.OK) -> None:
        match, entry = message.match, message.match.entry
        message.context.write_event(
            effects,
            source,
            kind=EventKind.AUTO_UNLINK,
            pt_index=entry["pt_index"],
            user_data=entry["user_data"],
            list=match.list,
            fail=fail,
        )

    @staticmethod
    def _event(match: Match, header: Mapping[str, int], fail: Fail, moved: int) -> dict[str, int]:
        return told_of(header) | {
            "kind": EVENT_KINDS[Operation(header["kind"])],
            "pt_index": header["pt_index"],
            "start_window": match.window,
            "start_offset": match.start & ADDRESS_MASK,
            "requested_bytes": header["message_bytes"],
            "manipulated_bytes": moved,
            "user_data": match.entry["user_data"],
            "fail": fail,
            "list": match.list,
        }

    # ---- answers ----

    def _response(self, arrival: Arrival, match: Match, *, kind: PacketKind) -> dict[str, int]:
        """What all packets of a response say."""
        header = arrival.header
        return {
            "dst_nid": header["src_nid"],
            "dst_pid": header["src_pid"],
            "kind": kind,
            "pt_index": header["pt_index"],
            "remote_offset": match.offset,
            "list": match.list,
            "handle": header["handle"],
            "generation": header["generation"],
        }

    def _send(
        self, effects: Effects, arrival: Arrival, payload: bytes = b"", *, poisoned: bool = False, **fields: int
    ) -> None:
        identity = self._wire.identity(arrival.context)
        lane = self._parameters.contexts
        effects.packets.append(self._wire.send(RESPONSE, lane, identity, payload, poisoned=poisoned, **fields))

    def _answer(
        self,
        effects: Effects,
        arrival: Arrival,
        match: Match,
        moved: int,
        *,
        fail: Fail = Fail.UNDELIVERABLE,
        data: bytes = b"",
    ) -> None:
        """An ACK, or a REPLY that needs no memory, if one is due."""
        if arrival.header["kind"] in FETCHING_OPERATIONS:
            response = self._response(arrival, match, kind=PacketKind.REPLY)
            self._send(effects, arrival, data, last=1, fail=fail, manipulated_bytes=len(data), **response)
        elif arrival.header["ack_request"] != AckRequest.NONE:
            response = self._response(arrival, match, kind=PacketKind.ACK)
            silent = match.entry.get("ack_disable", 0)
            moved = 0 if fail else moved
            self._send(effects, arrival, last=1, fail=fail, manipulated_bytes=moved, silent=silent, **response)

    def _reply_from_memory(self, effects: Effects, message: Message, arrival: Arrival) -> Replying:
        """The reply to a get, a packet at a time; when it has left, the target is told.

        All that is left of it is checked at each packet. Refused in the first packet it announces nothing; later it
        ends with an empty packet that repeats what was announced. It ends without one if its life is over.
        """
        match, context, sent = message.match, message.context, 0
        response = self._response(arrival, match, kind=PacketKind.REPLY)
        total = match.bytes
        while context.active and context.epoch == message.epoch:
            left = total - sent
            address = context.address(match.window, match.start + sent, left, Right.REMOTE_READ) if left else 0
            if message.fail is Fail.OK and address is None:
                message.fail = Fail.SEGMENT
            if message.fail and not sent:
                total = 0
            amount = 0 if message.fail else min(left, self._parameters.mtu_bytes)
            payload = self._memory.read(address, amount) if amount else b""
            last = bool(message.fail) or amount == left
            self._send(
                effects,
                arrival,
                bytes(amount) if payload is None else payload,
                poisoned=payload is None,
                last=last,
                fail=message.fail,
                manipulated_bytes=total,
                segment_offset=sent,
                **response,
            )
            sent += amount
            if payload is None:
                message.fail = Fail.SEGMENT
            if last or payload is None:
                break
            yield Pause.PACKET
        self._finish(effects, message, arrival, message.fail)
