"""What the random programs of the fuzzer can touch, and the addresses and numbers that are worth trying."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from nimble.access import FRAME_BYTES, STACK_BASE, STACK_BYTES, STATE_BASE, TEXT_BASE
from tests.fuzz.case import READ, WRITE, Area, Backing

TOP = 1 << 64
BOTH = READ | WRITE
_WIDTHS = ((1, 2, 4, 8), (1, 2, 4, 8), (1, 2, 4, 8), (4,), (8,), (1, 2), (4, 8), (1, 8))
_DEVICE_WIDTHS = ((4,), (4,), (8,), (4, 8), (1, 2, 4, 8), (2,))
_SIZES = (8, 16, 24, 32, 64, 1, 7, 13, 21)

EDGES = (
    0, 1, 2, 7, 8, 31, 32, 33, 63, 64, 127, 128, 255, 256, 0x7FFF, 0x8000, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000,
    0xFFFF_FFFF, 1 << 32, 0x8000_0000_0000_0000, 0x7FFF_FFFF_FFFF_FFFF, TOP - 1, TOP - 2, TOP - 8,
    0xFFFF_FFFF_8000_0000, 0x0102_0304_0506_0708, 0x8877_6655_4433_2211,
)  # fmt: skip
IMMEDIATES = (
    0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 33, 63, 64, 65, 127, 128, 255, 256, 0x7FFF, 0x8000, 0xFFFF,
    0x7FFF_FFFF, 0x7FFF_FFFE, -1, -2, -7, -8, -64, -128, -129, -32768, -(1 << 31), -(1 << 31) + 1, 0x1234_5678,
)  # fmt: skip


_STACK = Area("stack", 0, STACK_BASE, STACK_BYTES)
_FRAME = Area("frame", 0, STACK_BASE + STACK_BYTES - FRAME_BYTES, FRAME_BYTES)


class Layout:
    """Areas of one case, and where in them a program may try to reach."""

    def __init__(self, random: Random, sizes: Sequence[int] = _SIZES) -> None:
        """``sizes``: bytes of memory behind areas."""
        self.random, self._sizes = random, sizes
        self.backings: list[Backing] = []
        self.areas: list[Area] = []
        self.state = random.choice((0, 8, 16, 40, 64, 5)) if random.random() < 0.8 else 0
        base = 0x1000
        for number in range(random.randrange(5)):
            base = self._memory(number, base)
        for number in range(random.randrange(3)):
            self._device(number)
        if random.random() < 0.1:
            self._far()
        # All that can be reached: of the stack, checked code sees the first frame from ``main``, and more from others.
        self.places = [*self.areas, _FRAME, _STACK if random.random() < 0.2 else _FRAME]
        if self.state:
            self.places += [Area("state", 0, STATE_BASE, self.state)] * 2
        self._fitting: dict[tuple[int, int, bool], list[Area]] = {}

    def _memory(self, number: int, base: int) -> int:
        """One more area of memory, beside the last, apart from it, or on another's backing; where the next may be."""
        random = self.random
        chance = random.random()
        rights = BOTH if chance < 0.6 else READ if chance < 0.8 else WRITE
        widths = random.choice(_WIDTHS)
        memories = [index for index, backing in enumerate(self.backings) if backing.kind != "device"]
        if memories and random.random() < 0.2:
            backing = random.choice(memories)
        else:
            backing = len(self.backings)
            self.backings.append(Backing("shared" if random.random() < 0.35 else "memory", random.choice(self._sizes)))
        size = self.backings[backing].size
        origin = random.randrange(size) if random.random() < 0.3 else 0
        length = size - origin if random.random() < 0.8 else random.randint(1, size - origin)
        base += random.choice((0, 0, 1, 3, 8, 0x1000, 0xFFF8))
        self.areas.append(Area(f"memory{number}", backing, base, length, rights, widths, origin))
        return base + length

    def _device(self, number: int) -> None:
        random = self.random
        backing, origin = len(self.backings), random.choice((0, 0, 8, 4, 2))
        self.backings.append(Backing("device", 64))
        rights = BOTH if random.random() < 0.7 else random.choice((READ, WRITE))
        base, length = 0x10_0000 * (number + 1), random.choice((4, 8, 16, 32, 12))
        self.areas.append(Area(f"device{number}", backing, base, length, rights, random.choice(_DEVICE_WIDTHS), origin))

    def _far(self) -> None:
        """An area at the end of the address space, or beside the stack."""
        size = self.random.choice((8, 16, 21))
        base = self.random.choice((TOP - size, STACK_BASE - size, STACK_BASE + STACK_BYTES))
        self.areas.append(Area("far", len(self.backings), base, size))
        self.backings.append(Backing("shared" if self.random.random() < 0.5 else "memory", size))

    def base(self) -> int:
        """Where something begins."""
        return self.random.choice(self.places).base

    def place(self, width: int, rights: int) -> Area:
        """Something to access: likely to take an access like this one, at times known to lack the right for it."""
        chance = self.random.random()
        if chance < 0.04:
            return self.random.choice(self.places)
        lacking = chance < 0.12
        fitting = self._fitting.get((width, rights, lacking))
        if fitting is None:
            fitting = [area for area in self.places if self._fits(area, width, rights, lacking)] or self.places
            self._fitting[width, rights, lacking] = fitting
        return self.random.choice(fitting)

    def _fits(self, area: Area, width: int, rights: int, lacking: bool) -> bool:
        """``rights`` of both kinds are an atomic's: a device has none."""
        if width not in area.widths or area.length < width or bool(rights & ~area.rights) != lacking:
            return False
        return rights != BOTH or not area.name.startswith("device")

    def address(self, width: int, rights: int) -> int:
        """A place to access: mostly inside of something, at times at its edges, or anywhere."""
        random = self.random
        area = self.place(width, rights)
        chance = random.random()
        if chance < 0.75:
            return area.base + (int(random.random() * (area.length - width + 1)) & -width)
        if chance < 0.88:
            return area.base + int(random.random() * (area.length - width + 1))
        if chance < 0.95:
            return area.base + area.length - int(random.random() * 10) & TOP - 1
        return area.base - int(random.random() * 10) & TOP - 1 if chance < 0.98 else self.value()

    def value(self) -> int:
        """A 64-bit number."""
        random = self.random
        chance = random.random()
        if chance < 0.4:
            return random.choice(EDGES)
        if chance < 0.6:
            return int(chance * 5000) & 63
        if chance < 0.85:
            return self.base()
        return TEXT_BASE + int(chance * 3000) % 200 if chance < 0.88 else random.getrandbits(64)

    def immediate(self) -> int:
        """A signed 32-bit number."""
        chance = self.random.random()
        if chance < 0.6:
            return self.random.choice(IMMEDIATES)
        if chance < 0.8:
            return int(chance * 9999) & 63
        return self.random.getrandbits(32) - (1 << 31)
