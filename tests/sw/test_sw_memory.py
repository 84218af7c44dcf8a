"""Physical regions and address spaces: hand-worked places, and the text of every refusal."""

import numpy as np
import pytest

from nimble.access import READ_WRITE, Right
from sw.kernel.errors import OutOfMemoryError
from sw.kernel.memory import AddressSpace, PageFault, PhysicalMemory, RegionKind, smartmap


def memory(pages: int = 8) -> PhysicalMemory:
    return PhysicalMemory(np.full(pages * 4096, 0xAA, dtype=np.uint8))


def test_regions_are_whole_zeroed_pages_at_the_lowest_free_place() -> None:
    physical = memory()
    first = physical.allocate(RegionKind.KERNEL, 1, "kernel")
    second = physical.allocate(RegionKind.PROCESS, 4097, "a", owner=1)
    third = physical.allocate(RegionKind.RING, 4096, "b", owner=2)
    assert [(region.base, region.length_bytes) for region in (first, second, third)] == [
        (0, 4096), (4096, 8192), (12288, 4096)
    ]  # fmt: skip
    assert not physical.view(4096, 8192).any()
    assert physical.view(16384, 4096).all()
    physical.view(4096, 8192)[:] = 7
    physical.free_of(1)
    assert [region.name for region in physical.regions] == ["kernel", "b"]
    again = physical.allocate(RegionKind.PROCESS, 8192, "c", owner=3)
    assert again.base == 4096
    assert not physical.view(again.base, 8192).any(), "no job sees what another left"
    assert physical.allocate(RegionKind.PROCESS, 4096, "d").base == 16384


def test_memory_that_is_not_there() -> None:
    physical = memory(4)
    physical.allocate(RegionKind.KERNEL, 4096, "kernel")
    with pytest.raises(OutOfMemoryError) as caught:
        physical.allocate(RegionKind.PROCESS, 12289, "ra.0.table")
    assert str(caught.value) == (
        "ra.0.table: 12289 bytes; 4096 of 16384 bytes are in use and no free range is that long; "
        "ask for less, or give the node more memory"
    )
    assert physical.allocate(RegionKind.PROCESS, 12288, "ra.0.table").base == 4096


def spaces() -> dict[int, AddressSpace]:
    found: dict[int, AddressSpace] = {}
    for slot in (0, 1):
        found[slot] = AddressSpace(found.get)
    return found


def test_translation_at_each_edge() -> None:
    space = spaces()[0]
    first = space.map(RegionKind.PROCESS, 0x10000, 0x2000, READ_WRITE)
    second = space.map(RegionKind.RING, 0x50000, 0x40, Right.READ)
    page = space.map(RegionKind.DEVICE, 0xC0010000, 0x10000, READ_WRITE, alignment=0x10000)
    assert (first.va, second.va, page.va) == (0x1000, 0x4000, 0x10000)
    assert space.find(0x1000, 8, READ_WRITE) == (0x10000, RegionKind.PROCESS)
    assert space.find(0x2FF8, 8, Right.READ) == (0x11FF8, RegionKind.PROCESS)
    assert space.find(0x4000, 0x40, Right.READ) == (0x50000, RegionKind.RING)
    assert space.find(0x10008, 8, Right.WRITE) == (0xC0010008, RegionKind.DEVICE)


@pytest.mark.parametrize(
    ("va", "length", "right", "text"),
    [
        (0, 8, Right.READ, "page fault: read of 8 bytes at 0x0: not mapped"),
        (0xFF8, 8, Right.READ, "page fault: read of 8 bytes at 0xff8: not mapped"),
        (0x2FF9, 8, Right.READ, "page fault: read of 8 bytes at 0x2ff9: not mapped"),
        (0x3000, 8, Right.WRITE, "page fault: write of 8 bytes at 0x3000: not mapped"),
        (0x4000, 8, Right.WRITE, "page fault: write of 8 bytes at 0x4000: the mapping allows read only"),
        (0x4000, 8, READ_WRITE, "page fault: read-write of 8 bytes at 0x4000: the mapping allows read only"),
        (0x4000, 0x48, Right.READ, "page fault: read of 72 bytes at 0x4000: not mapped"),
        ((3 << 39) | 0x1000, 8, Right.READ,
         "page fault: read of 8 bytes at 0x18000001000: slot 2 holds no process of this job"),
        ((1 << 39) | 0x5000, 8, Right.READ, "page fault: read of 8 bytes at 0x8000005000: not mapped"),
        ((1 << 39) | 0x10000, 8, Right.READ,
         "page fault: read of 8 bytes at 0x8000010000: another process's device pages are not shared"),
    ],
)  # fmt: skip
def test_page_faults(va: int, length: int, right: Right, text: str) -> None:
    space = spaces()[0]
    space.map(RegionKind.PROCESS, 0x10000, 0x2000, READ_WRITE)
    space.map(RegionKind.RING, 0x50000, 0x40, Right.READ)
    space.map(RegionKind.DEVICE, 0xC0010000, 0x10000, READ_WRITE, alignment=0x10000)
    with pytest.raises(PageFault) as caught:
        space.find(va, length, right)
    assert str(caught.value) == text


def test_smartmap_is_kittens_formula() -> None:
    assert smartmap(0, 0x1234) == 0x80_0000_1234
    assert smartmap(4, 0x1234) == 5 * 2**39 + 0x1234
    both = spaces()
    mine = both[1].map(RegionKind.PROCESS, 0x30000, 0x1000, Right.READ)
    assert both[0].find(smartmap(1, mine.va), 8, Right.READ) == (0x30000, RegionKind.PROCESS)
    with pytest.raises(PageFault, match="allows read only"):
        both[0].find(smartmap(1, mine.va), 8, Right.WRITE)
