"""A switch with a port per node: whole packets go to the port that their first word names.

Every output takes one packet at a time, from the inputs that have one for it in turn; outputs are independent. A packet
waits one cycle at the switch for its output and is delayed no further.
"""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.layouts import PacketStream
from rtl.nic.arbitration import next_in_turn
from rtl.packet import HEADER


class Crossbar(wiring.Component):
    """`i_packets` and `o_packets`, arrays of `ports` packet streams; a packet leaves by the port of its dst_nid.

    A packet to a node beyond the last port is consumed; `dropped` has its input's bit high in the cycle of its last
    word. `quiescent`: with the inputs still, a clock edge would change nothing.
    """

    def __init__(self, ports: int) -> None:
        if ports < 1:
            raise ValueError(f"crossbar.ports: {ports} is out of range; there is at least 1")
        self.ports = ports
        super().__init__(
            {
                "i_packets": In(PacketStream).array(ports),
                "o_packets": Out(PacketStream).array(ports),
                "dropped": Out(ports),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        at_header = Signal(self.ports, init=(1 << self.ports) - 1)
        busy = Signal(self.ports)
        discarding = Signal(self.ports)
        for index, packet in enumerate(self.i_packets):
            with m.If(packet.valid & packet.ready):
                m.d.sync += at_header[index].eq(packet.payload.last)
            self._elaborate_discard(m, index, at_header[index], discarding)
        for index in range(self.ports):
            self._elaborate_output(m, index, at_header, busy)
        m.d.comb += self.quiescent.eq(~Cat(busy, discarding, *(packet.valid for packet in self.i_packets)).any())
        return m

    def _elaborate_discard(self, m: Module, index: int, at_header: Signal, discarding: Signal) -> None:
        packet = self.i_packets[index]
        with m.If(discarding[index]):
            m.d.comb += packet.ready.eq(1)
            m.d.comb += self.dropped[index].eq(packet.valid & packet.payload.last)
            with m.If(packet.valid & packet.payload.last):
                m.d.sync += discarding[index].eq(0)
        with m.Elif(packet.valid & at_header & (_destination(packet) >= self.ports)):
            m.d.sync += discarding[index].eq(1)

    def _elaborate_output(self, m: Module, index: int, at_header: Signal, busy: Signal) -> None:
        output = self.o_packets[index]
        owner = Signal(range(max(self.ports, 2)), name=f"owner_{index}")
        requests = Signal(self.ports, name=f"requests_{index}")
        m.d.comb += requests.eq(
            Cat(
                packet.valid & first & (_destination(packet) == index)
                for packet, first in zip(self.i_packets, at_header, strict=True)
            )
        )
        with m.If(busy[index]):
            with m.Switch(owner):
                for source, packet in enumerate(self.i_packets):
                    with m.Case(source):
                        m.d.comb += [
                            output.payload.eq(packet.payload),
                            output.valid.eq(packet.valid),
                            packet.ready.eq(output.ready),
                        ]
            with m.If(output.valid & output.ready & output.payload.last):
                m.d.sync += busy[index].eq(0)
        with m.Elif(requests.any()):
            m.d.sync += [owner.eq(next_in_turn(m, requests, owner)), busy[index].eq(1)]


def _destination(packet: PacketStream) -> Signal:
    field = HEADER.fields["dst_nid"]
    if field.word != 0:
        raise ValueError(f"packet: dst_nid lies in word {field.word}; a switch decides on word 0")
    return packet.payload.word[field.lsb : field.lsb + field.width]
