"""Atomics, fetching atomics and swaps, computed by numpy: its types say how many bits and whether there is a sign.

Ref: Portals 4, section 3.15.
"""

from collections.abc import Callable, Generator, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from rtl.portals import OPERAND_BYTES, AckRequest, AtomicOperation, AtomicType, EventKind, Fail
from sw.apps.portals_check.side import LOCAL, REMOTE, Side, Step
from sw.portals.operations import Region, Target, atomic, fetch_atomic, swap
from sw.portals.portal_table import MatchEntry

Words = npt.NDArray[np.integer]

DTYPES: dict[AtomicType, np.dtype[Any]] = {
    AtomicType.INT32: np.dtype("<i4"),
    AtomicType.UINT32: np.dtype("<u4"),
    AtomicType.INT64: np.dtype("<i8"),
    AtomicType.UINT64: np.dtype("<u8"),
}
COMBINE: dict[AtomicOperation, Callable[[Words, Words], Words]] = {
    AtomicOperation.SUM: np.add,
    AtomicOperation.MIN: np.minimum,
    AtomicOperation.MAX: np.maximum,
    AtomicOperation.AND: np.bitwise_and,
    AtomicOperation.OR: np.bitwise_or,
    AtomicOperation.XOR: np.bitwise_xor,
}
CASES = [(datum, operation) for datum in AtomicType for operation in COMBINE]
SLOT_BYTES = 64  # of the target's memory for each case
ODD = 4  # bytes: a place that is aligned for 32 bits, and not for 64


def before(datum: AtomicType) -> bytes:
    """What stands in memory: the largest number with a sign, 1, the smallest one, every other bit."""
    bits = 8 * datum.length_bytes
    return _bytes(datum, [(1 << bits - 1) - 1, 1, 1 << bits - 1, (1 << bits) // 3])


def operands(datum: AtomicType) -> bytes:
    """What is combined with it: 1, all bits, 1, the other bits."""
    bits = 8 * datum.length_bytes
    return _bytes(datum, [1, (1 << bits) - 1, 1, (1 << bits) // 3 << 1])


def after(datum: AtomicType, operation: AtomicOperation) -> bytes:
    """What must come of it."""
    old, new = (np.frombuffer(data, dtype=DTYPES[datum]) for data in (before(datum), operands(datum)))
    return COMBINE[operation](old, new).tobytes()


def _bytes(datum: AtomicType, values: list[int]) -> bytes:
    return b"".join(value.to_bytes(datum.length_bytes, "little") for value in values)


# ---- atomic and fetch_atomic ----


def atomic_target(side: Side) -> Iterator[None]:
    entry = yield from _combined(side, EventKind.ATOMIC)
    start = SLOT_BYTES * len(CASES) + ODD
    side.message(
        "ATOMIC that is not aligned",
        EventKind.ATOMIC,
        entry=entry,
        start_offset=start,
        remote_offset=start,
        requested_bytes=8,
        manipulated_bytes=0,
        fail=Fail.ARGUMENT,
        atomic_operation=AtomicOperation.SUM,
        atomic_type=AtomicType.UINT64,
    )


def fetch_atomic_target(side: Side) -> Iterator[None]:
    yield from _combined(side, EventKind.FETCH_ATOMIC)


def _combined(side: Side, kind: EventKind) -> Generator[None, None, int]:
    """Takes all cases; the match entry that took them."""
    for number, (datum, _) in enumerate(CASES):
        side.write(REMOTE, SLOT_BYTES * number, before(datum))
    entry = _offer(side)
    yield
    for number, (datum, operation) in enumerate(CASES):
        result = after(datum, operation)
        side.expect(REMOTE, SLOT_BYTES * number, result)
        _modified(side, kind, operation, datum, entry, SLOT_BYTES * number, len(result))
    return entry


def atomic_initiator(side: Side) -> Iterator[None]:
    yield
    for number, (datum, operation) in enumerate(CASES):
        data = operands(datum)
        _atomic(side, side.to(offset=SLOT_BYTES * number), operation, datum, data)
        side.answered(f"ACK of {_name(operation, datum)}", moved=len(data), offset=SLOT_BYTES * number)
    start = SLOT_BYTES * len(CASES) + ODD
    _atomic(side, side.to(offset=start), AtomicOperation.SUM, AtomicType.UINT64, bytes(8))
    side.answered("ACK of one that is not aligned", offset=start, fail=Fail.ARGUMENT)


def _atomic(side: Side, target: Target, operation: AtomicOperation, datum: AtomicType, data: bytes) -> None:
    side.write(LOCAL, 0, data)
    atomic(
        side.polled,
        target,
        operation=operation,
        datum=datum,
        local=Region(window=LOCAL, offset=0, length_bytes=len(data)),
        ack_request=AckRequest.FULL,
        event_send_disable=True,
    )


def fetch_atomic_initiator(side: Side) -> Iterator[None]:
    yield
    for number, (datum, operation) in enumerate(CASES):
        data, place = operands(datum), SLOT_BYTES * (1 + number)
        side.write(LOCAL, 0, data)
        fetch_atomic(
            side.polled,
            side.to(offset=SLOT_BYTES * number),
            operation=operation,
            datum=datum,
            local=Region(window=LOCAL, offset=0, length_bytes=len(data)),
            fetched=Region(window=LOCAL, offset=place, length_bytes=len(data)),
            event_send_disable=True,
        )
        side.expect(LOCAL, place, before(datum))
        what = f"REPLY of {_name(operation, datum)}"
        side.answered(what, EventKind.REPLY, moved=len(data), offset=SLOT_BYTES * number)


# ---- swap ----

OLD = 0x0123_4567_89AB_CDEF
NEW = 0xFEDC_BA98_7654_3210
MASK = 0x00FF_F00F_0F0F_3C3C
SWAPS = (  # operation, operand, what it leaves of OLD when NEW comes
    (AtomicOperation.SWAP, None, NEW),
    (AtomicOperation.CSWAP, OLD, NEW),
    (AtomicOperation.CSWAP, OLD ^ 1, OLD),
    (AtomicOperation.MSWAP, MASK, OLD & ~MASK | NEW & MASK),
)
SWAP_CASES = [(datum, *case) for datum in AtomicType for case in SWAPS]


def swap_target(side: Side) -> Iterator[None]:
    for number, (datum, *_) in enumerate(SWAP_CASES):
        side.write(REMOTE, SLOT_BYTES * number, _low(OLD, datum))
    entry = _offer(side)
    yield
    for number, (datum, operation, _, result) in enumerate(SWAP_CASES):
        side.expect(REMOTE, SLOT_BYTES * number, _low(result, datum))
        _modified(side, EventKind.FETCH_ATOMIC, operation, datum, entry, SLOT_BYTES * number, datum.length_bytes)


def swap_initiator(side: Side) -> Iterator[None]:
    yield
    for number, (datum, operation, operand, _) in enumerate(SWAP_CASES):
        place = SLOT_BYTES * (1 + number)
        side.write(LOCAL, 0, b"" if operand is None else operand.to_bytes(OPERAND_BYTES, "little"))
        side.write(LOCAL, 0 if operand is None else OPERAND_BYTES, _low(NEW, datum))
        swap(
            side.polled,
            side.to(offset=SLOT_BYTES * number),
            datum=datum,
            local=Region(window=LOCAL, offset=0, length_bytes=datum.length_bytes),
            fetched=Region(window=LOCAL, offset=place, length_bytes=datum.length_bytes),
            operation=operation,
            event_send_disable=True,
        )
        side.expect(LOCAL, place, _low(OLD, datum))
        what = f"REPLY of {_name(operation, datum)}"
        side.answered(what, EventKind.REPLY, moved=datum.length_bytes, offset=SLOT_BYTES * number)


def _low(value: int, datum: AtomicType) -> bytes:
    """As many bytes of a value as the datum has."""
    return value.to_bytes(8, "little")[: datum.length_bytes]


# ---- both ----


def _offer(side: Side) -> int:
    """All of window REMOTE; the match entry."""
    side.allocate()
    entry = MatchEntry(
        window=REMOTE, length_bytes=side.area_bytes, op_put=True, op_get=True, event_link_disable=True
    )  # fmt: skip
    number = side.append(entry)
    side.ready()
    return number


def _modified(
    side: Side,
    kind: EventKind,
    operation: AtomicOperation,
    datum: AtomicType,
    entry: int,
    offset: int,
    length_bytes: int,
) -> None:
    side.message(
        f"{kind.name} of {_name(operation, datum)}",
        kind,
        entry=entry,
        start_offset=offset,
        remote_offset=offset,
        requested_bytes=length_bytes,
        atomic_operation=operation,
        atomic_type=datum,
    )


def _name(operation: AtomicOperation, datum: AtomicType) -> str:
    return f"{operation.name} on {datum.name}"


STEPS = (
    Step(name="atomic", target=atomic_target, initiator=atomic_initiator),
    Step(name="fetch_atomic", target=fetch_atomic_target, initiator=fetch_atomic_initiator),
    Step(name="swap", target=swap_target, initiator=swap_initiator),
)
