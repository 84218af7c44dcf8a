"""The ways of packets as `rtl.fabric.routes` describes them, hop by hop: what the hardware must do, and what its
argument against deadlock is about."""

from dataclasses import dataclass

from rtl.fabric.parameters import FabricParameters, Topology
from rtl.fabric.routes import DOWN, UP, Direction, coordinates, neighbour, ties


@dataclass(frozen=True, kw_only=True)
class Hop:
    """The next link of a packet, and the group of channels in which it travels there."""

    direction: Direction
    group: int


def next_hop(parameters: FabricParameters, nid: int, destination: int) -> Hop | None:
    """How a packet at a router of node `nid` goes on; None if it has arrived. Of a crossbar there is nothing to say."""
    if parameters.topology == Topology.CROSSBAR:
        raise ValueError("fabric.topology: a crossbar has one router, whose port is the destination's NID")
    here, there = coordinates(parameters, nid), coordinates(parameters, destination)
    for dimension in reversed(range(len(here))):
        if here[dimension] == there[dimension]:
            continue
        step = _step(parameters, nid, dimension, there[dimension] - here[dimension])
        ahead = (there[dimension] - here[dimension]) * step < 0
        group = 1 if parameters.wraps[dimension] and not ahead else 0
        return Hop(direction=Direction(dimension=dimension, step=step), group=group)
    return None


def _step(parameters: FabricParameters, nid: int, dimension: int, distance: int) -> int:
    if not parameters.wraps[dimension]:
        return UP if distance > 0 else DOWN
    size = parameters.shape[dimension]
    up = distance % size
    if 2 * up == size:
        return UP if ties(parameters, nid) >> dimension & 1 else DOWN
    return UP if 2 * up < size else DOWN


def route(parameters: FabricParameters, source: int, destination: int) -> list[tuple[int, Hop]]:
    """All hops between two nodes, each with the node where it begins."""
    hops = []
    nid = source
    while (hop := next_hop(parameters, nid, destination)) is not None:
        hops.append((nid, hop))
        following = neighbour(parameters, nid, hop.direction)
        if following is None:
            raise ValueError(f"fabric: no link leads from node {nid} to node {destination}")
        nid = following
    return hops
