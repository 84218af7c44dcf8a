"""The NIC's port to host memory: several readers and several writers over one AXI4 manager. Wiring only."""

from amaranth import Cat, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.axi import BURST_INCR, Axi4
from rtl.nic.host.bursts import log2_bytes
from rtl.nic.host.mark import Mark
from rtl.nic.host.read import OUTSTANDING_READS, Read
from rtl.nic.host.write import OUTSTANDING_BURSTS, Write
from rtl.nic.interfaces.host import ReadPort, WritePort
from rtl.nic.parameters import NicParameters


class MemoryPort(wiring.Component):
    """Readers and writers are served in turn, request by request; reads and writes don't wait for each other.

    A request is taken when its turn comes, and its first burst offered in the next cycle; a flit of a read comes one
    cycle after the word that completes it, a flit of a write goes out one cycle after it was taken. Reads fetch the
    whole bus words in which requested bytes lie; writes touch no byte but those requested. After a pulse of `mark`,
    `marked` is high as long as memory owes an answer to a request that was taken in an earlier cycle.
    """

    def __init__(self, parameters: NicParameters, *, readers: int, writers: int) -> None:
        self._parameters = parameters
        super().__init__(
            {
                "readers": In(ReadPort(parameters.datapath_bits)).array(readers),
                "writers": In(WritePort(parameters.datapath_bits)).array(writers),
                "memory": Out(Axi4(data_width=parameters.datapath_bits)),
                "mark": In(1),
                "marked": Out(1),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.read = read = Read(self._parameters, readers=len(self.readers))
        m.submodules.write = write = Write(self._parameters, writers=len(self.writers))
        for ours, theirs in ((self.readers, read.readers), (self.writers, write.writers)):
            for outer, inner in zip(ours, theirs, strict=True):
                wiring.connect(m, wiring.flipped(outer), inner)
        memory = self.memory
        for engine, prefix in ((read, "ar"), (write, "aw")):
            burst = engine.o_burst
            m.d.comb += [
                getattr(memory, prefix + "addr").eq(burst.payload.address),
                getattr(memory, prefix + "len").eq(burst.payload.length),
                getattr(memory, prefix + "size").eq(log2_bytes(self._parameters)),
                getattr(memory, prefix + "burst").eq(BURST_INCR),
                getattr(memory, prefix + "valid").eq(burst.valid),
                burst.ready.eq(getattr(memory, prefix + "ready")),
            ]
        for engine, inputs, outputs in (
            (read, ["rdata", "rresp", "rvalid"], ["rready"]),
            (write, ["bresp", "bvalid", "wready"], ["wdata", "wstrb", "wlast", "wvalid", "bready"]),
        ):
            m.d.comb += [getattr(engine, name).eq(getattr(memory, name)) for name in inputs]
            m.d.comb += [getattr(memory, name).eq(getattr(engine, name)) for name in outputs]
        # A request is taken with all of its bursts, so one more may be under way than bursts wait for their answers.
        m.submodules.reads = reads = Mark(OUTSTANDING_READS)
        m.submodules.writes = writes = Mark(OUTSTANDING_BURSTS + 1)
        m.d.comb += [
            reads.begins.eq(Cat(*(reader.valid & reader.ready for reader in self.readers)).any()),
            reads.ends.eq(read.answered),
            writes.begins.eq(Cat(*(writer.valid & writer.ready for writer in self.writers)).any()),
            writes.ends.eq(Cat(*(writer.done for writer in self.writers)).any()),
            reads.mark.eq(self.mark),
            writes.mark.eq(self.mark),
            self.marked.eq(reads.marked | writes.marked),
            self.quiescent.eq(read.quiescent & write.quiescent & reads.quiescent & writes.quiescent),
        ]
        return m
