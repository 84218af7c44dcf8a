"""Takes the payload of arrivals: a put's into its window, an atomic's for its execution, all other away."""

from amaranth import C, Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.nic.expressions import FieldsOf
from rtl.nic.host.window import WindowCheck
from rtl.nic.interfaces.context import context_ports
from rtl.nic.interfaces.widths import ADDRESS_WIDTH, INLINE_WORDS, START_WIDTH
from rtl.nic.parameters import NicParameters
from rtl.nic.target.stages import (
    MESSAGE_WIDTH,
    arrival_layout,
    completion_layout,
    header_fields,
    is_live,
    is_one_of,
    payload_part,
    write_part,
)
from rtl.portals import ATOMIC_OPERATIONS, AtomicType, Fail, Operation


class Store(wiring.Component):
    """One arrival at a time: two cycles, and one for each flit of its payload, of which the last may be the first of
    the next arrival.

    A completion is passed on as soon as the window was looked up; an atomic's when its payload has come. `operands` is
    the payload of the atomic that was passed on last. Until `atomic_done` no other memory is touched, so that what
    comes later cannot overtake it. `o_completion.ready` stays high once it is, as that of a queue does: an arrival is
    taken and its window looked up when the completion has room, so that no verdict grows old.
    """

    def __init__(self, parameters: NicParameters) -> None:
        self._parameters = parameters
        super().__init__(
            {
                **context_ports(parameters),
                "i_arrival": In(stream.Signature(arrival_layout(parameters))),
                "payload": In(payload_part(parameters)),
                "write": Out(write_part(parameters)),
                "o_completion": Out(stream.Signature(completion_layout(parameters))),
                "operands": Out(64).array(INLINE_WORDS),
                "atomic_done": In(1),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.window = window = WindowCheck(self._parameters)
        for ours, theirs in zip(self.contexts, window.contexts, strict=True):
            wiring.connect(m, wiring.flipped(ours), theirs)
        flit_bytes = self._parameters.datapath_bytes
        coming = self.i_arrival.payload
        arrival = Signal(arrival_layout(self._parameters))
        header = header_fields(arrival)
        completion = self.o_completion.payload
        write, payload = self.write, self.payload
        is_put = Signal()
        is_atomic = Signal()
        offset = Signal(START_WIDTH + 1)
        span = Signal(MESSAGE_WIDTH)  # bytes of memory that the packet is about
        address = Signal(ADDRESS_WIDTH)
        verdict = Signal(8)
        touches = Signal()
        untaken = Signal(range(self._parameters.mtu_bytes // flit_bytes + 1))  # flits of payload
        unwritten = Signal.like(untaken)
        requested = Signal()
        taken = Signal()
        stored = Signal()
        atomic_busy = Signal()
        m.d.comb += [
            is_put.eq(header.kind == Operation.PUT),
            is_atomic.eq(is_one_of(header.kind, ATOMIC_OPERATIONS)),
            window.context.eq(coming.context),
            window.window.eq(coming.matched.window),
            window.offset.eq(offset),
            window.bytes.eq(span),
            verdict.eq(_verdict(window, span, is_put, is_atomic, header)),
            touches.eq(
                _is_good(arrival)
                & span.any()
                & (verdict == Fail.OK)
                & is_live(self.states, arrival.context, arrival.epoch)
            ),
            write.address.eq(address),
            write.bytes.eq(span),
            write.data.eq(payload.data),
            taken.eq(payload.data_valid & payload.data_ready),
            completion.arrival.eq(arrival),
            completion.address.eq(window.address),
            completion.fail.eq(Mux(_is_good(arrival), verdict, Fail.OK)),
        ]
        with m.If(is_atomic):
            m.d.comb += completion.arrival.matched.bytes.eq(span)
        with m.If(taken):
            m.d.sync += untaken.eq(untaken - 1)
        with m.If(self.atomic_done):
            m.d.sync += atomic_busy.eq(0)

        m.d.comb += window.start.eq(self.i_arrival.valid & self.i_arrival.ready)
        with m.FSM(name="store"):
            with m.State("Await-Arrival"):
                m.d.comb += [
                    self.i_arrival.ready.eq(self.o_completion.ready & ~atomic_busy),
                    self.quiescent.eq(~self.i_arrival.valid),
                ]
                with m.If(window.start):
                    m.next = "Judge"
            with m.State("Judge"):
                m.d.comb += [
                    self.o_completion.valid.eq(~(touches & is_atomic)),
                    completion.written.eq(touches & is_put),
                ]
                m.d.sync += [address.eq(window.address), unwritten.eq(_flits(span, flit_bytes))]
                with m.If(touches & is_atomic):
                    m.next = "Gather-Operands"
                with m.Elif(touches & is_put):
                    m.next = "Store-Payload"
                with m.Elif(untaken.any()):
                    m.next = "Take-Away"
                with m.Else():
                    m.next = "Await-Arrival"
            with m.State("Store-Payload"):
                m.d.comb += [
                    write.valid.eq(~requested),
                    write.data_valid.eq(payload.data_valid & unwritten.any()),
                    payload.data_ready.eq(write.data_ready & unwritten.any()),
                    stored.eq((requested | write.ready) & (~unwritten.any() | (taken & (unwritten == 1)))),
                ]
                m.d.sync += unwritten.eq(unwritten - taken)
                with m.If(write.ready):
                    m.d.sync += requested.eq(1)
                with m.If(stored & (untaken != taken)):
                    m.next = "Take-Away"
                with m.Elif(stored):
                    m.d.comb += self.i_arrival.ready.eq(self.o_completion.ready)
                    m.next = "Await-Arrival"
                    with m.If(window.start):
                        m.next = "Judge"
            with m.State("Gather-Operands"):
                m.d.comb += [
                    payload.data_ready.eq(untaken.any()),
                    self.o_completion.valid.eq(~untaken.any()),
                    completion.atomic.eq(1),
                ]
                self._gather(m, taken, _flits(header.payload_bytes, flit_bytes) - untaken)
                with m.If(~untaken.any()):
                    m.d.sync += atomic_busy.eq(1)
                    m.next = "Await-Arrival"
            with m.State("Take-Away"):
                m.d.comb += payload.data_ready.eq(1)
                with m.If(taken & (untaken == 1)):
                    m.next = "Await-Arrival"
        with m.If(window.start):
            m.d.sync += [arrival.eq(coming), requested.eq(0)]
            self._measure(m, coming, offset, span, untaken)
        return m

    def _measure(self, m: Module, coming: data.View, offset: Signal, span: Signal, untaken: Signal) -> None:
        header = header_fields(coming)
        is_put = header.kind == Operation.PUT
        flits = _flits(header.payload_bytes, self._parameters.datapath_bytes)
        m.d.sync += [
            offset.eq(coming.matched.start + Mux(is_put, header.segment_offset[:MESSAGE_WIDTH], 0)),
            span.eq(_span(coming, header, is_put, is_one_of(header.kind, ATOMIC_OPERATIONS))),
            untaken.eq(Mux(coming.abandoned, 0, flits)),
        ]

    def _gather(self, m: Module, taken: Value, flit: Value) -> None:
        """Keeps flit number `flit` of an atomic's payload."""
        per_flit = self._parameters.datapath_bits // 64
        with m.If(taken), m.Switch(flit):
            for first in range(0, INLINE_WORDS, per_flit):
                with m.Case(first // per_flit):
                    m.d.sync += Cat(*self.operands[first : first + per_flit]).eq(self.payload.data)


def _is_good(arrival: data.View) -> Value:
    """Whether the packet may act on memory, as far as its message goes."""
    return ~(arrival.abandoned | arrival.refused | arrival.cut_short) & (arrival.matched.fail == Fail.OK)


def _flits(length_bytes: Value, flit_bytes: int) -> Value:
    return (length_bytes + (flit_bytes - 1)) >> (flit_bytes.bit_length() - 1)


def _is_wide(header: FieldsOf) -> Value:
    """Whether the datum has 8 bytes rather than 4."""
    return header.atomic_type >= AtomicType.INT64


def _span(arrival: data.View, header: FieldsOf, is_put: Value, is_atomic: Value) -> Value:
    """Bytes of memory: what of a put's segment lies in the part that matched; whole data of an atomic; all of a get."""
    matched = arrival.matched.bytes
    segment = header.segment_offset[:MESSAGE_WIDTH]
    room = Mux(matched > segment, (matched - segment)[:MESSAGE_WIDTH], 0)
    whole = Cat(C(0, 2), matched[2] & ~_is_wide(header), matched[3:])
    return Mux(is_put, Mux(room > header.payload_bytes, header.payload_bytes, room), Mux(is_atomic, whole, matched))


def _verdict(window: WindowCheck, span: Value, is_put: Value, is_atomic: Value, header: FieldsOf) -> Value:
    """Why the memory may not be touched, or OK."""
    right = (is_put | window.remote_read) & ((~is_put & ~is_atomic) | window.remote_write)
    misaligned = window.address[:2].any() | (window.address[2] & _is_wide(header))
    refused = Mux(window.inside & right, Mux(is_atomic & misaligned, Fail.ARGUMENT, Fail.OK), Fail.SEGMENT)
    return Mux(span.any(), refused, Fail.OK)
