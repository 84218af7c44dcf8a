"""Writes the payload of a packet from the packet buffer into host memory."""

from amaranth import C, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.nic.memory import BURST_WORDS, words_of_burst
from rtl.nic.ports import ADDRESS_WIDTH, WORD_LOG2_BYTES, WritePort, select
from rtl.nic.receive import PAYLOAD_INDEX_WIDTH
from rtl.records import WORD_BYTES

PAYLOAD_WORDS_WIDTH = PAYLOAD_INDEX_WIDTH + 1
BURSTS_WIDTH = 6  # the longest payload at the worst place takes 33 bursts


class StorePayload(wiring.Component):
    """One payload per `start`, with which `address` (a multiple of 8) and `length_bytes` (not 0) are sampled.

    `buffer_word` is what the buffer holds at the `buffer_index` of the cycle before. Bursts follow each other without
    waiting for answers; `done` is high when all have come, with `failed` if any told of an error.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "start": In(1),
                "address": In(ADDRESS_WIDTH),
                "length_bytes": In(16),
                "buffer_index": Out(PAYLOAD_INDEX_WIDTH),
                "buffer_word": In(64),
                "write": Out(WritePort()),
                "done": Out(1),
                "failed": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        write = self.write
        word_address = Signal(ADDRESS_WIDTH - WORD_LOG2_BYTES)
        unrequested = Signal(PAYLOAD_WORDS_WIDTH)
        last_bytes = Signal(WORD_LOG2_BYTES)
        burst_left = Signal(range(BURST_WORDS + 1))
        unanswered = Signal(BURSTS_WIDTH)
        index = Signal(PAYLOAD_INDEX_WIDTH)
        burst_accepted = Signal()
        m.d.comb += [
            self.buffer_index.eq(index),
            write.burst_address.eq(word_address << WORD_LOG2_BYTES),
            write.burst_words.eq(words_of_burst(word_address, unrequested)),
            write.data_word.eq(self.buffer_word),
            write.data_last.eq(burst_left == 1),
            write.data_strobe.eq(
                Mux(write.data_last & ~unrequested.any(), select(_strobes(), last_bytes), C(0xFF, WORD_BYTES))
            ),
        ]
        with m.If(burst_accepted | write.done):
            m.d.sync += unanswered.eq(unanswered + burst_accepted - write.done)
        with m.If(write.done & write.error):
            m.d.sync += self.failed.eq(1)
        with m.FSM(name="store"):
            with m.State("Await-Payload"), m.If(self.start):
                m.d.sync += [
                    word_address.eq(self.address >> WORD_LOG2_BYTES),
                    unrequested.eq((self.length_bytes + (WORD_BYTES - 1)) >> WORD_LOG2_BYTES),
                    last_bytes.eq(self.length_bytes),
                    index.eq(0),
                    self.failed.eq(0),
                ]
                m.next = "Request-Write"
            with m.State("Request-Write"):
                m.d.comb += [write.request.eq(1), write.burst_valid.eq(1), burst_accepted.eq(write.burst_ready)]
                with m.If(write.burst_ready):
                    m.d.sync += [
                        word_address.eq(word_address + write.burst_words),
                        unrequested.eq(unrequested - write.burst_words),
                        burst_left.eq(write.burst_words),
                    ]
                    m.next = "Write-Payload"
            with m.State("Write-Payload"):
                m.d.comb += [write.request.eq(1), write.data_valid.eq(1)]
                with m.If(write.data_ready):
                    m.d.comb += self.buffer_index.eq(index + 1)
                    m.d.sync += [index.eq(index + 1), burst_left.eq(burst_left - 1)]
                    with m.If(write.data_last):
                        with m.If(unrequested.any()):
                            m.next = "Request-Write"
                        with m.Else():
                            m.next = "Await-Answers"
            with m.State("Await-Answers"):
                m.d.comb += write.request.eq(1)
                with m.If(~unanswered.any()):
                    m.d.comb += self.done.eq(1)
                    m.next = "Await-Payload"
        return m


def _strobes() -> list[Value]:
    """Which bytes of the payload's last word are written, by the length modulo 8."""
    return [C((1 << (used or WORD_BYTES)) - 1, WORD_BYTES) for used in range(WORD_BYTES)]
