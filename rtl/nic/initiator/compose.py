"""What is made of a command's words: a packet, what is told of it when it has left, what waits for the response."""

from typing import Any

from amaranth import Mux, Value

from rtl.nic.expressions import FieldsOf
from rtl.nic.initiator.check import CheckCommand
from rtl.portals import Operation


def drive(target: Any, **values: Any) -> list[Any]:
    """Assignments to members of an interface or a structure."""
    return [getattr(target, name).eq(value) for name, value in values.items()]


def header_fields(command: FieldsOf) -> dict[str, Value]:
    """What all packets of a message have in common."""
    same = ("dst_nid", "dst_pid", "pt_index", "remote_offset", "match_bits", "header_data")
    names = (*same, "atomic_operation", "atomic_type", "ack_request")
    fields = {name: getattr(command, name) for name in names}
    return {**fields, "kind": command.operation, "message_bytes": command.length_bytes}


def departure_fields(command: FieldsOf) -> dict[str, Value]:
    """Whom a message's having left concerns: a get is no message of which a process is told that."""
    told = command.operation != Operation.GET
    event = told & ~command.event_send_disable
    return {
        "event_if_failed": event,
        "event_if_ok": event & ~command.event_success_disable,
        "counts": told & command.ct_send,
        "counter": command.counter,
        "success": Mux(command.ct_bytes, command.length_bytes, 1),
        "user_data": command.user_data,
    }


def entry_fields(command: FieldsOf, check: CheckCommand) -> dict[str, Value]:
    """What waits for the response, and where a reply goes."""
    return {
        "dst_nid": command.dst_nid,
        "dst_pid": command.dst_pid,
        "window": Mux(check.fetches_apart, command.get_window, command.local_window),
        "offset": Mux(check.fetches_apart, command.get_offset, command.local_offset),
        "bytes": Mux(check.fetches, command.length_bytes, 0),
        "user_data": command.user_data,
    }
