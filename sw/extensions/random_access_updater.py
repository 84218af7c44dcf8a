"""Applies RandomAccess updates in the kernel: compiled, never imported.

The message event of the receiving context runs `message`. Untrusted. Windows: table (rw), event queue (r), command ring
(rw), and of the device EVENT_HEAD and COMMAND_TAIL of this context's page. Parameters: sw/extensions/random_access.py.

It may be stopped at any instruction, and the process that takes over must apply each update exactly once. So before an
update it notes in `before` what stood in the table and in `applying` the number of the event; and it counts the event
in `handled` when update and acknowledgement are done. Barriers keep these stores in their places.
"""

from nimble.python import (
    Pointer,
    address_of,
    atomic_xor,
    barrier,
    device,
    entry,
    parameter,
    state,
    struct,
    u8,
    u16,
    u32,
    u64,
)

page = device("page")

EVENT_KIND_PUT = parameter()
OPERATION_PUT = parameter()
COMMANDS_BEFORE = parameter()
MESSAGE_UPDATE = parameter()
ACKNOWLEDGEMENT = parameter()  # the match bits of this rank's
TABLE_BASE = parameter()
TABLE_WORDS = parameter()
QUEUE_BASE = parameter()
QUEUE_ENTRIES = parameter()
RING_BASE = parameter()
RING_ENTRIES = parameter()
HALF_A_QUEUE = max(QUEUE_ENTRIES // 2, 1)


@struct("EVENT")
class Event:
    kind: u8
    src_nid: u16
    src_pid: u16
    match_bits: u64
    header_data: u64
    sequence: u32


@struct("MATCH")
class Match:
    sequence: u32
    kind: u8
    ack: u8


@struct("COMMAND")
class Command:
    operation: u8
    event_send_disable: u8
    dst_nid: u16
    dst_pid: u16
    match_bits: u64
    header_data: u64


@struct("UPDATER")
class Updater:
    handled: u64
    sent: u64
    applying: u64
    before: u64
    unexpected: u64


updater = state(Updater)


def match_of(event: Event) -> Match:
    return Pointer[Match](address_of(event.match_bits))[0]


@entry
def message() -> u64:
    first = updater.handled
    handled = first
    # At most one queue full: whatever arrived later raises the interrupt again.
    for _ in range(QUEUE_ENTRIES):
        event = Pointer[Event](QUEUE_BASE)[handled & (QUEUE_ENTRIES - 1)]
        if event.sequence != u32(handled + 1):
            break
        barrier()  # the rest of the event is not read before its number
        if event.kind == EVENT_KIND_PUT and match_of(event).kind == MESSAGE_UPDATE:
            apply(event, handled + 1)
        else:
            updater.unexpected += 1
        handled += 1
        barrier()
        updater.handled = handled
        # Tell the NIC at each half of the queue, so that the other half always has room.
        if handled & (HALF_A_QUEUE - 1) == 0:
            page.EVENT_HEAD = u32(handled)
    if handled != first:
        page.EVENT_HEAD = u32(handled)
    return 0


def apply(event: Event, number: u64) -> None:
    value = event.header_data
    word = Pointer[u64](TABLE_BASE) + (value & (TABLE_WORDS - 1))
    updater.before = word[0]
    barrier()
    updater.applying = number
    atomic_xor(word, value)
    if match_of(event).ack:
        acknowledge(event)


def acknowledge(event: Event) -> None:
    """Answer the sender with the number of its update. The ring began as zeros: what stays zero is never written."""
    sent = updater.sent
    number = sent + COMMANDS_BEFORE
    command = Pointer[Command](RING_BASE)[number & (RING_ENTRIES - 1)]
    command.operation = OPERATION_PUT
    command.event_send_disable = 1
    command.dst_nid = event.src_nid
    command.dst_pid = event.src_pid
    command.match_bits = ACKNOWLEDGEMENT
    command.header_data = match_of(event).sequence
    page.COMMAND_TAIL = u64(u32(number + 1))
    updater.sent = sent + 1
