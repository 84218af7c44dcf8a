"""The memory windows of the contexts: which one a claim names, and whether the claim stays inside it."""

from amaranth import Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.nic.ports import ADDRESS_WIDTH, CONTEXT_WIDTH, ContextRegisters, select


class WindowCheck(wiring.Component):
    """Looks up window `window` of context `context` in the cycle of `start`; the verdict stands from the next cycle on.

    `offset` and `length_bytes` are claims and must hold while the verdict is used. `address` is that of the first
    byte, and has meaning only with `inside`. The configuration is sampled once, so a verdict belongs to one window.
    """

    def __init__(self, *, contexts: int, windows: int) -> None:
        self._windows = windows
        super().__init__(
            {
                "contexts": In(ContextRegisters(windows)).array(contexts),
                "start": In(1),
                "context": In(CONTEXT_WIDTH),
                "window": In(8),
                "offset": In(64),
                "length_bytes": In(32),
                "inside": Out(1),
                "local_read": Out(1),
                "remote_write": Out(1),
                "address": Out(ADDRESS_WIDTH),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        exists = Signal()
        base = Signal(ADDRESS_WIDTH)
        size_bytes = Signal(ADDRESS_WIDTH)
        with m.If(self.start):
            m.d.sync += [
                exists.eq(self.window < self._windows),
                base.eq(self._selected("address")),
                size_bytes.eq(self._selected("bytes")),
                self.local_read.eq(self._selected("local_read")),
                self.remote_write.eq(self._selected("remote_write")),
            ]
        # The high bits apart, so that the sum cannot wrap and no adder is wider than 64 bits.
        end = self.offset[:ADDRESS_WIDTH] + self.length_bytes
        m.d.comb += [
            self.inside.eq(exists & (end <= size_bytes) & ~self.offset[ADDRESS_WIDTH:].any()),
            self.address.eq(base + self.offset[:ADDRESS_WIDTH]),
        ]
        return m

    def _selected(self, member: str) -> Value:
        of_contexts = [select(getattr(context, f"window_{member}"), self.window) for context in self.contexts]
        return select(of_contexts, self.context)
