"""How large a NIC is built. Imports no Amaranth."""

from dataclasses import dataclass, fields

from rtl.packets import DATAPATH_BITS
from rtl.registers import RegisterMap, load

# Name: least, most, must be a power of two, why.
BOUNDS = {
    "contexts": (1, 62, False, "INT_STATUS has a bit for each"),
    "windows": (1, 14, False, "a context's registers hold no more"),
    "portal_entries": (1, 64, True, "a command has 8 bits for it"),
    "match_entries": (1, 1024, True, "they lie in memory of the NIC"),
    "unexpected_headers": (1, 1024, True, "they lie in memory of the NIC"),
    "counters": (1, 128, True, "a command has 8 bits for it"),
    "outstanding": (1, 64, True, "a handle has 16 bits, 62 contexts use 6 of them"),
    "prefetch": (1, 8, True, "commands lie in memory of the NIC"),
    "replies": (1, 1024, True, "they lie in memory of the NIC"),
    "read_ahead_flits": (16, 1024, False, "payload that is read ahead lies in memory of the NIC"),
    "mtu_bytes": (64, 32_768, True, "two packets lie in each receive buffer"),
    "nodes": (1, 1024, False, "sequence numbers and messages of each are kept"),
    "interrupt_lines": (1, 64, False, "a context's registers have 6 bits for it"),
}


@dataclass(frozen=True, kw_only=True)
class NicParameters:
    """Sizes of a NIC; all from `replies` on are for the node, those before for each context.

    `windows` of memory, entries of the portal table, match entries, unexpected headers, counting events, requests that
    wait for a response, commands fetched ahead; `replies` of the node under way at a time; flits that are read ahead of
    their sending; largest payload of a packet; width of memory and links; nodes of the machine; interrupt lines, one to
    each core of the node. ValueError if one is out of range.

    Replies that are under way take turns, one packet each. While there are `replies` of them, all further requests to
    the node wait where they arrive, small and large. `nodes` * `contexts` * `outstanding`, which is what all nodes
    together may wait for at a time, rules that out, but for moments in which the end of a reply is still being told.

    The next packet is chosen when at most `read_ahead_flits` are still to be sent, and its payload is read meanwhile:
    as many cycles of memory's latency are hidden, and a small message waits for these flits besides its turn.
    """

    contexts: int = 4
    windows: int = 4
    portal_entries: int = 8
    match_entries: int = 32
    unexpected_headers: int = 16
    counters: int = 16
    outstanding: int = 8
    prefetch: int = 4
    replies: int = 64
    read_ahead_flits: int = 64
    mtu_bytes: int = 4096
    datapath_bits: int = 64
    nodes: int = 2
    interrupt_lines: int = 1

    def __post_init__(self) -> None:
        for field in fields(self):
            name, value = field.name, getattr(self, field.name)
            if name not in BOUNDS:
                continue
            least, most, power, why = BOUNDS[name]
            if not least <= value <= most:
                raise ValueError(f"nic.{name}: {value} is out of range {least}..{most}; {why}")
            if power and value & (value - 1):
                below = 1 << (value.bit_length() - 1)
                raise ValueError(f"nic.{name}: {value} is no power of two; write {below} or {2 * below}")
        if self.datapath_bits not in DATAPATH_BITS:
            raise ValueError(f"nic.datapath_bits: {self.datapath_bits} is none of {', '.join(map(str, DATAPATH_BITS))}")

    @property
    def registers(self) -> RegisterMap:
        """The registers of such a NIC."""
        return load("nic", CONTEXTS=self.contexts, WINDOWS=self.windows, LINES=self.interrupt_lines)

    @property
    def datapath_bytes(self) -> int:
        return self.datapath_bits // 8

    @property
    def handles(self) -> int:
        """Entries of requests that wait for a response; context c's begin at c * outstanding."""
        return self.contexts * self.outstanding

    @property
    def lanes(self) -> int:
        """Of each node: one for each context's requests, and one for all responses."""
        return self.contexts + 1
