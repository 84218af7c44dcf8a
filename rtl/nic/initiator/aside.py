"""Ways of commands that send nothing: to the lists, or straight to their report."""

from amaranth import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.nic.initiator.report import REPORT
from rtl.nic.interfaces import COMMAND_WORDS, CONTEXT_WIDTH, EPOCH_WIDTH, INDEX_WIDTH, FieldsOf, ListPort
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


class ListCommand(wiring.Component):
    """Holds one command for the lists until it has been answered, and then its report until that has been taken.

    `load` takes what stands beside it, while `free`; `occupied` has a bit for its context.
    """

    def __init__(self, parameters: NicParameters) -> None:
        super().__init__(
            {
                "free": Out(1, init=1),
                "load": In(1),
                "context": In(CONTEXT_WIDTH),
                "epoch": In(EPOCH_WIDTH),
                "index": In(INDEX_WIDTH),
                "words": In(64).array(COMMAND_WORDS),
                "o_list": Out(ListPort()),
                "o_report": Out(stream.Signature(REPORT)),
                "occupied": Out(parameters.contexts),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        command, report = self.o_list, self.o_report
        refusal = Signal(8)
        index = Signal(INDEX_WIDTH)
        m.d.comb += [
            self.free.eq(~command.valid & ~report.valid),
            self.occupied.eq(one_hot(~self.free, command.context, len(self.occupied))),
            self.quiescent.eq(~(self.load | (command.valid & command.ready) | (report.valid & report.ready))),
            report.payload.context.eq(command.context),
            report.payload.epoch.eq(command.epoch),
            report.payload.index.eq(index),
            report.payload.refused.eq(refusal != Refusal.NONE),
            report.payload.event.eq(refusal != Refusal.NONE),
            report.payload.fail.eq(refusal),
            report.payload.user_data.eq(FieldsOf(LIST_COMMAND, list(command.words)).user_data),
        ]
        with m.If(command.valid & command.ready):
            m.d.sync += [command.valid.eq(0), refusal.eq(command.refusal), report.valid.eq(1)]
        with m.If(report.valid & report.ready):
            m.d.sync += report.valid.eq(0)
        with m.If(self.load):
            m.d.sync += [command.valid.eq(1), command.context.eq(self.context), command.epoch.eq(self.epoch)]
            m.d.sync += index.eq(self.index)
            m.d.sync += [ours.eq(word) for ours, word in zip(command.words, self.words, strict=True)]
        return m


def one_hot(condition: Signal, number: Signal, width: int) -> Cat:
    """Bit `number` of `width`, if `condition`."""
    return Cat(*(condition & (number == index) for index in range(width)))
