"""The store: one piece of memory that Python maps and the simulator's HDL maps too.

Its layout, and Python's view of each part:

    mailboxes        64 bytes per core       requests and answers; hdl/core_port.sv has the words
    packet rings     four per node           requests sent, received, responses sent, received; hdl/packet_monitor.sv
                                             has the words
    memories         one per node            what the node's cores and devices see at physical address 0

Words are 64 bits, little-endian. HDL touches the store in zero simulated time; when, decides `hdl/host_memory.sv`.
"""

import mmap
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

RECORD_BYTES = 96
RING_HEAD_BYTES = 64
MAILBOX_BYTES = 64
RING_RECORDS = 4096
RINGS_PER_NODE = 4
_ALIGNMENT = 1 << 16


def _aligned(value: int) -> int:
    return -(-value // _ALIGNMENT) * _ALIGNMENT


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where the parts lie, as byte offsets; the same numbers are parameters of hdl/top.sv."""

    nodes: int
    cores: int
    memory_bytes: int

    @property
    def ring_bytes(self) -> int:
        return RING_HEAD_BYTES + RING_RECORDS * RECORD_BYTES

    @property
    def rings_base(self) -> int:
        return _aligned(self.nodes * self.cores * MAILBOX_BYTES)

    @property
    def memory_base(self) -> int:
        return _aligned(self.rings_base + RINGS_PER_NODE * self.nodes * self.ring_bytes)

    @property
    def total_bytes(self) -> int:
        return self.memory_base + self.nodes * self.memory_bytes

    def parameters(self) -> dict[str, int]:
        """Parameters of hdl/top.sv."""
        return {
            "MEMORY_BYTES": self.memory_bytes,
            "RECORDS": RING_RECORDS,
            "MAILBOX_BASE": 0,
            "RINGS_BASE": self.rings_base,
            "MEMORY_BASE": self.memory_base,
        }


class PacketRecord(NamedTuple):
    """What a monitor saw of a packet: times of its first and last flit, header, and the last flit's low 64 bits."""

    first_ps: int
    last_ps: int
    header: tuple[int, ...]
    crc: int
    flits: int


class PacketRing:
    """Reads what one packet monitor wrote."""

    _record = struct.Struct("<12Q")

    def __init__(self, memory: mmap.mmap, base: int) -> None:
        self._memory = memory
        self._base = base
        self._read = 0
        self.lost = 0

    def drain(self) -> Iterator[PacketRecord]:
        """The packets that are new."""
        written = int.from_bytes(self._memory[self._base : self._base + 8], "little")
        if written - self._read > RING_RECORDS:
            self.lost += written - self._read - RING_RECORDS
            self._read = written - RING_RECORDS
        while self._read < written:
            offset = self._base + RING_HEAD_BYTES + (self._read % RING_RECORDS) * RECORD_BYTES
            self._read += 1
            first_ps, last_ps, *header, crc, flits = self._record.unpack_from(self._memory, offset)
            yield PacketRecord(first_ps, last_ps, tuple(header), crc, flits)


class Store:
    """Makes the store and maps it. It has no name in the file system and goes with the process; `path` lets the
    simulator's library in the same process open it."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        descriptor = os.memfd_create("nimble-store")
        os.ftruncate(descriptor, layout.total_bytes)
        self.path = f"/proc/self/fd/{descriptor}"
        self.map = mmap.mmap(descriptor, layout.total_bytes)
        self._bytes = np.frombuffer(self.map, dtype=np.uint8)

    def memory(self, node: int) -> npt.NDArray[np.uint8]:
        """All of a node's memory, shared with its devices."""
        base = self.layout.memory_base + node * self.layout.memory_bytes
        return self._bytes[base : base + self.layout.memory_bytes]

    def ring(self, node: int, *, responses: bool, received: bool) -> PacketRing:
        """What a node's monitor of requests or responses, sent or received, writes."""
        number = RINGS_PER_NODE * node + 2 * responses + received
        return PacketRing(self.map, self.layout.rings_base + number * self.layout.ring_bytes)
