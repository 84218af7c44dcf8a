"""Time in ticks, and a walk over all places of a table with each of them, so that nothing waits for ever."""

from amaranth import Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.nic.interfaces.widths import TIMEOUT_WIDTH

TICK_WIDTH = 2  # what is overdue is found before two more ticks have passed


def is_overdue(tick: Value, stamped: Value) -> Value:
    """Whether what was stamped with the tick `stamped` is overdue in `tick`."""
    return (tick - stamped)[:TICK_WIDTH] >= 2


class Walk(wiring.Component):
    """Time in ticks of `timeout` cycles, which pass while something is `awaited` and `timeout` is not 0.

    What is stamped with `tick` is overdue in the second tick after that, `timeout` to twice as many cycles later. With
    every tick all `places` are walked over, two cycles each; a tick is no shorter than that, and waits for places that
    are being offered. `look` pulses for `place`, of which the next cycle says whether it is `overdue`; if so it is
    offered: `offer` and `place` hold until `taken`.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        super().__init__(
            {
                "timeout": In(TIMEOUT_WIDTH),
                "awaited": In(1),
                "tick": Out(TICK_WIDTH),
                "place": Out(range(max(places, 2))),
                "look": Out(1),
                "overdue": In(1),
                "offer": Out(1),
                "taken": In(1),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        elapsed = Signal(TIMEOUT_WIDTH)  # cycles of this tick, as far as they matter
        ticks = Signal()
        runs = Signal()
        due = Signal()
        m.d.comb += [runs.eq(self.awaited & self.timeout.any()), due.eq(elapsed + 1 >= self.timeout)]
        with m.If(ticks | ~runs):
            m.d.sync += elapsed.eq(0)
        with m.Elif(~due):
            m.d.sync += elapsed.eq(elapsed + 1)

        with m.FSM(name="walk"):
            with m.State("Await-Tick"):
                m.d.comb += [ticks.eq(runs & due), self.quiescent.eq(~runs & ~elapsed.any())]
                with m.If(ticks):
                    m.d.sync += [self.tick.eq(self.tick + 1), self.place.eq(0)]
                    m.next = "Read-Place"
            with m.State("Read-Place"):
                m.d.comb += self.look.eq(1)
                m.next = "Judge-Place"
            with m.State("Judge-Place"):
                with m.If(self.overdue):
                    m.next = "Offer-Place"
                with m.Else():
                    self._go_on(m)
            with m.State("Offer-Place"):
                m.d.comb += self.offer.eq(1)
                with m.If(self.taken):
                    self._go_on(m)
        return m

    def _go_on(self, m: Module) -> None:
        m.d.sync += self.place.eq(self.place + 1)
        m.next = "Read-Place"
        with m.If(self.place == self._places - 1):
            m.next = "Await-Tick"
