"""The whole NIC: rings, queues, doorbells, interrupts, and contexts that the kernel switches off and on."""

import pytest
from nic_bench import DATA, OKAY, QUEUE, SLVERR, Bench

from rtl.descriptors import EventKind, Refusal
from rtl.packet import Operation, pack
from rtl.registers import load

TOP = 1 << 32


def put(payload: bytes = b"", **header: int) -> list[int]:
    fields = {"dst_nid": 1, "dst_pid": 0x100, "operation": Operation.PUT, "src_nid": 2, "src_pid": 3, "jid": 0x7000}
    return pack(payload, **{**fields, **header})


def test_the_ring_wraps_and_is_filled_to_the_last_slot() -> None:
    bench = Bench(stall=0.3)

    async def test() -> None:
        await bench.boot()
        for _ in range(3):
            for _ in range(4):
                bench.post(match_bits=bench.posted[0])
            assert await bench.ring() == OKAY
            await bench.settle()
            assert await bench.value("PAGE[0].COMMAND_HEAD") == bench.posted[0]

    bench.run(test)
    assert [words[3] for words in bench.fabric.sent] == list(range(12))


def test_doorbells_outside_the_ring_are_refused() -> None:
    bench = Bench()

    async def test() -> None:
        tail = "PAGE[0].COMMAND_TAIL"
        assert await bench.write(tail, 0, privileged=False) == SLVERR  # not enabled
        await bench.boot()
        bench.fabric.blocked = True
        await bench.ticks()
        for _ in range(4):
            bench.post()
        for value, response in [(5, SLVERR), (TOP - 1, SLVERR), (3, OKAY), (2, SLVERR), (3, OKAY), (4, OKAY)]:
            assert await bench.write(tail, value, privileged=False) == response, f"doorbell {value}"
        assert await bench.read(tail, privileged=False) == (OKAY, 4)
        bench.fabric.blocked = False
        await bench.settle()
        assert await bench.value("PAGE[0].COMMAND_HEAD") == 4
        for value, response in [(3, SLVERR), (9, SLVERR), (8, OKAY)]:
            assert await bench.write(tail, value, privileged=False) == response, f"doorbell {value}"
        await bench.settle()
        assert await bench.value("ACCESS_REFUSED") == 6

    bench.run(test)
    assert len(bench.fabric.sent) == 8


def test_event_heads_outside_what_was_written_are_refused() -> None:
    bench = Bench()

    async def test() -> None:
        head = "PAGE[0].EVENT_HEAD"
        await bench.boot()
        for _ in range(3):
            bench.fabric.inject(put())
        await bench.settle()
        for value, response in [
            (4, SLVERR),
            (TOP - 1, SLVERR),
            (2, OKAY),
            (1, SLVERR),
            (2, OKAY),
            (3, OKAY),
            (4, SLVERR),
        ]:
            assert await bench.write(head, value, privileged=False) == response, f"event head {value}"
        assert await bench.read(head, privileged=False) == (OKAY, 3)

    bench.run(test)


def test_contexts_are_served_in_turn() -> None:
    """Three contexts with full rings: no context sends twice before the others have sent once."""
    bench = Bench(contexts=3)

    async def test() -> None:
        await bench.boot(contexts=3)
        bench.fabric.blocked = True
        for context in range(3):
            for number in range(4):
                bench.post(context, match_bits=number)
        for context in range(3):
            assert await bench.ring(context) == OKAY
        bench.fabric.blocked = False
        await bench.settle()

    bench.run(test)
    sources = [words[1] >> 16 & 0xFFFF for words in bench.fabric.sent]
    assert sources == [0x100, 0x101, 0x102] * 4
    for context in range(3):
        assert [w[3] for w in bench.fabric.sent if w[1] >> 16 & 0xFFFF == 0x100 + context] == [0, 1, 2, 3]


def test_a_disabled_context_sends_and_receives_nothing_and_starts_from_zero() -> None:
    bench = Bench()

    async def test() -> None:
        await bench.boot()
        bench.fabric.inject(put())
        bench.fabric.blocked = True
        await bench.ticks()
        for number in range(4):
            bench.post(match_bits=number, notify=1)
        assert await bench.ring() == OKAY
        await bench.ticks(60)  # the first is stuck at the fabric, the second has been fetched
        await bench.configure("CONTEXT[0].CONTROL", enable=0)
        assert await bench.ring() == SLVERR
        bench.fabric.blocked = False
        bench.fabric.inject(put())
        await bench.settle()
        assert len(bench.fabric.sent) == 1
        assert await bench.value("PACKET_DESTINATION") == 1
        assert await bench.value("PAGE[0].COMMAND_HEAD") == 1
        assert [bench.event(number)["kind"] for number in range(2)] == [EventKind.PUT, EventKind.SENT]
        await bench.configure("CONTEXT[0].CONTROL", enable=1)
        for index in ("COMMAND_TAIL", "COMMAND_HEAD", "EVENT_HEAD", "EVENT_TAIL"):
            assert await bench.value(f"PAGE[0].{index}") == 0
        await bench.settle()
        assert len(bench.fabric.sent) == 1
        bench.posted[0] = 0
        bench.post(match_bits=77)
        assert await bench.ring() == OKAY
        bench.fabric.inject(put(match_bits=5))
        await bench.settle()
        assert bench.fabric.sent[1][3] == 77
        assert bench.event(0)["match_bits"] == 5

    bench.run(test)


def test_a_command_that_outlives_its_process_keeps_its_identity_and_tells_the_next_one_nothing() -> None:
    """The command is stuck at the fabric while the kernel gives its context to another process of another job."""
    bench = Bench()

    async def test() -> None:
        await bench.boot()
        bench.fabric.blocked = True
        await bench.ticks()
        bench.post(notify=1)
        bench.post(notify=1)
        assert await bench.ring() == OKAY
        await bench.ticks(60)
        await bench.configure("CONTEXT[0].CONTROL", enable=0)
        await bench.configure("CONTEXT[0].IDENTITY", pid=0x666, jid=0x6666)
        await bench.configure("CONTEXT[0].CONTROL", enable=1, interrupt=1)
        bench.fabric.blocked = False
        await bench.settle()
        assert [words[1] for words in bench.fabric.sent] == [0x7000_0100_0001]
        assert await bench.value("PAGE[0].COMMAND_HEAD") == 0
        assert await bench.value("PAGE[0].EVENT_TAIL") == 0
        assert await bench.value("INT_STATUS") == 0

    bench.run(test)
    assert bench.memory.writes == []


def test_a_put_whose_target_is_restarted_meanwhile_leaves_no_event() -> None:
    bench = Bench(latency=60)

    async def test() -> None:
        await bench.boot()
        bench.fabric.inject(put(b"12345678"))
        while not bench.memory.writes:
            await bench.ticks()
        await bench.configure("CONTEXT[0].CONTROL", enable=0)
        await bench.configure("CONTEXT[0].CONTROL", enable=1, interrupt=1)
        await bench.settle()
        assert await bench.value("PAGE[0].EVENT_TAIL") == 0
        assert await bench.value("INT_STATUS") == 0
        for _ in range(4):  # and the place in the queue is free again
            bench.fabric.inject(put())
        await bench.settle()
        assert await bench.value("PAGE[0].EVENT_TAIL") == 4

    bench.run(test)


def test_a_full_event_queue_refuses_puts_before_their_payload_and_recovers() -> None:
    bench = Bench()

    async def test() -> None:
        await bench.boot()
        for number in range(6):
            bench.fabric.inject(put(bytes([number + 1] * 8), remote_offset=8 * number))
        await bench.settle()
        assert await bench.value("EVENT_QUEUE_FULL") == 2
        assert await bench.value("PACKETS_DELIVERED") == 4
        assert bench.memory.load(DATA, 6) == [0x0101010101010101 * n for n in (1, 2, 3, 4, 0, 0)]
        assert bench.event(0)["offset"] == 0
        assert await bench.write("PAGE[0].EVENT_HEAD", 1, privileged=False) == OKAY
        bench.fabric.inject(put(b"again", remote_offset=0x80))
        bench.fabric.inject(put(b"too many", remote_offset=0x88))
        await bench.settle()
        assert bench.event(4)["offset"] == 0x80
        assert await bench.value("PAGE[0].EVENT_TAIL") == 5
        assert await bench.value("EVENT_QUEUE_FULL") == 3
        # Another context's queue is another matter.
        bench.fabric.inject(put(dst_pid=0x101))
        await bench.settle()
        assert bench.event(0, context=1)["kind"] == EventKind.PUT

    bench.run(test)


def test_local_events_that_find_no_room_are_dropped_and_their_commands_still_retire() -> None:
    bench = Bench()

    async def test() -> None:
        await bench.boot(queue_log2=0)
        for number in range(3):
            bench.post(notify=1, user_data=number)
        assert await bench.ring() == OKAY
        await bench.settle()
        assert bench.event(0, queue_log2=0)["user_data"] == 0
        assert await bench.value("PAGE[0].COMMAND_HEAD") == 3
        assert await bench.value("EVENT_QUEUE_FULL") == 2

    bench.run(test)


def test_the_place_reserved_for_a_put_is_not_taken_by_a_local_event() -> None:
    """A queue of one: while memory keeps the put's payload waiting, the node's own SENT event comes and is dropped."""
    bench = Bench()

    async def test() -> None:
        await bench.boot(queue_log2=0)
        bench.memory.silent = True
        bench.post(notify=1)
        bench.fabric.inject(put(b"12345678"))
        while not bench.memory.writes:
            await bench.ticks()
        assert await bench.ring() == OKAY
        while await bench.value("PAGE[0].COMMAND_HEAD") == 0:
            await bench.ticks()
        assert await bench.value("EVENT_QUEUE_FULL") == 1
        bench.memory.silent = False
        await bench.settle()
        assert bench.event(0, queue_log2=0)["kind"] == EventKind.PUT
        assert await bench.value("EVENT_QUEUE_FULL") == 1

    bench.run(test)


def test_an_event_whose_context_is_restarted_while_it_is_written_does_not_count() -> None:
    bench = Bench()

    async def test() -> None:
        await bench.boot()
        bench.memory.silent = True
        bench.fabric.inject(put())
        while not bench.memory.writes:
            await bench.ticks()
        await bench.configure("CONTEXT[0].CONTROL", enable=0)
        await bench.configure("CONTEXT[0].CONTROL", enable=1, interrupt=1)
        bench.memory.silent = False
        await bench.settle()
        assert bench.memory.writes == [(QUEUE, 8)]
        assert await bench.value("PAGE[0].EVENT_TAIL") == 0
        assert await bench.value("EVENTS_WRITTEN") == 0
        assert await bench.value("INT_STATUS") == 0
        bench.fabric.inject(put(match_bits=8))
        await bench.settle()
        assert bench.event(0)["match_bits"] == 8

    bench.run(test)


def test_an_event_follows_its_payload() -> None:
    bench = Bench(latency=20, stall=0.2)

    async def test() -> None:
        await bench.boot()
        bench.fabric.inject(put(bytes(100)))
        bench.fabric.inject(put(bytes(9), remote_offset=0x100))
        while bench.ctx.get(bench.nic.interrupt) == 0:
            await bench.ticks()
        await bench.ticks()
        assert bench.memory.answered[:2] == [DATA, QUEUE]
        await bench.settle()
        assert bench.memory.answered == [DATA, QUEUE, DATA + 0x100, QUEUE + 64]
        # Each write was requested only after the one before it had been answered.
        assert bench.memory.overlapped == []

    bench.run(test)


@pytest.mark.parametrize("place", [DATA, QUEUE], ids=["payload", "event"])
def test_a_put_that_memory_refuses_is_not_delivered(place: int) -> None:
    bench = Bench()

    async def test() -> None:
        await bench.boot()
        bench.memory.bad.add(place)
        bench.fabric.inject(put(b"12345678"))
        await bench.settle()
        assert await bench.value("MEMORY_ERROR") == 1
        assert await bench.value("PACKETS_DELIVERED") == 0
        assert await bench.value("PAGE[0].EVENT_TAIL") == 0
        assert await bench.value("INT_STATUS") == 0
        bench.memory.bad.clear()
        for _ in range(4):
            bench.fabric.inject(put(b"12345678"))
        await bench.settle()
        assert await bench.value("PACKETS_DELIVERED") == 4

    bench.run(test)


def test_interrupts_are_set_cleared_and_never_lost() -> None:
    """Clears are written back to back while events arrive: whatever comes after the last clear must be seen."""
    bench = Bench()

    async def test() -> None:
        nic = bench.nic
        await bench.boot(queue_log2=4)
        assert bench.ctx.get(nic.interrupt) == 0
        for number in range(12):
            bench.fabric.inject(put(match_bits=number))
        seen = 0
        while seen < 12:
            while not bench.ctx.get(nic.interrupt):
                await bench.ticks()
            await bench.configure("INT_STATUS", context=0b11)
            seen = await bench.value("PAGE[0].EVENT_TAIL")
        await bench.settle()
        await bench.configure("INT_STATUS", context=0b11)
        assert bench.ctx.get(nic.interrupt) == 0
        bench.fabric.inject(put(dst_pid=0x101))
        await bench.settle()
        assert (await bench.fields("INT_STATUS"))["context"] == 0b10
        await bench.configure("INT_ENABLE", context=0b01)
        await bench.ticks()
        assert bench.ctx.get(nic.interrupt) == 0
        await bench.configure("INT_ENABLE", context=0b10)
        await bench.ticks()
        assert bench.ctx.get(nic.interrupt) == 1
        # Without CONTROL.interrupt a context's events are silent.
        await bench.configure("INT_STATUS", context=0b10)
        await bench.configure("CONTEXT[1].CONTROL", enable=1)
        bench.fabric.inject(put(dst_pid=0x101))
        await bench.settle()
        assert await bench.value("PAGE[1].EVENT_TAIL") == 2
        assert await bench.value("INT_STATUS") == 0

    bench.run(test)


def test_reasons_of_refusal_have_their_counters() -> None:
    names = {register.path for register in load("nic").registers}
    assert {reason.name for reason in Refusal} - names == {"NONE"}


def test_an_event_that_memory_shows_may_be_consumed_before_it_is_answered() -> None:
    """Who polls memory sees the event's last word before the NIC has its answer; two ahead is refused all the same."""
    bench = Bench()

    async def test() -> None:
        await bench.boot()
        bench.memory.silent = True
        bench.fabric.inject(put())
        while bench.memory.load(QUEUE + 56, 1) != [1]:  # the last word, where the sequence number lies
            await bench.ticks()
        assert await bench.value("PAGE[0].EVENT_TAIL") == 0
        assert await bench.write("PAGE[0].EVENT_HEAD", 2) == SLVERR
        assert await bench.write("PAGE[1].EVENT_HEAD", 1) == SLVERR
        assert await bench.write("PAGE[0].EVENT_HEAD", 1) == OKAY
        bench.memory.silent = False
        await bench.settle()
        assert await bench.value("PAGE[0].EVENT_TAIL") == 1
        assert await bench.write("PAGE[0].EVENT_HEAD", 2) == SLVERR
        bench.fabric.inject(put())
        await bench.settle()
        assert bench.event(1)["kind"] == EventKind.PUT

    bench.run(test)


def test_an_event_that_memory_refuses_cannot_have_been_consumed() -> None:
    """Its last word can be seen, but memory refused the first: the event does not count, and the queue goes on."""
    bench = Bench()

    async def test() -> None:
        await bench.boot()
        bench.memory.bad = {QUEUE}
        bench.memory.silent = True
        bench.fabric.inject(put())
        while bench.memory.load(QUEUE + 56, 1) != [1]:  # the last word, where the sequence number lies
            await bench.ticks()
        assert await bench.write("PAGE[0].EVENT_HEAD", 1) == OKAY
        bench.memory.silent = False
        await bench.settle()
        assert await bench.value("MEMORY_ERROR") == 1
        assert await bench.value("PAGE[0].EVENT_HEAD") == 0
        bench.memory.bad = set()
        for number in range(4):  # the whole queue
            bench.fabric.inject(put())
            await bench.settle()
            assert bench.event(number)["kind"] == EventKind.PUT
        assert await bench.value("EVENT_QUEUE_FULL") == 0

    bench.run(test)
