"""Portal table, match entries and unexpected headers of one context, as messages see them."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from rtl.nic.parameters import NicParameters
from rtl.portals import EVENT, EventKind, Fail, List, Operation
from tests.golden.context import Context

ADDRESS_MASK = (1 << 48) - 1


class EntryState(enum.Enum):
    """Of a match entry. HELD: it is in the overflow list no more, but messages to it are under way, or unexpected
    headers refer to it."""

    FREE = "free"
    LINKED = "linked"
    HELD = "held"


@dataclass(eq=False, kw_only=True)
class MatchEntry:
    """A match entry; `fields` are those of the command that appended it, `headers` counts its unexpected headers,
    `taken` the messages that it has taken, and `under_way` those of them that have not ended."""

    number: int
    state: EntryState = EntryState.FREE
    fields: Mapping[str, int] = field(default_factory=dict)
    local_offset: int = 0
    headers: int = 0
    taken: int = 0
    under_way: int = 0


@dataclass(eq=False, kw_only=True)
class UnexpectedHeader:
    """A message that the overflow list took. `packet` is its header; `start` in `window` is where its bytes lie."""

    packet: Mapping[str, int]
    entry: MatchEntry
    window: int
    start: int
    bytes: int
    complete: bool = False


@dataclass(eq=False, kw_only=True)
class PortalEntry:
    """An entry of the portal table: match entries in link order, unexpected headers in order of arrival."""

    allocated: bool = False
    enabled: bool = False
    flow_control: bool = False
    lists: dict[List, list[MatchEntry]] = field(default_factory=lambda: {which: [] for which in List})
    headers: list[UnexpectedHeader] = field(default_factory=list)


@dataclass(kw_only=True)
class Match:
    """What was found for a message; unless `fail` is OK, nothing was.

    `bytes` of the message may be touched from `start` of `window` on; `offset` is where that is in the match entry.
    Places are reserved for the message's event if `event`, and for AUTO_UNLINK if `unlink_event`. The match entry,
    `taker`, is to be told of the message's end.
    """

    fail: Fail
    taker: MatchEntry | None = None
    entry: Mapping[str, int] = field(default_factory=dict)
    list: int = 0
    window: int = 0
    start: int = 0
    offset: int = 0
    bytes: int = 0
    event: bool = False
    unlink_event: bool = False
    header: UnexpectedHeader | None = None


def told_of(packet: Mapping[str, int]) -> dict[str, int]:
    """What an event about a message says in its packet's words."""
    names = ("src_nid", "src_pid", "jid", "remote_offset", "match_bits", "header_data", "atomic_type")
    operation = packet["atomic_operation"] & EVENT.fields["atomic_operation"].mask
    return {name: packet[name] for name in names} | {"atomic_operation": operation}


def room(entry: Mapping[str, int], offset: int) -> int:
    """Bytes of a match entry from `offset` on."""
    return max(entry["length_bytes"] - offset, 0)


def accepts(entry: Mapping[str, int], packet: Mapping[str, int]) -> bool:
    """Whether bits and source of a message are those that a match entry or search wants."""
    bits = not (packet["match_bits"] ^ entry["match_bits"]) & ~entry["ignore_bits"]
    nid = entry["any_nid"] or packet["src_nid"] == entry["match_nid"]
    pid = entry["any_pid"] or packet["src_pid"] == entry["match_pid"]
    return bool(bits and nid and pid)


def fits(entry: Mapping[str, int], offset: int, packet: Mapping[str, int]) -> bool:
    """Whether the message fits from `offset` on, or may be cut."""
    return not entry["no_truncate"] or packet["message_bytes"] <= room(entry, offset)


def allows(entry: Mapping[str, int], kind: int) -> bool:
    """Whether a match entry allows a request."""
    puts = kind != Operation.GET
    gets = kind in (Operation.GET, Operation.FETCH_ATOMIC, Operation.SWAP)
    return bool((entry["op_put"] or not puts) and (entry["op_get"] or not gets))


class Lists:
    """What messages do with the lists; see `searches.py` for what commands do with them.

    A message ends some time after its last packet has come, which is hardware's to choose: `early` are unlinkings, by
    their user data, that came before their entry's message had ended, although the model says it has.
    """

    def __init__(self, parameters: NicParameters, context: Context) -> None:
        self.portals = [PortalEntry() for _ in range(parameters.portal_entries)]
        self.entries = [MatchEntry(number=number) for number in range(parameters.match_entries)]
        self.early: set[int] = set()
        self._context = context
        self.free_headers = parameters.unexpected_headers

    # ---- a message begins ----

    def match(self, packet: Mapping[str, int]) -> Match:
        """Searches for a message whose first packet has come, and takes what it needs."""
        number = packet["pt_index"]
        portal = self.portals[number] if number < len(self.portals) else PortalEntry()
        if not portal.allocated:
            return self._dropped(Fail.DROPPED)
        if not portal.enabled:
            return self._dropped(Fail.PT_DISABLED)
        which, entry = self._find(portal, packet)
        if entry is None:
            return self._out_of_resources(number, tell=True)
        tell = not entry.fields["event_flow_control_disable"]
        if not allows(entry.fields, packet["kind"]):
            self._context.violations += 1
            return Match(fail=Fail.OPERATION)
        keeps_header = which == List.OVERFLOW and not entry.fields["unexpected_header_disable"]
        if keeps_header and not self.free_headers:
            return self._out_of_resources(number, tell=tell)
        match = self._would_match(which, entry, packet)
        unlinked = self._would_unlink(entry, match.bytes)
        match.unlink_event = unlinked and not entry.fields["event_unlink_disable"]
        if not self._context.reserve(match.event + match.unlink_event):
            return self._out_of_resources(number, tell=tell)
        if entry.fields["manage_local"]:
            entry.local_offset += match.bytes
        if keeps_header:
            match.header = self._keep_header(portal, entry, match, packet)
        if unlinked:
            portal.lists[which].remove(entry)
            entry.state = EntryState.HELD if which == List.OVERFLOW else EntryState.FREE
        entry.taken += 1
        entry.under_way += 1
        match.taker = entry
        return match

    def _find(self, portal: PortalEntry, packet: Mapping[str, int]) -> tuple[List, MatchEntry | None]:
        for which in (List.PRIORITY, List.OVERFLOW):
            for entry in portal.lists[which]:
                if accepts(entry.fields, packet) and fits(entry.fields, self._offset(entry, packet), packet):
                    return which, entry
        return List.PRIORITY, None

    @staticmethod
    def _offset(entry: MatchEntry, packet: Mapping[str, int]) -> int:
        return entry.local_offset if entry.fields["manage_local"] else packet["remote_offset"]

    def _would_match(self, which: List, entry: MatchEntry, packet: Mapping[str, int]) -> Match:
        """Nothing wraps: bytes that would lie beyond the last address are in no window."""
        fields, offset = entry.fields, self._offset(entry, packet)
        start, taken = fields["offset"] + offset, min(packet["message_bytes"], room(fields, offset))
        return Match(
            fail=Fail.OK,
            entry=fields,
            list=which,
            window=fields["window"],
            start=start if taken else start & ADDRESS_MASK,
            offset=offset,
            bytes=taken,
            event=not fields["event_comm_disable"],
        )

    @staticmethod
    def _would_unlink(entry: MatchEntry, taken: int) -> bool:
        if entry.fields["use_once"]:
            return True
        left = entry.fields["length_bytes"] - entry.local_offset - taken
        return bool(entry.fields["manage_local"]) and left < entry.fields["min_free"]

    def _keep_header(
        self, portal: PortalEntry, entry: MatchEntry, match: Match, packet: Mapping[str, int]
    ) -> UnexpectedHeader:
        header = UnexpectedHeader(packet=packet, entry=entry, window=match.window, start=match.start, bytes=match.bytes)
        portal.headers.append(header)
        entry.headers += 1
        self.free_headers -= 1
        return header

    # ---- nothing for it ----

    def _dropped(self, fail: Fail) -> Match:
        self._context.dropped += 1
        return Match(fail=fail)

    def _out_of_resources(self, number: int, *, tell: bool) -> Match:
        """With flow control the portal table entry is disabled, and says so as soon as there is a place."""
        portal = self.portals[number]
        if not portal.flow_control:
            return self._dropped(Fail.DROPPED)
        portal.enabled = False
        news = {"kind": EventKind.PT_DISABLED, "pt_index": number}
        if tell and not self._context.owes(**news):
            self._context.owe_event(**news)
        return self._dropped(Fail.PT_DISABLED)

    # ---- a message ends ----

    def finish(self, match: Match, *, failed: bool) -> None:
        """The message of a match has ended; if it failed, its header goes. What was left of its entry may be gone
        thereby."""
        entry, header = match.taker, match.header
        if entry is None:
            return
        entry.under_way -= 1
        if header is not None:
            header.complete = True
            freed = failed and self.remove(header)
        else:
            freed = entry.state is EntryState.HELD and not entry.under_way
            if freed:
                entry.state = EntryState.FREE
        if freed and not entry.fields["event_unlink_disable"]:
            self._context.owe_event(**self.freed_event(entry))

    def frees_entry(self, header: UnexpectedHeader) -> bool:
        """Whether the entry of a header waits for this header alone to become free."""
        return header.entry.state is EntryState.HELD and header.entry.headers == 1

    def remove(self, header: UnexpectedHeader) -> bool:
        """Takes a header out; whether its entry becomes free thereby."""
        frees = self.frees_entry(header)
        self.portals[header.packet["pt_index"]].headers.remove(header)
        header.entry.headers -= 1
        self.free_headers += 1
        if frees:
            header.entry.state = EntryState.FREE
        return frees

    @staticmethod
    def freed_event(entry: MatchEntry) -> dict[str, int]:
        return {
            "kind": EventKind.AUTO_FREE,
            "pt_index": entry.fields["pt_index"],
            "user_data": entry.fields["user_data"],
            "list": List.OVERFLOW,
        }
