# amaranth: UnusedElaboratable=no
"""One router or injector: the way it finds, whom it serves, what it drops, and when it is quiescent."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from amaranth.hdl import Fragment, Module, Signal
from amaranth.sim import Simulator, SimulatorContext
from fabric_ways import next_hop

from rtl.fabric.channel import places
from rtl.fabric.injector import Injector
from rtl.fabric.parameters import FabricParameters
from rtl.fabric.router import Router
from rtl.fabric.routes import bases, directions, ties
from rtl.fabric.routing import find_way
from tests.rtl.quiescence import QuiescenceJudge

Flit = tuple[int, int]  # data, last
End = tuple[str, int]  # "node" and class, or "P" and channel for the link of port P
UP, DOWN = "0", "1"  # of a ring; no other dimension


def fabric(topology: str, nodes: int, *dimensions: int, **rest: Any) -> FabricParameters:
    return FabricParameters(topology=topology, nodes=nodes, dimensions=dimensions, **rest)


def packet(destination: int, length: int, tag: int = 0) -> list[Flit]:
    """Flits that say whose and which they are."""
    return [(tag << 32 | index << 16 | destination * (index == 0), int(index == length - 1)) for index in range(length)]


@pytest.mark.parametrize(
    "parameters",
    [
        fabric("point_to_point", 2),
        fabric("ring", 7),
        fabric("mesh", 12, 3, 4),
        fabric("mesh", 12, 1, 4, 3),
        fabric("torus", 15, 3, 5),
        fabric("torus", 24, 2, 3, 4),
        fabric("torus", 36, 6, 6),
    ],
    ids=lambda parameters: f"{parameters.topology}-{parameters.shape}",
)
def test_the_hardware_knows_the_same_way_as_the_plan(parameters: FabricParameters) -> None:
    ports = directions(parameters)
    base_ports = [Signal(16, name=f"base_{dimension}") for dimension in range(len(parameters.shape))]
    tie_ports, destination = Signal(len(parameters.shape)), Signal(16)
    m = Module()
    way = find_way(m, parameters, bases=list(base_ports), ties=tie_ports, destination=destination, name="way")

    async def bench(ctx: SimulatorContext) -> None:
        for nid in range(parameters.nodes):
            ctx.set(tie_ports, ties(parameters, nid))
            for signal, value in zip(base_ports, bases(parameters, nid), strict=True):
                ctx.set(signal, value)
            for there in [*range(parameters.nodes), parameters.nodes, 1 << 10, (1 << 16) - 1]:
                ctx.set(destination, there)
                await ctx.delay(1e-9)
                found, group = ctx.get(way.outputs), ctx.get(way.group)
                if there >= parameters.nodes:
                    assert found == 0
                elif (hop := next_hop(parameters, nid, there)) is None:
                    assert found == 1 << len(ports)
                else:
                    assert (found, group) == (1 << ports.index(hop.direction), hop.group)

    simulator = Simulator(m)
    simulator.add_testbench(bench)
    simulator.run()


@dataclass
class Seen:
    """What came out, (cycle, data, last) by end; packets dropped; whether it was quiescent, by cycle."""

    came: dict[End, list[tuple[int, int, int]]] = field(default_factory=dict)
    dropped: int = 0
    quiet: list[bool] = field(default_factory=list)
    quiet_edges: int = 0

    def flits(self, end: End) -> list[Flit]:
        return [(data, last) for _, data, last in self.came.get(end, [])]


class Bench:
    """A router or injector at node `nid`, with queues for its inputs, and links that give credits back a cycle later.

    `stuck` ends give no credits back and take nothing. Fails if a flit leaves without a credit.
    """

    def __init__(self, block: Router | Injector, parameters: FabricParameters, nid: int = 0) -> None:
        self.block, self.parameters, self.nid = block, parameters, nid
        self.inputs: dict[End, Any] = {}
        self.links: dict[str, Any] = {}
        self.exits: dict[End, Any] = {}
        if isinstance(block, Injector):
            self.links["0"] = block.o_link
        for port in range(getattr(block, "link_ports", 0)):
            self.links[str(port)] = block.o_links[port]
            self.inputs |= {(str(port), channel): stream for channel, stream in enumerate(block.i_links[port])}
        if "i_local" in block.signature.members:
            self.inputs |= {("node", index): stream for index, stream in enumerate(block.i_local)}
        if "o_local" in block.signature.members:
            self.exits = {("node", index): stream for index, stream in enumerate(block.o_local)}

    def run(
        self,
        queues: Mapping[End, Sequence[Flit]],
        *,
        cycles: int,
        offer: float = 1.0,
        stuck: frozenset[End] = frozenset(),
    ) -> Seen:
        fragment = Fragment.get(self.block, None)
        judge = QuiescenceJudge(fragment, self.block.quiescent)
        seen = Seen()

        async def bench(ctx: SimulatorContext) -> None:
            if "bases" in self.block.signature.members:
                for signal, value in zip(self.block.bases, bases(self.parameters, self.nid), strict=True):
                    ctx.set(signal, value)
                ctx.set(self.block.ties, ties(self.parameters, self.nid))
            await self._drive(ctx, seen, {end: list(queue) for end, queue in queues.items()}, cycles, offer, stuck)

        simulator = Simulator(fragment)
        simulator.add_clock(1e-9)
        simulator.add_testbench(bench)
        simulator.add_testbench(judge.watch, background=True)
        simulator.run()
        seen.quiet_edges = judge.quiet_edges
        return seen

    async def _drive(
        self,
        ctx: SimulatorContext,
        seen: Seen,
        queues: dict[End, list[Flit]],
        cycles: int,
        offer: float,
        stuck: frozenset[End],
    ) -> None:
        generator = random.Random(1)
        offered: set[End] = set()
        credits: dict[End, int] = {}
        for cycle in range(cycles):
            for end, queue in queues.items():
                if queue and end not in offered and generator.random() < offer:
                    offered.add(end)
                    ctx.set(self.inputs[end].payload, {"data": queue[0][0], "last": queue[0][1]})
                ctx.set(self.inputs[end].valid, end in offered)
            for end, stream in self.exits.items():
                ctx.set(stream.ready, end not in stuck)
                if ctx.get(stream.valid) and end not in stuck:
                    payload = stream.payload
                    seen.came.setdefault(end, []).append((cycle, ctx.get(payload.data), ctx.get(payload.last)))
            taken = [end for end in offered if ctx.get(self.inputs[end].ready)]
            returns = {name: self._leave(ctx, seen, cycle, name, credits, stuck) for name in self.links}
            seen.quiet.append(bool(ctx.get(self.block.quiescent)))
            await ctx.tick()
            for end in taken:
                queues[end].pop(0)
                offered.remove(end)
            for name, link in self.links.items():
                ctx.set(link.credit, returns[name])
        seen.dropped = ctx.get(self.block.dropped) if isinstance(self.block, Router) else 0

    def _leave(
        self,
        ctx: SimulatorContext,
        seen: Seen,
        cycle: int,
        name: str,
        credits: dict[End, int],
        stuck: frozenset[End],
    ) -> int:
        """Takes the flit on the link and returns the credits that go back."""
        link = self.links[name]
        if not ctx.get(link.valid):
            return 0
        end = (name, ctx.get(link.channel))
        seen.came.setdefault(end, []).append((cycle, ctx.get(link.flit.data), ctx.get(link.flit.last)))
        if end not in stuck:
            return 1 << end[1]
        credits[end] = credits.get(end, places(self.parameters.link_latency_cycles)) - 1
        assert credits[end] >= 0, f"a flit left by {end} without a credit"
        return 0


RING = fabric("ring", 6)  # node 1: NIDs 2 and 3 are up; 0 is down; 5 is down, over the closing link


def test_a_packet_leaves_by_its_port_in_its_group() -> None:
    queues = {("node", 0): packet(2, 3, 1) + packet(5, 3, 2) + packet(0, 1, 3) + packet(1, 4, 4)}
    seen = Bench(Router(RING), RING, nid=1).run(queues, cycles=30)
    assert seen.flits((UP, 1)) == packet(2, 3, 1)
    assert seen.flits((DOWN, 0)) == packet(5, 3, 2)
    assert seen.flits((DOWN, 1)) == packet(0, 1, 3)
    assert seen.flits(("node", 0)) == packet(1, 4, 4)


def test_responses_have_channels_of_their_own() -> None:
    queues = {("node", 1): packet(2, 3, 1), ("node", 0): packet(2, 3, 2), ("1", 3): packet(1, 2, 5)}
    seen = Bench(Router(RING), RING, nid=1).run(queues, cycles=20)
    assert seen.flits((UP, 3)) == packet(2, 3, 1)
    assert seen.flits((UP, 1)) == packet(2, 3, 2)
    assert seen.flits(("node", 1)) == packet(1, 2, 5)


def test_two_cycles_for_the_first_flit_one_for_the_others_and_one_between_packets() -> None:
    seen = Bench(Router(RING), RING, nid=1).run({("node", 0): packet(2, 3) + packet(3, 3)}, cycles=20)
    assert [cycle for cycle, *_ in seen.came[UP, 1]] == [2, 3, 4, 6, 7, 8]


def test_packets_on_different_channels_of_a_link_alternate_and_those_on_one_do_not() -> None:
    queues = {("node", 0): packet(2, 6, 1), ("node", 1): packet(2, 6, 2), (DOWN, 1): packet(2, 6, 3)}
    seen = Bench(Router(RING), RING, nid=1).run(queues, cycles=40)
    order = sorted((cycle, data >> 32) for channel in (1, 3) for cycle, data, _ in seen.came[UP, channel])
    assert [cycle for cycle, _ in order] == list(range(2, 20))
    # The first two packets in turn; the third may not enter their channel before the first one's end.
    assert [tag for _, tag in order][:12] == [1, 2] * 6
    assert seen.flits((UP, 1)) == packet(2, 6, 1) + packet(2, 6, 3)


def test_inputs_that_always_have_a_packet_for_one_output_take_turns() -> None:
    switch = fabric("crossbar", 4)
    queues = {(str(port), 0): [flit for _ in range(6) for flit in packet(3, 5, port)] for port in range(4)}
    seen = Bench(Router(switch), switch).run(queues, cycles=140)
    tags = [data >> 32 for data, _ in seen.flits(("3", 0))[::5]]
    assert len(tags) == 24
    assert all(sorted(tags[start : start + 4]) == [0, 1, 2, 3] for start in range(0, 24, 4))
    cycles = [cycle for cycle, *_ in seen.came["3", 0]]
    assert cycles == list(range(2, 2 + 24 * 5))


def test_a_channel_without_credits_leaves_the_link_to_the_others() -> None:
    queues = {("node", 0): packet(2, 20, 1), ("node", 1): packet(2, 20, 2)}
    seen = Bench(Router(RING), RING, nid=1).run(queues, cycles=40, stuck=frozenset({(UP, 1)}))
    assert len(seen.came[UP, 1]) == places(1)
    assert seen.flits((UP, 3)) == packet(2, 20, 2)


def test_packets_for_different_nodes_do_not_wait_for_each_other_in_different_lanes() -> None:
    line = fabric("mesh", 4, 4, channels=2)
    queues = {(DOWN, 0): packet(2, 20, 1), (DOWN, 1): packet(3, 20, 2)}
    seen = Bench(Router(line), line, nid=1).run(queues, cycles=40, stuck=frozenset({(UP, 0)}))
    assert len(seen.came[UP, 0]) == places(1)
    assert seen.flits((UP, 1)) == packet(3, 20, 2)


def test_a_node_that_takes_no_requests_gets_its_responses() -> None:
    queues = {("node", 0): packet(1, 20, 1), (DOWN, 3): packet(1, 20, 2)}
    seen = Bench(Router(RING), RING, nid=1).run(queues, cycles=40, stuck=frozenset({("node", 0)}))
    assert seen.flits(("node", 1)) == packet(1, 20, 2)
    assert ("node", 0) not in seen.came


def test_a_stuck_router_is_quiescent() -> None:
    seen = Bench(Router(RING), RING, nid=1).run({("node", 0): packet(2, 20)}, cycles=20, stuck=frozenset({(UP, 1)}))
    # The way in cycle 0, four flits; the last is on the link in the cycle after it was taken.
    assert seen.quiet == [False] * 6 + [True] * 14


@pytest.mark.parametrize("destination", [6, 7, 0xFFFF])
def test_a_packet_to_nobody_is_consumed_and_counted(destination: int) -> None:
    queues = {("node", 0): packet(destination, 6, 1) + packet(2, 3, 2), ("node", 1): packet(destination, 6)}
    seen = Bench(Router(RING), RING, nid=1).run(queues, cycles=30)
    assert seen.dropped == 2
    assert seen.came.keys() == {(UP, 1)}
    assert seen.flits((UP, 1)) == packet(2, 3, 2)


def test_a_packet_that_came_by_a_wrong_link_is_dropped() -> None:
    """From the neighbour above no packet comes whose way is up."""
    seen = Bench(Router(RING), RING, nid=1).run({(UP, 0): packet(2, 6) + packet(0, 2)}, cycles=20)
    assert seen.dropped == 1
    assert seen.flits((DOWN, 1)) == packet(0, 2)


def test_a_switch_drops_what_is_for_nobody_and_serves_its_own_port() -> None:
    switch = fabric("crossbar", 3)
    seen = Bench(Router(switch), switch).run({("1", 0): packet(3, 6) + packet(1, 6)}, cycles=30)
    assert seen.dropped == 1
    assert seen.flits(("1", 0)) == packet(1, 6)


def test_an_injector_gives_both_classes_their_turn() -> None:
    switch = fabric("crossbar", 3)
    queues = {("node", 0): packet(1, 9, 1), ("node", 1): packet(2, 4, 2)}
    seen = Bench(Injector(switch), switch).run(queues, cycles=20)
    assert seen.flits(("0", 0)) == packet(1, 9, 1)
    assert seen.flits(("0", 1)) == packet(2, 4, 2)
    assert [cycle for cycle, *_ in seen.came["0", 1]] == [2, 4, 6, 8]
    assert [cycle for cycle, *_ in seen.came["0", 0]] == [1, 3, 5, 7, 9, 10, 11, 12, 13]
    assert seen.quiet[-1]


def test_an_injector_spends_credits_only() -> None:
    switch = fabric("crossbar", 3, link_latency_cycles=3)
    queues = {("node", 0): packet(1, 30, 1), ("node", 1): packet(2, 30, 2)}
    seen = Bench(Injector(switch), switch).run(queues, cycles=60, stuck=frozenset({("0", 0)}))
    assert len(seen.came["0", 0]) == places(3)
    assert seen.flits(("0", 1)) == packet(2, 30, 2)


@pytest.mark.parametrize("seed", [1, 2])
def test_random_traffic_is_quiescent_only_when_no_edge_matters(seed: int) -> None:
    """The judge of the bench looks at every register; here is what makes it look at many states."""
    generator = random.Random(seed)
    torus = fabric("torus", 9, 3, 3)
    queues = {
        end: [flit for _ in range(4) for flit in packet(generator.randrange(10), generator.randrange(1, 6))]
        for end in [("node", 0), ("node", 1), ("0", 1), ("1", 2), ("2", 0), ("3", 3)]
    }
    seen = Bench(Router(torus), torus, nid=4).run(queues, cycles=120, offer=0.3)
    assert 10 < seen.quiet_edges < 110
