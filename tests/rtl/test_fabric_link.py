# amaranth: UnusedElaboratable=no
"""The link: exact delay, full rate, order and nothing lost under back pressure."""

import random

import pytest
from amaranth.sim import Simulator, SimulatorContext

from rtl.fabric.link import MAX_LATENCY_CYCLES, Link


def run(link: Link, sent: list[int], offer: list[bool], take: list[bool]) -> tuple[list[tuple[int, int]], list[int]]:
    """Offers word after word of `sent`; cycle t offers if offer[t] and takes if take[t], both repeating from their end.

    Returns (cycle, word) of each word that came out and the cycles in which one went in. An offered word stays offered.
    """
    came: list[tuple[int, int]] = []
    went: list[int] = []

    async def bench(ctx: SimulatorContext) -> None:
        offering = False
        for cycle in range(40 * (len(sent) + link.latency_cycles + 10)):
            offering = len(went) < len(sent) and (offering or offer[cycle % len(offer)])
            taking = take[cycle % len(take)]
            ctx.set(link.i_packet.valid, offering)
            if offering:
                ctx.set(link.i_packet.payload, {"word": sent[len(went)], "last": sent[len(went)] & 1})
            ctx.set(link.o_packet.ready, taking)
            if taking and ctx.get(link.o_packet.valid):
                payload = ctx.get(link.o_packet.payload)
                assert payload.last == payload.word & 1
                came.append((cycle, payload.word))
            if offering and ctx.get(link.i_packet.ready):
                went.append(cycle)
                offering = False
            if len(came) == len(sent) and ctx.get(link.quiescent):
                return
            await ctx.tick()
        pytest.fail(
            f"{len(went)} of {len(sent)} words went in, {len(came)} came out, or the link never became quiescent"
        )

    simulator = Simulator(link)
    simulator.add_clock(1e-9)
    simulator.add_testbench(bench)
    simulator.run()
    return came, went


@pytest.mark.parametrize("latency", [1, 2, 3, 7, 25])
def test_every_word_takes_the_latency_at_a_word_per_cycle(latency: int) -> None:
    sent = list(range(3 * latency + 20))
    came, went = run(Link(latency), sent, [True], [True])
    assert went == list(range(len(sent)))
    assert came == [(cycle + latency, cycle) for cycle in range(len(sent))]


@pytest.mark.parametrize("latency", [1, 2, 5])
@pytest.mark.parametrize("seed", range(3))
def test_keeps_order_and_loses_nothing_under_back_pressure(latency: int, seed: int) -> None:
    generator = random.Random(seed)
    offer = [generator.random() < 0.7 for _ in range(97)]
    take = [generator.random() < (0.2, 0.5, 0.9)[seed] for _ in range(89)]
    sent = [generator.getrandbits(64) for _ in range(150)]
    came, went = run(Link(latency), sent, offer, take)
    assert [word for _, word in came] == sent
    assert all(out - entered >= latency for (out, _), entered in zip(came, went, strict=True))


def test_takes_as_many_words_as_the_receiver_has_places_and_no_more() -> None:
    latency = 4
    sent = list(range(12))
    # The receiver takes nothing for 30 cycles, then everything.
    _, went = run(Link(latency), sent, [True], [False] * 30 + [True] * 3000)
    assert went[:8] == list(range(8))
    # The first credit comes back `latency` cycles after cycle 30, when the first word leaves.
    assert went[8:] == [34, 35, 36, 37]


def test_a_link_that_is_not_quiescent_has_something_under_way() -> None:
    link = Link(3)
    quiet: list[int] = []

    async def bench(ctx: SimulatorContext) -> None:
        ctx.set(link.o_packet.ready, 1)
        for cycle in range(12):
            ctx.set(link.i_packet.valid, cycle == 2)
            if ctx.get(link.quiescent):
                quiet.append(cycle)
            await ctx.tick()

    simulator = Simulator(link)
    simulator.add_clock(1e-9)
    simulator.add_testbench(bench)
    simulator.run()
    # In at cycle 2, out at 5, the credit back at the end of cycle 7.
    assert quiet == [0, 1, 8, 9, 10, 11]


@pytest.mark.parametrize("latency", [0, -1, MAX_LATENCY_CYCLES + 1])
def test_refuses_an_impossible_latency(latency: int) -> None:
    with pytest.raises(ValueError, match=rf"^link\.latency_cycles: {latency} is out of range 1\.\.1024; choose"):
        Link(latency)
