"""Tells a process what has become of a command, and that it is over."""

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.nic.arbitration import next_in_turn
from rtl.nic.expressions import assemble, select
from rtl.nic.interfaces.context import context_ports
from rtl.nic.interfaces.reports import EventPort, RefusalPort
from rtl.nic.interfaces.widths import CONTEXT_WIDTH, EPOCH_WIDTH, INDEX_WIDTH
from rtl.nic.parameters import NicParameters
from rtl.portals import EVENT, EventKind

# How a command ended. One place in the queue is reserved for it: `event` uses it up, otherwise it is given back.
# `fail` is a Fail, or with `refused` a Refusal; `index` is that of a refused command.
REPORT = data.StructLayout(
    {
        "context": CONTEXT_WIDTH,
        "epoch": EPOCH_WIDTH,
        "index": INDEX_WIDTH,
        "event": 1,
        "refused": 1,
        "fail": 8,
        "user_data": 64,
        "counter_valid": 1,
        "counter_set": 1,
        "counter": 8,
        "success": 64,
        "failure": 64,
    }
)


class Report(wiring.Component):
    """One report at a time, the sources in turn; `ready` comes when its event and counter have been taken.

    In that cycle the command is `retired`, unless its context has been restarted: then nothing is reported.
    """

    def __init__(self, parameters: NicParameters, *, sources: int) -> None:
        super().__init__(
            {
                "states": context_ports(parameters)["states"],
                "i_reports": In(stream.Signature(REPORT)).array(sources),
                "o_event": Out(EventPort()),
                "release_valid": Out(1),  # of one place
                "release_context": Out(CONTEXT_WIDTH),
                "release_epoch": Out(EPOCH_WIDTH),
                "refusal": Out(RefusalPort()),
                "retired": Out(1),
                "retired_context": Out(CONTEXT_WIDTH),
                "retired_refused": Out(1),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        report = Signal(REPORT)
        source = Signal(range(max(len(self.i_reports), 2)))
        waiting = Cat(*(port.valid for port in self.i_reports))
        following = next_in_turn(m, waiting, source)
        over = Signal()
        with m.FSM(name="report"):
            with m.State("Await-Report"):
                m.d.comb += self.quiescent.eq(~waiting.any())
                with m.If(waiting.any()):
                    m.d.sync += [source.eq(following), report.eq(select(self._payloads(), following))]
                    m.next = "Report"
            with m.State("Report"):
                writes = report.event | report.counter_valid
                m.d.comb += [
                    self.o_event.valid.eq(writes),
                    over.eq(~writes | self.o_event.ready),
                    self.quiescent.eq(~over),
                ]
                with m.If(over):
                    m.next = "Await-Report"
        for number, port in enumerate(self.i_reports):
            m.d.comb += port.ready.eq(over & (source == number))
        self._compose_event(m, data.View(REPORT, report))
        self._conclude(m, data.View(REPORT, report), over)
        return m

    def _payloads(self) -> list[Value]:
        return [Value.cast(port.payload) for port in self.i_reports]

    def _compose_event(self, m: Module, report: data.View) -> None:
        words = assemble(
            EVENT,
            {
                "kind": Mux(report.refused, EventKind.REFUSED, EventKind.SEND),
                "fail": report.fail,
                "user_data": report.user_data,
            },
        )
        event = self.o_event
        m.d.comb += [theirs.eq(word) for theirs, word in zip(event.words, words, strict=True)]
        m.d.comb += [
            event.context.eq(report.context),
            event.epoch.eq(report.epoch),
            event.event.eq(report.event),
            event.counter_valid.eq(report.counter_valid),
            event.counter_set.eq(report.counter_set),
            event.counter.eq(report.counter),
            event.success.eq(report.success),
            event.failure.eq(report.failure),
        ]

    def _conclude(self, m: Module, report: data.View, over: Signal) -> None:
        same_life = select([state.epoch for state in self.states], report.context) == report.epoch
        current = over & same_life & ~select([state.restarted for state in self.states], report.context)
        m.d.comb += [
            self.release_valid.eq(current & ~report.event),
            self.release_context.eq(report.context),
            self.release_epoch.eq(report.epoch),
            self.retired.eq(current),
            self.retired_context.eq(report.context),
            self.retired_refused.eq(report.refused),
            self.refusal.valid.eq(current & report.refused),
            self.refusal.reason.eq(report.fail),
            self.refusal.context.eq(report.context),
            self.refusal.detail.eq(report.index),
        ]
