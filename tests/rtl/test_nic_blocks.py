"""Blocks of the NIC alone: CRC, stamp, admission, command check, arbitration, refusal counting."""

import random
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from amaranth.hdl import Module, Signal
from amaranth.sim import Simulator

from rtl.descriptors import COMMAND, Refusal
from rtl.nic.arbitration import next_in_turn
from rtl.nic.check import CheckCommand
from rtl.nic.crc import Crc32
from rtl.nic.header import Admit, Stamp
from rtl.nic.memory import words_of_burst
from rtl.nic.refusals import Refusals
from rtl.packet import HEADER, Operation

CONTEXTS, WINDOWS, MTU_BYTES = 3, 2, 256
NID = 9


def simulate(block: Any, test: Callable[[Any], Awaitable[None]]) -> None:
    simulator = Simulator(block)
    simulator.add_clock(1e-8)
    simulator.add_testbench(test)
    simulator.run()


def test_crc_is_zlibs_with_gaps_between_words() -> None:
    crc = Crc32()
    source = random.Random(1)

    async def test(ctx: Any) -> None:
        for words in ([0], [1 << 63], [source.getrandbits(64) for _ in range(40)]):
            ctx.set(crc.clear, 1)
            await ctx.tick()
            ctx.set(crc.clear, 0)
            assert ctx.get(crc.value) == 0
            for index, word in enumerate(words):
                ctx.set(crc.word, word)
                ctx.set(crc.valid, 1)
                await ctx.tick()
                ctx.set(crc.valid, 0)
                ctx.set(crc.word, ~word & (1 << 64) - 1)
                if index % 2:
                    await ctx.tick()
                assert ctx.get(crc.value) == zlib.crc32(b"".join(w.to_bytes(8, "little") for w in words[: index + 1]))

    simulate(crc, test)


def test_stamp_samples_the_identity_of_the_context_once() -> None:
    """By hand: jid 0xABCD0001, pid 0x0207, nid 0x0009 in that order from the top."""
    stamp = Stamp(contexts=CONTEXTS, windows=WINDOWS)

    async def test(ctx: Any) -> None:
        ctx.set(stamp.nid, NID)
        for index, context in enumerate(stamp.contexts):
            ctx.set(context.pid, 0x205 + index)
            ctx.set(context.jid, 0xABCD_0000 + index // 2)
        ctx.set(stamp.context, 2)
        ctx.set(stamp.start, 1)
        await ctx.tick()
        ctx.set(stamp.start, 0)
        for changed in (stamp.nid, stamp.contexts[2].pid, stamp.contexts[2].jid, stamp.context):
            ctx.set(changed, 1)
        await ctx.tick().repeat(2)
        assert ctx.get(stamp.trusted) == 0xABCD_0001_0207_0009

    simulate(stamp, test)


def _configure(ctx: Any, contexts: Any) -> None:
    """Context c: PID 10 + c, job 5; window 0 has 64 bytes at 0x1000 * (c + 1), all rights; window 1 16 bytes, none."""
    for index, context in enumerate(contexts):
        ctx.set(context.enable, 1)
        ctx.set(context.pid, 10 + index)
        ctx.set(context.jid, 5)
        for window, size in enumerate((64, 16)):
            ctx.set(context.window_address[window], 0x1000 * (index + 1) + 0x100 * window)
            ctx.set(context.window_bytes[window], size)
            ctx.set(context.window_local_read[window], not window)
            ctx.set(context.window_remote_write[window], not window)


TOP = (1 << 64) - 8
ADMISSIONS = {
    "admitted": ({}, Refusal.NONE),
    "whole window": ({"length_bytes": 64}, Refusal.NONE),
    "end of the window": ({"length_bytes": 8, "remote_offset": 56}, Refusal.NONE),
    "nothing beside the window": ({"length_bytes": 0, "remote_offset": 1 << 40, "window": 77}, Refusal.NONE),
    "other node": ({"dst_nid": 8}, Refusal.PACKET_DESTINATION),
    "no such process": ({"dst_pid": 99}, Refusal.PACKET_DESTINATION),
    "disabled process": ({"dst_pid": 12}, Refusal.PACKET_DESTINATION),
    "other job": ({"jid": 6}, Refusal.PACKET_JOB),
    "other job, and outside": ({"jid": 6, "length_bytes": 65}, Refusal.PACKET_JOB),
    "one byte too many": ({"length_bytes": 65}, Refusal.PACKET_WINDOW),
    "one byte beyond the end": ({"length_bytes": 9, "remote_offset": 56}, Refusal.PACKET_WINDOW),
    "far outside": ({"remote_offset": 1 << 47}, Refusal.PACKET_WINDOW),
    "wraps at 64 bits": ({"length_bytes": 16, "remote_offset": TOP}, Refusal.PACKET_WINDOW),
    "wraps at 48 bits": ({"length_bytes": 16, "remote_offset": (1 << 48) - 8}, Refusal.PACKET_WINDOW),
    "beyond 48 bits": ({"remote_offset": 1 << 48}, Refusal.PACKET_WINDOW),
    "no right": ({"window": 1}, Refusal.PACKET_WINDOW),
    "no such window": ({"window": 2}, Refusal.PACKET_WINDOW),
    "no such window, whose low bits name one": ({"window": 0x80}, Refusal.PACKET_WINDOW),
}


@pytest.mark.parametrize("name", ADMISSIONS)
def test_admission(name: str) -> None:
    changes, expected = ADMISSIONS[name]
    admit = Admit(contexts=CONTEXTS, windows=WINDOWS)
    fields = {"dst_nid": NID, "dst_pid": 11, "operation": 1, "length_bytes": 8, "src_nid": 1, "src_pid": 2, "jid": 5}

    async def test(ctx: Any) -> None:
        _configure(ctx, admit.contexts)
        ctx.set(admit.contexts[2].enable, 0)
        ctx.set(admit.nid, NID)
        for port, word in zip(admit.header, HEADER.pack(**{**fields, **changes}), strict=True):
            ctx.set(port, word)
        ctx.set(admit.start, 1)
        await ctx.tick()
        ctx.set(admit.start, 0)
        assert ctx.get(admit.done) == 0
        await ctx.tick()
        assert ctx.get(admit.done) == 1
        assert Refusal(ctx.get(admit.reason)) == expected
        if expected is Refusal.NONE:
            assert ctx.get(admit.context) == 1
            if changes.get("length_bytes", 8):
                assert ctx.get(admit.address) == 0x2000 + changes.get("remote_offset", 0)

    simulate(admit, test)


def test_of_two_contexts_with_one_pid_the_lowest_enabled_one_is_meant() -> None:
    admit = Admit(contexts=CONTEXTS, windows=WINDOWS)

    async def test(ctx: Any) -> None:
        _configure(ctx, admit.contexts)
        ctx.set(admit.nid, NID)
        for context in admit.contexts:
            ctx.set(context.pid, 11)
        for port, word in zip(admit.header, HEADER.pack(dst_nid=NID, dst_pid=11, operation=1, jid=5), strict=True):
            ctx.set(port, word)
        for lowest in range(CONTEXTS):
            ctx.set(admit.start, 1)
            await ctx.tick()
            ctx.set(admit.start, 0)
            await ctx.tick()
            assert (ctx.get(admit.reason), ctx.get(admit.context)) == (Refusal.NONE, lowest)
            ctx.set(admit.contexts[lowest].enable, 0)

    simulate(admit, test)


CHECKS = {
    "good": ({}, {}, Refusal.NONE),
    "good, notify": ({"notify": 1}, {}, Refusal.NONE),
    "whole window": ({"length_bytes": 64}, {}, Refusal.NONE),
    "no payload, no window": ({"length_bytes": 0, "local_window": 9, "local_offset": 1 << 50}, {}, Refusal.NONE),
    "operation 0": ({"operation": 0}, {}, Refusal.COMMAND_MALFORMED),
    "operation 2": ({"operation": 2}, {}, Refusal.COMMAND_MALFORMED),
    "reserved bit of word 0": ({}, {0: 1 << 9}, Refusal.COMMAND_MALFORMED),
    "last reserved bit of word 0": ({}, {0: 1 << 31}, Refusal.COMMAND_MALFORMED),
    "reserved bit of word 1": ({}, {1: 1 << 40}, Refusal.COMMAND_MALFORMED),
    "reserved bit of word 2": ({}, {2: 1 << 63}, Refusal.COMMAND_MALFORMED),
    "longer than the MTU": ({"length_bytes": MTU_BYTES + 1}, {}, Refusal.COMMAND_MALFORMED),
    "length beyond 16 bits": ({"length_bytes": 0x10008}, {}, Refusal.COMMAND_MALFORMED),
    "misaligned local offset": ({"local_offset": 4}, {}, Refusal.COMMAND_MALFORMED),
    "misaligned remote offset": ({"remote_offset": 1}, {}, Refusal.COMMAND_MALFORMED),
    "misaligned without payload": ({"remote_offset": 1, "length_bytes": 0}, {}, Refusal.COMMAND_MALFORMED),
    "malformed and outside": ({"remote_offset": 1, "length_bytes": 72}, {}, Refusal.COMMAND_MALFORMED),
    "one byte too many": ({"length_bytes": 65}, {}, Refusal.COMMAND_WINDOW),
    "one byte beyond the end": ({"length_bytes": 9, "local_offset": 56}, {}, Refusal.COMMAND_WINDOW),
    "wraps at 64 bits": ({"length_bytes": 16, "local_offset": TOP}, {}, Refusal.COMMAND_WINDOW),
    "wraps at 48 bits": ({"length_bytes": 16, "local_offset": (1 << 48) - 8}, {}, Refusal.COMMAND_WINDOW),
    "beyond 48 bits": ({"local_offset": 1 << 48}, {}, Refusal.COMMAND_WINDOW),
    "no right": ({"local_window": 1}, {}, Refusal.COMMAND_WINDOW),
    "no such window": ({"local_window": 2}, {}, Refusal.COMMAND_WINDOW),
}


@pytest.mark.parametrize("name", CHECKS)
def test_command_check(name: str) -> None:
    fields, reserved, expected = CHECKS[name]
    check = CheckCommand(contexts=CONTEXTS, windows=WINDOWS, mtu_bytes=MTU_BYTES)
    words = COMMAND.pack(**{"operation": Operation.PUT, "length_bytes": 8, "remote_offset": TOP, **fields})

    async def test(ctx: Any) -> None:
        _configure(ctx, check.contexts)
        for index, port in enumerate(check.words):
            ctx.set(port, words[index] | reserved.get(index, 0))
        ctx.set(check.context, 2)
        ctx.set(check.start, 1)
        await ctx.tick()
        ctx.set(check.start, 0)
        assert Refusal(ctx.get(check.reason)) == expected
        ctx.set(check.unreadable, 1)
        assert Refusal(ctx.get(check.reason)) == Refusal.MEMORY_ERROR

    simulate(check, test)


def test_turns_go_round() -> None:
    for count in (1, 2, 5):
        m = Module()
        requests, last = Signal(count), Signal(range(max(count, 2)))
        index = next_in_turn(m, requests, last)

        async def test(
            ctx: Any, count: int = count, requests: Any = requests, last: Any = last, index: Any = index
        ) -> None:
            for mask in range(1, 1 << count):
                for start in range(count):
                    ctx.set(requests, mask)
                    ctx.set(last, start)
                    order = [(start + step) % count for step in range(1, count + 1)]
                    assert ctx.get(index) == next(i for i in order if mask >> i & 1)

        simulator = Simulator(m)
        simulator.add_testbench(test)
        simulator.run()


BURSTS = [  # word address, words wanted, words of the burst
    (0, 1, 1),
    (0, 256, 256),
    (0, 300, 256),
    (255, 2, 1),
    (0x1FF, 8191, 1),
    (0x101, 600, 255),
    (0x2FE, 2, 2),
]


def test_bursts_stop_at_boundaries() -> None:
    m = Module()
    address, remaining, words = Signal(45), Signal(14), Signal(9)
    m.d.comb += words.eq(words_of_burst(address, remaining))

    async def test(ctx: Any) -> None:
        for where, wanted, expected in BURSTS:
            ctx.set(address, where)
            ctx.set(remaining, wanted)
            assert ctx.get(words) == expected

    simulator = Simulator(m)
    simulator.add_testbench(test)
    simulator.run()


def test_refusals_of_one_cycle_are_all_counted_and_the_first_is_kept() -> None:
    refusals = Refusals(contexts=CONTEXTS, packet_sources=3)
    counted = [0] * len(Refusal)

    async def count(ctx: Any) -> None:
        async for _, _, counts in ctx.tick().sample(refusals.counts):
            for reason in Refusal:
                counted[reason] += counts >> reason & 1

    async def test(ctx: Any) -> None:
        for port in (refusals.command, *refusals.packets):
            ctx.set(port.valid, 1)
            ctx.set(port.reason, Refusal.MEMORY_ERROR)
        ctx.set(refusals.command_context, 2)
        ctx.set(refusals.command_index, 0x12345)
        assert ctx.get(refusals.violation) == 1
        await ctx.tick()
        for port in (refusals.command, *refusals.packets):
            ctx.set(port.valid, 0)
        ctx.set(refusals.unacknowledged, 1)
        first = (Refusal.MEMORY_ERROR, 2, 0x12345)
        assert (ctx.get(refusals.reason), ctx.get(refusals.context), ctx.get(refusals.address)) == first
        ctx.set(refusals.access_unprivileged, 1)
        ctx.set(refusals.access_address, 0x20008)
        await ctx.tick()
        assert (ctx.get(refusals.reason), ctx.get(refusals.context), ctx.get(refusals.address)) == first
        # Acknowledged in the very cycle of the next one: that one is now the first.
        ctx.set(refusals.acknowledge, 1)
        await ctx.tick()
        second = (Refusal.ACCESS_UNPRIVILEGED, 1, 0x20008)
        assert (ctx.get(refusals.reason), ctx.get(refusals.context), ctx.get(refusals.address)) == second
        ctx.set(refusals.access_unprivileged, 0)
        ctx.set(refusals.acknowledge, 0)
        assert not ctx.get(refusals.quiescent)
        await ctx.tick().repeat(4)
        assert ctx.get(refusals.quiescent)
        assert {Refusal(i): n for i, n in enumerate(counted) if n} == {
            Refusal.MEMORY_ERROR: 4,
            Refusal.ACCESS_UNPRIVILEGED: 2,
        }

    simulator = Simulator(refusals)
    simulator.add_clock(1e-8)
    simulator.add_testbench(count, background=True)
    simulator.add_testbench(test)
    simulator.run()
