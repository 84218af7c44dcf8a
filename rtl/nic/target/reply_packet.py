"""Decides on the next packet of a reply: how much payload it carries, and whether that may be read."""

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.nic.host.window import WindowCheck
from rtl.nic.interfaces.context import context_ports
from rtl.nic.interfaces.widths import ADDRESS_WIDTH, CONTEXT_WIDTH, EPOCH_WIDTH, LENGTH_WIDTH
from rtl.nic.parameters import NicParameters
from rtl.nic.target.stages import is_live


class ReplyPacket(wiring.Component):
    """Two pulses, `start` and in the next cycle `judge`; the verdict stands from the cycle after that on.

    The inputs hold from `start` to `judge`. `size` bytes from `offset` of `window` make the whole reply, of which
    `sent` were sent before. The packet carries `payload_bytes` from `address`, and is the last one if `final`. If it
    has payload, all that is left must be inside the window with remote_read (unless `inline`: it is at hand); otherwise
    the reply is `broken` and the packet empty and final. If the context is not in life `epoch`, nobody is left who
    could say anything: the reply is `orphaned`, and has no packet any more.
    """

    def __init__(self, parameters: NicParameters) -> None:
        self._parameters = parameters
        super().__init__(
            {
                **context_ports(parameters),
                "start": In(1),
                "judge": In(1),
                "context": In(CONTEXT_WIDTH),
                "epoch": In(EPOCH_WIDTH),
                "window": In(8),
                "offset": In(ADDRESS_WIDTH),
                "size": In(LENGTH_WIDTH),
                "sent": In(LENGTH_WIDTH),
                "inline": In(1),
                "address": Out(ADDRESS_WIDTH),
                "payload_bytes": Out(LENGTH_WIDTH),
                "final": Out(1),
                "broken": Out(1),
                "orphaned": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.window = window = WindowCheck(self._parameters)
        for ours, theirs in zip(self.contexts, window.contexts, strict=True):
            wiring.connect(m, wiring.flipped(ours), theirs)
        mtu_bytes = self._parameters.mtu_bytes
        left = window.bytes
        broken = Signal()
        m.d.comb += [
            window.start.eq(self.start),
            window.context.eq(self.context),
            window.window.eq(self.window),
            broken.eq(left.any() & ~(self.inline | (window.inside & window.remote_read))),
        ]
        with m.If(self.start):
            m.d.sync += [window.offset.eq(self.offset + self.sent), left.eq(self.size - self.sent)]
        with m.If(self.judge):
            m.d.sync += [
                self.address.eq(window.address),
                self.payload_bytes.eq(Mux(broken, 0, Mux(left < mtu_bytes, left, mtu_bytes))),
                self.final.eq(broken | (left <= mtu_bytes)),
                self.broken.eq(broken),
                self.orphaned.eq(~is_live(self.states, self.context, self.epoch)),
            ]
        return m
