"""Writes the events that nobody waits for, when their queue has a place for them."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.nic.arbitration import next_in_turn
from rtl.nic.expressions import assemble
from rtl.nic.interfaces.reports import EventPort
from rtl.nic.interfaces.widths import CONTEXT_WIDTH, EPOCH_WIDTH
from rtl.nic.parameters import NicParameters
from rtl.nic.target.matching.lists import begin_write, read, write
from rtl.nic.target.matching.places import PlacesPort
from rtl.nic.target.matching.tables import TablesPort
from rtl.portals import EVENT, EventKind, List


class PendingEvents(wiring.Component):
    """One event per `begin`, of the contexts in turn; `wanted` says that there is one and its context is `eligible`.

    `told` (a bit for each context) says that an event has begun to wait; a `dirty` context's events are forgotten.
    `epoch` is that of the context whose turn it is. With its AUTO_FREE a match entry becomes free, and a portal table
    entry can have its next PT_DISABLED only after this one.
    """

    def __init__(self, parameters: NicParameters) -> None:
        self._contexts = parameters.contexts
        super().__init__(
            {
                "told": In(parameters.contexts),
                "dirty": In(parameters.contexts),
                "eligible": In(parameters.contexts),
                "wanted": Out(1),
                "begin": In(1),
                "busy": Out(1),
                "epoch": In(EPOCH_WIDTH),
                "tables": Out(TablesPort(parameters)),
                "places": Out(PlacesPort()),
                "o_event": Out(EventPort()),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        tables, places = self.tables, self.places
        due = Signal(self._contexts)
        emptied = Signal()
        context = Signal(CONTEXT_WIDTH)
        epoch = Signal(EPOCH_WIDTH)
        ours = Cat(emptied & (context == number) for number in range(self._contexts))
        candidates = Signal(self._contexts)
        chosen = next_in_turn(m, candidates, context)
        m.d.comb += [candidates.eq(due & self.eligible & ~self.dirty), self.wanted.eq(candidates.any())]
        m.d.sync += due.eq((due | self.told) & ~ours & ~self.dirty)
        with m.If(self.busy):
            m.d.comb += tables.context.eq(context)
        with m.FSM(name="pending") as machine:
            m.d.comb += self.busy.eq(~machine.ongoing("Await-Place"))
            with m.State("Await-Place"), m.If(self.begin):
                m.d.sync += context.eq(chosen)
                m.next = "Read-Pool"
            with m.State("Read-Pool"):
                read(m, tables.pools, 0)
                m.d.sync += epoch.eq(self.epoch)
                m.next = "Read-Due"
            with m.State("Read-Due"):
                read(m, tables.dues, tables.pools.data.due_head)
                m.next = "Read-Entry"
            with m.State("Read-Entry"):
                with m.If(tables.dues.data.is_entry):
                    read(m, tables.entries, tables.dues.data.index)
                with m.Else():
                    read(m, tables.portals, tables.dues.data.index)
                m.next = "Reserve-Place"
            with m.State("Reserve-Place"):
                m.d.comb += [places.request.eq(1), places.count.eq(1)]
                with m.If(places.answered & places.granted):
                    m.d.comb += emptied.eq(tables.pools.data.due_count == 1)
                    self._take(m)
                    m.next = "Report"
                with m.Elif(places.answered):
                    m.next = "Await-Place"
            with m.State("Report"):
                self._report(m, context, epoch)
                with m.If(self.o_event.ready):
                    m.next = "Await-Place"
        return m

    def _take(self, m: Module) -> None:
        """The oldest event waits no more."""
        tables = self.tables
        old, item = tables.pools.data, tables.dues.data
        pool = begin_write(m, tables.pools, 0)
        m.d.comb += [pool.due_head.eq(old.due_head + 1), pool.due_count.eq(old.due_count - 1)]
        with m.If(item.is_entry):
            write(m, tables.positions, item.index)
        with m.Else():
            portal = begin_write(m, tables.portals, item.index)
            m.d.comb += portal.due.eq(0)

    def _report(self, m: Module, context: Signal, epoch: Signal) -> None:
        item, entry = self.tables.dues.data, self.tables.entries.data
        words = assemble(
            EVENT,
            {
                "kind": Mux(item.is_entry, EventKind.AUTO_FREE, EventKind.PT_DISABLED),
                "pt_index": Mux(item.is_entry, entry.pt_index, item.index),
                "user_data": Mux(item.is_entry, entry.user_data, 0),
                "list": Mux(item.is_entry, List.OVERFLOW, List.PRIORITY),
            },
        )
        event = self.o_event
        m.d.comb += [event.valid.eq(1), event.event.eq(1), event.context.eq(context), event.epoch.eq(epoch)]
        m.d.comb += [theirs.eq(word) for theirs, word in zip(event.words, words, strict=True)]
