"""Places in the event queue of the context whose turn it is."""

from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.nic.interfaces.reports import ReservePort
from rtl.nic.interfaces.widths import CONTEXT_WIDTH, EPOCH_WIDTH


class PlacesPort(wiring.Signature):
    """Asks for `count` places, seen from the block that has the turn.

    `request` and `count` hold until `answered`; `granted` with it: they are reserved. A context that was restarted
    since the turn began gets none.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "request": Out(1),
                "count": Out(2),
                "answered": In(1),
                "granted": In(1),
            }
        )


class Places(wiring.Component):
    """`restarted`: `context` is being restarted in this cycle; `stale`: it was, since the turn began. Places that were
    granted to the new life of a context for the sake of the old one are given back in the next cycle."""

    def __init__(self) -> None:
        super().__init__(
            {
                "port": In(PlacesPort()),
                "context": In(CONTEXT_WIDTH),
                "epoch": In(EPOCH_WIDTH),
                "restarted": In(1),
                "stale": In(1),
                "reserve": Out(ReservePort()),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        port, reserve = self.port, self.reserve
        unwanted = self.stale & ~self.restarted  # a restart in this very cycle forgets them by itself
        granted = port.answered & reserve.room
        m.d.comb += [
            reserve.valid.eq(port.request),
            reserve.context.eq(self.context),
            reserve.count.eq(port.count),
            port.answered.eq(port.request & reserve.ready),
            port.granted.eq(granted & ~self.stale & ~self.restarted),
            self.quiescent.eq(~reserve.release_valid),
        ]
        m.d.sync += reserve.release_valid.eq(0)
        with m.If(granted & unwanted):
            m.d.sync += [
                reserve.release_valid.eq(1),
                reserve.release_context.eq(self.context),
                reserve.release_epoch.eq(self.epoch),
                reserve.release_count.eq(port.count),
            ]
        return m
