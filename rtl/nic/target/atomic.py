"""Atomic operations on host memory: read, combine, write, one request after the other."""

from collections.abc import Sequence

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from rtl.nic.expressions import select
from rtl.nic.interfaces.host import ReadPort, WritePort
from rtl.nic.interfaces.target import AtomicPort
from rtl.nic.interfaces.widths import INLINE_WORDS
from rtl.nic.parameters import NicParameters
from rtl.nic.target.alu import Alu


class Atomic(wiring.Component):
    """One request at a time, so that no other atomic of this NIC comes between its read and its write.

    Everything is read before anything is written, so that memory that errs is left as it was. Besides waiting for
    memory a request takes three cycles, and one for each flit that is read and written.
    """

    def __init__(self, parameters: NicParameters) -> None:
        self._flit_words = parameters.datapath_bits // 64
        super().__init__(
            {
                "i_request": In(AtomicPort()),
                "read": Out(ReadPort(parameters.datapath_bits)),
                "write": Out(WritePort(parameters.datapath_bits)),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        request = self.i_request
        failed = Signal()
        index = Signal(range(INLINE_WORDS // self._flit_words))  # of the flit that is read, then of the one combined
        m.d.comb += [
            *(port.address.eq(request.address) for port in (self.read, self.write)),
            *(port.bytes.eq(request.bytes) for port in (self.read, self.write)),
        ]
        with m.FSM(name="atomic"):
            with m.State("Await-Request"):
                m.d.comb += self.quiescent.eq(~request.valid)
                with m.If(request.valid):
                    m.d.sync += [failed.eq(0), index.eq(0), *(word.eq(0) for word in request.old)]
                    m.next = "Request-Read"
            with m.State("Request-Read"):
                m.d.comb += self.read.valid.eq(1)
                with m.If(self.read.ready):
                    m.next = "Await-Data"
            with m.State("Await-Data"), m.If(self.read.data_valid):
                error = failed | self.read.data_error
                self._keep(m, index)
                m.d.sync += [failed.eq(error), index.eq(Mux(self.read.data_last, 0, index + 1))]
                with m.If(self.read.data_last & error):
                    m.next = "Report"
                with m.Elif(self.read.data_last):
                    m.next = "Write"
            with m.State("Write"):
                self._write(m, index)
            with m.State("Await-Answer"), m.If(self.write.done):
                m.d.sync += failed.eq(self.write.error)
                m.next = "Report"
            with m.State("Report"):
                m.d.comb += [request.done.eq(1), request.failed.eq(failed)]
                m.next = "Await-Request"
        return m

    def _keep(self, m: Module, index: Signal) -> None:
        """The flit that is read becomes words of `old`."""
        with m.Switch(index):
            for flit, words in enumerate(self._flits(self.i_request.old)):
                with m.Case(flit):
                    m.d.sync += Cat(words).eq(self.read.data)

    def _write(self, m: Module, index: Signal) -> None:
        """A flit is combined while the one before it is taken; the request goes out beside the first."""
        request = self.i_request
        accepted = Signal()
        offered = Signal()  # `write.data` is a flit to be taken
        combined = Signal()  # all flits are
        last = ((request.bytes - 1) >> exact_log2(8 * self._flit_words))[: len(index)]
        taken = ~offered | self.write.data_ready
        m.d.comb += [self.write.valid.eq(~accepted), self.write.data_valid.eq(offered)]
        with m.If(self.write.ready):
            m.d.sync += accepted.eq(1)
        with m.If(taken & ~combined):
            m.d.sync += [offered.eq(1), self.write.data.eq(self._result(m, index))]
            m.d.sync += [index.eq(index + 1), combined.eq(index == last)]
        with m.Elif(taken):
            m.d.sync += offered.eq(0)
            with m.If(accepted | self.write.ready):
                m.d.sync += [accepted.eq(0), combined.eq(0)]
                m.next = "Await-Answer"

    def _result(self, m: Module, index: Signal) -> Value:
        """What memory's flit `index` becomes."""
        request = self.i_request
        results = []
        for word in range(self._flit_words):
            alu = Alu()
            m.submodules[f"alu_{word}"] = alu
            m.d.comb += [
                alu.operation.eq(request.operation),
                alu.type.eq(request.type),
                alu.memory.eq(select([flit[word] for flit in self._flits(request.old)], index)),
                alu.datum.eq(select([flit[word] for flit in self._flits(request.data)], index)),
                alu.operand.eq(request.operand),
            ]
            results.append(alu.result)
        return Cat(results)

    def _flits(self, words: Sequence[Value]) -> list[list[Value]]:
        """Of eight words those of each flit."""
        return [list(words[at : at + self._flit_words]) for at in range(0, INLINE_WORDS, self._flit_words)]
