"""Takes packets from the fabric, holds each until its CRC and length are known, and passes only whole ones on.

Two halves of one buffer: a packet is received into one while the packet before it is delivered from the other. A
damaged or malformed packet costs no time beyond its own words.
"""

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from rtl.descriptors import Refusal
from rtl.layouts import PacketStream
from rtl.nic.crc import Crc32
from rtl.nic.ports import WORD_LOG2_BYTES, FieldsOf, PacketPort
from rtl.nic.refusals import RefusalPort
from rtl.packet import HEADER, Operation, packet_words, payload_words
from rtl.records import WORD_BYTES

PAYLOAD_INDEX_WIDTH = 13  # words of the longest payload that `length_bytes` can tell


class Receive(wiring.Component):
    """`buffer_word` is the payload word that `buffer_half` and `buffer_index` named in the cycle before."""

    def __init__(self, *, mtu_bytes: int) -> None:
        self._mtu_bytes = mtu_bytes
        super().__init__(
            {
                "i_packet": In(PacketStream),
                "o_packet": Out(PacketPort(HEADER.length_words)),
                "buffer_half": In(1),
                "buffer_index": In(PAYLOAD_INDEX_WIDTH),
                "buffer_word": Out(64),
                "refusal": Out(RefusalPort()),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.crc = crc = Crc32()
        packet = self.i_packet
        position = Signal(range(packet_words(self._mtu_bytes) + 1))  # saturates where the packet is too long
        transfer = Signal()
        finished = Signal()
        undamaged = Signal()
        well_formed = Signal()
        half = Signal()
        # A whole packet waits in the header registers until it is taken; words of the next one may come in that cycle.
        m.d.comb += [
            packet.ready.eq(~self.o_packet.valid | self.o_packet.ready),
            transfer.eq(packet.valid & packet.ready),
            finished.eq(transfer & packet.payload.last),
            crc.word.eq(packet.payload.word),
            crc.valid.eq(transfer & ~packet.payload.last),
            crc.clear.eq(finished),
            undamaged.eq(packet.payload.word == crc.value),
            well_formed.eq(self._is_well_formed(position)),
            self.quiescent.eq(~(packet.valid | self.o_packet.valid | position.any() | self.refusal.valid)),
        ]
        with m.If(self.o_packet.ready):
            m.d.sync += self.o_packet.valid.eq(0)
        m.d.sync += self.refusal.valid.eq(finished & ~(undamaged & well_formed))
        with m.If(finished):
            m.d.sync += [
                position.eq(0),
                self.refusal.reason.eq(Mux(undamaged, Refusal.PACKET_MALFORMED, Refusal.PACKET_CRC)),
            ]
            with m.If(undamaged & well_formed):
                m.d.sync += [self.o_packet.valid.eq(1), self.o_packet.buffer.eq(half), half.eq(~half)]
        with m.Elif(transfer):
            m.d.sync += position.eq(position + (position != packet_words(self._mtu_bytes)))
            with m.Switch(position):
                for index, word in enumerate(self.o_packet.header):
                    with m.Case(index):
                        m.d.sync += word.eq(packet.payload.word)
        self._store(m, transfer & ~packet.payload.last, half, position)
        return m

    def _is_well_formed(self, position: Signal) -> Value:
        """Whether the header, and its agreement with the CRC word's place, are those of a packet."""
        header = FieldsOf(HEADER, list(self.o_packet.header))
        words = ((header.length_bytes + (WORD_BYTES - 1)) >> WORD_LOG2_BYTES) + HEADER.length_words
        return (
            (position == words)
            & (header.operation == Operation.PUT)
            & (header.length_bytes <= self._mtu_bytes)
            & ~header.remote_offset[:WORD_LOG2_BYTES].any()
        )

    def _store(self, m: Module, enable: Value, half: Signal, position: Signal) -> None:
        """Keeps payload words; those beyond the longest payload are dropped, since their packet is refused."""
        depth = 1 << (payload_words(self._mtu_bytes) - 1).bit_length()
        m.submodules.buffer = buffer = memory.Memory(shape=64, depth=2 * depth, init=[])
        write = buffer.write_port()
        read = buffer.read_port()
        index_width = depth.bit_length() - 1
        m.d.comb += [
            write.addr.eq(Cat((position - HEADER.length_words)[:index_width], half)),
            write.data.eq(self.i_packet.payload.word),
            write.en.eq(
                enable
                & (position >= HEADER.length_words)
                & (position < HEADER.length_words + payload_words(self._mtu_bytes))
            ),
            read.addr.eq(Cat(self.buffer_index[:index_width], self.buffer_half)),
            self.buffer_word.eq(read.data),
        ]
