"""What the benches of command fetch and issue share: one coroutine drives a block cycle by cycle and judges it."""

from collections.abc import Awaitable, Callable
from typing import Any

from amaranth.hdl import Fragment
from amaranth.sim import Simulator

from tests.rtl.quiescence import QuiescenceJudge


def simulate(block: Any, test: Callable[[Any, QuiescenceJudge], Awaitable[None]]) -> QuiescenceJudge:
    fragment = Fragment.get(block, None)
    judge = QuiescenceJudge(fragment, block.quiescent)
    simulator = Simulator(fragment)
    simulator.add_clock(1e-8)

    async def testbench(ctx: Any) -> None:
        await test(ctx, judge)

    simulator.add_testbench(testbench)
    simulator.run()
    return judge
