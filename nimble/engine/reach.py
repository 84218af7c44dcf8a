"""Where an address of a running extension leads, and the one general way to load, store and change what is there.

Engines have faster ways for plain memory; whatever those don't take comes here, so that rights, device registers,
payment and the words of a fault are the same in all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from nimble.access import (
    FRAME_BYTES,
    READ_WRITE,
    STACK_BASE,
    STACK_BYTES,
    AccessFault,
    AddressSpace,
    Backing,
    Memory,
    Right,
    Window,
)

STACK_TOP = STACK_BASE + STACK_BYTES
LOWEST_FRAME = STACK_BASE + FRAME_BYTES  # r10 in the last frame that there is

Settle = Callable[[], None]  # pays for what was executed; may switch to another greenlet
Change = Callable[[int], int]  # the new value in memory, from the old one


class Place(NamedTuple):
    """A byte of a backing, and the window it was reached by (None: the stack)."""

    backing: Backing
    offset: int
    window: Window | None

    def load(self, width: int, settle: Settle) -> int:
        if self.backing.visible:
            settle()
        return self.backing.load(self.offset, width)

    def store(self, width: int, value: int, settle: Settle) -> None:
        if self.backing.visible:
            settle()
        self.backing.store(self.offset, width, value)

    def change(self, width: int, change: Change, settle: Settle) -> int:
        """Replace a value by one computed of it, with nothing in between; the old one."""
        if self.backing.visible:
            settle()
        old = self.backing.load(self.offset, width)
        self.backing.store(self.offset, width, change(old) & ((1 << 8 * width) - 1))
        return old


class Reach:
    """The windows of one thread, checked or unchecked, and the stack of a run."""

    def __init__(self, space: AddressSpace, *, checked: bool) -> None:
        self.space = space
        self.checked = checked
        self._find = space.checked if checked else space.unchecked

    def resolve(self, address: int, width: int, right: Right, frame_pointer: int, stack: Memory) -> Place:
        """Raises AccessFault. A checked run sees the stack from its present frame up, an unchecked one all of it."""
        if STACK_BASE <= address < STACK_TOP:
            low = self.stack_low(frame_pointer)
            if address < low or address + width > STACK_TOP:
                reason = f"the stack is 0x{low:x}..0x{STACK_TOP:x}; a frame has {FRAME_BYTES} bytes; use less"
                raise AccessFault(address, width, right, reason)
            return Place(stack, address - STACK_BASE, None)
        window = self._find(address, width, right)
        return Place(window.backing, address - window.base + window.origin, window)

    def resolve_atomic(self, address: int, width: int, frame_pointer: int, stack: Memory) -> Place:
        """The same for an atomic: on memory only, and naturally aligned."""
        place = self.resolve(address, width, READ_WRITE, frame_pointer, stack)
        if not place.backing.atomic:
            reason = f"{place.window}: registers have no atomics; load and store instead"
            raise AccessFault(address, width, READ_WRITE, reason)
        if address % width:
            raise AccessFault(address, width, READ_WRITE, f"atomics are naturally aligned; use a multiple of {width}")
        return place

    def stack_low(self, frame_pointer: int) -> int:
        """The lowest stack address that a run with this r10 may touch."""
        return frame_pointer - FRAME_BYTES if self.checked else STACK_BASE
