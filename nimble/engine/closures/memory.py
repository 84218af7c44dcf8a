"""Steps that touch memory or device registers.

A load or store has two ways. Its form tries the window of plain memory that it hit last, which it sees as an array of
items of its own width, or the stack, if it is known to touch nothing else. Everything that the form does not take
(another window, shared memory, device registers, an access that is not aligned) takes the general way of ``reach``.
Accesses through r10 inside the frame need no question at all: their place is known when the program is translated.
"""

from __future__ import annotations

from functools import cache, partial
from typing import NamedTuple

from nimble.access import FRAME_BYTES, STACK, STACK_BASE, STACK_BYTES, Memory, Right, Window
from nimble.engine.closures.run import MEMORY, STACK_VIEW, RegisterFile, Step, settle
from nimble.engine.closures.steps import Form, alone
from nimble.engine.reach import Place, Reach
from nimble.engine.semantics import ATOMICS
from nimble.isa import FRAME_POINTER, MASK64, Group, Instruction, Operand, Operation


class Site(NamedTuple):
    """Where an access stands: its windows, the one that it was proved to stay in, and the price behind it."""

    reach: Reach
    proved: Window | None
    behind: int


class Array(NamedTuple):
    """A window of memory as items: addresses from ``base`` to ``base + limit`` begin one, if they are aligned."""

    base: int
    limit: int
    items: memoryview
    shared: bool


_NOTHING = Array(0, -1, memoryview(b""), False)


def _array(place: Place, width: int) -> Array | None:
    """What a step may remember of a place: a window of memory; the stack is another one in each run."""
    if place.window is None or not isinstance(place.backing, Memory):
        return None
    window = place.window
    items = place.backing.view(window.origin, window.length, width)
    return Array(window.base, window.length - width, items, place.backing.shared)


def access(row: Operation, instruction: Instruction, site: Site) -> tuple[Step, Form]:
    """The step of a load or store, and its form."""
    load = row.group is Group.LOAD
    general = (_load if load else _store)(row, instruction, site)
    if (instruction.src if load else instruction.dst) == FRAME_POINTER and _in_frame(instruction.offset, row.bits // 8):
        form = _form(row, "frame")
    else:
        form = _form(row, "stack" if site.proved is STACK else "window")
    return alone(form, general, d=instruction.dst, s=instruction.src, imm=instruction.imm & _mask(row)), form


def _mask(row: Operation) -> int:
    return (1 << row.bits) - 1


def _in_frame(offset: int, width: int) -> bool:
    """Whether an access through r10 is known to lie in the frame, in whole items: frames are aligned to any width."""
    return -FRAME_BYTES <= offset <= -width and not offset % width


@cache
def _form(row: Operation, where: str) -> Form:
    """What is done where: in the frame, somewhere on the stack, or in the window of plain memory hit last."""
    width = row.bits // 8
    shift = f" >> {width.bit_length() - 1}" if width > 1 else ""
    index = f"at{shift}"
    pointer = "{s}" if row.group is Group.LOAD else "{d}"
    if where == "frame":
        index = f"r[{FRAME_POINTER}] + {{delta}}{shift}"
    items = "{view}" if where == "window" else f"r[{STACK_VIEW[width]}]"
    limit = "{limit}" if where == "window" else str(STACK_BYTES - width)
    ask = f"if at < 0 or at > {limit}{f' or at & {width - 1}' if width > 1 else ''}:"
    lines = (f"at = r[{pointer}] + {{delta}}", ask, "    return {miss}") if where != "frame" else ()
    if row.group is Group.STORE:
        value = "{imm}" if Operand.SRC not in row.operands else "r[{s}]" if width == 8 else f"r[{{s}}] & {_mask(row)}"
        return Form((*lines, f"{items}[{index}] = {value}"))
    sign = _sign(row)
    value = f"({items}[{index}] ^ {sign}) - {sign} & {MASK64}" if sign else f"{items}[{index}]"
    return Form((*lines, f"r[{{d}}] = {value}"))


def _sign(row: Operation) -> int:
    """The bit that is extended; 0 for none: flipping and subtracting it extends by zeros."""
    return 1 << row.bits - 1 if row.name == "load_signed" else 0


def _load(row: Operation, instruction: Instruction, site: Site) -> Step:
    """The general way of a load. It shares ``delta``, ``limit`` and ``view`` with the form."""
    d, s, offset, width, sign = instruction.dst, instruction.src, instruction.offset, row.bits // 8, _sign(row)
    delta, limit, view, shared = offset - STACK_BASE, -1, _NOTHING.items, _NOTHING
    following: Step | None = None

    def general(r: RegisterFile) -> Step | None:
        nonlocal delta, limit, view, shared
        address = r[s] + offset & MASK64
        items, index = _item(shared, address, width)
        if items:
            settle(r, site.behind)  # while time is paid, another run of this step may remember another window
            value = items[index]
        else:
            place = site.reach.resolve(address, width, Right.READ, r[FRAME_POINTER], r[MEMORY])
            array = _array(place, width)
            if array and array.shared:
                shared = array
            elif array:
                delta, limit, view = offset - array.base, array.limit, array.items
            value = place.load(width, partial(settle, r, site.behind))
        r[d] = (value ^ sign) - sign & MASK64
        return following

    return general


def _store(row: Operation, instruction: Instruction, site: Site) -> Step:
    """The general way of a store. It shares ``delta``, ``limit`` and ``view`` with the form."""
    d, s, offset, width, mask = instruction.dst, instruction.src, instruction.offset, row.bits // 8, _mask(row)
    delta, limit, view, shared = offset - STACK_BASE, -1, _NOTHING.items, _NOTHING
    following: Step | None = None
    by_register, imm = Operand.SRC in row.operands, instruction.imm & mask

    def general(r: RegisterFile) -> Step | None:
        nonlocal delta, limit, view, shared
        address = r[d] + offset & MASK64
        value = r[s] & mask if by_register else imm
        items, index = _item(shared, address, width)
        if items:
            settle(r, site.behind)  # as in a load
            items[index] = value
        else:
            place = site.reach.resolve(address, width, Right.WRITE, r[FRAME_POINTER], r[MEMORY])
            array = _array(place, width)
            if array and array.shared:
                shared = array
            elif array:
                delta, limit, view = offset - array.base, array.limit, array.items
            place.store(width, value, partial(settle, r, site.behind))
        return following

    return general


def _item(array: Array, address: int, width: int) -> tuple[memoryview | None, int]:
    """The items and the index of an access in them; None if it isn't one of them."""
    at = address - array.base
    if 0 <= at <= array.limit and not at % width:
        return array.items, at // width
    return None, 0


def atomic(row: Operation, instruction: Instruction, site: Site) -> Step:
    """The step of an atomic: naturally aligned, on memory only, and nothing comes between its load and its store."""
    d, s, offset, width, mask = instruction.dst, instruction.src, instruction.offset, row.bits // 8, _mask(row)
    change = ATOMICS[row.name.removeprefix("fetch_")]
    fetches, into = row.writes_src or row.name == "cmpxchg", s if row.writes_src else 0
    array = _NOTHING
    following: Step | None = None

    def step(r: RegisterFile) -> Step | None:
        nonlocal array
        address = r[d] + offset & MASK64
        items, index = _item(array, address, width)
        if items:
            if array.shared:
                settle(r, site.behind)  # as in a load
            old = items[index]
            items[index] = change(old, r[s] & mask, r[0] & mask) & mask
        else:
            place = site.reach.resolve_atomic(address, width, r[FRAME_POINTER], r[MEMORY])
            found = _array(place, width)
            if found and not found.base % width:
                array = found
            pay = partial(settle, r, site.behind)
            old = place.change(width, lambda old: change(old, r[s] & mask, r[0] & mask), pay)
        if fetches:
            r[into] = old
        return following

    return step
