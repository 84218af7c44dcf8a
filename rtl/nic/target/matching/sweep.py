"""Empties the tables of a context that was restarted."""

from amaranth import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.nic.interfaces.widths import CONTEXT_WIDTH
from rtl.nic.parameters import NicParameters
from rtl.nic.target.matching.lists import write
from rtl.nic.target.matching.tables import TablesPort, index_width


class Sweep(wiring.Component):
    """`dirty` has a bit for each context whose tables must not be used; it is `wanted` while there is one.

    With each `step` one index of every table is emptied that a restart must empty, for one context after the other:
    portal table, states of match entries and how many messages they have taken, and once the pool; with `clear` how
    many messages of `clear_entry` have ended, too. Everything else hangs on these. Indices are cut to the
    size of the table, so that the smaller one is emptied more than once.
    """

    def __init__(self, parameters: NicParameters) -> None:
        self._contexts = parameters.contexts
        self._steps = max(parameters.portal_entries, parameters.match_entries)
        super().__init__(
            {
                "restarted": In(parameters.contexts),
                "step": In(1),
                "dirty": Out(parameters.contexts),
                "wanted": Out(1),
                "tables": Out(TablesPort(parameters)),
                "clear": Out(1),
                "clear_context": Out(CONTEXT_WIDTH),
                "clear_entry": Out(index_width(parameters.match_entries)),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        marked = Signal(self._contexts)
        sweeping = Signal()
        context = Signal(CONTEXT_WIDTH)
        index = Signal(index_width(self._steps))
        finished = Signal(self._contexts)
        m.d.comb += [self.dirty.eq(marked | self.restarted), self.wanted.eq(marked.any())]
        m.d.comb += [self.clear_context.eq(context), self.clear_entry.eq(index)]
        m.d.sync += marked.eq((marked & ~finished) | self.restarted)
        with m.If(self.step & ~sweeping):
            m.d.sync += [sweeping.eq(1), index.eq(0)]
            for number in reversed(range(self._contexts)):
                with m.If(marked[number]):
                    m.d.sync += context.eq(number)
        with m.Elif(self.step):
            m.d.comb += [self.tables.context.eq(context), self.clear.eq(1)]
            write(m, self.tables.portals, index)
            write(m, self.tables.positions, index)
            write(m, self.tables.begun, index)
            write(m, self.tables.pools, 0)
            m.d.sync += index.eq(index + 1)
            with m.If(index == self._steps - 1):
                m.d.sync += sweeping.eq(0)
                m.d.comb += finished.eq(Cat(context == number for number in range(self._contexts)))
        return m
