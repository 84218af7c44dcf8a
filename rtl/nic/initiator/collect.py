"""Collects the responses to a node's requests: their data go to memory, their ends to `Complete`."""

from amaranth import C, Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.nic.expressions import FieldsOf, select
from rtl.nic.host.window import WindowCheck
from rtl.nic.initiator.complete import Complete
from rtl.nic.initiator.entries import EntryPort, ExpiryPort
from rtl.nic.interfaces.context import context_ports
from rtl.nic.interfaces.host import WritePort
from rtl.nic.interfaces.reports import EventPort, RefusalPort, ReservePort
from rtl.nic.interfaces.wire import PacketPort
from rtl.nic.parameters import NicParameters
from rtl.packets import IDENTITY_WORD, RESPONSE, PacketKind
from rtl.portals import AckRequest, Fail, Refusal


class Collect(wiring.Component):
    """One header every four cycles, while the payload of the one before flows and earlier ones wait for memory.

    A response is believed if its handle names an entry of the context to which it was admitted, of the use that it
    says and that waits, if it comes from whom the request went to, and if the life that it was admitted in lasts. Its
    context and window are looked at in one cycle, and with it everything is at hand but memory's turn. Each packet's
    data are judged alone: those that lie in the entry's range and window are written even when others of the reply are
    not. The events of a reply follow when memory has answered all its writes. `collected` pulses for every response
    that has freed its entry.

    An entry that is offered as `expiry`, and in its turn waits, is overdue and its context active, ends as if a
    response with fail UNDELIVERABLE had come, from whom the request went to; `timed_out` pulses instead of
    `collected`. Offers go before packets; they lie so far apart that a packet goes between two of them.
    """

    def __init__(self, parameters: NicParameters) -> None:
        self._parameters = parameters
        super().__init__(
            {
                **context_ports(parameters),
                "i_packet": In(PacketPort(parameters.datapath_bits)),
                "expiry": In(ExpiryPort()),
                "lookup": Out(EntryPort()),
                "write": Out(WritePort(parameters.datapath_bits)),
                "o_event": Out(EventPort()),
                "reserve": Out(ReservePort()),
                "refusal": Out(RefusalPort()),
                "collected": Out(1),
                "timed_out": Out(1),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.window = window = WindowCheck(self._parameters)
        m.submodules.complete = complete = Complete(self._parameters)
        for ours, theirs in zip(self.contexts, window.contexts, strict=True):
            wiring.connect(m, wiring.flipped(ours), theirs)
        for ours, theirs in ((self.o_event, complete.o_event), (self.reserve, complete.reserve)):
            wiring.connect(m, wiring.flipped(ours), theirs)
        packet, lookup, expiry = self.i_packet, self.lookup, self.expiry
        header = FieldsOf(RESPONSE, list(packet.words))
        entry = lookup.entry
        slot_bits = (self._parameters.outstanding - 1).bit_length()
        live = Signal()  # the packet's
        expected = Signal()  # of the entry's use and sender, if the entry waits
        in_entry = Signal()
        is_reply = header.kind == PacketKind.REPLY
        closing = header.last | packet.poisoned
        flits_left = Signal(range(self._parameters.mtu_bytes // self._parameters.datapath_bytes + 1))
        writable = is_reply & ~packet.poisoned & in_entry & window.inside & window.local_write
        writes = Signal()
        self._wanted = Signal()  # the flits that flow go to memory
        self._expires = Signal()  # it is an offer's turn, in this cycle
        m.d.comb += [
            live.eq(
                select([state.active for state in self.states], packet.context)
                & (select([state.epoch for state in self.states], packet.context) == packet.epoch)
            ),
            lookup.context.eq(Mux(self._expires, expiry.context, packet.context)),
            lookup.slot.eq(Mux(self._expires, expiry.slot, header.handle[:slot_bits])),
            window.context.eq(packet.context),
            window.window.eq(entry.window),
            window.bytes.eq(header.payload_bytes),
            writes.eq(writable & (header.payload_bytes != 0)),
            self.write.address.eq(window.address),
            self.write.bytes.eq(header.payload_bytes),
            self.refusal.context.eq(packet.context),
            self.refusal.reason.eq(Refusal.PACKET_HANDLE),
            self.refusal.detail.eq(packet.words[IDENTITY_WORD]),
            lookup.free.eq(complete.free),
            lookup.free_context.eq(complete.free_context),
            lookup.free_slot.eq(complete.free_slot),
            lookup.free_epoch.eq(complete.free_epoch),
            complete.write_done.eq(self.write.done),
            complete.write_error.eq(self.write.error),
            self.collected.eq(complete.completed),
            self.timed_out.eq(complete.timed_out),
        ]
        self._compose_record(m, complete, header, closing, writes)
        self._pass_data(m, flits_left)

        awaiting = Signal()
        m.d.comb += self.quiescent.eq(awaiting & ~flits_left.any() & complete.quiescent)
        with m.FSM(name="collect"):
            with m.State("Await-Packet"):
                m.d.comb += [
                    self._expires.eq(expiry.valid),
                    lookup.look.eq(packet.valid | expiry.valid),
                    awaiting.eq(~(packet.valid | expiry.valid)),
                ]
                with m.If(expiry.valid):
                    m.next = "Judge-Expiry"
                with m.Elif(packet.valid):
                    m.next = "Judge-Sender"
            with m.State("Judge-Expiry"):
                m.d.comb += self._expires.eq(1)
                self._expire(m, complete)
            with m.State("Judge-Sender"):
                m.d.sync += [
                    expected.eq(
                        (header.handle >> slot_bits == packet.context)
                        & (header.generation == lookup.generation)
                        & (header.src_nid == entry.dst_nid)
                        & (header.src_pid == entry.dst_pid)
                        & (is_reply == entry.fetching)
                    ),
                    in_entry.eq(header.segment_offset + header.payload_bytes <= entry.bytes),
                    window.offset.eq(entry.offset + header.segment_offset),
                ]
                m.next = "Judge-Context"
            with m.State("Judge-Context"), m.If(~flits_left.any() & complete.i_record.ready):
                m.d.comb += window.start.eq(1)
                with m.If(expected & lookup.waiting & live):
                    m.d.comb += [lookup.close.eq(closing), lookup.touch.eq(~closing)]
                    with m.If(Mux(closing, lookup.close_ready, lookup.touch_ready)):
                        m.next = "Place-Data"
                with m.Else():
                    m.d.comb += self.refusal.valid.eq(1)
                    self._take(m, flits_left, wanted=C(0))
            with m.State("Place-Data"):
                m.d.comb += self.write.valid.eq(writes)
                with m.If(self.write.ready | ~writes):
                    m.d.comb += complete.i_record.valid.eq(1)
                    self._take(m, flits_left, wanted=writes)
        return m

    def _expire(self, m: Module, complete: Complete) -> None:
        """Closes the entry that was offered if it is still to be, and has it ended."""
        active = select([state.active for state in self.states], self.expiry.context)
        with m.If(~(active & self.lookup.waiting & self.lookup.overdue)):
            m.d.comb += self.expiry.ready.eq(1)
        with m.Elif(complete.i_record.ready):
            m.d.comb += [
                self.lookup.close.eq(1),
                self.expiry.ready.eq(self.lookup.close_ready),
                complete.i_record.valid.eq(self.lookup.close_ready),
            ]
        with m.If(self.expiry.ready):
            m.next = "Await-Packet"

    def _take(self, m: Module, flits_left: Signal, *, wanted: Value) -> None:
        """The header's end; its flits, none of which has been taken yet, flow from the next cycle on."""
        flit_bytes = self._parameters.datapath_bytes
        payload_bytes = FieldsOf(RESPONSE, list(self.i_packet.words)).payload_bytes
        m.d.comb += self.i_packet.ready.eq(1)
        m.d.sync += [
            flits_left.eq((payload_bytes + (flit_bytes - 1)) >> (flit_bytes.bit_length() - 1)),
            self._wanted.eq(wanted),
        ]
        m.next = "Await-Packet"

    def _pass_data(self, m: Module, flits_left: Signal) -> None:
        """Flits go to memory, or nowhere if the packet's data are not wanted."""
        flowing = flits_left.any()
        m.d.comb += [
            self.write.data.eq(self.i_packet.data),
            self.write.data_valid.eq(self.i_packet.data_valid & flowing & self._wanted),
            self.i_packet.data_ready.eq(flowing & (self.write.data_ready | ~self._wanted)),
        ]
        with m.If(self.i_packet.data_valid & self.i_packet.data_ready):
            m.d.sync += flits_left.eq(flits_left - 1)

    def _compose_record(self, m: Module, complete: Complete, header: FieldsOf, closing: Value, writes: Value) -> None:
        packet, entry = self.i_packet, self.lookup.entry
        record = complete.i_record.payload
        reply = entry.fetching
        of_header = ("manipulated_bytes", "segment_offset", "payload_bytes", "remote_offset", "fail", "list", "silent")
        of_entry = ("user_data", "event_success_disable", "ct_bytes", "counter")
        m.d.comb += [
            record.context.eq(packet.context),
            record.epoch.eq(packet.epoch),
            record.slot.eq(self.lookup.slot),
            record.generation.eq(header.generation),
            record.written.eq(writes),
            record.refused.eq(packet.poisoned | ((header.payload_bytes != 0) & ~writes)),
            record.closing.eq(closing),
            record.expired.eq(self._expires),
            record.reply.eq(reply),
            record.identity.eq(packet.words[IDENTITY_WORD]),
            *(record[name].eq(getattr(header, name)) for name in of_header),
            *(record[name].eq(entry[name]) for name in of_entry),
            record.place.eq(reply | (entry.ack_request == AckRequest.FULL)),
            record.count.eq(Mux(reply, entry.ct_reply, entry.ct_ack)),
        ]
        with m.If(self._expires):
            expiring = self.expiry.context
            jid = select([registers.jid for registers in self.contexts], expiring)
            m.d.comb += [
                record.context.eq(expiring),
                record.epoch.eq(select([state.epoch for state in self.states], expiring)),
                record.generation.eq(self.lookup.generation),
                *(record[name].eq(0) for name in ("written", "refused", *of_header)),
                record.closing.eq(1),
                record.fail.eq(Fail.UNDELIVERABLE),
                record.identity.eq(Cat(entry.dst_nid, entry.dst_pid, jid)),
            ]
