"""Finds the match entry of a message that begins."""

from amaranth import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.nic.expressions import FieldsOf, assemble
from rtl.nic.interfaces.target import MatchPort
from rtl.nic.interfaces.widths import ADDRESS_WIDTH
from rtl.nic.parameters import NicParameters
from rtl.nic.target.matching.lists import append, begin_write, push_due, read, remove, write
from rtl.nic.target.matching.places import PlacesPort
from rtl.nic.target.matching.rule import judge
from rtl.nic.target.matching.tables import ENTRY_FIELDS, HEADER_FIELDS, EntryState, TablesPort, index_width
from rtl.packets import REQUEST
from rtl.portals import LIST_COMMAND, Fail, List, Operation

MESSAGE_MEMBERS = tuple(name for name in MatchPort().members if not name.startswith("finish"))
# What is said of a match; all zero unless there is one.
_FOUND = (
    *("window", "start", "bytes", "remote_offset", "event", "unlinked", "overflow", "header"),
    *("entry", "entry_word", "user_data", "counter"),
)


class Messages(wiring.Component):
    """One message per `begin`, for which `valid` must be high; answered four cycles later for the first match entry,
    two more for each entry that lies before it.

    The message's side of MatchPort is spelt out; unless `fail` is OK all else that it says is zero. What a message
    changes is written in the cycle of `done`, in one piece. `due` pulses when an event of the context has to wait,
    `dropped` and `violated` for messages that are refused. With `obsolete` in the cycle of `begin` (the life that the
    message belongs to is over) nothing is looked at; with `stale` (the context was restarted since then) nothing is
    matched, whatever was found.
    """

    def __init__(self, parameters: NicParameters) -> None:
        self._parameters = parameters
        members = MatchPort().members
        super().__init__(
            {
                **{name: members[name].flip() for name in MESSAGE_MEMBERS},
                "begin": In(1),
                "busy": Out(1),
                "obsolete": In(1),
                "stale": In(1),
                "tables": Out(TablesPort(parameters)),
                "places": Out(PlacesPort()),
                "due": Out(1),
                "dropped": Out(1),
                "violated": Out(1),
            }
        )
        self._overtaken = Signal()  # the message was obsolete when it began
        self._message = FieldsOf(REQUEST, self.words)
        self._found = {name: Signal(members[name].shape, name=f"found_{name}") for name in _FOUND}
        entry = index_width(parameters.match_entries)
        self._current = Signal(entry)
        self._inner = Signal()  # the current entry follows `_previous`; else it is the head of its list
        self._previous = Signal(entry)
        self._in_overflow = Signal()
        self._keeps_header = Signal()
        self._selected = Signal()
        self._left = Signal(ADDRESS_WIDTH)
        self._outcome = Signal(Fail)
        self._matched = Signal()
        self._exhausted = Signal()
        self._tell = Signal()  # when the portal table entry is exhausted: its event is wanted
        self._leaves = Signal()

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        tables = self.tables
        portal = tables.portals.data
        with m.If(self.begin | self.busy):
            m.d.comb += tables.context.eq(self.context)
        with m.FSM(name="messages") as machine:
            m.d.comb += self.busy.eq(~machine.ongoing("Await-Message"))
            with m.State("Await-Message"), m.If(self.begin):
                read(m, tables.portals, self._message.pt_index)
                read(m, tables.pools, 0)
                m.d.sync += [self._outcome.eq(Fail.OK), self._matched.eq(0), self._exhausted.eq(0)]
                m.d.sync += self._overtaken.eq(self.obsolete)
                m.next = "Judge-Portal"
                with m.If(self.obsolete):
                    m.next = "Answer"
            with m.State("Judge-Portal"):
                read(m, tables.header_next, tables.pools.data.free_head)
                with m.If((self._message.pt_index >= self._parameters.portal_entries) | ~portal.allocated):
                    self._refuse(m, Fail.DROPPED)
                with m.Elif(~portal.enabled):
                    self._refuse(m, Fail.PT_DISABLED)
                with m.Elif(portal.priority.occupied):
                    self._look_at_head(m, List.PRIORITY)
                with m.Else():
                    self._look_into_overflow(m)
            with m.State("Judge-Entry"):
                self._judge(m)
                m.next = "Decide"
            with m.State("Decide"):
                with m.If(self._selected):
                    self._decide(m)
                with m.Else():
                    self._look_further(m)
            with m.State("Reserve-Places"):
                self._reserve(m, unlinked=self._found["unlinked"])
            with m.State("Answer"):
                with m.If(~(self.stale | self._overtaken)):
                    self._carry_out(m)
                with m.Else():
                    m.d.sync += [self._outcome.eq(Fail.DROPPED), self._matched.eq(0)]
                m.next = "Await-Message"
        self._answer(m, machine.ongoing("Answer"))
        return m

    def _look_at(self, m: Module, entry: Value) -> None:
        m.d.sync += self._current.eq(entry)
        for table in (self.tables.entries, self.tables.positions, self.tables.begun, self.tables.entry_next):
            read(m, table, entry)
        m.next = "Judge-Entry"

    def _look_at_head(self, m: Module, which: List) -> None:
        portal = self.tables.portals.data
        m.d.sync += [self._inner.eq(0), self._in_overflow.eq(which == List.OVERFLOW)]
        self._look_at(m, (portal.overflow if which == List.OVERFLOW else portal.priority).head)

    def _look_into_overflow(self, m: Module) -> None:
        with m.If(self.tables.portals.data.overflow.occupied):
            self._look_at_head(m, List.OVERFLOW)
        with m.Else():
            self._exhaust(m, tell=Value.cast(1))

    def _look_further(self, m: Module) -> None:
        portal = self.tables.portals.data
        with m.If(self._current != Mux(self._in_overflow, portal.overflow.tail, portal.priority.tail)):
            m.d.sync += [self._inner.eq(1), self._previous.eq(self._current)]
            self._look_at(m, self.tables.entry_next.data)
        with m.Elif(~self._in_overflow):
            self._look_into_overflow(m)
        with m.Else():
            self._exhaust(m, tell=Value.cast(1))

    def _judge(self, m: Module) -> None:
        """All that is wide, into registers, as if the entry were the one."""
        entry, found = self.tables.entries.data, self._found
        verdict = judge(m, entry, self._message, self.tables.positions.data.local_offset)
        pool = self.tables.pools.data
        kept = {name: getattr(entry, name) for name in ENTRY_FIELDS}
        m.d.sync += [
            self._selected.eq(verdict.selects & verdict.fits),
            self._left.eq(verdict.left),
            found["window"].eq(entry.window),
            found["start"].eq(entry.offset + verdict.offset),
            found["bytes"].eq(verdict.bytes),
            found["remote_offset"].eq(verdict.offset),
            found["event"].eq(~entry.event_comm_disable),
            found["overflow"].eq(self._in_overflow),
            self._keeps_header.eq(self._in_overflow & ~entry.unexpected_header_disable),
            found["header"].eq(Mux(pool.free_count.any(), pool.free_head, pool.fresh)),
            found["entry"].eq(self._current),
            found["entry_word"].eq(assemble(LIST_COMMAND, kept)[1]),
            found["user_data"].eq(entry.user_data),
            found["counter"].eq(entry.counter),
        ]

    def _decide(self, m: Module) -> None:
        """The entry selects the message; whether it allows it, and there is what it needs."""
        entry, pool = self.tables.entries.data, self.tables.pools.data
        kind = self._message.kind
        puts = kind != Operation.GET
        gets = (kind != Operation.PUT) & (kind != Operation.ATOMIC)
        headers_left = pool.free_count.any() | (pool.fresh != self._parameters.unexpected_headers)
        leaves = entry.use_once | (entry.manage_local & (self._left < entry.min_free))
        unlinked = leaves & ~entry.event_unlink_disable
        m.d.sync += [self._leaves.eq(leaves), self._found["unlinked"].eq(unlinked)]
        with m.If((puts & ~entry.op_put) | (gets & ~entry.op_get)):
            self._refuse(m, Fail.OPERATION)
        with m.Elif(self._keeps_header & ~headers_left):
            self._exhaust(m, tell=~entry.event_flow_control_disable)
        with m.Else():
            self._reserve(m, unlinked=unlinked)

    def _reserve(self, m: Module, *, unlinked: Value) -> None:
        """In this state, and if need be in those that follow."""
        places = self.places
        wanted = Signal(2)
        m.d.comb += [
            wanted.eq(self._found["event"] + unlinked),
            places.request.eq(wanted.any()),
            places.count.eq(wanted),
        ]
        m.next = "Reserve-Places"
        with m.If(~wanted.any() | (places.answered & places.granted)):
            m.d.sync += self._matched.eq(1)
            m.next = "Answer"
        with m.Elif(places.answered):
            self._exhaust(m, tell=~self.tables.entries.data.event_flow_control_disable)

    def _refuse(self, m: Module, fail: Fail) -> None:
        m.d.sync += self._outcome.eq(fail)
        m.next = "Answer"

    def _exhaust(self, m: Module, *, tell: Value) -> None:
        flow_control = self.tables.portals.data.flow_control
        m.d.sync += [
            self._outcome.eq(Mux(flow_control, Fail.PT_DISABLED, Fail.DROPPED)),
            self._exhausted.eq(flow_control),
            self._tell.eq(tell),
        ]
        m.next = "Answer"

    def _carry_out(self, m: Module) -> None:
        tables = self.tables
        m.d.comb += [
            self.dropped.eq((self._outcome == Fail.DROPPED) | (self._outcome == Fail.PT_DISABLED)),
            self.violated.eq(self._outcome == Fail.OPERATION),
        ]
        with m.If(self._matched):
            portal = begin_write(m, tables.portals, self._message.pt_index)
            self._move_on(m)
            with m.If(self._leaves):
                self._unlink(m, portal)
            with m.If(self._keeps_header):
                self._keep_header(m, portal)
        with m.Elif(self._exhausted):
            portal = begin_write(m, tables.portals, self._message.pt_index)
            m.d.comb += portal.enabled.eq(0)
            with m.If(self._tell & ~tables.portals.data.due):
                m.d.comb += [portal.due.eq(1), self.due.eq(1)]
                pool = begin_write(m, tables.pools, 0)
                push_due(m, tables, pool, is_entry=0, index=self._message.pt_index)

    def _move_on(self, m: Module) -> None:
        """What the match entry has become. One of the priority list that leaves is not held: it can be appended again
        when its messages have ended."""
        before = self.tables.positions.data
        headers = Signal.like(before.headers)
        position = begin_write(m, self.tables.positions, self._current)
        m.d.comb += [headers.eq(before.headers + self._keeps_header), position.headers.eq(headers)]
        write(m, self.tables.begun, self._current, self.tables.begun.data + 1)
        with m.If(self.tables.entries.data.manage_local):
            m.d.comb += position.local_offset.eq(before.local_offset + self._found["bytes"])
        with m.If(self._leaves):
            m.d.comb += position.state.eq(Mux(self._in_overflow, EntryState.HELD, EntryState.FREE))

    def _unlink(self, m: Module, portal: Value) -> None:
        tables = self.tables
        following = tables.entry_next.data
        for in_overflow, name in ((0, "priority"), (1, "overflow")):
            with m.If(self._in_overflow == in_overflow):
                remove(
                    m,
                    tables.portals.data[name],
                    portal[name],
                    self._current,
                    inner=self._inner,
                    previous=self._previous,
                    following=following,
                )
        with m.If(self._inner):
            write(m, tables.entry_next, self._previous, following)

    def _keep_header(self, m: Module, portal: Value) -> None:
        """Makes the unexpected header, incomplete, at the tail of the list."""
        tables, found = self.tables, self._found
        old, unexpected = tables.pools.data, tables.portals.data.unexpected
        pool = begin_write(m, tables.pools, 0)
        with m.If(old.free_count.any()):
            m.d.comb += [pool.free_head.eq(tables.header_next.data), pool.free_count.eq(old.free_count - 1)]
        with m.Else():
            m.d.comb += pool.fresh.eq(old.fresh + 1)
        append(m, unexpected, portal.unexpected, found["header"])
        with m.If(unexpected.occupied):
            write(m, tables.header_next, unexpected.tail, found["header"])
        write(m, tables.complete, found["header"], 0)
        header = write(m, tables.headers, found["header"])
        m.d.comb += [header[name].eq(getattr(self._message, name)) for name in HEADER_FIELDS]
        m.d.comb += [header[name].eq(found[name]) for name in ("window", "start", "bytes")]
        m.d.comb += header.entry.eq(self._current)

    def _answer(self, m: Module, answering: Value) -> None:
        stale = answering & (self.stale | self._overtaken)
        m.d.comb += [self.done.eq(answering), self.fail.eq(Mux(stale, Fail.DROPPED, self._outcome))]
        with m.If(self._matched & ~stale):
            m.d.comb += [getattr(self, name).eq(value) for name, value in self._found.items()]
