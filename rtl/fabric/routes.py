"""Which way a packet goes: dimension-order routing, and why it never ends in a deadlock. Imports no Amaranth.

A packet travels along the highest dimension until it is where its destination is in that one, then along the next
lower one; in a closed dimension the shorter way. Three things could make packets wait for each other in a circle:

- Dimensions: a packet never turns from a lower dimension into a higher one, so channels of a lower dimension never
  wait for those of a higher one.
- One dimension: packets that travel up and packets that travel down use different links. In an open dimension the
  links of one direction wait only for those further along. In a closed one they would form a circle: a packet
  therefore travels in group 0 while the link from the last node to the first (downwards: from the first to the last)
  is still ahead of it, and in group 1 once it is not. Group 1 never uses that link, and group 0 never leaves it for
  another link of group 0: neither has a circle, and nothing goes from group 1 back to group 0.
- Classes: requests and responses share no channel, no buffer at the end of a link and none in front of a node. A node
  may keep requests waiting for as long as it cannot send responses, as long as it takes every response: responses
  then always move, and with them, in the end, the requests.

Every flit that leaves a router has a place of its own waiting at the end of its link, and holds no other channel up:
what shares a link shares time, never storage.

Which packet takes which way and which channel depends on source and destination alone, so that packets of one class
between two nodes stay in order.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from rtl.fabric.parameters import FabricParameters

UP, DOWN = 1, -1
Port = tuple[int, int]  # a node, and which of its router's ports


@dataclass(frozen=True, kw_only=True)
class Direction:
    """Where a link of a router leads: `step` (UP or DOWN) along `dimension`."""

    dimension: int
    step: int

    @property
    def opposite(self) -> "Direction":
        return Direction(dimension=self.dimension, step=-self.step)


def directions(parameters: FabricParameters) -> tuple[Direction, ...]:
    """What the links of every router are for, in the order of its ports, there or not; a crossbar has none."""
    return tuple(
        Direction(dimension=dimension, step=step)
        for dimension, size in enumerate(parameters.shape)
        if size > 1
        for step in (UP, DOWN)
    )


def link_ports(parameters: FabricParameters) -> int:
    """Links that begin at each node's part of the fabric, and as many end there, joined or not; at least 1."""
    return max(1, len(directions(parameters)))


def coordinates(parameters: FabricParameters, nid: int) -> tuple[int, ...]:
    """Where a node is in each dimension."""
    return tuple(nid // stride % size for stride, size in zip(parameters.strides, parameters.shape, strict=True))


def bases(parameters: FabricParameters, nid: int) -> tuple[int, ...]:
    """For each dimension, the lowest NID of the nodes that agree with `nid` in it and all higher ones."""
    return tuple(nid - nid % stride for stride in parameters.strides)


def ties(parameters: FabricParameters, nid: int) -> int:
    """For each dimension, a bit that says whether to travel up if both ways round are as long.

    Every other node, so that both directions carry the same load.
    """
    places = coordinates(parameters, nid)
    return sum(1 << dimension for dimension, place in enumerate(places) if place % 2 == 0)


def neighbour(parameters: FabricParameters, nid: int, direction: Direction) -> int | None:
    """The node that the link in this direction leads to, if there is one."""
    size, stride = parameters.shape[direction.dimension], parameters.strides[direction.dimension]
    here = coordinates(parameters, nid)[direction.dimension]
    there = here + direction.step
    if not 0 <= there < size and not parameters.wraps[direction.dimension]:
        return None
    return nid + (there % size - here) * stride


def links(parameters: FabricParameters) -> Iterator[tuple[Port, Port]]:
    """Where each link between routers begins and where it ends; a crossbar has none."""
    ports = directions(parameters)
    for nid in range(parameters.nodes):
        for port, direction in enumerate(ports):
            other = neighbour(parameters, nid, direction)
            if other is not None:
                yield (nid, port), (other, ports.index(direction.opposite))


def turns(parameters: FabricParameters, arrived_from: Direction) -> tuple[Direction, ...]:
    """Where a packet may go on to that has come over the link from the neighbour in that direction."""
    return tuple(
        onward
        for onward in directions(parameters)
        if onward.dimension < arrived_from.dimension or onward == arrived_from.opposite
    )
