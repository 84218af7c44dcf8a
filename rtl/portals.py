"""What applications and the NIC say to each other in host memory: commands, events, counters; in Portals 4's words.

Ref: The Portals 4 Network Programming Interface (Sandia National Laboratories), sections 3.5-3.13.

Imports no Amaranth: user-level libraries, extensions, golden models and tests share it with the hardware.

A command has no source: the hardware knows which context's ring it came from. It names memory by a window of its
context and an offset, never by an address. An event's word 1 has the layout of the packet's identity word; its
`sequence` is the number of events ever written to the queue, this one included, modulo 2**32, and lies in the last
word because it is written last: a consumer that expects event n waits for `sequence` == n + 1 and needs no register
access.
"""

import enum

from rtl.records import Record

MAX_MESSAGE_BYTES = 1 << 26
MAX_ATOMIC_BYTES = 64  # an atomic message is one packet
OPERAND_BYTES = 8  # what stands before the datum of a CSWAP or MSWAP, whatever the size of the datum


class Operation(enum.IntEnum):
    """What a command asks for. Those below LIST_FIRST move data and go out as packets."""

    PUT = 1
    GET = 2
    ATOMIC = 3
    FETCH_ATOMIC = 4
    SWAP = 5  # also a fetch; atomic_operation is SWAP, CSWAP or MSWAP

    LIST_FIRST = 16
    PT_ALLOC = 16
    PT_FREE = 17
    PT_ENABLE = 18
    PT_DISABLE = 19
    ME_APPEND = 20
    ME_UNLINK = 21
    ME_SEARCH = 22

    COUNTER_SET = 32
    COUNTER_INCREMENT = 33


DATA_OPERATIONS = (Operation.PUT, Operation.GET, Operation.ATOMIC, Operation.FETCH_ATOMIC, Operation.SWAP)
ATOMIC_OPERATIONS = (Operation.ATOMIC, Operation.FETCH_ATOMIC, Operation.SWAP)
FETCHING_OPERATIONS = (Operation.GET, Operation.FETCH_ATOMIC, Operation.SWAP)


class AtomicOperation(enum.IntEnum):
    """What an atomic does to each datum in memory. Those from SWAP on belong to Operation.SWAP, the others do not."""

    SUM = 0
    MIN = 1
    MAX = 2
    AND = 3
    OR = 4
    XOR = 5
    SWAP = 8
    CSWAP = 9  # memory becomes the datum if it equals the operand
    MSWAP = 10  # the bits that the operand has set become those of the datum


class AtomicType(enum.IntEnum):
    """Of each datum; two's complement, little-endian."""

    INT32 = 0
    UINT32 = 1
    INT64 = 2
    UINT64 = 3

    @property
    def length_bytes(self) -> int:
        return 4 if self < AtomicType.INT64 else 8


class AckRequest(enum.IntEnum):
    """What the target of a put or atomic is to send back."""

    NONE = 0
    FULL = 1  # event ACK, and the counter if `ct_ack`
    COUNTING = 2  # the counter alone


class List(enum.IntEnum):
    """Which list of a portal table entry."""

    PRIORITY = 0
    OVERFLOW = 1


class EventKind(enum.IntEnum):
    """What an event tells; PTL_EVENT_* but for REFUSED."""

    GET = 1
    GET_OVERFLOW = 2
    PUT = 3
    PUT_OVERFLOW = 4
    ATOMIC = 5
    ATOMIC_OVERFLOW = 6
    FETCH_ATOMIC = 7  # also a SWAP
    FETCH_ATOMIC_OVERFLOW = 8
    REPLY = 9
    SEND = 10
    ACK = 11
    PT_DISABLED = 12
    LINK = 13
    AUTO_UNLINK = 14
    AUTO_FREE = 15
    SEARCH = 16
    REFUSED = 17  # a command of this context was refused; `fail` is a Refusal


class Fail(enum.IntEnum):
    """How an operation ended; PTL_NI_*."""

    OK = 0
    UNDELIVERABLE = 1  # the sender could not go on in the middle of the message
    PT_DISABLED = 2  # the portal table entry is disabled, or was by this message (flow control)
    DROPPED = 3  # no match or no resources, and no flow control
    OPERATION = 4  # the matching entry does not allow the operation
    SEGMENT = 5  # memory outside the window, or without the right, or memory answered with an error
    NO_MATCH = 6  # of ME_SEARCH alone
    ARGUMENT = 7  # an atomic whose target is not aligned to its datum


class Refusal(enum.IntEnum):
    """Why the NIC refused an access, a command or a packet."""

    NONE = 0
    ACCESS_UNPRIVILEGED = 1
    ACCESS_REFUSED = 2
    COMMAND_MALFORMED = 3
    COMMAND_WINDOW = 4
    COMMAND_ENTRY = 5  # no such portal table entry, match entry or counter, or it is in use
    PACKET_CRC = 6
    PACKET_MALFORMED = 7
    PACKET_DESTINATION = 8
    PACKET_JOB = 9
    PACKET_SEQUENCE = 10  # replayed or out of order
    PACKET_HANDLE = 11  # a response to nothing that waits for it
    PACKET_ABORTED = 12  # a message that was begun and not ended
    MEMORY_ERROR = 13


# ---- commands: 64 bytes each; bits 7..0 of word 0 are the operation, word 6 is returned in events ----

# Data movement. `local_*` is what a put or atomic sends (for CSWAP and MSWAP OPERAND_BYTES with the operand, then one
# datum; length_bytes counts the datum alone) and where a get's reply goes; `get_*` is where the reply of a FETCH_ATOMIC
# or SWAP goes. Offsets and lengths in bytes, all alignments.
COMMAND = Record(
    "command",
    [
        {
            "operation": (0, 8),
            "pt_index": (8, 8),
            "atomic_operation": (16, 8),
            "atomic_type": (24, 8),
            "counter": (32, 8),
            "ack_request": (40, 2),
            "event_send_disable": (42, 1),
            "event_success_disable": (43, 1),
            "ct_send": (44, 1),
            "ct_ack": (45, 1),
            "ct_reply": (46, 1),
            "ct_bytes": (47, 1),
        },
        {"dst_nid": (0, 16), "dst_pid": (16, 16), "length_bytes": (32, 32)},
        {"local_offset": (0, 48), "local_window": (48, 8)},
        {"remote_offset": (0, 64)},
        {"match_bits": (0, 64)},
        {"header_data": (0, 64)},
        {"user_data": (0, 64)},
        {"get_offset": (0, 48), "get_window": (48, 8)},
    ],
)

# Portal table entries and match entries. `entry` is chosen by the application among its context's match entries.
# PT_*: pt_index, and `flow_control` for PT_ALLOC. ME_UNLINK: entry, which must not be in use (PTL_IN_USE): as long as a
# message that it took has not ended, or unexpected headers refer to it, the command is refused; so is ME_APPEND for an
# entry that a message used up, until that has ended, and one of the overflow list until AUTO_FREE.
#
# ME_SEARCH finds what ME_APPEND would, by match bits, source, no_truncate, manage_local and length_bytes; with
# use_once the first one alone. With `search_delete` it takes headers out and tells what ME_APPEND tells: *_OVERFLOW,
# unless event_over_disable, and AUTO_FREE. Otherwise it tells SEARCH of each. If it finds nothing it tells SEARCH
# with NO_MATCH. There is no SEARCH with event_comm_disable. With ct_overflow `counter` counts what it finds (with
# ct_bytes its bytes), and a failure when the end of the list is reached; it must exist if ct_comm or ct_overflow is
# set. Nothing else is used.
LIST_COMMAND = Record(
    "list_command",
    [
        {
            "operation": (0, 8),
            "pt_index": (8, 8),
            "list": (16, 1),
            "flow_control": (17, 1),
            "search_delete": (18, 1),
            "counter": (32, 8),
            "entry": (48, 16),
        },
        {
            "match_nid": (0, 16),
            "match_pid": (16, 16),
            "any_nid": (32, 1),
            "any_pid": (33, 1),
            "op_put": (40, 1),
            "op_get": (41, 1),
            "ack_disable": (42, 1),
            "no_truncate": (43, 1),
            "manage_local": (44, 1),
            "use_once": (45, 1),
            "unexpected_header_disable": (46, 1),
            "event_link_disable": (47, 1),
            "event_comm_disable": (48, 1),
            "event_flow_control_disable": (49, 1),
            "event_success_disable": (50, 1),
            "event_over_disable": (51, 1),
            "event_unlink_disable": (52, 1),
            "ct_comm": (53, 1),
            "ct_overflow": (54, 1),
            "ct_bytes": (55, 1),
        },
        {"offset": (0, 48), "window": (48, 8)},
        {"length_bytes": (0, 48)},
        {"match_bits": (0, 64)},
        {"ignore_bits": (0, 64)},
        {"user_data": (0, 64)},
        {"min_free": (0, 48)},
    ],
)

# COUNTER_SET, COUNTER_INCREMENT.
COUNTER_COMMAND = Record(
    "counter_command",
    [
        {"operation": (0, 8), "counter": (32, 8)},
        {},
        {"success": (0, 64)},
        {"failure": (0, 64)},
        {},
        {},
        {"user_data": (0, 64)},
        {},
    ],
)

# ---- what the NIC writes ----

EVENT = Record(
    "event",
    [
        {"kind": (0, 8), "pt_index": (8, 8), "start_offset": (16, 48)},
        {"src_nid": (0, 16), "src_pid": (16, 16), "jid": (32, 32)},  # the initiator: the hardware's word
        {"requested_bytes": (0, 32), "manipulated_bytes": (32, 32)},
        {"remote_offset": (0, 64)},
        {"match_bits": (0, 64)},
        {"header_data": (0, 64)},
        {"user_data": (0, 64)},
        {
            "sequence": (0, 32),
            "start_window": (32, 8),
            "fail": (40, 8),
            "list": (48, 2),
            "atomic_operation": (50, 6),
            "atomic_type": (56, 8),
        },
    ],
)

# A counting event; a context's counters stand side by side from COUNTER_BASE on.
COUNTER = Record("counter", [{"success": (0, 64)}, {"failure": (0, 64)}])
