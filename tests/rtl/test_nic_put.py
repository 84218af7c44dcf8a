"""The whole NIC: puts out and in, judged by the packet layout and by hand-worked bytes."""

import random

import pytest
from nic_bench import DATA, OKAY, Bench

from rtl.descriptors import EventKind
from rtl.packet import Operation, pack, unpack

MTU_BYTES = 1024
LENGTHS = (0, 1, 7, 8, 9, 63, 64, MTU_BYTES)
FOREIGN = {"src_nid": 2, "src_pid": 0x55, "jid": 0x7000}

# By hand: word 0 = dst_nid 0x0002, dst_pid 0x0055, operation 01, window 03, length 0x0009; word 1 = src_nid 0x0001,
# src_pid 0x0100, jid 0x00007000; then offset 0x40, match bits, header data, 9 bytes "Nimble!!?" padded with zeros.
# The CRC is what `python3 -c "import zlib; print(hex(zlib.crc32(bytes.fromhex(...))))"` prints for the bytes.
HAND_WORKED = bytes.fromhex(
    "0200550001030900010000010070000040000000000000008877665544332211efcdab89674523014e696d626c6521213f00000000000000"
)
HAND_WORKED_CRC = 0x901D0130


def test_packet_is_the_one_written_by_hand() -> None:
    bench = Bench()

    async def test() -> None:
        await bench.boot()
        bench.memory.data[DATA + 8 : DATA + 8 + 16] = b"Nimble!!?secrets"
        bench.post(
            dst_nid=2,
            dst_pid=0x55,
            remote_window=3,
            length_bytes=9,
            local_offset=8,
            remote_offset=0x40,
            match_bits=0x1122334455667788,
            header_data=0x0123456789ABCDEF,
        )
        assert await bench.ring() == OKAY
        await bench.settle()
        assert b"".join(word.to_bytes(8, "little") for word in bench.fabric.sent[0]) == HAND_WORKED + (
            HAND_WORKED_CRC.to_bytes(8, "little")
        )

    bench.run(test)


@pytest.mark.parametrize("stall", [0.0, 0.4])
def test_puts_of_all_lengths_leave_and_are_reported(stall: float) -> None:
    """Each from its own place; the window begins so that the longest crosses a boundary of 4 KiB."""
    bench = Bench(mtu_bytes=MTU_BYTES, stall=stall)
    base = DATA + 0x1000 - 0x208
    bench.memory.data[DATA : DATA + 0x3000] = random.Random(3).randbytes(0x3000)

    async def test() -> None:
        await bench.boot()
        await bench.open_window(0, 1, base, MTU_BYTES + 64)
        for number, length in enumerate(LENGTHS):
            bench.post(
                local_window=1,
                local_offset=8 * number,
                length_bytes=length,
                remote_offset=16 * number,
                notify=number % 2,
                user_data=number,
            )
            assert await bench.ring() == OKAY
            await bench.settle()
            header, payload = unpack(bench.fabric.sent[number])
            assert payload == bytes(bench.memory.data[base + 8 * number : base + 8 * number + length])
            assert (header["length_bytes"], header["remote_offset"]) == (length, 16 * number)
            assert (header["src_nid"], header["src_pid"], header["jid"]) == (1, 0x100, 0x7000)
        for reported, number in enumerate(range(1, len(LENGTHS), 2)):
            event = bench.event(reported)
            assert (event["kind"], event["user_data"]) == (EventKind.SENT, number)
            assert event["length_bytes"] == LENGTHS[number]
        assert await bench.value("PACKETS_SENT") == len(LENGTHS)
        assert await bench.value("PAGE[0].COMMAND_HEAD") == len(LENGTHS)
        assert await bench.value("EVENTS_WRITTEN") == len(LENGTHS) // 2

    bench.run(test)
    assert bench.quiet_edges > 0
    payload_reads = [(address, words) for address, words in bench.memory.reads if address >= DATA]
    assert all(base <= address and address + 8 * words <= base + MTU_BYTES + 64 for address, words in payload_reads)


@pytest.mark.parametrize("stall", [0.0, 0.4])
def test_puts_of_all_lengths_arrive(stall: float) -> None:
    """Bytes of the window beyond the payload stay as they were; the event tells what the packet said."""
    bench = Bench(mtu_bytes=MTU_BYTES, stall=stall)
    base = DATA + 0x1000 - 0x208
    bench.memory.data[DATA : DATA + 0x3000] = before = random.Random(3).randbytes(0x3000)
    expected = bytearray(before)

    async def test() -> None:
        await bench.boot(queue_log2=3)
        await bench.open_window(0, 1, base, MTU_BYTES + 64)
        for number, length in enumerate(LENGTHS):
            payload = random.Random(length).randbytes(length)
            offset = 8 * number
            place = base + offset - DATA
            expected[place : place + length] = payload
            bench.fabric.inject(
                pack(
                    payload,
                    **FOREIGN,
                    dst_nid=1,
                    dst_pid=0x100,
                    operation=Operation.PUT,
                    window=1,
                    remote_offset=offset,
                    match_bits=number << 40,
                    header_data=~number & (1 << 64) - 1,
                )
            )
        await bench.settle()
        assert bytes(bench.memory.data[DATA : DATA + 0x3000]) == expected
        for number, length in enumerate(LENGTHS):
            assert bench.event(number, queue_log2=3) == {
                "kind": EventKind.PUT,
                "reason": 0,
                "window": 1,
                **FOREIGN,
                "length_bytes": length,
                "offset": 8 * number,
                "match_bits": number << 40,
                "header_data": ~number & (1 << 64) - 1,
                "user_data": 0,
            }
        assert await bench.value("PACKETS_DELIVERED") == len(LENGTHS)
        assert await bench.value("PAGE[0].EVENT_TAIL") == len(LENGTHS)
        assert (await bench.fields("INT_STATUS"))["context"] == 0b01

    bench.run(test)
    assert bench.quiet_edges > 0
