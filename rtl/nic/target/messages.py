"""Finds the message of each request packet: the one under way from its source, or a new one that is matched."""

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.nic.expressions import FieldsOf
from rtl.nic.interfaces.context import ContextState
from rtl.nic.interfaces.reports import RefusalPort
from rtl.nic.interfaces.widths import TIMEOUT_WIDTH
from rtl.nic.parameters import NicParameters
from rtl.nic.target.deadlines import Deadlines
from rtl.nic.target.stages import (
    MESSAGE_WIDTH,
    arrival_layout,
    header_part,
    is_live,
    is_one_of,
    match_part,
    message_layout,
    slots,
)
from rtl.packets import IDENTITY_WORD, REQUEST
from rtl.portals import FETCHING_OPERATIONS, LIST_COMMAND, AckRequest, Fail, Refusal

MOST_OWED = 4  # responses that `ack_ready` and `reply_ready` together promise room for


class Messages(wiring.Component):
    """One packet at a time: three cycles, and those of the match if a message begins.

    A packet whose life (that in which it was admitted) is over is dropped. Others are begun when there is room for the
    answer that they may cause and for those that are owed already; `settled` pulses when a packet that `owes` needs its
    room no more. An abandoned message ends before the new one is matched, so that its places and its
    unexpected header are free by then: `drained` says that no arrival is on its way any more.

    A message of which no packet has come for `timeout` to twice as many cycles is abandoned, too, and `timed_out`
    pulses; 0: never. Its turn comes before the next packet's, but only once there is such a message: nothing of the
    watch over them takes a cycle from a packet. Turns of several lie so far apart that a packet goes between two of
    them.
    """

    def __init__(self, parameters: NicParameters) -> None:
        self._parameters = parameters
        super().__init__(
            {
                "states": In(ContextState()).array(parameters.contexts),
                "i_header": In(header_part(parameters)),
                "match": Out(match_part()),
                "o_arrival": Out(stream.Signature(arrival_layout(parameters))),
                "ack_ready": In(1),
                "reply_ready": In(1),
                "settled": In(1),
                "drained": In(1),
                "timeout": In(TIMEOUT_WIDTH),
                "timed_out": Out(1),
                "refusal": Out(RefusalPort()),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        packet = self.i_header
        header = FieldsOf(REQUEST, list(packet.words))
        arrival = self.o_arrival.payload
        layout = message_layout(self._parameters)
        m.submodules.table = table = memory.Memory(shape=layout, depth=slots(self._parameters), init=[])
        read, write = table.read_port(), table.write_port()
        found = read.data
        m.submodules.deadlines = deadlines = Deadlines(self._parameters)
        for ours, theirs in zip(self.states, deadlines.states, strict=True):
            wiring.connect(m, wiring.flipped(ours), theirs)

        live = Signal()
        found_live = Signal()
        ours = Signal()  # the message under way is one of the packet's context
        continues = Signal()
        belongs = Signal()
        abandons = Signal()
        begins = Signal()
        m.d.comb += [
            live.eq(is_live(self.states, packet.context, packet.epoch)),
            found_live.eq(found.under_way & is_live(self.states, found.context, found.epoch)),
            ours.eq(live & found_live & (found.context == packet.context)),
            continues.eq(~header.first & ours & (found.next_offset == header.segment_offset)),
            belongs.eq(header.first | continues),
            abandons.eq(live & found_live & (header.first | (ours & ~continues))),
            begins.eq(live & header.first & ~arrival.cut_short),
            self.match.context.eq(packet.context),
            self.match.epoch.eq(packet.epoch),
            *(theirs.eq(word) for theirs, word in zip(self.match.words, packet.words, strict=True)),
        ]
        may_begin = self._count_owed(m, header)
        offer = Signal()
        abandon = Signal()
        expires = Signal()  # it is an overdue message's turn, in this cycle
        forget = Signal()  # it is one of a life that is over
        leave = Signal()
        m.d.comb += [
            self.o_arrival.valid.eq(offer | abandon),
            leave.eq(offer & self.o_arrival.ready),
            packet.ready.eq(leave),
            self.refusal.valid.eq((abandon & self.o_arrival.ready) | (leave & live & ~belongs)),
            self.refusal.reason.eq(Refusal.PACKET_ABORTED),
            self.refusal.context.eq(Mux(abandon, found.context, packet.context)),
            self.refusal.detail.eq(Mux(expires, found.src_nid, packet.words[IDENTITY_WORD])),
            read.addr.eq(arrival.slot),
            write.addr.eq(arrival.slot),
            # What is no part of the message under way leaves it alone.
            write.en.eq((abandon & self.o_arrival.ready) | (leave & live & (header.first | ours))),
            write.data.under_way.eq(~abandon & belongs & ~header.last & ~arrival.cut_short),
            write.data.context.eq(packet.context),
            write.data.epoch.eq(packet.epoch),
            write.data.src_nid.eq(header.src_nid),
            write.data.next_offset.eq(header.segment_offset + header.payload_bytes),
            write.data.pt_index.eq(Mux(header.first, header.pt_index, found.pt_index)),
            write.data.matched.eq(arrival.matched),
            deadlines.timeout.eq(self.timeout),
            deadlines.note.eq(write.en | forget),
            deadlines.slot.eq(arrival.slot),
            deadlines.context.eq(Mux(abandon, found.context, packet.context)),
            deadlines.waits.eq(write.data.under_way & ~forget),
            deadlines.waited.eq(found_live),
        ]
        self._compose_arrival(m, header, ~live | ~belongs)
        with m.If(expires):
            m.d.comb += arrival.slot.eq(deadlines.offered_slot)
        with m.If(abandon):
            m.d.comb += [
                arrival.abandoned.eq(1),
                arrival.context.eq(found.context),
                arrival.epoch.eq(found.epoch),
                arrival.matched.eq(found.matched),
                FieldsOf(REQUEST, [*arrival.words]).pt_index.eq(found.pt_index),
            ]
        with m.Else():
            m.d.comb += [arrival.context.eq(packet.context), arrival.epoch.eq(packet.epoch)]
            with m.If(~header.first):
                m.d.comb += arrival.matched.eq(found.matched)
            with m.Elif(~arrival.cut_short):
                self._compose_match(m, arrival.matched)

        with m.FSM(name="messages"):
            with m.State("Await-Packet"):
                m.d.comb += [
                    expires.eq(deadlines.offer),
                    deadlines.look.eq(deadlines.offer),
                    read.en.eq(packet.valid | deadlines.offer),
                    self.quiescent.eq(~packet.valid & deadlines.quiescent),
                ]
                with m.If(deadlines.offer):
                    m.next = "Judge-Overdue"
                with m.Elif(packet.valid & may_begin):
                    m.next = "Await-Message"
            with m.State("Await-Message"):
                # Only one bit of the table stands before a match: a message under way is judged in the next cycle.
                m.d.comb += self.match.valid.eq(begins & ~found.under_way)
                with m.If(found.under_way):
                    m.next = "Judge-Message"
                with m.Elif(begins):
                    m.next = "Await-Match"
                with m.Else():
                    m.next = "Hand-Over"
            with m.State("Judge-Message"):
                m.d.comb += self.match.valid.eq(begins & ~abandons)
                with m.If(abandons):
                    m.next = "Abandon-Message"
                with m.Elif(begins):
                    m.next = "Await-Match"
                with m.Else():
                    m.next = "Hand-Over"
            with m.State("Abandon-Message"):
                m.d.comb += abandon.eq(1)
                with m.If(self.o_arrival.ready):
                    m.next = "Await-Abandonment"
            with m.State("Await-Abandonment"):
                m.d.comb += read.en.eq(1)
                with m.If(self.drained):
                    m.next = "Await-Message"
            with m.State("Judge-Overdue"):
                # A packet of it may have come since it was offered.
                m.d.comb += expires.eq(1)
                with m.If(deadlines.overdue & found_live):
                    m.next = "Abandon-Overdue"
                with m.Else():
                    m.d.comb += [forget.eq(deadlines.overdue), deadlines.taken.eq(1)]
                    m.next = "Await-Packet"
            with m.State("Abandon-Overdue"):
                m.d.comb += [expires.eq(1), abandon.eq(1)]
                with m.If(self.o_arrival.ready):
                    m.d.comb += [self.timed_out.eq(1), deadlines.taken.eq(1)]
                    m.next = "Await-Packet"
            with m.State("Await-Match"):
                m.d.comb += [self.match.valid.eq(1), offer.eq(self.match.done)]
                with m.If(leave):
                    m.next = "Await-Packet"
                with m.Elif(self.match.done):
                    m.next = "Hand-Over"
            with m.State("Hand-Over"):
                m.d.comb += offer.eq(1)
                with m.If(leave):
                    m.next = "Await-Packet"
        return m

    def _count_owed(self, m: Module, header: FieldsOf) -> Value:
        """Whether there is room for one more answer; counts those that are owed."""
        arrival = self.o_arrival.payload
        owed = Signal(range(MOST_OWED + 1))
        taken = Signal()
        m.d.comb += taken.eq(self.i_header.ready & arrival.owes)
        with m.If(taken != self.settled):
            m.d.sync += owed.eq(Mux(taken, owed + 1, owed - 1))
        return self.ack_ready & self.reply_ready & (owed != MOST_OWED)

    def _compose_arrival(self, m: Module, header: FieldsOf, refused: Value) -> None:
        packet, arrival = self.i_header, self.o_arrival.payload
        fetches = is_one_of(header.kind, FETCHING_OPERATIONS)
        answers = Signal()
        m.d.comb += [
            arrival.slot.eq(header.src_nid * self._parameters.contexts + header.lane),
            arrival.refused.eq(refused & ~arrival.abandoned),
            arrival.cut_short.eq(header.aborted | packet.poisoned),
            answers.eq((header.last | packet.poisoned) & (fetches | (header.ack_request != AckRequest.NONE))),
            arrival.owes.eq(answers & ~arrival.abandoned),
            # As one: Icarus copies no part of which it has never seen a change, and a word may be 0 from the start on.
            arrival.words.as_value().eq(Cat(*packet.words)),
        ]

    def _compose_match(self, m: Module, matched: data.View) -> None:
        """What is kept of the answers of `match`."""
        answers = self.match
        entry = FieldsOf(LIST_COMMAND, [Value.cast(0), answers.entry_word])
        with m.If(answers.fail != Fail.OK):
            m.d.comb += matched.fail.eq(answers.fail)
        with m.Else():
            m.d.comb += [
                matched.found.eq(1),
                matched.entry.eq(answers.entry),
                matched.window.eq(answers.window),
                matched.start.eq(answers.start),
                matched.bytes.eq(answers.bytes[:MESSAGE_WIDTH]),
                matched.remote_offset.eq(answers.remote_offset),
                matched.event.eq(answers.event),
                matched.unlinked.eq(answers.unlinked),
                matched.overflow.eq(answers.overflow),
                matched.unexpected.eq(answers.overflow & ~entry.unexpected_header_disable),
                matched.header.eq(answers.header),
                matched.success_disable.eq(entry.event_success_disable),
                matched.ack_disable.eq(entry.ack_disable),
                matched.counted.eq(entry.ct_comm),
                matched.count_bytes.eq(entry.ct_bytes),
                matched.counter.eq(answers.counter),
                matched.user_data.eq(answers.user_data),
            ]
