"""What runs in Amaranth's simulator beside a design."""

from collections.abc import Awaitable, Callable
from typing import Any

Role = Callable[[Any], Awaitable[None]]


def as_testbench(role: Role) -> Role:
    """The simulator wants coroutine functions, not callables that return coroutines."""

    async def run(ctx: Any) -> None:
        await role(ctx)

    return run
