"""Outstanding requests and the collection of responses, with what surrounds them: issuer, fabric, memory, events."""

import random
from collections.abc import Awaitable, Callable
from typing import Any

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.nic.initiator.collect import Collect
from rtl.nic.initiator.outstanding import Outstanding
from rtl.nic.interfaces.context import context_ports
from rtl.nic.interfaces.host import WritePort
from rtl.nic.interfaces.initiator import LeftPort, OutstandingPort
from rtl.nic.interfaces.reports import EventPort, RefusalPort, ReservePort
from rtl.nic.interfaces.widths import EPOCH_WIDTH, TIMEOUT_WIDTH
from rtl.nic.interfaces.wire import PacketPort
from rtl.nic.parameters import NicParameters
from rtl.portals import EVENT, Refusal
from tests.rtl.collect_reference import WINDOW_BYTES, Entry, Expected, Packet, Report, window_address
from tests.rtl.host_bench import simulate, until

WATCHDOG_CYCLES = 20_000


class CollectBlock(wiring.Component):
    """Both blocks, wired."""

    def __init__(self, parameters: NicParameters) -> None:
        self._parameters = parameters
        super().__init__(
            {
                **context_ports(parameters),
                "allocate": In(OutstandingPort(parameters.contexts)),
                "left": In(LeftPort()),
                "timeout": In(TIMEOUT_WIDTH),
                "i_packet": In(PacketPort(parameters.datapath_bits)),
                "write": Out(WritePort(parameters.datapath_bits)),
                "o_event": Out(EventPort()),
                "reserve": Out(ReservePort()),
                "refusal": Out(RefusalPort()),
                "collected": Out(1),
                "timed_out": Out(1),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.outstanding = outstanding = Outstanding(self._parameters)
        m.submodules.collect = collect = Collect(self._parameters)
        wiring.connect(m, collect.lookup, outstanding.lookup)
        wiring.connect(m, outstanding.expiry, collect.expiry)
        wiring.connect(m, wiring.flipped(self.allocate), outstanding.allocate)
        wiring.connect(m, wiring.flipped(self.left), outstanding.left)
        for ours, theirs in zip(self.contexts, collect.contexts, strict=True):
            wiring.connect(m, wiring.flipped(ours), theirs)
        for block in (collect, outstanding):
            for ours, theirs in zip(self.states, block.states, strict=True):
                wiring.connect(m, wiring.flipped(ours), theirs)
        for name in ("i_packet", "write", "o_event", "reserve", "refusal"):
            wiring.connect(m, wiring.flipped(getattr(self, name)), getattr(collect, name))
        m.d.comb += [
            outstanding.timeout.eq(self.timeout),
            self.collected.eq(collect.collected),
            self.timed_out.eq(collect.timed_out),
            self.quiescent.eq(collect.quiescent & outstanding.quiescent),
        ]
        return m


class Bench:
    """`stall`: chance that memory or events wait in a cycle; `latency` of a write's answer; `bad` bytes of memory."""

    def __init__(
        self, *, stall: float = 0.0, latency: int = 4, bad: range = range(0), seed: int = 1, **sizes: int
    ) -> None:
        self.parameters = NicParameters(**{"contexts": 3, "windows": 2, "mtu_bytes": 64, **sizes})
        self.block = CollectBlock(self.parameters)
        self.random = random.Random(seed)
        self.stall, self.latency, self.bad = stall, latency, bad
        self.memory = bytearray(window_address(self.parameters.contexts, 0))
        self.expected = Expected(bytearray(self.memory), bad)
        self.reports: list[Report] = []
        self.released: list[tuple[int, int]] = []
        self.refused: list[tuple[int, int]] = []
        self.collected = self.timed_out = 0
        self.cycle = 0
        self.answered = 0  # writes
        self.report_cycles: list[tuple[int, int]] = []  # cycle of each report, writes answered by then
        self.header_cycles: list[int] = []
        self.epochs = [0] * self.parameters.contexts
        self.background: list[Packet] = []  # sent beside the test, not predicted
        self.flit_cycles: list[int] = []  # when each flit was taken for memory
        self.payloads: list[int] = []  # flits whose header has been shown
        self.payloads_held = False  # none of them comes
        self.ctx: Any = None

    def run(self, test: Callable[[], Awaitable[None]]) -> None:
        async def bench(ctx: Any) -> None:
            self.ctx = ctx
            for index, context in enumerate(self.block.contexts):
                for window in range(2):
                    ctx.set(context.window_address[window], window_address(index, window))
                    ctx.set(context.window_bytes[window], WINDOW_BYTES)
                    ctx.set(context.window_local_write[window], window == 0)
                    ctx.set(context.window_local_read[window], 1)
                    ctx.set(context.window_remote_write[window], 1)
                ctx.set(context.jid, self.jid(index))
                ctx.set(self.block.states[index].active, 1)
            await test()

        roles = (self._send_background, self._feed, self._store, self._hear, self._watch)
        simulate(self.block, bench, roles)

    @staticmethod
    def jid(context: int) -> int:
        return 0x9000 + context

    async def tick(self, count: int = 1) -> None:
        for _ in range(count):
            await self.ctx.tick()

    async def settle(self) -> None:
        """Until all is done and quiescent."""
        await self.tick()
        while self.background or self.payloads or not self.ctx.get(self.block.quiescent):
            await self.tick()
        await self.tick(2)

    def judge(self) -> None:
        assert self.reports == self.expected.reports
        assert self.released == self.expected.released
        assert self.refused == self.expected.refused
        assert (self.collected, self.timed_out) == (self.expected.collected, self.expected.timed_out)
        assert self.memory == self.expected.memory

    async def allocate(self, **fields: Any) -> Entry:
        """Makes an entry as soon as its context has a free one."""
        entry = Entry(**fields)
        ctx, port = self.ctx, self.block.allocate
        while not ctx.get(port.free) >> entry.context & 1:
            await self.tick()
        entry.epoch = self.epochs[entry.context]
        for name, value in {
            "context": entry.context,
            "epoch": entry.epoch,
            "dst_nid": entry.dst_nid,
            "dst_pid": entry.dst_pid,
            "window": entry.window,
            "offset": entry.offset,
            "bytes": entry.size,
            "command_word": entry.command_word,
            "user_data": entry.user_data,
            "valid": 1,
        }.items():
            ctx.set(getattr(port, name), value)
        entry.handle, entry.generation = ctx.get(port.handle), ctx.get(port.generation)
        await self.tick()
        ctx.set(port.valid, 0)
        return entry

    async def leave(self, entry: Entry) -> None:
        """The last packet of the entry's request has left."""
        ctx, port = self.ctx, self.block.left
        for name in ("context", "epoch", "handle", "generation"):
            ctx.set(getattr(port, name), getattr(entry, name))
        ctx.set(port.valid, 1)
        await self.tick()
        ctx.set(port.valid, 0)

    async def send(self, packet: Packet) -> None:
        """Shows the packet until its header is taken."""
        self.expected.see(packet)
        await self._show(self.ctx, packet)

    async def send_unpredicted(self, packet: Packet) -> None:
        await self._show(self.ctx, packet)

    async def _show(self, ctx: Any, packet: Packet) -> None:
        port = self.block.i_packet
        for signal, word in zip(port.words, packet.words, strict=True):
            ctx.set(signal, word)
        ctx.set(port.context, packet.context)
        ctx.set(port.epoch, self.epochs[packet.context])
        ctx.set(port.poisoned, packet.poisoned)
        ctx.set(port.valid, 1)
        size = self.parameters.datapath_bytes
        text = packet.payload
        self.payloads += [int.from_bytes(text[i : i + size], "little") for i in range(0, len(text), size)]
        await until(ctx, port.ready)
        self.header_cycles.append(self.cycle)
        ctx.set(port.valid, 0)

    async def send_all(self, packets: list[Packet]) -> None:
        for packet in packets:
            await self.send(packet)

    async def _send_background(self, ctx: Any) -> None:
        while True:
            await ctx.tick()
            while self.background:
                await self._show(ctx, self.background[0])
                self.background.pop(0)

    async def restart(self, context: int, *, epoch_first: bool) -> None:
        """A restart, whose epoch may change in the cycle of the pulse or with its end."""
        ctx, state = self.ctx, self.block.states[context]
        self.epochs[context] = (self.epochs[context] + 1) % (1 << EPOCH_WIDTH)
        ctx.set(state.restarted, 1)
        if epoch_first:
            ctx.set(state.epoch, self.epochs[context])
        await self.tick()
        ctx.set(state.restarted, 0)
        ctx.set(state.epoch, self.epochs[context])

    def _goes(self) -> bool:
        return self.random.random() >= self.stall

    async def _feed(self, ctx: Any) -> None:
        port = self.block.i_packet
        offered = False
        async for _, _, ready in ctx.tick().sample(port.data_ready):
            if offered and ready:
                self.payloads.pop(0)
                offered = False
            offered = offered or (bool(self.payloads) and not self.payloads_held and self._goes())
            ctx.set(port.data_valid, offered)
            if offered:
                ctx.set(port.data, self.payloads[0])

    async def _store(self, ctx: Any) -> None:
        """Memory behind the write port: requests in order, answers `latency` cycles after the last flit."""
        port = self.block.write
        size = self.parameters.datapath_bytes
        requests: list[tuple[int, int]] = []
        answers: list[tuple[int, bool]] = []
        done = 0
        held = None
        async for _, _, valid, ready, address, count, data_valid, data_ready, flit in ctx.tick().sample(
            port.valid, port.ready, port.address, port.bytes, port.data_valid, port.data_ready, port.data
        ):
            assert held is None or held == (address, count, valid), "a write request changed"
            held = (address, count, valid) if valid and not ready else None
            if valid and ready:
                requests.append((address, count))
            if data_valid and data_ready:
                self.flit_cycles.append(self.cycle)
                address, count = requests[0]
                text = flit.to_bytes(size, "little")
                for index in range(done, min(done + size, count)):
                    if address + index not in self.bad:
                        self.memory[address + index] = text[index - done]
                done += size
                if done >= count:
                    error = bool(set(range(address, address + count)) & set(self.bad))
                    answers.append((self.cycle + self.latency, error))
                    requests.pop(0)
                    done = 0
            answer = bool(answers and answers[0][0] <= self.cycle)
            ctx.set(port.done, answer)
            if answer:
                ctx.set(port.error, answers.pop(0)[1])
                self.answered += 1
            ctx.set(port.ready, self._goes())
            ctx.set(port.data_ready, bool(requests) and self._goes())

    async def _hear(self, ctx: Any) -> None:
        port = self.block.o_event
        held = None
        async for (
            _,
            _,
            valid,
            ready,
            context,
            epoch,
            event,
            counted,
            setting,
            counter,
            success,
            failure,
            *words,
        ) in ctx.tick().sample(
            port.valid,
            port.ready,
            port.context,
            port.epoch,
            port.event,
            port.counter_valid,
            port.counter_set,
            port.counter,
            port.success,
            port.failure,
            *port.words,
        ):
            ctx.set(port.ready, self._goes())
            shown = (context, epoch, event, counted, counter, success, failure, words)
            assert held is None or (valid and held == shown), "an event changed before it was taken"
            held = shown if valid and not ready else None
            if valid and ready:
                assert not setting
                told = EVENT.unpack(words) if event else None
                count = (counter, success, failure) if counted else None
                self.reports.append(Report(context=context, epoch=epoch, event=told, counter=count))
                self.report_cycles.append((self.cycle, self.answered))

    async def _watch(self, ctx: Any) -> None:
        reserve, refusal = self.block.reserve, self.block.refusal
        async for _, _, *seen in ctx.tick().sample(
            self.block.collected,
            self.block.timed_out,
            reserve.valid,
            reserve.release_valid,
            reserve.release_context,
            reserve.release_epoch,
            reserve.release_count,
            refusal.valid,
            refusal.reason,
            refusal.context,
            refusal.detail,
        ):
            (
                collected,
                timed_out,
                reserving,
                releasing,
                context,
                epoch,
                count,
                refusing,
                reason,
                refused_context,
                detail,
            ) = seen
            self.cycle += 1
            assert self.cycle < WATCHDOG_CYCLES, f"the test has not ended after {WATCHDOG_CYCLES} cycles"
            assert not reserving
            self.collected += collected
            self.timed_out += timed_out
            if releasing:
                assert count == 1
                self.released.append((context, epoch))
            if refusing:
                assert reason == Refusal.PACKET_HANDLE
                self.refused.append((refused_context, detail))
