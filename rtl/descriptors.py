"""What the NIC reads and writes in host memory: commands and events, 64 bytes each, and why it refuses something.

Imports no Amaranth: user-level libraries, extensions and tests share it with the hardware.

A command has no source: the hardware knows which context's ring it came from. It names memory by a window of its
context and an offset, never by an address. An event's word 1 has the layout of the packet's trusted word; its
`sequence` is the number of events ever written to the queue, this one included, modulo 2**32, and lies in the last
word because it is written last: a consumer that expects event n waits for `sequence` == n + 1 and needs no register
access.
"""

import enum

from rtl.records import Record


class EventKind(enum.IntEnum):
    """What an event tells."""

    PUT = 1  # a put arrived; word 1 names who sent it
    SENT = 2  # a command with `notify` has left; its memory may be used again
    REFUSED = 3  # a command of this context was refused; `reason` says why


class Refusal(enum.IntEnum):
    """Why the NIC refused an access, a command or a packet."""

    NONE = 0
    ACCESS_UNPRIVILEGED = 1
    ACCESS_REFUSED = 2
    COMMAND_MALFORMED = 3
    COMMAND_WINDOW = 4
    PACKET_CRC = 5
    PACKET_MALFORMED = 6
    PACKET_DESTINATION = 7
    PACKET_JOB = 8
    PACKET_WINDOW = 9
    EVENT_QUEUE_FULL = 10
    MEMORY_ERROR = 11


# Offsets and lengths in bytes. `length_bytes` is at most the MTU; offsets are multiples of 8. With length 0 no memory
# is touched on either side and the windows are not looked at: the message is its header.
COMMAND = Record(
    "command",
    [
        {"operation": (0, 8), "notify": (8, 1), "length_bytes": (32, 32)},
        {"dst_nid": (0, 16), "dst_pid": (16, 16), "remote_window": (32, 8)},
        {"local_window": (0, 8)},
        {"local_offset": (0, 64)},
        {"remote_offset": (0, 64)},
        {"match_bits": (0, 64)},
        {"header_data": (0, 64)},
        {"user_data": (0, 64)},  # returned in the SENT or REFUSED event
    ],
)

EVENT = Record(
    "event",
    [
        {"kind": (0, 8), "reason": (8, 8), "window": (16, 8)},
        {"src_nid": (0, 16), "src_pid": (16, 16), "jid": (32, 32)},
        {"length_bytes": (0, 32)},
        {"offset": (0, 64)},
        {"match_bits": (0, 64)},
        {"header_data": (0, 64)},
        {"user_data": (0, 64)},
        {"sequence": (0, 32)},
    ],
)
