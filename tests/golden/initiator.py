"""Commands: refused, carried out, or made into messages; and the responses that come to them."""

from collections.abc import Generator, Mapping, Sequence

from rtl.nic.parameters import NicParameters
from rtl.packets import REQUEST, PacketKind
from rtl.portals import (
    COMMAND,
    COUNTER_COMMAND,
    FETCHING_OPERATIONS,
    AckRequest,
    EventKind,
    Fail,
    Operation,
    Refusal,
)
from tests.golden.commands import COUNTER_OPERATIONS, answer_places, check, is_answered, sent_bytes
from tests.golden.context import Context, Right
from tests.golden.effects import Effects, Pause, Refused, Source
from tests.golden.lists import Lists
from tests.golden.memory import Memory
from tests.golden.outstanding import Outstanding, Waiting
from tests.golden.searches import LIST_OPERATIONS, ListCommand
from tests.golden.wire import Arrival, Wire

# A command under way: stops at each Pause, goes on when asked to, and is retired at its end.
Running = Generator[Pause, None, None]


class Initiator:
    """Commands of one context and what comes back."""

    def __init__(self, parameters: NicParameters, context: Context, lists: Lists, memory: Memory, wire: Wire) -> None:
        self._parameters = parameters
        self._context = context
        self._lists = lists
        self._memory = memory
        self._wire = wire
        self.outstanding = Outstanding(parameters, context)

    def restart(self, lists: Lists) -> None:
        self._lists = lists
        self.outstanding.forget()

    # ---- commands ----

    def run(self, effects: Effects, words: Sequence[int] | None) -> Running:
        """Carries out one command; None: memory did not give it. One that is refused needs but the place to say so."""
        context = self._context
        unreadable = words is None
        words = words or [0] * COMMAND.length_words
        fields = COMMAND.unpack(words)
        lists = fields["operation"] in LIST_OPERATIONS
        while True:
            refusal = Refusal.NONE
            if not lists:
                refusal = Refusal.MEMORY_ERROR if unreadable else check(self._parameters, context, words)
            sends = refusal is Refusal.NONE and is_answered(fields)
            if sends and not self.outstanding.has_free:
                yield Pause.OUTSTANDING
            elif not context.reserve(1 + (answer_places(fields) if sends else 0)):
                yield Pause.ROOM
            else:
                break
        if lists:
            refusal = yield from ListCommand(self._parameters, context, self._lists, words).carry_out(effects)
        if refusal is not Refusal.NONE:
            self._refuse(effects, refusal, fields)
        elif fields["operation"] in LIST_OPERATIONS:
            context.release(1)
        elif fields["operation"] in COUNTER_OPERATIONS:
            self._change_counter(effects, words)
        else:
            yield from self._send(effects, words)
        context.command_head += 1

    def _refuse(self, effects: Effects, refusal: Refusal, fields: dict[str, int]) -> None:
        context = self._context
        context.refused += 1
        effects.refusals.append(Refused(reason=refusal, context=context.number, detail=context.command_head))
        context.write_event(
            effects, Source.COMMANDS, kind=EventKind.REFUSED, fail=refusal, user_data=fields["user_data"]
        )

    def _change_counter(self, effects: Effects, words: Sequence[int]) -> None:
        fields = COUNTER_COMMAND.unpack(words)
        replace = fields["operation"] == Operation.COUNTER_SET
        self._context.count(effects, fields["counter"], fields["success"], fields["failure"], replace=replace)
        self._context.release(1)

    # ---- messages ----

    def _send(self, effects: Effects, words: Sequence[int]) -> Running:
        """One message, a packet at a time. It has the identity that its context had when it began."""
        context, fields = self._context, COMMAND.unpack(words)
        identity, epoch = self._wire.identity(context), context.epoch
        total, sent, fail = sent_bytes(fields), 0, Fail.OK
        header = self._header(fields)
        while True:
            amount = min(self._parameters.mtu_bytes, total - sent)
            address = context.address(fields["local_window"], fields["local_offset"] + sent, amount, Right.LOCAL_READ)
            alive = context.active and context.epoch == epoch
            last = sent + amount == total
            aborted = sent > 0 and not (alive and address is not None)
            if aborted:
                amount, last, fail = 0, True, Fail.SEGMENT
            payload = self._memory.read(address, amount) if amount and address is not None else b""
            if payload is None:
                fail = Fail.SEGMENT
            packet = self._wire.send(
                REQUEST,
                context.number,
                identity,
                bytes(amount) if payload is None else payload,
                poisoned=payload is None,
                segment_offset=sent,
                first=sent == 0,
                last=last,
                aborted=aborted,
                **header,
            )
            effects.packets.append(packet)
            sent += amount
            if last or fail:
                break
            yield Pause.PACKET
        self._sent(effects, fields, fail)

    def _header(self, fields: dict[str, int]) -> dict[str, int]:
        """What all packets of a message say."""
        names = (
            *("dst_nid", "dst_pid", "pt_index", "remote_offset", "match_bits", "header_data"),
            *("atomic_operation", "atomic_type", "ack_request"),
        )
        header = {name: fields[name] for name in names}
        header |= {"kind": fields["operation"], "message_bytes": fields["length_bytes"]}
        if not is_answered(fields):
            return header
        place = "local" if fields["operation"] == Operation.GET else "get"
        length = fields["length_bytes"] if fields["operation"] in FETCHING_OPERATIONS else 0
        entry = self.outstanding.take(fields, fields[f"{place}_window"], fields[f"{place}_offset"], length)
        return header | {"handle": entry.handle, "generation": entry.generation}

    def _sent(self, effects: Effects, fields: dict[str, int], fail: Fail) -> None:
        """The last packet of a message has left."""
        context = self._context
        get = fields["operation"] == Operation.GET
        quiet = fields["event_send_disable"] or (fail is Fail.OK and fields["event_success_disable"])
        if get or quiet:
            context.release(1)
        else:
            context.write_event(effects, Source.COMMANDS, kind=EventKind.SEND, user_data=fields["user_data"], fail=fail)
        if fields["ct_send"] and not get:
            context.count_outcome(
                effects,
                fields["counter"],
                ok=fail is Fail.OK,
                in_bytes=fields["ct_bytes"],
                moved=fields["length_bytes"],
            )

    # ---- responses ----

    def respond(self, effects: Effects, arrival: Arrival) -> Refusal:
        """A response has come; PACKET_HANDLE if nothing waits for it."""
        header = arrival.header
        entry = self.outstanding.find(header["handle"], header["generation"])
        if entry is None or not self._answers(entry, arrival):
            return Refusal.PACKET_HANDLE
        fault = self._fault(effects, entry, arrival)
        entry.fail = entry.fail or fault
        entry.received = header["segment_offset"] + len(arrival.payload)
        if header["last"] or arrival.void:
            self.outstanding.free(entry)
            self._answered(effects, Source.RESPONSES, entry, arrival.header)
        return Refusal.NONE

    def expire(self, effects: Effects, handle: int) -> None:
        """Nothing has come for a request for too long. ValueError if it does not wait."""
        entry = self.outstanding.waits(handle)
        if entry is None:
            raise ValueError(f"outstanding: nothing waits for a response to handle {handle}")
        entry.fail = entry.fail or Fail.UNDELIVERABLE
        self.outstanding.free(entry)
        names = ("manipulated_bytes", "silent", "remote_offset", "list")
        peer = {"src_nid": entry.fields["dst_nid"], "src_pid": entry.fields["dst_pid"]}
        told = dict.fromkeys(names, 0) | peer | {"jid": self._context.settings.jid}
        self._answered(effects, Source.SILENCE, entry, told)

    @staticmethod
    def _answers(entry: Waiting, arrival: Arrival) -> bool:
        """Whether the response is of the kind and from the process that the request wants it from."""
        header, fields = arrival.header, entry.fields
        kind = PacketKind.REPLY if fields["operation"] in FETCHING_OPERATIONS else PacketKind.ACK
        peer = (header["src_nid"], header["src_pid"]) == (fields["dst_nid"], fields["dst_pid"])
        return peer and header["kind"] == kind

    def _fault(self, effects: Effects, entry: Waiting, arrival: Arrival) -> int:
        """Stores a packet's bytes; what is wrong with it. The target's own word counts in the last one."""
        header = arrival.header
        if arrival.void or (arrival.payload and not self._store(effects, entry, arrival)):
            return Fail.SEGMENT
        if header["last"] and header["fail"]:
            return int(header["fail"])
        return Fail.OK if header["segment_offset"] == entry.received else Fail.UNDELIVERABLE

    def _store(self, effects: Effects, entry: Waiting, arrival: Arrival) -> bool:
        """Writes a reply's segment; whether it lies in what was asked for and memory took it."""
        segment, amount = arrival.header["segment_offset"], len(arrival.payload)
        if segment + amount > entry.length:
            return False
        address = self._context.address(entry.window, entry.offset + segment, amount, Right.LOCAL_WRITE)
        if address is None:
            return False
        effects.writes.append((address, arrival.payload))
        return self._memory.write(address, arrival.payload)

    def _answered(self, effects: Effects, source: Source, entry: Waiting, header: Mapping[str, int]) -> None:
        """The last packet of a response has come, or will not."""
        context, fields = self._context, entry.fields
        fail = entry.fail
        reply = fields["operation"] in FETCHING_OPERATIONS
        wanted = reply or fields["ack_request"] == AckRequest.FULL
        moved = 0 if fail else header["manipulated_bytes"]
        if header["silent"] or not wanted or (not fail and fields["event_success_disable"]):
            context.release(answer_places(fields))
        else:
            context.write_event(
                effects,
                source,
                kind=EventKind.REPLY if reply else EventKind.ACK,
                user_data=fields["user_data"],
                manipulated_bytes=moved,
                fail=fail,
                **{name: header[name] for name in ("src_nid", "src_pid", "jid", "remote_offset", "list")},
            )
        if fields["ct_reply" if reply else "ct_ack"] and not header["silent"]:
            context.count_outcome(effects, fields["counter"], ok=not fail, in_bytes=fields["ct_bytes"], moved=moved)
