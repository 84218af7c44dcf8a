# amaranth: UnusedElaboratable=no
"""The link with its sender: order, delay, full rate of one channel alone, credits, channels that do not disturb."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from amaranth.hdl import Cat, Fragment, Module, Signal
from amaranth.lib import wiring
from amaranth.sim import Simulator, SimulatorContext

from rtl.fabric.channel import Link, places
from rtl.fabric.sender import Sender
from tests.rtl.quiescence import QuiescenceJudge


@dataclass
class Seen:
    """What went through: (cycle, flit) by channel, at the moment of `take` and at the link's end."""

    taken: list[list[tuple[int, int]]]
    came: list[list[tuple[int, int]]]
    quiet: list[bool] = field(default_factory=list)
    quiet_edges: int = 0


def run(
    flits: Sequence[Sequence[int]],
    *,
    latency: int,
    cycles_per_flit: int = 1,
    ready: Sequence[Sequence[bool]] = ((True,),),
    cycles: int,
    bits: int = 64,
) -> Seen:
    """Sends `flits[c]` on channel c, channels by turns as far as they are usable; `ready[c]` repeats at the end."""
    channels = len(flits)
    sender = Sender(
        datapath_bits=bits,
        channels=channels,
        credits=places(latency, cycles_per_flit),
        cycles_per_flit=cycles_per_flit,
    )
    link = Link(datapath_bits=bits, channels=channels, latency_cycles=latency, cycles_per_flit=cycles_per_flit)
    m = Module()
    quiescent = Signal()
    m.submodules += [sender, link]
    wiring.connect(m, sender.o_link, link.i_link)
    m.d.comb += quiescent.eq(sender.quiescent & link.quiescent)
    fragment = Fragment.get(m, None)
    judge = QuiescenceJudge(fragment, quiescent)
    seen = Seen([[] for _ in flits], [[] for _ in flits])
    waiting = [list(queue) for queue in flits]
    valids = Cat(stream.valid for stream in link.o_flits)

    async def bench(ctx: SimulatorContext) -> None:
        turn = 0
        for cycle in range(cycles):
            usable = ctx.get(sender.usable)
            candidates = [c % channels for c in range(turn, turn + channels)]
            chosen = next((c for c in candidates if waiting[c] and usable >> c & 1), None)
            ctx.set(sender.take, chosen is not None)
            if chosen is not None:
                flit = waiting[chosen].pop(0)
                seen.taken[chosen].append((cycle, flit))
                ctx.set(sender.channel, chosen)
                ctx.set(sender.flit, {"data": flit, "last": flit & 1})
                turn = chosen + 1
            taking = [ready[c % len(ready)][cycle % len(ready[c % len(ready)])] for c in range(channels)]
            for stream, take in zip(link.o_flits, taking, strict=True):
                ctx.set(stream.ready, take)
            payloads = [ctx.get(stream.payload.as_value()) for stream in link.o_flits]
            valid = ctx.get(valids)
            for channel, payload in enumerate(payloads):
                if valid >> channel & 1 and taking[channel]:
                    data = payload & (1 << bits) - 1
                    assert payload >> bits == data & 1
                    seen.came[channel].append((cycle, data))
            seen.quiet.append(bool(ctx.get(quiescent)))
            await ctx.tick()

    simulator = Simulator(fragment)
    simulator.add_clock(1e-9)
    simulator.add_testbench(bench)
    simulator.add_testbench(judge.watch, background=True)
    simulator.run()
    seen.quiet_edges = judge.quiet_edges
    return seen


@pytest.mark.parametrize(
    ("latency", "cycles_per_flit"), [(1, 1), (2, 1), (3, 1), (9, 1), (1, 2), (4, 2), (1, 8), (5, 8)]
)
def test_one_channel_alone_has_the_whole_link(latency: int, cycles_per_flit: int) -> None:
    count = 3 * places(latency, cycles_per_flit)
    flits = [[index * 7 for index in range(count)], []]
    seen = run(
        flits, latency=latency, cycles_per_flit=cycles_per_flit, cycles=(count + 4) * cycles_per_flit + 3 * latency
    )
    assert seen.taken[0] == [(cycles_per_flit * index, flit) for index, flit in enumerate(flits[0])]
    # One cycle in the sender's register, one more for each further part of a flit.
    delay = latency + cycles_per_flit
    assert seen.came[0] == [(cycle + delay, flit) for cycle, flit in seen.taken[0]]


@pytest.mark.parametrize(("latency", "cycles_per_flit"), [(1, 1), (4, 1), (2, 4)])
def test_no_place_more_than_that_is_needed(latency: int, cycles_per_flit: int) -> None:
    """With a place less, the first credit would come back too late: the last one is spent just before."""
    seen = run([list(range(99))], latency=latency, cycles_per_flit=cycles_per_flit, ready=[[False]], cycles=200)
    assert len(seen.taken[0]) == places(latency, cycles_per_flit)
    last_spent = seen.taken[0][-1][0]
    first_back = 2 * latency + cycles_per_flit + 1  # for a flit that is taken as soon as it can
    assert last_spent < first_back <= last_spent + cycles_per_flit


@pytest.mark.parametrize("latency", [1, 2, 6])
@pytest.mark.parametrize("bits", [64, 128])
def test_random_back_pressure_loses_nothing_and_keeps_each_channel_in_order(latency: int, bits: int) -> None:
    generator = random.Random(latency)
    flits = [[generator.getrandbits(bits) for _ in range(60)] for _ in range(3)]
    ready = [[generator.random() < share for _ in range(97)] for share in (0.9, 0.5, 0.2)]
    seen = run(flits, latency=latency, ready=ready, cycles=500, bits=bits)
    for channel in range(3):
        assert [flit for _, flit in seen.came[channel]] == flits[channel]
        for (went, _), (came, _) in zip(seen.taken[channel], seen.came[channel], strict=True):
            assert came - went > latency
    assert seen.quiet_edges > 0


def test_a_channel_that_waits_leaves_the_link_to_the_others() -> None:
    flits = [list(range(50)), list(range(50))]
    seen = run(flits, latency=3, ready=[[False], [True]], cycles=80)
    assert len(seen.taken[0]) == places(3)
    assert seen.came[0] == []
    assert [flit for _, flit in seen.came[1]] == flits[1]
    # By turns while both have credits, then in every cycle.
    assert [cycle for cycle, _ in seen.taken[1]] == [*range(1, 2 * places(3), 2), *range(16, 16 + 50 - places(3))]


def test_quiescent_when_nothing_moves_even_if_a_flit_waits_at_the_end() -> None:
    seen = run([[1]], latency=4, ready=[[False] * 12 + [True] * 12], cycles=24)
    # Taken at 0, on the link at 1, at its end from 5 on; leaves at 12, its credit is back 4 cycles later.
    assert [cycle for cycle, quiet in enumerate(seen.quiet) if quiet] == [*range(5, 12), *range(17, 24)]


@pytest.mark.parametrize("latency", [0, 1025])
def test_refuses_an_impossible_latency(latency: int) -> None:
    with pytest.raises(ValueError, match=rf"^link\.latency_cycles: {latency} is out of range 1\.\.1024$"):
        Link(datapath_bits=64, channels=2, latency_cycles=latency)
