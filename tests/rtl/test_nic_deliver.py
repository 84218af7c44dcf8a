"""The deliverer of requests against a plain model: all operations, damaged messages, restarts, and how many cycles."""

import random
from itertools import pairwise
from typing import Any

import pytest

from rtl.nic.parameters import NicParameters
from rtl.portals import (
    ATOMIC_OPERATIONS,
    DATA_OPERATIONS,
    EVENT,
    FETCHING_OPERATIONS,
    MAX_ATOMIC_BYTES,
    AtomicOperation,
    AtomicType,
    EventKind,
    Fail,
    Operation,
)
from tests.rtl.deliver_bench import Bench
from tests.rtl.deliver_model import FIRST_EPOCH, Entry, Model, Packet, Window, complete

MTU_BYTES = 128
WINDOWS = {
    (0, 0): Window(address=0x100, bytes=0x300),
    (0, 1): Window(address=0x403, bytes=0x1F0, remote_write=False),
    (1, 0): Window(address=0x608, bytes=0x300),
    (1, 1): Window(address=0xA01, bytes=0x1F0, remote_read=False),
}


def parameters(datapath_bits: int = 64, mtu_bytes: int = MTU_BYTES) -> NicParameters:
    return NicParameters(contexts=2, windows=2, nodes=3, mtu_bytes=mtu_bytes, datapath_bits=datapath_bits)


def message(
    operation: int, *, number: int, context: int = 0, length: int = 8, mtu: int = MTU_BYTES, **fields: Any
) -> list[Packet]:
    """The packets of message `number`, which is its header_data and seeds what is in it."""
    source = random.Random(number)
    header = {
        "kind": operation,
        "pt_index": source.getrandbits(8),
        "src_pid": source.getrandbits(16),
        "jid": source.getrandbits(32),
        "src_nid": 1,
        "lane": 0,
        "message_bytes": length,
        "remote_offset": source.getrandbits(64),
        "match_bits": source.getrandbits(64),
        "header_data": number,
        **fields,
    }
    if operation == Operation.GET:
        return [Packet(context=context, header={**header, "first": 1, "last": 1})]
    text = source.randbytes(length)
    if operation != Operation.PUT:
        conditional = fields.get("atomic_operation") in (AtomicOperation.CSWAP, AtomicOperation.MSWAP)
        payload = (source.randbytes(8) if conditional else b"") + text
        return [Packet(context=context, header={**header, "first": 1, "last": 1}, payload=payload)]
    packets = []
    for offset in range(0, max(length, 1), mtu):
        ends = {"first": int(offset == 0), "last": int(offset + mtu >= length), "segment_offset": offset}
        packets.append(Packet(context=context, header={**header, **ends}, payload=text[offset : offset + mtu]))
    return packets


def traffic(source: random.Random, count: int) -> tuple[list[Packet], dict[int, Entry]]:
    """Messages of several sources, interleaved; some packets are lost, some messages are cut short or poisoned."""
    lanes: dict[tuple[int, int], list[Packet]] = {}
    entries = {}
    for number in range(count):
        lane = (source.randrange(3), source.randrange(2))
        context = source.randrange(2)
        operation = source.choice([*DATA_OPERATIONS, *ATOMIC_OPERATIONS, *[Operation.PUT] * 6])
        fields: dict[str, int] = {"src_nid": lane[0], "lane": lane[1]}
        if operation == Operation.PUT:
            length = source.choice([0, 1, 100, 128, 129, 256, 300, 384])
        elif operation == Operation.GET:
            length = source.choice([0, 1, 100, 1000])
        else:
            fields["atomic_type"] = source.choice(list(AtomicType))
            datum = AtomicType(fields["atomic_type"]).length_bytes
            allowed = [op for op in AtomicOperation if (op >= AtomicOperation.SWAP) == (operation == Operation.SWAP)]
            fields["atomic_operation"] = source.choice(allowed)
            one = fields["atomic_operation"] in (AtomicOperation.CSWAP, AtomicOperation.MSWAP)
            length = datum if one else datum * source.randrange(1, MAX_ATOMIC_BYTES // datum + 1)
        if operation not in FETCHING_OPERATIONS:
            fields["ack_request"] = source.choice([0, 0, 1, 2])
        if operation in FETCHING_OPERATIONS or fields["ack_request"]:
            fields |= {"handle": source.getrandbits(16), "generation": source.getrandbits(8)}
        packets = message(operation, number=number, context=context, length=length, **fields)
        matched = source.choice([length, length, length, source.randint(0, length)])
        start = source.choice([8 * source.randrange(12), 8 * source.randrange(64), source.randrange(0x300)])
        entries[number] = Entry.arbitrary(source, bytes=matched, start=start)
        lanes.setdefault(lane, []).extend(_damaged(source, packets))
    mixed = []
    while waiting := [packets for packets in lanes.values() if packets]:
        mixed.append(source.choice(waiting).pop(0))
    return mixed, entries


def _damaged(source: random.Random, packets: list[Packet]) -> list[Packet]:
    fate = source.random()
    chosen = source.randrange(len(packets))
    if fate < 0.15:
        return packets[:chosen] + packets[chosen + 1 :]
    if fate < 0.25:
        packets[chosen].poisoned = True
        if source.random() < 0.5:
            return packets[: chosen + 1]
    elif fate < 0.4 and chosen:
        packets[chosen].header |= {"aborted": 1, "last": 1}
        packets[chosen].payload = b""
        return packets[: chosen + 1]
    return packets


def check(bench: Bench, packets: list[Packet], entries: dict[int, Entry], steer: Any = None) -> Model:
    """What the deliverer did with `packets` is what the model does."""
    model = Model(bytearray(bench.memory.data), WINDOWS, entries, set(bench.memory.bad_writes))
    for packet in packets:
        model.take(packet)
    bench.packets, bench.entries = list(packets), entries
    bench.run(steer)
    assert bench.asked == model.asked
    assert bench.refusals == model.refusals
    for told, expected in zip(bench.told, model.told, strict=False):
        assert told[:4] == expected[:4]
        assert told.writes >= expected.writes, f"memory has not answered all writes before {told}"
    assert len(bench.told) == len(model.told)
    assert bench.memory.data == model.memory
    assert bench.delivered == model.delivered
    return model


@pytest.mark.parametrize(
    ("datapath_bits", "stall", "seed"), [(64, 0.0, 22), (128, 0.3, 22), (64, 0.5, 376), (128, 0.1, 312)]
)
def test_all_operations_with_damage_and_back_pressure(datapath_bits: int, stall: float, seed: int) -> None:
    source = random.Random(seed)
    packets, entries = traffic(source, 36)
    bench = Bench(parameters(datapath_bits), WINDOWS, stall=stall, latency=source.randrange(3, 12), seed=seed)
    bench.memory.bad_writes = {0x148, 0x700}
    model = check(bench, packets, entries)
    assert {told.kind for told in model.told} == {"event", "release", "finish", "answer", "atomic"}
    fails = {told.detail[0]["fail"] for told in model.told if told.kind == "event" and told.detail[0]}
    assert fails == {Fail.OK, Fail.UNDELIVERABLE, Fail.SEGMENT, Fail.ARGUMENT}
    assert model.refusals


@pytest.mark.parametrize("operation", DATA_OPERATIONS)
def test_a_message_that_another_one_of_its_source_abandons(operation: Operation) -> None:
    """AUTO_UNLINK and its counter tell of it; its other place is given back and its end is told, once."""
    options = {"event_success_disable": 1, "ct_comm": 1}
    entries = {
        1: Entry(number=6, bytes=200, overflow=1, header=9, unlinked=1, user_data=5, counter=3, options=options),
        2: Entry(bytes=8, overflow=1, header=7, unlinked=1, options=options),
    }
    fields = {"atomic_operation": AtomicOperation.SWAP, "atomic_type": AtomicType.INT64}
    packets = message(Operation.PUT, number=1, length=200, pt_index=3)[:1]
    packets += message(operation, number=2, context=1, **(fields if operation in ATOMIC_OPERATIONS else {}))
    bench = Bench(parameters(), WINDOWS)
    model = check(bench, packets, entries)
    unlink = {"kind": EventKind.AUTO_UNLINK, "pt_index": 3, "user_data": 5, "fail": Fail.UNDELIVERABLE, "list": 1}
    assert [told[:4] for told in model.told[:3]] == [
        ("release", 0, FIRST_EPOCH, 1),
        ("event", 0, FIRST_EPOCH, (complete(EVENT, unlink), (3, 0, 1))),
        ("finish", 0, FIRST_EPOCH, (6, 1, 9, True)),
    ]
    assert model.refusals == [(0, packets[1].identity)]
    assert bench.told_when_asked == [0, 3], "the new message is matched when all is given back"


def test_a_packet_of_another_context_does_not_go_on_with_a_message() -> None:
    """It is refused; the message that is under way from the same lane goes on."""
    packets = message(Operation.PUT, number=1, length=200)
    packets.insert(1, Packet(context=1, header=packets[1].header, payload=packets[1].payload))
    model = check(Bench(parameters(), WINDOWS), packets, {1: Entry(bytes=200)})
    assert model.refusals == [(1, packets[1].identity)]
    assert model.delivered == 1


@pytest.mark.parametrize(
    ("kind", "start", "fail"),
    [
        (AtomicType.UINT64, 4, Fail.ARGUMENT),
        (AtomicType.UINT64, 8, Fail.OK),
        (AtomicType.INT32, 4, Fail.OK),
        (AtomicType.INT32, 6, Fail.ARGUMENT),
    ],
)
def test_an_atomic_is_aligned_to_its_datum(kind: AtomicType, start: int, fail: Fail) -> None:
    fields = {"atomic_operation": AtomicOperation.SUM, "atomic_type": kind}
    packets = message(Operation.ATOMIC, number=1, length=8, **fields)
    bench = Bench(parameters(), WINDOWS)
    check(bench, packets, {1: Entry(bytes=8, start=start)})
    assert [told.detail[0]["fail"] for told in bench.told if told.kind == "event"] == [fail]


@pytest.mark.parametrize("operation", DATA_OPERATIONS)
def test_a_start_beyond_all_addresses_is_in_no_window(operation: Operation) -> None:
    """Not even if it would be inside without its highest bit."""
    fields = {"atomic_operation": AtomicOperation.SWAP, "atomic_type": AtomicType.INT64}
    packets = message(operation, number=1, length=8, **(fields if operation in ATOMIC_OPERATIONS else {}))
    bench = Bench(parameters(), WINDOWS)
    model = check(bench, packets, {1: Entry(bytes=8, start=(1 << 48) + 8)})
    assert model.delivered == 0


def test_answers_of_memory_that_come_early_keep_their_order() -> None:
    """One of several puts meets an error of memory while the first one's event waits."""
    bench = Bench(parameters(), WINDOWS, match_cycles=1, latency=3)
    bench.memory.bad_writes = {0x120}
    packets = [packet for number in range(5) for packet in message(Operation.PUT, number=number)]

    def steer(_: Any, cycle: int) -> None:
        bench.events_blocked = cycle < 100

    check(bench, packets, {number: Entry(bytes=8, start=16 * number) for number in range(5)}, steer)
    fails = [told.detail[0]["fail"] for told in bench.told if told.kind == "event"]
    assert fails == [Fail.OK, Fail.OK, Fail.SEGMENT, Fail.OK, Fail.OK]


def test_a_put_by_hand() -> None:
    """100 bytes of which 40 fit, 16 bytes into window 0 of context 1: everything that is told of it, as numbers."""
    put = message(Operation.PUT, number=5, context=1, length=100, ack_request=1, handle=0x31, generation=9)[0]
    put.header |= {
        "pt_index": 3,
        "src_nid": 2,
        "src_pid": 0x101,
        "jid": 0x7000,
        "remote_offset": 16,
        "match_bits": 0xAB,
    }
    options = {"ct_comm": 1, "ct_bytes": 1, "event_unlink_disable": 0}
    entry = Entry(start=16, bytes=40, remote_offset=16, unlinked=1, user_data=0xFEED, counter=7, options=options)
    bench = Bench(parameters(), WINDOWS)
    before = bytes(bench.memory.data)
    bench.packets, bench.entries = [put], {5: entry}
    bench.run()
    assert bench.memory.data == before[:0x618] + put.payload[:40] + before[0x640:]
    event, unlink, end, answer = bench.told
    assert end.kind == "finish"
    assert event.detail[1] == (7, 40, 0)
    assert {name: value for name, value in event.detail[0].items() if value} == {
        "kind": 3,
        "pt_index": 3,
        "start_offset": 16,
        "src_nid": 2,
        "src_pid": 0x101,
        "jid": 0x7000,
        "requested_bytes": 100,
        "manipulated_bytes": 40,
        "remote_offset": 16,
        "match_bits": 0xAB,
        "header_data": 5,
        "user_data": 0xFEED,
    }
    assert {name: value for name, value in unlink.detail[0].items() if value} == {
        "kind": 14,
        "pt_index": 3,
        "user_data": 0xFEED,
    }
    assert answer.detail == {
        "dst_nid": 2,
        "dst_pid": 0x101,
        "kind": 65,
        "pt_index": 3,
        "manipulated_bytes": 40,
        "remote_offset": 16,
        "handle": 0x31,
        "generation": 9,
    }


@pytest.mark.parametrize("datapath_bits", [64, 128])
def test_small_puts_follow_each_other_in_seven_cycles(datapath_bits: int) -> None:
    """With a match of 5 cycles and memory that answers 10 cycles after the data."""
    bench = Bench(parameters(datapath_bits), WINDOWS, match_cycles=5, latency=10)
    packets = [packet for number in range(8) for packet in message(Operation.PUT, number=number, ack_request=1)]
    check(bench, packets, {number: Entry(bytes=8) for number in range(8)})
    events = bench.cycles["event"]
    assert max(b - a for a, b in pairwise(events)) <= 7
    assert bench.cycles["write"][0] - bench.cycles["header"][0] <= 5 + 3
    assert events[0] - bench.cycles["header"][0] <= 5 + 3 + 11


@pytest.mark.parametrize("datapath_bits", [64, 128])
def test_large_puts_are_written_a_flit_per_cycle(datapath_bits: int) -> None:
    sizes = parameters(datapath_bits, mtu_bytes=256)
    bench = Bench(sizes, WINDOWS, match_cycles=5)
    packets = message(Operation.PUT, number=1, length=0x300, mtu=256)
    check(bench, packets, {1: Entry(bytes=0x300)})
    gaps = [b - a - 1 for a, b in pairwise(bench.cycles["flit"])]
    assert len(gaps) == 0x300 // sizes.datapath_bytes - 1
    assert sorted(gaps)[-2:] == [1, 1]
    assert sum(gaps) == 2, "only between the packets"


def test_no_packet_is_begun_without_room_for_its_answer() -> None:
    """Acknowledgements that do not leave stop the taking of packets, of all kinds, until there is room again."""
    bench = Bench(parameters(), WINDOWS, match_cycles=1, latency=2)
    packets = [packet for number in range(20) for packet in message(Operation.PUT, number=number, ack_request=2)]
    taken = []

    def steer(_: Any, cycle: int) -> None:
        bench.answers_blocked = cycle < 400
        if cycle == 399:
            taken.append(20 - len(bench.packets))

    bench.packets, bench.entries = packets, {number: Entry(bytes=8) for number in range(20)}
    bench.run(steer)
    assert 5 <= taken[0] <= 8
    assert bench.delivered == 20


def test_what_was_admitted_in_another_life_is_dropped_before_it_is_matched() -> None:
    """A packet waits for room for its answer while its context is restarted."""
    bench = Bench(parameters(), WINDOWS, latency=2)
    packets = [packet for number in range(12) for packet in message(Operation.PUT, number=number, ack_request=2)]
    late = message(Operation.PUT, number=50, context=1)
    asked = []

    def steer(ctx: Any, cycle: int) -> None:
        bench.answers_blocked = cycle < 400
        if cycle == 399:
            asked.extend(bench.asked)
            del bench.packets[1:]
            bench.packets += late
            _restart(ctx, bench)

    bench.packets, bench.entries = packets, {number: Entry(bytes=8) for number in (*range(12), 50)}
    bench.run(steer)
    assert len(asked) < 12
    assert bench.asked == [*asked, 50]
    assert bench.refusals == []
    assert bench.delivered == len(asked) + 1


def test_a_message_is_not_gone_on_with_256_lives_later() -> None:
    """The first packet is one of life FIRST_EPOCH; the second one is admitted to one that agrees with it in 8 bits."""
    first, second = message(Operation.PUT, number=1, length=200)
    others = [
        packet for number in range(2, 6) for packet in message(Operation.PUT, number=number, context=1, src_nid=2)
    ]
    bench = Bench(parameters(), WINDOWS)

    def steer(ctx: Any, cycle: int) -> None:
        if cycle == 40:
            assert bench.asked[0] == 1
            ctx.set(bench.block.states[0].epoch, FIRST_EPOCH + 256)
            bench.packets.append(second)

    bench.packets, bench.entries = [first, *others], {number: Entry(bytes=200) for number in range(1, 6)}
    bench.run(steer)
    assert bench.refusals == [(0, second.identity)]
    assert bench.delivered == len(others)


def _restart(ctx: Any, bench: Bench) -> None:
    ctx.set(bench.block.states[0].epoch, FIRST_EPOCH + 1)


@pytest.mark.parametrize(
    ("operation", "restart"),
    [
        (Operation.PUT, 5),  # in the match
        (Operation.PUT, 12),  # in the first packet's payload
        (Operation.PUT, 26),  # in the second one's
        (Operation.GET, 11),
        (Operation.FETCH_ATOMIC, 14),  # before the atomic
        (Operation.FETCH_ATOMIC, 20),  # in the midst of it
    ],
)
def test_a_restart_ends_what_is_under_way_in_silence(operation: Operation, restart: int) -> None:
    """A message is followed by one of another context; the first one's is restarted in cycle `restart`."""
    fields = {
        Operation.PUT: {"ack_request": 1},
        Operation.GET: {},
        Operation.FETCH_ATOMIC: {"atomic_type": AtomicType.UINT64, "atomic_operation": AtomicOperation.SUM},
    }[operation]
    length = 200 if operation == Operation.PUT else 16
    packets = message(operation, number=1, length=length, **fields)
    packets += message(Operation.PUT, number=2, context=1, src_nid=2)
    entries = {1: Entry(start=8, bytes=length, overflow=1, unlinked=1), 2: Entry(bytes=8)}
    bench = Bench(parameters(), WINDOWS, match_cycles=3, latency=4)
    model = Model(bytearray(bench.memory.data), WINDOWS, entries)
    for packet in packets:
        model.take(packet)
    bench.packets, bench.entries = packets, entries

    def steer(ctx: Any, cycle: int) -> None:
        if cycle == restart:
            _restart(ctx, bench)

    bench.run(steer)
    told = [told[:4] for told in bench.told]
    expected = [told[:4] for told in model.told]
    follows = [told[:4] for told in model.told if told.context == 1]
    assert told == expected[: len(told) - len(follows)] + follows
    assert not [told for told in bench.told if told.kind == "answer"]
    written = zip(bench.cycles["write"], _written(bench), strict=True)
    assert all(cycle <= restart + 1 for cycle, address in written if address < 0x400)


def _written(bench: Bench) -> list[int]:
    return [address for kind, address, _ in bench.memory.log if kind == "write"]
