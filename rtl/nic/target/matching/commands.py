"""Carries out the commands for portal table, match entries and searches."""

import enum
from typing import Any

from amaranth import C, Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.nic.expressions import FieldsOf
from rtl.nic.interfaces.initiator import ListPort
from rtl.nic.interfaces.reports import EventPort
from rtl.nic.parameters import NicParameters
from rtl.nic.target.matching.lists import (
    append,
    begin_write,
    free_header,
    frees_entry,
    read,
    remove,
    unlink_header,
    write,
)
from rtl.nic.target.matching.places import PlacesPort
from rtl.nic.target.matching.progress import PLACES_WIDTH, progress_layout
from rtl.nic.target.matching.reports import Report, Reports, removes_headers, tells_of_headers
from rtl.nic.target.matching.rule import judge
from rtl.nic.target.matching.tables import ENTRY_FIELDS, EntryState, TablesPort, count_width, index_width
from rtl.portals import LIST_COMMAND, List, Operation, Refusal


class _Step(enum.IntEnum):
    """What the places are for."""

    HEADER = 0
    LINK = 1
    SEARCH_END = 2


class Commands(wiring.Component):
    """Works on the command at `i_list` from each `begin` until it is answered: carried out, refused, or deferred, if it
    lacks a place in its event queue, if it wants a header whose message has not ended, or if it has passed or taken a
    header and `others` wait who go first. `resume` has a bit for each context whose command would get on.

    When a command is deferred the lists are consistent. `known` is how far the context's command has come before;
    `store` keeps what is `kept` of it. What was reported is not reported again, and new headers come in at the tail.
    Places that were reserved while others were still wanted are kept. `obsolete`: the context's life is over.

    The cycle after `look`, `ended` is how many messages of the command's match entry have ended. It is looked up one
    cycle after the command's turn has begun: an end that was told before is counted by then, so whoever has been told
    of all messages of an entry can unlink it.
    """

    def __init__(self, parameters: NicParameters) -> None:
        self._parameters = parameters
        progress = progress_layout(parameters)
        super().__init__(
            {
                "i_list": In(ListPort(parameters.contexts)),
                "begin": In(1),
                "busy": Out(1),
                "obsolete": In(1),
                "resume": In(parameters.contexts),
                "others": In(1),
                "look": Out(1),
                "ended": In(count_width(parameters)),
                "known": In(progress),
                "store": Out(1),
                "kept": Out(progress),
                "tables": Out(TablesPort(parameters)),
                "places": Out(PlacesPort()),
                "o_event": Out(EventPort()),
            }
        )
        self._command = FieldsOf(LIST_COMMAND, self.i_list.words)
        self._refusal = Signal(8)
        self._now: Any = Signal(progress)
        self._selected = Signal()
        # Events of the next step, and their places.
        self._step = Signal(_Step)
        self._wanted = Signal(len(Report))
        self._needed = Signal(PLACES_WIDTH)
        # On the way along a list to the entry that is to be unlinked.
        entry = index_width(parameters.match_entries)
        self._current = Signal(entry)
        self._entry_inner = Signal()
        self._entry_previous = Signal(entry)

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        tables, incoming = self.tables, self.i_list
        self._reports = m.submodules.reports = Reports(self._parameters)
        self._connect_reports(m)
        m.d.comb += incoming.resume.eq(self.resume)
        with m.If(self.begin | self.busy):
            m.d.comb += tables.context.eq(incoming.context)
        with m.FSM(name="commands") as machine:
            m.d.comb += self.busy.eq(~machine.ongoing("Await-Command"))
            with m.State("Await-Command"), m.If(self.begin):
                read(m, tables.portals, self._command.pt_index)
                read(m, tables.entries, self._command.entry)
                read(m, tables.positions, self._command.entry)
                read(m, tables.begun, self._command.entry)
                m.d.sync += [self._now.eq(self.known), self._refusal.eq(Refusal.NONE)]
                m.d.sync += [self._now.await_room.eq(0), self._now.await_end.eq(0)]
                with m.If(self.obsolete):
                    m.next = "Answer"
                with m.Else():
                    m.next = "Look-Up-Ends"
            with m.State("Look-Up-Ends"):
                m.d.comb += self.look.eq(1)
                m.next = "Judge-Command"
            with m.State("Judge-Command"):
                self._begin(m)
            self._add_search(m)
            self._add_reservation(m)
            self._add_entry_states(m)
            with m.State("Defer"):
                with m.If(self.obsolete):
                    m.next = "Answer"
                with m.Else():
                    self._answer(m, deferred=1)
                    m.next = "Await-Command"
            with m.State("Answer"):
                self._answer(m, deferred=0)
                m.next = "Await-Command"
        return m

    # ---- what is asked for ----

    def _begin(self, m: Module) -> None:
        command, refusal = self._command, Signal(8)
        m.d.comb += refusal.eq(self._judge(m))
        with m.If(refusal != Refusal.NONE):
            m.d.sync += self._refusal.eq(refusal)
            m.next = "Answer"
        with m.Elif(command.operation == Operation.ME_UNLINK):
            read(m, self.tables.portals, self.tables.entries.data.pt_index)
            m.next = "Find-Entry"
        with m.Elif((command.operation == Operation.ME_APPEND) & (command.list == List.OVERFLOW)):
            self._conclude(m)
        with m.Elif((command.operation == Operation.ME_APPEND) | (command.operation == Operation.ME_SEARCH)):
            self._search_on(m)
        with m.Else():
            self._change_portal(m)
            m.next = "Answer"

    def _judge(self, m: Module) -> Value:
        command, parameters = self._command, self._parameters
        portal, position = self.tables.portals.data, self.tables.positions.data
        portal_exists = command.pt_index < parameters.portal_entries
        entry_exists = command.entry < parameters.match_entries
        allocated = portal_exists & portal.allocated
        used = portal.priority.occupied | portal.overflow.occupied | portal.unexpected.occupied
        counter_missing = (command.ct_comm | command.ct_overflow) & (command.counter >= parameters.counters)
        under_way = Signal()
        wrong, unknown = Signal(), Signal()
        m.d.comb += under_way.eq(self.tables.begun.data != self.ended)
        with m.Switch(command.operation):
            with m.Case(Operation.PT_ALLOC):
                m.d.comb += wrong.eq(~portal_exists | portal.allocated)
            with m.Case(Operation.PT_FREE):
                m.d.comb += wrong.eq(~allocated | used)
            with m.Case(Operation.PT_ENABLE, Operation.PT_DISABLE):
                m.d.comb += wrong.eq(~allocated)
            with m.Case(Operation.ME_SEARCH):
                m.d.comb += wrong.eq(~allocated | counter_missing)
            with m.Case(Operation.ME_APPEND):
                free = entry_exists & (position.state == EntryState.FREE) & ~under_way
                m.d.comb += wrong.eq(~allocated | ~free | counter_missing)
            with m.Case(Operation.ME_UNLINK):
                linked = entry_exists & (position.state == EntryState.LINKED)
                m.d.comb += wrong.eq(~linked | position.headers.any() | under_way)
            with m.Default():
                m.d.comb += unknown.eq(1)
        reserved = Cat(
            (word & C(LIST_COMMAND.reserved_mask(index), 64)).any() for index, word in enumerate(self.i_list.words)
        )
        return Mux(unknown | reserved.any(), Refusal.COMMAND_MALFORMED, Mux(wrong, Refusal.COMMAND_ENTRY, Refusal.NONE))

    def _change_portal(self, m: Module) -> None:
        operation = self._command.operation
        portal = begin_write(m, self.tables.portals, self._command.pt_index)
        m.d.comb += portal.enabled.eq((operation == Operation.PT_ALLOC) | (operation == Operation.PT_ENABLE))
        with m.If(operation == Operation.PT_ALLOC):
            m.d.comb += [portal.allocated.eq(1), portal.flow_control.eq(self._command.flow_control)]
        with m.If(operation == Operation.PT_FREE):
            m.d.comb += portal.allocated.eq(0)

    # ---- search in the unexpected headers ----

    def _search_on(self, m: Module) -> None:
        """To the header behind the one that was passed; the portal table entry has been read."""
        unexpected = self.tables.portals.data.unexpected
        with m.If(~unexpected.occupied | (self._now.passing & (self._now.passed == unexpected.tail))):
            self._conclude(m)
        with m.Elif(self._now.passing):
            read(m, self.tables.header_next, self._now.passed)
            m.next = "Read-Header"
        with m.Else():
            self._look_at(m, unexpected.head)

    def _look_at(self, m: Module, header: Value) -> None:
        m.d.sync += self._now.header.eq(header)
        for table in (self.tables.headers, self.tables.header_next, self.tables.complete):
            read(m, table, header)
        m.next = "Judge-Header"

    def _add_search(self, m: Module) -> None:
        tables, command = self.tables, self._command
        verdict = judge(m, command, tables.headers.data, C(0, 1))
        with m.State("Read-Portal"):
            read(m, tables.portals, command.pt_index)
            m.next = "Search-On"
            with m.If(self.others):
                m.next = "Defer"
        with m.State("Search-On"):
            self._search_on(m)
        with m.State("Read-Header"):
            self._look_at(m, tables.header_next.data)
        with m.State("Judge-Header"):
            m.d.sync += self._selected.eq(verdict.selects & verdict.fits)
            m.next = "Decide-Header"
        with m.State("Decide-Header"):
            with m.If(~self._selected):
                m.d.sync += [self._now.passing.eq(1), self._now.passed.eq(self._now.header)]
                with m.If(self._now.header == tables.portals.data.unexpected.tail):
                    self._conclude(m)
                with m.Elif(self.others):
                    m.next = "Defer"
                with m.Else():
                    self._look_at(m, tables.header_next.data)
            with m.Elif(~tables.complete.data):
                m.d.sync += self._now.await_end.eq(1)
                m.next = "Defer"
            with m.Else():
                read(m, tables.positions, tables.headers.data.entry)
                read(m, tables.entries, tables.headers.data.entry)
                read(m, tables.pools, 0)
                m.next = "Weigh-Header"
        with m.State("Weigh-Header"):
            self._weigh(m)
        with m.State("Unlink-Header"):
            unlink_header(m, tables, self._now.header, inner=self._now.passing, previous=self._now.passed)
            m.next = "Free-Header"
        with m.State("Free-Header"):
            free_header(m, tables, self._now.header, keep=C(0, 1))
            m.next = "Start-Reports"

    def _weigh(self, m: Module) -> None:
        """Which events the header's removal gives."""
        command = self._command
        appends = command.operation == Operation.ME_APPEND
        removes = removes_headers(command)
        header_event = tells_of_headers(command)
        freed = removes & frees_entry(self.tables) & ~self.tables.entries.data.event_unlink_disable
        unlinked = appends & command.use_once & ~command.event_unlink_disable
        m.d.sync += [
            self._step.eq(_Step.HEADER),
            self._wanted[Report.HEADER].eq(header_event | command.ct_overflow),
            self._wanted[Report.AUTO_FREE].eq(freed),
            self._wanted[Report.AUTO_UNLINK].eq(unlinked),
            self._wanted[Report.CONCLUSION].eq(0),
            self._wanted[Report.NOTHING_MORE].eq(0),
            self._needed.eq(header_event + freed + unlinked),
        ]
        m.next = "Reserve-Places"

    def _conclude(self, m: Module) -> None:
        """No more headers: an append links its entry, a search is over."""
        command = self._command
        links = command.operation == Operation.ME_APPEND
        told = Mux(links, ~command.event_link_disable, ~(command.event_comm_disable | self._now.found))
        m.d.sync += [
            self._step.eq(Mux(links, _Step.LINK, _Step.SEARCH_END)),
            self._wanted.eq(0),
            self._wanted[Report.CONCLUSION].eq(told),
            self._wanted[Report.NOTHING_MORE].eq(~links & command.ct_overflow),
            self._needed.eq(told),
        ]
        m.next = "Reserve-Places"

    # ---- places and events ----

    def _add_reservation(self, m: Module) -> None:
        """One place at a time, so that `room` tells when the next attempt is worth it."""
        places = self.places
        with m.State("Reserve-Places"):
            with m.If(self._now.held >= self._needed):
                with m.If(self._step == _Step.LINK):
                    m.next = "Link-Entry"
                with m.Elif((self._step == _Step.HEADER) & removes_headers(self._command)):
                    m.next = "Unlink-Header"
                with m.Else():
                    m.next = "Start-Reports"
            with m.Else():
                m.d.comb += [places.request.eq(1), places.count.eq(1)]
                with m.If(places.answered & places.granted):
                    m.d.sync += self._now.held.eq(self._now.held + 1)
                with m.Elif(places.answered):
                    m.d.sync += self._now.await_room.eq(1)
                    m.next = "Defer"
        with m.State("Start-Reports"):
            m.d.comb += self._reports.start.eq(1)
            m.next = "Report"
        with m.State("Report"):
            with m.If(self._reports.used):
                m.d.sync += self._now.held.eq(self._now.held - 1)
            with m.If(~self._reports.busy):
                m.d.sync += self._now.found.eq(1)
                with m.If((self._step != _Step.HEADER) | self._command.use_once):
                    m.next = "Answer"
                with m.Else():
                    with m.If(~removes_headers(self._command)):
                        m.d.sync += [self._now.passing.eq(1), self._now.passed.eq(self._now.header)]
                    m.next = "Read-Portal"

    def _connect_reports(self, m: Module) -> None:
        reports, incoming, tables = self._reports, self.i_list, self.tables
        wiring.connect(m, wiring.flipped(self.o_event), reports.o_event)
        m.d.comb += [
            reports.context.eq(incoming.context),
            reports.epoch.eq(incoming.epoch),
            reports.header.eq(tables.headers.data),
            reports.freed_user_data.eq(tables.entries.data.user_data),
            reports.wanted.eq(self._wanted),
            *(theirs.eq(word) for theirs, word in zip(reports.words, incoming.words, strict=True)),
        ]

    # ---- match entries ----

    def _add_entry_states(self, m: Module) -> None:
        tables, command = self.tables, self._command
        with m.State("Link-Entry"):
            self._link(m)
            m.next = "Start-Reports"
        with m.State("Find-Entry"):
            portal = tables.portals.data
            head = Mux(tables.entries.data.list == List.OVERFLOW, portal.overflow.head, portal.priority.head)
            m.d.sync += [self._current.eq(head), self._entry_inner.eq(0)]
            read(m, tables.entry_next, head)
            m.next = "Find-Next"
        with m.State("Find-Next"):
            following = tables.entry_next.data
            with m.If(self._current == command.entry):
                self._unlink(m)
                m.next = "Answer"
            with m.Else():
                m.d.sync += [
                    self._entry_inner.eq(1),
                    self._entry_previous.eq(self._current),
                    self._current.eq(following),
                ]
                read(m, tables.entry_next, following)

    def _link(self, m: Module) -> None:
        tables, command = self.tables, self._command
        entry = write(m, tables.entries, command.entry)
        m.d.comb += [entry[name].eq(getattr(command, name)) for name in ENTRY_FIELDS]
        position = write(m, tables.positions, command.entry)
        m.d.comb += position.state.eq(EntryState.LINKED)
        portal = begin_write(m, tables.portals, command.pt_index)
        for which, name in ((List.PRIORITY, "priority"), (List.OVERFLOW, "overflow")):
            with m.If(command.list == which):
                old = tables.portals.data[name]
                append(m, old, portal[name], command.entry)
                with m.If(old.occupied):
                    write(m, tables.entry_next, old.tail, command.entry)

    def _unlink(self, m: Module) -> None:
        tables = self.tables
        entry, following = tables.entries.data, tables.entry_next.data
        portal = begin_write(m, tables.portals, entry.pt_index)
        for which, name in ((List.PRIORITY, "priority"), (List.OVERFLOW, "overflow")):
            with m.If(entry.list == which):
                old = tables.portals.data[name]
                inner, previous = self._entry_inner, self._entry_previous
                remove(m, old, portal[name], self._current, inner=inner, previous=previous, following=following)
        with m.If(self._entry_inner):
            write(m, tables.entry_next, self._entry_previous, following)
        write(m, tables.positions, self._current)

    # ---- the end ----

    def _answer(self, m: Module, *, deferred: int) -> None:
        """Unless the command is deferred nothing of it is kept. Places are left over only when the context's life is
        over, with which they are forgotten."""
        m.d.comb += [
            self.i_list.ready.eq(1),
            self.i_list.deferred.eq(deferred),
            self.i_list.refusal.eq(self._refusal),
            self.store.eq(1),
        ]
        if deferred:
            m.d.comb += self.kept.eq(self._now)
