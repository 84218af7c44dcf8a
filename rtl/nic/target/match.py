"""Match entries: asked by messages that arrive, changed by commands. Wiring, and whose turn it is."""

from typing import Any

from amaranth import Cat, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.nic.expressions import FieldsOf, select
from rtl.nic.interfaces.context import ContextState
from rtl.nic.interfaces.initiator import ListPort
from rtl.nic.interfaces.reports import EventPort, ReservePort
from rtl.nic.interfaces.target import MatchPort
from rtl.nic.interfaces.widths import CONTEXT_WIDTH
from rtl.nic.parameters import NicParameters
from rtl.nic.target.matching.commands import Commands
from rtl.nic.target.matching.ends import Ends
from rtl.nic.target.matching.finishing import FINISH_MEMBERS, Finishing
from rtl.nic.target.matching.messages import MESSAGE_MEMBERS, Messages
from rtl.nic.target.matching.pending import PendingEvents
from rtl.nic.target.matching.places import Places
from rtl.nic.target.matching.progress import Progress
from rtl.nic.target.matching.sweep import Sweep
from rtl.nic.target.matching.tables import Tables, share
from rtl.portals import LIST_COMMAND


class Match(wiring.Component):
    """The match unit of all contexts. `room` has a bit for each context with an unreserved place in its event queue.

    One thing at a time: messages that begin, messages of the overflow lists that end, the emptying of a restarted
    context's tables, events that found no room when they arose, list commands, in this order; the ends of other
    messages are only counted, beside all this. Each begins only when nothing else is under way, and none waits for an
    application or for the fabric while it is: a list command that would have to is deferred, and so is one that meets
    many headers, after each of them, while others wait who go first. A message or command of a context that is being
    emptied waits until that is done; one of a life that is over does not.

    `dropped` and `violated` pulse with `counted_context` for a message that found no match or no resources, and for one
    that its match entry does not allow.
    """

    def __init__(self, parameters: NicParameters) -> None:
        self._parameters = parameters
        super().__init__(
            {
                "states": In(ContextState()).array(parameters.contexts),
                "i_match": In(MatchPort()),
                "i_list": In(ListPort(parameters.contexts)),
                "reserve": Out(ReservePort()),
                "room": In(parameters.contexts),
                "o_event": Out(EventPort()),
                "dropped": Out(1),
                "violated": Out(1),
                "counted_context": Out(CONTEXT_WIDTH),
                "quiescent": Out(1),
            }
        )
        self._idle = Signal()
        self._stale = Signal()
        self._restarted = Signal()  # the context whose turn it is, in this cycle

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        parameters = self._parameters
        m.submodules.tables = tables = Tables(parameters)
        m.submodules.places = places = Places()
        m.submodules.messages = messages = Messages(parameters)
        m.submodules.finishing = finishing = Finishing(parameters)
        m.submodules.sweep = sweep = Sweep(parameters)
        m.submodules.pending = pending = PendingEvents(parameters)
        m.submodules.commands = commands = Commands(parameters)
        m.submodules.progress = progress = Progress(parameters)
        m.submodules.ends = ends = Ends(parameters)
        share(m, tables.port, [user.tables for user in (messages, finishing, sweep, pending, commands)])
        share(m, places.port, [user.places for user in (messages, pending, commands)])
        share(m, self.o_event, [user.o_event for user in (pending, commands)])
        wiring.connect(m, wiring.flipped(self.reserve), places.reserve)
        _connect_members(m, self.i_match, messages, MESSAGE_MEMBERS)
        _connect_members(m, self.i_match, finishing, FINISH_MEMBERS)
        m.d.comb += self._idle.eq(~(messages.busy | finishing.busy | pending.busy | commands.busy))
        self._watch_restarts(m, tables.port.context, sweep)
        self._connect_places(m, places, tables.port.context)
        self._connect_finishing(m, finishing, progress, sweep.dirty)
        self._connect_ends(m, ends, finishing, commands, sweep)
        self._connect_pending(m, messages, finishing, pending, sweep.dirty)
        self._connect_list(m, commands, progress)
        self._connect_messages(m, messages)
        begins = self.i_match.valid & (messages.obsolete | ~self._bit(sweep.dirty, self.i_match.context))
        commanded = self.i_list.valid & (commands.obsolete | ~self._bit(sweep.dirty, self.i_list.context))
        requests = [
            (messages.begin, begins),
            (finishing.begin, finishing.wanted),
            (sweep.step, sweep.wanted & ends.clearable),
            (pending.begin, pending.wanted),
            (commands.begin, commanded),
        ]
        self._give_turns(m, requests)
        m.d.comb += commands.others.eq(begins | finishing.wanted | sweep.wanted)
        waiting = Cat(self.i_match.finish, *(request for _, request in requests), sweep.dirty)
        m.d.comb += self.quiescent.eq(self._idle & places.quiescent & ends.quiescent & ~waiting.any())
        return m

    def _give_turns(self, m: Module, requests: list[tuple[Signal, Value]]) -> None:
        earlier: Value = ~self._idle
        for begin, request in requests:
            m.d.comb += begin.eq(request & ~earlier)
            earlier = earlier | request

    def _watch_restarts(self, m: Module, context: Value, sweep: Sweep) -> None:
        """`_stale`: the context has been restarted since its turn began."""
        m.d.comb += [
            sweep.restarted.eq(Cat(state.restarted for state in self.states)),
            self._restarted.eq(~self._idle & self._bit(sweep.restarted, context)),
        ]
        with m.If(self._idle):
            m.d.sync += self._stale.eq(0)
        with m.Elif(self._restarted):
            m.d.sync += self._stale.eq(1)

    def _connect_places(self, m: Module, places: Places, context: Value) -> None:
        m.d.comb += [
            places.context.eq(context),
            places.epoch.eq(self._epoch(context)),
            places.restarted.eq(self._restarted),
            places.stale.eq(self._stale),
        ]

    def _connect_messages(self, m: Module, messages: Messages) -> None:
        m.d.comb += [
            messages.obsolete.eq(self._obsolete(self.i_match)),
            messages.stale.eq(self._stale | self._restarted),
            self.dropped.eq(messages.dropped),
            self.violated.eq(messages.violated),
            self.counted_context.eq(self.i_match.context),
        ]

    def _connect_ends(self, m: Module, ends: Ends, finishing: Finishing, commands: Commands, sweep: Sweep) -> None:
        m.d.comb += [
            finishing.room.eq(ends.ready),
            finishing.before.eq(ends.before),
            ends.count.eq(finishing.count),
            ends.context.eq(finishing.finish_context),
            ends.entry.eq(finishing.finish_entry),
            ends.look.eq(commands.look),
            ends.look_context.eq(self.i_list.context),
            ends.look_entry.eq(FieldsOf(LIST_COMMAND, self.i_list.words).entry),
            commands.ended.eq(ends.ended),
            ends.clear.eq(sweep.clear),
            ends.clear_context.eq(sweep.clear_context),
            ends.clear_entry.eq(sweep.clear_entry),
        ]

    def _connect_finishing(self, m: Module, finishing: Finishing, progress: Progress, dirty: Value) -> None:
        context = finishing.finish_context
        m.d.comb += [
            finishing.obsolete.eq((finishing.finish_epoch != self._epoch(context)) | self._bit(dirty, context)),
            progress.finished.eq(finishing.finished),
            progress.finished_context.eq(context),
            progress.finished_header.eq(finishing.finish_header),
            progress.removed.eq(finishing.removed),
            progress.inner.eq(finishing.inner),
            progress.previous.eq(finishing.previous),
        ]

    def _connect_pending(
        self, m: Module, messages: Messages, finishing: Finishing, pending: PendingEvents, dirty: Value
    ) -> None:
        told = [
            (messages.due & (messages.context == number)) | (finishing.due & (finishing.finish_context == number))
            for number in range(self._parameters.contexts)
        ]
        m.d.comb += [
            pending.told.eq(Cat(told)),
            pending.dirty.eq(dirty),
            pending.eligible.eq(self.room & Cat(state.active for state in self.states)),
            pending.epoch.eq(self._epoch(pending.tables.context)),
        ]

    def _connect_list(self, m: Module, commands: Commands, progress: Progress) -> None:
        wiring.connect(m, wiring.flipped(self.i_list), commands.i_list)
        active = Cat(state.active for state in self.states)
        m.d.comb += [
            commands.obsolete.eq(self._obsolete(self.i_list)),
            commands.known.eq(progress.known),
            progress.context.eq(self.i_list.context),
            progress.store.eq(commands.store),
            progress.kept.eq(commands.kept),
            progress.restarted.eq(Cat(state.restarted for state in self.states)),
            progress.room.eq(self.room),
            commands.resume.eq(progress.resume | ~active),
        ]

    def _obsolete(self, request: Any) -> Value:
        """Whether the life that `request` belongs to is over, or its context has been switched off."""
        active = select([state.active for state in self.states], request.context)
        return ~active | (request.epoch != self._epoch(request.context))

    def _epoch(self, context: Value) -> Value:
        return select([state.epoch for state in self.states], context)

    @staticmethod
    def _bit(bits: Value, context: Value) -> Value:
        return select(list(bits), context)


def _connect_members(m: Module, outside: Any, block: Any, names: tuple[str, ...]) -> None:
    """Those members of `outside`, an interface of the top, that `block` has by the same names."""
    for name in names:
        ours, theirs = getattr(outside, name), getattr(block, name)
        spoken = block.signature.members[name].flow is wiring.Out
        for one, other in zip(*(side if isinstance(side, list) else [side] for side in (ours, theirs)), strict=True):
            m.d.comb += one.eq(other) if spoken else other.eq(one)
