# amaranth: UnusedElaboratable=no
"""Whole fabrics under load: every packet arrives once, whole, in order, where it should; nothing ever stands still."""

from typing import Any

import pytest
from fabric_bench import REQUEST, Packet, Result, Traffic, uniform
from fabric_ways import route

from rtl.fabric.parameters import FabricParameters

LENGTHS = (1, 2, 10, 17)


def fabric(topology: str, nodes: int, *dimensions: int, **rest: Any) -> FabricParameters:
    return FabricParameters(topology=topology, nodes=nodes, dimensions=dimensions, **rest)


def name(parameters: FabricParameters) -> str:
    return f"{parameters.topology}-{'x'.join(map(str, parameters.shape or (parameters.nodes,)))}"


def check_all_came(parameters: FabricParameters, result: Result, packets: list[Packet], responses: bool) -> None:
    """The nodes have judged each flit; here is judged that none is missing."""
    expected = {packet for packet in packets if packet.destination < parameters.nodes}
    requests = {packet for packet in result.arrived if packet.packet_class == REQUEST}
    assert requests == expected
    assert len(result.arrived) == len(expected) * (1 + responses)
    assert sum(result.drops) == len(packets) - len(expected)


@pytest.mark.parametrize(
    ("parameters", "packets"),
    [
        (fabric("point_to_point", 1), 20),
        (fabric("point_to_point", 2, link_latency_cycles=5), 15),
        (fabric("ring", 3, channels=2), 8),
        (fabric("ring", 4), 10),
        (fabric("crossbar", 3, link_latency_cycles=2), 15),
        (fabric("mesh", 4, 2, 1, 2, link_width_bits=32), 6),
        (fabric("mesh", 4, 2, 2, link_latency_cycles=3, datapath_bits=128), 4),
        (fabric("torus", 6, 3, 2), 3),
    ],
    ids=lambda value: name(value) if isinstance(value, FabricParameters) else str(value),
)
def test_saturated_with_requests_that_wait_for_responses(parameters: FabricParameters, packets: int) -> None:
    """All nodes send as fast as they can, take half of the time, and take no request while a response is waiting."""
    requests = uniform(parameters, packets, LENGTHS, beyond=1)
    traffic = Traffic(parameters, requests, response_length=5, unanswered=0, take=0.5, offer=0.9)
    check_all_came(parameters, traffic.run(), requests, responses=True)


def test_a_ring_in_which_everybody_sends_far_long_packets_moves() -> None:
    """The load that would close the circle: packets longer than all buffers on their way, each as far as can be."""
    ring = fabric("ring", 5)
    requests = [Packet(source, (source + 2) % 5, REQUEST, number, 24) for number in range(2) for source in range(5)]
    check_all_came(ring, Traffic(ring, requests, patience=200).run(), requests, responses=False)


@pytest.mark.parametrize(
    "parameters", [fabric("mesh", 3, 3, link_latency_cycles=4), fabric("crossbar", 3, link_latency_cycles=4)], ids=name
)
def test_gates_of_the_clocks_change_nothing_but_the_work(parameters: FabricParameters) -> None:
    requests = uniform(parameters, 6, LENGTHS)
    results = [
        Traffic(parameters, requests, response_length=3, unanswered=0, take=0.6, offer=0.3, gated=gated).run()
        for gated in (False, True)
    ]
    assert results[0] == results[1]
    assert results[0].idle_gates > 0


@pytest.mark.parametrize(("destination", "latency"), [(0, 1), (2, 1), (1, 7)])
def test_each_hop_of_an_idle_fabric_takes_two_cycles_and_the_link(destination: int, latency: int) -> None:
    line = fabric("mesh", 3, 3, link_latency_cycles=latency)
    packet = Packet(0, destination, REQUEST, 0, 9)
    result = Traffic(line, [packet]).run()
    hops = len(route(line, 0, destination))
    offered = result.injected[packet][0]
    # Two cycles in each router, `latency` on each link, one on the way from the last router to its node.
    first = offered + 2 * (hops + 1) + latency * hops + 1
    assert result.arrived[packet] == (first, first + 8)


def test_through_a_switch_it_takes_one_cycle_and_two_links_and_two_cycles_between() -> None:
    switch = fabric("crossbar", 3, link_latency_cycles=6)
    packet = Packet(0, 2, REQUEST, 0, 9)
    result = Traffic(switch, [packet]).run()
    first = result.injected[packet][0] + 1 + 6 + 2 + 6
    assert result.arrived[packet] == (first, first + 8)
