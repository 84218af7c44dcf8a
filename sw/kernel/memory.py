"""Physical memory in typed regions, and what processes see of it: explicit mappings, no demand paging, SMARTMAP.

Addresses and lengths are in bytes.
"""

from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

from nimble.access import Right
from sw.kernel.errors import OutOfMemoryError

PAGE_BYTES = 4096
# Ref: Brightwell, Pedretti & Hudson, SMARTMAP (SC 2008): a process sees the one in slot s at ((s + 1) << 39) | va.
SMARTMAP_SHIFT = 39
SLOTS = 255  # keeps every address below 2**47


class RegionKind(Enum):
    """What a physical region is for."""

    KERNEL = "kernel"
    PROCESS = "process"
    RING = "ring"  # command rings and event queues: a device reads and writes it
    DEVICE = "device"


@dataclass(frozen=True, kw_only=True)
class Region:
    """A physical range with one purpose; `owner` is the JID of the job it is given back with, or None."""

    kind: RegionKind
    base: int
    length_bytes: int
    name: str
    owner: int | None = None

    @property
    def end(self) -> int:
        return self.base + self.length_bytes


def align_up(value: int, alignment: int) -> int:
    """The next multiple of `alignment`, a power of two."""
    return (value + alignment - 1) & -alignment


class PhysicalMemory:
    """The node's memory, handed out in pages, lowest address first; `regions` are those handed out, by address."""

    def __init__(self, data: npt.NDArray[np.uint8]) -> None:
        self.data = data
        self.regions: list[Region] = []

    def allocate(self, kind: RegionKind, length_bytes: int, name: str, owner: int | None = None) -> Region:
        """A zeroed region of at least `length_bytes`. OutOfMemoryError."""
        length = max(align_up(length_bytes, PAGE_BYTES), PAGE_BYTES)
        base = 0
        for region in self.regions:
            if region.base - base >= length:
                break
            base = region.end
        if base + length > len(self.data):
            used = sum(region.length_bytes for region in self.regions)
            raise OutOfMemoryError(
                f"{name}: {length_bytes} bytes; {used} of {len(self.data)} bytes are in use and no free range is that "
                "long; ask for less, or give the node more memory"
            )
        found = Region(kind=kind, base=base, length_bytes=length, name=name, owner=owner)
        self.data[base : base + length] = 0
        insort(self.regions, found, key=lambda region: region.base)
        return found

    def free_of(self, owner: int) -> None:
        """Take back all regions of a job."""
        self.regions = [region for region in self.regions if region.owner != owner]

    def view(self, base: int, length_bytes: int) -> npt.NDArray[np.uint8]:
        """The bytes themselves, no copy."""
        return self.data[base : base + length_bytes]


class PageFault(Exception):  # noqa: N818 - the field's word for it
    """An access that no mapping allows."""

    def __init__(self, address: int, length_bytes: int, right: Right, why: str) -> None:
        self.address = address
        super().__init__(f"page fault: {right} of {length_bytes} bytes at {address:#x}: {why}")


@dataclass(frozen=True, kw_only=True)
class Mapping:
    """Virtual addresses `va` .. `va + length_bytes - 1` of a process stand for the physical ones from `base`."""

    va: int
    base: int
    length_bytes: int
    rights: Right
    kind: RegionKind

    @property
    def end(self) -> int:
        return self.va + self.length_bytes


class AddressSpace:
    """The mappings of one process. `peer` finds the space of the process in a SMARTMAP slot, or None if it must not be
    seen from here."""

    def __init__(self, peer: Callable[[int], "AddressSpace | None"]) -> None:
        self._peer = peer
        self._mappings: list[Mapping] = []
        self._next = PAGE_BYTES  # address 0 stays unmapped

    def map(
        self, kind: RegionKind, base: int, length_bytes: int, rights: Right, alignment: int = PAGE_BYTES
    ) -> Mapping:
        """Map a physical range at the next free address, with an unmapped page behind it."""
        va = align_up(self._next, alignment)
        mapping = Mapping(va=va, base=base, length_bytes=length_bytes, rights=rights, kind=kind)
        self._next = align_up(mapping.end, PAGE_BYTES) + PAGE_BYTES
        if self._next >> SMARTMAP_SHIFT:
            raise OutOfMemoryError(f"{length_bytes} bytes: the address space of {1 << SMARTMAP_SHIFT} bytes is used up")
        self._mappings.append(mapping)
        return mapping

    def find(self, va: int, length_bytes: int, right: Right) -> tuple[int, RegionKind]:
        """Physical address and kind of a range that one mapping holds. PageFault."""
        slot = va >> SMARTMAP_SHIFT
        if slot == 0:
            return self._find_own(va, length_bytes, right, va)
        space = self._peer(slot - 1)
        if space is None:
            raise PageFault(va, length_bytes, right, f"slot {slot - 1} holds no process of this job")
        base, kind = space._find_own(va & ((1 << SMARTMAP_SHIFT) - 1), length_bytes, right, va)
        if kind is RegionKind.DEVICE:
            raise PageFault(va, length_bytes, right, "another process's device pages are not shared")
        return base, kind

    def _find_own(self, va: int, length_bytes: int, right: Right, shown: int) -> tuple[int, RegionKind]:
        for mapping in self._mappings:
            if mapping.va <= va and va + length_bytes <= mapping.end:
                if right not in mapping.rights:
                    raise PageFault(shown, length_bytes, right, f"the mapping allows {mapping.rights} only")
                return mapping.base + va - mapping.va, mapping.kind
        raise PageFault(shown, length_bytes, right, "not mapped")


def smartmap(slot: int, va: int) -> int:
    """Where a process finds the address `va` of the process in `slot` of its node."""
    return (slot + 1) << SMARTMAP_SHIFT | va
