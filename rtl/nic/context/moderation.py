"""When the events of a context are worth an interrupt."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.nic.interfaces.context import context_ports
from rtl.nic.interfaces.widths import CONTEXT_WIDTH
from rtl.nic.parameters import NicParameters

COUNT_WIDTH = 16
CYCLES_WIDTH = 32
INTERVAL_WIDTH = 32


class Moderation(wiring.Component):
    """`happened` pulses when memory shows a new event (with `event`) or a new value of a counter of `context`.

    A context's bit of `interrupts` pulses in the cycle after the one in which `moderation_count` of those that its
    registers enable have happened, or `moderation_cycles` after the first of them. What happened is forgotten when it
    is signalled, when the context restarts, and while neither kind is enabled.

    Two pulses of a context are at least `interval` cycles apart, whatever its registers say, and whether or not it
    restarts between them: this is what its process cannot choose. What happens meanwhile waits; the first pulse after
    a silence of that length comes at once. A clock that runs is not quiescent, nor is an interval: it is cycles that
    are counted, and in a clock that is switched off it would never be over.
    """

    def __init__(self, parameters: NicParameters) -> None:
        super().__init__(
            {
                **context_ports(parameters),
                "happened": In(1),
                "event": In(1),
                "context": In(CONTEXT_WIDTH),
                "interval": In(INTERVAL_WIDTH),
                "interrupts": Out(parameters.contexts),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        busy = [self.happened]
        for number, (registers, state) in enumerate(zip(self.contexts, self.states, strict=True)):
            waiting = Signal(COUNT_WIDTH, name=f"waiting_{number}")
            elapsed = Signal(CYCLES_WIDTH, name=f"elapsed_{number}")
            silence = Signal(INTERVAL_WIDTH, name=f"silence_{number}")  # that is left, the present cycle included
            counted = Signal(name=f"counted_{number}")
            due = Signal(name=f"due_{number}")
            clocked = Signal(name=f"clocked_{number}")
            enabled = registers.interrupt | registers.counter_interrupt
            wanted = Mux(self.event, registers.interrupt, registers.counter_interrupt)
            late = clocked & (elapsed + 1 >= registers.moderation_cycles)
            worth_it = waiting.any() & enabled & ((waiting >= registers.moderation_count) | late)
            m.d.comb += [
                counted.eq(self.happened & (self.context == number) & wanted),
                clocked.eq(waiting.any() & registers.moderation_cycles.any()),
                due.eq(worth_it & (silence <= 1)),
                self.interrupts[number].eq(due),
            ]
            m.d.sync += silence.eq(Mux(due, self.interval, silence - silence.any()))
            with m.If(state.restarted | ~enabled):
                m.d.sync += [waiting.eq(0), elapsed.eq(0)]
            with m.Elif(due):
                m.d.sync += [waiting.eq(counted), elapsed.eq(0)]
            with m.Else():
                # As many as can be counted are enough for every `moderation_count`.
                m.d.sync += [waiting.eq(waiting + (counted & ~waiting.all())), elapsed.eq(elapsed + clocked)]
            forgets = waiting.any() & ~enabled
            busy += [due, clocked, forgets, silence.any(), state.restarted]
        m.d.comb += self.quiescent.eq(~Cat(*busy).any())
        return m
