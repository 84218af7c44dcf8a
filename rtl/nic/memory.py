"""The NIC's port to host memory: several readers and several writers over one AXI4 manager.

Ref: ARM IHI 0022, A3.2 (handshakes), A3.4.1 (bursts). All transactions carry ID 0, so data come back in order.
"""

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.lib import fifo, wiring
from amaranth.lib.wiring import In, Out

from rtl.axi import BURST_INCR, Axi4, Response
from rtl.nic.arbitration import next_in_turn
from rtl.nic.ports import WORD_LOG2_BYTES, ReadPort, WritePort, fit, select

BURST_WORDS = 256  # AxLEN's bound for INCR; blocks of this many aligned words never cross a boundary of 4 KiB
OUTSTANDING_READS = 8


def words_of_burst(word_address: Value, remaining: Value) -> Value:
    """Words of the burst from `word_address` (in words) when `remaining` words are wanted."""
    to_boundary = BURST_WORDS - word_address[: BURST_WORDS.bit_length() - 1]
    return fit(Mux(remaining < to_boundary, remaining, to_boundary), 9)


class MemoryPort(wiring.Component):
    """Readers: the lowest-numbered one that asks goes first. Writers: in turn, each for as long as it requests."""

    def __init__(self, *, readers: int, writers: int) -> None:
        super().__init__(
            {
                "readers": In(ReadPort()).array(readers),
                "writers": In(WritePort()).array(writers),
                "memory": Out(Axi4()),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.owners = owners = fifo.SyncFIFO(
            width=max(len(self.readers) - 1, 1).bit_length(), depth=OUTSTANDING_READS
        )
        self._request_reads(m, owners)
        self._return_reads(m, owners)
        owned = self._grant_writes(m)
        self._pass_writes(m)
        asked = Cat(*(reader.burst_valid for reader in self.readers), *(writer.request for writer in self.writers))
        m.d.comb += self.quiescent.eq(~(asked.any() | self.memory.arvalid | owners.r_rdy | owned))
        return m

    def _request_reads(self, m: Module, owners: fifo.SyncFIFO) -> None:
        memory = self.memory
        free = Signal()
        m.d.comb += [
            memory.arsize.eq(WORD_LOG2_BYTES),
            memory.arburst.eq(BURST_INCR),
            free.eq((~memory.arvalid | memory.arready) & owners.w_rdy),
        ]
        with m.If(memory.arready):
            m.d.sync += memory.arvalid.eq(0)
        others = Signal()
        for index, reader in enumerate(self.readers):
            m.d.comb += reader.burst_ready.eq(free & ~others)
            with m.If(reader.burst_valid & reader.burst_ready):
                m.d.comb += [owners.w_en.eq(1), owners.w_data.eq(index)]
                m.d.sync += [
                    memory.arvalid.eq(1),
                    memory.araddr.eq(reader.burst_address),
                    memory.arlen.eq(reader.burst_words - 1),
                ]
            previous, others = others, Signal()
            m.d.comb += others.eq(previous | reader.burst_valid)

    def _return_reads(self, m: Module, owners: fifo.SyncFIFO) -> None:
        memory = self.memory
        for index, reader in enumerate(self.readers):
            m.d.comb += [
                reader.data_word.eq(memory.rdata),
                reader.data_error.eq(memory.rresp != Response.OKAY),
                reader.data_valid.eq(memory.rvalid & owners.r_rdy & (owners.r_data == index)),
            ]
        m.d.comb += [
            memory.rready.eq(owners.r_rdy & select([reader.data_ready for reader in self.readers], owners.r_data)),
            owners.r_en.eq(memory.rvalid & memory.rready & memory.rlast),
        ]

    def _grant_writes(self, m: Module) -> Signal:
        """High while a writer owns the port."""
        requests = Signal(len(self.writers))
        owner = Signal(range(max(len(self.writers), 2)))
        owned = Signal()
        for index, writer in enumerate(self.writers):
            m.d.comb += [requests[index].eq(writer.request), writer.granted.eq(owned & (owner == index))]
        following = next_in_turn(m, requests, owner)
        with m.If(~(owned & select(list(requests), owner))):
            m.d.sync += owned.eq(requests.any())
            with m.If(requests.any()):
                m.d.sync += owner.eq(following)
        return owned

    def _pass_writes(self, m: Module) -> None:
        memory = self.memory
        m.d.comb += [memory.awsize.eq(WORD_LOG2_BYTES), memory.awburst.eq(BURST_INCR), memory.bready.eq(1)]
        for writer in self.writers:
            with m.If(writer.granted):
                m.d.comb += [
                    memory.awvalid.eq(writer.burst_valid),
                    memory.awaddr.eq(writer.burst_address),
                    memory.awlen.eq(writer.burst_words - 1),
                    writer.burst_ready.eq(memory.awready),
                    memory.wvalid.eq(writer.data_valid),
                    memory.wdata.eq(writer.data_word),
                    memory.wstrb.eq(writer.data_strobe),
                    memory.wlast.eq(writer.data_last),
                    writer.data_ready.eq(memory.wready),
                    writer.done.eq(memory.bvalid),
                    writer.error.eq(memory.bresp != Response.OKAY),
                ]
