"""What the benches of command fetch and issue share: one coroutine drives a block cycle by cycle and judges it."""

from collections.abc import Awaitable, Callable
from typing import Any

from amaranth.hdl import Fragment
from amaranth.sim import Simulator


class Judge:
    """While `quiescent` is high at a clock edge, that edge must leave registers and memories as they were."""

    def __init__(self, block: Any, fragment: Any) -> None:
        self._block = block
        self._registers, self._enables = _state_of(fragment)
        self._before: list[int] | None = None  # what the registers held after a quiet edge
        self.quiet_edges = 0

    async def tick(self, ctx: Any) -> None:
        if not ctx.get(self._block.quiescent):
            self._before = None
            await ctx.tick()
            return
        before = self._before or [ctx.get(register) for register in self._registers]
        assert not any(ctx.get(enable) for enable in self._enables), "quiescent was high, but a memory is written"
        await ctx.tick()
        self._before = [ctx.get(register) for register in self._registers]
        self.quiet_edges += 1
        pairs = zip(self._registers, before, self._before, strict=True)
        changed = [register.name for register, value, after in pairs if value != after]
        assert not changed, f"quiescent was high, but the clock changed {', '.join(changed)}"


def simulate(block: Any, test: Callable[[Any, Judge], Awaitable[None]]) -> Judge:
    fragment = Fragment.get(block, None)
    judge = Judge(block, fragment)
    simulator = Simulator(fragment)
    simulator.add_clock(1e-8)

    async def testbench(ctx: Any) -> None:
        await test(ctx, judge)

    simulator.add_testbench(testbench)
    simulator.run()
    return judge


def _state_of(fragment: Any) -> tuple[list[Any], list[Any]]:
    """Signals that the clock changes, those that memories answer with included, and write enables of memories."""
    registers: dict[int, Any] = {}
    enables: list[Any] = []
    for statement in fragment.statements.get("sync", ()):
        registers.update((id(signal), signal) for signal in statement._lhs_signals())
    for port in getattr(fragment, "_read_ports", ()):
        registers.update((id(signal), signal) for signal in port._data._lhs_signals())
    enables += [port._en for port in getattr(fragment, "_write_ports", ())]
    for child, *_ in fragment.subfragments:
        theirs, written = _state_of(child)
        registers.update((id(signal), signal) for signal in theirs)
        enables += written
    return list(registers.values()), enables
