"""Takes packets from the fabric, holds each until its CRC and size are known, and passes only whole ones on.

Headers lie in rows, payloads in a ring. What a packet writes there counts only from the moment in which its last flit
is found good; a refused packet is forgotten by not counting it, so it costs no time beyond its own flits.

Places in the ring and among the rows are counted modulo twice their number, so that full and empty differ.
"""

from amaranth import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from rtl.flits import flit_stream
from rtl.nic.interfaces.reports import RefusalPort
from rtl.nic.interfaces.widths import NO_CONTEXT
from rtl.nic.interfaces.wire import PacketPort
from rtl.nic.parameters import NicParameters
from rtl.nic.wire.crc import ALL_ONES, Crc32
from rtl.packets import HEADER_WORDS, IDENTITY_WORD, REQUEST
from rtl.portals import Refusal

ROWS = 4  # headers that wait, besides the one that is shown; a power of two
LENGTH = REQUEST.fields["payload_bytes"]


class HeaderRows(wiring.Component):
    """Headers in the order of their packets.

    `write` has a bit for each flit of the header, which `flit` then is; `room` tells whether one more header may be
    written. `keep` counts the header that was written last, with `poisoned` and the place `end` where its payload ends
    in the ring; it comes no earlier than the cycle after the last `write`. From the next cycle on, `valid` shows the
    oldest one by `words`, `o_poisoned` and `o_end` until `ready`; `o_end` stays until the next one is shown.
    """

    def __init__(self, *, datapath_bits: int, place_bits: int) -> None:
        self._datapath_bits = datapath_bits
        self._ending_layout = data.StructLayout({"end": unsigned(place_bits), "poisoned": unsigned(1)})
        super().__init__(
            {
                "write": In(HEADER_WORDS * 64 // datapath_bits),
                "flit": In(datapath_bits),
                "keep": In(1),
                "poisoned": In(1),
                "end": In(place_bits),
                "room": Out(1),
                "valid": Out(1),
                "ready": In(1),
                "words": Out(64).array(HEADER_WORDS),
                "o_poisoned": Out(1),
                "o_end": Out(place_bits),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.rows = rows = memory.Memory(shape=HEADER_WORDS * 64, depth=ROWS, init=[])
        m.submodules.endings = endings = memory.Memory(shape=self._ending_layout, depth=ROWS, init=[])
        row = rows.write_port(granularity=self._datapath_bits)
        oldest = rows.read_port()
        ending = endings.write_port()
        oldest_ending = endings.read_port(domain="comb")
        kept = Signal(range(2 * ROWS))
        shown = Signal.like(kept)
        show = Signal()
        waits = Signal()
        m.d.comb += [
            self.room.eq((kept ^ shown) != ROWS),
            waits.eq(kept != shown),
            show.eq((waits | self.keep) & (~self.valid | self.ready)),
            row.addr.eq(kept),
            row.data.eq(self.flit.replicate(len(self.write))),
            row.en.eq(self.write),
            ending.addr.eq(kept),
            ending.data.end.eq(self.end),
            ending.data.poisoned.eq(self.poisoned),
            ending.en.eq(self.keep),
            oldest.addr.eq(shown),
            oldest.en.eq(show),
            oldest_ending.addr.eq(shown),
            Cat(*self.words).eq(oldest.data),
            self.quiescent.eq(~(self.write.any() | self.keep | self.valid | waits)),
        ]
        with m.If(self.keep):
            m.d.sync += kept.eq(kept + 1)
        with m.If(show):
            m.d.sync += [
                shown.eq(shown + 1),
                self.valid.eq(1),
                self.o_poisoned.eq(Mux(waits, oldest_ending.data.poisoned, self.poisoned)),
                self.o_end.eq(Mux(waits, oldest_ending.data.end, self.end)),
            ]
        with m.Elif(self.ready):
            m.d.sync += self.valid.eq(0)
        return m


class PayloadRing(wiring.Component):
    """Payloads in the order of their packets.

    `write` puts `flit` into the ring, if there is `room`; `keep` counts what was written since the last `keep` or
    `forget`, `forget` gives it up. `end` is the place where the next flit goes. Flits before the place `until` are
    shown by `valid` and `payload`, each until `ready`.
    """

    def __init__(self, *, datapath_bits: int, flits: int) -> None:
        self._flits = flits
        place = range(2 * flits)
        super().__init__(
            {
                "write": In(1),
                "flit": In(datapath_bits),
                "keep": In(1),
                "forget": In(1),
                "room": Out(1),
                "end": Out(place),
                "until": In(place),
                "valid": Out(1),
                "ready": In(1),
                "payload": Out(datapath_bits),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.ring = ring = memory.Memory(shape=len(self.flit), depth=self._flits, init=[])
        write = ring.write_port()
        read = ring.read_port()
        kept = Signal.like(self.end)
        shown = Signal.like(self.end)
        show = Signal()
        m.d.comb += [
            self.room.eq((self.end ^ shown) != self._flits),
            show.eq((shown != self.until) & (~self.valid | self.ready)),
            write.addr.eq(self.end),
            write.data.eq(self.flit),
            write.en.eq(self.write),
            read.addr.eq(shown),
            read.en.eq(show),
            self.payload.eq(read.data),
            self.quiescent.eq(~(self.write | self.keep | self.forget | self.valid | (shown != self.until))),
        ]
        with m.If(self.write):
            m.d.sync += self.end.eq(self.end + 1)
        with m.If(self.keep):
            m.d.sync += kept.eq(self.end)
        with m.If(self.forget):
            m.d.sync += self.end.eq(kept)
        with m.If(show):
            m.d.sync += [shown.eq(shown + 1), self.valid.eq(1)]
        with m.Elif(self.ready):
            m.d.sync += self.valid.eq(0)
        return m


class Receive(wiring.Component):
    """Packets of one class: only whole ones come out. One whose CRC is exactly inverted comes as `poisoned`.

    `refusal.detail` is the identity word of a refused packet as it came, 0 if the packet ended before that.
    """

    def __init__(self, parameters: NicParameters) -> None:
        self._parameters = parameters
        width = parameters.datapath_bits
        self._header_flits = HEADER_WORDS * 64 // width
        self._mtu_flits = parameters.mtu_bytes // parameters.datapath_bytes
        super().__init__(
            {
                "i_flits": In(flit_stream(width)),
                "o_packet": Out(PacketPort(width)),
                "refusal": Out(RefusalPort()),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        width = self._parameters.datapath_bits
        ring_flits = 2 * self._mtu_flits  # a power of two, because the MTU is
        m.submodules.crc = crc = Crc32(width)
        m.submodules.payload = payload = PayloadRing(datapath_bits=width, flits=ring_flits)
        m.submodules.headers = headers = HeaderRows(datapath_bits=width, place_bits=len(payload.end))
        flit = self.i_flits.payload
        transfer = Signal()
        position = Signal(range(self._header_flits + self._mtu_flits + 2))  # in the packet; stays beyond the longest
        in_header = Signal()
        in_payload = Signal()
        m.d.comb += [
            self.i_flits.ready.eq(Mux(position == 0, headers.room, payload.room | ~in_payload)),
            transfer.eq(self.i_flits.valid & self.i_flits.ready),
            in_header.eq(position < self._header_flits),
            headers.write.eq((transfer & in_header) << position[: self._header_flits.bit_length() - 1]),
            headers.flit.eq(flit.data),
            headers.end.eq(payload.end),
            payload.write.eq(transfer & in_payload & ~flit.last),
            payload.flit.eq(flit.data),
            payload.until.eq(headers.o_end),
            crc.flit.eq(flit.data),
            crc.valid.eq(transfer & ~flit.last),
            crc.clear.eq(transfer & flit.last),
        ]
        with m.If(transfer & flit.last):
            m.d.sync += position.eq(0)
        with m.Elif(transfer & (position != self._header_flits + self._mtu_flits + 1)):
            m.d.sync += position.eq(position + 1)
        self._judge(m, transfer, position, in_payload, crc, headers, payload)
        self._note_identity(m, transfer, position)
        self._show(m, headers, payload)
        return m

    def _judge(
        self,
        m: Module,
        transfer: Signal,
        position: Signal,
        in_payload: Signal,
        crc: Crc32,
        headers: HeaderRows,
        payload: PayloadRing,
    ) -> None:
        """Whether the packet is whole is known with its last flit: its CRC, and its size against its header."""
        flit = self.i_flits.payload
        size = self._parameters.datapath_bytes
        length_bytes = flit.data[LENGTH.lsb : LENGTH.lsb + LENGTH.width]
        due = Signal(range(self._header_flits + (1 << LENGTH.width) // size + 1), init=self._header_flits)
        too_long = Signal()
        undamaged = Signal()
        well_formed = Signal()
        good = Signal()
        with m.If(transfer & (position == 0)):
            m.d.sync += [
                due.eq(self._header_flits + ((length_bytes + (size - 1)) >> (size.bit_length() - 1))),
                too_long.eq(length_bytes > self._parameters.mtu_bytes),
            ]
        m.d.comb += [
            in_payload.eq((position >= self._header_flits) & (position < due) & ~too_long),
            headers.poisoned.eq(flit.data == (crc.value ^ ALL_ONES)),
            undamaged.eq((flit.data == crc.value) | headers.poisoned),
            well_formed.eq((position == due) & ~too_long),
            good.eq(transfer & flit.last & undamaged & well_formed),
            headers.keep.eq(good),
            payload.keep.eq(good),
            payload.forget.eq(transfer & flit.last & ~good),
        ]
        m.d.comb += self.refusal.context.eq(NO_CONTEXT)
        m.d.sync += self.refusal.valid.eq(payload.forget)
        with m.If(payload.forget):
            m.d.sync += self.refusal.reason.eq(Mux(undamaged, Refusal.PACKET_MALFORMED, Refusal.PACKET_CRC))

    def _note_identity(self, m: Module, transfer: Signal, position: Signal) -> None:
        flit = self.i_flits.payload
        words_per_flit = self._parameters.datapath_bits // 64
        identity = flit.data.word_select(IDENTITY_WORD % words_per_flit, 64)
        with m.If(transfer & (position == 0)):
            m.d.sync += self.refusal.detail.eq(0)
        with m.If(transfer & (position == IDENTITY_WORD // words_per_flit) & ~flit.last):
            m.d.sync += self.refusal.detail.eq(identity)

    def _show(self, m: Module, headers: HeaderRows, payload: PayloadRing) -> None:
        packet = self.o_packet
        m.d.comb += [
            packet.valid.eq(headers.valid),
            headers.ready.eq(packet.ready),
            packet.poisoned.eq(headers.o_poisoned),
            *(ours.eq(theirs) for ours, theirs in zip(packet.words, headers.words, strict=True)),
            packet.data_valid.eq(payload.valid),
            payload.ready.eq(packet.data_ready),
            packet.data.eq(payload.payload),
            self.quiescent.eq(~(self.i_flits.valid | self.refusal.valid | ~headers.quiescent | ~payload.quiescent)),
        ]
