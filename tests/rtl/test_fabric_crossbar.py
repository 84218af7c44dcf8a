# amaranth: UnusedElaboratable=no
"""The crossbar and the topologies: whole packets, to the right port, in turn; none lost but those for nobody."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from amaranth.sim import Simulator, SimulatorContext

from rtl.fabric.crossbar import Crossbar
from rtl.fabric.topology import Connection, End, Topology, connections

Packet = tuple[int, ...]


def packet(destination: int, source: int, number: int, words: int, noise: int = 0) -> Packet:
    """A packet as far as a switch is concerned: dst_nid in bits 15..0 of word 0, then words that mean nothing to it."""
    head = destination | source << 16 | number << 32
    return (head, *(noise * (index + 1) % (1 << 64) for index in range(words - 1)))


@dataclass
class Traffic:
    """What went in and came out of a crossbar: packets by port, cycle of each word's departure, drops by port."""

    came: list[list[Packet]]
    last_cycles: list[list[int]]
    dropped: list[int]
    quiet: list[int] = field(default_factory=list)


def run(
    ports: int, queues: Sequence[Sequence[Packet]], *, offer: float = 1.0, take: float = 1.0, seed: int = 0
) -> Traffic:
    """Sends every queue into its port; a word is offered, an output taken from, with these probabilities per cycle."""
    crossbar = Crossbar(ports)
    result = Traffic([[] for _ in range(ports)], [[] for _ in range(ports)], [0] * ports)
    generator = random.Random(seed)
    waiting = [[(word, index == len(p) - 1) for p in queue for index, word in enumerate(p)] for queue in queues]
    held: list[Any] = [None] * ports
    partial: list[list[int]] = [[] for _ in range(ports)]
    total = sum(map(len, waiting))
    signals = [s for i in crossbar.i_packets for s in (i.ready,)]
    signals += [s for o in crossbar.o_packets for s in (o.valid, o.payload.word, o.payload.last)]

    async def bench(ctx: SimulatorContext) -> None:
        before: list[tuple[int, int, int] | None] = [None] * ports
        for cycle in range(60 * total + 20):
            taking = [generator.random() < take for _ in range(ports)]
            for port, stream in enumerate(crossbar.i_packets):
                if held[port] is None and waiting[port] and generator.random() < offer:
                    held[port] = waiting[port].pop(0)
                ctx.set(stream.valid, held[port] is not None)
                if held[port] is not None:
                    ctx.set(stream.payload, {"word": held[port][0], "last": held[port][1]})
                ctx.set(crossbar.o_packets[port].ready, taking[port])
            result.quiet.append(ctx.get(crossbar.quiescent))
            sampled = await ctx.tick().sample(*signals, crossbar.dropped)
            values = sampled[2:]
            for port in range(ports):
                if values[port] and held[port] is not None:
                    held[port] = None
                valid, word, last = values[ports + 3 * port : ports + 3 * port + 3]
                assert before[port] is None or before[port] == (valid, word, last), "changed before ready"
                before[port] = (valid, word, last) if valid and not taking[port] else None
                if valid and taking[port]:
                    partial[port].append(word)
                    if last:
                        result.came[port].append(tuple(partial[port]))
                        result.last_cycles[port].append(cycle)
                        partial[port] = []
                result.dropped[port] += values[-1] >> port & 1
            if not any(waiting) and held == [None] * ports and ctx.get(crossbar.quiescent):
                return
        pytest.fail("the crossbar did not pass everything or never became quiescent")

    simulator = Simulator(crossbar)
    simulator.add_clock(1e-9)
    simulator.add_testbench(bench)
    simulator.run()
    assert partial == [[] for _ in range(ports)]
    return result


@pytest.mark.parametrize("ports", [1, 2, 3, 5])
@pytest.mark.parametrize(("offer", "take"), [(1.0, 1.0), (0.5, 1.0), (1.0, 0.4), (0.6, 0.6)])
def test_random_traffic_arrives_whole_in_order_and_at_its_port(ports: int, offer: float, take: float) -> None:
    generator = random.Random(ports)
    queues = [
        [
            packet(generator.randrange(ports + 2), source, number, generator.randrange(1, 9), generator.getrandbits(64))
            for number in range(15)
        ]
        for source in range(ports)
    ]
    traffic = run(ports, queues, offer=offer, take=take, seed=ports)
    for port in range(ports):
        for source in range(ports):
            expected = [p for p in queues[source] if p[0] & 0xFFFF == port]
            assert [p for p in traffic.came[port] if p[0] >> 16 & 0xFFFF == source] == expected
        assert len(traffic.came[port]) == sum(p[0] & 0xFFFF == port for queue in queues for p in queue)
    assert traffic.dropped == [sum(p[0] & 0xFFFF >= ports for p in queue) for queue in queues]


def test_inputs_that_always_have_a_packet_for_one_output_take_turns() -> None:
    queues = [[packet(2, source, number, 6) for number in range(8)] for source in range(4)]
    traffic = run(4, queues)
    sources = [p[0] >> 16 & 0xFFFF for p in traffic.came[2]]
    assert len(sources) == 32
    assert all(sorted(sources[start : start + 4]) == [0, 1, 2, 3] for start in range(0, 32, 4))
    # Six words and one cycle in which the output is given away.
    assert traffic.last_cycles[2] == list(range(6, 6 + 7 * 32, 7))


def test_outputs_are_independent() -> None:
    queues = [[packet((source + 1) % 3, source, number, 5) for number in range(4)] for source in range(3)]
    traffic = run(3, queues)
    assert traffic.last_cycles == [[5, 11, 17, 23]] * 3


def test_words_that_look_like_headers_are_not_taken_for_one() -> None:
    queues = [[(1, 0, 2, 7, 0)], [(0, 1, 1, 1, 1)], [(1, 9, 9, 9)]]
    traffic = run(3, queues)
    assert traffic.came[0] == [(0, 1, 1, 1, 1)]
    assert sorted(traffic.came[1]) == [(1, 0, 2, 7, 0), (1, 9, 9, 9)]
    assert traffic.came[2] == []


@pytest.mark.parametrize("destination", [2, 3, 0xFFFF])
def test_a_packet_for_nobody_is_consumed_and_counted_once(destination: int) -> None:
    queues: list[list[Packet]] = [[packet(destination, 0, 0, 6, 3), packet(1, 0, 1, 6)], []]
    traffic = run(2, queues)
    assert traffic.dropped == [1, 0]
    assert traffic.came == [[], [queues[0][1]]]


def test_quiescent_before_and_after_and_never_in_between() -> None:
    quiet = run(2, [[packet(1, 0, 0, 6)], []]).quiet
    # Offered from cycle 0 on, six words in cycles 1 to 6.
    assert quiet == [0] * 7 + [1]
    assert run(2, [[], []]).quiet == [1]


def test_refuses_to_have_no_port() -> None:
    with pytest.raises(ValueError, match=r"^crossbar\.ports: 0 is out of range; there is at least 1$"):
        Crossbar(0)


def link(source: End, source_port: int, sink: End, sink_port: int) -> Connection:
    return Connection(source=source, source_port=source_port, sink=sink, sink_port=sink_port)


NODE, CROSSBAR = End.NODE, End.CROSSBAR


@pytest.mark.parametrize(
    ("topology", "nodes", "expected"),
    [
        ("point_to_point", 1, {link(NODE, 0, NODE, 0)}),
        ("point_to_point", 2, {link(NODE, 0, NODE, 1), link(NODE, 1, NODE, 0)}),
        ("crossbar", 1, {link(NODE, 0, CROSSBAR, 0), link(CROSSBAR, 0, NODE, 0)}),
        (
            "crossbar",
            3,
            {link(NODE, n, CROSSBAR, n) for n in range(3)} | {link(CROSSBAR, n, NODE, n) for n in range(3)},
        ),
    ],
)
def test_topologies(topology: str, nodes: int, expected: set[Connection]) -> None:
    links = connections(topology, nodes)
    assert set(links) == expected
    assert len(links) == len(expected)


def test_point_to_point_joins_at_most_two() -> None:
    with pytest.raises(
        ValueError, match=r"^machine\.nodes: 3 is out of range 1\.\.2 for point_to_point; choose crossbar$"
    ):
        connections(Topology.POINT_TO_POINT, 3)
