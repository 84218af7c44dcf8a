"""Steps that touch memory or device registers.

A load or store first tries the window of plain memory that it hit last, which it sees as an array of items of its own
width. Everything else (another window, the stack by a pointer, device registers, an access that is not aligned) takes
the general way through ``Reach.resolve``. Accesses through r10 inside the frame need no question at all: their place
in the stack is known when the program is translated.
"""

from __future__ import annotations

from typing import NamedTuple

from nimble.access import FRAME_BYTES, STACK_BASE, AccessFault, AddressSpace, Backing, Memory, Right, Window
from nimble.engine.run import MASK64, RUN, STACK_TOP, STACK_VIEW, RegisterFile, Step, settle
from nimble.engine.semantics import ATOMICS
from nimble.isa import FRAME_POINTER, Instruction, Operand, Operation

_BOTH = Right.READ | Right.WRITE


class Place(NamedTuple):
    """Where an address leads: a byte of a backing, and the window unless it is the stack."""

    backing: Backing
    offset: int
    window: Window | None

    def load(self, r: RegisterFile, width: int) -> int:
        if self.backing.visible:
            settle(r[RUN])
        return self.backing.load(self.offset, width)

    def store(self, r: RegisterFile, width: int, value: int) -> None:
        if self.backing.visible:
            settle(r[RUN])
        self.backing.store(self.offset, width, value)

    def array(self, width: int) -> tuple[int, int, memoryview, bool] | None:
        """Base address, last offset, items and sharing of a window of memory, for a step to remember."""
        if self.window is None or not isinstance(self.backing, Memory):
            return None
        window = self.window
        view = self.backing.view(window.origin, window.length, width)
        return window.base, window.length - width, view, self.backing.shared


class Reach:
    """Where the addresses of one thread lead, checked or unchecked."""

    def __init__(self, space: AddressSpace, *, checked: bool) -> None:
        self._find = space.checked if checked else space.unchecked
        self._checked = checked

    def resolve(self, r: RegisterFile, address: int, width: int, right: Right) -> Place:
        """Raises AccessFault. A checked run sees the stack from its present frame up, an unchecked one all of it."""
        if STACK_BASE <= address < STACK_TOP:
            low = r[FRAME_POINTER] - FRAME_BYTES if self._checked else STACK_BASE
            if address < low or address + width > STACK_TOP:
                reason = f"the stack is 0x{low:x}..0x{STACK_TOP:x}; a frame has {FRAME_BYTES} bytes; use less"
                raise AccessFault(address, width, right, reason)
            return Place(r[RUN].stack.memory, address - STACK_BASE, None)
        window = self._find(address, width, right)
        return Place(window.backing, address - window.base + window.origin, window)


def load(row: Operation, instruction: Instruction, reach: Reach) -> Step:
    """The step of a load, zero-extending or sign-extending."""
    width = row.bits // 8
    if row.name == "load_signed":
        return _load_signed(instruction, width, reach)
    if _in_frame(instruction.src, instruction.offset, width):
        return _load_frame(instruction, width)
    d, s, offset = instruction.dst, instruction.src, instruction.offset
    low, shift = width - 1, width.bit_length() - 1
    base, limit, shared, view = 0, -1, False, memoryview(b"")
    following: Step | None = None

    def step(r: RegisterFile) -> Step | None:
        at = (r[s] + offset & MASK64) - base
        if 0 <= at <= limit and not at & low:
            if shared:
                items = view  # while time is paid, another run of this step may remember another window
                settle(r[RUN])
                r[d] = items[at >> shift]
            else:
                r[d] = view[at >> shift]
        else:
            r[d] = general(r, at + base)
        return following

    def general(r: RegisterFile, address: int) -> int:
        nonlocal base, limit, view, shared
        place = reach.resolve(r, address, width, Right.READ)
        if array := place.array(width):
            base, limit, view, shared = array
        return place.load(r, width)

    return step


def store(row: Operation, instruction: Instruction, reach: Reach) -> Step:
    """The step of a store from a register or of an immediate."""
    width = row.bits // 8
    mask = (1 << row.bits) - 1
    by_register = Operand.SRC in row.operands
    if _in_frame(instruction.dst, instruction.offset, width):
        return _store_frame(instruction, width, by_register)
    d, s, offset, value = instruction.dst, instruction.src, instruction.offset, instruction.imm & mask
    low, shift = width - 1, width.bit_length() - 1
    base, limit, shared, view = 0, -1, False, memoryview(b"")
    following: Step | None = None

    def step(r: RegisterFile) -> Step | None:
        at = (r[d] + offset & MASK64) - base
        stored = r[s] & mask if by_register else value
        if 0 <= at <= limit and not at & low:
            if shared:
                items = view  # as in load
                settle(r[RUN])
                items[at >> shift] = stored
            else:
                view[at >> shift] = stored
        else:
            general(r, at + base, stored)
        return following

    def general(r: RegisterFile, address: int, stored: int) -> None:
        nonlocal base, limit, view, shared
        place = reach.resolve(r, address, width, Right.WRITE)
        if array := place.array(width):
            base, limit, view, shared = array
        place.store(r, width, stored)

    return step


def atomic(row: Operation, instruction: Instruction, reach: Reach) -> Step:
    """The step of an atomic: naturally aligned, on memory only, and nothing comes between its load and its store."""
    d, s, offset = instruction.dst, instruction.src, instruction.offset
    width, mask = row.bits // 8, (1 << row.bits) - 1
    low, shift = width - 1, width.bit_length() - 1
    change = ATOMICS[row.name.removeprefix("fetch_")]
    fetches, into = row.writes_src or row.name == "cmpxchg", s if row.writes_src else 0
    base, limit, shared, view = 0, -1, False, memoryview(b"")
    following: Step | None = None

    def step(r: RegisterFile) -> Step | None:
        at = (r[d] + offset & MASK64) - base
        if 0 <= at <= limit and not at & low:
            items = view  # as in load
            if shared:
                settle(r[RUN])
            old = items[at >> shift]
            items[at >> shift] = change(old, r[s] & mask, r[0] & mask) & mask
        else:
            old = general(r, at + base)
        if fetches:
            r[into] = old
        return following

    def general(r: RegisterFile, address: int) -> int:
        nonlocal base, limit, view, shared
        place = reach.resolve(r, address, width, _BOTH)
        if not place.backing.atomic:
            reason = f"{place.window}: registers have no atomics; load and store instead"
            raise AccessFault(address, width, _BOTH, reason)
        if address & low:
            raise AccessFault(address, width, _BOTH, f"atomics are naturally aligned; use a multiple of {width}")
        if (array := place.array(width)) and not array[0] & low:
            base, limit, view, shared = array
        old = place.load(r, width)
        place.backing.store(place.offset, width, change(old, r[s] & mask, r[0] & mask) & mask)
        return old

    return step


def _load_signed(instruction: Instruction, width: int, reach: Reach) -> Step:
    d, s, offset, sign = instruction.dst, instruction.src, instruction.offset, 1 << 8 * width - 1
    following: Step | None = None

    def step(r: RegisterFile) -> Step | None:
        value = reach.resolve(r, r[s] + offset & MASK64, width, Right.READ).load(r, width)
        r[d] = (value ^ sign) - sign & MASK64
        return following

    return step


def _in_frame(register: int, offset: int, width: int) -> bool:
    """Whether an access is known to lie in the frame, in whole items: frames begin at multiples of every width."""
    return register == FRAME_POINTER and -FRAME_BYTES <= offset <= -width and not offset % width


def _load_frame(instruction: Instruction, width: int) -> Step:
    d, view = instruction.dst, STACK_VIEW[width]
    offset, shift = instruction.offset - STACK_BASE, width.bit_length() - 1
    following: Step | None = None

    def step(r: RegisterFile) -> Step | None:
        r[d] = r[view][r[FRAME_POINTER] + offset >> shift]
        return following

    return step


def _store_frame(instruction: Instruction, width: int, by_register: bool) -> Step:
    s, view, mask = instruction.src, STACK_VIEW[width], (1 << 8 * width) - 1
    offset, shift, value = instruction.offset - STACK_BASE, width.bit_length() - 1, instruction.imm & mask
    following: Step | None = None

    def step(r: RegisterFile) -> Step | None:
        r[view][r[FRAME_POINTER] + offset >> shift] = r[s] & mask if by_register else value
        return following

    return step
