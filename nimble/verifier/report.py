"""Which accesses were proved and which stay checked, and why: for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from nimble.access import AddressSpace, Window
from nimble.disassembler import instruction_text
from nimble.program import Program
from nimble.verifier import values
from nimble.verifier.facts import Facts
from nimble.verifier.places import access_of
from nimble.verifier.proofs import Proofs
from nimble.verifier.rows import ATOMIC, LOAD, ROWS, STORE


class Access(NamedTuple):
    """One load, store or atomic. ``where`` and ``text`` are its place and its assembly; ``window`` is where it is
    proved to stay (None: it is checked while it runs); ``known`` says what is known of its address."""

    pc: int
    where: str
    text: str
    window: Window | None
    known: str


def accesses(program: Program, space: AddressSpace | None, facts: Facts, proofs: Proofs) -> tuple[Access, ...]:
    """All accesses of a program, in its order."""
    found = []
    windows = space.windows if space else ()
    for pc, _, row in program.starts:
        if ROWS[row].kind in (LOAD, STORE, ATOMIC):
            window, address = facts.proved.get(pc), proofs.addresses.get(pc)
            if not proofs.complete:
                known = "nothing: the program is too large to prove anything of it"
            elif address is None:
                known = "no run gets here"
            else:
                width = access_of(row).width
                known = f"{width} byte{'s' if width > 1 else ''} at {values.text(address)}"
                known += "" if window else f": {_doubt(address, width, windows)}"
            found.append(Access(pc, program.where(pc), instruction_text(program, pc), window, known))
    return tuple(found)


def _doubt(address: values.Value, width: int, windows: Sequence[Window]) -> str:
    """Why an access with that address needs a check."""
    if address[3]:
        return "may leave the stack, or is an atomic that may not be aligned"
    for window in windows:
        if window.base <= address[0] and address[1] + width <= window.end:
            return f"in {window}, which may not allow it: right, width or alignment"
    return "may lie outside of every window"
