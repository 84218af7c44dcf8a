"""Steps that touch memory or device registers.

A load or store first tries the window of plain memory that it hit last, which it sees as an array of items of its own
width. Everything else (another window, the stack by a pointer, device registers, an access that is not aligned) takes
the general way of ``reach``. Accesses through r10 inside the frame need no question at all: their place
in the stack is known when the program is translated.
"""

from __future__ import annotations

from functools import partial

from nimble.access import FRAME_BYTES, STACK_BASE, Memory, Right
from nimble.engine.reach import Place, Reach, Settle
from nimble.engine.run import MASK64, RUN, STACK_VIEW, RegisterFile, Step, settle
from nimble.engine.semantics import ATOMICS
from nimble.isa import FRAME_POINTER, Instruction, Operand, Operation


def _array(place: Place, width: int) -> tuple[int, int, memoryview, bool] | None:
    """Base address, last offset, items and sharing of a window of memory, for a step to remember."""
    if place.window is None or not isinstance(place.backing, Memory):
        return None
    window = place.window
    view = place.backing.view(window.origin, window.length, width)
    return window.base, window.length - width, view, place.backing.shared


def _resolve(r: RegisterFile, reach: Reach, address: int, width: int, right: Right) -> Place:
    return reach.resolve(address, width, right, r[FRAME_POINTER], r[RUN].stack.memory)


def _settler(r: RegisterFile) -> Settle:
    return partial(settle, r[RUN])


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
        place = _resolve(r, reach, address, width, Right.READ)
        if array := _array(place, width):
            base, limit, view, shared = array
        return place.load(width, _settler(r))

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
        place = _resolve(r, reach, address, width, Right.WRITE)
        if array := _array(place, width):
            base, limit, view, shared = array
        place.store(width, stored, _settler(r))

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
        place = reach.resolve_atomic(address, width, r[FRAME_POINTER], r[RUN].stack.memory)
        if (array := _array(place, width)) and not array[0] & low:
            base, limit, view, shared = array
        return place.change(width, lambda old: change(old, r[s] & mask, r[0] & mask), _settler(r))

    return step


def _load_signed(instruction: Instruction, width: int, reach: Reach) -> Step:
    d, s, offset, sign = instruction.dst, instruction.src, instruction.offset, 1 << 8 * width - 1
    following: Step | None = None

    def step(r: RegisterFile) -> Step | None:
        place = _resolve(r, reach, r[s] + offset & MASK64, width, Right.READ)
        value = place.load(width, _settler(r))
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
