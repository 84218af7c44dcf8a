"""When a match entry takes a message, and how much of it.

Ref: Portals 4, section 3.12 (matching). `entry` and `header` are anything with the fields of ENTRY_FIELDS and
HEADER_FIELDS: a command or what the table kept of it, a packet or an unexpected header.
"""

from dataclasses import dataclass
from typing import Any

from amaranth import Module, Mux, Signal, Value

from rtl.nic.expressions import fit
from rtl.nic.interfaces.widths import ADDRESS_WIDTH, LENGTH_WIDTH


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """`selects`: match bits and source agree. `fits`: the message has room, or may be truncated. `offset` in the entry
    is used; `bytes` of the message may be touched from there, `left` bytes of the entry lie behind them."""

    selects: Value
    fits: Value
    offset: Value
    bytes: Value
    left: Value


def judge(m: Module, entry: Any, header: Any, local_offset: Value) -> Verdict:
    """`entry`, whose local offset is `local_offset`, against `header`; all combinational."""
    offset = Signal(64)
    room = Signal(ADDRESS_WIDTH)
    whole = Signal()
    m.d.comb += [
        offset.eq(Mux(entry.manage_local, local_offset, header.remote_offset)),
        room.eq(Mux(offset >= entry.length_bytes, 0, entry.length_bytes - offset[:ADDRESS_WIDTH])),
        whole.eq(header.message_bytes <= room),
    ]
    different = (header.match_bits ^ entry.match_bits) & ~entry.ignore_bits
    return Verdict(
        selects=~different.any()
        & (entry.any_nid | (header.src_nid == entry.match_nid))
        & (entry.any_pid | (header.src_pid == entry.match_pid)),
        fits=~entry.no_truncate | whole,
        offset=offset,
        bytes=Mux(whole, header.message_bytes, room[:LENGTH_WIDTH]),
        left=fit(Mux(whole, room - header.message_bytes, 0), ADDRESS_WIDTH),
    )
