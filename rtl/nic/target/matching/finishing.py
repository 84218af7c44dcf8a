"""What becomes of an unexpected header when its message has ended."""

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.nic.interfaces.target import MatchPort
from rtl.nic.parameters import NicParameters
from rtl.nic.target.matching.lists import free_header, frees_entry, push_due, read, unlink_header, write
from rtl.nic.target.matching.tables import TablesPort, index_width

FINISH_MEMBERS = tuple(name for name in MatchPort().members if name.startswith("finish"))


class Finishing(wiring.Component):
    """One `finish` per `begin`: a good header is complete in the same cycle; a failed one is looked for in its list,
    one header in a cycle, and removed.

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
                "begin": In(1),
                "busy": Out(1),
                "obsolete": In(1),
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
            with m.State("Await-End"), m.If(self.begin):
                with m.If(self.obsolete):
                    m.d.comb += self.finish_ready.eq(1)
                with m.Elif(~self.finish_failed):
                    write(m, tables.complete, header, 1)
                    m.d.comb += [self.finish_ready.eq(1), self.finished.eq(1)]
                with m.Else():
                    read(m, tables.headers, header)
                    read(m, tables.header_next, header)
                    read(m, tables.pools, 0)
                    m.next = "Read-Portal"
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
