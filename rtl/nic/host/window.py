"""The memory windows of the contexts: which one a claim names, and whether the claim stays inside it."""

from amaranth import Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.nic.expressions import select
from rtl.nic.interfaces.context import ContextRegisters
from rtl.nic.interfaces.widths import ADDRESS_WIDTH, CONTEXT_WIDTH, LENGTH_WIDTH
from rtl.nic.parameters import NicParameters

RIGHTS = ("local_read", "local_write", "remote_read", "remote_write")


class WindowCheck(wiring.Component):
    """Looks up window `window` of context `context` in the cycle of `start`; the verdict stands from the next cycle on.

    `offset` and `bytes` are claims and must hold while the verdict is used. `address` is that of the first byte, and
    has meaning only with `inside`. The rights are outputs by their names. The configuration is sampled once, so a
    verdict belongs to one window.
    """

    def __init__(self, parameters: NicParameters) -> None:
        self._parameters = parameters
        super().__init__(
            {
                "contexts": In(ContextRegisters(parameters.windows)).array(parameters.contexts),
                "start": In(1),
                "context": In(CONTEXT_WIDTH),
                "window": In(8),
                "offset": In(64),
                "bytes": In(LENGTH_WIDTH),
                "inside": Out(1),
                "address": Out(ADDRESS_WIDTH),
                **{right: Out(1) for right in RIGHTS},
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        exists = Signal()
        base = Signal(ADDRESS_WIDTH)
        size_bytes = Signal(ADDRESS_WIDTH)
        with m.If(self.start):
            m.d.sync += [
                exists.eq(self.window < self._parameters.windows),
                base.eq(self._selected("address")),
                size_bytes.eq(self._selected("bytes")),
                *(getattr(self, right).eq(self._selected(right)) for right in RIGHTS),
            ]
        # The high bits apart, so that the sum cannot wrap and no adder is wider than 64 bits.
        end = self.offset[:ADDRESS_WIDTH] + self.bytes
        m.d.comb += [
            self.inside.eq(exists & (end <= size_bytes) & ~self.offset[ADDRESS_WIDTH:].any()),
            self.address.eq(base + self.offset[:ADDRESS_WIDTH]),
        ]
        return m

    def _selected(self, member: str) -> Value:
        of_contexts = [select(getattr(context, f"window_{member}"), self.window) for context in self.contexts]
        return select(of_contexts, self.context)
