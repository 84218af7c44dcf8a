"""The sending side: CRC, stamp, packets of jobs."""

import random
import zlib
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import pytest

from rtl.nic.parameters import NicParameters
from rtl.nic.wire.crc import Crc32
from rtl.nic.wire.lanes import SEQUENCE_WIDTH
from rtl.nic.wire.send import Send
from rtl.nic.wire.stamp import Stamp
from rtl.packets import REQUEST, RESPONSE, PacketKind, pack
from rtl.portals import Operation
from tests.rtl.nic_wire_bench import Clock, FlitSink, ReadMemory, settle, simulate

WIDTHS = (64, 128)
NID = 1


def parameters(width: int, **changes: int) -> NicParameters:
    return NicParameters(**{"contexts": 3, "mtu_bytes": 256, "nodes": 4, "datapath_bits": width, **changes})


@pytest.mark.parametrize("width", WIDTHS)
def test_crc_is_zlibs_with_gaps_between_flits(width: int) -> None:
    crc = Crc32(width)
    source = random.Random(1)

    async def test(ctx: Any) -> None:
        for flits in ([0], [1 << (width - 1)], [source.getrandbits(width) for _ in range(40)]):
            ctx.set(crc.clear, 1)
            await ctx.tick()
            ctx.set(crc.clear, 0)
            assert ctx.get(crc.value) == 0
            text = b""
            for index, flit in enumerate(flits):
                ctx.set(crc.flit, flit)
                ctx.set(crc.valid, 1)
                await ctx.tick()
                ctx.set(crc.valid, 0)
                ctx.set(crc.flit, ~flit & (1 << width) - 1)
                if index % 2:
                    await ctx.tick()
                text += flit.to_bytes(width // 8, "little")
                assert ctx.get(crc.value) == zlib.crc32(text)

    simulate(crc, test)


def _stamped(stamp: Any) -> Any:
    async def give(ctx: Any, context: int, dst_nid: int, *, resume: int = 0) -> tuple[int, int]:
        ctx.set(stamp.start, 1)
        ctx.set(stamp.context, context)
        ctx.set(stamp.dst_nid, dst_nid)
        ctx.set(stamp.resume, resume)
        await ctx.tick()
        ctx.set(stamp.start, 0)
        for changing in (stamp.context, stamp.dst_nid):
            ctx.set(changing, 0)
        first = ctx.get(stamp.trusted[0]), ctx.get(stamp.trusted[1])
        await ctx.tick()
        assert (ctx.get(stamp.trusted[0]), ctx.get(stamp.trusted[1])) == first
        return first

    return give


def _name(ctx: Any, stamp: Any, *, pid: int, jid: int) -> None:
    for index in range(len(stamp.pids)):
        ctx.set(stamp.pids[index], pid + index)
        ctx.set(stamp.jids[index], jid)


def test_identity_is_that_of_the_context_and_stays_that_of_its_message() -> None:
    """By hand: jid 0xABCD0001, pid 0x0207, nid 0x0009 in that order from the top."""
    stamp = Stamp(parameters(64), response=False)
    give = _stamped(stamp)

    async def test(ctx: Any) -> None:
        ctx.set(stamp.nid, 9)
        _name(ctx, stamp, pid=0x205, jid=0xABCD_0001)
        assert (await give(ctx, 2, 3))[0] == 0xABCD_0001_0207_0009
        assert (await give(ctx, 1, 3))[0] == 0xABCD_0001_0206_0009
        _name(ctx, stamp, pid=0x300, jid=7)
        assert (await give(ctx, 2, 3, resume=1))[0] == 0xABCD_0001_0207_0009
        assert (await give(ctx, 0, 3))[0] == 0x0000_0007_0300_0009
        assert (await give(ctx, 1, 3, resume=1))[0] == 0xABCD_0001_0206_0009
        assert (await give(ctx, 2, 3))[0] == 0x0000_0007_0302_0009
        assert (await give(ctx, 2, 3, resume=1))[0] == 0x0000_0007_0302_0009

    simulate(stamp, test)


@pytest.mark.parametrize("response", [False, True])
def test_sequence_counts_by_node_and_lane_and_wraps(response: bool) -> None:
    stamp = Stamp(parameters(64), response=response)
    give = _stamped(stamp)
    counted: dict[tuple[int, int], int] = defaultdict(int)

    async def test(ctx: Any) -> None:
        source = random.Random(3)
        for resume in [0] * 60 + [1] * 20:
            context, node = source.randrange(3), source.randrange(4)
            lane = 3 if response else context
            expected = REQUEST.pack(lane=lane, sequence=counted[node, lane])[2]
            assert (await give(ctx, context, node, resume=resume))[1] == expected
            counted[node, lane] += 1
        (sequences,) = [memory for memory in clock.memories if memory.shape == SEQUENCE_WIDTH]
        for row in range(sequences.depth):
            ctx.set(sequences[row], (1 << 56) - 3)
        # One a cycle, so that a number is used again while it is being counted.
        ctx.set(stamp.context, 1)
        ctx.set(stamp.dst_nid, 2)
        ctx.set(stamp.start, 1)
        for sequence in (*range((1 << 56) - 3, 1 << 56), 0, 1):
            await ctx.tick()
            assert ctx.get(stamp.trusted[1]) == REQUEST.pack(lane=3 if response else 1, sequence=sequence)[2]

    clock = Clock()
    simulate(stamp, test, clock=clock)


@dataclass(kw_only=True)
class Job:
    """As an issuer gives it, and who its context belongs to when it is shown."""

    context: int
    fields: dict[str, int]
    payload_bytes: int = 0
    address: int = 0
    inline: bytes | None = None
    resume: int = 0
    tag: int = 0
    identity: tuple[int, int] = (0, 0)


class Issuer:
    """Gives jobs; `shown_cycles` is when each was first shown, `done` the (tag, failed) of those that have left."""

    def __init__(self, block: Any, clock: Clock, *, response: bool = False, stall: float = 0.0) -> None:
        self.jobs: list[Job] = []
        self.shown_cycles: list[int] = []
        self.done: list[tuple[int, int]] = []
        self.sent = 0
        self._block, self._clock, self._stall = block, clock, stall
        self._record = RESPONSE if response else REQUEST
        self._random = random.Random(7)

    @property
    def busy(self) -> bool:
        return bool(self.jobs)

    def _show(self, ctx: Any, job: Job) -> None:
        port, block = self._block.i_job, self._block
        words = self._record.pack(**job.fields)
        words[1], words[2] = self._random.getrandbits(64), self._random.getrandbits(64)  # not the issuer's to say
        values = {
            "context": job.context,
            "resume": job.resume,
            "payload_bytes": job.payload_bytes,
            "address": job.address,
            "inline": job.inline is not None,
            "tag": job.tag,
        }
        for name, value in values.items():
            ctx.set(getattr(port, name), value)
        for signal, word in zip(port.words, words, strict=True):
            ctx.set(signal, word)
        # Behind the payload lies what is not to be seen.
        text = (job.inline or b"").ljust(64, b"\xee")
        for index, signal in enumerate(port.data):
            ctx.set(signal, int.from_bytes(text[8 * index : 8 * index + 8], "little"))
        ctx.set(block.contexts[job.context].pid, job.identity[0])
        ctx.set(block.contexts[job.context].jid, job.identity[1])

    async def run(self, ctx: Any) -> None:
        port, block = self._block.i_job, self._block
        ctx.set(block.nid, NID)
        shown = False
        signals = (port.ready, port.done, port.done_tag, port.failed, block.sent)
        async for _, _, ready, done, tag, failed, sent in ctx.tick().sample(*signals):
            if done:
                self.done.append((tag, failed))
            self.sent += sent
            if shown and ready:
                self.jobs.pop(0)
                shown = False
            elif shown:
                # Its context has been given to another process meanwhile.
                ctx.set(block.contexts[self.jobs[0].context].pid, 0xDEAD)
                ctx.set(block.contexts[self.jobs[0].context].jid, 0xDEAD)
            if not shown and self.jobs and self._random.random() >= self._stall:
                shown = True
                self._show(ctx, self.jobs[0])
                self.shown_cycles.append(self._clock.cycle)
            ctx.set(port.valid, shown)


class Reference:
    """The packets that jobs make."""

    def __init__(self, of: NicParameters, memory: ReadMemory, *, response: bool) -> None:
        self._of, self._memory, self._response = of, memory, response
        self._sequences: dict[tuple[int, int], int] = defaultdict(int)
        self._identities: dict[int, tuple[int, int]] = {}

    def packet(self, job: Job) -> tuple[list[int], bool]:
        """Its flits, and whether it leaves poisoned."""
        if not job.resume:
            self._identities[job.context] = job.identity
        pid, jid = self._identities[job.context]
        lane = self._of.contexts if self._response else job.context
        sequence = self._sequences[job.fields["dst_nid"], lane]
        self._sequences[job.fields["dst_nid"], lane] += 1
        payload, good = self._memory.payload(job.address, job.payload_bytes)
        if job.inline is not None:
            payload, good = job.inline, True
        trusted = {"src_nid": NID, "src_pid": pid, "jid": jid, "lane": lane, "sequence": sequence}
        record = RESPONSE if self._response else REQUEST
        flits = pack(record, payload, datapath_bits=self._of.datapath_bits, **job.fields, **trusted)
        if not good:
            flits[-1] ^= 0xFFFF_FFFF
        return flits, not good


def _random_jobs(source: random.Random, of: NicParameters, count: int, *, response: bool) -> list[Job]:
    jobs: list[Job] = []
    named: set[int] = set()
    for number in range(count):
        context = source.randrange(of.contexts)
        size = source.choice([0, 0, 1, 7, 8, 9, 16, 17, 63, 64, of.mtu_bytes - 1, of.mtu_bytes])
        inline = source.randbytes(min(size, 64)) if source.random() < 0.3 else None
        fields = {
            "dst_nid": source.randrange(of.nodes),
            "dst_pid": source.getrandbits(16),
            "kind": PacketKind.REPLY if response else Operation.PUT,
            "remote_offset": source.getrandbits(64),
            "segment_offset": source.getrandbits(32),
            "handle": source.getrandbits(16),
            "last": source.getrandbits(1),
        }
        jobs.append(
            Job(
                context=context,
                fields=fields,
                payload_bytes=len(inline) if inline is not None else size,
                address=source.randrange(1 << 16),
                inline=inline,
                resume=int(context in named and source.random() < 0.4),
                tag=number * 7 & 0xFFFF,
                identity=(source.getrandbits(16), source.getrandbits(32)),
            )
        )
        named.add(context)
    return jobs


SMALLEST = {"contexts": 1, "mtu_bytes": 64, "nodes": 1}


@pytest.mark.parametrize(
    ("width", "response", "stall", "sizes"),
    [
        (64, False, 0.0, {}),
        (64, True, 0.5, {}),
        (128, False, 0.4, {}),
        (128, True, 0.1, {}),
        (64, False, 0.2, SMALLEST),
    ],
)
def test_packets_are_those_of_the_jobs(width: int, response: bool, stall: float, sizes: dict[str, int]) -> None:
    of = parameters(width, **sizes)
    send, clock = Send(of, response=response), Clock()
    issuer = Issuer(send, clock, response=response, stall=stall)
    sink = FlitSink(send.o_flits, clock, stall=stall)
    memory = ReadMemory(send.read, clock, width, latency=9, stall=stall)
    source = random.Random(width + response)
    jobs = _random_jobs(source, of, 60, response=response)
    for job in source.sample([job for job in jobs if job.payload_bytes and job.inline is None], 5):
        memory.bad.add(job.address + source.randrange(job.payload_bytes))
    reference = Reference(of, memory, response=response)
    expected = [reference.packet(job) for job in jobs]
    assert 5 <= sum(poisoned for _, poisoned in expected) < len(jobs) / 2

    async def test(ctx: Any) -> None:
        for start in range(0, len(jobs), 15):
            issuer.jobs += jobs[start : start + 15]
            await settle(ctx, send, lambda: issuer.busy)
            await ctx.tick().repeat(3)

    simulate(send, test, issuer.run, sink.run, memory.run, clock=clock)
    assert sink.packets == [flits for flits, _ in expected]
    assert issuer.done == [(job.tag, int(poisoned)) for job, (_, poisoned) in zip(jobs, expected, strict=True)]
    assert issuer.sent == sum(not poisoned for _, poisoned in expected)
    assert clock.quiet_edges > 8


def _put(size: int, address: int = 0x1003) -> Job:
    return Job(context=0, fields={"dst_nid": 2, "kind": Operation.PUT}, payload_bytes=size, address=address)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("size", [0, 8, 64, 256])
def test_first_flit_soon_and_no_gap_between_packets(width: int, size: int) -> None:
    """The header goes before the payload has come, on a wide datapath when its first flit is stamped; from the first
    payload on there is a flit in each cycle.
    """
    latency, packets = 20, 6
    send, clock = Send(parameters(width), response=False), Clock()
    issuer, sink = Issuer(send, clock), FlitSink(send.o_flits, clock)
    memory = ReadMemory(send.read, clock, width, latency=latency)

    async def test(ctx: Any) -> None:
        await ctx.tick().repeat(3)
        issuer.jobs += [_put(size) for _ in range(packets)]
        await settle(ctx, send, lambda: issuer.busy)

    simulate(send, test, issuer.run, sink.run, memory.run, clock=clock)
    # A flit is taken at the end of the cycle in which it is shown.
    assert sink.cycles[0] - 1 - issuer.shown_cycles[0] == {64: 2, 128: 3}[width]
    header = 512 // width
    for cycles in (sink.cycles[:header], sink.cycles[header:]):
        assert cycles[-1] - cycles[0] == len(cycles) - 1


@pytest.mark.parametrize("width", WIDTHS)
def test_no_more_payload_is_asked_for_than_there_is_room_for(width: int) -> None:
    of = parameters(width, mtu_bytes=1024, read_ahead_flits=16)
    send, clock = Send(of, response=False), Clock()
    issuer, sink = Issuer(send, clock), FlitSink(send.o_flits, clock)
    memory = ReadMemory(send.read, clock, width)
    reference = Reference(of, memory, response=False)
    jobs = [_put(1024 - 24 * number, address=100 * number) for number in range(8)]

    async def test(ctx: Any) -> None:
        sink.blocked = True
        issuer.jobs += jobs
        await ctx.tick().repeat(600)
        assert memory.flits_requested == 16 + 8, "what may be read ahead, and a piece"
        sink.blocked = False
        await settle(ctx, send, lambda: issuer.busy)

    expected = [reference.packet(job)[0] for job in jobs]
    simulate(send, test, issuer.run, sink.run, memory.run, clock=clock)
    assert sink.packets == expected
