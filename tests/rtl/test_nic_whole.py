"""Several whole NICs: every operation from command to event, as the golden model says and as worked out here."""

import random
from itertools import product

import pytest

from rtl.packets import DATAPATH_BITS
from rtl.portals import (
    AckRequest,
    AtomicOperation,
    AtomicType,
    EventKind,
    Fail,
    List,
    Operation,
)
from tests.golden.context import Right, Window
from tests.golden.judging import meant, said
from tests.golden.process import (
    append,
    atomic,
    counter_increment,
    counter_set,
    fetch_atomic,
    get,
    portal,
    portal_do,
    put,
    search,
    swap,
    unlink,
)
from tests.rtl.whole.board import Place, Who
from tests.rtl.whole.scene import Scene, scene, source, to
from tests.rtl.whole.simulator import OKAY, Settings

A, B, C = (0, 0), (1, 0), (2, 1)
widths = pytest.mark.parametrize("bits", DATAPATH_BITS)


def kind(event: dict[str, int]) -> int:
    return event["kind"]


def bytes_at(at: Scene, who: Who, window: int, offset: int, length: int) -> bytes:
    return at.board.read(who, window, offset, length)


@widths
@pytest.mark.parametrize("receiver", [A, (0, 1), B, C], ids=str)
def test_a_put_of_several_packets_with_everything_that_is_told_of_it(bits: int, receiver: Who) -> None:
    with scene(bits) as at:
        at.open(receiver, user_data=77, ct_comm=1, ct_bytes=1, counter=2)
        command = put(
            **to(receiver), length_bytes=300, local_offset=3, remote_offset=9, match_bits=0, header_data=5,
            user_data=11, ack_request=AckRequest.FULL, ct_send=1, ct_ack=1, counter=1,
        )  # fmt: skip
        at.post(A, command)
        told = at.rest()
        arrived = {
            **source(A), "kind": EventKind.PUT, "start_window": 1, "start_offset": 9, "requested_bytes": 300,
            "manipulated_bytes": 300, "remote_offset": 9, "header_data": 5, "user_data": 77,
        }  # fmt: skip
        answered = {
            **source(receiver), "kind": EventKind.ACK, "manipulated_bytes": 300, "remote_offset": 9, "user_data": 11,
        }  # fmt: skip
        sent = {"kind": EventKind.SEND, "user_data": 11}
        wanted = {A: [sent, answered], receiver: [arrived]} if receiver != A else {A: [sent, arrived, answered]}
        for who, events in wanted.items():
            assert sorted(said(told[who]), key=kind) == sorted(meant(*events), key=kind)
        assert bytes_at(at, receiver, 1, 9, 300) == bytes_at(at, A, 0, 3, 300)
        assert at.board.counter(A, 1) == (2, 0)
        assert at.board.counter(receiver, 2) == (300, 0)


@widths
def test_all_sizes_and_alignments_of_puts_and_gets(bits: int) -> None:
    mtu = 128
    sizes = (0, 1, 7, 8, 15, 16, 17, mtu - 1, mtu, mtu + 1, 2 * mtu, 3 * mtu + 5)
    with scene(bits) as at:
        at.open(B, event_comm_disable=1)
        for here, there in product((0, 1, 7, 8, 9), (0, 3, 8, 15)):
            puts = [
                put(
                    **to(B), length_bytes=size, local_offset=here, remote_offset=0x200 * n + there, event_send_disable=1
                )
                for n, size in enumerate(sizes)
            ]
            gets = [
                get(**to(B), length_bytes=size, local_window=2, local_offset=0x200 * n + here, remote_offset=there)
                for n, size in enumerate(sizes)
            ]
            at.do(A, *puts)
            for n, size in enumerate(sizes):
                assert bytes_at(at, B, 1, 0x200 * n + there, size) == bytes_at(at, A, 0, here, size)
            replies = at.do(A, *gets)
            assert [event["manipulated_bytes"] for event in replies] == list(sizes)
            for n, size in enumerate(sizes):
                assert bytes_at(at, A, 2, 0x200 * n + here, size) == bytes_at(at, B, 1, there, size)


ATOMICS = [
    (AtomicOperation.SUM, AtomicType.UINT64, 1 << 63, 1 << 63, 0),
    (AtomicOperation.SUM, AtomicType.INT32, 0xFFFF_FFFF, 3, 2),
    (AtomicOperation.MIN, AtomicType.INT64, (1 << 64) - 5, 3, (1 << 64) - 5),
    (AtomicOperation.MIN, AtomicType.UINT64, (1 << 64) - 5, 3, 3),
    (AtomicOperation.MAX, AtomicType.INT32, 0x8000_0000, 1, 1),
    (AtomicOperation.MAX, AtomicType.UINT32, 0x8000_0000, 1, 0x8000_0000),
    (AtomicOperation.AND, AtomicType.UINT64, 0xFF00FF, 0x0FF0F0, 0x0F00F0),
    (AtomicOperation.OR, AtomicType.UINT32, 0x11, 0x22, 0x33),
    (AtomicOperation.XOR, AtomicType.INT64, 0x0F, 0xFF, 0xF0),
]


@widths
def test_atomics_and_fetches_change_memory_and_bring_back_what_stood_there(bits: int) -> None:
    with scene(bits) as at:
        at.open(B, user_data=3)
        for number, (operation, datum, old, operand, new) in enumerate(ATOMICS):
            size = datum.length_bytes
            at.put_bytes(B, 1, 8 * number, old.to_bytes(8, "little"))
            at.put_bytes(A, 0, 5, operand.to_bytes(8, "little"))
            fields = {**to(B), "length_bytes": size, "local_offset": 5, "remote_offset": 8 * number}
            at.do(A, fetch_atomic(operation, datum, get_window=2, get_offset=3, **fields))
            assert bytes_at(at, A, 2, 3, size) == old.to_bytes(8, "little")[:size]
            assert bytes_at(at, B, 1, 8 * number, size) == new.to_bytes(8, "little")[:size]
            at.put_bytes(B, 1, 8 * number, old.to_bytes(8, "little"))
            told = at.do(A, atomic(operation, datum, ack_request=AckRequest.FULL, **fields))
            assert [event["kind"] for event in told] == [EventKind.SEND, EventKind.ACK]
            assert bytes_at(at, B, 1, 8 * number, size) == new.to_bytes(8, "little")[:size]


@widths
@pytest.mark.parametrize(
    ("operation", "operand", "old", "new"),
    [
        (AtomicOperation.SWAP, None, 5, 9),
        (AtomicOperation.CSWAP, 5, 5, 9),
        (AtomicOperation.CSWAP, 4, 5, 5),
        (AtomicOperation.MSWAP, 0x0C, 0x1234, 0x1238),
    ],
)
def test_swaps(bits: int, operation: AtomicOperation, operand: int | None, old: int, new: int) -> None:
    with scene(bits) as at:
        at.open(B)
        words = ([operand] if operand is not None else []) + [9]
        at.put_bytes(A, 0, 4, b"".join(word.to_bytes(8, "little") for word in words))
        at.put_bytes(B, 1, 16, old.to_bytes(8, "little"))
        fields = {"length_bytes": 8, "local_offset": 4, "remote_offset": 16, "get_window": 2, "get_offset": 1}
        at.do(A, swap(AtomicType.UINT64, operation, **to(B), **fields))
        assert bytes_at(at, B, 1, 16, 8) == new.to_bytes(8, "little")
        assert bytes_at(at, A, 2, 1, 8) == old.to_bytes(8, "little")


@widths
def test_a_large_message_truncated_to_its_entry_says_so(bits: int) -> None:
    with scene(bits) as at:
        at.open(B, length_bytes=200, offset=8)
        before = bytes_at(at, B, 1, 208, 100)
        sent, answer = at.do(A, put(**to(B), length_bytes=300, remote_offset=50, ack_request=AckRequest.FULL))
        assert (sent["fail"], answer["fail"], answer["manipulated_bytes"]) == (Fail.OK, Fail.OK, 150)
        assert bytes_at(at, B, 1, 58, 150) == bytes_at(at, A, 0, 0, 150)
        assert bytes_at(at, B, 1, 208, 100) == before


@widths
def test_early_messages_wait_in_the_overflow_list_and_are_searched_and_claimed(bits: int) -> None:
    with scene(bits) as at:
        catch = append(List.OVERFLOW, pt_index=0, entry=1, window=2, length_bytes=0x1000, manage_local=1,
                       ignore_bits=(1 << 64) - 1, user_data=40, min_free=0x1000)  # fmt: skip
        at.do(B, portal(0), catch)
        at.post(A, put(**to(B), length_bytes=130, match_bits=6), get(**to(B), length_bytes=8, match_bits=7))
        told = at.rest()
        assert [e["kind"] for e in told[B]] == [EventKind.PUT, EventKind.AUTO_UNLINK]
        assert [e["fail"] for e in told[A] if e["kind"] == EventKind.REPLY] == [Fail.DROPPED]
        found, *rest = at.do(B, search(pt_index=0, match_bits=6, user_data=9, use_once=1))
        assert (found["kind"], found["user_data"], found["manipulated_bytes"], rest) == (EventKind.SEARCH, 9, 130, [])
        told_b = at.do(
            B,
            search(pt_index=0, match_bits=5, user_data=8),
            append(pt_index=0, entry=2, window=1, length_bytes=500, match_bits=6, use_once=1, user_data=41),
        )
        assert [(e["kind"], e["user_data"], e["fail"]) for e in told_b] == [
            (EventKind.SEARCH, 8, Fail.NO_MATCH),
            (EventKind.PUT_OVERFLOW, 41, Fail.OK),
            (EventKind.AUTO_FREE, 40, Fail.OK),
            (EventKind.AUTO_UNLINK, 41, Fail.OK),
        ]
        assert bytes_at(at, B, 2, 0, 130) == bytes_at(at, A, 0, 0, 130)


@widths
def test_a_portal_with_flow_control_stops_tells_and_goes_on(bits: int) -> None:
    with scene(bits) as at:
        at.do(B, portal(3, flow_control=True))
        wanted = put(**to(B), pt_index=3, length_bytes=8, ack_request=AckRequest.FULL, event_send_disable=1)
        at.post(A, wanted, wanted)
        told = at.rest()
        assert [e["fail"] for e in told[A]] == [Fail.PT_DISABLED] * 2
        assert said(told[B]) == meant({"kind": EventKind.PT_DISABLED, "pt_index": 3})
        at.do(B, append(pt_index=3, entry=0, window=1, length_bytes=64), portal_do(Operation.PT_ENABLE, 3))
        assert [e["fail"] for e in at.do(A, wanted)] == [Fail.OK]
        assert at.board.page(B, "DROPPED") == 2


@widths
def test_a_full_event_queue_stops_a_portal_and_lets_commands_wait(bits: int) -> None:
    with scene(bits, event_log2={B: 2}) as at:
        at.do(B, portal(1, flow_control=True), append(pt_index=1, entry=0, window=1, length_bytes=64))
        wanted = put(**to(B), pt_index=1, length_bytes=8, ack_request=AckRequest.FULL, event_send_disable=1)
        at.write_ring(A, *[wanted] * 6)
        assert at.board.ring(A) == OKAY
        at.simulator.settle()
        assert at.board.page(B, "EVENT_TAIL") == 4
        assert at.board.page(B, "DROPPED") == 2
        # Its own command waits for a place, too, and the event PT_DISABLED is not forgotten.
        at.write_ring(B, put(**to(A), length_bytes=0, user_data=5))
        assert at.board.ring(B) == OKAY
        at.simulator.settle()
        assert at.board.page(B, "COMMAND_HEAD") == 2
        first = at.board.events(B)
        at.simulator.settle()
        told = [*first, *at.board.events(B)]
        kinds = [words[0] & 0xFF for words in told]
        assert kinds[:4] == [EventKind.PUT] * 4
        assert sorted(kinds[4:]) == [EventKind.SEND, EventKind.PT_DISABLED]
        assert [words[7] & 0xFFFF_FFFF for words in told] == [1, 2, 3, 4, 5, 6]
        fails = [words[7] >> 40 & 0xFF for words in at.board.events(A)]
        assert fails == [Fail.OK] * 4 + [Fail.PT_DISABLED] * 2


@widths
def test_counters_are_set_and_incremented_by_commands(bits: int) -> None:
    with scene(bits) as at:
        assert at.do(A, counter_set(1, 5, 6), counter_increment(1, (1 << 64) - 1, 1)) == []
        assert at.board.counter(A, 1) == (4, 7)


@widths
def test_an_unlinked_entry_and_a_freed_portal_take_nothing_any_more(bits: int) -> None:
    with scene(bits) as at:
        at.open(B, pt_index=2)
        wanted = put(**to(B), pt_index=2, ack_request=AckRequest.FULL, event_send_disable=1)
        assert [e["fail"] for e in at.do(A, wanted)] == [Fail.OK]
        at.do(B, unlink(2), portal_do(Operation.PT_FREE, 2))
        assert [e["fail"] for e in at.do(A, wanted)] == [Fail.DROPPED]


@widths
def test_three_nodes_at_once_under_stalls_everywhere(bits: int) -> None:
    slow = Settings(memory_stall=200, fabric_stall=200, read_latency=50, write_latency=50, transit=100, seed=5)
    with scene(bits, settings=slow) as at:
        everybody = at.board.everybody
        for who in everybody:
            at.open(who, event_comm_disable=1, ct_comm=1, counter=0)
        chooser = random.Random(2)
        for who in everybody:
            area = 0x400 * everybody.index(who)
            at.write_ring(
                who,
                *(
                    put(
                        **to(peer), length_bytes=chooser.randrange(400), local_offset=chooser.randrange(100),
                        remote_offset=area, ct_send=1, counter=1, event_send_disable=1,
                    )
                    for peer in everybody
                ),
            )  # fmt: skip
        for who in everybody:
            assert at.board.ring(who) == OKAY
        at.rest()
        for who in everybody:
            assert at.board.counter(who, 0) == (9, 0)
            assert at.board.counter(who, 1) == (9, 0)


@widths
def test_memory_that_errs_poisons_what_is_sent_and_is_told_at_both_ends(bits: int) -> None:
    size = bits // 8
    with scene(bits) as at:
        at.open(B)
        at.open(B, pt_index=1, window=0)
        fields = {**to(B), "length_bytes": 300, "ack_request": AckRequest.FULL}
        at.bad_words(0, [(Place(0).window(0) + 200) // size])  # in the second of three packets
        at.post(A, put(**fields))
        told = at.rest()
        assert [(e["kind"], e["fail"]) for e in told[A]] == [
            (EventKind.SEND, Fail.SEGMENT),
            (EventKind.ACK, Fail.UNDELIVERABLE),
        ]
        assert [(e["kind"], e["fail"], e["manipulated_bytes"]) for e in told[B]] == [
            (EventKind.PUT, Fail.UNDELIVERABLE, 0)
        ]
        at.bad_words(0, ())
        at.bad_words(1, [(Place(0).window(1) + 200) // size, (Place(0).window(0) + 290) // size])
        at.post(A, put(**fields), get(**to(B), pt_index=1, length_bytes=300, local_window=1))
        told = at.rest()
        assert sorted((e["kind"], e["fail"]) for e in told[A]) == [
            (EventKind.REPLY, Fail.SEGMENT),
            (EventKind.SEND, Fail.OK),
            (EventKind.ACK, Fail.SEGMENT),
        ]
        assert [(e["kind"], e["fail"]) for e in told[B]] == [
            (EventKind.PUT, Fail.SEGMENT),
            (EventKind.GET, Fail.SEGMENT),
        ]


@widths
def test_an_event_queue_and_a_ring_that_err_are_counted(bits: int) -> None:
    size = bits // 8
    with scene(bits) as at:
        board, simulator = at.board, at.simulator
        simulator.bad[0][(Place(0).ring + 64) // size] = 1
        board.post(A, put(**to(B), event_send_disable=1), put(**to(B), user_data=1), put(**to(B), user_data=2))
        simulator.settle()
        told = [(words[0] & 0xFF, words[7] >> 40 & 0xFF) for words in board.events(A)]
        assert told == [(EventKind.REFUSED, 13), (EventKind.SEND, 0)]
        assert simulator.value(0, "MEMORY_ERROR") == 1
        simulator.bad[0][(Place(0).queue + 64 * 2) // size] = 1
        board.post(A, put(**to(B), user_data=3), put(**to(B), user_data=4))
        simulator.settle()
        assert simulator.value(0, "MEMORY_ERROR") == 2
        assert board.page(A, "EVENT_TAIL") == 4
        assert board.page(A, "COMMAND_HEAD") == 5


@widths
def test_windows_and_rights_are_looked_at_for_every_message(bits: int) -> None:
    with scene(bits) as at:
        at.open(B, pt_index=0, window=2)
        at.window(A, 2, Window(base=Place(0).window(2), length=64, rights=Right.LOCAL_READ))
        at.window(B, 2, Window(base=Place(0).window(2), length=0x1000, rights=Right.REMOTE_READ))
        fine = {**to(B), "local_window": 2, "length_bytes": 64}
        refused = [
            put(**(fine | {"length_bytes": 65})),
            put(**(fine | {"local_offset": 1})),
            put(**(fine | {"local_offset": (1 << 48) - 64})),
            put(**(fine | {"local_window": 3})),
            get(**fine),
            fetch_atomic(AtomicOperation.SUM, AtomicType.INT64, **fine, get_window=2),
        ]
        told = at.do(A, *refused)
        assert [(e["kind"], e["fail"]) for e in told] == [(EventKind.REFUSED, 4)] * len(refused)
        at.post(A, put(**fine, ack_request=AckRequest.FULL), get(**to(B), local_window=1, length_bytes=64))
        told_all = at.rest()
        assert sorted((e["kind"], e["fail"]) for e in told_all[A]) == [
            (EventKind.REPLY, Fail.OK),
            (EventKind.SEND, Fail.OK),
            (EventKind.ACK, Fail.SEGMENT),
        ]
