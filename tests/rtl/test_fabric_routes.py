"""Topologies, links and routes, without hardware: every way is a shortest one, and no packets wait in a circle."""

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from fabric_ways import Hop, next_hop, route

from rtl.fabric.parameters import FabricParameters
from rtl.fabric.routes import Direction, bases, coordinates, directions, links, neighbour, ties, turns

Channel = tuple[int, Direction, int]  # the link that leaves a node in a direction, group


def fabric(topology: str, nodes: int, *dimensions: int, **rest: Any) -> FabricParameters:
    return FabricParameters(topology=topology, nodes=nodes, dimensions=dimensions, **rest)


GRIDS = [
    fabric("point_to_point", 1),
    fabric("point_to_point", 2),
    fabric("ring", 1),
    fabric("ring", 2),
    fabric("ring", 3),
    fabric("ring", 4),
    fabric("ring", 5),
    fabric("ring", 8),
    fabric("mesh", 6, 6),
    fabric("mesh", 12, 3, 4),
    fabric("mesh", 24, 2, 3, 4),
    fabric("torus", 16, 4, 4),
    fabric("torus", 15, 5, 3),
    fabric("torus", 10, 2, 5),
    fabric("torus", 5, 1, 5),
    fabric("torus", 60, 3, 4, 5),
    fabric("torus", 125, 5, 5, 5),
]


def name(parameters: FabricParameters) -> str:
    return f"{parameters.topology}-{'x'.join(map(str, parameters.shape or (parameters.nodes,)))}"


def distances(parameters: FabricParameters, source: int) -> dict[int, int]:
    """Links between `source` and every node, by breadth-first search over the links."""
    following: dict[int, list[int]] = {}
    for (here, _), (there, _) in links(parameters):
        following.setdefault(here, []).append(there)
    found = {source: 0}
    waiting = deque([source])
    while waiting:
        here = waiting.popleft()
        for there in following.get(here, ()):
            if there not in found:
                found[there] = found[here] + 1
                waiting.append(there)
    return found


@pytest.mark.parametrize("parameters", GRIDS, ids=name)
def test_every_route_is_shortest_and_makes_only_turns_that_routers_know(parameters: FabricParameters) -> None:
    for source in range(parameters.nodes):
        shortest = distances(parameters, source)
        for destination in range(parameters.nodes):
            hops = route(parameters, source, destination)
            assert len(hops) == shortest[destination]
            for (_, first), (_, second) in pairwise(hops):
                assert second.direction in turns(parameters, first.direction.opposite)


def waits(parameters: FabricParameters, group: Callable[[Hop], int]) -> dict[Channel, set[Channel]]:
    """For each channel, those that a packet in it may have to wait for, over all routes."""
    graph: dict[Channel, set[Channel]] = {}
    for source in range(parameters.nodes):
        for destination in range(parameters.nodes):
            channels = [(nid, hop.direction, group(hop)) for nid, hop in route(parameters, source, destination)]
            for channel in channels:
                graph.setdefault(channel, set())
            for first, second in pairwise(channels):
                graph[first].add(second)
    return graph


def has_circle(graph: dict[Channel, set[Channel]]) -> bool:
    """Whether something remains when all that waits for nothing is taken away, again and again."""
    waiting_for = {channel: set(others) for channel, others in graph.items()}
    while free := {channel for channel, others in waiting_for.items() if not others}:
        waiting_for = {channel: others - free for channel, others in waiting_for.items() if channel not in free}
    return bool(waiting_for)


@pytest.mark.parametrize("parameters", GRIDS, ids=name)
def test_no_channels_wait_for_each_other_in_a_circle(parameters: FabricParameters) -> None:
    graph = waits(parameters, lambda hop: hop.group)
    assert not has_circle(graph)
    assert {group for _, _, group in graph} <= set(range(parameters.groups))


@pytest.mark.parametrize("parameters", [p for p in GRIDS if max(p.shape) > 4 and any(p.wraps)], ids=name)
def test_with_one_group_they_would(parameters: FabricParameters) -> None:
    assert has_circle(waits(parameters, lambda hop: 0))


def test_worked_by_hand() -> None:
    torus = fabric("torus", 20, 4, 5)  # node 6 is at (2, 1), node 19 at (3, 4)
    up_x, down_y = Direction(dimension=0, step=1), Direction(dimension=1, step=-1)
    assert coordinates(torus, 6) == (2, 1)
    assert bases(torus, 6) == (6, 4)
    assert ties(torus, 6) == 0b01
    # Down twice, over the link from row 0 to row 4, then one to the right.
    assert route(torus, 6, 19) == [
        (6, Hop(direction=down_y, group=0)),
        (2, Hop(direction=down_y, group=0)),
        (18, Hop(direction=up_x, group=1)),
    ]
    mesh = fabric("mesh", 20, 4, 5)
    up_y = Direction(dimension=1, step=1)
    assert route(mesh, 6, 19) == [(nid, Hop(direction=up_y, group=0)) for nid in (6, 10, 14)] + [
        (18, Hop(direction=up_x, group=0))
    ]
    assert neighbour(mesh, 3, up_x) is None
    assert neighbour(torus, 3, up_x) == 0
    assert next_hop(torus, 7, 7) is None


@pytest.mark.parametrize("size", [4, 6, 8])
def test_ways_of_equal_length_load_both_directions_alike(size: int) -> None:
    ring = fabric("ring", size)
    load: dict[tuple[int, Direction], int] = {}
    for source in range(size):
        for destination in range(size):
            for nid, hop in route(ring, source, destination):
                load[nid, hop.direction] = load.get((nid, hop.direction), 0) + 1
    # Half of the nodes is an odd number in a ring of 6: three ways of three links cannot load six links alike.
    assert max(load.values()) - min(load.values()) == (1 if size == 6 else 0)
    up, down = (sum(count for (_, way), count in load.items() if way.step == step) for step in (1, -1))
    assert up == down


@pytest.mark.parametrize("parameters", GRIDS, ids=name)
def test_every_port_of_a_router_has_a_link_each_way_or_none(parameters: FabricParameters) -> None:
    ways = directions(parameters)
    joined = {
        (nid, port)
        for nid in range(parameters.nodes)
        for port, way in enumerate(ways)
        if neighbour(parameters, nid, way) is not None
    }
    laid = list(links(parameters))
    for ends in ([begin for begin, _ in laid], [end for _, end in laid]):
        assert len(ends) == len(set(ends))
        assert set(ends) == joined
    assert {(end, begin) for begin, end in laid} == set(laid)
    assert all(ways[port].opposite == ways[arrival] for (_, port), (_, arrival) in laid)


def test_a_crossbar_has_no_links_between_routers() -> None:
    assert list(links(fabric("crossbar", 3))) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"topology": "star"}, r"fabric\.topology: 'star' is none of point_to_point, ring, mesh, torus, crossbar"),
        ({"datapath_bits": 32}, r"fabric\.datapath_bits: 32 is none of 64, 128"),
        ({"nodes": 0}, r"fabric\.nodes: 0 is out of range 1\.\.1024 for torus; choose a smaller machine"),
        (
            {"topology": "point_to_point", "dimensions": (), "nodes": 3},
            r"fabric\.nodes: 3 is out of range 1\.\.2 for point_to_point; choose ring or crossbar",
        ),
        (
            {"topology": "crossbar", "dimensions": (), "nodes": 33},
            r"fabric\.nodes: 33 is out of range 1\.\.32 for crossbar; choose torus",
        ),
        ({"dimensions": (4, 3)}, r"fabric\.dimensions: \[4, 3\] makes 12 nodes, but there are 16; change either"),
        ({"dimensions": ()}, r"fabric\.dimensions: \[\] has 0 sizes; a torus has 1\.\.3"),
        ({"dimensions": (2, 2, 2, 2)}, r"fabric\.dimensions: \[2, 2, 2, 2\] has 4 sizes; a torus has 1\.\.3"),
        ({"dimensions": (-4, -4)}, r"fabric\.dimensions: \[-4, -4\] has a size below 1"),
        ({"topology": "ring"}, r"fabric\.dimensions: \[4, 4\] means nothing to ring; leave it out"),
        ({"link_latency_cycles": 0}, r"fabric\.link_latency_cycles: 0 is out of range 1\.\.1024; choose a shorter"),
        ({"link_latency_cycles": 1025}, r"fabric\.link_latency_cycles: 1025 is out of range 1\.\.1024; choose"),
        ({"link_width_bits": 24}, r"fabric\.link_width_bits: 24 is no divisor of a flit's 64 bits"),
        ({"link_width_bits": -8}, r"fabric\.link_width_bits: -8 is no divisor"),
        ({"channels": 3}, r"fabric\.channels: 3 is none of 1, 2, 4"),
        ({"channels": 0}, r"fabric\.channels: 0 is none of 1, 2, 4"),
        (
            {"topology": "crossbar", "dimensions": (), "channels": 2},
            r"fabric\.channels: 2 is of no use to a crossbar, where one hop is all; write 1",
        ),
    ],
)
def test_refuses_an_impossible_fabric(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        replace(fabric("torus", 16, 4, 4), **change)
