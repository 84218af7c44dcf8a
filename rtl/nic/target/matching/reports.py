"""The events that a list command gives."""

import enum
from typing import Any

from amaranth import C, Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.nic.expressions import FieldsOf, assemble
from rtl.nic.interfaces.reports import EventPort
from rtl.nic.interfaces.widths import COMMAND_WORDS, CONTEXT_WIDTH, EPOCH_WIDTH
from rtl.nic.parameters import NicParameters
from rtl.nic.target.matching.tables import ENTRY_FIELDS, HEADER_FIELDS, header_layout
from rtl.portals import EVENT, LIST_COMMAND, EventKind, Fail, List, Operation

_OVERFLOW_KINDS = {
    Operation.PUT: EventKind.PUT_OVERFLOW,
    Operation.GET: EventKind.GET_OVERFLOW,
    Operation.ATOMIC: EventKind.ATOMIC_OVERFLOW,
    Operation.FETCH_ATOMIC: EventKind.FETCH_ATOMIC_OVERFLOW,
    Operation.SWAP: EventKind.FETCH_ATOMIC_OVERFLOW,
}


class Report(enum.IntEnum):
    """In the order in which those of one step are written; each is a bit of `wanted`."""

    HEADER = 0  # *_OVERFLOW if it is removed, SEARCH if not; or the counter's change alone
    AUTO_FREE = 1
    AUTO_UNLINK = 2
    CONCLUSION = 3  # LINK of an append, SEARCH with NO_MATCH of a search
    NOTHING_MORE = 4  # a search has come to the end of the list: the counter's change alone


def removes_headers(command: FieldsOf) -> Value:
    """Whether an append or search removes the headers that it finds."""
    return (command.operation == Operation.ME_APPEND) | command.search_delete


def tells_of_headers(command: FieldsOf) -> Value:
    """Whether an append or search wants events of the headers that it finds."""
    return ~Mux(removes_headers(command), command.event_over_disable, command.event_comm_disable)


class Reports(wiring.Component):
    """Writes the reports whose bits are set in `wanted` with `start`; `busy` until all have been taken.

    `words` are the command, `header` the unexpected header that it met and `freed_user_data` that header's match
    entry's: they hold meanwhile. `used` pulses for each place in the event queue that is used up.
    """

    def __init__(self, parameters: NicParameters) -> None:
        super().__init__(
            {
                "context": In(CONTEXT_WIDTH),
                "epoch": In(EPOCH_WIDTH),
                "words": In(64).array(COMMAND_WORDS),
                "header": In(header_layout(parameters)),
                "freed_user_data": In(ENTRY_FIELDS["user_data"]),
                "start": In(1),
                "wanted": In(len(Report)),
                "busy": Out(1),
                "used": Out(1),
                "o_event": Out(EventPort()),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        left = Signal(len(Report))
        command = FieldsOf(LIST_COMMAND, self.words)
        event = self.o_event
        m.d.comb += self.busy.eq(left.any())
        with m.If(self.start):
            m.d.sync += left.eq(self.wanted)
        with m.Elif(self.busy):
            m.d.comb += [event.valid.eq(1), event.context.eq(self.context), event.epoch.eq(self.epoch)]
            first = (left & -left)[: len(Report)]
            for report, fields in self._fields(command).items():
                with m.If(first[report]):
                    words = assemble(EVENT, fields)
                    m.d.comb += [theirs.eq(word) for theirs, word in zip(event.words, words, strict=True)]
                    m.d.comb += event.event.eq(1)
            m.d.comb += event.counter.eq(command.counter)
            with m.If(first[Report.HEADER]):
                self._report_header(m, command)
            with m.If(first[Report.NOTHING_MORE]):
                m.d.comb += [event.counter_valid.eq(1), event.failure.eq(1)]
            m.d.comb += self.used.eq(event.ready & event.event)
            with m.If(event.ready):
                m.d.sync += left.eq(left & (left - 1))
        return m

    def _report_header(self, m: Module, command: FieldsOf) -> None:
        """The command may want no event, and may count."""
        event = self.o_event
        m.d.comb += [
            event.words[1].eq(Cat(self.header.src_nid, self.header.src_pid, self.header.jid)),
            event.event.eq(tells_of_headers(command)),
            event.counter_valid.eq(command.ct_overflow),
            event.success.eq(Mux(command.ct_bytes, self.header.bytes, 1)),
        ]

    def _fields(self, command: FieldsOf) -> dict[Report, dict[str, Any]]:
        header = self.header
        appends = command.operation == Operation.ME_APPEND
        overflow_kind: Value = C(0, 8)
        for operation, kind in _OVERFLOW_KINDS.items():
            overflow_kind = Mux(header.kind == operation, C(kind, 8), overflow_kind)
        common = {"pt_index": command.pt_index, "user_data": command.user_data}
        same = [name for name in HEADER_FIELDS if name in EVENT.fields and name != "pt_index"]
        return {
            Report.HEADER: {
                **common,
                **{name: getattr(header, name) for name in same},
                "kind": Mux(removes_headers(command), overflow_kind, EventKind.SEARCH),
                "start_window": header.window,
                "start_offset": header.start,
                "requested_bytes": header.message_bytes,
                "manipulated_bytes": header.bytes,
                "list": C(List.OVERFLOW, 2),
            },
            Report.AUTO_FREE: {
                **common,
                "kind": C(EventKind.AUTO_FREE, 8),
                "user_data": self.freed_user_data,
                "list": C(List.OVERFLOW, 2),
            },
            Report.AUTO_UNLINK: {**common, "kind": C(EventKind.AUTO_UNLINK, 8), "list": command.list},
            Report.CONCLUSION: {
                **common,
                "kind": Mux(appends, EventKind.LINK, EventKind.SEARCH),
                "fail": Mux(appends, Fail.OK, Fail.NO_MATCH),
                "list": appends & command.list,
            },
        }
