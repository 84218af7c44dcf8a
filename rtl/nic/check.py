"""Decides whether a command may be carried out."""

from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.descriptors import COMMAND, Refusal
from rtl.nic.ports import ADDRESS_WIDTH, CONTEXT_WIDTH, ContextRegisters, FieldsOf
from rtl.nic.window import WindowCheck
from rtl.packet import Operation
from rtl.records import WORD_BYTES


class CheckCommand(wiring.Component):
    """The verdict stands from the cycle after `start` on, as long as the other inputs hold.

    `reason` is NONE or why the command is refused; `address` is that of its payload.
    """

    def __init__(self, *, contexts: int, windows: int, mtu_bytes: int) -> None:
        self._windows = windows
        self._mtu_bytes = mtu_bytes
        super().__init__(
            {
                "contexts": In(ContextRegisters(windows)).array(contexts),
                "start": In(1),
                "context": In(CONTEXT_WIDTH),
                "unreadable": In(1),
                "words": In(64).array(COMMAND.length_words),
                "reason": Out(8),
                "address": Out(ADDRESS_WIDTH),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.window = window = WindowCheck(contexts=len(self.contexts), windows=self._windows)
        for ours, theirs in zip(self.contexts, window.contexts, strict=True):
            wiring.connect(m, wiring.flipped(ours), theirs)
        command = FieldsOf(COMMAND, self.words)
        m.d.comb += [
            window.start.eq(self.start),
            window.context.eq(self.context),
            window.window.eq(command.local_window),
            window.offset.eq(command.local_offset),
            window.length_bytes.eq(command.length_bytes),
            self.address.eq(window.address),
        ]
        reserved = 0
        for index, word in enumerate(self.words):
            reserved |= (word & COMMAND.reserved_mask(index)).any()
        misaligned = ((command.local_offset | command.remote_offset) & (WORD_BYTES - 1)).any()
        too_long = command.length_bytes > self._mtu_bytes
        with m.If(self.unreadable):
            m.d.comb += self.reason.eq(Refusal.MEMORY_ERROR)
        with m.Elif((command.operation != Operation.PUT) | reserved | too_long | misaligned):
            m.d.comb += self.reason.eq(Refusal.COMMAND_MALFORMED)
        with m.Elif((command.length_bytes != 0) & ~(window.inside & window.local_read)):
            m.d.comb += self.reason.eq(Refusal.COMMAND_WINDOW)
        return m
