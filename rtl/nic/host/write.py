"""The writing half of the memory port.

Ref: ARM IHI 0022, A3.2 (handshakes), A3.3 (what may wait for what). All writes carry ID 0, so answers come in order.
"""

from amaranth import C, Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.axi import Response
from rtl.nic.expressions import select
from rtl.nic.host.bursts import BURST_LOG2_WORDS, Bursts, burst_layout, owner_width, transfer_layout
from rtl.nic.interfaces.host import WritePort
from rtl.nic.parameters import NicParameters

OUTSTANDING_BURSTS = 16
TAKEN_AHEAD = 4  # requests whose addresses may be out before their data


class Write(wiring.Component):
    """Requests of all writers in turn, the data of one after those of the other; strobes spare all other bytes.

    A burst's data are offered no earlier than its address, but don't wait for the address to be accepted.
    """

    def __init__(self, parameters: NicParameters, *, writers: int) -> None:
        self._parameters = parameters
        super().__init__(
            {
                "writers": In(WritePort(parameters.datapath_bits)).array(writers),
                "o_burst": Out(stream.Signature(burst_layout(writers))),
                "wdata": Out(parameters.datapath_bits),
                "wstrb": Out(parameters.datapath_bytes),
                "wlast": Out(1),
                "wvalid": Out(1),
                "wready": In(1),
                "bresp": In(2),
                "bvalid": In(1),
                "bready": Out(1),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.bursts = bursts = Bursts(self._parameters, requesters=len(self.writers), depth=TAKEN_AHEAD)
        m.submodules.align = align = AlignWrite(self._parameters, writers=len(self.writers))
        for index, writer in enumerate(self.writers):
            m.d.comb += [
                bursts.valid[index].eq(writer.valid),
                bursts.address[index].eq(writer.address),
                bursts.bytes[index].eq(writer.bytes),
                writer.ready.eq(bursts.ready[index]),
                align.data_valid[index].eq(writer.data_valid),
                align.data[index].eq(writer.data),
                writer.data_ready.eq(align.data_ready[index]),
            ]
        wiring.connect(m, bursts.o_transfer, align.i_transfer)
        m.d.comb += [
            self.wdata.eq(align.word),
            self.wstrb.eq(align.strobe),
            self.wlast.eq(align.last),
            self.wvalid.eq(align.valid),
            align.ready.eq(self.wready),
        ]
        owner_bits = owner_width(len(self.writers))
        m.submodules.unanswered = unanswered = fifo.SyncFIFO(width=1 + owner_bits, depth=OUTSTANDING_BURSTS)
        self._pass_addresses(m, bursts, align, unanswered.w_rdy)
        self._collect_answers(m, unanswered)
        m.d.comb += self.quiescent.eq(bursts.quiescent & align.quiescent & ~unanswered.r_rdy)
        return m

    def _pass_addresses(self, m: Module, bursts: Bursts, align: "AlignWrite", room: Value) -> None:
        """Offers the bursts as long as there is `room` for their answers; data may follow what was offered."""
        burst = bursts.o_burst
        ahead = Signal(
            range(OUTSTANDING_BURSTS + 2), init=1
        )  # one more than bursts accepted less bursts whose data went
        accepted = self.o_burst.valid & self.o_burst.ready
        m.d.comb += [
            self.o_burst.valid.eq(burst.valid & room),
            self.o_burst.payload.eq(burst.payload),
            burst.ready.eq(self.o_burst.ready & room),
            align.offered.eq((ahead > 1) | ((ahead == 1) & self.o_burst.valid)),
        ]
        with m.If(accepted != align.sent):
            m.d.sync += ahead.eq(Mux(accepted, ahead + 1, ahead - 1))

    def _collect_answers(self, m: Module, unanswered: fifo.SyncFIFO) -> None:
        """Tells the writers in the cycle in which memory answers: an event waits for that."""
        layout = data.StructLayout({"last": unsigned(1), "owner": unsigned(owner_width(len(self.writers)))})
        burst = self.o_burst.payload
        answered = data.View(layout, unanswered.r_data)
        failed = Signal()  # an earlier burst of this request
        done = Signal(len(self.writers))
        refused = Signal()
        m.d.comb += [
            refused.eq(failed | (self.bresp != Response.OKAY)),
            unanswered.w_data.eq(Cat(burst.last, burst.owner)),
            unanswered.w_en.eq(self.o_burst.valid & self.o_burst.ready),
            self.bready.eq(unanswered.r_rdy),
            unanswered.r_en.eq(self.bvalid),
        ]
        with m.If(self.bvalid & self.bready):
            m.d.sync += failed.eq(refused & ~answered.last)
            m.d.comb += done.eq(answered.last << answered.owner)
        for index, writer in enumerate(self.writers):
            m.d.comb += [writer.done.eq(done[index]), writer.error.eq(refused)]


class AlignWrite(wiring.Component):
    """Flits, taken from the writer to whom the transfer belongs, into bus words with strobes, a cycle later.

    Nothing is taken for a burst that is not `offered` yet; `sent` pulses when the last word of a burst is there.
    """

    def __init__(self, parameters: NicParameters, *, writers: int) -> None:
        self._layout = transfer_layout(parameters, writers)
        super().__init__(
            {
                "i_transfer": In(stream.Signature(self._layout)),
                "offered": In(1),
                "sent": Out(1),
                "data_valid": In(writers),
                "data_ready": Out(writers),
                "data": In(parameters.datapath_bits).array(writers),
                "word": Out(parameters.datapath_bits),
                "strobe": Out(parameters.datapath_bytes),
                "last": Out(1),
                "valid": Out(1),
                "ready": In(1),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        transfer: data.View = self.i_transfer.payload
        filled = Signal.like(transfer.words)  # words of this transfer
        previous = Signal.like(self.word)
        flit = Signal.like(self.word)
        last_word = Signal()
        last_of_burst = Signal()
        completing = Signal()  # the last word has only what is left of the last flit
        may_fill = Signal()
        fill = Signal()
        position = (transfer.position + filled)[:BURST_LOG2_WORDS]
        m.d.comb += [
            flit.eq(select(list(self.data), transfer.owner)),
            last_word.eq(filled + 1 == transfer.words),
            last_of_burst.eq(last_word | position.all()),
            completing.eq(last_word & transfer.extra),
            may_fill.eq(self.i_transfer.valid & self.offered & (~self.valid | self.ready)),
            self.data_ready.eq(Mux(may_fill & ~completing, C(1) << transfer.owner, 0)),
            fill.eq(may_fill & (completing | (self.data_valid & self.data_ready).any())),
            self.sent.eq(fill & last_of_burst),
            self.i_transfer.ready.eq(fill & last_word),
            self.quiescent.eq(~(self.i_transfer.valid | self.valid)),
        ]
        with m.If(self.ready):
            m.d.sync += self.valid.eq(0)
        with m.If(fill):
            shifted = (Cat(previous, flit) << Cat(C(0, 3), transfer.offset))[len(flit) : 2 * len(flit)]
            m.d.sync += [
                previous.eq(flit),
                filled.eq(Mux(last_word, 0, filled + 1)),
                self.word.eq(shifted),
                self.strobe.eq(self._strobe(transfer, filled == 0, last_word)),
                self.last.eq(last_of_burst),
                self.valid.eq(1),
            ]
        return m

    def _strobe(self, transfer: data.View, first_word: Value, last_word: Value) -> Value:
        end = (transfer.offset + transfer.tail)[: len(transfer.offset)]  # 0: the last word is full
        return Cat(
            (~first_word | (transfer.offset <= byte)) & (~last_word | (end == 0) | (end > byte))
            for byte in range(len(self.strobe))
        )
