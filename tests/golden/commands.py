"""Which commands the hardware refuses, and what a command needs before it may begin."""

from collections.abc import Mapping, Sequence

from rtl.nic.parameters import NicParameters
from rtl.portals import (
    ATOMIC_OPERATIONS,
    COMMAND,
    COUNTER_COMMAND,
    DATA_OPERATIONS,
    FETCHING_OPERATIONS,
    MAX_MESSAGE_BYTES,
    OPERAND_BYTES,
    AckRequest,
    Operation,
    Refusal,
)
from rtl.records import Record
from tests.golden.context import Context, Right
from tests.golden.wire import CONDITIONAL, atomic_fault

COUNTER_OPERATIONS = (Operation.COUNTER_SET, Operation.COUNTER_INCREMENT)


def is_answered(fields: Mapping[str, int]) -> bool:
    """Whether a response comes for this command."""
    if fields["operation"] not in DATA_OPERATIONS:
        return False
    return fields["operation"] in FETCHING_OPERATIONS or fields["ack_request"] != AckRequest.NONE


def answer_places(fields: Mapping[str, int]) -> int:
    """Places in the event queue for that response."""
    if fields["operation"] in FETCHING_OPERATIONS:
        return 1
    return int(fields["operation"] in DATA_OPERATIONS and fields["ack_request"] == AckRequest.FULL)


def sent_bytes(fields: Mapping[str, int]) -> int:
    """Payload that a command's message has."""
    if fields["operation"] == Operation.GET:
        return 0
    atomic = fields["operation"] in ATOMIC_OPERATIONS
    operand = OPERAND_BYTES if atomic and fields["atomic_operation"] in CONDITIONAL else 0
    return operand + fields["length_bytes"]


def check(parameters: NicParameters, context: Context, words: Sequence[int]) -> Refusal:
    """Why a command that moves data or changes a counter is refused; NONE if it is not."""
    operation = words[0] & 0xFF
    if operation in COUNTER_OPERATIONS:
        fields = COUNTER_COMMAND.unpack(words)
        if _reserved(COUNTER_COMMAND, words):
            return Refusal.COMMAND_MALFORMED
        return Refusal.NONE if fields["counter"] < parameters.counters else Refusal.COMMAND_ENTRY
    fields = COMMAND.unpack(words)
    if operation not in DATA_OPERATIONS or _reserved(COMMAND, words) or _malformed(parameters, fields):
        return Refusal.COMMAND_MALFORMED
    if (fields["ct_send"] or fields["ct_ack"] or fields["ct_reply"]) and fields["counter"] >= parameters.counters:
        return Refusal.COMMAND_ENTRY
    return Refusal.NONE if _windows_hold(context, fields) else Refusal.COMMAND_WINDOW


def _reserved(record: Record, words: Sequence[int]) -> bool:
    return any(word & record.reserved_mask(i) for i, word in enumerate(words))


def _malformed(parameters: NicParameters, fields: Mapping[str, int]) -> bool:
    operation, length = fields["operation"], fields["length_bytes"]
    if fields["ack_request"] not in list(AckRequest):
        return True
    if operation in FETCHING_OPERATIONS and fields["ack_request"] != AckRequest.NONE:
        return True
    if length > MAX_MESSAGE_BYTES or fields["dst_nid"] >= parameters.nodes:
        return True
    if operation not in ATOMIC_OPERATIONS:
        return bool(fields["atomic_operation"] or fields["atomic_type"])
    return atomic_fault(operation, fields["atomic_operation"], fields["atomic_type"], length)


def _windows_hold(context: Context, fields: Mapping[str, int]) -> bool:
    """Whether all memory that the command names is the context's to use."""
    operation, length = fields["operation"], fields["length_bytes"]
    if not length:
        return True
    local = (fields["local_window"], fields["local_offset"])
    if operation == Operation.GET:
        return context.address(*local, length, Right.LOCAL_WRITE) is not None
    if context.address(*local, sent_bytes(fields), Right.LOCAL_READ) is None:
        return False
    if operation not in FETCHING_OPERATIONS:
        return True
    return context.address(fields["get_window"], fields["get_offset"], length, Right.LOCAL_WRITE) is not None
