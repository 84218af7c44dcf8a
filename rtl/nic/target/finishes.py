"""Ends of messages, from where messages end and from where replies do, one at a time to the match unit."""

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.nic.target.stages import finish_part

PAYLOAD = ("context", "epoch", "entry", "overflow", "unexpected", "header", "failed")


class Finishes(wiring.Component):
    """The first of `i_finish` goes before the second. What has been offered stays offered until it is taken."""

    def __init__(self) -> None:
        super().__init__({"i_finish": In(finish_part()).array(2), "o_finish": Out(finish_part()), "quiescent": Out(1)})

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        first, second = self.i_finish
        offered = Signal()  # the second: it has been seen and not been taken
        chosen = Signal()
        m.d.comb += [
            chosen.eq(offered | ~first.finish),
            self.o_finish.finish.eq(first.finish | second.finish),
            first.finish_ready.eq(self.o_finish.finish_ready & ~chosen),
            second.finish_ready.eq(self.o_finish.finish_ready & chosen),
            self.quiescent.eq(~self.o_finish.finish),
        ]
        for name in PAYLOAD:
            one, other, to = (getattr(port, f"finish_{name}") for port in (first, second, self.o_finish))
            m.d.comb += to.eq(Mux(chosen, other, one))
        with m.If(self.o_finish.finish & chosen):
            m.d.sync += offered.eq(~self.o_finish.finish_ready)
        return m
