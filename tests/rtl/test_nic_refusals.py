"""The whole NIC: every way in which an access, a command or a packet is refused, with its counter and its report."""

from typing import Any

import pytest
from nic_bench import DATA, OKAY, QUEUE, RING, SLVERR, Bench

from rtl.descriptors import COMMAND, EventKind, Refusal
from rtl.packet import Operation, crc32, pack

COUNTERS = [reason.name for reason in Refusal if reason is not Refusal.NONE]
QUIET = (1 << 64) - 1


async def counted(bench: Bench) -> dict[str, int]:
    """The refusal counters that are not zero."""
    values = {name: await bench.value(name) for name in COUNTERS}
    return {name: value for name, value in values.items() if value}


COMMANDS = {
    "unknown operation": ({"operation": 7}, Refusal.COMMAND_MALFORMED),
    "too long": ({"length_bytes": 129}, Refusal.COMMAND_MALFORMED),
    "misaligned": ({"local_offset": 3}, Refusal.COMMAND_MALFORMED),
    "outside the window": ({"length_bytes": 16, "local_offset": 0x3F8}, Refusal.COMMAND_WINDOW),
    "closed window": ({"length_bytes": 8, "local_window": 1}, Refusal.COMMAND_WINDOW),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_refused_command_is_reported_and_nothing_leaves(name: str) -> None:
    fields, reason = COMMANDS[name]
    bench = Bench()

    async def test() -> None:
        await bench.boot()
        bench.post(1)
        bench.post(1, **fields, user_data=0x77, match_bits=0x88, header_data=0x99, notify=1)
        bench.post(1)
        assert await bench.ring(1) == OKAY
        await bench.settle()
        assert await counted(bench) == {reason.name: 1}
        assert await bench.value("PAGE[1].REFUSED") == 1
        assert await bench.value("PAGE[0].REFUSED") == 0
        assert await bench.value("PAGE[1].COMMAND_HEAD") == 3
        assert await bench.fields("VIOLATION") == {"reason": reason, "context": 1, "address": 1}
        assert await bench.fields("INT_STATUS") == {"context": 0b10, "violation": 1}
        event = bench.event(0, context=1)
        assert (event["kind"], event["reason"]) == (EventKind.REFUSED, reason)
        assert (event["user_data"], event["match_bits"], event["header_data"]) == (0x77, 0x88, 0x99)

    bench.run(test)
    assert len(bench.fabric.sent) == 2
    assert bench.memory.reads == [(RING + 0x1000 + 64 * index, 8) for index in range(3)]


def test_an_unreadable_command_is_refused_without_echo_of_what_was_not_read() -> None:
    bench = Bench()

    async def test() -> None:
        await bench.boot()
        bench.post(user_data=1)
        bench.post(user_data=2, match_bits=3)
        bench.memory.bad.add(RING + 64 + 8 * COMMAND.fields["user_data"].word)
        assert await bench.ring() == OKAY
        await bench.settle()
        assert await counted(bench) == {"MEMORY_ERROR": 1}
        event = bench.event(0)
        assert (event["kind"], event["reason"]) == (EventKind.REFUSED, Refusal.MEMORY_ERROR)
        assert (event["user_data"], event["match_bits"]) == (0, 3)
        assert await bench.fields("VIOLATION") == {"reason": Refusal.MEMORY_ERROR, "context": 0, "address": 1}
        assert await bench.value("PAGE[0].COMMAND_HEAD") == 2

    bench.run(test)
    assert len(bench.fabric.sent) == 1


def test_a_packet_with_an_unreadable_payload_has_its_length_and_the_inverted_crc() -> None:
    bench = Bench()

    async def test() -> None:
        await bench.boot()
        bench.memory.bad.add(DATA + 16)
        bench.post(length_bytes=60, user_data=4, notify=1)
        bench.post(length_bytes=16, user_data=5, notify=1)
        assert await bench.ring() == OKAY
        await bench.settle()
        damaged, good = bench.fabric.sent
        assert damaged[-1] == crc32(damaged[:-1]) ^ 0xFFFF_FFFF
        assert len(damaged) == 5 + 8 + 1
        assert good[-1] == crc32(good[:-1])
        assert await counted(bench) == {"MEMORY_ERROR": 1}
        assert await bench.value("PACKETS_SENT") == 1
        events = [bench.event(number) for number in range(2)]
        assert [(e["kind"], e["reason"], e["user_data"]) for e in events] == [
            (EventKind.REFUSED, Refusal.MEMORY_ERROR, 4),
            (EventKind.SENT, Refusal.NONE, 5),
        ]

    bench.run(test)


def put(payload: bytes = b"", **header: int) -> list[int]:
    fields = {"dst_nid": 1, "dst_pid": 0x100, "operation": Operation.PUT, "src_nid": 2, "src_pid": 3, "jid": 0x7000}
    return pack(payload, **{**fields, **header})


def sealed(words: list[int]) -> list[int]:
    """`words` with the right CRC at the end."""
    return [*words, crc32(words)]


def flipped(words: list[int], index: int, bit: int) -> list[int]:
    return [word ^ (1 << bit) * (number == index) for number, word in enumerate(words)]


PAYLOAD = bytes(range(1, 25))
PACKETS = {
    "flipped payload bit": (flipped(put(PAYLOAD), 6, 3), Refusal.PACKET_CRC),
    "flipped source": (flipped(put(PAYLOAD), 1, 0), Refusal.PACKET_CRC),
    "flipped job": (flipped(put(PAYLOAD), 1, 63), Refusal.PACKET_CRC),
    "flipped CRC": (flipped(put(PAYLOAD), 8, 31), Refusal.PACKET_CRC),
    "bit above the CRC": (flipped(put(PAYLOAD), 8, 32), Refusal.PACKET_CRC),
    "damaged, for another node": (flipped(put(PAYLOAD, dst_nid=5), 6, 3), Refusal.PACKET_CRC),
    "one word": (sealed([]), Refusal.PACKET_MALFORMED),
    "header cut short": (sealed(put()[:4]), Refusal.PACKET_MALFORMED),
    "payload cut short": (sealed(put(PAYLOAD)[:7]), Refusal.PACKET_MALFORMED),
    "a word too many": (sealed([*put(PAYLOAD)[:-1], 0]), Refusal.PACKET_MALFORMED),
    "longer than the MTU": (put(bytes(136)), Refusal.PACKET_MALFORMED),
    "longer than the MTU by a byte, in a buffer that would hold it": (put(bytes(121)), Refusal.PACKET_MALFORMED),
    "very long": (sealed([*put(bytes(128))[:-1], *range(200)]), Refusal.PACKET_MALFORMED),
    "unknown operation": (put(PAYLOAD, operation=2), Refusal.PACKET_MALFORMED),
    "misaligned offset": (put(PAYLOAD, remote_offset=4), Refusal.PACKET_MALFORMED),
    "malformed, for another node": (put(PAYLOAD, remote_offset=4, dst_nid=5), Refusal.PACKET_MALFORMED),
    "another node": (put(PAYLOAD, dst_nid=5), Refusal.PACKET_DESTINATION),
    "no such process": (put(PAYLOAD, dst_pid=0x105), Refusal.PACKET_DESTINATION),
    "another job": (put(PAYLOAD, jid=0x7001), Refusal.PACKET_JOB),
    "another job without payload": (put(jid=0x7001), Refusal.PACKET_JOB),
    "outside the window": (put(PAYLOAD, remote_offset=0x3F0), Refusal.PACKET_WINDOW),
    "closed window": (put(PAYLOAD, window=1), Refusal.PACKET_WINDOW),
    "no such window": (put(PAYLOAD, window=2), Refusal.PACKET_WINDOW),
}


def test_a_refused_packet_is_counted_once_and_leaves_no_trace() -> None:
    """The packet after each arrives, so the refused one has been consumed to its end."""
    bench = Bench(mtu_bytes=120)

    async def test() -> None:
        await bench.boot()
        for number, (name, (words, reason)) in enumerate(PACKETS.items()):
            before = await bench.value(reason.name)
            bench.fabric.inject(words)
            bench.fabric.inject(put(b"good", remote_offset=8 * number))
            await bench.settle()
            assert await bench.value(reason.name) == before + 1, name
            assert await bench.value("PACKETS_DELIVERED") == number + 1, name
            assert bench.event(number)["offset"] == 8 * number, name
            assert await bench.write("PAGE[0].EVENT_HEAD", number + 1, privileged=False) == OKAY
        assert sum((await counted(bench)).values()) == len(PACKETS)
        assert (await bench.fields("INT_STATUS"))["violation"] == 0

    bench.run(test)
    delivered = [[(DATA + 8 * number, 1), (QUEUE + 64 * (number % 4), 8)] for number in range(len(PACKETS))]
    assert bench.memory.writes == [write for writes in delivered for write in writes]


ACCESSES: dict[str, tuple[dict[str, Any], Refusal, int]] = {
    "kernel's page without privilege": ({"path": "NODE_ID"}, Refusal.ACCESS_UNPRIVILEGED, 0),
    "identity without privilege": ({"path": "CONTEXT[1].IDENTITY"}, Refusal.ACCESS_UNPRIVILEGED, 0),
    "window without privilege": ({"path": "CONTEXT[0].WINDOW[0].LENGTH"}, Refusal.ACCESS_UNPRIVILEGED, 0),
    "own identity is read-only": ({"path": "PAGE[1].IDENTITY"}, Refusal.ACCESS_REFUSED, 1),
    "no register": ({"path": 0x20100}, Refusal.ACCESS_REFUSED, 1),
    "no such context": ({"path": 0x90000}, Refusal.ACCESS_REFUSED, 0),
    "doorbell beyond the ring": ({"path": "PAGE[1].COMMAND_TAIL", "value": 5}, Refusal.ACCESS_REFUSED, 1),
    "partial write": ({"path": "PAGE[0].COMMAND_TAIL", "value": 0, "strobe": 0x0F}, Refusal.ACCESS_REFUSED, 0),
}


def test_refused_accesses_are_logged() -> None:
    bench = Bench()

    async def test() -> None:
        await bench.boot()
        for name, (arguments, reason, context) in ACCESSES.items():
            before = await bench.value(reason.name)
            assert await bench.write(**{"value": QUIET, "privileged": False, **arguments}) == SLVERR, name
            path = arguments["path"]
            address = path if isinstance(path, int) else bench.map.address(path)
            violation = {"reason": reason, "context": context, "address": address}
            assert await bench.fields("VIOLATION") == violation, name
            assert await bench.value(reason.name) == before + 1, name
            assert bench.ctx.get(bench.nic.interrupt) == 1
            await bench.configure("INT_STATUS", violation=1)
            assert bench.ctx.get(bench.nic.interrupt) == 0
        assert sum((await counted(bench)).values()) == len(ACCESSES)
        assert await bench.fields("PAGE[1].IDENTITY") == {"nid": 1, "pid": 0x101, "jid": 0x7000}

    bench.run(test)


def test_the_first_violation_stays_until_it_is_acknowledged() -> None:
    bench = Bench()

    async def test() -> None:
        await bench.boot()
        bench.post(operation=9)
        assert await bench.ring() == OKAY
        await bench.settle()
        assert await bench.write("ID", 0, privileged=False) == SLVERR
        first = {"reason": Refusal.COMMAND_MALFORMED, "context": 0, "address": 0}
        assert await bench.fields("VIOLATION") == first
        assert await counted(bench) == {"COMMAND_MALFORMED": 1, "ACCESS_UNPRIVILEGED": 1}
        await bench.configure("INT_STATUS", violation=1)
        assert (await bench.fields("INT_STATUS"))["violation"] == 0
        assert await bench.fields("VIOLATION") == first
        assert await bench.write("ID", 0) == SLVERR
        assert (await bench.fields("VIOLATION"))["reason"] == Refusal.ACCESS_REFUSED

    bench.run(test)


def test_the_node_id_is_final_once_locked() -> None:
    bench = Bench()

    async def test() -> None:
        await bench.configure("NODE_ID", nid=7)
        await bench.configure("NODE_ID", nid=8, locked=1)
        assert await bench.write("NODE_ID", 9) == SLVERR
        assert await bench.fields("NODE_ID") == {"nid": 8, "locked": 1}
        assert await counted(bench) == {"ACCESS_REFUSED": 1}

    bench.run(test)


def test_capabilities_tell_what_was_built() -> None:
    bench = Bench(contexts=3, windows=1, mtu_bytes=64)

    async def test() -> None:
        assert await bench.fields("CAPABILITIES") == {"contexts": 3, "windows": 1, "mtu_bytes": 64}

    bench.run(test)
