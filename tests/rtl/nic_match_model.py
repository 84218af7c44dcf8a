"""What the match unit has to do, on Python lists of objects: no indices, no links, no states."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from rtl.nic.parameters import NicParameters
from rtl.portals import EventKind, Fail, List, Operation, Refusal

KINDS = {1: "PUT", 2: "GET", 3: "ATOMIC", 4: "FETCH_ATOMIC", 5: "FETCH_ATOMIC"}


@dataclass(eq=False)
class Entry:
    """A match entry; it is gone when nobody links it, no header holds it and no message is under way to it."""

    fields: dict[str, int]
    local: int = 0
    holders: int = 0
    messages: int = 0

    def measure(self, message: dict[str, int]) -> tuple[bool, int, int]:
        """Whether the entry takes the message, the offset used, the bytes."""
        mine = self.fields.get
        offset = self.local if mine("manage_local") else message["remote_offset"]
        room = max(mine("length_bytes", 0) - offset, 0)
        differing = (mine("match_bits", 0) ^ message["match_bits"]) & ~mine("ignore_bits", 0)
        takes = (
            differing == 0
            and (mine("any_nid") or mine("match_nid", 0) == message["src_nid"])
            and (mine("any_pid") or mine("match_pid", 0) == message["src_pid"])
            and (not mine("no_truncate") or message["message_bytes"] <= room)
        )
        return bool(takes), offset, min(message["message_bytes"], room)


@dataclass(eq=False)
class Header:
    """An unexpected header."""

    message: dict[str, int]
    entry: Entry
    start: int
    bytes: int
    complete: bool = False

    def event(self, kind: int, user_data: int) -> dict[str, int]:
        names = ("pt_index", "src_nid", "src_pid", "jid", "remote_offset", "match_bits", "header_data")
        shown = {name: self.message.get(name, 0) for name in (*names, "atomic_operation", "atomic_type")}
        place = {"start_offset": self.start, "start_window": self.entry.fields["window"]}
        sizes = {"requested_bytes": self.message["message_bytes"], "manipulated_bytes": self.bytes}
        return {"kind": kind, "user_data": user_data, "list": List.OVERFLOW, **shown, **place, **sizes}


@dataclass(eq=False)
class Portal:
    flow_control: int
    enabled: bool = True
    lists: tuple[list[Entry], list[Entry]] = field(default_factory=lambda: ([], []))
    unexpected: list[Header] = field(default_factory=list)


class Life:
    """All that one context has between two restarts."""

    def __init__(self, places: int) -> None:
        self.free = places
        self.portals: dict[int, Portal] = {}
        self.entries: dict[int, Entry] = {}
        self.waiting: list[int | Entry] = []  # PT_DISABLED of a pt_index, AUTO_FREE of an entry


class Model:
    """`told` and `answered` as those of the bench, but that events have their zero fields, too."""

    def __init__(self, parameters: NicParameters, *, places: int) -> None:
        self.parameters = parameters
        self.places = places
        self.lives = [Life(places) for _ in range(parameters.contexts)]
        self.told: list[Any] = []
        self.answered: list[int] = []
        self._commands: dict[int, Iterator[None]] = {}  # those that wait, by context

    # ---- messages ----

    def match(self, context: int, message: dict[str, int]) -> tuple[dict[str, int], tuple[Entry | None, Header | None]]:
        """The answers that matter; the entry that takes the message, and the header that was made."""
        life = self.lives[context]
        portal = life.portals.get(message["pt_index"])
        nothing = None, None
        if portal is None:
            return {"fail": Fail.DROPPED}, nothing
        if not portal.enabled:
            return {"fail": Fail.PT_DISABLED}, nothing
        for which in List:
            for entry in portal.lists[which]:
                takes, offset, length = entry.measure(message)
                if takes:
                    return self._take(context, portal, which, entry, message, offset, length)
        return self._exhaust(life, portal, message["pt_index"], tell=True), nothing

    def _exhaust(self, life: Life, portal: Portal, pt_index: int, *, tell: bool) -> dict[str, int]:
        if not portal.flow_control:
            return {"fail": Fail.DROPPED}
        portal.enabled = False
        if tell and pt_index not in life.waiting:
            life.waiting.append(pt_index)
        return {"fail": Fail.PT_DISABLED}

    def _take(
        self,
        context: int,
        portal: Portal,
        which: List,
        entry: Entry,
        message: dict[str, int],
        offset: int,
        length: int,
    ) -> tuple[dict[str, int], tuple[Entry | None, Header | None]]:
        life, mine = self.lives[context], entry.fields.get
        kind = message["kind"]
        if (kind != Operation.GET and not mine("op_put")) or (kind in (2, 4, 5) and not mine("op_get")):
            return {"fail": Fail.OPERATION}, (None, None)
        keeps = which is List.OVERFLOW and not mine("unexpected_header_disable")
        kept = sum(len(other.unexpected) for other in life.portals.values())
        after = entry.local + (length if mine("manage_local") else 0)
        leaves = bool(mine("use_once")) or bool(
            mine("manage_local") and mine("length_bytes", 0) - after < mine("min_free", 0)
        )
        event = not mine("event_comm_disable")
        unlinked = leaves and not mine("event_unlink_disable")
        if (keeps and kept == self.parameters.unexpected_headers) or event + unlinked > life.free:
            tell = not mine("event_flow_control_disable")
            return self._exhaust(life, portal, message["pt_index"], tell=tell), (None, None)
        life.free -= event + unlinked
        entry.local = after
        header = None
        start = (mine("offset", 0) + offset) % 2**49
        if keeps:
            header = Header(message, entry, start % 2**48, length)
            portal.unexpected.append(header)
            entry.holders += 1
        if leaves:
            portal.lists[which].remove(entry)
        entry.messages += 1
        answers = {"start": start, "bytes": length, "remote_offset": offset, "user_data": mine("user_data", 0)}
        answers |= {"window": mine("window", 0), "counter": mine("counter", 0)}
        answers |= {"fail": Fail.OK, "event": event, "unlinked": unlinked, "overflow": which}
        return answers, (entry, header)

    def finish(self, context: int, entry: Entry, header: Header | None, *, failed: bool) -> None:
        life = self.lives[context]
        entry.messages -= 1
        if header:
            header.complete = True
            if not failed or not self._remove(life, life.portals[header.message["pt_index"]], header):
                return
        elif entry.messages or any(entry in chain for portal in life.portals.values() for chain in portal.lists):
            return
        if entry.fields.get("event_unlink_disable") or not entry.fields.get("list"):
            self._forget(life, entry)
        else:
            life.waiting.append(entry)

    def _remove(self, life: Life, portal: Portal, header: Header) -> bool:
        """Whether the header was the last thing that held its entry."""
        portal.unexpected.remove(header)
        header.entry.holders -= 1
        return not header.entry.holders and header.entry not in portal.lists[List.OVERFLOW]

    def _forget(self, life: Life, entry: Entry) -> None:
        life.entries = {index: other for index, other in life.entries.items() if other is not entry}

    # ---- commands ----

    def post(self, context: int, command: dict[str, int]) -> None:
        self._commands[context] = self._carry_out(context, command)

    def busy(self, context: int) -> bool:
        return context in self._commands

    def _carry_out(self, context: int, command: dict[str, int]) -> Iterator[None]:
        life, operation = self.lives[context], command["operation"]
        pt_index = command.get("pt_index", 0)
        portal = life.portals.get(pt_index)
        entry = life.entries.get(command.get("entry", 0))
        refusal = Refusal.NONE
        if operation == Operation.ME_UNLINK:
            lists = [chain for other in life.portals.values() for chain in other.lists if entry in chain]
            if entry is None or not lists or entry.holders or entry.messages:
                refusal = Refusal.COMMAND_ENTRY
            else:
                lists[0].remove(entry)
                self._forget(life, entry)
        elif operation == Operation.PT_ALLOC:
            if portal or pt_index >= self.parameters.portal_entries:
                refusal = Refusal.COMMAND_ENTRY
            else:
                life.portals[pt_index] = Portal(command.get("flow_control", 0))
        elif portal is None:
            refusal = Refusal.COMMAND_ENTRY
        elif operation == Operation.PT_FREE:
            if portal.unexpected or any(portal.lists):
                refusal = Refusal.COMMAND_ENTRY
            else:
                del life.portals[pt_index]
        elif operation in (Operation.PT_ENABLE, Operation.PT_DISABLE):
            portal.enabled = operation == Operation.PT_ENABLE
        else:
            counts = command.get("ct_comm") or command.get("ct_overflow")
            no_counter = counts and command.get("counter", 0) >= self.parameters.counters
            no_entry = bool(entry) or command.get("entry", 0) >= self.parameters.match_entries
            if operation == Operation.ME_SEARCH and not no_counter:
                yield from self._search(context, life, portal, command)
            elif no_counter or no_entry:
                refusal = Refusal.COMMAND_ENTRY
            else:
                yield from self._append(context, life, portal, command)
        self.answered.append(refusal)

    def _next_header(self, portal: Portal, seeker: Entry, seen: list[Header]) -> Header | None:
        for header in portal.unexpected:
            if header not in seen and seeker.measure(header.message)[0]:
                return header
        return None

    def _gather(
        self, life: Life, portal: Portal, seeker: Entry, *, removes: bool, end: bool, header_event: bool
    ) -> Iterator[Header | None]:
        """Headers, each when there are places for what it causes; None while there is something to wait for.

        `held` places are kept while others are wanted, and go back in the end.
        """
        held, seen = 0, list[Header]()
        while header := self._next_header(portal, seeker, seen):
            entry = header.entry
            last = entry.holders == 1 and entry not in portal.lists[List.OVERFLOW]
            freed = removes and last and not entry.fields.get("event_unlink_disable")
            need = header_event + freed + end
            if not header.complete:
                yield None
                continue
            if held < need:
                if not life.free:
                    yield None
                else:
                    life.free -= 1
                    held += 1
                continue
            held -= need
            seen.append(header)
            life.free += held  # nobody looks before the next one is weighed
            yield header
            life.free -= held
        life.free += held

    def _step_over(self, context: int, life: Life, portal: Portal, header: Header) -> None:
        if self._remove(life, portal, header):
            self._forget(life, header.entry)
            if not header.entry.fields.get("event_unlink_disable"):
                self._tell(context, self._auto_free(header.entry))

    def _append(self, context: int, life: Life, portal: Portal, command: dict[str, int]) -> Iterator[None]:
        mine = command.get
        new, which = Entry(command), command.get("list", 0)
        told = {"pt_index": mine("pt_index", 0), "user_data": mine("user_data", 0), "list": which}
        end = bool(mine("use_once")) and not mine("event_unlink_disable")
        event = not mine("event_over_disable")
        if which == List.PRIORITY:
            found = self._gather(life, portal, new, removes=True, end=end, header_event=event)
            for header in found:
                if header is None:
                    yield None
                    continue
                self._tell_of_header(context, header, command, removed=True)
                self._step_over(context, life, portal, header)
                if mine("use_once"):
                    if end:
                        self._tell(context, {"kind": EventKind.AUTO_UNLINK, **told})
                    return
        while not mine("event_link_disable") and not life.free:
            yield None
            # New headers may have come meanwhile: from the beginning.
            yield from self._append(context, life, portal, command)
            return
        life.free -= not mine("event_link_disable")
        portal.lists[which].append(new)
        life.entries[command["entry"]] = new
        if not mine("event_link_disable"):
            self._tell(context, {"kind": EventKind.LINK, **told})

    def _tell_of_header(self, context: int, header: Header, command: dict[str, int], *, removed: bool) -> None:
        """As far as the append or search wants it."""
        mine = command.get
        name = KINDS[header.message["kind"]] + "_OVERFLOW" if removed else "SEARCH"
        unwanted = mine("event_over_disable" if removed else "event_comm_disable")
        shown = None if unwanted else header.event(EventKind[name], mine("user_data", 0))
        amount = header.bytes if mine("ct_bytes") else 1
        counter = (mine("counter", 0), amount, 0) if mine("ct_overflow") else None
        if shown or counter:
            self._tell(context, shown, counter)

    def _search(self, context: int, life: Life, portal: Portal, command: dict[str, int]) -> Iterator[None]:
        mine = command.get
        removes, silent = bool(mine("search_delete")), bool(mine("event_comm_disable"))
        header_event = not (mine("event_over_disable") if removes else silent)
        found = False
        gathered = self._gather(life, portal, Entry(command), removes=removes, end=False, header_event=header_event)
        for header in gathered:
            if header is None:
                yield None
                continue
            found = True
            self._tell_of_header(context, header, command, removed=removes)
            if removes:
                self._step_over(context, life, portal, header)
            if mine("use_once"):
                return
        if not (found or silent):
            if not life.free:
                yield None
                yield from self._search(context, life, portal, command)
                return
            life.free -= 1
            nothing = {"kind": EventKind.SEARCH, "fail": Fail.NO_MATCH, "user_data": mine("user_data", 0)}
            self._tell(context, {**nothing, "pt_index": mine("pt_index", 0)})
        if mine("ct_overflow"):
            self._tell(context, None, (mine("counter", 0), 0, 1))

    # ---- events, time ----

    def _auto_free(self, entry: Entry) -> dict[str, int]:
        mine = entry.fields.get
        told = {"pt_index": mine("pt_index", 0), "user_data": mine("user_data", 0), "list": List.OVERFLOW}
        return {"kind": EventKind.AUTO_FREE, **told}

    def _tell(self, context: int, event: dict[str, int] | None, counter: tuple[int, int, int] | None = None) -> None:
        shown = {name: int(value) for name, value in event.items() if value} if event else None
        self.told.append((context, shown, counter))

    def restart(self, context: int) -> None:
        self.lives[context] = Life(self.places)
        if self._commands.pop(context, None):
            self.answered.append(Refusal.NONE)

    def settle(self) -> None:
        """All that can go on by itself: first the events that wait, then the commands."""
        for context, life in enumerate(self.lives):
            while life.waiting and life.free:
                life.free -= 1
                item = life.waiting.pop(0)
                if isinstance(item, Entry):
                    self._forget(life, item)
                    self._tell(context, self._auto_free(item))
                else:
                    self._tell(context, {"kind": EventKind.PT_DISABLED, "pt_index": item})
        for context, command in list(self._commands.items()):
            if next(command, "over") == "over":
                del self._commands[context]
