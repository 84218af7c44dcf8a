"""Whether the header of a packet is one that a NIC of this build can have sent."""

from collections.abc import Iterable, Sequence

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.nic.expressions import FieldsOf
from rtl.nic.parameters import NicParameters
from rtl.packets import HEADER_WORDS, REQUEST, RESPONSE, PacketKind
from rtl.portals import (
    ATOMIC_OPERATIONS,
    MAX_ATOMIC_BYTES,
    MAX_MESSAGE_BYTES,
    OPERAND_BYTES,
    AckRequest,
    AtomicOperation,
    AtomicType,
    Fail,
    Operation,
)
from rtl.records import Record

EXCHANGES = (AtomicOperation.SWAP, AtomicOperation.CSWAP, AtomicOperation.MSWAP)
WITH_OPERAND = (AtomicOperation.CSWAP, AtomicOperation.MSWAP)
LONG_TYPES = tuple(datum for datum in AtomicType if datum.length_bytes == 8)


def is_one_of(value: Value, members: Iterable[int]) -> Value:
    """Whether `value` is among `members`."""
    return value.matches(*(int(member) for member in members))


def has_reserved_bits(record: Record, words: Sequence[Value]) -> Value:
    """Whether a bit is set that no field of `record` names."""
    return Cat(*(word & record.reserved_mask(index) for index, word in enumerate(words))).any()


class HeaderForm(wiring.Component):
    """`well_formed` tells, in the same cycle, whether `words` are a header of this class.

    Where they come from is judged no further than that such a node and lane exist; whom they are for is not.
    """

    def __init__(self, parameters: NicParameters, *, response: bool) -> None:
        self._parameters = parameters
        self._response = response
        super().__init__({"words": In(64).array(HEADER_WORDS), "well_formed": Out(1)})

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        record = RESPONSE if self._response else REQUEST
        header = FieldsOf(record, list(self.words))
        contexts = self._parameters.contexts
        lane = header.lane == contexts if self._response else header.lane < contexts
        body = self._response_body(m, header) if self._response else self._request_body(m, header)
        m.d.comb += self.well_formed.eq(
            ~has_reserved_bits(record, list(self.words)) & (header.src_nid < self._parameters.nodes) & lane & body
        )
        return m

    def _response_body(self, m: Module, header: FieldsOf) -> Value:
        is_cut = (header.fail != Fail.OK) & header.last & (header.payload_bytes == 0)
        is_segment = self._is_segment(m, header, header.manipulated_bytes, is_cut)
        is_acknowledgement = (header.payload_bytes == 0) & (header.segment_offset == 0) & header.last
        return (header.manipulated_bytes <= MAX_MESSAGE_BYTES) & (
            ((header.kind == PacketKind.REPLY) & is_segment) | ((header.kind == PacketKind.ACK) & is_acknowledgement)
        )

    def _request_body(self, m: Module, header: FieldsOf) -> Value:
        is_put = header.kind == Operation.PUT
        is_atomic = is_one_of(header.kind, ATOMIC_OPERATIONS)
        is_alone = header.first & header.last & (header.segment_offset == 0)
        is_empty = header.payload_bytes == 0
        has_no_atomic = (header.atomic_operation == 0) & (header.atomic_type == 0)
        is_cut = header.aborted & header.last & is_empty
        is_begun = header.first == (header.segment_offset == 0)
        is_segment = (
            self._is_segment(m, header, header.message_bytes, is_cut)
            & (is_cut | ~header.aborted)
            & (is_begun | (header.aborted & ~header.first))
        )
        acknowledged = is_one_of(header.kind, (Operation.PUT, Operation.ATOMIC))
        ack_fits = (header.ack_request == AckRequest.NONE) | (
            acknowledged & is_one_of(header.ack_request, (AckRequest.FULL, AckRequest.COUNTING))
        )
        return (
            (header.message_bytes <= MAX_MESSAGE_BYTES)
            & ack_fits
            & (
                (is_put & is_segment & has_no_atomic)
                | ((header.kind == Operation.GET) & is_alone & is_empty & has_no_atomic)
                | (is_atomic & is_alone & self._is_atomic(m, header))
            )
        )

    def _is_segment(self, m: Module, header: FieldsOf, total_bytes: Value, is_cut: Value) -> Value:
        """Whether the packet is a segment of `total_bytes`: MTU bytes, the last one what remains, a cut one nothing."""
        mtu_bytes = self._parameters.mtu_bytes
        offset = header.segment_offset
        remaining = Signal(33)
        is_whole = Signal()
        m.d.comb += remaining.eq(total_bytes - offset)
        with m.If(remaining > mtu_bytes):
            m.d.comb += is_whole.eq((header.payload_bytes == mtu_bytes) & ~header.last)
        with m.Else():
            m.d.comb += is_whole.eq((header.payload_bytes == remaining) & header.last)
        is_inside = (offset < total_bytes) | ((offset == 0) & (total_bytes == 0))
        is_aligned = offset[: mtu_bytes.bit_length() - 1] == 0
        return is_inside & is_aligned & (is_cut | is_whole)

    def _is_atomic(self, m: Module, header: FieldsOf) -> Value:
        """Whether operation, type, length and payload are those of an atomic; one that was aborted has no payload."""
        operation, length = header.atomic_operation, header.message_bytes
        has_operand = is_one_of(operation, WITH_OPERAND)
        others = tuple(known for known in AtomicOperation if known not in EXCHANGES)
        is_long = is_one_of(header.atomic_type, LONG_TYPES)
        datum_bytes = Signal(4)
        expected_bytes = Signal(8)
        m.d.comb += [
            datum_bytes.eq(is_long.shift_left(2) + 4),
            expected_bytes.eq(length[:7] + has_operand * OPERAND_BYTES),
        ]
        fits_operation = (is_one_of(operation, EXCHANGES) & (header.kind == Operation.SWAP)) | (
            is_one_of(operation, others) & (header.kind != Operation.SWAP)
        )
        whole_data = (length[:2] == 0) & ~(is_long & length[2])
        return (
            fits_operation
            & is_one_of(header.atomic_type, AtomicType)
            & (length != 0)
            & (length <= MAX_ATOMIC_BYTES)
            & whole_data
            & (~has_operand | (length == datum_bytes))
            & (header.payload_bytes == Mux(header.aborted, 0, expected_bytes))
        )
