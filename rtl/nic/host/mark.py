"""Tells when memory has answered all that it was asked up to some moment."""

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out


class Mark(wiring.Component):
    """Counts requests, at most `most` unanswered: `begins` pulses when one is taken, `ends` when one is answered.

    They are answered in order. `mark` pulses to ask for those that were taken in earlier cycles: from the next cycle on
    `marked` is high until all of them are answered, whatever is taken meanwhile.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        super().__init__(
            {
                "begins": In(1),
                "ends": In(1),
                "mark": In(1),
                "marked": Out(1),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        unanswered = Signal(range(self._most + 1))
        left = Signal.like(unanswered)  # of those that were asked for
        with m.If(self.begins != self.ends):
            m.d.sync += unanswered.eq(Mux(self.begins, unanswered + 1, unanswered - 1))
        with m.If(self.mark):
            m.d.sync += left.eq(unanswered - self.ends)
        with m.Elif(self.ends & left.any()):
            m.d.sync += left.eq(left - 1)
        m.d.comb += [self.marked.eq(left.any()), self.quiescent.eq(~(self.begins | self.ends | self.mark))]
        return m
