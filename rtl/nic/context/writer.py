"""Takes events and changes of counters, and gives them to host memory."""

from collections.abc import Sequence
from typing import Any

from amaranth import C, Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.nic.arbitration import next_in_turn
from rtl.nic.context.counters import Counters
from rtl.nic.expressions import select
from rtl.nic.interfaces.context import context_ports
from rtl.nic.interfaces.reports import EventPort
from rtl.nic.interfaces.widths import ADDRESS_WIDTH, CONTEXT_WIDTH, EPOCH_WIDTH, INDEX_WIDTH, SIZE_WIDTH
from rtl.nic.parameters import NicParameters
from rtl.portals import COUNTER, EVENT

COUNTER_LOG2_BYTES = COUNTER.length_bytes.bit_length() - 1


class RequestedWrite(wiring.Signature):
    """A write that memory has been asked for: whose, whether of an event (else of a counter), where, and whether it is
    the last one of its transfer."""

    def __init__(self) -> None:
        super().__init__(
            {
                "valid": Out(1),
                "context": Out(CONTEXT_WIDTH),
                "epoch": Out(EPOCH_WIDTH),
                "event": Out(1),
                "address": Out(ADDRESS_WIDTH),
                "last": Out(1),
            }
        )


class EventWriter(wiring.Component):
    """One transfer of a port at a time, the ports in turn; of a transfer first the event, then the counter.

    A transfer is taken from its port one cycle after it was chosen, if `may_begin` is high; then, unless its context is
    not active or in another life, `begins` is high with its `context` and its number of `writes`, and with `event` if
    it has one, which goes to `slot` and is number `number` (from 0) of its queue. The requests and the flits of its
    writes follow without a pause of this side. `requested` pulses for each request that memory accepts; `shown` when
    memory has taken all flits of an event of `shown_context`, if it is still of that context's present life.
    """

    def __init__(self, parameters: NicParameters, *, sources: int) -> None:
        self._parameters = parameters
        width = parameters.datapath_bits
        super().__init__(
            {
                **context_ports(parameters),
                "ports": In(EventPort()).array(sources),
                "may_begin": In(1),
                "begins": Out(1),
                "context": Out(CONTEXT_WIDTH),
                "writes": Out(2),
                "event": Out(1),
                "slot": In(ADDRESS_WIDTH),
                "number": In(INDEX_WIDTH),
                "address": Out(ADDRESS_WIDTH),
                "bytes": Out(SIZE_WIDTH),
                "request": Out(1),
                "request_ready": In(1),
                "data_valid": Out(1),
                "data_ready": In(1),
                "data": Out(width),
                "requested": Out(RequestedWrite()),
                "shown": Out(1),
                "shown_context": Out(CONTEXT_WIDTH),
                "quiescent": Out(1),
            }
        )
        self._words = [Signal(64, name=f"word_{index}") for index in range(EVENT.length_words)]

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.counters = counters = Counters(self._parameters)
        for number, state in enumerate(self.states):
            wiring.connect(m, wiring.flipped(state), counters.states[number])
        busy = Signal()
        chosen = Signal()
        take = Signal()
        source = self._choose(m, chosen, take)
        m.d.comb += take.eq(chosen & ~busy & self.may_begin)
        with m.If(take):
            self._copy(m, source)

        taken = {name: select([getattr(port, name) for port in self.ports], source) for name in _SCALARS}
        epoch = select([state.epoch for state in self.states], self.context)
        present = Signal()
        m.d.comb += [
            present.eq(select([state.active for state in self.states], self.context) & (epoch == taken["epoch"])),
            self.context.eq(taken["context"]),
            self.event.eq(taken["event"]),
            self.writes.eq(taken["event"] + taken["counter_valid"]),
            self.begins.eq(take & present & self.writes.any()),
            counters.start.eq(take & present & taken["counter_valid"]),
            counters.set.eq(taken["counter_set"]),
            *(
                getattr(counters, name).eq(taken[name])
                for name in ("context", "epoch", "counter", "success", "failure")
            ),
        ]
        requesting = self._request(m, taken)
        streaming, finishing = self._stream(m, taken, counters)
        m.d.comb += busy.eq(requesting | (streaming & ~finishing))
        offered = [port.valid for port in self.ports]
        m.d.comb += self.quiescent.eq(~(Cat(*offered).any() | requesting | streaming) & counters.quiescent)
        return m

    def _choose(self, m: Module, chosen: Signal, take: Signal) -> Signal:
        """The port whose transfer is next, chosen while the one before is being written."""
        source = Signal(range(max(len(self.ports), 2)))
        waiting = Signal(len(self.ports))
        for number, port in enumerate(self.ports):
            m.d.comb += [
                port.ready.eq(take & (source == number)),
                waiting[number].eq(port.valid & ~port.ready),
            ]
        following = next_in_turn(m, waiting, source)
        with m.If(~chosen | take):
            m.d.sync += chosen.eq(waiting.any())
            with m.If(waiting.any()):
                m.d.sync += source.eq(following)
        return source

    def _request(self, m: Module, taken: dict[str, Value]) -> Value:
        """Asks for the writes of a transfer. Returns whether there are some left to ask for."""
        event, counter = Signal(), Signal()
        event_address, counter_address = Signal(ADDRESS_WIDTH), Signal(ADDRESS_WIDTH)
        requested = self.requested
        counter_base = select([registers.counter_base for registers in self.contexts], self.context)
        with m.If(self.begins):
            m.d.sync += [
                event.eq(self.event),
                counter.eq(taken["counter_valid"]),
                event_address.eq(self.slot),
                counter_address.eq(Cat(C(0, COUNTER_LOG2_BYTES), counter_base[COUNTER_LOG2_BYTES:] + taken["counter"])),
                requested.context.eq(self.context),
                requested.epoch.eq(taken["epoch"]),
            ]
        m.d.comb += [
            self.request.eq(event | counter),
            self.address.eq(Mux(event, event_address, counter_address)),
            self.bytes.eq(Mux(event, EVENT.length_bytes, COUNTER.length_bytes)),
            requested.valid.eq(self.request & self.request_ready),
            requested.event.eq(event),
            requested.address.eq(self.address),
            requested.last.eq(~(event & counter)),
        ]
        with m.If(requested.valid):
            m.d.sync += event.eq(0)
            with m.If(~event):
                m.d.sync += counter.eq(0)
        return self.request

    def _copy(self, m: Module, source: Signal) -> None:
        """What is taken, whether it will be written or not: no look-up stands before so many registers."""
        for index, word in enumerate(self._words):
            offered = select([port.words[index] for port in self.ports], source)
            sequence = index == EVENT.fields["sequence"].word
            m.d.sync += word.eq(Cat((self.number + 1)[:INDEX_WIDTH], offered[INDEX_WIDTH:]) if sequence else offered)

    def _stream(self, m: Module, taken: dict[str, Value], counters: Any) -> tuple[Value, Value]:
        """Offers the flits of a transfer's writes. Returns whether there are some left, and whether memory is taking
        the last one of an event without a counter, so that the next transfer may follow at once."""
        event, counter = Signal(), Signal()
        event_flits = self._flits(self._words)
        counter_flits = self._flits(list(counters.sums))
        beat = Signal(range(len(event_flits)))
        last = Signal()
        finishing = Signal()
        m.d.comb += [
            finishing.eq(event & ~counter & last & self.data_ready),
            last.eq(beat == Mux(event, len(event_flits) - 1, len(counter_flits) - 1)),
            self.data_valid.eq(event | (counter & counters.valid)),
            self.data.eq(Mux(event, select(event_flits, beat), select(counter_flits, beat))),
            self.shown_context.eq(self.requested.context),
        ]
        epoch = select([state.epoch for state in self.states], self.shown_context)
        with m.If(self.data_valid & self.data_ready):
            m.d.sync += beat.eq(beat + 1)
            with m.If(last):
                m.d.comb += self.shown.eq(event & (epoch == self.requested.epoch))
                m.d.sync += [beat.eq(0), event.eq(0)]
                with m.If(~event):
                    m.d.sync += counter.eq(0)
        with m.If(self.begins):
            m.d.sync += [event.eq(self.event), counter.eq(taken["counter_valid"])]
        return event | counter, finishing

    def _flits(self, words: Sequence[Value]) -> list[Value]:
        per_flit = self._parameters.datapath_bits // 64
        return [Cat(*words[index : index + per_flit]) for index in range(0, len(words), per_flit)]


_SCALARS = (
    "context",
    "epoch",
    "event",
    "counter_valid",
    "counter_set",
    "counter",
    "success",
    "failure",
)
