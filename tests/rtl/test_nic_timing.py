"""The whole NIC: cycles. How soon the first word leaves, how fast the others follow, and what a refusal costs."""

import random
from itertools import pairwise

import pytest
from nic_bench import DATA, OKAY, Bench

from rtl.packet import Operation, pack, packet_words, unpack

LATENCY_CYCLES = 5
MTU_BYTES = 1024
MOST_CYCLES_TO_FIRST_WORD = 40


def put(payload: bytes = b"", **header: int) -> list[int]:
    fields = {"dst_nid": 1, "dst_pid": 0x100, "operation": Operation.PUT, "src_nid": 2, "src_pid": 3, "jid": 0x7000}
    return pack(payload, **{**fields, **header})


def test_the_first_word_leaves_soon_and_the_others_follow_one_per_cycle() -> None:
    bench = Bench(mtu_bytes=MTU_BYTES, latency=LATENCY_CYCLES)

    async def test() -> None:
        await bench.boot()
        bench.post(length_bytes=MTU_BYTES)
        rung = bench.fabric.cycle
        assert await bench.ring() == OKAY
        await bench.settle()
        cycles = bench.fabric.word_cycles
        assert len(cycles) == packet_words(MTU_BYTES)
        assert cycles[0] - rung <= MOST_CYCLES_TO_FIRST_WORD + LATENCY_CYCLES
        # The header goes out while the payload is still on its way; from the payload's first word on there is no gap.
        payload = cycles[5:]
        assert payload == list(range(payload[0], payload[0] + len(payload)))
        assert payload[0] - cycles[0] <= 5 + LATENCY_CYCLES

    bench.run(test)


def test_packets_are_received_one_word_per_cycle_while_the_one_before_is_delivered() -> None:
    bench = Bench(mtu_bytes=MTU_BYTES, latency=LATENCY_CYCLES)

    async def test() -> None:
        await bench.boot()
        bench.fabric.inject(put(bytes(MTU_BYTES - 8)))
        bench.fabric.inject(put(bytes(MTU_BYTES - 8)))
        await bench.settle()

    bench.run(test)
    first, second = bench.fabric.taken_cycles
    assert second - first == packet_words(MTU_BYTES - 8)


@pytest.mark.parametrize("change", [{"dst_nid": 3}, {"jid": 1}, {"window": 9}, {"remote_offset": 4}])
def test_refused_packets_are_consumed_at_link_rate(change: dict[str, int]) -> None:
    """Even the shortest that admission refuses; `change` without a payload would be no offence for a window."""
    bench = Bench()
    payload = b"12345678" if "window" in change else b""

    async def test() -> None:
        await bench.boot()
        for _ in range(8):
            bench.fabric.inject(put(payload, **change))
        await bench.settle()

    bench.run(test)
    cycles = bench.fabric.taken_cycles
    assert [after - before for before, after in pairwise(cycles)] == [packet_words(len(payload))] * 7


def test_a_full_queue_and_a_blocked_fabric_stall_no_packet() -> None:
    """Whatever a process does with its doorbells, the receiving side goes on."""
    bench = Bench()

    async def test() -> None:
        await bench.boot(queue_log2=0)
        bench.fabric.blocked = True
        for _ in range(4):
            bench.post(notify=1, length_bytes=64)
        assert await bench.ring() == OKAY
        for number in range(5):
            bench.fabric.inject(put(b"12345678", dst_pid=0x100 + number % 2))
        while not bench.fabric.empty:
            await bench.ticks()
        await bench.ticks(60)
        assert await bench.value("PACKETS_DELIVERED") == 2
        assert await bench.value("EVENT_QUEUE_FULL") == 3
        assert not bench.ctx.get(bench.nic.quiescent)
        bench.fabric.blocked = False
        await bench.settle()
        assert len(bench.fabric.sent) == 4

    bench.run(test)


@pytest.mark.parametrize("seed", range(3))
def test_random_traffic_both_ways_with_stalls_everywhere(seed: int) -> None:
    """Puts of random lengths and places in both directions at once; the model is a plain byte array."""
    source = random.Random(seed)
    bench = Bench(mtu_bytes=256, stall=source.choice([0.2, 0.5]), latency=source.randrange(1, 9))
    incoming = 0x2000
    bench.memory.data[DATA : DATA + 0x400] = source.randbytes(0x400)
    expected = bytearray(bench.memory.data[DATA + incoming : DATA + incoming + 0x800])
    payloads: list[bytes] = []

    async def test() -> None:
        await bench.boot(queue_log2=4)
        await bench.open_window(1, 1, DATA + incoming, 0x800)
        for _ in range(4):
            for _ in range(3):
                length, offset = source.randrange(257), 8 * source.randrange(90)
                bench.post(length_bytes=length, local_offset=offset)
                payloads.append(bytes(bench.memory.data[DATA + offset : DATA + offset + length]))
                payload, offset = source.randbytes(source.randrange(257)), 8 * source.randrange(200)
                expected[offset : offset + len(payload)] = payload
                bench.fabric.inject(put(payload, dst_pid=0x101, window=1, remote_offset=offset))
            assert await bench.ring() == OKAY
            await bench.settle()
        assert await bench.value("PACKETS_DELIVERED") == 12
        assert bench.memory.data[DATA + incoming : DATA + incoming + 0x800] == expected
        assert [unpack(words)[1] for words in bench.fabric.sent] == payloads

    bench.run(test)
    assert bench.quiet_edges > 0


def test_after_quiescent_nothing_happens() -> None:
    bench = Bench()

    async def test() -> None:
        await bench.boot()
        for number in range(3):
            bench.post(length_bytes=8 * number, notify=number & 1, operation=1 + (number == 2))
            bench.fabric.inject(put(bytes(8 * number)))
        assert await bench.ring() == OKAY
        await bench.settle()
        port, nic = bench.nic.memory, bench.nic
        outputs = (
            nic.quiescent,
            nic.interrupt,
            nic.o_packet.valid,
            port.arvalid,
            port.awvalid,
            port.wvalid,
            nic.bus.bvalid,
            nic.bus.rvalid,
        )
        accesses = len(bench.memory.reads) + len(bench.memory.writes)
        for _ in range(200):
            assert [bench.ctx.get(output) for output in outputs] == [1, 1, 0, 0, 0, 0, 0, 0]
            await bench.ticks()
        assert len(bench.memory.reads) + len(bench.memory.writes) == accesses
        assert bench.quiet_edges >= 200

    bench.run(test)
