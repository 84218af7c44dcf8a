"""What becomes of a match entry and of an unexpected header when a message has ended."""

from amaranth import Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.nic.interfaces.target import MatchPort
from rtl.nic.parameters import NicParameters
from rtl.nic.target.matching.lists import begin_write, free_header, frees_entry, push_due, read, unlink_header, write
from rtl.nic.target.matching.tables import EntryState, TablesPort, count_width, index_width

FINISH_MEMBERS = tuple(name for name in MatchPort().members if name.startswith("finish"))


class Finishing(wiring.Component):
    """Each `finish` is counted, with `count`, when there is `room`; for most of them that is all, and done at once.

    One whose entry is of the overflow list needs the tables: it is `wanted` until it may `begin`. A good header is
    complete in the same cycle; a failed one is looked for in its list, one header in a cycle, and removed. Without a
    header two cycles tell whether the entry was held for this message alone, of which there were `before` ended ones.

    `obsolete`: it belongs to another life of the context, and nothing is to be done. `finished` pulses with each other
    header; if it is removed, with `removed`, it followed `previous` if it was `inner`, and else was its list's head.
    `due` pulses when an event of the context has to wait.
    """

    def __init__(self, parameters: NicParameters) -> None:
        header = index_width(parameters.unexpected_headers)
        members = MatchPort().members
        super().__init__(
            {
                **{name: members[name].flip() for name in FINISH_MEMBERS},
                "wanted": Out(1),
                "begin": In(1),
                "busy": Out(1),
                "obsolete": In(1),
                "room": In(1),
                "count": Out(1),
                "before": In(count_width(parameters)),
                "tables": Out(TablesPort(parameters)),
                "due": Out(1),
                "finished": Out(1),
                "removed": Out(1),
                "inner": Out(1),
                "previous": Out(header),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        tables = self.tables
        header = self.finish_header[: len(self.previous)]
        with m.If(self.begin | self.busy):
            m.d.comb += tables.context.eq(self.finish_context)
        with m.FSM(name="finishing") as machine:
            m.d.comb += self.busy.eq(~machine.ongoing("Await-End"))
            with m.State("Await-End"):
                with m.If(self.finish & self.obsolete):
                    m.d.comb += self.finish_ready.eq(1)
                with m.Elif(self.finish & ~self.finish_overflow):
                    m.d.comb += [self.finish_ready.eq(self.room), self.count.eq(self.room)]
                with m.Else():
                    m.d.comb += self.wanted.eq(self.finish & self.room)
                with m.If(self.begin):
                    m.d.comb += self.count.eq(1)
                    self._begin(m, header)
            with m.State("Judge-Entry"):
                self._free_entry(m)
                m.d.comb += self.finish_ready.eq(1)
                m.next = "Await-End"
            with m.State("Read-Portal"):
                read(m, tables.portals, tables.headers.data.pt_index)
                read(m, tables.positions, tables.headers.data.entry)
                read(m, tables.entries, tables.headers.data.entry)
                m.d.sync += self.inner.eq(0)
                m.next = "Find-First"
            with m.State("Find-First"):
                head = tables.portals.data.unexpected.head
                with m.If(head == header):
                    m.next = "Unlink-Header"
                with m.Else():
                    m.d.sync += [self.inner.eq(1), self.previous.eq(head)]
                    read(m, tables.header_next, head)
                    m.next = "Find-Next"
            with m.State("Find-Next"):
                read(m, tables.header_next, tables.header_next.data)
                with m.If(tables.header_next.data == header):
                    m.next = "Unlink-Header"
                with m.Else():
                    m.d.sync += self.previous.eq(tables.header_next.data)
            with m.State("Unlink-Header"):
                unlink_header(m, tables, header, inner=self.inner, previous=self.previous)
                m.next = "Free-Header"
            with m.State("Free-Header"):
                told = Signal()
                m.d.comb += told.eq(frees_entry(tables) & ~tables.entries.data.event_unlink_disable)
                pool = free_header(m, tables, header, keep=told)
                with m.If(told):
                    push_due(m, tables, pool, is_entry=1, index=tables.headers.data.entry)
                m.d.comb += [self.due.eq(told), self.finish_ready.eq(1), self.finished.eq(1), self.removed.eq(1)]
                m.next = "Await-End"
        return m

    def _begin(self, m: Module, header: Value) -> None:
        tables = self.tables
        with m.If(self.finish_unexpected & ~self.finish_failed):
            write(m, tables.complete, header, 1)
            m.d.comb += [self.finish_ready.eq(1), self.finished.eq(1)]
        with m.Elif(self.finish_unexpected):
            read(m, tables.headers, header)
            read(m, tables.header_next, header)
            read(m, tables.pools, 0)
            m.next = "Read-Portal"
        with m.Else():
            read(m, tables.pools, 0)
            for table in (tables.entries, tables.positions, tables.begun):
                read(m, table, self.finish_entry)
            m.next = "Judge-Entry"

    def _free_entry(self, m: Module) -> None:
        """Unless other messages are under way to it, or it is still linked."""
        tables = self.tables
        last = Signal()
        m.d.comb += last.eq(tables.begun.data == (self.before + 1)[: len(self.before)])
        with m.If(last & (tables.positions.data.state == EntryState.HELD)):
            with m.If(tables.entries.data.event_unlink_disable):
                write(m, tables.positions, self.finish_entry)
            with m.Else():
                pool = begin_write(m, tables.pools, 0)
                push_due(m, tables, pool, is_entry=1, index=self.finish_entry)
                m.d.comb += self.due.eq(1)
