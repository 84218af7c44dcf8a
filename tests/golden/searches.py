"""Commands that change or search the lists of one context."""

from collections.abc import Generator, Mapping, Sequence

from rtl.nic.parameters import NicParameters
from rtl.portals import LIST_COMMAND, EventKind, Fail, List, Operation, Refusal
from tests.golden.context import Context
from tests.golden.effects import Effects, Pause, Source
from tests.golden.lists import (
    ADDRESS_MASK,
    EntryState,
    Lists,
    MatchEntry,
    PortalEntry,
    UnexpectedHeader,
    accepts,
    fits,
    told_of,
)

LIST_OPERATIONS = (
    Operation.PT_ALLOC,
    Operation.PT_FREE,
    Operation.PT_ENABLE,
    Operation.PT_DISABLE,
    Operation.ME_APPEND,
    Operation.ME_UNLINK,
    Operation.ME_SEARCH,
)

OVERFLOW_EVENTS = {
    Operation.PUT: EventKind.PUT_OVERFLOW,
    Operation.GET: EventKind.GET_OVERFLOW,
    Operation.ATOMIC: EventKind.ATOMIC_OVERFLOW,
    Operation.FETCH_ATOMIC: EventKind.FETCH_ATOMIC_OVERFLOW,
    Operation.SWAP: EventKind.FETCH_ATOMIC_OVERFLOW,
}

# A list command stops at each Pause and goes on when it is asked to; it returns why it is refused, or NONE.
Carrying = Generator[Pause, None, Refusal]


class ListCommand:
    """One list command of a context."""

    def __init__(self, parameters: NicParameters, context: Context, lists: Lists, words: Sequence[int]) -> None:
        self._parameters = parameters
        self._context = context
        self._lists = lists
        self._fields = LIST_COMMAND.unpack(words)
        self._reserved = any(word & LIST_COMMAND.reserved_mask(i) for i, word in enumerate(words))
        number = self._fields["pt_index"]
        self._portal = lists.portals[number] if number < len(lists.portals) else PortalEntry()

    def carry_out(self, effects: Effects) -> Carrying:
        refusal = self._check()
        if refusal is not Refusal.NONE:
            return refusal
        match self._fields["operation"]:
            case Operation.PT_ALLOC:
                self._portal.allocated = self._portal.enabled = True
                self._portal.flow_control = bool(self._fields["flow_control"])
            case Operation.PT_FREE:
                self._portal.allocated = False
            case Operation.PT_ENABLE:
                self._portal.enabled = True
            case Operation.PT_DISABLE:
                self._portal.enabled = False
            case Operation.ME_UNLINK:
                self._unlink()
            case Operation.ME_APPEND:
                yield from self._append(effects)
            case Operation.ME_SEARCH:
                yield from self._search(effects)
        return Refusal.NONE

    # ---- refusals ----

    def _check(self) -> Refusal:
        if self._reserved:
            return Refusal.COMMAND_MALFORMED
        portal = self._portal
        match self._fields["operation"]:
            case Operation.PT_ALLOC:
                good = self._fields["pt_index"] < len(self._lists.portals) and not portal.allocated
            case Operation.PT_FREE:
                good = portal.allocated and not portal.headers and not any(portal.lists.values())
            case Operation.ME_UNLINK:
                good = self._entry_is(EntryState.LINKED) and not self._is_in_use(self._entry)
            case Operation.ME_APPEND:
                unused = self._entry_is(EntryState.FREE) and not self._entry.under_way
                good = portal.allocated and unused and self._counter_exists
            case Operation.ME_SEARCH:
                good = portal.allocated and self._counter_exists
            case _:
                good = portal.allocated
        return Refusal.NONE if good else Refusal.COMMAND_ENTRY

    def _is_in_use(self, entry: MatchEntry) -> bool:
        early = entry.taken and self._fields["user_data"] in self._lists.early
        return bool(entry.headers or entry.under_way or early)

    @property
    def _counter_exists(self) -> bool:
        counts = self._fields["ct_comm"] or self._fields["ct_overflow"]
        return not counts or self._fields["counter"] < self._parameters.counters

    @property
    def _entry(self) -> MatchEntry:
        return self._lists.entries[self._fields["entry"]]

    def _entry_is(self, state: EntryState) -> bool:
        return self._fields["entry"] < len(self._lists.entries) and self._entry.state is state

    # ---- entries ----

    def _unlink(self) -> None:
        entry = self._entry
        portal = self._lists.portals[entry.fields["pt_index"]]
        portal.lists[List(entry.fields["list"])].remove(entry)
        entry.state = EntryState.FREE

    def _append(self, effects: Effects) -> Generator[Pause, None, None]:
        """Links the entry, unless it is used up by an unexpected header; both are decided in one instant."""
        link_event = not self._fields["event_link_disable"]
        while True:
            if self._fields["list"] == List.PRIORITY:
                used_up = yield from self._take_headers(effects)
                if used_up:
                    return
            if self._context.reserve(link_event):
                break
            yield Pause.ROOM
        entry = self._entry
        entry.state, entry.fields, entry.local_offset, entry.taken = EntryState.LINKED, self._fields, 0, 0
        self._portal.lists[List(self._fields["list"])].append(entry)
        if link_event:
            self._write(effects, kind=EventKind.LINK, list=self._fields["list"])

    def _wanted(self, passed: Sequence[UnexpectedHeader] = ()) -> UnexpectedHeader | None:
        """The first header that the entry or search matches and that was not passed."""
        for header in self._portal.headers:
            packet = header.packet
            if header in passed or not accepts(self._fields, packet):
                continue
            offset = 0 if self._fields["manage_local"] else packet["remote_offset"]
            if fits(self._fields, offset, packet):
                return header
        return None

    def _take_headers(self, effects: Effects) -> Generator[Pause, None, bool]:
        """Gives the new entry all headers that it matches; whether it was used up thereby."""
        fields = self._fields
        over_event = not fields["event_over_disable"]
        unlink_event = bool(fields["use_once"]) and not fields["event_unlink_disable"]
        while header := self._wanted():
            if not header.complete:
                yield Pause.HEADER
            elif not self._context.reserve(over_event + self._free_event(header) + unlink_event):
                yield Pause.ROOM
            else:
                if over_event:
                    self._write_header(effects, OVERFLOW_EVENTS[Operation(header.packet["kind"])], header)
                self._count_header(effects, header)
                self._remove(effects, header)
                if fields["use_once"]:
                    if unlink_event:
                        self._write(effects, kind=EventKind.AUTO_UNLINK, list=List.PRIORITY)
                    return True
        return False

    # ---- search ----

    def _search(self, effects: Effects) -> Generator[Pause, None, None]:
        """Tells of all headers that are wanted, each one once, or of the first one. One that takes them out tells what
        an append does."""
        delete, search_event = bool(self._fields["search_delete"]), not self._fields["event_comm_disable"]
        header_event = not self._fields["event_over_disable"] if delete else search_event
        passed: list[UnexpectedHeader] = []
        while not (passed and self._fields["use_once"]):
            header = self._wanted(passed)
            if header is None:
                nothing_event = search_event and not passed
                if self._context.reserve(nothing_event):
                    self._end_search(effects, tell=nothing_event)
                    return
                yield Pause.ROOM
            elif not header.complete:
                yield Pause.HEADER
            elif not self._context.reserve(header_event + (delete and self._free_event(header))):
                yield Pause.ROOM
            else:
                passed.append(header)
                if header_event:
                    kind = OVERFLOW_EVENTS[Operation(header.packet["kind"])] if delete else EventKind.SEARCH
                    self._write_header(effects, kind, header)
                self._count_header(effects, header)
                if delete:
                    self._remove(effects, header)

    def _end_search(self, effects: Effects, *, tell: bool) -> None:
        """Nothing is found, or nothing more: told of if nothing was, counted as a failure."""
        if tell:
            self._write(effects, kind=EventKind.SEARCH, fail=Fail.NO_MATCH)
        if self._fields["ct_overflow"]:
            self._context.count_outcome(effects, self._fields["counter"], ok=False, in_bytes=False, moved=0)

    # ---- headers and events ----

    def _free_event(self, header: UnexpectedHeader) -> bool:
        return self._lists.frees_entry(header) and not header.entry.fields["event_unlink_disable"]

    def _remove(self, effects: Effects, header: UnexpectedHeader) -> None:
        """Removes a header; the place for AUTO_FREE is reserved if it has to be told."""
        tell = self._free_event(header)
        self._lists.remove(header)
        if tell:
            self._context.write_event(effects, Source.LISTS, **self._lists.freed_event(header.entry))

    def _count_header(self, effects: Effects, header: UnexpectedHeader) -> None:
        """Of appends and searches."""
        fields = self._fields
        if fields["ct_overflow"]:
            self._context.count_outcome(
                effects, fields["counter"], ok=True, in_bytes=fields["ct_bytes"], moved=header.bytes
            )

    def _write(self, effects: Effects, **fields: int) -> None:
        self._context.write_event(
            effects,
            Source.LISTS,
            pt_index=self._fields["pt_index"],
            user_data=self._fields["user_data"],
            **fields,
        )

    def _write_header(self, effects: Effects, kind: EventKind, header: UnexpectedHeader) -> None:
        """An event about an unexpected header, whose bytes lie where the overflow entry had put them."""
        packet: Mapping[str, int] = header.packet
        self._write(
            effects,
            kind=kind,
            list=List.OVERFLOW,
            start_window=header.window,
            start_offset=header.start & ADDRESS_MASK,
            requested_bytes=packet["message_bytes"],
            manipulated_bytes=header.bytes,
            **told_of(packet),
        )
