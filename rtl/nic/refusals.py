"""Counts every refusal by reason, and keeps the first one that the kernel has not acknowledged."""

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.descriptors import Refusal
from rtl.nic.ports import CONTEXT_WIDTH, INDEX_WIDTH

PAGE_LOG2_BYTES = 16


class RefusalPort(wiring.Signature):
    """`valid` is high for one cycle per refusal, with `reason` beside it; a `Refusal`, never NONE."""

    def __init__(self) -> None:
        super().__init__({"valid": Out(1), "reason": Out(8)})


class Refusals(wiring.Component):
    """`counts[reason]` pulses once for every refusal, at most a few cycles later.

    Accesses and commands are violations of a process: `violation` pulses, and the first since the last
    `acknowledge` is kept in `reason`, `context` and `address`. Refused packets are counted alone: their sender is
    elsewhere.
    """

    def __init__(self, *, contexts: int, packet_sources: int) -> None:
        self._contexts = contexts
        super().__init__(
            {
                "access_refused": In(1),
                "access_unprivileged": In(1),
                "access_address": In(32),
                "command": In(RefusalPort()),
                "command_context": In(CONTEXT_WIDTH),
                "command_index": In(INDEX_WIDTH),
                "packets": In(RefusalPort()).array(packet_sources),
                "unacknowledged": In(1),
                "acknowledge": In(1),
                "violation": Out(1),
                "reason": Out(8),
                "context": Out(CONTEXT_WIDTH),
                "address": Out(32),
                "counts": Out(len(Refusal)),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        busy = [self._count(m, reason) for reason in Refusal if reason is not Refusal.NONE]
        self._keep_first(m)
        m.d.comb += self.quiescent.eq(~Cat(*busy).any())
        return m

    def _count(self, m: Module, reason: Refusal) -> Value:
        """Several sources may refuse for one reason in the same cycle, and a counter takes one at a time."""
        if reason is Refusal.ACCESS_UNPRIVILEGED:
            m.d.comb += self.counts[reason].eq(self.access_unprivileged)
            return self.access_unprivileged
        if reason is Refusal.ACCESS_REFUSED:
            m.d.comb += self.counts[reason].eq(self.access_refused)
            return self.access_refused
        refusals = [port.valid & (port.reason == reason) for port in (self.command, *self.packets)]
        # Each source needs several cycles from one refusal to the next of that reason, so the backlog stays below 8.
        waiting = Signal(3, name=f"waiting_{reason.name.lower()}")
        counted = Signal(name=f"counted_{reason.name.lower()}")
        m.d.comb += [counted.eq(waiting.any()), self.counts[reason].eq(counted)]
        busy = Cat(*refusals).any() | counted
        with m.If(busy):
            m.d.sync += waiting.eq(waiting + sum(refusals, Value.cast(0)) - counted)
        return busy

    def _keep_first(self, m: Module) -> None:
        access = self.access_refused | self.access_unprivileged
        m.d.comb += self.violation.eq(access | self.command.valid)
        free = ~self.unacknowledged | self.acknowledge
        with m.If(free & access):
            page = self.access_address[PAGE_LOG2_BYTES:]
            m.d.sync += [
                self.reason.eq(Mux(self.access_unprivileged, Refusal.ACCESS_UNPRIVILEGED, Refusal.ACCESS_REFUSED)),
                self.context.eq(Mux((page != 0) & (page <= self._contexts), page - 1, 0)),
                self.address.eq(self.access_address),
            ]
        with m.Elif(free & self.command.valid):
            m.d.sync += [
                self.reason.eq(self.command.reason),
                self.context.eq(self.command_context),
                self.address.eq(self.command_index),
            ]
