"""Packets on the wire: 64-bit words, the header first, then the payload, then one word with the CRC.

Word 0 says where the packet goes, so that a switch can decide on the first word; word 1 holds the trusted fields and
nothing else, and only the NIC's stamp writes it; words 2 to 4 are the sender's. The CRC is CRC-32 (IEEE 802.3:
reflected polynomial 0xEDB88320, initial value and final inversion all ones) over every byte before it, in
little-endian order.

Imports no Amaranth: software, monitors and tests share it with the hardware.
"""

import enum
import zlib
from collections.abc import Sequence

from rtl.records import WORD_BYTES, Record

TRUSTED_WORD = 1


class Operation(enum.IntEnum):
    """What a packet asks of its destination; also the operation of a command."""

    PUT = 1


HEADER = Record(
    "packet",
    [
        {"dst_nid": (0, 16), "dst_pid": (16, 16), "operation": (32, 8), "window": (40, 8), "length_bytes": (48, 16)},
        {"src_nid": (0, 16), "src_pid": (16, 16), "jid": (32, 32)},
        {"remote_offset": (0, 64)},
        {"match_bits": (0, 64)},
        {"header_data": (0, 64)},
    ],
)

TRAILER_WORDS = 1


def payload_words(length_bytes: int) -> int:
    """Words that a payload of `length_bytes` takes; the last one is padded with zeros."""
    return -(-length_bytes // WORD_BYTES)


def packet_words(length_bytes: int) -> int:
    """Words of a whole packet with a payload of `length_bytes`."""
    return HEADER.length_words + payload_words(length_bytes) + TRAILER_WORDS


def crc32(words: Sequence[int]) -> int:
    """CRC-32 over 64-bit little-endian words."""
    return zlib.crc32(b"".join(int(word).to_bytes(WORD_BYTES, "little") for word in words))


def pack(payload: bytes = b"", **header: int) -> list[int]:
    """The words of a packet; `length_bytes` is taken from `payload`. ValueError if a field does not fit."""
    words = HEADER.pack(length_bytes=len(payload), **header)
    padded = payload.ljust(payload_words(len(payload)) * WORD_BYTES, b"\0")
    words += [int.from_bytes(padded[i : i + WORD_BYTES], "little") for i in range(0, len(padded), WORD_BYTES)]
    return [*words, crc32(words)]


def unpack(words: Sequence[int]) -> tuple[dict[str, int], bytes]:
    """Header fields and payload of a whole packet. ValueError if it is damaged."""
    if len(words) < packet_words(0):
        raise ValueError(f"packet: {len(words)} words; the shortest packet has {packet_words(0)}")
    header = HEADER.unpack(words)
    if len(words) != packet_words(header["length_bytes"]):
        expected = packet_words(header["length_bytes"])
        raise ValueError(f"packet: {len(words)} words, but length_bytes {header['length_bytes']} makes {expected}")
    if words[-1] != crc32(words[:-1]):
        raise ValueError(f"packet: CRC word {words[-1]:#018x}; the contents give {crc32(words[:-1]):#010x}")
    payload = b"".join(int(word).to_bytes(WORD_BYTES, "little") for word in words[HEADER.length_words : -TRAILER_WORDS])
    return header, payload[: header["length_bytes"]]
