"""What the kernel and a driver say to each other: entries, services, and records in the kernel's memory.

A driver is a trusted extension with these entries; arguments are in r1 to r5; a driver that cannot go on faults, and
the kernel panics. "At p" is a record in the kernel's memory from physical address p.

    init(nid, p, t, l, i)
                        once, at boot: make the device ready, write DEVICE_INFO at p; in cycles of the device's clock, a
                        request to which nothing comes is to fail after t, or up to twice as many (0: never),
                        interrupts for refusals of one kind are l apart, those for events of one context i
    interrupt(core)     serve the device's interrupt of a core: for each cause call a service
    open(context, p)    open a NIC context as CONTEXT_SETUP and the WINDOW_SETUPs behind it at p say
    moderate(context, count, cycles)
                        let an open one interrupt after so many events, or so many cycles after the first of them
    close(context)      close it: nothing leaves or arrives any more
    busy(context)       of a closed one: 1 while the device may still touch its memory, then 0
    refusals()          call a service for what the device has refused and not told of yet, up to some number of them,
                        without waiting for an interrupt; how many there were
    counters(p)         write the device's counters at p, 64 bits each, in the order of `Driver.counters`
    inspect(context, p) write CONTEXT_STATE at p

Services that it may call: `context_event(context)`, `violation(subject, reason, context, detail, time_cycles)`.
"""

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from nimble.program import Program
from rtl.records import Record
from sw.kernel.counters import Counter

WORD = (0, 64)

DEVICE_INFO = Record(
    "device_info",
    [
        {"contexts": WORD},
        {"windows": WORD},
        {"mtu_bytes": WORD},
        {"portal_entries": WORD},
        {"match_entries": WORD},
        {"unexpected_headers": WORD},
        {"counters": WORD},
        {"outstanding": WORD},
        {"nodes": WORD},
        {"datapath_bits": WORD},
        {"page_offset": WORD},  # of context 0's page, from the device's base; bytes
        {"page_stride": WORD},
    ],
)

CONTEXT_SETUP = Record(
    "context_setup",
    [
        {"pid": WORD},
        {"jid": WORD},
        {"command_base": WORD},
        {"command_log2": WORD},
        {"event_base": WORD},
        {"event_log2": WORD},
        {"counter_base": WORD},
        {"moderation_count": WORD},
        {"moderation_cycles": WORD},
        {"interrupt": WORD},
        {"counter_interrupt": WORD},
        {"core": WORD},  # that is interrupted
        {"windows": WORD},  # number of WINDOW_SETUPs that follow
    ],
)

WINDOW_SETUP = Record(
    "window_setup",
    [
        {"base": WORD},
        {"length_bytes": WORD},
        {"local_read": WORD},
        {"local_write": WORD},
        {"remote_read": WORD},
        {"remote_write": WORD},
    ],
)

# Registers as they stand, to see from the kernel's side that nobody changed them.
CONTEXT_STATE = Record(
    "context_state",
    [
        {"node_id": WORD},
        {"control": WORD},
        {"identity": WORD},
        {"command_base": WORD},
        {"event_base": WORD},
        {"counter_base": WORD},
        {"moderation": WORD},
        {"window_base": WORD},
        {"window_length": WORD},
        {"window_rights": WORD},
        {"command_tail": WORD},
        {"event_head": WORD},
    ],
)


class Subject(enum.IntEnum):
    """What a violation was; `detail` and `context` of the service depend on it.

    ACCESS: of this node's processes, to a register `detail` bytes from the device's base; `context` is whose page it
    was. COMMAND: number `detail` of `context`'s ring, or an event of `context` for which memory had an error, at
    `detail`. PACKET: `detail` is its identity word, as in an EVENT's word 1; `context` is whose it would have become. A
    `context` that the device does not have is none.
    """

    ACCESS = 0
    COMMAND = 1
    PACKET = 2


SERVICE_CONTEXT_EVENT = "context_event"
SERVICE_VIOLATION = "violation"


@dataclass(frozen=True, kw_only=True)
class Driver:
    """What a scenario can name under `kernel.drivers`.

    `device_id`: bits 15..0 of the first register of its device. `build(base, services)` makes the program for a device
    at a physical address, with the services' IDs by name. `reasons` words the reasons of violations. `budget`:
    instructions per call.
    """

    name: str
    device_id: int
    counters: tuple[Counter, ...]
    reasons: Mapping[int, str]
    build: Callable[[int, Mapping[str, int]], Program]
    budget: int
