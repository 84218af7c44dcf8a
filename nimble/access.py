"""What an extension may touch: windows of memory and of device registers, with rights.

An extension sees one 64-bit address space per insertion. Nothing is in it but the windows that the kernel grants, the
extension's own state and the stack of the running call. Bases are the kernel's choice.
"""

from __future__ import annotations

import ctypes
import sys
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import Flag, auto
from itertools import pairwise
from typing import Any, Literal

from nimble.faults import Fault
from nimble.isa import Group

ADDRESS_LIMIT = 1 << 64
# Above every physical address (2**48) and below 2**60, where Python's integers need a third digit.
STACK_BASE = 1 << 56
STATE_BASE = 1 << 57
TEXT_BASE = 1 << 58  # the address of slot 0, for calls through a register; nothing can be read there
FRAME_BYTES = 512
CALL_DEPTH = 8
STACK_BYTES = FRAME_BYTES * CALL_DEPTH

ALL_WIDTHS = (1, 2, 4, 8)
if sys.byteorder != "little":
    raise ImportError("nimble.access: this host is big-endian; views of memory need a little-endian one; use one")
_FORMATS: dict[int, Literal["B", "H", "I", "Q"]] = {1: "B", 2: "H", 4: "I", 8: "Q"}


class Right(Flag):
    """What may be done with the bytes of a window."""

    READ = auto()
    WRITE = auto()

    def __str__(self) -> str:
        return "-".join(str(right.name).lower() for right in Right if right in self)


READ_WRITE = Right.READ | Right.WRITE
# What loads, stores and atomics need.
RIGHTS = {Group.LOAD: Right.READ, Group.STORE: Right.WRITE, Group.ATOMIC: READ_WRITE}


class AccessFault(Fault):
    """A load, store or atomic that no window allows. Addresses and widths are in bytes."""

    def __init__(self, address: int, width: int, right: Right, reason: str) -> None:
        super().__init__(f"{width}-byte {right} at 0x{address:x}: {reason}")


class Memory:
    """Bytes, little-endian, of any alignment; atomics are allowed.

    ``buffer`` is a writable, contiguous bytearray, memoryview or mmap; the memory keeps a view of it. ``shared`` says
    that a device or another core also touches it: a run then pays for its instructions before each access.
    """

    atomic = True
    aligned = False

    def __init__(self, buffer: Any, *, shared: bool = False) -> None:
        data = memoryview(buffer)
        if data.readonly or not data.c_contiguous:
            raise ValueError("Memory: the buffer is read-only or has gaps; give a writable one, whole in C's order")
        self._data = data.cast("B")
        self.length = len(self._data)
        self.shared = shared

    @property
    def visible(self) -> bool:
        """Whether others see an access, so that time must be paid first."""
        return self.shared

    def view(self, offset: int, length: int, width: int) -> memoryview:
        """The whole items of ``width`` bytes that fit in ``length`` bytes from ``offset``, by index."""
        return self._data[offset : offset + length // width * width].cast(_FORMATS[width])

    def pin(self) -> ctypes.Array[ctypes.c_char]:
        """The bytes for compiled code: ``ctypes.addressof`` says where, and they stay there while the result lives."""
        return (ctypes.c_char * self.length).from_buffer(self._data)

    def load(self, offset: int, width: int) -> int:
        return int.from_bytes(self._data[offset : offset + width], "little")

    def store(self, offset: int, width: int, value: int) -> None:
        self._data[offset : offset + width] = value.to_bytes(width, "little")


@dataclass(frozen=True)
class Registers:
    """Device registers: ``read(offset, width)`` and ``write(offset, width, value)``, offsets and widths in bytes.

    Accesses are naturally aligned, of a width that the window allows, and never atomic. Both callables may switch to
    another greenlet, and may raise AccessFault when the device answers with an error.
    """

    read: Callable[[int, int], int]
    write: Callable[[int, int, int], None]

    atomic = False
    aligned = True
    visible = True

    def load(self, offset: int, width: int) -> int:
        return self.read(offset, width) & ((1 << 8 * width) - 1)

    def store(self, offset: int, width: int, value: int) -> None:
        self.write(offset, width, value)


Backing = Memory | Registers


@dataclass(frozen=True)
class Window:
    """``length`` bytes from address ``base``, backed from byte ``origin`` of ``backing``.

    Several windows may share one backing: ``part`` grants less of a device than all. Raises ValueError.
    """

    name: str
    base: int
    length: int
    rights: Right
    backing: Backing
    widths: tuple[int, ...] = ALL_WIDTHS
    origin: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))
        if self.length < 1 or self.base < 0 or self.base + self.length > ADDRESS_LIMIT:
            raise ValueError(f"window {self}: must have a byte or more and lie in 0..2**64; change base or length")
        if self.origin < 0:
            raise ValueError(f"window {self}: origin: {self.origin} is negative; count from the backing's first byte")
        if not self.rights:
            raise ValueError(f"window {self}: no rights; grant READ, WRITE or both")
        if not self.widths or not set(self.widths) <= set(ALL_WIDTHS):
            raise ValueError(f"window {self}: widths: {self.widths}; allowed are {ALL_WIDTHS}; name one or more")
        if isinstance(self.backing, Memory) and self.origin + self.length > self.backing.length:
            raise ValueError(f"window {self}: its memory has {self.backing.length} bytes; shorten the window")

    @property
    def end(self) -> int:
        """The first address behind the window."""
        return self.base + self.length

    def __str__(self) -> str:
        return f"{self.name} 0x{self.base:x}..0x{self.base + self.length:x}"

    def part(self, offset: int, length: int, *, name: str = "", rights: Right | None = None) -> Window:
        """The ``length`` bytes from ``offset`` of this window, at the same addresses, with these or fewer rights."""
        if offset < 0 or offset + length > self.length:
            raise ValueError(f"window {self}: part 0x{offset:x}+0x{length:x} does not lie in it; shorten the part")
        if rights is not None and rights & ~self.rights:
            raise ValueError(f"window {self}: part asks {rights}; it has {self.rights}; ask no more than that")
        return replace(
            self,
            name=name or self.name,
            base=self.base + offset,
            length=length,
            rights=self.rights if rights is None else rights,
            origin=self.origin + offset,
        )


STACK = Window("stack", STACK_BASE, STACK_BYTES, READ_WRITE, Memory(bytearray(STACK_BYTES)))


def state_window(memory: bytearray, *, shared: bool = False) -> Window | None:
    """An extension's own state, where its program expects it; None if there is none."""
    return Window("state", STATE_BASE, len(memory), READ_WRITE, Memory(memory, shared=shared)) if memory else None


class AddressSpace:
    """The windows of one extension. Raises ValueError when two overlap, or one covers the place of the stack."""

    def __init__(self, windows: Iterable[Window]) -> None:
        self.windows = tuple(sorted(windows, key=lambda window: window.base))
        self._bases = [window.base for window in self.windows]
        self._ends = [window.end for window in self.windows]
        self._rights = [window.rights.value for window in self.windows]  # integers: Flag's own arithmetic is slow
        both = sorted((*self.windows, STACK), key=lambda window: window.base)
        for low, high in pairwise(both):
            if low.end > high.base:
                raise ValueError(f"windows {low} and {high} overlap; choose another base or length")

    def find(self, address: int, length: int, right: Right) -> Window:
        """The window that holds ``length`` bytes from ``address`` and grants ``right``. Raises AccessFault."""
        index = self._index(address, length, right)
        if right.value & ~self._rights[index]:
            window = self.windows[index]
            raise AccessFault(address, length, right, f"{window} grants {window.rights}; ask for the right")
        return self.windows[index]

    def checked(self, address: int, width: int, right: Right) -> Window:
        """The window for one access of checked code: found, of a width that it takes, and within its device's means."""
        window = self.find(address, width, right)
        if window.backing.aligned or width not in window.widths:
            _suit(window, address, width, right)
        return window

    def unchecked(self, address: int, width: int, right: Right) -> Window:
        """The window for one access of unchecked code: whatever holds it, within its device's means."""
        window = self.windows[self._index(address, width, right)]
        if window.backing.aligned:
            _suit(window, address, width, right)
        return window

    def _index(self, address: int, length: int, right: Right) -> int:
        index = bisect_right(self._bases, address) - 1
        if index < 0 or address + length > self._ends[index]:
            raise AccessFault(address, length, right, self._outside(address, index))
        return index

    def _outside(self, address: int, index: int) -> str:
        if not self.windows:
            return "no window is granted; ask for one"
        nearby = self.windows[max(index, 0) : index + 2]
        nearest = min(nearby, key=lambda window: max(window.base - address, address - window.end))
        return f"no window holds it; the nearest is {nearest}; ask for a window or mend the address"


def _suit(window: Window, address: int, width: int, right: Right) -> None:
    """Raise AccessFault unless the window takes accesses like this one."""
    if window.backing.aligned and (address - window.base + window.origin) % width:
        raise AccessFault(address, width, right, f"{window}: registers are naturally aligned; align the access")
    if width not in window.widths:
        widths = ", ".join(map(str, window.widths))
        raise AccessFault(address, width, right, f"{window} takes widths {widths}; use one of them")
