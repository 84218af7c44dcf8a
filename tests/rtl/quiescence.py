"""Judges `quiescent`: while it is high, a clock edge must leave a design as it is."""

from typing import Any


class QuiescenceJudge:
    """An edge before which all of `quiescent` are high must change no register and write no memory of `fragment`, an
    elaborated design, or below; else the test fails. `quiet_edges` counts such edges.

    A test that drives all inputs itself calls `tick` for an edge. `watch` runs beside one that does not, added after
    whatever sets inputs: it does not judge an edge if `quiescent` has risen after it has looked. The first edge, before
    which memories have not answered, is not judged there.
    """

    def __init__(self, fragment: Any, *quiescent: Any) -> None:
        self.quiet_edges = 0
        self._quiescent = quiescent
        self._registers, self._enables = _state_of(fragment)
        self._kept: list[int] | None = None  # what the registers held after a quiet edge

    async def watch(self, ctx: Any) -> None:
        await ctx.tick()
        while True:
            await self.tick(ctx)

    async def tick(self, ctx: Any) -> None:
        if not all(ctx.get(quiescent) for quiescent in self._quiescent):
            self._kept = None
            await ctx.tick()
            return
        before, self._kept = self._kept or self._read(ctx), None
        _, _, *sampled = await ctx.tick().sample(*self._quiescent, *self._enables)
        if not all(sampled[: len(self._quiescent)]):
            return
        self.quiet_edges += 1
        assert not any(sampled[len(self._quiescent) :]), "quiescent was high, but a memory was written"
        self._kept = self._read(ctx)
        pairs = zip(self._registers, before, self._kept, strict=True)
        changed = [register.name for register, old, new in pairs if old != new]
        assert not changed, f"quiescent was high, but the clock changed {', '.join(changed)}"

    def _read(self, ctx: Any) -> list[int]:
        return [ctx.get(register) for register in self._registers]


def _state_of(fragment: Any) -> tuple[list[Any], list[Any]]:
    """Signals that the clock changes, those that memories answer with included, and write enables of memories."""
    registers: dict[int, Any] = {}
    enables: list[Any] = []
    for statement in fragment.statements.get("sync", ()):
        registers.update((id(signal), signal) for signal in statement._lhs_signals())
    for port in getattr(fragment, "_read_ports", ()):
        if port._domain != "comb":
            registers.update((id(signal), signal) for signal in port._data._lhs_signals())
    enables += [port._en for port in getattr(fragment, "_write_ports", ())]
    for child, *_ in fragment.subfragments:
        theirs, written = _state_of(child)
        registers.update((id(signal), signal) for signal in theirs)
        enables += written
    return list(registers.values()), enables
