"""The tables of all contexts, in memories with one read and one write port each."""

import enum
from collections.abc import Sequence
from typing import Any

from amaranth import Cat, Module, Value
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Flow, In, Out

from rtl.nic.interfaces.widths import ADDRESS_WIDTH, CONTEXT_WIDTH, LENGTH_WIDTH
from rtl.nic.parameters import NicParameters
from rtl.packets import REQUEST
from rtl.portals import LIST_COMMAND

# What of an ME_APPEND is kept, and what of a message's header.
_OF_APPEND_ALONE = ("operation", "entry", "flow_control", "search_delete")
ENTRY_FIELDS = {field.name: field.width for field in LIST_COMMAND if field.name not in _OF_APPEND_ALONE}
HEADER_FIELDS = {
    name: REQUEST.fields[name].width
    for name in (
        "kind",
        "pt_index",
        "src_nid",
        "src_pid",
        "jid",
        "message_bytes",
        "remote_offset",
        "match_bits",
        "header_data",
        "atomic_operation",
        "atomic_type",
    )
}


class EntryState(enum.IntEnum):
    """Of a match entry."""

    FREE = 0
    LINKED = 1
    HELD = (
        2  # unlinked from the overflow list, but messages are under way to it, headers refer to it, or AUTO_FREE waits
    )


def index_width(entries: int) -> int:
    """Bits of an index below `entries`, a power of two; at least one."""
    return max(1, entries.bit_length() - 1)


def count_width(parameters: NicParameters) -> int:
    """Bits that tell how many messages of one match entry are under way: of each lane, on their way to their end
    (64 is more than fit), or being replied to."""
    return (parameters.nodes * parameters.contexts + 64 + parameters.replies).bit_length()


def list_layout(width: int) -> data.StructLayout:
    """A singly linked list; `head` and `tail` have meaning only if it is `occupied`."""
    return data.StructLayout({"occupied": 1, "head": width, "tail": width})


def portal_layout(parameters: NicParameters) -> data.StructLayout:
    """Portal table entry. `due`: the event PT_DISABLED has still to be written; it outlives the entry."""
    entries = list_layout(index_width(parameters.match_entries))
    return data.StructLayout(
        {
            "allocated": 1,
            "enabled": 1,
            "flow_control": 1,
            "due": 1,
            "priority": entries,
            "overflow": entries,
            "unexpected": list_layout(index_width(parameters.unexpected_headers)),
        }
    )


def position_layout(parameters: NicParameters) -> data.StructLayout:
    """What changes of a match entry: `local_offset` in bytes, unexpected `headers` that refer to it."""
    return data.StructLayout(
        {"state": 2, "local_offset": ADDRESS_WIDTH, "headers": parameters.unexpected_headers.bit_length()}
    )


def header_layout(parameters: NicParameters) -> data.StructLayout:
    """Unexpected header: of the message, and what it matched."""
    return data.StructLayout(
        {
            **HEADER_FIELDS,
            "entry": index_width(parameters.match_entries),
            "window": 8,
            "start": ADDRESS_WIDTH,
            "bytes": LENGTH_WIDTH,
        }
    )


def due_layout(parameters: NicParameters) -> data.StructLayout:
    """An event that waits for a place: AUTO_FREE of a match entry, or PT_DISABLED of a portal table entry."""
    most = max(parameters.match_entries, parameters.portal_entries)
    return data.StructLayout({"is_entry": 1, "index": index_width(most)})


def due_places(parameters: NicParameters) -> int:
    """Of a context's ring of events that wait: everything that can wait does so once at a time."""
    return 2 * max(parameters.match_entries, parameters.portal_entries)


def pool_layout(parameters: NicParameters) -> data.StructLayout:
    """What else a context has. Free unexpected headers: those from `fresh` on have not been used since the restart, and
    `free_count` are linked from `free_head` on. Events that wait: `due_count` from place `due_head` of the ring on."""
    headers, places = parameters.unexpected_headers, due_places(parameters)
    return data.StructLayout(
        {
            "fresh": headers.bit_length(),
            "free_head": index_width(headers),
            "free_count": headers.bit_length(),
            "due_head": index_width(places),
            "due_count": places.bit_length(),
        }
    )


class TablePort(wiring.Signature):
    """One table, seen from its user: `data` is what stood at `index` in the cycle of the last `read`."""

    def __init__(self, entries: int, layout: data.StructLayout | int) -> None:
        super().__init__(
            {
                "read": Out(1),
                "index": Out(index_width(entries)),
                "data": In(layout),
                "write": Out(1),
                "write_index": Out(index_width(entries)),
                "write_data": Out(layout),
            }
        )


def _tables(parameters: NicParameters) -> dict[str, tuple[int, data.StructLayout | int]]:
    """Entries of one context and layout of each table."""
    entries, headers = parameters.match_entries, parameters.unexpected_headers
    return {
        "portals": (parameters.portal_entries, portal_layout(parameters)),
        "entries": (entries, data.StructLayout(ENTRY_FIELDS)),
        "positions": (entries, position_layout(parameters)),
        "begun": (entries, count_width(parameters)),
        "entry_next": (entries, index_width(entries)),
        "headers": (headers, header_layout(parameters)),
        "complete": (headers, 1),
        "header_next": (headers, index_width(headers)),
        "pools": (1, pool_layout(parameters)),
        "dues": (due_places(parameters), due_layout(parameters)),
    }


class TablesPort(wiring.Signature):
    """The tables of `context`, seen from whoever has them; all others hold their outputs at zero.

    `begun` counts the messages that a match entry has taken, modulo its range; see `Ends`. `entry_next` and
    `header_next` link the lists; `complete` says whether a header's message has ended.
    """

    def __init__(self, parameters: NicParameters) -> None:
        tables = {name: Out(TablePort(*shape)) for name, shape in _tables(parameters).items()}
        super().__init__({"context": Out(CONTEXT_WIDTH), **tables})


class Tables(wiring.Component):
    """All zero after reset, which is what an empty context looks like."""

    def __init__(self, parameters: NicParameters) -> None:
        self._parameters = parameters
        super().__init__({"port": In(TablesPort(parameters))})

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        for name, (entries, layout) in _tables(self._parameters).items():
            port = getattr(self.port, name)
            depth = self._parameters.contexts * entries
            table = Memory(shape=layout, depth=depth, init=[])
            m.submodules[name] = table
            read, write = table.read_port(), table.write_port()
            m.d.comb += [
                read.en.eq(port.read),
                read.addr.eq(self._address(port.index, entries)),
                port.data.eq(read.data),
                write.en.eq(port.write),
                write.addr.eq(self._address(port.write_index, entries)),
                write.data.eq(port.write_data),
            ]
        return m

    def _address(self, index: Value, entries: int) -> Value:
        return Cat(index[: entries.bit_length() - 1], self.port.context)


def share(m: Module, shared: Any, users: Sequence[Any]) -> None:
    """Interface `shared`, of a block or of the outside, for `users`, of whom at most one speaks at a time.

    `users` have their interfaces as outputs, zero while they are silent. All of them hear what comes back.
    """
    flat = [list(interface.signature.flatten(interface)) for interface in (shared, *users)]
    for (_, _, ours), *theirs in zip(*flat, strict=True):
        values = [Value.cast(value) for _, _, value in theirs]
        if theirs[0][1].flow is Flow.Out:
            joined = values[0]
            for value in values[1:]:
                joined = joined | value
            m.d.comb += Value.cast(ours).eq(joined)
        else:
            m.d.comb += [value.eq(Value.cast(ours)) for value in values]
