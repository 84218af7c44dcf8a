"""Where each context stands in its command ring and event queue, and which doorbells it accepts.

A doorbell is a claim of a process. It is accepted only if it leaves the indices in order, whatever its value.
"""

from amaranth import C, Cat, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.nic.ports import CONTEXT_WIDTH, INDEX_WIDTH, ContextIndices, ContextRegisters


class Contexts(wiring.Component):
    """Indices of all contexts. Switching a context on zeroes its indices; `restarted` is high in that cycle.

    `command_tail_proposed` and `event_head_proposed` (one bit per context) are high in the cycle in which a write of
    `proposed` to that register is decided; `_accept` answers in the same cycle. The pulses `fetched`, `retired`
    (with `retired_refused`) and `event_written` advance the index of the context beside them. `event_visible`: memory
    shows an event of `event_context` that it has not answered yet, and that may be consumed already; `event_withdrawn`:
    memory refused it, and it never was.
    `pending`: the context is enabled and has commands that have not been fetched.
    """

    def __init__(self, *, contexts: int, windows: int) -> None:
        super().__init__(
            {
                "contexts": In(ContextRegisters(windows)).array(contexts),
                "indices": Out(ContextIndices()).array(contexts),
                "proposed": In(INDEX_WIDTH),
                "command_tail_proposed": In(contexts),
                "command_tail_accept": Out(contexts),
                "event_head_proposed": In(contexts),
                "event_head_accept": Out(contexts),
                "fetched": In(1),
                "fetched_context": In(CONTEXT_WIDTH),
                "retired": In(1),
                "retired_refused": In(1),
                "retired_context": In(CONTEXT_WIDTH),
                "event_written": In(1),
                "event_visible": In(1),
                "event_withdrawn": In(1),
                "event_context": In(CONTEXT_WIDTH),
                "pending": Out(contexts),
                "restarted": Out(contexts),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        enabled = Signal(len(self.contexts))
        for number, context in enumerate(self.contexts):
            m.d.sync += enabled[number].eq(context.enable)
            active = Signal(name=f"active_{number}")
            m.d.comb += [
                active.eq(context.enable & enabled[number]),
                self.restarted[number].eq(context.enable & ~enabled[number]),
            ]
            self._accept(m, number, active)
            self._advance(m, number)
            self._restart(m, number)
        unsettled = [context.enable ^ enabled[number] for number, context in enumerate(self.contexts)]
        moving = self.fetched | self.retired | self.event_written | self.event_withdrawn
        proposals = self.command_tail_proposed.any() | self.event_head_proposed.any()
        m.d.comb += self.quiescent.eq(~(Cat(*unsettled).any() | moving | proposals | self.pending.any()))
        return m

    def _accept(self, m: Module, number: int, active: Value) -> None:
        context, indices = self.contexts[number], self.indices[number]
        ring_size = Signal(INDEX_WIDTH, name=f"ring_size_{number}")
        ahead = Signal(INDEX_WIDTH, name=f"commands_ahead_{number}")
        rung = Signal(INDEX_WIDTH, name=f"commands_rung_{number}")
        unread = Signal(INDEX_WIDTH, name=f"events_unread_{number}")
        consumed = Signal(INDEX_WIDTH, name=f"events_consumed_{number}")
        m.d.comb += [
            ring_size.eq(C(1) << context.command_log2),
            ahead.eq(self.proposed - indices.command_head),
            rung.eq(indices.command_tail - indices.command_head),
            unread.eq(indices.event_tail - indices.event_head + (self.event_visible & (self.event_context == number))),
            consumed.eq(self.proposed - indices.event_head),
            self.command_tail_accept[number].eq(active & (ahead <= ring_size) & (ahead >= rung)),
            self.event_head_accept[number].eq(active & (consumed <= unread)),
            self.pending[number].eq(active & (indices.command_tail != indices.command_fetched)),
        ]

    def _advance(self, m: Module, number: int) -> None:
        indices = self.indices[number]
        with m.If(self.command_tail_proposed[number] & self.command_tail_accept[number]):
            m.d.sync += indices.command_tail.eq(self.proposed)
        with m.If(self.event_head_proposed[number] & self.event_head_accept[number]):
            m.d.sync += indices.event_head.eq(self.proposed)
        consumed_early = indices.event_head == (indices.event_tail + 1)[:INDEX_WIDTH]
        with m.If(self.event_withdrawn & (self.event_context == number) & consumed_early):
            m.d.sync += indices.event_head.eq(indices.event_tail)
        with m.If(self.fetched & (self.fetched_context == number)):
            m.d.sync += indices.command_fetched.eq(indices.command_fetched + 1)
        with m.If(self.retired & (self.retired_context == number)):
            m.d.sync += [
                indices.command_head.eq(indices.command_head + 1),
                indices.commands_refused.eq(indices.commands_refused + self.retired_refused),
            ]
        with m.If(self.event_written & (self.event_context == number)):
            m.d.sync += indices.event_tail.eq(indices.event_tail + 1)

    def _restart(self, m: Module, number: int) -> None:
        indices = self.indices[number]
        with m.If(self.restarted[number]):
            m.d.sync += [
                indices.command_tail.eq(0),
                indices.command_fetched.eq(0),
                indices.command_head.eq(0),
                indices.event_head.eq(0),
                indices.event_tail.eq(0),
            ]
