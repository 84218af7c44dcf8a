"""Fetches the commands that processes have put into the rings of their contexts, one context after the other."""

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.descriptors import COMMAND
from rtl.nic.arbitration import next_in_turn
from rtl.nic.ports import (
    CONTEXT_WIDTH,
    CommandPort,
    ContextIndices,
    ContextRegisters,
    ReadPort,
    select,
    slot_address,
)


class Commands(wiring.Component):
    """Fetches one command at a time, while the one before it is carried out, and holds it until it is taken.

    `fetched` (with `fetched_context`) pulses once per command. The words are read from memory once; everybody
    downstream sees the same copy.
    """

    def __init__(self, *, contexts: int, windows: int) -> None:
        super().__init__(
            {
                "contexts": In(ContextRegisters(windows)).array(contexts),
                "indices": In(ContextIndices()).array(contexts),
                "pending": In(contexts),
                "fetched": Out(1),
                "fetched_context": Out(CONTEXT_WIDTH),
                "read": Out(ReadPort()),
                "o_command": Out(CommandPort(COMMAND.length_words)),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        command = self.o_command
        context = Signal(range(max(len(self.contexts), 2)))
        following = next_in_turn(m, self.pending, context)
        enabled = select([registers.enable for registers in self.contexts], context)
        m.d.comb += [
            command.context.eq(context),
            self.fetched_context.eq(context),
            self.read.burst_words.eq(COMMAND.length_words),
        ]
        with m.FSM(name="fetch") as fetch:
            with m.State("Await-Doorbell"):
                m.d.comb += self.quiescent.eq(~self.pending.any())
                with m.If(self.pending.any()):
                    m.d.sync += [context.eq(following), command.abandoned.eq(0), command.unreadable.eq(0)]
                    m.next = "Locate-Command"
            with m.State("Locate-Command"):
                m.d.comb += self.fetched.eq(1)
                self._locate(m, context)
                m.next = "Request-Command"
            with m.State("Request-Command"):
                m.d.comb += self.read.burst_valid.eq(1)
                with m.If(self.read.burst_ready):
                    m.next = "Await-Command"
            with m.State("Await-Command"):
                self._collect(m)
            with m.State("Hand-Over"):
                m.d.comb += command.valid.eq(1)
                with m.If(command.ready):
                    m.next = "Await-Doorbell"
        with m.If(~fetch.ongoing("Await-Doorbell") & ~enabled):
            m.d.sync += command.abandoned.eq(1)
        return m

    def _locate(self, m: Module, context: Signal) -> None:
        index = select([indices.command_fetched for indices in self.indices], context)
        base = select([registers.command_base for registers in self.contexts], context)
        log2_slots = select([registers.command_log2 for registers in self.contexts], context)
        m.d.sync += [
            self.o_command.index.eq(index),
            self.read.burst_address.eq(slot_address(base, index, log2_slots)),
        ]

    def _collect(self, m: Module) -> None:
        """Takes the words in order; an unreadable one as zero, so that nothing is echoed that memory disowned."""
        beat = Signal(range(COMMAND.length_words))
        m.d.comb += self.read.data_ready.eq(1)
        with m.If(self.read.data_valid):
            m.d.sync += beat.eq(beat + 1)
            with m.Switch(beat):
                for index, word in enumerate(self.o_command.words):
                    with m.Case(index):
                        m.d.sync += word.eq(Mux(self.read.data_error, 0, self.read.data_word))
            with m.If(self.read.data_error):
                m.d.sync += self.o_command.unreadable.eq(1)
            with m.If(beat == COMMAND.length_words - 1):
                m.next = "Hand-Over"
