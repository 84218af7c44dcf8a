"""The trusted header: `Stamp` writes it, `Admit` judges it.

`Stamp` is the only block whose output reaches the trusted word of a packet. Its inputs are registers of the kernel's
page and the number of the context from whose ring the command was fetched; no word of a command is among them.
"""

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.descriptors import Refusal
from rtl.nic.ports import ADDRESS_WIDTH, CONTEXT_WIDTH, ContextRegisters, FieldsOf, assemble, select
from rtl.nic.window import WindowCheck
from rtl.packet import HEADER, TRUSTED_WORD


class Stamp(wiring.Component):
    """The trusted word of `context`, sampled in the cycle of `start` and held until the next `start`.

    Sampled once: a packet that is still waiting when the kernel gives its context to another process leaves with the
    identity it was made under.
    """

    def __init__(self, *, contexts: int, windows: int) -> None:
        super().__init__(
            {
                "nid": In(16),
                "contexts": In(ContextRegisters(windows)).array(contexts),
                "start": In(1),
                "context": In(CONTEXT_WIDTH),
                "trusted": Out(64),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        with m.If(self.start):
            words = assemble(
                HEADER,
                {
                    "src_nid": self.nid,
                    "src_pid": select([context.pid for context in self.contexts], self.context),
                    "jid": select([context.jid for context in self.contexts], self.context),
                },
            )
            m.d.sync += self.trusted.eq(words[TRUSTED_WORD])
        return m


class Admit(wiring.Component):
    """Decides on a packet that has arrived undamaged, in the second cycle after `start`.

    `header` holds from `start` to `done`. With `done`, `reason` is NONE or why the packet is refused; an admitted one
    belongs to `context` and its payload to `address` (a multiple of 8; no meaning if the length is 0).
    """

    def __init__(self, *, contexts: int, windows: int) -> None:
        self._windows = windows
        super().__init__(
            {
                "nid": In(16),
                "contexts": In(ContextRegisters(windows)).array(contexts),
                "start": In(1),
                "header": In(64).array(HEADER.length_words),
                "done": Out(1),
                "reason": Out(8),
                "context": Out(CONTEXT_WIDTH),
                "address": Out(ADDRESS_WIDTH),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        count = len(self.contexts)
        m.submodules.window = window = WindowCheck(contexts=count, windows=self._windows)
        header = FieldsOf(HEADER, self.header)
        for ours, theirs in zip(self.contexts, window.contexts, strict=True):
            wiring.connect(m, wiring.flipped(ours), theirs)
        here = Signal()
        own_job = Signal()
        found = Signal()

        with m.If(self.start):
            m.d.sync += [here.eq(header.dst_nid == self.nid), found.eq(0)]
            for index, context in reversed(list(enumerate(self.contexts))):
                with m.If(context.enable & (context.pid == header.dst_pid)):
                    m.d.sync += [found.eq(1), self.context.eq(index)]
        m.d.sync += window.start.eq(self.start)
        with m.If(window.start):
            m.d.sync += own_job.eq(select([context.jid for context in self.contexts], self.context) == header.jid)
        m.d.sync += self.done.eq(window.start)

        m.d.comb += [
            window.context.eq(self.context),
            window.window.eq(header.window),
            window.offset.eq(header.remote_offset),
            window.length_bytes.eq(header.length_bytes),
            self.address.eq(window.address),
        ]
        with m.If(~(here & found)):
            m.d.comb += self.reason.eq(Refusal.PACKET_DESTINATION)
        with m.Elif(~own_job):
            m.d.comb += self.reason.eq(Refusal.PACKET_JOB)
        with m.Elif((header.length_bytes != 0) & ~(window.inside & window.remote_write)):
            m.d.comb += self.reason.eq(Refusal.PACKET_WINDOW)
        return m
