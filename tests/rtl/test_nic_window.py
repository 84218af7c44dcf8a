"""Windows: which claims lie inside, by hand-worked cases and by all small ones."""

from typing import Any

import pytest

from rtl.nic.host.window import RIGHTS, WindowCheck
from rtl.nic.parameters import NicParameters
from tests.rtl.host_bench import simulate

PARAMETERS = NicParameters(contexts=3, windows=2)
TOP = 1 << 48


def configure(ctx: Any, check: WindowCheck) -> None:
    """Window 0 of context c: 64 bytes at 0x1000 * (c + 1), all rights; window 1: 16 bytes 0x100 behind, one right."""
    for index, context in enumerate(check.contexts):
        for window, size in enumerate((64, 16)):
            ctx.set(context.window_address[window], 0x1000 * (index + 1) + 0x100 * window)
            ctx.set(context.window_bytes[window], size)
            for number, right in enumerate(RIGHTS):
                ctx.set(getattr(context, f"window_{right}")[window], window == 0 or number == index)


async def ask(ctx: Any, check: WindowCheck, *, context: int, window: int, offset: int, size: int) -> tuple[int, int]:
    for port, value in (
        (check.context, context),
        (check.window, window),
        (check.offset, offset),
        (check.bytes, size),
        (check.start, 1),
    ):
        ctx.set(port, value)
    await ctx.tick()
    ctx.set(check.start, 0)
    return ctx.get(check.inside), ctx.get(check.address)


# (context, window, offset, bytes): address, or None if outside.
CLAIMS = {
    "all of it": ((1, 0, 0, 64), 0x2000),
    "its end": ((2, 0, 56, 8), 0x3038),
    "nothing, at its end": ((0, 0, 64, 0), 0x1040),
    "the other window": ((1, 1, 3, 13), 0x2103),
    "one byte too many": ((1, 0, 0, 65), None),
    "one byte beyond the end": ((1, 0, 56, 9), None),
    "nothing, beyond the end": ((1, 0, 65, 0), None),
    "no such window": ((1, 2, 0, 8), None),
    "no such window, whose low bits name one": ((1, 0x80, 0, 8), None),
    "far outside": ((1, 0, 1 << 47, 8), None),
    "wraps at 48 bits": ((1, 0, TOP - 8, 16), None),
    "beyond 48 bits": ((1, 0, TOP, 8), None),
    "wraps at 64 bits": ((1, 0, (1 << 64) - 8, 16), None),
    "the longest length": ((1, 0, 0, (1 << 32) - 1), None),
    "the longest length at the highest offset": ((1, 0, TOP - 1, (1 << 32) - 1), None),
}


@pytest.mark.parametrize("name", CLAIMS)
def test_claims(name: str) -> None:
    (context, window, offset, size), expected = CLAIMS[name]
    check = WindowCheck(PARAMETERS)

    async def test(ctx: Any) -> None:
        configure(ctx, check)
        inside, address = await ask(ctx, check, context=context, window=window, offset=offset, size=size)
        assert inside == (expected is not None)
        assert expected in (None, address)

    simulate(check, test, [], judged=False)


def test_the_only_window_is_meant_by_its_number_alone() -> None:
    check = WindowCheck(NicParameters(contexts=1, windows=1))

    async def test(ctx: Any) -> None:
        ctx.set(check.contexts[0].window_bytes[0], 16)
        for window in range(4):
            assert (await ask(ctx, check, context=0, window=window, offset=0, size=8))[0] == (window == 0)

    simulate(check, test, [], judged=False)


def test_every_small_claim() -> None:
    check = WindowCheck(PARAMETERS)

    async def test(ctx: Any) -> None:
        configure(ctx, check)
        for offset in range(20):
            for size in range(20):
                inside, address = await ask(ctx, check, context=1, window=1, offset=offset, size=size)
                assert inside == all(byte < 16 for byte in range(offset, offset + size)) & (offset <= 16)
                assert not inside or address == 0x2100 + offset

    simulate(check, test, [], judged=False)


def test_a_window_may_be_as_long_as_memory() -> None:
    check = WindowCheck(PARAMETERS)

    async def test(ctx: Any) -> None:
        ctx.set(check.contexts[0].window_bytes[0], TOP - 1)
        assert await ask(ctx, check, context=0, window=0, offset=TOP - 9, size=8) == (1, TOP - 9)
        assert (await ask(ctx, check, context=0, window=0, offset=TOP - 8, size=8))[0] == 0

    simulate(check, test, [], judged=False)


def test_rights_are_those_of_the_window() -> None:
    check = WindowCheck(PARAMETERS)

    async def test(ctx: Any) -> None:
        configure(ctx, check)
        for context in range(3):
            await ask(ctx, check, context=context, window=1, offset=0, size=1)
            assert [ctx.get(getattr(check, right)) for right in RIGHTS] == [number == context for number in range(4)]

    simulate(check, test, [], judged=False)


def test_the_verdict_belongs_to_the_window_that_was_looked_up() -> None:
    """What changes after `start`, window and rights, has no part in it; the offset is the claimant's to hold."""
    check = WindowCheck(PARAMETERS)

    async def test(ctx: Any) -> None:
        configure(ctx, check)
        assert await ask(ctx, check, context=1, window=0, offset=8, size=8) == (1, 0x2008)
        ctx.set(check.contexts[1].window_address[0], 0x9000)
        ctx.set(check.contexts[1].window_bytes[0], 0)
        ctx.set(check.contexts[1].window_local_read[0], 0)
        ctx.set(check.context, 2)
        await ctx.tick().repeat(3)
        assert (ctx.get(check.inside), ctx.get(check.address), ctx.get(check.local_read)) == (1, 0x2008, 1)

    simulate(check, test, [], judged=False)
