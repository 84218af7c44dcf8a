"""Hands packets over to the block that sends them, one ahead, as long as their context lives."""

from amaranth import Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from rtl.nic.expressions import assemble, select
from rtl.nic.interfaces.context import context_ports
from rtl.nic.interfaces.widths import ADDRESS_WIDTH, CONTEXT_WIDTH, EPOCH_WIDTH, LENGTH_WIDTH, TAG_WIDTH
from rtl.nic.interfaces.wire import JobPort
from rtl.nic.parameters import NicParameters
from rtl.packets import REQUEST

# One packet of a request: what of its header is not the hardware's alone, and where its payload lies.
PACKET = data.StructLayout(
    {
        "resume": 1,
        "context": CONTEXT_WIDTH,
        "epoch": EPOCH_WIDTH,  # the life in which its first packet was made
        "slot": TAG_WIDTH,
        "address": ADDRESS_WIDTH,
        "dst_nid": 16,
        "dst_pid": 16,
        "kind": 8,
        "pt_index": 8,
        "payload_bytes": 16,
        "message_bytes": LENGTH_WIDTH,
        "segment_offset": LENGTH_WIDTH,
        "remote_offset": 64,
        "match_bits": 64,
        "header_data": 64,
        "atomic_operation": 8,
        "atomic_type": 8,
        "ack_request": 2,
        "last": 1,
        "aborted": 1,
        "handle": 16,
        "generation": 8,
    }
)


LIGHT_BYTES = 64  # of payload: what takes no longer to send than to choose


def _is_heavy(packet: data.View) -> Value:
    return packet.payload_bytes > LIGHT_BYTES


class Handover(wiring.Component):
    """`load` takes `packet` while `free`. A packet is shown at `o_job` in the cycle after `load`, or when those before
    it have been taken. `lean` says that the next one should be chosen: what the taker has and what waits here is small.

    The identity of a message is sampled by the taker when it sees the first packet. If the context's life has ended
    before a packet is shown, a first packet is dropped and another one is shown as the end of an aborted message:
    `spoiled` pulses, with `dropped`, and tells which by `spoiled_slot` and `spoiled_context`.
    """

    def __init__(self, parameters: NicParameters) -> None:
        super().__init__(
            {
                "states": context_ports(parameters)["states"],
                "free": Out(1),
                "lean": Out(1),
                "load": In(1),
                "packet": In(PACKET),
                "o_job": Out(JobPort()),
                "spoiled": Out(1),
                "dropped": Out(1),
                "spoiled_slot": Out(TAG_WIDTH),
                "spoiled_context": Out(CONTEXT_WIDTH),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        job = self.o_job
        ahead = Signal(PACKET)
        following = Signal(PACKET)
        waits = Signal()
        heavy = Signal()  # what is shown is
        goes_on = Signal()
        moves = Signal()
        active = select([state.active for state in self.states], following.context)
        epoch = select([state.epoch for state in self.states], following.context)
        m.d.comb += [
            following.eq(Mux(waits, ahead, self.packet)),
            goes_on.eq(~job.valid | job.ready),
            moves.eq((waits | self.load) & goes_on),
            self.free.eq(~waits | goes_on),
            self.lean.eq(job.lean & ~(job.valid & heavy) & ~(waits & _is_heavy(ahead))),
            self.spoiled.eq(moves & (~active | (epoch != following.epoch))),
            self.dropped.eq(self.spoiled & ~following.resume),
            self.spoiled_slot.eq(following.slot),
            self.spoiled_context.eq(following.context),
            self.quiescent.eq(~(self.load | moves | (job.valid & job.ready))),
        ]
        with m.If(moves | (job.valid & job.ready)):
            m.d.sync += job.valid.eq(moves & ~self.dropped)
        with m.If(moves):
            m.d.sync += [waits.eq(waits & self.load), heavy.eq(_is_heavy(following))]
            self._show(m, following)
        with m.Elif(self.load):
            m.d.sync += waits.eq(1)
        with m.If(self.load & ~(moves & ~waits)):
            m.d.sync += ahead.eq(self.packet)
        return m

    def _show(self, m: Module, packet: data.View) -> None:
        fields = {name: packet[name] for name, _ in PACKET if name in REQUEST.fields}
        fields["first"] = ~packet.resume
        fields["payload_bytes"] = payload_bytes = Mux(self.spoiled, 0, packet.payload_bytes)
        fields["last"] = self.spoiled | packet.last
        fields["aborted"] = self.spoiled | packet.aborted
        job = self.o_job
        m.d.sync += [theirs.eq(word) for theirs, word in zip(job.words, assemble(REQUEST, fields), strict=True)]
        m.d.sync += [
            job.resume.eq(packet.resume),
            job.context.eq(packet.context),
            job.payload_bytes.eq(payload_bytes),
            job.address.eq(packet.address),
            job.tag.eq(packet.slot),
        ]
