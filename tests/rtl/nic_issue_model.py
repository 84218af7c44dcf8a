"""What a command must lead to, said once more in plain Python: an independent reference for the block that issues."""

from dataclasses import dataclass, field
from typing import Any

from rtl.portals import COMMAND, COUNTER_COMMAND, MAX_MESSAGE_BYTES, Operation, Refusal
from tests.rtl.nic_issue_bench import MTU, WINDOW_BYTES, WINDOW_RIGHTS, window_base

SEND, REFUSED = 10, 17  # kinds of events
GET, ATOMICS = Operation.GET, (Operation.ATOMIC, Operation.FETCH_ATOMIC, Operation.SWAP)
SIMPLE, SWAPPING = {0, 1, 2, 3, 4, 5}, {8, 9, 10}
LISTS, COUNTERS = range(16, 23), (32, 33)
DATUM_BYTES = {0: 4, 1: 4, 2: 8, 3: 8}


@dataclass
class Outcome:
    """Of one command. `event` and `counter` are what is told of it, `failed_event` and so on if memory fails it."""

    refusal: int = 0
    is_list: bool = False
    packets: list[dict[str, Any]] = field(default_factory=list)
    entry: dict[str, int] | None = None
    event: dict[str, int] | None = None
    counter: tuple[int, int, int, int] | None = None
    failed_event: dict[str, int] | None = None
    failed_counter: tuple[int, int, int, int] | None = None


def outcome(words: list[int], *, context: int, unreadable: bool = False, nodes: int = 5, counters: int = 16) -> Outcome:
    """With the windows of the bench."""
    refusal = int(_refusal(words, unreadable, nodes, counters))
    operation = words[0] & 0xFF
    if refusal:
        event = {"kind": REFUSED, "fail": refusal, "user_data": words[6]}
        return Outcome(refusal=refusal, event={name: value for name, value in event.items() if value})
    if operation in LISTS:
        return Outcome(is_list=True)
    if operation in COUNTERS:
        fields = COUNTER_COMMAND.unpack(words)
        return Outcome(counter=(fields["counter"], int(operation == 32), fields["success"], fields["failure"]))
    return _sent(COMMAND.unpack(words), words, context)


def _refusal(words: list[int], unreadable: bool, nodes: int, counters: int) -> Refusal:
    operation = words[0] & 0xFF
    if unreadable:
        return Refusal.MEMORY_ERROR
    if operation in LISTS:
        return Refusal.NONE
    if operation in COUNTERS:
        fields = COUNTER_COMMAND.unpack(words)
        if COUNTER_COMMAND.pack(**fields) != words:
            return Refusal.COMMAND_MALFORMED
        return Refusal.NONE if fields["counter"] < counters else Refusal.COMMAND_ENTRY
    fields = COMMAND.unpack(words)
    if operation not in range(1, 6) or COMMAND.pack(**fields) != words or _nonsense(fields, nodes):
        return Refusal.COMMAND_MALFORMED
    if (fields["ct_send"] or fields["ct_ack"] or fields["ct_reply"]) and fields["counter"] >= counters:
        return Refusal.COMMAND_ENTRY
    return Refusal.NONE if _allowed(fields) else Refusal.COMMAND_WINDOW


def _nonsense(f: dict[str, int], nodes: int) -> bool:
    operation, length = f["operation"], f["length_bytes"]
    if f["ack_request"] not in ((0, 1, 2) if operation in (1, 3) else (0,)):
        return True
    if length > MAX_MESSAGE_BYTES or f["dst_nid"] >= nodes:
        return True
    kind = f["atomic_operation"], f["atomic_type"]
    if operation not in ATOMICS:
        return kind != (0, 0)
    if kind[0] not in (SWAPPING if operation == Operation.SWAP else SIMPLE) or kind[1] not in DATUM_BYTES:
        return True
    datum = DATUM_BYTES[kind[1]]
    return length not in ((datum,) if kind[0] in (9, 10) else range(datum, 65, datum))


def _operand_bytes(f: dict[str, int]) -> int:
    return 8 if f["operation"] == Operation.SWAP and f["atomic_operation"] in (9, 10) else 0


def _inside(window: int, offset: int, length: int, right: int) -> bool:
    if window >= len(WINDOW_BYTES) or not WINDOW_RIGHTS[window][right]:
        return False
    return offset + length <= WINDOW_BYTES[window]


def _allowed(f: dict[str, int]) -> bool:
    length = f["length_bytes"]
    if length == 0:
        return True
    if f["operation"] == GET:
        return _inside(f["local_window"], f["local_offset"], length, 1)
    local = _inside(f["local_window"], f["local_offset"], length + _operand_bytes(f), 0)
    if f["operation"] in (Operation.FETCH_ATOMIC, Operation.SWAP):
        return local and _inside(f["get_window"], f["get_offset"], length, 1)
    return local


def _sent(f: dict[str, int], words: list[int], context: int) -> Outcome:
    operation, length, ack = f["operation"], f["length_bytes"], f["ack_request"]
    due = ack != 0 or operation not in (1, 3)
    result = Outcome()
    if due:
        place = {"window": 0, "offset": 0, "bytes": 0}
        if operation not in (1, 3) and length:
            prefix = "local" if operation == GET else "get"
            place = {"window": f[f"{prefix}_window"], "offset": f[f"{prefix}_offset"], "bytes": length}
        to = {"context": context, "dst_nid": f["dst_nid"], "dst_pid": f["dst_pid"]}
        result.entry = {**to, **place, "command_word": words[0], "user_data": f["user_data"]}
    carried = 0 if operation == GET else length + _operand_bytes(f)
    for offset in range(0, max(carried, 1), MTU):
        size = min(MTU, carried - offset)
        same = ("dst_nid", "dst_pid", "pt_index", "remote_offset", "match_bits", "header_data", "atomic_operation")
        header = {name: f[name] for name in (*same, "atomic_type", "ack_request")}
        header |= {"kind": operation, "message_bytes": length, "segment_offset": offset, "payload_bytes": size}
        header |= {"first": int(offset == 0), "last": int(offset + MTU >= carried), "aborted": 0}
        address = window_base(context, f["local_window"]) + f["local_offset"] + offset if size else 0
        result.packets.append({"header": header, "address": address, "due": due})
    if operation != GET:
        user_data = {"user_data": f["user_data"]} if f["user_data"] else {}
        if not f["event_send_disable"]:
            result.failed_event = {"kind": SEND, "fail": 5, **user_data}
            if not f["event_success_disable"]:
                result.event = {"kind": SEND, **user_data}
        if f["ct_send"]:
            result.counter = (f["counter"], 0, length if f["ct_bytes"] else 1, 0)
            result.failed_counter = (f["counter"], 0, 0, 1)
    return result
