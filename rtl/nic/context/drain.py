"""Tells when the memory of a context that was switched off is touched no more."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.nic.interfaces.context import ContextState
from rtl.nic.parameters import NicParameters


class Drain(wiring.Component):
    """`busy` has a bit for each context: high from the cycle in which it is no longer active, until no access to memory
    that was judged while it was can begin or go on any more.

    An access is judged by one of `engines`, each of which judges for active contexts alone, and offers what it has
    judged from the next cycle on: its bit of `offered` stays high until `passed`, when memory has taken all of it; what
    it offers after that needs another judgement. Memory answers in order: after a pulse of `mark`, `marked` is high
    until it has answered all that it had taken before.

    One round serves all contexts that were closed before it began: first everything that was offered then is passed on,
    then everything that memory had taken by that time is answered. What others offer meanwhile is not waited for, so
    that a context is drained after two rounds at most, however busy the others are.
    """

    def __init__(self, parameters: NicParameters, *, engines: int) -> None:
        super().__init__(
            {
                "states": In(ContextState()).array(parameters.contexts),
                "offered": In(engines),
                "passed": In(engines),
                "mark": Out(1),
                "marked": In(1),
                "busy": Out(parameters.contexts),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        active = Cat(*(state.active for state in self.states))
        used = Signal(len(active))  # it has been active since it was last drained
        leaving = Signal(len(active))  # in this round
        held = Signal(len(self.offered))  # what was offered when the round began
        ends = Signal()
        m.d.comb += [
            self.busy.eq(used & ~active),
            self.quiescent.eq(~(active & ~used).any()),
        ]
        m.d.sync += used.eq((used | active) & ~Mux(ends, leaving, 0))
        with m.FSM(name="drain"):
            with m.State("Await-Closing"), m.If(self.busy.any()):
                m.d.comb += self.quiescent.eq(0)
                m.d.sync += [leaving.eq(self.busy), held.eq(self.offered & ~self.passed)]
                m.next = "Await-Engines"
            with m.State("Await-Engines"):
                m.d.comb += [self.mark.eq(~held.any()), self.quiescent.eq(0)]
                m.d.sync += held.eq(held & ~self.passed)
                with m.If(self.mark):
                    m.next = "Await-Memory"
            with m.State("Await-Memory"):
                m.d.comb += [ends.eq(~self.marked), self.quiescent.eq(0)]
                with m.If(ends):
                    m.next = "Await-Closing"
        return m
