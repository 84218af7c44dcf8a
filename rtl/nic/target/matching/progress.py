"""How far the list command of each context has come: kept while it is deferred."""

from typing import Any

from amaranth import Module, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from rtl.nic.expressions import select
from rtl.nic.interfaces.widths import CONTEXT_WIDTH
from rtl.nic.parameters import NicParameters
from rtl.nic.target.matching.tables import index_width

PLACES_WIDTH = 2  # no step of a command gives more than three events


def progress_layout(parameters: NicParameters) -> data.StructLayout:
    """Of a command that has not begun: all zero.

    The search looks at `header` and is behind header `passed`, or at the head of the list unless it is `passing`;
    `found`: it has met what it searches for. `held` places are reserved. The command waits for a place or for the end
    of the message of `header`, or for neither.
    """
    header = index_width(parameters.unexpected_headers)
    return data.StructLayout(
        {
            "passing": 1,
            "passed": header,
            "header": header,
            "found": 1,
            "held": PLACES_WIDTH,
            "await_room": 1,
            "await_end": 1,
        }
    )


class Progress(wiring.Component):
    """One record of each context; `known` is that of `context`, which `store` makes `kept`.

    While a command waits, messages begin and end: `finished` (with `finished_context` and `finished_header`, and for a
    header that was `removed` whether it was `inner` and what was `previous`) ends its wait, and keeps the place that
    its search has reached. `resume` has a bit for each context whose command waits for nothing but what is there:
    `room` has a bit for each with a place in its event queue. A restart forgets how far its command had come.
    """

    def __init__(self, parameters: NicParameters) -> None:
        contexts = parameters.contexts
        header = index_width(parameters.unexpected_headers)
        self._layout = progress_layout(parameters)
        super().__init__(
            {
                "context": In(CONTEXT_WIDTH),
                "known": Out(self._layout),
                "store": In(1),
                "kept": In(self._layout),
                "finished": In(1),
                "finished_context": In(CONTEXT_WIDTH),
                "finished_header": In(header),
                "removed": In(1),
                "inner": In(1),
                "previous": In(header),
                "restarted": In(contexts),
                "room": In(contexts),
                "resume": Out(contexts),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        records: list[Any] = [Signal(self._layout, name=f"progress_{number}") for number in range(len(self.room))]
        m.d.comb += Value.cast(self.known).eq(select([Value.cast(record) for record in records], self.context))
        for number, record in enumerate(records):
            m.d.comb += self.resume[number].eq(~record.await_end & (~record.await_room | self.room[number]))
            with m.If(self.restarted[number]):
                m.d.sync += Value.cast(record).eq(0)
            with m.Elif(self.store & (self.context == number)):
                m.d.sync += record.eq(self.kept)
            with m.Elif(self.finished & (self.finished_context == number)):
                self._follow_finish(m, record)
        return m

    def _follow_finish(self, m: Module, record: Any) -> None:
        with m.If(self.finished_header == record.header):
            m.d.sync += record.await_end.eq(0)
        with m.If(self.removed & record.passing & (self.finished_header == record.passed)):
            m.d.sync += [record.passing.eq(self.inner), record.passed.eq(self.previous)]
