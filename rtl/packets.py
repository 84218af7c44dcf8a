"""Packets on the wire: 64-bit words, eight of header first, then the payload, then the CRC.

Word 0 says where the packet goes, so that a router can decide on the first flit. Words 1 and 2 are trusted: only the
NIC's stamp writes them. The other words are the sender's, as its NIC checked them. A request belongs to a message
of one or more packets, which all repeat the message's fields; a response answers one request message.

On a datapath of 128 bits two words travel as one flit, the lower-numbered word in the low half; payload and header
fill whole flits. The CRC word has a flit of its own: CRC-32 (IEEE 802.3: reflected polynomial 0xEDB88320, initial
value and final inversion all ones) over every flit before it, padding included, bytes in little-endian order.

Imports no Amaranth: software, monitors, golden models and tests share it with the hardware.
"""

import enum
import zlib
from collections.abc import Sequence

from rtl.records import WORD_BYTES, Record

IDENTITY_WORD = 1
ORDER_WORD = 2
TRUSTED_WORDS = (IDENTITY_WORD, ORDER_WORD)


class PacketKind(enum.IntEnum):
    """`kind` of a packet: requests have the number of their Operation, responses have these."""

    REPLY = 64  # to a GET, FETCH_ATOMIC or SWAP
    ACK = 65  # to a PUT or ATOMIC


_ROUTE = {"dst_nid": (0, 16), "dst_pid": (16, 16), "kind": (32, 8), "pt_index": (40, 8), "payload_bytes": (48, 16)}
_IDENTITY = {"src_nid": (0, 16), "src_pid": (16, 16), "jid": (32, 32)}
# `lane`: the sending context, or the number of contexts for responses; `sequence` numbers the packets of a lane to one
# node, modulo 2**56. What is less than half of that ahead of the expected number is later, all else is a replay: the
# shortest packets, of 5 flits and without a gap at 250 MHz, take 22 years for half of the numbers.
_ORDER = {"lane": (0, 8), "sequence": (8, 56)}

# `segment_offset`: of this packet's payload in the message. `handle` and `generation` name the initiator's entry that
# waits for a response; both 0 if none does. `aborted`: the sender cannot go on; no payload, and `last` is set.
REQUEST = Record(
    "request",
    [
        _ROUTE,
        _IDENTITY,
        _ORDER,
        {"message_bytes": (0, 32), "segment_offset": (32, 32)},
        {"remote_offset": (0, 64)},
        {"match_bits": (0, 64)},
        {"header_data": (0, 64)},
        {
            "atomic_operation": (0, 8),
            "atomic_type": (8, 8),
            "ack_request": (16, 2),
            "first": (18, 1),
            "last": (19, 1),
            "aborted": (20, 1),
            "handle": (32, 16),
            "generation": (48, 8),
        },
    ],
)

# `manipulated_bytes`: of the whole reply, or what a put or atomic wrote; `remote_offset`: where in the match entry.
# `silent`: the match entry wants no acknowledgement seen; the initiator only frees what it kept.
RESPONSE = Record(
    "response",
    [
        _ROUTE,
        _IDENTITY,
        _ORDER,
        {"manipulated_bytes": (0, 32), "segment_offset": (32, 32)},
        {"remote_offset": (0, 64)},
        {"fail": (0, 8), "list": (8, 2)},
        {},
        {"last": (19, 1), "silent": (20, 1), "handle": (32, 16), "generation": (48, 8)},
    ],
)

HEADER_WORDS = REQUEST.length_words
DATAPATH_BITS = (64, 128)


def is_response(words: Sequence[int]) -> bool:
    """Whether a packet's words are a response's."""
    return bool(REQUEST.unpack(words)["kind"] in list(PacketKind))


def payload_flits(payload_bytes: int, datapath_bits: int = 64) -> int:
    """Flits that a payload takes; the last one is padded with zeros."""
    return -(-payload_bytes // (datapath_bits // 8))


def packet_flits(payload_bytes: int, datapath_bits: int = 64) -> int:
    """Flits of a whole packet: header, payload, CRC."""
    return HEADER_WORDS * 64 // datapath_bits + payload_flits(payload_bytes, datapath_bits) + 1


def crc32(flits: Sequence[int], datapath_bits: int = 64) -> int:
    """CRC-32 over little-endian flits."""
    return zlib.crc32(b"".join(int(flit).to_bytes(datapath_bits // 8, "little") for flit in flits))


def pack(record: Record, payload: bytes = b"", *, datapath_bits: int = 64, **header: int) -> list[int]:
    """The flits of a packet with a header of REQUEST or RESPONSE; `payload_bytes` is that of `payload`. ValueError if a
    field does not fit."""
    words = record.pack(payload_bytes=len(payload), **header)
    text = b"".join(word.to_bytes(WORD_BYTES, "little") for word in words) + payload
    size = datapath_bits // 8
    text = text.ljust(-(-len(text) // size) * size, b"\0")
    flits = [int.from_bytes(text[i : i + size], "little") for i in range(0, len(text), size)]
    return [*flits, crc32(flits, datapath_bits)]


def unpack(flits: Sequence[int], datapath_bits: int = 64) -> tuple[dict[str, int], bytes]:
    """Header fields and payload of a whole packet. ValueError if it is damaged."""
    if len(flits) < packet_flits(0, datapath_bits):
        raise ValueError(f"packet: {len(flits)} flits; the shortest packet has {packet_flits(0, datapath_bits)}")
    text = b"".join(int(flit).to_bytes(datapath_bits // 8, "little") for flit in flits[:-1])
    words = [int.from_bytes(text[8 * i : 8 * i + 8], "little") for i in range(HEADER_WORDS)]
    header = (RESPONSE if is_response(words) else REQUEST).unpack(words)
    expected = packet_flits(header["payload_bytes"], datapath_bits)
    if len(flits) != expected:
        raise ValueError(f"packet: {len(flits)} flits, but payload_bytes {header['payload_bytes']} makes {expected}")
    if flits[-1] != crc32(flits[:-1], datapath_bits):
        raise ValueError(
            f"packet: CRC word {flits[-1]:#018x}; the contents give {crc32(flits[:-1], datapath_bits):#010x}"
        )
    start = HEADER_WORDS * WORD_BYTES
    return header, text[start : start + header["payload_bytes"]]
