"""The words that tell of a message's end: its event, AUTO_UNLINK, its response."""

from amaranth import C, Mux, Value
from amaranth.lib import data

from rtl.nic.expressions import FieldsOf, assemble
from rtl.nic.target.stages import header_fields, is_one_of
from rtl.packets import IDENTITY_WORD, RESPONSE, PacketKind
from rtl.portals import EVENT, FETCHING_OPERATIONS, EventKind, Fail, Operation


def is_fetch(header: FieldsOf) -> Value:
    """Whether the answer is a REPLY."""
    return is_one_of(header.kind, FETCHING_OPERATIONS)


def event_words(arrival: data.View, fail: Value, manipulated_bytes: Value) -> list[Value]:
    """The target's event."""
    header, matched = header_fields(arrival), arrival.matched
    kind = Mux(
        header.kind == Operation.PUT,
        EventKind.PUT,
        Mux(
            header.kind == Operation.GET,
            EventKind.GET,
            Mux(header.kind == Operation.ATOMIC, EventKind.ATOMIC, EventKind.FETCH_ATOMIC),
        ),
    )
    words = assemble(
        EVENT,
        {
            "kind": kind,
            "pt_index": header.pt_index,
            "start_offset": matched.start,
            "start_window": matched.window,
            "requested_bytes": header.message_bytes,
            "manipulated_bytes": manipulated_bytes,
            "remote_offset": header.remote_offset,
            "match_bits": header.match_bits,
            "header_data": header.header_data,
            "user_data": matched.user_data,
            "fail": fail,
            "list": matched.overflow,
            "atomic_operation": header.atomic_operation,
            "atomic_type": header.atomic_type,
        },
    )
    words[IDENTITY_WORD] = arrival.words[IDENTITY_WORD]
    return words


def unlink_words(arrival: data.View) -> list[Value]:
    """The event AUTO_UNLINK of the match entry; it fails if it is all that is told of the message."""
    return assemble(
        EVENT,
        {
            "kind": C(EventKind.AUTO_UNLINK, 8),
            "pt_index": header_fields(arrival).pt_index,
            "user_data": arrival.matched.user_data,
            "list": arrival.matched.overflow,
            "fail": Mux(arrival.abandoned, Fail.UNDELIVERABLE, Fail.OK),
        },
    )


def response_words(arrival: data.View, fail: Value, manipulated_bytes: Value) -> list[Value]:
    """The header of the answer; only an acknowledgement is silent."""
    header, matched = header_fields(arrival), arrival.matched
    return assemble(
        RESPONSE,
        {
            "dst_nid": header.src_nid,
            "dst_pid": header.src_pid,
            "kind": Mux(is_fetch(header), PacketKind.REPLY, PacketKind.ACK),
            "pt_index": header.pt_index,
            "manipulated_bytes": manipulated_bytes,
            "remote_offset": matched.remote_offset,
            "fail": fail,
            "list": matched.overflow,
            "silent": matched.ack_disable & ~is_fetch(header),
            "handle": header.handle,
            "generation": header.generation,
        },
    )
