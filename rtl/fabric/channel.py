"""One direction of a link: virtual channels that share it, a fixed delay, and credits so that nothing is lost.

Whoever sends has a credit for each place in the buffer at the end, spends one with every flit, and gets it back when
the flit has been taken there, after the same delay. Each virtual channel has credits and places of its own, as many as
it needs to use the whole link alone: one that waits takes nothing from the others.
"""

from typing import Self

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.fabric.parameters import MAX_LATENCY_CYCLES, FabricParameters
from rtl.flits import flit_layout, flit_stream


class LinkPort(wiring.Signature):
    """The beginning of a link, seen from the sender: a flit of virtual channel `channel` in each cycle of `valid`.

    Nothing holds the sender back but its credits, `places` of each channel to begin with: a bit of `credit` is high for
    a cycle when one of that channel is back.
    """

    def __init__(self, datapath_bits: int, channels: int) -> None:
        super().__init__(
            {
                "valid": Out(1),
                "channel": Out(range(max(channels, 2))),
                "flit": Out(flit_layout(datapath_bits)),
                "credit": In(channels),
            }
        )


def places(latency_cycles: int, cycles_per_flit: int = 1) -> int:
    """Places, and credits, that a channel needs for the full rate of a link.

    A flit is granted in a cycle, is in the sender's register in the next, comes out `latency_cycles` and, if it goes in
    parts, one cycle for each further part later; its credit is under way as long, and counts one cycle after.
    """
    return -(-(2 * latency_cycles + cycles_per_flit + 1) // cycles_per_flit)


class Link(wiring.Component):
    """A flit on `i_link` in one cycle can leave by `o_flits`, a stream for each channel, `latency_cycles` later.

    A flit that goes in parts, in `cycles_per_flit` cycles, leaves when its last part has come; the sender keeps the
    distance. `quiescent`: with the inputs still, a clock edge would change nothing; flits may wait to be taken.
    """

    def __init__(self, *, datapath_bits: int, channels: int, latency_cycles: int, cycles_per_flit: int = 1) -> None:
        if not 1 <= latency_cycles <= MAX_LATENCY_CYCLES:
            raise ValueError(f"link.latency_cycles: {latency_cycles} is out of range 1..{MAX_LATENCY_CYCLES}")
        self.channels = channels
        self.latency_cycles = latency_cycles
        self.arrival_cycles = latency_cycles + cycles_per_flit - 1
        self.places = places(latency_cycles, cycles_per_flit)
        self._layout = flit_layout(datapath_bits)
        super().__init__(
            {
                "i_link": In(LinkPort(datapath_bits, channels)),
                "o_flits": Out(flit_stream(datapath_bits)).array(channels),
                "quiescent": Out(1),
            }
        )

    @classmethod
    def of(cls, parameters: FabricParameters) -> Self:
        """A link of the fabric with these parameters."""
        return cls(
            datapath_bits=parameters.datapath_bits,
            channels=parameters.link_channels,
            latency_cycles=parameters.link_latency_cycles,
            cycles_per_flit=parameters.cycles_per_flit,
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        entering, leaving = Signal(self.channels), Signal(self.channels)
        for channel, stream in enumerate(self.o_flits):
            m.d.comb += [
                entering[channel].eq(self.i_link.valid & (self.i_link.channel == channel)),
                leaving[channel].eq(stream.valid & stream.ready),
            ]
        # What arrives is read from memory in its last cycle under way.
        arriving, flits_under_way = _delay(m, "flits", entering, self.arrival_cycles - 1)
        returning, credits_under_way = _delay(m, "credits", leaving, self.latency_cycles)
        for channel in range(self.channels):
            self._elaborate_channel(m, channel, entering[channel], arriving[channel])
        m.d.comb += [
            self.i_link.credit.eq(returning),
            self.quiescent.eq(~(self.i_link.valid | leaving.any() | flits_under_way | credits_under_way)),
        ]
        return m

    def _elaborate_channel(self, m: Module, channel: int, entering: Value, arriving: Value) -> None:
        """A flit goes into its place when it enters; the first that has arrived stands at the read port."""
        stream = self.o_flits[channel]
        buffer = Memory(shape=self._layout, depth=self.places, init=[])
        m.submodules[f"buffer_{channel}"] = buffer
        write_port = buffer.write_port()
        read_port = buffer.read_port(transparent_for=[write_port] if self.arrival_cycles == 1 else [])
        arrived = Signal(range(self.places + 1), name=f"arrived_{channel}")  # and not at the read port yet
        load = Signal(name=f"load_{channel}")
        m.d.comb += [
            load.eq((arrived.any() | arriving) & (~stream.valid | stream.ready)),
            write_port.en.eq(entering),
            write_port.data.eq(self.i_link.flit),
            read_port.en.eq(load),
            stream.payload.eq(read_port.data),
        ]
        with m.If(entering):
            m.d.sync += write_port.addr.eq(self._next_place(write_port.addr))
        with m.If(load):
            m.d.sync += [read_port.addr.eq(self._next_place(read_port.addr)), stream.valid.eq(1)]
        with m.Elif(stream.ready):
            m.d.sync += stream.valid.eq(0)
        with m.If(arriving & ~load):
            m.d.sync += arrived.eq(arrived + 1)
        with m.Elif(load & ~arriving):
            m.d.sync += arrived.eq(arrived - 1)

    def _next_place(self, place: Value) -> Value:
        return Mux(place == self.places - 1, 0, place + 1)


def _delay(m: Module, name: str, pulses: Value, cycles: int) -> tuple[Value, Value]:
    """`pulses`, a bit for each channel, `cycles` later, and whether any is under way."""
    if cycles == 0:
        return pulses, pulses.any()
    width = len(pulses)
    stages = Signal(width * cycles, name=f"{name}_under_way")
    with m.If(pulses.any() | stages.any()):
        m.d.sync += stages.eq(Cat(pulses, stages))
    return stages[-width:], stages.any()
