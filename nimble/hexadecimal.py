"""Bytes as hexadecimal text, with or without white space between them."""

from __future__ import annotations

import re

from nimble.isa import SLOT_BYTES

_OTHER = re.compile(r"[^0-9a-fA-F]", re.ASCII)


class HexError(ValueError):
    """Text that is no hex; it names the place."""


def bytes_of(text: str, *, source: str) -> bytes:
    """The bytes. ``source`` begins each error. Raises HexError."""
    digits = "".join(text.split())
    wrong = _OTHER.search(digits)
    if wrong:
        place = f"{wrong.group()!r} behind {wrong.start()} digits"
        raise HexError(f"{source}: {place} is no hexadecimal digit; write bytes such as b7 00")
    if len(digits) % 2:
        raise HexError(f"{source}: {len(digits)} digits; a byte has two; add or remove one")
    return bytes.fromhex(digits)


def lines_of(code: bytes) -> str:
    """One slot a line."""
    return "\n".join(code[at : at + SLOT_BYTES].hex(" ") for at in range(0, len(code), SLOT_BYTES))
