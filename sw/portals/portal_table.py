"""What a target offers: entries of its portal table, and match entries in their lists.

Ref: Portals 4, sections 3.7, 3.11 and 3.12.

The hardware has a number of match entries for each context, and the application says which one to use. `PortalTable`
keeps the list of the free ones: give every event of the endpoint to `observe`.
"""

from dataclasses import dataclass

from rtl.portals import LIST_COMMAND, EventKind, List, Operation
from sw.portals.endpoint import Endpoint, EndpointError
from sw.portals.events import ENTRY_DATA_BITS, Event

ALL_BITS = (1 << 64) - 1


@dataclass(frozen=True, kw_only=True)
class Source:
    """Whose messages match; None: any."""

    nid: int | None = None
    pid: int | None = None


ANYBODY = Source()


@dataclass(frozen=True, kw_only=True)
class MatchEntry:
    """`length_bytes` from byte `offset` of a window, for messages whose match bits are `match_bits` but for
    `ignore_bits`. `user_data` has 48 bits. The other fields are Portals' options and the flags of events and of the
    counting event `counter`."""

    window: int = 0
    offset: int = 0
    length_bytes: int = 0
    match_bits: int = 0
    ignore_bits: int = 0
    source: Source = ANYBODY
    user_data: int = 0
    min_free: int = 0
    counter: int = 0
    op_put: bool = False
    op_get: bool = False
    ack_disable: bool = False
    no_truncate: bool = False
    manage_local: bool = False
    use_once: bool = False
    unexpected_header_disable: bool = False
    event_link_disable: bool = False
    event_comm_disable: bool = False
    event_flow_control_disable: bool = False
    event_success_disable: bool = False
    event_over_disable: bool = False
    event_unlink_disable: bool = False
    ct_comm: bool = False
    ct_overflow: bool = False
    ct_bytes: bool = False

    def words(self, **command: int) -> list[int]:
        """A list command with this entry. ValueError if a value does not fit."""
        source = self.source
        fields = {name: value for name, value in vars(self).items() if name != "source"}
        return LIST_COMMAND.pack(
            **fields
            | {"match_nid": source.nid or 0, "match_pid": source.pid or 0}
            | {"any_nid": source.nid is None, "any_pid": source.pid is None}
            | command
        )


class PortalTable:
    """The portal table of an endpoint's context, and its match entries. Commands are carried out in order, after the
    call; one that is refused gives an event REFUSED. All calls may raise EndpointError.

    Match entries are told apart by the upper bits of their user data: that of the context's other commands should have
    ENTRY_DATA_BITS at most.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        """Of a context that has linked nothing yet."""
        self._endpoint = endpoint
        self._free = list(reversed(range(endpoint.handle.limits.match_entries)))
        self._used: dict[int, bool] = {}  # entry -> whether AUTO_UNLINK is the last that is heard of it

    # ---- portal table entries ----

    def allocate(self, pt_index: int, *, flow_control: bool = False, user_data: int = 0) -> None:
        """Make an entry, enabled. `flow_control`: a message that finds no room disables it, instead of being lost."""
        self._do(Operation.PT_ALLOC, pt_index, flow_control=flow_control, user_data=user_data)

    def free(self, pt_index: int, *, user_data: int = 0) -> None:
        """Take an entry away; refused while anything is in its lists."""
        self._do(Operation.PT_FREE, pt_index, user_data=user_data)

    def enable(self, pt_index: int, *, user_data: int = 0) -> None:
        """Let messages in again."""
        self._do(Operation.PT_ENABLE, pt_index, user_data=user_data)

    def disable(self, pt_index: int, *, user_data: int = 0) -> None:
        """Let no message in; their senders are told."""
        self._do(Operation.PT_DISABLE, pt_index, user_data=user_data)

    def _do(self, operation: Operation, pt_index: int, **fields: int) -> None:
        self._endpoint.submit(LIST_COMMAND.pack(operation=operation, pt_index=pt_index, **fields))

    # ---- match entries ----

    def append(self, pt_index: int, entry: MatchEntry, *, to: List = List.PRIORITY) -> int:
        """Link an entry at the end of a list; its number. Messages that came before, and that an entry of the overflow
        list took, match it first."""
        if entry.user_data >> ENTRY_DATA_BITS:
            raise ValueError(f"user_data: {entry.user_data:#x} has more than {ENTRY_DATA_BITS} bits; use fewer")
        if not self._free:
            raise EndpointError(
                f"match entries: all {len(self._used)} of context {self._endpoint.handle.index} are in use; unlink "
                "some, or give their events to observe"
            )
        number = self._free.pop()
        tagged = (number + 1) << ENTRY_DATA_BITS | entry.user_data
        try:
            words = entry.words(
                operation=Operation.ME_APPEND, pt_index=pt_index, list=to, entry=number, user_data=tagged
            )
        except ValueError:
            self._free.append(number)
            raise
        self._used[number] = to == List.PRIORITY
        self._endpoint.submit(words)
        return number

    def unlink(self, number: int) -> bool:
        """Take an entry out; False if it is in use (PTL_IN_USE): a message used it up already, one that matched it is
        under way, or headers refer to it. Waits until the NIC has done so: then nothing touches its memory any more."""
        before = self._endpoint.complete()
        self._endpoint.submit(LIST_COMMAND.pack(operation=Operation.ME_UNLINK, entry=number))
        if self._endpoint.complete() != before:
            return False
        self.give_back(number)
        return True

    def search(self, pt_index: int, entry: MatchEntry, *, delete: bool = False, user_data: int = 0) -> None:
        """Look for messages that the overflow list took and that `entry` matches: an event SEARCH for each, or for the
        first with `use_once`. `delete`: they are taken out, and the events are those of `append` (PUT_OVERFLOW). If
        there is none, SEARCH says NO_MATCH. `event_comm_disable` silences SEARCH, `event_over_disable` the others."""
        self._endpoint.submit(
            entry.words(operation=Operation.ME_SEARCH, pt_index=pt_index, search_delete=delete, user_data=user_data)
        )

    @property
    def in_use(self) -> list[int]:
        """Entries of which nothing has been heard yet that frees them."""
        return list(self._used)

    def observe(self, event: Event) -> None:
        """Note what an event tells of entries that have become free."""
        number = event.entry
        if number is None or number not in self._used:
            return
        unlinked = event.kind == EventKind.AUTO_UNLINK and self._used[number]
        if unlinked or event.kind in (EventKind.AUTO_FREE, EventKind.REFUSED):
            self.give_back(number)

    def give_back(self, number: int) -> None:
        """An entry is free of which no event tells, because it has `event_unlink_disable`."""
        if self._used.pop(number, None) is not None:
            self._free.append(number)


def take_messages(endpoint: Endpoint, pt_index: int = 0) -> None:
    """Take all messages of no memory, from anybody, as events PUT; they can come when this returns. EndpointError if
    the context's portal table is in use already."""
    table = PortalTable(endpoint)
    table.allocate(pt_index)
    table.append(pt_index, MatchEntry(ignore_bits=ALL_BITS, op_put=True, event_link_disable=True))
    if endpoint.complete():
        raise EndpointError(f"context {endpoint.handle.index}: commands were refused; give it a context of its own")
