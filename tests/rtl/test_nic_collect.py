"""Responses: which are believed, where their data go, what the initiator is told; entries and their handles."""

import dataclasses
import itertools
import random
from typing import Any

import pytest

from rtl.nic.initiator.outstanding import Outstanding
from rtl.nic.parameters import NicParameters
from rtl.packets import PacketKind
from rtl.portals import AckRequest, EventKind, Fail, Operation
from tests.rtl.collect_bench import Bench
from tests.rtl.collect_reference import WINDOW_BYTES, Entry, Packet, reply, response, window_address
from tests.rtl.host_bench import simulate, until

GET, PUT = Operation.GET, Operation.PUT


def bogus(source: random.Random, packet: Packet, sizes: NicParameters) -> Packet:
    """The packet with one thing wrong, so that nobody waits for it."""
    header = dict(packet.header)
    context = packet.context
    match source.randrange(6):
        case 0:
            header["generation"] ^= source.randrange(1, 256)
        case 1:
            header["src_nid"] ^= 1 << source.randrange(16)
        case 2:
            header["src_pid"] ^= 1 << source.randrange(16)
        case 3:
            header["kind"] ^= PacketKind.REPLY ^ PacketKind.ACK
        case 4:
            header["handle"] = (header["handle"] + sizes.outstanding * source.randrange(1, 1000)) % 65536
        case 5:
            context = (context + 1) % sizes.contexts
    return dataclasses.replace(packet, header=header, context=context, entry=None)


def random_entry(source: random.Random, context: int) -> dict[str, Any]:
    operation = source.choice((GET, GET, Operation.FETCH_ATOMIC, Operation.SWAP, PUT, Operation.ATOMIC))
    return {
        "context": context,
        "operation": operation,
        "dst_nid": source.randrange(3),
        "dst_pid": source.randrange(0x200, 0x204),
        "window": source.choice((0, 0, 0, 0, 1, 2)),
        "offset": source.choice((source.randrange(WINDOW_BYTES - 400), WINDOW_BYTES - 100)),
        "size": source.choice((0, 1, 8, 63, 64, 65, 129, 200)),
        "ack_request": AckRequest.NONE
        if operation in (GET, 4, 5)
        else source.choice((AckRequest.FULL, AckRequest.COUNTING)),
        "success_disable": source.randrange(2),
        "count": source.randrange(2),
        "ct_bytes": source.randrange(2),
        "counter": source.randrange(16),
        "user_data": source.getrandbits(64),
    }


def random_packets(source: random.Random, entry: Entry, mtu_bytes: int) -> list[Packet]:
    """The whole response to `entry`, sometimes with a packet missing, poisoned, cut off, or beyond what was asked."""
    fail = source.choice((Fail.OK, Fail.OK, Fail.OK, Fail.DROPPED))
    fields = {"remote_offset": source.getrandbits(64), "list": source.randrange(4), "silent": source.random() < 0.1}
    if not entry.fetching:
        return [response(entry, manipulated_bytes=source.randrange(1 << 32), fail=fail, **fields)]
    if fail is not Fail.OK:
        return reply(entry, b"", mtu_bytes, fail=fail, **fields)
    size = entry.size + (source.random() < 0.1)
    packets = reply(entry, source.randbytes(size), mtu_bytes, **fields)
    packets[0].header["fail"] = 0 if len(packets) == 1 else source.randrange(8)  # counts in the last packet alone
    change = source.random()
    if change < 0.1 and len(packets) > 1:
        packets.pop(source.randrange(len(packets) - 1))
    elif change < 0.2:
        packets[-1].poisoned = True
    elif change < 0.3 and len(packets) > 1:
        header = {**packets[1].header, "last": 1, "fail": Fail.SEGMENT}
        packets[1:] = [dataclasses.replace(packets[1], header=header, payload=b"")]
    elif change < 0.35 and len(packets) > 1:
        packets[0].poisoned = True
        packets[1:] = [dataclasses.replace(packet, entry=None) for packet in packets[1:]]
    return packets


@pytest.mark.parametrize(
    ("seed", "sizes"),
    [
        (1, {}),
        (2, {"stall": 0.5, "latency": 30}),
        (3, {"datapath_bits": 128, "stall": 0.2}),
        (4, {"contexts": 1, "outstanding": 1, "stall": 0.2, "latency": 1}),
        (5, {"contexts": 2, "outstanding": 4, "latency": 12}),
    ],
)
def test_random_traffic(seed: int, sizes: dict[str, Any]) -> None:
    """Responses of several entries interleaved, bogus ones between them, against the reference."""
    bench = Bench(seed=seed, bad=range(0x10300, 0x10380), **sizes)
    parameters = bench.parameters
    source = random.Random(seed)

    async def test() -> None:
        waiting: list[list[Packet]] = []
        answered: list[Packet] = []
        in_use = [0] * parameters.contexts
        for _ in range(150):
            context = source.randrange(parameters.contexts)
            if source.random() < 0.4 and in_use[context] < parameters.outstanding:
                entry = await bench.allocate(**random_entry(source, context))
                assert entry.handle // parameters.outstanding == context
                waiting.append(random_packets(source, entry, parameters.mtu_bytes))
                in_use[context] += 1
            elif waiting:
                packets = source.choice(waiting)
                if source.random() < 0.15:
                    await bench.send(bogus(source, source.choice(packets), parameters))
                    continue
                packet = packets.pop(0)
                await bench.send(packet)
                if not packets:
                    waiting.remove(packets)
                    in_use[packet.context] -= 1
                    answered.append(packet)
            if answered and source.random() < 0.1:
                await bench.send(dataclasses.replace(source.choice(answered), entry=None))
            while source.random() < 0.2:
                await bench.tick(source.randrange(20))
        await bench.settle()

    bench.run(test)
    bench.judge()
    assert len(bench.reports) > 8
    assert {report.event["kind"] for report in bench.reports if report.event} == {EventKind.REPLY, EventKind.ACK}


def test_a_reply_by_hand() -> None:
    """100 bytes in two packets of 64 and 36 from byte 3 of window 0 of context 1, counted by bytes in counter 5."""
    bench = Bench()
    data = bytes(range(100))

    async def test() -> None:
        entry = await bench.allocate(
            context=1, operation=GET, offset=3, size=100, count=1, ct_bytes=1, counter=5, user_data=0xABCD, dst_nid=7
        )
        assert (entry.handle, entry.generation) == (8, 1)
        for packet in reply(entry, data, 64, remote_offset=77, list=1):
            await bench.send(packet)
        await bench.settle()

    bench.run(test)
    bench.judge()
    (report,) = bench.reports
    assert (report.context, report.counter) == (1, (5, 100, 0))
    told = {name: value for name, value in (report.event or {}).items() if value}
    assert told == {
        "kind": EventKind.REPLY,
        "src_nid": 7,
        "src_pid": 0x200,
        "jid": 0x7000,
        "manipulated_bytes": 100,
        "remote_offset": 77,
        "user_data": 0xABCD,
        "list": 1,
    }
    start = window_address(1, 0) + 3
    assert bench.memory[start - 3 : start + 101] == bytes(3) + data + bytes(1)


def test_an_event_waits_for_all_writes_of_its_reply_and_no_more() -> None:
    """Memory answers after 60 cycles: three replies of 192 bytes go out meanwhile, their events follow the answers."""
    bench = Bench(latency=60)

    async def test() -> None:
        entries = [await bench.allocate(context=0, operation=GET, offset=256 * index, size=192) for index in range(3)]
        for entry in entries:
            for packet in reply(entry, bytes(192), 64):
                await bench.send(packet)
        assert bench.answered <= 2, "the writes wait for one another"
        await bench.settle()

    bench.run(test)
    bench.judge()
    assert [answered for _, answered in bench.report_cycles] == [3, 6, 9]


@pytest.mark.parametrize("size", [0, 8, 16])
def test_small_responses_are_soon_over(size: int) -> None:
    """Eight at once: a header every four cycles, and after the last answer of memory an event within four."""
    bench = Bench(latency=20)

    async def test() -> None:
        entries = [await bench.allocate(context=0, operation=GET, offset=64 * index, size=size) for index in range(8)]
        for entry in entries:
            await bench.send(reply(entry, bytes(size), 64)[0])
        await bench.settle()

    bench.run(test)
    bench.judge()
    gaps = {after - before for before, after in itertools.pairwise(bench.header_cycles)}
    assert max(gaps) <= 4 + (size > 8)
    ends = [cycle for cycle, _ in bench.report_cycles]
    assert max(after - before for before, after in itertools.pairwise(ends)) <= 5
    assert ends[0] - bench.header_cycles[0] <= 6 + (20 + 3 if size else 0)


def test_large_replies_keep_memory_busy() -> None:
    """Ten packets of 512 bytes: at most two cycles without a flit between them."""
    bench = Bench(mtu_bytes=512, latency=20)

    async def test() -> None:
        await bench.send_all(reply(await bench.allocate(context=0, operation=GET, size=2560), bytes(2560), 512))
        await bench.settle()

    bench.run(test)
    bench.judge()
    assert max(after - before for before, after in itertools.pairwise(bench.flit_cycles)) <= 3
    assert len(bench.flit_cycles) == 320


def test_what_has_ended_is_over_at_once() -> None:
    """The last packet twice in a row, and a packet after a poisoned one: only the first is believed."""
    bench = Bench(latency=40)

    async def test() -> None:
        entry = await bench.allocate(context=2, operation=GET, size=8)
        (packet,) = reply(entry, bytes(8), 64)
        await bench.send(packet)
        await bench.send(dataclasses.replace(packet, entry=None))
        first, second = reply(await bench.allocate(context=2, operation=GET, size=128), bytes(128), 64)
        await bench.send(dataclasses.replace(first, poisoned=True))
        await bench.send(dataclasses.replace(second, entry=None))
        await bench.settle()

    bench.run(test)
    bench.judge()
    assert len(bench.refused) == 2
    assert [report.event["fail"] for report in bench.reports if report.event] == [Fail.OK, Fail.SEGMENT]


def test_a_disabled_context_gets_nothing() -> None:
    bench = Bench()

    async def test() -> None:
        entry = await bench.allocate(context=0, operation=GET, size=8)
        bench.ctx.set(bench.block.states[0].active, 0)
        (packet,) = reply(entry, b"secret..", 64)
        await bench.send(dataclasses.replace(packet, entry=None))
        await bench.settle()

    bench.run(test)
    bench.judge()


@pytest.mark.parametrize("epoch_first", [False, True])
def test_a_restart_at_any_moment(epoch_first: bool) -> None:
    """A reply of two packets is on its way when its context restarts, `delay` cycles after it was begun.

    Whatever is reported belongs to the old life; nothing of the old life is believed in the new one; all entries can
    be used again, and the other context has seen nothing of it.
    """
    bench = Bench(contexts=2, outstanding=4, latency=3, mtu_bytes=64)

    async def life(delay: int) -> None:
        others = await bench.allocate(context=1, operation=GET, size=8)
        entries = [await bench.allocate(context=0, operation=GET, size=80) for _ in range(4)]
        generations = {entry.handle: entry.generation for entry in entries}
        assert sorted(generations) == [0, 1, 2, 3]
        bench.background += [*reply(entries[1], bytes(range(80)), 64), *reply(entries[0], bytes(80), 64)]
        await bench.tick(delay)
        reports = len(bench.reports)
        await bench.restart(0, epoch_first=epoch_first)
        await bench.settle()
        for report in bench.reports[reports:]:
            assert report.epoch != bench.epochs[0], "an event of the old life in the new one"
        refused = len(bench.refused)
        await bench.send_unpredicted(reply(entries[2], b"\xff" * 80, 64)[0])
        await bench.settle()
        assert len(bench.refused) == refused + 1
        assert b"\xff" not in bench.memory
        new = [await bench.allocate(context=0, operation=GET, size=8) for _ in range(4)]
        assert {entry.handle: entry.generation - 1 for entry in new} == generations
        reports = len(bench.reports)
        expected = len(bench.expected.reports)
        for entry in (*new, others):
            await bench.send(reply(entry, bytes(8), 64)[0])
        await bench.settle()
        assert bench.reports[reports:] == bench.expected.reports[expected:]
        assert len(bench.reports) == reports + 5

    async def test() -> None:
        for delay in range(24):
            await life(delay)

    bench.run(test)


def test_a_response_that_waits_while_its_context_restarts_does_not_meet_the_new_life() -> None:
    """Its entry is in use again when its turn comes; the new life's memory and entry are not touched by it."""
    bench = Bench(contexts=2, outstanding=1, latency=3, mtu_bytes=64)

    async def test() -> None:
        other = await bench.allocate(context=1, operation=GET, size=64)
        old = await bench.allocate(context=0, operation=GET, size=8)
        bench.payloads_held = True
        bench.background += [*reply(other, bytes(64), 64), *reply(old, b"\xff" * 8, 64)]
        await bench.tick(20)
        assert len(bench.header_cycles) == 1, "the second one's header waits"
        await bench.restart(0, epoch_first=True)
        new = await bench.allocate(context=0, operation=GET, size=8)
        assert new.handle == old.handle
        bench.payloads_held = False
        await bench.settle()
        assert len(bench.refused) == 1
        assert b"\xff" not in bench.memory
        assert [report.context for report in bench.reports] == [1]
        await bench.send(reply(new, b"\xee" * 8, 64)[0])
        await bench.settle()
        assert [report.context for report in bench.reports] == [1, 0]
        assert b"\xee" * 8 in bench.memory

    bench.run(test)


def test_handles_and_generations() -> None:
    """Three contexts with four entries each, taken and given back in any order, and restarts: no handle is given out
    twice, a generation is one more than the last one of its slot, and a free entry is there again in four cycles."""
    parameters = NicParameters(contexts=3, outstanding=4)
    block = Outstanding(parameters)
    source = random.Random(1)
    generations = [0] * parameters.handles
    in_use: list[set[int]] = [set() for _ in range(3)]
    epochs = [0] * 3
    uses = 0

    async def test(ctx: Any) -> None:
        nonlocal uses
        allocate, lookup = block.allocate, block.lookup
        await ctx.tick().repeat(20)
        for _ in range(700):
            context = source.randrange(3)
            action = source.random()
            if action < 0.5 and ctx.get(allocate.free) >> context & 1:
                ctx.set(allocate.context, context)
                ctx.set(allocate.epoch, epochs[context])
                ctx.set(allocate.valid, 1)
                handle = ctx.get(allocate.handle)
                generations[handle] = (generations[handle] + 1) % 256
                assert (handle // 4, ctx.get(allocate.generation)) == (context, generations[handle])
                assert handle not in in_use[context]
                in_use[context].add(handle)
                uses += 1
                await ctx.tick()
                ctx.set(allocate.valid, 0)
            elif action < 0.98 and in_use[context]:
                handle = source.choice(sorted(in_use[context]))
                await _answer(ctx, block, context, handle, epochs, busy=source.random() < 0.5)
                in_use[context].discard(handle)
            elif action > 0.99:
                epochs[context] += 1
                in_use[context].clear()
                ctx.set(block.states[context].restarted, 1)
                await ctx.tick()
                ctx.set(block.states[context].restarted, 0)
                ctx.set(block.states[context].epoch, epochs[context])
            if source.random() < 0.1:
                await ctx.tick().repeat(12)  # each of the contexts in turn
                for index, used in enumerate(in_use):
                    assert ctx.get(allocate.free) >> index & 1 == (len(used) < 4)
                    await _judge_waiting(ctx, lookup, index, used, generations)

    simulate(block, test, [])
    assert uses > 150


async def _answer(ctx: Any, block: Outstanding, context: int, handle: int, epochs: list[int], *, busy: bool) -> None:
    """Looks up, closes and frees an entry. `busy`: while one is asked for in the name of a life that is over."""
    lookup, allocate = block.lookup, block.allocate
    ctx.set(lookup.context, context)
    ctx.set(lookup.slot, handle % 4)
    ctx.set(lookup.look, 1)
    await ctx.tick()
    ctx.set(lookup.look, 0)
    assert ctx.get(lookup.waiting)
    ctx.set(allocate.context, context)
    ctx.set(allocate.epoch, epochs[context] + 1)
    ctx.set(allocate.valid, busy)
    ctx.set(lookup.close, 1)
    if busy:
        await ctx.tick()
        ctx.set(allocate.valid, 0)
    await until(ctx, lookup.close_ready)
    ctx.set(lookup.close, 0)
    ctx.set(lookup.free_context, context)
    ctx.set(lookup.free_slot, handle % 4)
    ctx.set(lookup.free_epoch, epochs[context])
    ctx.set(lookup.free, 1)
    await ctx.tick()
    ctx.set(lookup.free, 0)


async def _judge_waiting(ctx: Any, lookup: Any, context: int, used: set[int], generations: list[int]) -> None:
    for slot in range(8):
        ctx.set(lookup.context, context)
        ctx.set(lookup.slot, slot)
        ctx.set(lookup.look, 1)
        await ctx.tick()
        ctx.set(lookup.look, 0)
        handle = 4 * context + slot
        assert ctx.get(lookup.waiting) == (slot < 4 and handle in used)
        assert not ctx.get(lookup.waiting) or ctx.get(lookup.generation) == generations[handle]
