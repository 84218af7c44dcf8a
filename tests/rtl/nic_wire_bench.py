"""Around the wire side of a NIC in Amaranth's simulator: fabric, memory, issuers and takers; all judge rules."""

import random
from collections.abc import Callable, Sequence
from typing import Any

from amaranth.hdl import Fragment
from amaranth.sim import Simulator

from rtl.packets import HEADER_WORDS, REQUEST, payload_flits
from tests.rtl.quiescence import QuiescenceJudge
from tests.rtl.roles import Role, as_testbench

WATCHDOG_CYCLES = 40_000


class Clock:
    """Counts cycles for all roles and ends a test that does not."""

    def __init__(self) -> None:
        self.cycle = 0
        self.quiet_edges = 0
        self.memories: list[Any] = []  # contents of the block's memories, for `ctx.get` and `ctx.set`

    async def run(self, ctx: Any) -> None:
        while True:
            await ctx.tick()
            self.cycle += 1
            assert self.cycle < WATCHDOG_CYCLES, f"the test has not ended after {WATCHDOG_CYCLES} cycles"


def simulate(block: Any, test: Role, *roles: Role, clock: Clock | None = None) -> Clock:
    """Runs `test` with the other roles in the background; judges `quiescent` if the block has it."""
    clock = clock or Clock()
    fragment = Fragment.get(block, None)
    clock.memories = memories_of(fragment)
    simulator = Simulator(fragment)
    simulator.add_clock(1e-8)
    simulator.add_testbench(as_testbench(test))
    background = [clock.run, *roles]
    judge = QuiescenceJudge(fragment, block.quiescent) if hasattr(block, "quiescent") else None
    if judge:
        background.append(judge.watch)
    for role in background:
        simulator.add_testbench(as_testbench(role), background=True)
    simulator.run()
    if judge:
        clock.quiet_edges += judge.quiet_edges
    return clock


def memories_of(fragment: Any) -> list[Any]:
    """Contents of all memories in `fragment` and below."""
    own = [fragment._data] if hasattr(fragment, "_write_ports") else []
    return own + [memory for child, *_ in fragment.subfragments for memory in memories_of(child)]


async def settle(ctx: Any, block: Any, *busy: Callable[[], bool]) -> None:
    """Until the block is quiescent and nobody around it is busy, for two cycles."""
    quiet = 0
    while quiet < 2:
        quiet = quiet + 1 if ctx.get(block.quiescent) and not any(is_busy() for is_busy in busy) else 0
        await ctx.tick()


class FlitSource:
    """Gives packets to a block; `taken_cycles` says when the last flit of each was taken."""

    def __init__(self, stream: Any, clock: Clock, *, stall: float = 0.0, seed: int = 1) -> None:
        self.taken_cycles: list[int] = []
        self.waits = 0  # cycles in which the block would not take an offered flit
        self._stream, self._clock, self._stall = stream, clock, stall
        self._random = random.Random(seed)
        self._queue: list[tuple[int, bool]] = []

    def inject(self, flits: Sequence[int]) -> None:
        self._queue += [(flit, index == len(flits) - 1) for index, flit in enumerate(flits)]

    @property
    def busy(self) -> bool:
        return bool(self._queue)

    async def run(self, ctx: Any) -> None:
        stream, offered = self._stream, False
        async for _, _, ready in ctx.tick().sample(stream.ready):
            self.waits += offered and not ready
            if offered and ready:
                if self._queue.pop(0)[1]:
                    self.taken_cycles.append(self._clock.cycle)
                offered = False
            if not offered and self._queue and self._random.random() >= self._stall:
                offered = True
                ctx.set(stream.payload.data, self._queue[0][0])
                ctx.set(stream.payload.last, self._queue[0][1])
            ctx.set(stream.valid, offered)


class FlitSink:
    """Takes packets from a block: `packets` are the whole ones, `cycles` when each flit was taken."""

    def __init__(self, stream: Any, clock: Clock, *, stall: float = 0.0, seed: int = 2) -> None:
        self.packets: list[list[int]] = []
        self.cycles: list[int] = []
        self.blocked = False
        self._stream, self._clock, self._stall = stream, clock, stall
        self._random = random.Random(seed)

    async def run(self, ctx: Any) -> None:
        stream = self._stream
        flits: list[int] = []
        held: tuple[int, int] | None = None
        signals = (stream.valid, stream.ready, stream.payload.data, stream.payload.last)
        async for _, _, valid, ready, flit, last in ctx.tick().sample(*signals):
            assert held is None or (valid and held == (flit, last)), "a flit fell or changed before it was taken"
            held = (flit, last) if valid and not ready else None
            if valid and ready:
                self.cycles.append(self._clock.cycle)
                flits.append(flit)
                if last:
                    self.packets.append(flits)
                    flits = []
            ctx.set(stream.ready, not self.blocked and self._random.random() >= self._stall)


class PacketSink:
    """Takes packets from a PacketPort: (words, poisoned, context, payload with its padding) of each in `packets`, and
    the epoch of each in `epochs`."""

    def __init__(
        self, port: Any, clock: Clock, datapath_bits: int, *, stall: float = 0.0, data_stall: float = 0.0, seed: int = 3
    ) -> None:
        self.headers: list[tuple[list[int], int, int]] = []
        self.epochs: list[int] = []
        self.flits: list[int] = []
        self.shown_cycles: list[int] = []
        self.blocked = False
        self._port, self._clock, self._bits = port, clock, datapath_bits
        self._stall, self._data_stall = stall, data_stall
        self._random = random.Random(seed)

    @property
    def packets(self) -> list[tuple[list[int], int, int, bytes]]:
        """Fails unless all flits of all headers, and no others, have come."""
        text = b"".join(flit.to_bytes(self._bits // 8, "little") for flit in self.flits)
        packets, start = [], 0
        for words, poisoned, context in self.headers:
            end = start + self._length(words) * self._bits // 8
            packets.append((words, poisoned, context, text[start:end]))
            start = end
        assert start == len(text), f"{len(text)} bytes of payload came, headers told of {start}"
        return packets

    def _length(self, words: Sequence[int]) -> int:
        return payload_flits(REQUEST.unpack(words)["payload_bytes"], self._bits)

    async def run(self, ctx: Any) -> None:
        port = self._port
        held: list[int] | None = None
        held_data: int | None = None
        promised = 0  # flits of all headers that have been shown
        signals = (port.valid, port.ready, port.data_valid, port.data_ready, port.data)
        told = (port.epoch, port.poisoned, port.context, *port.words)
        async for _, _, *sampled in ctx.tick().sample(*signals, *told):
            valid, ready, data_valid, data_ready, flit, *header = sampled
            assert held is None or (valid and held == header), "a header fell or changed before it was taken"
            if valid and held is None:
                self.shown_cycles.append(self._clock.cycle)
                promised += self._length(header[3:])
            held = header if valid and not ready else None
            if valid and ready:
                epoch, poisoned, context, *words = header
                self.epochs.append(epoch)
                self.headers.append((words, poisoned, context))
            assert held_data is None or (data_valid and held_data == flit), (
                "payload fell or changed before it was taken"
            )
            held_data = flit if data_valid and not data_ready else None
            if data_valid:
                assert len(self.flits) < promised, "payload came before its header"
            if data_valid and data_ready:
                self.flits.append(flit)
            ctx.set(port.ready, not self.blocked and self._random.random() >= self._stall)
            ctx.set(port.data_ready, not self.blocked and self._random.random() >= self._data_stall)


class PacketSource:
    """Gives packets to a PacketPort, each (words, poisoned, payload flits); payload comes with its header or later."""

    def __init__(self, port: Any, clock: Clock, *, stall: float = 0.0, seed: int = 4) -> None:
        self.offered_cycles: list[int] = []
        self._port, self._clock, self._stall = port, clock, stall
        self._random = random.Random(seed)
        self._headers: list[tuple[Sequence[int], int, Sequence[int]]] = []
        self._flits: list[int] = []
        self._offered = False

    def inject(self, words: Sequence[int], flits: Sequence[int] = (), *, poisoned: int = 0) -> None:
        self._headers.append((words, poisoned, flits))

    @property
    def busy(self) -> bool:
        return self._offered or bool(self._headers or self._flits)

    def _goes(self) -> bool:
        return self._random.random() >= self._stall

    async def run(self, ctx: Any) -> None:
        port = self._port
        offered_data = False
        async for _, _, ready, data_ready in ctx.tick().sample(port.ready, port.data_ready):
            self._offered = self._offered and not ready
            if offered_data and data_ready:
                self._flits.pop(0)
                offered_data = False
            if not self._offered and self._headers and self._goes():
                words, poisoned, flits = self._headers.pop(0)
                for signal, word in zip(port.words, words, strict=True):
                    ctx.set(signal, word)
                ctx.set(port.poisoned, poisoned)
                self._flits += flits
                self._offered = True
                self.offered_cycles.append(self._clock.cycle)
            if not offered_data and self._flits and self._goes():
                offered_data = True
                ctx.set(port.data, self._flits[0])
            ctx.set(port.valid, self._offered)
            ctx.set(port.data_valid, offered_data)


class ReadMemory:
    """Memory behind a ReadPort. Byte a is `byte_at(a)`; flits that contain an address of `bad` come with an error."""

    def __init__(
        self, port: Any, clock: Clock, datapath_bits: int, *, latency: int = 3, stall: float = 0.0, seed: int = 5
    ) -> None:
        self.bad: set[int] = set()
        self.requests: list[tuple[int, int, int]] = []  # cycle, address, bytes
        self.flits_requested = 0
        self._port, self._clock, self._size = port, clock, datapath_bits // 8
        self._latency, self._stall = latency, stall
        self._random = random.Random(seed)

    @staticmethod
    def byte_at(address: int) -> int:
        return (address * 37 + (address >> 8) * 11 + 5) & 0xFF

    @classmethod
    def load(cls, address: int, length_bytes: int) -> bytes:
        return bytes(cls.byte_at(address + index) for index in range(length_bytes))

    def payload(self, address: int, length_bytes: int) -> tuple[bytes, bool]:
        """What a reader gets, errors included, and whether all of it was good."""
        parts = [part for part, _, _ in self._flits(address, length_bytes)]
        failed = any(error for _, _, error in self._flits(address, length_bytes))
        return b"".join(parts)[:length_bytes], not failed

    def _flits(self, address: int, length_bytes: int) -> list[tuple[bytes, bool, bool]]:
        flits = []
        for first in range(address, address + length_bytes, self._size):
            here = range(first, min(first + self._size, address + length_bytes))
            error = any(place in self.bad for place in here)
            part = bytes(0 if error else self.byte_at(place) for place in here).ljust(self._size, b"\0")
            flits.append((part, first + self._size >= address + length_bytes, error))
        return flits

    async def run(self, ctx: Any) -> None:
        port = self._port
        queue: list[tuple[int, tuple[bytes, bool, bool]]] = []
        held: tuple[int, int] | None = None
        async for _, _, valid, ready, address, size in ctx.tick().sample(
            port.valid, port.ready, port.address, port.bytes
        ):
            assert held is None or (valid and held == (address, size)), "a read fell or changed before it was taken"
            held = (address, size) if valid and not ready else None
            if valid and ready:
                assert 1 <= size <= 65_536, f"a read of {size} bytes"
                self.requests.append((self._clock.cycle, address, size))
                flits = self._flits(address, size)
                self.flits_requested += len(flits)
                queue += [(self._clock.cycle + self._latency, flit) for flit in flits]
            goes = bool(queue) and queue[0][0] <= self._clock.cycle and self._random.random() >= self._stall
            if goes:
                part, last, error = queue.pop(0)[1]
                ctx.set(port.data, int.from_bytes(part, "little"))
                ctx.set(port.data_last, last)
                ctx.set(port.data_error, error)
            ctx.set(port.data_valid, goes)
            ctx.set(port.ready, self._random.random() >= self._stall)


async def record_refusals(ctx: Any, port: Any, refusals: list[tuple[int, int, int]]) -> None:
    """Appends (reason, context, detail) of each refusal."""
    async for _, _, valid, reason, context, detail in ctx.tick().sample(
        port.valid, port.reason, port.context, port.detail
    ):
        if valid:
            refusals.append((reason, context, detail))


def header_bytes(words: Sequence[int]) -> bytes:
    assert len(words) == HEADER_WORDS
    return b"".join(word.to_bytes(8, "little") for word in words)
