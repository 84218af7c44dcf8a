"""Two sources of ends of messages on one port: each is told once, whole and in its source's order."""

import random
from typing import Any

import pytest

from rtl.nic.target.finishes import Finishes
from tests.rtl.nic_port_bench import simulate

End = tuple[int, int, int, int, int, int, int]  # context, epoch, entry, overflow, unexpected, header, failed


def members(port: Any) -> tuple[Any, ...]:
    of_entry = (port.finish_entry, port.finish_overflow)
    of_header = (port.finish_unexpected, port.finish_header)
    return port.finish_context, port.finish_epoch, *of_entry, *of_header, port.finish_failed


async def offer(ctx: Any, port: Any, ends: list[End], chooser: random.Random, stall: float) -> None:
    for end in ends:
        while chooser.random() < stall:
            await ctx.tick()
        ctx.set(port.finish, 1)
        for member, value in zip(members(port), end, strict=True):
            ctx.set(member, value)
        await ctx.tick().until(port.finish_ready)
        ctx.set(port.finish, 0)


def run(streams: list[list[End]], stall: float) -> list[End]:
    """Drives both inputs; what came out, in order."""
    block, told = Finishes(), []

    async def take(ctx: Any) -> None:
        chooser, port, held = random.Random(3), block.o_finish, None
        async for _, _, valid, ready, *end in ctx.tick().sample(port.finish, port.finish_ready, *members(port)):
            assert held is None or (valid and held == end), "an end changed before it was taken"
            held = end if valid and not ready else None
            if valid and ready:
                told.append(tuple(end))
            ctx.set(port.finish_ready, chooser.random() >= stall)

    def source(number: int) -> Any:
        async def process(ctx: Any) -> None:
            await offer(ctx, block.i_finish[number], streams[number], random.Random(number), stall)

        return process

    async def test(ctx: Any) -> None:
        while len(told) < sum(map(len, streams)):
            await ctx.tick()
        await ctx.tick().repeat(3)

    simulate(block, test, take, source(0), source(1))
    return told


@pytest.mark.parametrize("stall", [0.0, 0.5, 0.8])
def test_every_end_is_told_once_and_holds_until_it_is_taken(stall: float) -> None:
    streams = [
        [(source, n, 10 * n + source, n // 2 % 2, n // 4 % 2, 20 * n + source, n % 2) for n in range(60)]
        for source in range(2)
    ]
    told = run(streams, stall)
    assert [[end for end in told if end[0] == source] for source in range(2)] == streams


def test_ends_of_messages_go_first() -> None:
    one, other = (0, 1, 2, 0, 0, 3, 0), (1, 2, 3, 1, 1, 4, 1)
    assert run([[one], [other]], 0.0) == [one, other]
