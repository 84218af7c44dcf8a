"""Turns a header and a place in host memory into a packet."""

from amaranth import C, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.layouts import PacketStream
from rtl.nic.crc import ALL_ONES, Crc32
from rtl.nic.memory import words_of_burst
from rtl.nic.ports import ADDRESS_WIDTH, WORD_LOG2_BYTES, ReadPort, select
from rtl.packet import HEADER
from rtl.records import WORD_BYTES

PAYLOAD_WORDS_WIDTH = 14  # length_bytes has 16 bits


class SendPacket(wiring.Component):
    """Sends one packet per `start`, passing payload on in the cycle after it arrives: one word per cycle.

    `address` (a multiple of 8) and `length_bytes` are sampled with `start`; `header` holds from the cycle after it to
    `done`, which is high in the cycle in which the fabric takes the last word. `failed`, valid with `done`: memory
    answered with an error; the packet has its full length, and an inverted CRC that every receiver discards.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "start": In(1),
                "header": In(64).array(HEADER.length_words),
                "address": In(ADDRESS_WIDTH),
                "length_bytes": In(16),
                "read": Out(ReadPort()),
                "o_packet": Out(PacketStream),
                "done": Out(1),
                "failed": Out(1),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.crc = crc = Crc32()
        packet = self.o_packet
        unread = Signal(PAYLOAD_WORDS_WIDTH)
        last_bytes = Signal(WORD_LOG2_BYTES)
        position = Signal(range(HEADER.length_words))
        advance = Signal()
        m.d.comb += advance.eq(~packet.valid | packet.ready)
        self._request(m)
        with m.If(packet.ready):
            m.d.sync += packet.valid.eq(0)
        with m.If(crc.valid):
            m.d.sync += [packet.valid.eq(1), packet.payload.word.eq(crc.word), packet.payload.last.eq(0)]
        with m.FSM(name="send"):
            with m.State("Await-Packet"):
                m.d.comb += [crc.clear.eq(self.start), self.quiescent.eq(~self.start)]
                with m.If(self.start):
                    m.d.sync += [
                        unread.eq(self._payload_words()),
                        last_bytes.eq(self.length_bytes),
                        self.failed.eq(0),
                        position.eq(0),
                    ]
                    m.next = "Send-Header"
            with m.State("Send-Header"):
                m.d.comb += [crc.word.eq(select(list(self.header), position)), crc.valid.eq(advance)]
                with m.If(advance):
                    m.d.sync += position.eq(position + 1)
                    with m.If(position == HEADER.length_words - 1):
                        with m.If(unread.any()):
                            m.next = "Send-Payload"
                        with m.Else():
                            m.next = "Send-CRC"
            with m.State("Send-Payload"):
                used = Mux(unread == 1, select(_byte_masks(), last_bytes), C(-1, 64))
                m.d.comb += [
                    self.read.data_ready.eq(advance),
                    crc.word.eq(Mux(self.read.data_error, 0, self.read.data_word & used)),
                    crc.valid.eq(advance & self.read.data_valid),
                ]
                with m.If(crc.valid):
                    m.d.sync += [unread.eq(unread - 1), self.failed.eq(self.failed | self.read.data_error)]
                    with m.If(unread == 1):
                        m.next = "Send-CRC"
            with m.State("Send-CRC"), m.If(advance):
                m.d.sync += [
                    packet.valid.eq(1),
                    packet.payload.word.eq(crc.value ^ Mux(self.failed, ALL_ONES, 0)),
                    packet.payload.last.eq(1),
                ]
                m.next = "Await-Acceptance"
            with m.State("Await-Acceptance"), m.If(packet.ready):
                m.d.comb += self.done.eq(1)
                m.next = "Await-Packet"
        return m

    def _payload_words(self) -> Value:
        return (self.length_bytes + (WORD_BYTES - 1)) >> WORD_LOG2_BYTES

    def _request(self, m: Module) -> None:
        """Requests bursts as fast as memory takes them, ahead of the header."""
        word_address = Signal(ADDRESS_WIDTH - WORD_LOG2_BYTES)
        unrequested = Signal(PAYLOAD_WORDS_WIDTH)
        read = self.read
        m.d.comb += [
            read.burst_valid.eq(unrequested.any()),
            read.burst_address.eq(word_address << WORD_LOG2_BYTES),
            read.burst_words.eq(words_of_burst(word_address, unrequested)),
        ]
        with m.If(self.start):
            m.d.sync += [
                word_address.eq(self.address >> WORD_LOG2_BYTES),
                unrequested.eq(self._payload_words()),
            ]
        with m.Elif(read.burst_valid & read.burst_ready):
            m.d.sync += [
                word_address.eq(word_address + read.burst_words),
                unrequested.eq(unrequested - read.burst_words),
            ]


def _byte_masks() -> list[Value]:
    """Which bits of the payload's last word count, by the length modulo 8."""
    return [C((1 << 8 * (used or WORD_BYTES)) - 1, 64) for used in range(WORD_BYTES)]
