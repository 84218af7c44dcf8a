"""How many messages each context was sent in vain, for the process that owns it."""

from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.nic.interfaces.context import ContextState
from rtl.nic.interfaces.widths import CONTEXT_WIDTH
from rtl.nic.parameters import NicParameters

COUNT_WIDTH = 32


class Tallies(wiring.Component):
    """`dropped` and `violated` are pulses for `context`; the counts are modulo 2**32 and begin anew with each life."""

    def __init__(self, parameters: NicParameters) -> None:
        super().__init__(
            {
                "states": In(ContextState()).array(parameters.contexts),
                "dropped": In(1),
                "violated": In(1),
                "context": In(CONTEXT_WIDTH),
                "drops": Out(COUNT_WIDTH).array(parameters.contexts),
                "violations": Out(COUNT_WIDTH).array(parameters.contexts),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        for number, state in enumerate(self.states):
            for pulse, count in ((self.dropped, self.drops[number]), (self.violated, self.violations[number])):
                with m.If(state.restarted):
                    m.d.sync += count.eq(0)
                with m.Elif(pulse & (self.context == number)):
                    m.d.sync += count.eq(count + 1)
        restarted = sum((state.restarted for state in self.states), start=self.dropped & 0)
        m.d.comb += self.quiescent.eq(~(self.dropped | self.violated | (restarted != 0)))
        return m
