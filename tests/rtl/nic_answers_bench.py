"""What surrounds the block that makes responses: a deliverer, a sender of packets, a writer of events."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from rtl.nic.parameters import NicParameters
from rtl.nic.target.answers import Answers
from rtl.packets import RESPONSE, PacketKind
from rtl.portals import EVENT, Fail
from tests.rtl.nic_port_bench import simulate

WINDOW_BYTES = 0x800
OPEN, CLOSED = 0, 1  # windows of each context: with remote_read alone, with all rights but remote_read


def window_base(context: int, window: int) -> int:
    return 0x10_0000 * (context + 1) + 0x1_0003 * window


def _whole_event(fields: dict[str, int] | None) -> dict[str, int] | None:
    return fields and {name: int(fields.get(name, 0)) for name in EVENT.fields}


@dataclass(frozen=True, kw_only=True)
class Owed:
    """An answer as the deliverer gives it; `header` and the events by the names of their records' fields."""

    kind: PacketKind = PacketKind.REPLY
    context: int = 0
    epoch: int = 0
    header: dict[str, int] = field(default_factory=dict)
    window: int = OPEN
    offset: int = 0
    data: bytes | None = None  # inline
    event: dict[str, int] | None = None
    success_disable: bool = False
    unlink: dict[str, int] | None = None
    counter: tuple[int, int, int] | None = None  # number, success, failure
    taker: tuple[int, int] | None = None  # number and list of the match entry
    unexpected: int | None = None  # number of the header, if there is one

    @property
    def size(self) -> int:
        return self.header.get("manipulated_bytes", 0)

    @property
    def handle(self) -> int:
        return self.header.get("handle", 0)

    def packets(self, mtu_bytes: int) -> list[dict[str, int]]:
        """Headers of the packets that answer, while nothing is reconfigured, with `address` of the payload."""
        common = dict.fromkeys(RESPONSE.fields, 0) | self.header | {"kind": self.kind, "last": 0}
        if self.kind is PacketKind.ACK or self.size == 0:
            return [common | {"last": 1, "address": 0}]
        inside = self.offset + self.size <= WINDOW_BYTES and self.window == OPEN
        if self.data is None and not inside:
            return [common | {"last": 1, "address": 0, "manipulated_bytes": 0, "fail": Fail.SEGMENT}]
        packets = []
        position = 0
        while position < self.size:
            payload = min(mtu_bytes, self.size - position)
            address = 0 if self.data is not None else window_base(self.context, self.window) + self.offset + position
            packets.append(common | {"segment_offset": position, "payload_bytes": payload, "address": address})
            position += payload
        packets[-1]["last"] = 1
        return packets

    def reports(self, *, failed: bool) -> list[tuple[Any, ...]]:
        """What is told when the reply has left: (context, epoch, event or None, counter or None), a release, or the
        end for the match entry."""
        told: list[tuple[Any, ...]] = []
        whose = (self.context, self.epoch)
        event = _whole_event(self.event)
        counter = self.counter
        if failed:
            event = event and event | {"fail": int(Fail.SEGMENT), "manipulated_bytes": 0}
            counter = counter and (counter[0], 0, 1)
        if event and self.success_disable and event["fail"] == Fail.OK:
            event = None
        if event or counter:
            told.append((*whose, event, counter))
        if self.event and not event:
            told.append((*whose, "release", 1))
        if self.unlink is not None:
            told.append((*whose, _whole_event(self.unlink), None))
        if self.taker is not None:
            bad = failed or (self.event or {}).get("fail", Fail.OK) != Fail.OK
            told.append((*whose, "finish", (*self.taker, self.unexpected, bad)))
        return told


class AnswersBench:
    """`jobs` are those taken, in their order, and `told` what came out for the processes.

    A packet leaves `done_cycles` after its job was taken, if `flowing`. `fails` says of a job whether memory refuses
    its payload. `stall` is the probability that a channel waits in a cycle.
    """

    def __init__(self, *, replies: int = 2, stall: float = 0.0, done_cycles: int = 5, ahead: int = 8) -> None:
        self.parameters = NicParameters(contexts=2, windows=2, replies=replies, mtu_bytes=64)
        self.block = Answers(self.parameters)
        self.jobs: list[dict[str, int]] = []
        self.inline: list[bytes] = []  # of each job the words beside it
        self.told: list[tuple[Any, ...]] = []
        self.done: list[int] = []  # handles of the packets that have left
        self.fails: Callable[[dict[str, int]], bool] = lambda job: False
        self.flowing = True
        self.lean = True  # the sender wants the next packet to be chosen
        self.cycle = 0
        self.ctx: Any = None
        self._under_way: list[tuple[int, int, bool, int]] = []  # due cycle, tag, failed, handle
        self._done_cycles = done_cycles
        self.ahead = ahead
        self._stall = stall
        self._random = random.Random(3)

    def run(self, test: Callable[[], Awaitable[None]]) -> None:
        async def with_context(ctx: Any) -> None:
            self.ctx = ctx
            for context, registers in enumerate(self.block.contexts):
                ctx.set(self.block.states[context].active, 1)
                for window in (OPEN, CLOSED):
                    ctx.set(registers.window_address[window], window_base(context, window))
                    ctx.set(registers.window_bytes[window], WINDOW_BYTES)
                    ctx.set(registers.window_remote_read[window], window == OPEN)
                    for right in ("local_read", "local_write", "remote_write"):
                        ctx.set(getattr(registers, f"window_{right}")[window], window == CLOSED)
            await ctx.tick()
            await test()

        simulate(self.block, with_context, self._send, self._listen)

    def _goes(self) -> bool:
        return self._random.random() >= self._stall

    async def _send(self, ctx: Any) -> None:
        job = self.block.o_job
        held: Any = None
        payload = (job.context, job.resume, job.payload_bytes, job.address, job.inline, job.tag, *job.words, *job.data)
        async for _, _, valid, ready, *sampled in ctx.tick().sample(job.valid, job.ready, *payload):
            self.cycle += 1
            assert held is None or (valid and held == sampled), "a job fell or changed"
            held = sampled if valid and not ready else None
            if valid and ready:
                self._take(*sampled[:6], sampled[6:14], sampled[14:])
            leaves = self.flowing and bool(self._under_way) and self._under_way[0][0] <= self.cycle
            if leaves:
                _, tag, failed, handle = self._under_way.pop(0)
                self.done.append(handle)
                ctx.set(job.done_tag, tag)
                ctx.set(job.failed, failed)
            ctx.set(job.done, leaves)
            ctx.set(job.lean, self.lean)
            ctx.set(job.ready, len(self._under_way) < self.ahead and self._goes())

    def _take(
        self, context: int, resume: int, payload: int, address: int, inline: int, tag: int, words: Any, data: Any
    ) -> None:
        assert all(words[index] & RESPONSE.reserved_mask(index) == 0 for index in range(len(words)))
        header = RESPONSE.unpack(words)
        assert not resume
        assert payload == header["payload_bytes"]
        taken = header | {"address": 0 if inline or not payload else address, "context": context, "cycle": self.cycle}
        self.jobs.append(taken)
        self.inline.append(b"".join(word.to_bytes(8, "little") for word in data)[:payload] if inline else b"")
        self._under_way.append((self.cycle + self._done_cycles, tag, self.fails(taken), header["handle"]))

    async def _listen(self, ctx: Any) -> None:
        event, reserve = self.block.o_event, self.block.reserve
        ports = (event.context, event.epoch, event.event, event.counter_valid, event.counter)
        release = (reserve.release_valid, reserve.release_context, reserve.release_epoch, reserve.release_count)
        finish = self.block.finish
        ends = (finish.finish_context, finish.finish_epoch, finish.finish_entry, finish.finish_overflow)
        ends += (finish.finish_unexpected, finish.finish_header, finish.finish_failed)
        sampled = (event.valid, event.ready, *ports, event.success, event.failure, *release, *event.words)
        held: Any = None
        held_end: Any = None
        finishes = (finish.finish, finish.finish_ready, *ends)
        async for _, _, ending, end_taken, *values in ctx.tick().sample(*finishes, *sampled):
            owner, life, entry, which, unexpected, header, failed, valid, ready, *values = values
            end = (owner, life, "finish", (entry, which, header if unexpected else None, bool(failed)))
            assert held_end is None or (ending and held_end == end), "the end of a message fell or changed"
            held_end = end if ending and not end_taken else None
            if ending and end_taken:
                self.told.append(end)
            ctx.set(finish.finish_ready, self._goes())
            context, epoch, has_event, counted, counter, success, failure, released, *release_values = values[:11]
            words = values[11:]
            told = (
                context,
                epoch,
                EVENT.unpack(words) if has_event else None,
                (counter, success, failure) if counted else None,
            )
            assert held is None or (valid and held == told), "an event fell or changed"
            held = told if valid and not ready else None
            if valid and ready:
                self.told.append(told)
            if released:
                self.told.append((*release_values[:2], "release", release_values[2]))
            ctx.set(event.ready, self._goes())

    async def give(self, owed: Owed) -> None:
        """As the deliverer does: when there is room for either kind of answer."""
        while not (self.ctx.get(self.block.i_answer.ack_ready) and self.ctx.get(self.block.i_answer.reply_ready)):
            await self.ctx.tick()
        await self.force(owed)

    async def force(self, owed: Owed) -> None:
        """In this cycle."""
        ctx, port = self.ctx, self.block.i_answer
        ctx.set(port.valid, 1)
        ctx.set(port.context, owed.context)
        ctx.set(port.epoch, owed.epoch)
        self._set_words(port.words, RESPONSE.pack(kind=owed.kind, **owed.header))
        ctx.set(port.window, owed.window)
        ctx.set(port.offset, owed.offset)
        ctx.set(port.inline, owed.data is not None)
        data = (owed.data or bytes(64)).ljust(64, b"\xee")
        self._set_words(port.data, [int.from_bytes(data[at : at + 8], "little") for at in range(0, 64, 8)])
        ctx.set(port.event, owed.event is not None)
        self._set_words(port.event_words, EVENT.pack(**(owed.event or {})))
        ctx.set(port.unlink_event, owed.unlink is not None)
        self._set_words(port.unlink_words, EVENT.pack(**(owed.unlink or {})))
        ctx.set(port.event_success_disable, owed.success_disable)
        ctx.set(port.counter_valid, owed.counter is not None)
        ctx.set(port.matched, owed.taker is not None)
        ctx.set(port.entry, owed.taker[0] if owed.taker else 0)
        ctx.set(port.overflow, owed.taker[1] if owed.taker else 0)
        ctx.set(port.unexpected, owed.unexpected is not None)
        ctx.set(port.header, owed.unexpected or 0)
        for member, value in zip((port.counter, port.success, port.failure), owed.counter or (0, 0, 0), strict=True):
            ctx.set(member, value)
        await ctx.tick()
        ctx.set(port.valid, 0)

    def _set_words(self, port: Any, words: list[int]) -> None:
        for member, word in zip(port, words, strict=True):
            self.ctx.set(member, word)

    async def settle(self) -> None:
        """Until everything has left and has been told."""
        still = 0
        while still < 3:
            await self.ctx.tick()
            offers = self.ctx.get(self.block.o_job.valid) or self.ctx.get(self.block.o_event.valid)
            quiet = self.ctx.get(self.block.quiescent) and not offers and not self._under_way
            still = still + 1 if quiet else 0

    def headers(self, handle: int) -> list[dict[str, int]]:
        """Of the packets of the answer to `handle`, with `address` and without what the bench put beside it."""
        ours = [job for job in self.jobs if job["handle"] == handle]
        return [{name: value for name, value in job.items() if name not in ("context", "cycle")} for job in ours]
