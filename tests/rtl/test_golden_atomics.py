"""The golden model: atomics, fetching atomics and swaps between two processes, with answers worked out by hand."""

import pytest

from rtl.portals import AckRequest, AtomicOperation, AtomicType, EventKind, Fail, List, Refusal
from tests.golden.context import Right, Settings, Window
from tests.golden.judging import FROM_NODE_0, FROM_NODE_1, TO_NODE_1, meant, pair, said
from tests.golden.process import append, atomic, fetch_atomic, swap

Do, Of = AtomicOperation, AtomicType
M32, M64 = (1 << 32) - 1, (1 << 64) - 1


def data(of: AtomicType, *values: int) -> bytes:
    return b"".join(value.to_bytes(of.length_bytes, "little") for value in values)


# Operation, type, what memory has, what is sent, what memory has then.
ATOMICS = [
    (Do.SUM, Of.INT32, [5, M32], [3, 2], [8, 1]),
    (Do.SUM, Of.UINT64, [M64], [2], [1]),
    (Do.MIN, Of.INT32, [5, M32], [M32, 0], [M32, M32]),
    (Do.MIN, Of.UINT32, [5, M32], [M32, 0], [5, 0]),
    (Do.MAX, Of.INT64, [M64, 7], [0, 9], [0, 9]),
    (Do.MAX, Of.UINT64, [M64, 7], [0, 9], [M64, 9]),
    (Do.AND, Of.UINT32, [0b1100] * 16, [0b1010] * 16, [0b1000] * 16),
    (Do.OR, Of.UINT64, [0b1100] * 8, [0b1010] * 8, [0b1110] * 8),
    (Do.XOR, Of.INT32, [0b1100], [0b1010], [0b0110]),
]


@pytest.mark.parametrize("fetch", [False, True])
@pytest.mark.parametrize(("operation", "of", "memory", "sent", "after"), ATOMICS)
def test_atomics(operation, of, memory, sent, after, fetch):
    machine = pair()
    size = len(sent) * of.length_bytes
    machine.write(0, 0, 1, data(of, *sent))
    machine.write(1, 0, 0x108, data(of, *memory))
    machine.do(1, 0, append(pt_index=2, entry=0, offset=0x100, length_bytes=128, user_data=7))
    fields = TO_NODE_1 | {"local_offset": 1, "length_bytes": size, "remote_offset": 8, "header_data": 3}
    if fetch:
        told = machine.do(0, 0, fetch_atomic(operation, of, get_offset=0x333, user_data=6, **fields))
    else:
        told = machine.do(0, 0, atomic(operation, of, ack_request=AckRequest.FULL, user_data=6, **fields))
    answer = EventKind.REPLY if fetch else EventKind.ACK
    assert said(told) == meant(
        {"kind": EventKind.SEND, "user_data": 6},
        FROM_NODE_1 | {"kind": answer, "user_data": 6, "manipulated_bytes": size, "remote_offset": 8},
    )
    assert said([event.fields for event in machine.events[1, 0]]) == meant(
        FROM_NODE_0
        | {
            "kind": EventKind.FETCH_ATOMIC if fetch else EventKind.ATOMIC,
            "pt_index": 2,
            "start_offset": 0x108,
            "requested_bytes": size,
            "manipulated_bytes": size,
            "remote_offset": 8,
            "header_data": 3,
            "user_data": 7,
            "atomic_operation": operation,
            "atomic_type": of,
        }
    )
    assert machine.read(1, 0, 0x108, size + 8) == data(of, *after) + bytes(8)
    assert machine.read(0, 0, 0x333, size) == (data(of, *memory) if fetch else bytes(size))


# Operation, type, operand, datum, memory before, after.
SWAPS = [
    (Do.SWAP, Of.UINT32, None, 9, 4, 9),
    (Do.CSWAP, Of.UINT64, 4, 9, 4, 9),
    (Do.CSWAP, Of.UINT64, 5, 9, 4, 4),
    (Do.CSWAP, Of.INT32, 4, 9, 4, 9),
    (Do.CSWAP, Of.INT32, (7 << 32) | 4, 9, 4, 9),
    (Do.MSWAP, Of.UINT32, 0x0F0F_0F0F, 0xAAAA_AAAA, 0x5555_5555, 0x5A5A_5A5A),
    (Do.MSWAP, Of.UINT64, 0xFF, 0x11, 0x2222, 0x2211),
]


@pytest.mark.parametrize(("operation", "of", "operand", "datum", "before", "after"), SWAPS)
def test_swaps(operation, of, operand, datum, before, after):
    machine = pair()
    size = of.length_bytes
    machine.write(0, 0, 0, (b"" if operand is None else operand.to_bytes(8, "little")) + data(of, datum))
    machine.write(1, 0, 0, data(of, before))
    machine.do(1, 0, append(pt_index=2, entry=0, length_bytes=8))
    told = machine.do(0, 0, swap(of, operation, length_bytes=size, get_offset=0x100, **TO_NODE_1))
    assert [event["kind"] for event in told] == [EventKind.SEND, EventKind.REPLY]
    assert told[1]["manipulated_bytes"] == size
    event = machine.events[1, 0][-1].fields
    assert (event["kind"], event["requested_bytes"]) == (EventKind.FETCH_ATOMIC, size)
    assert machine.read(1, 0, 0, 8) == data(of, after) + bytes(8 - size)
    assert machine.read(0, 0, 0x100, 8) == data(of, before) + bytes(8 - size)


# Of a sum of three 64-bit data at offset 8 of an entry: options of the entry, rights, what comes of it.
CUTS = [
    ({"length_bytes": 24}, Right.ALL, Fail.OK, 16),
    ({"length_bytes": 31}, Right.ALL, Fail.OK, 16),
    ({"length_bytes": 15}, Right.ALL, Fail.OK, 0),
    ({"length_bytes": 24, "no_truncate": 1}, Right.ALL, Fail.DROPPED, 0),
    ({"length_bytes": 32, "offset": 4}, Right.ALL, Fail.ARGUMENT, 0),
    ({"length_bytes": 15, "offset": 4}, Right.ALL, Fail.OK, 0),
    ({"length_bytes": 32}, Right.REMOTE_READ, Fail.SEGMENT, 0),
    ({"length_bytes": 32}, Right.REMOTE_WRITE, Fail.SEGMENT, 0),
    ({"length_bytes": 32, "offset": 0x1_0000 - 31}, Right.ALL, Fail.SEGMENT, 0),
    ({"length_bytes": 32, "offset": 0x1_0000 - 32}, Right.ALL, Fail.OK, 24),
    ({"length_bytes": 32, "op_get": 0}, Right.ALL, Fail.OPERATION, 0),
    ({"length_bytes": 32, "op_put": 0}, Right.ALL, Fail.OPERATION, 0),
]


@pytest.mark.parametrize(("entry", "rights", "fail", "moved"), CUTS)
def test_what_is_cut_and_what_fails(entry, rights, fail, moved):
    machine = pair()
    machine.write(0, 0, 0, data(Of.UINT64, 1, 2, 3))
    kept = bytes(range(1, 33))
    start = entry.get("offset", 0)
    machine.write(1, 0, start, kept)
    old = machine.nics[1].contexts[0].settings
    window = Window(base=0, length=0x1_0000, rights=rights)
    machine.nics[1].configure(0, Settings(**(vars(old) | {"windows": [window]})))
    machine.do(1, 0, append(pt_index=2, entry=0, ct_comm=1, ct_bytes=1, counter=1, **entry))
    words = fetch_atomic(Do.SUM, Of.UINT64, length_bytes=24, remote_offset=8, get_offset=0x200, **TO_NODE_1)
    answer = machine.do(0, 0, words)[-1]
    assert (answer["fail"], answer["manipulated_bytes"]) == (fail, moved)
    assert machine.read(0, 0, 0x200, 24) == kept[8 : 8 + moved] + bytes(24 - moved)
    if fail in (Fail.OK, Fail.ARGUMENT, Fail.SEGMENT):
        event = machine.events[1, 0][-1].fields
        assert (event["fail"], event["manipulated_bytes"], event["requested_bytes"]) == (fail, moved, 24)
        assert machine.counter(1, 0, 1) == ((moved, 0) if fail == Fail.OK else (0, 1))
    changed = bytearray(kept)
    for index in range(moved // 8):
        changed[8 + 8 * index] += index + 1
    inside = min(32, 0x1_0000 - start)  # what lies beyond the window is the event queue
    assert machine.read(1, 0, start, inside) == changed[:inside]


def test_a_conditional_swap_without_room_for_its_datum_does_nothing():
    machine = pair()
    machine.write(0, 0, 0, bytes(8) + b"\xff" * 8)
    machine.do(1, 0, append(pt_index=2, entry=0, length_bytes=7))
    told = machine.do(0, 0, swap(Of.UINT64, Do.CSWAP, length_bytes=8, get_offset=0x100, **TO_NODE_1))
    assert (told[-1]["fail"], told[-1]["manipulated_bytes"]) == (Fail.OK, 0)
    assert machine.read(1, 0, 0, 8) == machine.read(0, 0, 0x100, 8) == bytes(8)


def test_an_atomic_to_the_overflow_list_is_found_later():
    machine = pair()
    machine.write(0, 0, 0, data(Of.INT32, 5))
    machine.do(1, 0, append(List.OVERFLOW, pt_index=2, entry=0, offset=0x100, length_bytes=128))
    machine.do(0, 0, atomic(Do.SUM, Of.INT32, length_bytes=4, remote_offset=4, **TO_NODE_1))
    machine.do(0, 0, swap(Of.INT32, length_bytes=4, remote_offset=8, **TO_NODE_1))
    told = machine.do(1, 0, append(pt_index=2, entry=1, length_bytes=128, user_data=5))
    usual = FROM_NODE_0 | {"pt_index": 2, "requested_bytes": 4, "manipulated_bytes": 4, "list": List.OVERFLOW}
    assert said(told) == meant(
        usual | {"kind": EventKind.ATOMIC_OVERFLOW, "start_offset": 0x104, "remote_offset": 4, "user_data": 5},
        usual
        | {
            "kind": EventKind.FETCH_ATOMIC_OVERFLOW,
            "start_offset": 0x108,
            "remote_offset": 8,
            "user_data": 5,
            "atomic_operation": Do.SWAP,
        },
    )
    assert machine.read(1, 0, 0x100, 12) == bytes(4) + data(Of.INT32, 5, 5)


@pytest.mark.parametrize(
    "words",
    [
        atomic(Do.SWAP, Of.INT32, length_bytes=4),
        atomic(6, Of.INT32, length_bytes=4),
        atomic(Do.SUM, 4, length_bytes=8),
        atomic(Do.SUM, Of.INT32, length_bytes=0),
        atomic(Do.SUM, Of.INT32, length_bytes=6),
        atomic(Do.SUM, Of.INT64, length_bytes=12),
        atomic(Do.SUM, Of.INT32, length_bytes=68),
        fetch_atomic(Do.CSWAP, Of.INT32, length_bytes=4),
        fetch_atomic(Do.SUM, Of.INT32, length_bytes=4, ack_request=AckRequest.FULL),
        swap(Of.INT32, Do.SUM, length_bytes=4),
        swap(Of.INT32, Do.CSWAP, length_bytes=8),
        swap(Of.INT64, Do.MSWAP, length_bytes=16),
    ],
)
def test_impossible_atomics_are_refused(words):
    machine = pair()
    machine.do(0, 0, words)
    assert [refused.reason for refused in machine.refusals[0]] == [Refusal.COMMAND_MALFORMED]


@pytest.mark.parametrize(
    "words",
    [
        swap(Of.INT64, Do.CSWAP, length_bytes=8, local_offset=0xFFF1),
        swap(Of.INT64, Do.SWAP, length_bytes=8, get_offset=0xFFF9),
        fetch_atomic(Do.SUM, Of.INT32, length_bytes=4, get_window=1),
        atomic(Do.SUM, Of.INT32, length_bytes=4, local_offset=0xFFFD),
    ],
)
def test_atomics_outside_their_windows_are_refused(words):
    machine = pair()
    machine.do(0, 0, words)
    assert [refused.reason for refused in machine.refusals[0]] == [Refusal.COMMAND_WINDOW]
