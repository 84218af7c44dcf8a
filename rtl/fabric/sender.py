"""What stands before every link: the flit that goes out, and the credits of its channels."""

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.fabric.channel import LinkPort
from rtl.flits import flit_layout


class Sender(wiring.Component):
    """Sends `flit` on virtual channel `channel` in the cycle after `take`, at most one in `cycles_per_flit` cycles.

    `take` may be high only if `usable` has the channel's bit, which depends on registers alone. `quiescent`: with the
    inputs still, a clock edge would change nothing; credits may be away.
    """

    def __init__(self, *, datapath_bits: int, channels: int, credits: int, cycles_per_flit: int = 1) -> None:
        self.channels = channels
        self.credits = credits
        self.cycles_per_flit = cycles_per_flit
        super().__init__(
            {
                "usable": Out(channels),
                "take": In(1),
                "channel": In(range(max(channels, 2))),
                "flit": In(flit_layout(datapath_bits)),
                "o_link": Out(LinkPort(datapath_bits, channels)),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        link = self.o_link
        busy = Signal(range(max(self.cycles_per_flit, 2)))  # cycles until the link has room for another flit
        m.d.sync += link.valid.eq(self.take)
        with m.If(self.take):
            m.d.sync += [link.channel.eq(self.channel), link.flit.eq(self.flit), busy.eq(self.cycles_per_flit - 1)]
        with m.Elif(busy.any()):
            m.d.sync += busy.eq(busy - 1)
        for channel in range(self.channels):
            left = Signal(range(self.credits + 1), init=self.credits, name=f"credits_{channel}")
            spent = Signal(name=f"spent_{channel}")
            m.d.comb += [
                spent.eq(self.take & (self.channel == channel)),
                self.usable[channel].eq(left.any() & ~busy.any()),
            ]
            with m.If(link.credit[channel] & ~spent):
                m.d.sync += left.eq(left + 1)
            with m.Elif(spent & ~link.credit[channel]):
                m.d.sync += left.eq(left - 1)
        m.d.comb += self.quiescent.eq(~(self.take | link.valid | busy.any() | link.credit.any()))
        return m
