"""Ways of commands that send nothing: to the lists, or straight to their report."""

from amaranth import C, Cat, Module, Mux, Signal, Value
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.nic.arbitration import next_in_turn
from rtl.nic.expressions import FieldsOf
from rtl.nic.initiator.report import REPORT
from rtl.nic.interfaces.initiator import ListPort
from rtl.nic.interfaces.widths import COMMAND_WORDS, CONTEXT_WIDTH, EPOCH_WIDTH, INDEX_WIDTH
from rtl.nic.parameters import NicParameters
from rtl.portals import LIST_COMMAND, Refusal


class Aside(wiring.Component):
    """Holds one report until it has been taken. `load` while `free`; `occupied` has a bit for its context."""

    def __init__(self, parameters: NicParameters) -> None:
        super().__init__(
            {
                "free": Out(1, init=1),
                "load": In(1),
                "report": In(REPORT),
                "o_report": Out(stream.Signature(REPORT)),
                "occupied": Out(parameters.contexts),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        report = self.o_report
        m.d.comb += [
            self.free.eq(~report.valid),
            self.occupied.eq(one_hot(report.valid, report.payload.context, len(self.occupied))),
            self.quiescent.eq(~(self.load | (report.valid & report.ready))),
        ]
        with m.If(report.valid & report.ready):
            m.d.sync += report.valid.eq(0)
        with m.If(self.load):
            m.d.sync += [report.valid.eq(1), report.payload.eq(self.report)]
        return m


class ListCommands(wiring.Component):
    """Holds one command for the lists of each context, until it has been answered and its report has been taken.

    `load` takes what stands beside it, for a context that is not `occupied` (a bit for each). Commands are offered one
    at a time, the contexts in turn. One that is deferred is offered again when the lists say that it would get on, and
    the others do not wait for it.
    """

    def __init__(self, parameters: NicParameters) -> None:
        super().__init__(
            {
                "load": In(1),
                "context": In(CONTEXT_WIDTH),
                "epoch": In(EPOCH_WIDTH),
                "index": In(INDEX_WIDTH),
                "words": In(64).array(COMMAND_WORDS),
                "o_list": Out(ListPort(parameters.contexts)),
                "o_report": Out(stream.Signature(REPORT)),
                "occupied": Out(parameters.contexts),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        command, report = self.o_list, self.o_report
        contexts = len(self.occupied)
        deferred = Signal(contexts)
        wanted = Signal(contexts)
        offering, answered, reported = Signal(), Signal(), Signal()
        loaded = one_hot(self.load, self.context, contexts)
        ours = one_hot(C(1), command.context, contexts)
        chosen = next_in_turn(m, wanted, command.context)
        m.d.comb += [
            wanted.eq((self.occupied & (~deferred | command.resume)) | loaded),
            offering.eq(wanted.any() & ~command.valid & ~report.valid),
            answered.eq(command.valid & command.ready),
            reported.eq(report.valid & report.ready),
            self.quiescent.eq(~(self.load | offering | answered | reported)),
        ]
        m.d.sync += self.occupied.eq((self.occupied | loaded) & ~Mux(reported, ours, 0))
        with m.If(offering):
            m.d.sync += [command.valid.eq(1), command.context.eq(chosen)]
        with m.Elif(answered):
            m.d.sync += [command.valid.eq(0), report.valid.eq(~command.deferred)]
            m.d.sync += deferred.eq(Mux(command.deferred, deferred | ours, deferred & ~ours))
        with m.Elif(reported):
            m.d.sync += report.valid.eq(0)
        index = self._remember(m, offering, chosen)
        self._compose_report(m, index, answered)
        return m

    def _remember(self, m: Module, offering: Value, chosen: Value) -> Value:
        """Offers what was loaded for the `chosen` context, be it in this very cycle. Returns the command's index."""
        layout = data.StructLayout({"epoch": EPOCH_WIDTH, "index": INDEX_WIDTH, "words": 64 * COMMAND_WORDS})
        m.submodules.commands = commands = memory.Memory(shape=layout, depth=len(self.occupied), init=[])
        write = commands.write_port()
        read = commands.read_port(transparent_for=[write])
        m.d.comb += [
            write.en.eq(self.load),
            write.addr.eq(self.context),
            write.data.epoch.eq(self.epoch),
            write.data.index.eq(self.index),
            write.data.words.eq(Cat(*self.words)),
            read.en.eq(offering),
            read.addr.eq(chosen),
            self.o_list.epoch.eq(read.data.epoch),
            Cat(*self.o_list.words).eq(read.data.words),
        ]
        return read.data.index

    def _compose_report(self, m: Module, index: Value, answered: Value) -> None:
        command, report = self.o_list, self.o_report
        refusal = Signal(8)
        with m.If(answered):
            m.d.sync += refusal.eq(command.refusal)
        m.d.comb += [
            report.payload.context.eq(command.context),
            report.payload.epoch.eq(command.epoch),
            report.payload.index.eq(index),
            report.payload.refused.eq(refusal != Refusal.NONE),
            report.payload.event.eq(refusal != Refusal.NONE),
            report.payload.fail.eq(refusal),
            report.payload.user_data.eq(FieldsOf(LIST_COMMAND, list(command.words)).user_data),
        ]


def one_hot(condition: Value, number: Value, width: int) -> Value:
    """Bit `number` of `width`, if `condition`."""
    return Cat(*(condition & (number == index) for index in range(width)))
