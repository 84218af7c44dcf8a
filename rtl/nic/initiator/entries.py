"""What is kept of a request that waits for a response, and how others ask for it."""

from amaranth import Cat, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from rtl.nic.interfaces.widths import ADDRESS_WIDTH, CONTEXT_WIDTH, EPOCH_WIDTH, GENERATION_WIDTH, LENGTH_WIDTH
from rtl.nic.parameters import NicParameters

SLOT_WIDTH = 6  # of a context's entries

# What a response needs to know of its request. `fetching`: the response is a REPLY, else an ACK; the others are the
# command's.
ENTRY = data.StructLayout(
    {
        "dst_nid": 16,
        "dst_pid": 16,
        "window": 8,
        "offset": ADDRESS_WIDTH,
        "bytes": LENGTH_WIDTH,
        "user_data": 64,
        "fetching": 1,
        "counter": 8,
        "ack_request": 2,
        "event_success_disable": 1,
        "ct_ack": 1,
        "ct_reply": 1,
        "ct_bytes": 1,
    }
)


def entry_address(parameters: NicParameters, context: Value, slot: Value) -> Value:
    """Of a slot in a table of all entries; what a slot claims beyond its bits stays in its context's part."""
    slot_bits = (parameters.outstanding - 1).bit_length()
    return Cat(slot[:slot_bits], context)[: (parameters.handles - 1).bit_length()]


class EntryPort(wiring.Signature):
    """Looks up, closes and frees entries, seen from the block that collects responses.

    `look` at entry `slot` of `context` (a slot is a claim, a context is not), which both hold until the entry is done
    with, is answered from the next cycle on: `entry` and `generation` stay until the next look. `waiting` tells cycle
    by cycle whether the entry was made in this life of the context and had not been closed when it was looked at.
    `overdue` of a waiting entry: nothing had come for it for too long then. `close` of a waiting entry holds until
    `close_ready`, and then it waits no more; `touch` holds until `touch_ready`, and its time begins anew. `free` is a
    pulse, once after each `close`: `free_slot` of `free_context` may be used again, if it was made in life `free_epoch`
    and that still lasts.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "look": Out(1),
                "context": Out(CONTEXT_WIDTH),
                "slot": Out(SLOT_WIDTH),
                "entry": In(ENTRY),
                "generation": In(GENERATION_WIDTH),
                "waiting": In(1),
                "overdue": In(1),
                "touch": Out(1),
                "touch_ready": In(1),
                "close": Out(1),
                "close_ready": In(1),
                "free": Out(1),
                "free_context": Out(CONTEXT_WIDTH),
                "free_slot": Out(SLOT_WIDTH),
                "free_epoch": Out(EPOCH_WIDTH),
            }
        )


class ExpiryPort(wiring.Signature):
    """An entry that seems to be overdue, seen from who watches the time. Who collects responses looks at it himself and
    then ends it or leaves it, so that a response that has come meanwhile counts. Holds until `ready`."""

    def __init__(self) -> None:
        super().__init__({"valid": Out(1), "ready": In(1), "context": Out(CONTEXT_WIDTH), "slot": Out(SLOT_WIDTH)})
