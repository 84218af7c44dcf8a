"""How a fabric is built: its topology, its links, its virtual channels. Imports no Amaranth."""

import enum
from dataclasses import dataclass
from functools import cached_property
from math import prod

from rtl.packets import DATAPATH_BITS

CLASSES = 2  # of packets: requests and responses; neither ever waits for the other
MAX_NODES = 1024
MAX_CROSSBAR_NODES = 32  # a switch grows with the square of its ports
MAX_LATENCY_CYCLES = 1024
MAX_DIMENSIONS = 3
MAX_CHANNELS = 4


class Topology(enum.StrEnum):
    """What lies between the nodes."""

    POINT_TO_POINT = "point_to_point"  # one node alone, or two with a link each way
    RING = "ring"
    MESH = "mesh"
    TORUS = "torus"
    CROSSBAR = "crossbar"  # each node has a link to one switch and one from it


@dataclass(frozen=True, kw_only=True)
class FabricParameters:
    """`nodes` joined by links of `link_latency_cycles`, each of which carries `link_width_bits` a cycle (0: a flit).

    `dimensions` are the sizes of a mesh or torus, the first being the one in which neighbours have adjacent NIDs.
    `channels` virtual channels share the packets of one class by their destination. ValueError if impossible.
    """

    nodes: int
    topology: str  # a `Topology`, or its value
    dimensions: tuple[int, ...] = ()
    link_latency_cycles: int = 1
    link_width_bits: int = 0
    channels: int = 1
    datapath_bits: int = 64

    def __post_init__(self) -> None:
        if self.topology not in list(Topology):
            raise ValueError(f"fabric.topology: {self.topology!r} is none of {', '.join(Topology)}")
        if self.datapath_bits not in DATAPATH_BITS:
            allowed = ", ".join(map(str, DATAPATH_BITS))
            raise ValueError(f"fabric.datapath_bits: {self.datapath_bits} is none of {allowed}")
        self._check_nodes()
        self._check_dimensions()
        self._check_links()

    def _check_nodes(self) -> None:
        most, instead = {
            Topology.POINT_TO_POINT: (2, "ring or crossbar"),
            Topology.CROSSBAR: (MAX_CROSSBAR_NODES, "torus"),
        }.get(Topology(self.topology), (MAX_NODES, "a smaller machine"))
        if not 1 <= self.nodes <= most:
            raise ValueError(
                f"fabric.nodes: {self.nodes} is out of range 1..{most} for {self.topology}; choose {instead}"
            )

    def _check_dimensions(self) -> None:
        sizes = list(self.dimensions)
        if self.topology not in (Topology.MESH, Topology.TORUS):
            if sizes:
                raise ValueError(f"fabric.dimensions: {sizes} means nothing to {self.topology}; leave it out")
            return
        if not 1 <= len(sizes) <= MAX_DIMENSIONS:
            raise ValueError(
                f"fabric.dimensions: {sizes} has {len(sizes)} sizes; a {self.topology} has 1..{MAX_DIMENSIONS}"
            )
        if min(sizes) < 1:
            raise ValueError(f"fabric.dimensions: {sizes} has a size below 1")
        if prod(sizes) != self.nodes:
            raise ValueError(
                f"fabric.dimensions: {sizes} makes {prod(sizes)} nodes, but there are {self.nodes}; change either"
            )

    def _check_links(self) -> None:
        if not 1 <= self.link_latency_cycles <= MAX_LATENCY_CYCLES:
            raise ValueError(
                f"fabric.link_latency_cycles: {self.link_latency_cycles} is out of range 1..{MAX_LATENCY_CYCLES}; "
                "choose a shorter link or a slower clock"
            )
        width = self.link_width_bits
        if width and (width < 0 or self.datapath_bits % width):
            raise ValueError(f"fabric.link_width_bits: {width} is no divisor of a flit's {self.datapath_bits} bits")
        if not 1 <= self.channels <= MAX_CHANNELS or self.channels & (self.channels - 1):
            raise ValueError(f"fabric.channels: {self.channels} is none of 1, 2, {MAX_CHANNELS}")
        if self.topology == Topology.CROSSBAR and self.channels != 1:
            raise ValueError(
                f"fabric.channels: {self.channels} is of no use to a crossbar, where one hop is all; write 1"
            )

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Nodes along each dimension; a crossbar has none."""
        if self.topology == Topology.CROSSBAR:
            return ()
        return tuple(self.dimensions) or (self.nodes,)

    @cached_property
    def strides(self) -> tuple[int, ...]:
        """Difference of the NIDs of neighbours along each dimension."""
        return tuple(prod(self.shape[:dimension]) for dimension in range(len(self.shape)))

    @cached_property
    def wraps(self) -> tuple[bool, ...]:
        """Whether a dimension is closed by a link from its last node to its first; two nodes are neighbours anyway."""
        closed = self.topology in (Topology.RING, Topology.TORUS)
        return tuple(closed and size > 2 for size in self.shape)

    @property
    def groups(self) -> int:
        """Groups of virtual channels that break the cycle of a closed dimension."""
        return 2 if any(self.wraps) else 1

    @property
    def channels_per_class(self) -> int:
        return self.groups * self.channels

    @property
    def link_channels(self) -> int:
        """Virtual channels of a link. Channel (class * groups + group) * channels + lane."""
        return CLASSES * self.channels_per_class

    @property
    def cycles_per_flit(self) -> int:
        return self.datapath_bits // self.link_width_bits if self.link_width_bits else 1
