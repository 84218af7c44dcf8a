"""Makes the packets of responses that the target owes: acknowledgements, and replies from memory."""

from amaranth import Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.nic.expressions import FieldsOf, assemble
from rtl.nic.interfaces.context import context_ports
from rtl.nic.interfaces.reports import EventPort, ReservePort
from rtl.nic.interfaces.target import AnswerPort
from rtl.nic.interfaces.widths import ADDRESS_WIDTH, CONTEXT_WIDTH, EPOCH_WIDTH, INLINE_WORDS, LENGTH_WIDTH
from rtl.nic.interfaces.wire import JobPort
from rtl.nic.parameters import NicParameters
from rtl.nic.target.reply_flights import ReplyFlights
from rtl.nic.target.reply_packet import ReplyPacket
from rtl.nic.target.reply_reports import REPORT, ReplyReports
from rtl.nic.target.reply_slots import ReplySlots
from rtl.nic.target.stages import finish_part, is_live
from rtl.packets import RESPONSE, PacketKind
from rtl.portals import Fail

PROMISED = 4  # answers for which there is still room when `ack_ready` and `reply_ready` are high
ACKS = 8

# What a response's packets have in common.
_HEADER_FIELDS = (
    *("dst_nid", "dst_pid", "pt_index", "manipulated_bytes", "remote_offset"),
    *("fail", "list", "silent", "handle", "generation"),
)
_HEADER = data.StructLayout({name: RESPONSE.fields[name].width for name in _HEADER_FIELDS})
_ACK = data.StructLayout({"header": _HEADER, "context": CONTEXT_WIDTH, "epoch": EPOCH_WIDTH})
_REPLY = data.StructLayout(
    {
        "header": _HEADER,
        "context": CONTEXT_WIDTH,
        "epoch": EPOCH_WIDTH,
        "window": 8,
        "offset": ADDRESS_WIDTH,
        "inline": 1,
        "data": data.ArrayLayout(unsigned(64), INLINE_WORDS),
    }
)


class Answers(wiring.Component):
    """One packet at a time, two cycles for an acknowledgement and four for one of a reply, while `o_job` is ready; five
    if no other reply waits.

    Acknowledgements and replies alternate. Replies circulate: the one at the head of a queue has a packet made, and
    goes to the tail if that was not its last one. So a new reply waits for one packet of each that was there before,
    however large they are. `parameters.replies` may be under way when one more is promised room; the promised ones are
    then served beside them.

    A packet has the identity that its context has when it is shown, so it is shown only in the cycle after its context
    was found in the life in which it was asked: nobody speaks for a life that is over, least of all the next one. What
    such a life still owes is dropped in its turn, and who waits for it has a timeout.

    Before each packet with payload, all that the reply still has to send must lie in its window with remote_read;
    otherwise the packet is the last one, without payload, and says SEGMENT. The first one then says 0 bytes; later ones
    repeat the size that was announced. A packet whose payload memory could not give is the last one but for those that
    were made before it was known; the reply is over when its turn has come again and these have left.
    """

    def __init__(self, parameters: NicParameters) -> None:
        self._parameters = parameters
        self._slots = parameters.replies + PROMISED
        super().__init__(
            {
                **context_ports(parameters),
                "i_answer": In(AnswerPort()),
                "o_job": Out(JobPort()),
                "o_event": Out(EventPort()),
                "reserve": Out(ReservePort()),
                "finish": Out(finish_part()),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.acks = acks = SyncFIFO(width=_ACK.size, depth=ACKS)
        m.submodules.slots = slots = ReplySlots(self._slots)
        m.submodules.flights = flights = ReplyFlights(self._slots)
        m.submodules.reports = reports = ReplyReports(self._slots)
        m.submodules.replies = replies = Memory(shape=_REPLY, depth=self._slots, init=[])
        m.submodules.packet = packet = ReplyPacket(self._parameters)
        for ours, theirs in zip((*self.contexts, *self.states), (*packet.contexts, *packet.states), strict=True):
            wiring.connect(m, wiring.flipped(ours), theirs)
        wiring.connect(m, wiring.flipped(self.o_event), reports.o_event)
        wiring.connect(m, wiring.flipped(self.reserve), reports.reserve)
        wiring.connect(m, wiring.flipped(self.finish), reports.finish)
        chosen = replies.read_port()
        # A slot that is free has no turn. It is said here for the tools: a memory that is never read where it is
        # written needs no registers beside it.
        apart = slots.free_slot != slots.next_slot
        m.d.comb += [chosen.addr.eq(slots.next_slot), chosen.en.eq(slots.choose & (~slots.allocate | apart))]
        ack, reply = data.View(_ACK, acks.r_data), chosen.data

        acknowledges = Signal()
        ack_first = Signal()
        due = Signal()
        given_up = Signal()
        packetless = Signal()  # the reply ends, and no packet says so
        still = Signal()
        parts_still = slots.settled & flights.quiescent & reports.quiescent
        m.d.comb += [
            self.quiescent.eq(still & ~self.i_answer.valid & ~self.o_job.done & parts_still),
            due.eq(slots.waiting & flights.room & self.o_job.lean),
            given_up.eq(flights.has_failed & ~slots.fresh),
        ]
        with m.FSM(name="answers"):
            with m.State("Await-Answer"):
                m.d.comb += [slots.put_back.eq(1), still.eq(~(acks.r_rdy | due | slots.out))]
                with m.If(acks.r_rdy & ~is_live(self.states, ack.context, ack.epoch)):
                    m.d.comb += acks.r_en.eq(1)
                with m.Elif(acks.r_rdy & (ack_first | ~due)):
                    m.d.sync += ack_first.eq(0)
                    m.next = "Hand-Over-Ack"
                with m.Elif(due):
                    m.d.comb += slots.choose.eq(1)
                    m.d.sync += ack_first.eq(1)
                    m.next = "Look-Up-Window"
            with m.State("Hand-Over-Ack"):
                m.d.comb += [acknowledges.eq(1), self.o_job.valid.eq(1), slots.put_back.eq(1)]
                m.d.comb += still.eq(~(self.o_job.ready | slots.out))
                with m.If(self.o_job.ready):
                    m.d.comb += acks.r_en.eq(1)
                    m.next = "Await-Answer"
            with m.State("Look-Up-Window"):
                m.d.comb += [packet.start.eq(1), flights.forget.eq(slots.fresh)]
                m.next = "Judge-Window"
                with m.If(given_up):
                    m.d.comb += [packetless.eq(1), slots.remove.eq(1), flights.made.eq(1)]
                    m.next = "Await-Answer"
            with m.State("Judge-Window"):
                m.d.comb += packet.judge.eq(1)
                m.next = "Hand-Over-Reply"
            with m.State("Hand-Over-Reply"):
                # Back in the queue before the packet is taken, so that its next turn can follow at once.
                ends, leaves = packet.final | packet.orphaned, self.o_job.ready | packet.orphaned
                m.d.comb += [packetless.eq(packet.orphaned), slots.put_back.eq(~ends), slots.remove.eq(ends)]
                m.d.comb += [self.o_job.valid.eq(~packetless), still.eq(~(leaves | slots.out))]
                with m.If(leaves):
                    m.d.comb += flights.made.eq(1)
                    m.next = "Await-Answer"
        self._take_answers(m, acks, slots, reports, replies)
        self._advance(m, slots, packet, reply, flights.made)
        self._account(m, slots, flights, reports)
        m.d.comb += [
            self.o_job.tag.eq(~acknowledges),
            flights.packet.eq(~packetless),
            flights.ends.eq(packetless | packet.final),
            flights.broken.eq(packetless | packet.broken),
        ]
        self._compose_job(m, packet, ack, reply, acknowledges)
        return m

    def _take_answers(
        self, m: Module, acks: SyncFIFO, slots: ReplySlots, reports: ReplyReports, replies: Memory
    ) -> None:
        answer = self.i_answer
        header = FieldsOf(RESPONSE, list(answer.words))
        common = Cat(getattr(header, name) for name in _HEADER_FIELDS)
        is_reply = header.kind == PacketKind.REPLY
        store = replies.write_port()
        m.d.comb += [
            answer.ack_ready.eq(acks.level <= ACKS - PROMISED),
            answer.reply_ready.eq(slots.used <= self._parameters.replies),
            acks.w_en.eq(answer.valid & ~is_reply),
            acks.w_data.eq(Cat(common, answer.context, answer.epoch)),
            slots.allocate.eq(answer.valid & is_reply),
            store.en.eq(slots.allocate),
            store.addr.eq(slots.free_slot),
            store.data.header.eq(common),
            *(
                store.data[name].eq(getattr(answer, name))
                for name in ("context", "epoch", "window", "offset", "inline")
            ),
            *(store.data.data[index].eq(word) for index, word in enumerate(answer.data)),
            reports.store.eq(slots.allocate),
            reports.store_slot.eq(slots.free_slot),
        ]
        for name in REPORT.members:
            if name in ("event_words", "unlink_words"):
                words = getattr(answer, name)
                m.d.comb += [reports.report[name][index].eq(word) for index, word in enumerate(words)]
            else:
                m.d.comb += reports.report[name].eq(getattr(answer, name))

    def _account(self, m: Module, slots: ReplySlots, flights: ReplyFlights, reports: ReplyReports) -> None:
        """Packets that have left: their tags tell replies from acknowledgements. Replies that are over."""
        m.d.comb += [
            flights.slot.eq(slots.slot),
            flights.done.eq(self.o_job.done & self.o_job.done_tag[0]),
            flights.done_failed.eq(self.o_job.failed),
            flights.look.eq(slots.choose),
            flights.look_slot.eq(slots.next_slot),
            flights.forget_slot.eq(slots.slot),
            reports.over.eq(flights.over),
            reports.over_slot.eq(flights.over_slot),
            reports.over_failed.eq(flights.over_failed),
            slots.free.eq(reports.free),
            slots.freed_slot.eq(reports.freed_slot),
        ]

    def _advance(self, m: Module, slots: ReplySlots, packet: ReplyPacket, reply: data.View, made: Value) -> None:
        """How much of each reply was sent, and what that makes of its next packet."""
        m.submodules.positions = positions = Memory(shape=LENGTH_WIDTH, depth=self._slots, init=[])
        before, after = positions.read_port(), positions.write_port()
        m.d.comb += [
            before.addr.eq(slots.next_slot),
            before.en.eq(slots.choose),
            after.addr.eq(slots.slot),
            after.data.eq(packet.sent + packet.payload_bytes),
            after.en.eq(made),
            packet.size.eq(reply.header.manipulated_bytes),
            packet.sent.eq(Mux(slots.fresh, 0, before.data)),
            *(getattr(packet, name).eq(reply[name]) for name in ("context", "epoch", "window", "offset", "inline")),
        ]

    def _compose_job(
        self, m: Module, packet: ReplyPacket, ack: data.View, reply: data.View, acknowledges: Value
    ) -> None:
        header = Signal(_HEADER)
        payload_bytes = Mux(acknowledges, 0, packet.payload_bytes)
        sent = Mux(acknowledges, 0, packet.sent)
        broken = packet.broken & ~acknowledges
        words = assemble(
            RESPONSE,
            {
                **{name: header[name] for name in _HEADER_FIELDS},
                "kind": Mux(acknowledges, PacketKind.ACK, PacketKind.REPLY),
                "payload_bytes": payload_bytes,
                "manipulated_bytes": Mux(broken & ~sent.any(), 0, header.manipulated_bytes),
                "segment_offset": sent,
                "fail": Mux(broken, Fail.SEGMENT, header.fail),
                "last": acknowledges | packet.final,
            },
        )
        job = self.o_job
        m.d.comb += [
            header.eq(Mux(acknowledges, ack.header.as_value(), reply.header.as_value())),
            job.context.eq(Mux(acknowledges, ack.context, reply.context)),
            *(theirs.eq(word) for theirs, word in zip(job.words, words, strict=True)),
            job.payload_bytes.eq(payload_bytes),
            job.address.eq(packet.address),
            job.inline.eq(reply.inline & ~acknowledges),
            *(theirs.eq(reply.data[index]) for index, theirs in enumerate(job.data)),
        ]
