"""Carries out commands: checks one, has its packet sent, and reports."""

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.descriptors import COMMAND, EVENT, EventKind, Refusal
from rtl.layouts import PacketStream
from rtl.nic.check import CheckCommand
from rtl.nic.events import EVENT_REQUEST_WORDS
from rtl.nic.header import Stamp
from rtl.nic.ports import (
    CONTEXT_WIDTH,
    INDEX_WIDTH,
    CommandPort,
    ContextRegisters,
    EventPort,
    FieldsOf,
    ReadPort,
    assemble,
    select,
)
from rtl.nic.refusals import RefusalPort
from rtl.nic.send import SendPacket
from rtl.packet import HEADER, TRUSTED_WORD


class Transmit(wiring.Component):
    """One command at a time, in the order in which they come.

    `sent` pulses when a good packet has been handed to the fabric. `refusal` pulses when a command is refused, with
    `context` and `index` beside it. `retired` pulses when a command of `context` is over, with `retired_refused`.
    A command whose context is restarted meanwhile is finished, but neither retired nor reported: the ring and the
    queue are others.
    """

    def __init__(self, *, contexts: int, windows: int, mtu_bytes: int) -> None:
        self._windows = windows
        self._mtu_bytes = mtu_bytes
        super().__init__(
            {
                "nid": In(16),
                "contexts": In(ContextRegisters(windows)).array(contexts),
                "restarted": In(contexts),
                "i_command": In(CommandPort(COMMAND.length_words)),
                "read": Out(ReadPort()),
                "o_packet": Out(PacketStream),
                "o_event": Out(EventPort(EVENT_REQUEST_WORDS)),
                "sent": Out(1),
                "refusal": Out(RefusalPort()),
                "retired": Out(1),
                "retired_refused": Out(1),
                "context": Out(CONTEXT_WIDTH),
                "index": Out(INDEX_WIDTH),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        count = len(self.contexts)
        m.submodules.check = check = CheckCommand(contexts=count, windows=self._windows, mtu_bytes=self._mtu_bytes)
        m.submodules.stamp = stamp = Stamp(contexts=count, windows=self._windows)
        m.submodules.send = send = SendPacket()
        for ours, checked, stamped in zip(self.contexts, check.contexts, stamp.contexts, strict=True):
            wiring.connect(m, wiring.flipped(ours), checked, stamped)
        wiring.connect(m, wiring.flipped(self.read), send.read)
        wiring.connect(m, wiring.flipped(self.o_packet), send.o_packet)

        words = [Signal(64, name=f"command_{index}") for index in range(COMMAND.length_words)]
        command = FieldsOf(COMMAND, words)
        reason = Signal(8)
        over = Signal()
        self._prepare(m, check, stamp, send)
        self._compose_header(m, send, stamp, command)
        self._compose_event(m, command, reason)
        restarted = Signal()
        stale = restarted | select(list(self.restarted), self.context)
        m.d.sync += restarted.eq(stale)
        m.d.comb += self.o_event.abandoned.eq(stale)
        m.d.comb += [self.retired.eq(over & ~stale), self.retired_refused.eq(reason != Refusal.NONE)]

        incoming = self.i_command
        with m.FSM(name="transmit"):
            with m.State("Await-Command"):
                m.d.comb += self.quiescent.eq(~incoming.valid & send.quiescent)
                with m.If(incoming.valid & incoming.abandoned):
                    m.d.comb += incoming.ready.eq(1)
                with m.Elif(incoming.valid):
                    m.d.comb += [check.start.eq(1), stamp.start.eq(1)]
                    m.next = "Decide"
            with m.State("Decide"):
                m.d.comb += incoming.ready.eq(1)
                m.d.sync += [word.eq(taken) for word, taken in zip(words, incoming.words, strict=True)]
                m.d.sync += [self.context.eq(incoming.context), self.index.eq(incoming.index), restarted.eq(0)]
                with m.If(incoming.abandoned):
                    m.next = "Await-Command"
                with m.Elif(check.reason == Refusal.NONE):
                    m.d.sync += reason.eq(Refusal.NONE)
                    m.d.comb += send.start.eq(1)
                    m.next = "Send"
                with m.Else():
                    m.d.sync += reason.eq(check.reason)
                    m.next = "Refuse"
            with m.State("Send"), m.If(send.done):
                m.d.comb += [self.sent.eq(~send.failed), over.eq(~send.failed & ~command.notify)]
                with m.If(send.failed):
                    m.d.sync += reason.eq(Refusal.MEMORY_ERROR)
                    m.next = "Refuse"
                with m.Elif(command.notify):
                    m.next = "Report"
                with m.Else():
                    m.next = "Await-Command"
            with m.State("Refuse"):
                m.d.comb += [self.refusal.valid.eq(1), self.refusal.reason.eq(reason)]
                m.next = "Report"
            with m.State("Report"):
                m.d.comb += [self.o_event.valid.eq(1), over.eq(self.o_event.ready)]
                with m.If(self.o_event.ready):
                    m.next = "Await-Command"
        return m

    def _prepare(self, m: Module, check: CheckCommand, stamp: Stamp, send: SendPacket) -> None:
        """The command is judged and stamped while the block that fetched it still holds it."""
        incoming = self.i_command
        m.d.comb += [taken.eq(word) for taken, word in zip(check.words, incoming.words, strict=True)]
        m.d.comb += [
            check.context.eq(incoming.context),
            check.unreadable.eq(incoming.unreadable),
            stamp.nid.eq(self.nid),
            stamp.context.eq(incoming.context),
            send.address.eq(check.address),
            send.length_bytes.eq(FieldsOf(COMMAND, incoming.words).length_bytes),
        ]

    def _compose_header(self, m: Module, send: SendPacket, stamp: Stamp, command: FieldsOf) -> None:
        """The sender's words from the command, the trusted word from the stamp alone."""
        words = assemble(
            HEADER,
            {
                "dst_nid": command.dst_nid,
                "dst_pid": command.dst_pid,
                "operation": command.operation,
                "window": command.remote_window,
                "length_bytes": command.length_bytes,
                "remote_offset": command.remote_offset,
                "match_bits": command.match_bits,
                "header_data": command.header_data,
            },
        )
        words[TRUSTED_WORD] = stamp.trusted
        m.d.comb += [theirs.eq(word) for theirs, word in zip(send.header, words, strict=True)]

    def _compose_event(self, m: Module, command: FieldsOf, reason: Signal) -> None:
        words = assemble(
            EVENT,
            {
                "kind": Mux(reason == Refusal.NONE, EventKind.SENT, EventKind.REFUSED),
                "reason": reason,
                "length_bytes": command.length_bytes,
                "match_bits": command.match_bits,
                "header_data": command.header_data,
                "user_data": command.user_data,
            },
        )
        m.d.comb += [theirs.eq(word) for theirs, word in zip(self.o_event.words, words[:-1], strict=True)]
        m.d.comb += self.o_event.context.eq(self.context)
