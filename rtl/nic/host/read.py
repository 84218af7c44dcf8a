"""The reading half of the memory port.

Ref: ARM IHI 0022, A3.2 (handshakes). All reads carry ID 0, so data come back in order.
"""

from amaranth import C, Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.axi import Response
from rtl.nic.host.bursts import Bursts, burst_layout, transfer_layout
from rtl.nic.interfaces.host import ReadPort
from rtl.nic.parameters import NicParameters

OUTSTANDING_READS = 16


class Read(wiring.Component):
    """Requests of all readers in turn; whole bus words are fetched, and nothing beyond those with requested bytes.

    The read channel is never made to wait but for one cycle after a request whose last flit has to be completed
    from the last word alone, and while nothing has been requested. `answered` pulses when a request's last flit is
    complete.
    """

    def __init__(self, parameters: NicParameters, *, readers: int) -> None:
        self._parameters = parameters
        super().__init__(
            {
                "readers": In(ReadPort(parameters.datapath_bits)).array(readers),
                "o_burst": Out(stream.Signature(burst_layout(readers))),
                "rdata": In(parameters.datapath_bits),
                "rresp": In(2),
                "rvalid": In(1),
                "rready": Out(1),
                "answered": Out(1),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.bursts = bursts = Bursts(self._parameters, requesters=len(self.readers), depth=OUTSTANDING_READS)
        m.submodules.align = align = AlignRead(self._parameters, readers=len(self.readers))
        for index, reader in enumerate(self.readers):
            m.d.comb += [
                bursts.valid[index].eq(reader.valid),
                bursts.address[index].eq(reader.address),
                bursts.bytes[index].eq(reader.bytes),
                reader.ready.eq(bursts.ready[index]),
                reader.data_valid.eq(align.data_valid[index]),
                reader.data.eq(align.data),
                reader.data_last.eq(align.data_last),
                reader.data_error.eq(align.data_error),
            ]
        wiring.connect(m, bursts.o_transfer, align.i_transfer)
        wiring.connect(m, bursts.o_burst, wiring.flipped(self.o_burst))
        m.d.comb += [
            align.word.eq(self.rdata),
            align.word_error.eq(self.rresp != Response.OKAY),
            align.word_valid.eq(self.rvalid),
            self.rready.eq(align.word_ready),
            self.answered.eq(align.i_transfer.valid & align.i_transfer.ready),
            self.quiescent.eq(bursts.quiescent & align.quiescent),
        ]
        return m


class AlignRead(wiring.Component):
    """Bus words into flits that begin with the requested byte, for the reader to whom they belong.

    A flit comes one cycle after the word that completes it; `data_valid` has a bit for each reader.
    """

    def __init__(self, parameters: NicParameters, *, readers: int) -> None:
        self._layout = transfer_layout(parameters, readers)
        super().__init__(
            {
                "i_transfer": In(stream.Signature(self._layout)),
                "word": In(parameters.datapath_bits),
                "word_error": In(1),
                "word_valid": In(1),
                "word_ready": Out(1),
                "data_valid": Out(readers),
                "data": Out(parameters.datapath_bits),
                "data_last": Out(1),
                "data_error": Out(1),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        transfer: data.View = self.i_transfer.payload
        taken = Signal.like(transfer.words)  # words of this transfer
        completing = Signal()  # all words are here, and the last flit needs only the last of them
        previous = Signal.like(self.word)
        previous_error = Signal()
        word = Signal()
        first = Signal()
        last_word = Signal()
        alone = Signal()  # a flit has no bytes of two words
        emit = Signal()
        last_flit = Signal()
        m.d.comb += [
            self.word_ready.eq(self.i_transfer.valid & ~completing),
            word.eq(self.word_valid & self.word_ready),
            first.eq(taken == 0),
            last_word.eq(taken + 1 == transfer.words),
            alone.eq((transfer.offset == 0) | (first & last_word)),
            emit.eq(completing | (word & (alone | ~first))),
            last_flit.eq(completing | (last_word & (alone | transfer.extra))),
            self.i_transfer.ready.eq(emit & last_flit),
            self.quiescent.eq(~(self.i_transfer.valid | self.data_valid.any())),
        ]
        with m.If(word):
            m.d.sync += [
                previous.eq(self.word),
                previous_error.eq(self.word_error),
                taken.eq(Mux(last_word, 0, taken + 1)),
                completing.eq(last_word & ~last_flit),
            ]
        with m.If(completing):
            m.d.sync += completing.eq(0)

        low = Mux(alone & ~completing, self.word, previous)
        error = Mux(completing, previous_error, self.word_error | (previous_error & ~alone))
        m.d.sync += self.data_valid.eq(Mux(emit, C(1) << transfer.owner, 0))
        with m.If(emit):
            shifted = (Cat(low, self.word) >> Cat(C(0, 3), transfer.offset))[: len(self.word)]
            m.d.sync += [
                self.data.eq(Mux(error, 0, shifted & self._wanted(last_flit, transfer.tail))),
                self.data_last.eq(last_flit),
                self.data_error.eq(error),
            ]
        return m

    def _wanted(self, last_flit: Value, tail: Value) -> Value:
        """Mask of the flit's bytes that were asked for."""
        size = len(self.word) // 8
        return Cat((~last_flit | (tail == 0) | (tail > byte)).replicate(8) for byte in range(size))
