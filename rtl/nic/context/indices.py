"""Where each context stands in its command ring and event queue, and which doorbells it accepts.

A doorbell is a claim of a process. It is accepted only if it leaves the indices in order, whatever its value.
"""

from amaranth import C, Cat, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.nic.interfaces.context import ContextRegisters, ContextState
from rtl.nic.interfaces.widths import CONTEXT_WIDTH, EPOCH_WIDTH, INDEX_WIDTH
from rtl.nic.parameters import NicParameters


class EventProgress(wiring.Signature):
    """What has become of the events of the contexts, seen from their writer.

    `shown` pulses when memory has been given the whole of one more event of `shown_context`, which a process that polls
    memory may see from now on; `answered` when memory has answered one more of `answered_context`. Both only for the
    context's present life.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "shown": Out(1),
                "shown_context": Out(CONTEXT_WIDTH),
                "answered": Out(1),
                "answered_context": Out(CONTEXT_WIDTH),
            }
        )


class Contexts(wiring.Component):
    """Indices and lives of all contexts.

    Switching a context on begins a new life: in the cycle of `restarted`, one after `enable` has risen, `epoch` is the
    new one already, and at its end all indices are 0. From the next cycle on the context is `active`, or later, when
    the former life is no longer `busy` with memory: no event of it can be taken for one of the new life.

    `command_tail_proposed` and `event_head_proposed` (one bit per context) are high in the cycle in which a write of
    `proposed` to that register is decided; `_accept` answers in the same cycle. `fetched` and `retired` (with
    `retired_refused`) pulse for the context beside them, in its present life only. `commands_refused` counts modulo
    2**32, from 0 in each life. `pending`: the context is active and has commands that have not been fetched.
    """

    def __init__(self, parameters: NicParameters) -> None:
        contexts = parameters.contexts
        super().__init__(
            {
                "contexts": In(ContextRegisters(parameters.windows)).array(contexts),
                "states": Out(ContextState()).array(contexts),
                "proposed": In(INDEX_WIDTH),
                "command_tail_proposed": In(contexts),
                "command_tail_accept": Out(contexts),
                "event_head_proposed": In(contexts),
                "event_head_accept": Out(contexts),
                "fetched": In(1),
                "fetched_context": In(CONTEXT_WIDTH),
                "retired": In(1),
                "retired_context": In(CONTEXT_WIDTH),
                "retired_refused": In(1),
                "events": In(EventProgress()),
                "busy": In(contexts),
                "commands_refused": Out(INDEX_WIDTH).array(contexts),
                "pending": Out(contexts),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        unsettled = []
        for number in range(len(self.states)):
            shown = Signal(INDEX_WIDTH, name=f"events_shown_{number}")
            unsettled.append(self._live(m, number))
            self._accept(m, number, shown)
            self._advance(m, number, shown)
        moving = self.fetched | self.retired | self.events.shown | self.events.answered
        proposals = self.command_tail_proposed.any() | self.event_head_proposed.any()
        m.d.comb += self.quiescent.eq(~(Cat(*unsettled).any() | moving | proposals))
        return m

    def _live(self, m: Module, number: int) -> Value:
        """Begins and ends the lives of a context. Returns a condition, high when the next edge changes something."""
        enable, state = self.contexts[number].enable, self.states[number]
        started = Signal(name=f"started_{number}")
        opened = Signal(name=f"opened_{number}")
        restart = Signal(name=f"restart_{number}")
        start = Signal(name=f"start_{number}")
        open_now = Signal(name=f"open_{number}")
        # What memories of the NIC keep of a context is known by its epoch, and a reset does not clear memories.
        epoch = Signal(EPOCH_WIDTH, reset_less=True, name=f"epoch_{number}")
        m.d.comb += [
            restart.eq(enable & ~started & ~state.restarted),
            start.eq(enable & (started | state.restarted)),
            open_now.eq(enable & (opened | (start & ~self.busy[number]))),
            state.active.eq(enable & opened),
            state.epoch.eq(epoch),
        ]
        m.d.sync += [
            state.restarted.eq(restart),
            epoch.eq(epoch + restart),
            started.eq(start),
            opened.eq(open_now),
        ]
        return restart | state.restarted | (start ^ started) | (open_now ^ opened)

    def _accept(self, m: Module, number: int, shown: Signal) -> None:
        context, state = self.contexts[number], self.states[number]
        ring_size = Signal(INDEX_WIDTH, name=f"ring_size_{number}")
        ahead = Signal(INDEX_WIDTH, name=f"commands_ahead_{number}")
        rung = Signal(INDEX_WIDTH, name=f"commands_rung_{number}")
        unread = Signal(INDEX_WIDTH, name=f"events_unread_{number}")
        consumed = Signal(INDEX_WIDTH, name=f"events_consumed_{number}")
        m.d.comb += [
            ring_size.eq(C(1) << context.command_log2),
            ahead.eq(self.proposed - state.command_head),
            rung.eq(state.command_tail - state.command_head),
            unread.eq(shown - state.event_head),
            consumed.eq(self.proposed - state.event_head),
            self.command_tail_accept[number].eq(state.active & (ahead <= ring_size) & (ahead >= rung)),
            self.event_head_accept[number].eq(state.active & (consumed <= unread)),
            self.pending[number].eq(state.active & (state.command_tail != state.command_fetched)),
        ]

    def _advance(self, m: Module, number: int, shown: Signal) -> None:
        state, refused = self.states[number], self.commands_refused[number]
        with m.If(self.command_tail_proposed[number] & self.command_tail_accept[number]):
            m.d.sync += state.command_tail.eq(self.proposed)
        with m.If(self.event_head_proposed[number] & self.event_head_accept[number]):
            m.d.sync += state.event_head.eq(self.proposed)
        with m.If(self.fetched & (self.fetched_context == number)):
            m.d.sync += state.command_fetched.eq(state.command_fetched + 1)
        with m.If(self.retired & (self.retired_context == number)):
            m.d.sync += [state.command_head.eq(state.command_head + 1), refused.eq(refused + self.retired_refused)]
        with m.If(self.events.shown & (self.events.shown_context == number)):
            m.d.sync += shown.eq(shown + 1)
        with m.If(self.events.answered & (self.events.answered_context == number)):
            m.d.sync += state.event_tail.eq(state.event_tail + 1)
        indices = [state.command_tail, state.command_fetched, state.command_head, state.event_head, state.event_tail]
        with m.If(state.restarted):
            m.d.sync += [index.eq(0) for index in (*indices, shown, refused)]
