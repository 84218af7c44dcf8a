"""How long one message takes that meets nobody, in cycles and by stage."""

from dataclasses import dataclass

from rtl.portals import EventKind, Operation
from tests.bench_nic.figures import Figure
from tests.bench_nic.rig import Rig
from tests.rtl.whole.simulator import Seen, Touch, Touched

MOST_CYCLES_TO_FIRST_FLIT = 40
MOST_CYCLES_TO_EVENT = 40
SIZES_BYTES = (0, 8, 64)  # of the messages whose bounds are judged
_DATUM_64 = 3  # AtomicType.UINT64


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Something that happened to the message, `cycle` cycles after its doorbell was accepted."""

    what: str
    cycle: int


def one_way(rig: Rig, length_bytes: int) -> list[Mark]:
    """A put from node 0 to node 1, from its doorbell to its event."""
    put = rig.command(Operation.PUT, 1, length_bytes=length_bytes)
    touches, packets, event = _watched(rig, put, awaited=(1, EventKind.PUT))
    rung = _nth(touches, 0, Touched.BUS_WRITE)
    sent, received = (next(p for p in packets if p.received == there) for there in (False, True))
    marks = [
        Mark(what="doorbell accepted", cycle=rung),
        Mark(what="command asked for", cycle=_nth(touches, 0, Touched.READ_ADDRESS)),
        Mark(what="command there", cycle=_last_of_burst(touches, 0, Touched.READ_DATA)),
    ]
    if length_bytes:
        marks += [
            Mark(what="payload asked for", cycle=_nth(touches, 0, Touched.READ_ADDRESS, 1)),
            Mark(what="payload there", cycle=_last_of_burst(touches, 0, Touched.READ_DATA, 1)),
        ]
    marks += [
        Mark(what="first flit leaves", cycle=sent.first_cycle),
        Mark(what="last flit leaves", cycle=sent.last_cycle),
        Mark(what="last flit arrives", cycle=received.last_cycle),
    ]
    if length_bytes:
        marks += [
            Mark(what="payload on its way to memory", cycle=_nth(touches, 1, Touched.WRITE_ADDRESS)),
            Mark(what="payload written", cycle=_last_of_burst(touches, 1, Touched.WRITE_DATA)),
            Mark(what="memory has answered", cycle=_nth(touches, 1, Touched.WRITE_ANSWER)),
        ]
    marks.append(Mark(what="event visible in memory", cycle=event))
    marks.sort(key=lambda mark: mark.cycle)
    return [Mark(what=mark.what, cycle=mark.cycle - rung) for mark in marks]


def figures(rig: Rig) -> list[Figure]:
    """The bounds of one way, and whole round trips, from the doorbell to the event at its context."""
    bits = rig.parameters.datapath_bits
    found = []
    for size in SIZES_BYTES:
        cycles = {mark.what: mark.cycle for mark in one_way(rig, size)}
        arrived = cycles["last flit arrives"]
        found += [
            Figure(
                name=f"put of {size} bytes: doorbell to first flit, {bits} bits", unit="cycles",
                value=cycles["first flit leaves"], at_most=MOST_CYCLES_TO_FIRST_FLIT,
            ),
            Figure(
                name=f"put of {size} bytes: last flit to visible event, {bits} bits", unit="cycles",
                value=cycles["event visible in memory"] - arrived, at_most=MOST_CYCLES_TO_EVENT,
            ),
            Figure(
                name=f"put of {size} bytes: end to end, {bits} bits", unit="cycles",
                value=cycles["event visible in memory"],
            ),
        ]  # fmt: skip
    for name, fields, kind in _ROUND_TRIPS:
        value = round_trip(rig, fields, kind)
        found.append(Figure(name=f"{name}: doorbell to event, {bits} bits", unit="cycles", value=value))
    return found


_ROUND_TRIPS = [
    ("put of 64 bytes and acknowledgement", {"operation": Operation.PUT, "length_bytes": 64, "ack_request": 1},
     EventKind.ACK),
    ("get of 64 bytes", {"operation": Operation.GET, "length_bytes": 64}, EventKind.REPLY),
    ("fetch and add of 8 bytes", {"operation": Operation.FETCH_ATOMIC, "length_bytes": 8, "atomic_type": _DATUM_64},
     EventKind.REPLY),
]  # fmt: skip


def round_trip(rig: Rig, fields: dict[str, int], kind: EventKind) -> int:
    """Cycles from the doorbell of a command for node 1 to the event at node 0 that tells of the answer."""
    rest = {name: value for name, value in fields.items() if name != "operation"}
    command = rig.command(Operation(fields["operation"]), 1, **rest)
    touches, _, event = _watched(rig, command, awaited=(0, kind))
    return event - _nth(touches, 0, Touched.BUS_WRITE)


def _watched(rig: Rig, command: list[int], *, awaited: tuple[int, EventKind]) -> tuple[list[Touch], list[Seen], int]:
    """Node 0's context 0 carries out a command. Handshakes, packets, and the cycle of the event."""
    rig.settle()
    rig.forget()
    simulator = rig.simulator
    tail = rig.place(0, 0, [command])
    simulator.trace()
    rig.ring(0, 0, tail)
    event = rig.await_event(*awaited)
    rig.settle()
    simulator.trace(False)
    touches, packets = simulator.touches(), simulator.packets()
    rig.consume_events()
    return touches, packets, event


def _nth(touches: list[Touch], node: int, touched: Touched, number: int = 0) -> int:
    return [touch.cycle for touch in touches if (touch.node, touch.touched) == (node, touched)][number]


def _last_of_burst(touches: list[Touch], node: int, touched: Touched, number: int = 0) -> int:
    return [t.cycle for t in touches if (t.node, t.touched, t.value) == (node, touched, 1)][number]
