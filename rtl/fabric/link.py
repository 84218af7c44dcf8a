"""One direction of a link between two ports: a fixed delay, and credits so that nothing is lost.

The sender holds a credit for each place in the receiver's buffer, spends one with every word, and gets it back when
the receiver has taken the word, after the same delay. The buffer has as many places as a word per cycle needs.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.layouts import PACKET_WORD, PacketStream

MAX_LATENCY_CYCLES = 1024


class Link(wiring.Component):
    """A word that enters in one cycle can leave `latency_cycles` (1 to 1024) later; one word per cycle.

    `quiescent`: with the inputs still, a clock edge would change nothing; all credits are back.
    """

    def __init__(self, latency_cycles: int) -> None:
        if not 1 <= latency_cycles <= MAX_LATENCY_CYCLES:
            raise ValueError(
                f"link.latency_cycles: {latency_cycles} is out of range 1..{MAX_LATENCY_CYCLES}; "
                "choose a shorter link or a slower clock"
            )
        self.latency_cycles = latency_cycles
        # A place is taken from the cycle in which its word enters until its credit is back.
        self.places = 2 * latency_cycles
        super().__init__({"i_packet": In(PacketStream), "o_packet": Out(PacketStream), "quiescent": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.buffer = buffer = Memory(shape=PACKET_WORD, depth=self.places, init=[])
        write_port = buffer.write_port()
        read_port = buffer.read_port(domain="comb")

        entering, leaving = Signal(), Signal()
        m.d.comb += [
            entering.eq(self.i_packet.valid & self.i_packet.ready),
            leaving.eq(self.o_packet.valid & self.o_packet.ready),
            write_port.en.eq(entering),
            write_port.data.eq(self.i_packet.payload),
            self.o_packet.payload.eq(read_port.data),
        ]
        with m.If(entering):
            m.d.sync += write_port.addr.eq(self._next_place(write_port.addr))
        with m.If(leaving):
            m.d.sync += read_port.addr.eq(self._next_place(read_port.addr))

        arriving, words_under_way = self._delay(m, "words", entering)
        returning, credits_under_way = self._delay(m, "credits", leaving)
        arrived = _count(m, "arrived", up=arriving, down=leaving, limit=self.places, init=0)
        credits = _count(m, "credits", up=returning, down=entering, limit=self.places, init=self.places)
        m.d.comb += [
            self.i_packet.ready.eq(credits.any()),
            self.o_packet.valid.eq(arrived.any()),
            self.quiescent.eq(
                ~Cat(self.i_packet.valid, words_under_way, credits_under_way, credits != self.places).any()
            ),
        ]
        return m

    def _next_place(self, place: Value) -> Value:
        return Mux(place == self.places - 1, 0, place + 1)

    def _delay(self, m: Module, name: str, pulse: Value) -> tuple[Value, Value]:
        """`pulse` as a counter must see it to count it `latency_cycles` later, and whether one is under way."""
        if self.latency_cycles == 1:
            return pulse, pulse
        stages = Signal(self.latency_cycles - 1, name=f"{name}_under_way")
        with m.If(pulse | stages.any()):
            m.d.sync += stages.eq(Cat(pulse, stages))
        return stages[-1], pulse | stages.any()


def _count(m: Module, name: str, *, up: Value, down: Value, limit: int, init: int) -> Signal:
    count = Signal(range(limit + 1), init=init, name=name)
    with m.If(up & ~down):
        m.d.sync += count.eq(count + 1)
    with m.Elif(down & ~up):
        m.d.sync += count.eq(count - 1)
    return count
