"""What surrounds a NIC in Amaranth's simulator: host memory, a CPU on the register bus, a fabric; all judge protocol.

Addresses come from the register map by path; nothing here knows how the NIC is built.
"""

import random
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from amaranth.hdl import Fragment
from amaranth.sim import Simulator, SimulatorContext

from rtl.descriptors import COMMAND, EVENT
from rtl.nic.nic import Nic
from rtl.packet import Operation
from rtl.registers import load

OKAY, SLVERR = 0, 2
MEMORY_BYTES = 1 << 16
RING, QUEUE, DATA = 0x1000, 0x4000, 0x8000  # of context 0; the others follow at 0x1000
WATCHDOG_CYCLES = 6000


class Memory:
    """Host memory behind the AXI4 port. It fails the test when the port breaks a rule of AXI4.

    `stall` is the probability that a channel waits in a cycle; `bad` the addresses of 8-byte words that err.
    """

    def __init__(self, *, latency: int = 3, stall: float = 0.0, seed: int = 1) -> None:
        self.data = bytearray(MEMORY_BYTES)
        self.bad: set[int] = set()
        self.silent = False  # no write is answered while this is set
        self.reads: list[tuple[int, int]] = []  # address, words
        self.writes: list[tuple[int, int]] = []
        self.answered: list[int] = []  # addresses of answered writes, in order
        self.overlapped: list[int] = []  # addresses of writes requested while others were unanswered
        self._latency = latency
        self._stall = stall
        self._random = random.Random(seed)

    def store(self, address: int, words: Iterable[int]) -> None:
        for index, word in enumerate(words):
            self.data[address + 8 * index : address + 8 * index + 8] = word.to_bytes(8, "little")

    def load(self, address: int, words: int) -> list[int]:
        return [int.from_bytes(self.data[address + 8 * i : address + 8 * i + 8], "little") for i in range(words)]

    def _goes(self) -> bool:
        return self._random.random() >= self._stall

    def _check_burst(self, address: int, length: int, size: int, burst: int) -> int:
        words = length + 1
        assert (size, burst) == (3, 1), "bursts are INCR of 8-byte words"
        assert address % 8 == 0, f"address {address:#x} is not aligned"
        assert address // 4096 == (address + 8 * words - 1) // 4096, f"burst {address:#x} + {words} words crosses 4 KiB"
        assert address + 8 * words <= MEMORY_BYTES, f"address {address:#x} is beyond the memory"
        return words

    async def reader(self, ctx: SimulatorContext, axi: Any) -> None:
        queue: list[tuple[int, int, bool]] = []  # due cycle, address, last
        cycle = 0
        offered = False
        held: tuple[int, ...] | None = None
        request = (axi.araddr, axi.arlen, axi.arsize, axi.arburst)
        async for _, _, valid, ready, rready, *payload in ctx.tick().sample(
            axi.arvalid, axi.arready, axi.rready, *request
        ):
            cycle += 1
            assert held is None or (valid and held == tuple(payload)), "AR fell or changed before it was accepted"
            held = tuple(payload) if valid and not ready else None
            if valid and ready:
                address, length, size, burst = payload
                words = self._check_burst(address, length, size, burst)
                self.reads.append((address, words))
                queue += [(cycle + self._latency, address + 8 * i, i == words - 1) for i in range(words)]
            if offered and rready:
                queue.pop(0)
                offered = False
            if not offered and queue and queue[0][0] <= cycle and self._goes():
                _, address, last = queue[0]
                offered = True
                ctx.set(axi.rdata, self.load(address, 1)[0])
                ctx.set(axi.rresp, SLVERR if address in self.bad else OKAY)
                ctx.set(axi.rlast, last)
            ctx.set(axi.rvalid, offered)
            ctx.set(axi.arready, self._goes())

    async def writer(self, ctx: SimulatorContext, axi: Any) -> None:
        bursts: list[tuple[int, int]] = []  # address of the next word, words left
        answers: list[tuple[int, int, int]] = []  # due cycle, address, response
        cycle = 0
        failed = False
        offered = False
        held: list[tuple[int, ...] | None] = [None, None]
        address_channel = (axi.awvalid, axi.awready, axi.awaddr, axi.awlen, axi.awsize, axi.awburst)
        data_channel = (axi.wvalid, axi.wready, axi.wdata, axi.wstrb, axi.wlast)
        async for _, _, bready, *sampled in ctx.tick().sample(axi.bready, *address_channel, *data_channel):
            cycle += 1
            for index, (valid, ready, *payload) in enumerate((sampled[:6], sampled[6:])):
                before = held[index]
                assert before is None or (valid and before == tuple(payload)), f"{['AW', 'W'][index]} changed early"
                held[index] = tuple(payload) if valid and not ready else None
            awvalid, awready, address, length, size, burst, wvalid, wready, word, strobe, last = sampled
            if awvalid and awready:
                words = self._check_burst(address, length, size, burst)
                if bursts or answers:
                    self.overlapped.append(address)
                self.writes.append((address, words))
                bursts.append((address, words))
            if wvalid and wready:
                assert bursts, "data came before their address was accepted"
                address, left = bursts[0]
                assert last == (left == 1), "WLAST at the wrong word"
                self._write_word(address, word, strobe)
                failed |= address in self.bad
                bursts[0] = (address + 8, left - 1)
                if last:
                    bursts.pop(0)
                    answers.append((cycle + self._latency, self.writes[-1 - len(bursts)][0], SLVERR * failed))
                    failed = False
            if offered and bready:
                self.answered.append(answers.pop(0)[1])
                offered = False
            if not offered and not self.silent and answers and answers[0][0] <= cycle and self._goes():
                offered = True
                ctx.set(axi.bresp, answers[0][2])
            ctx.set(axi.bvalid, offered)
            ctx.set(axi.awready, self._goes())
            ctx.set(axi.wready, self._goes())

    def _write_word(self, address: int, word: int, strobe: int) -> None:
        for byte in range(8):
            if strobe >> byte & 1 and address not in self.bad:
                self.data[address + byte] = word >> 8 * byte & 0xFF


class Fabric:
    """Packets to and from a NIC: `sent` are those it has sent, whole; `inject` queues words for it to receive."""

    def __init__(self, *, stall: float = 0.0, seed: int = 2) -> None:
        self.sent: list[list[int]] = []
        self.taken_cycles: list[int] = []  # when the NIC took the last word of each injected packet
        self.word_cycles: list[int] = []  # when each word was sent
        self.blocked = False
        self.cycle = 0
        self._queue: list[tuple[int, bool]] = []
        self._stall = stall
        self._random = random.Random(seed)

    def inject(self, words: list[int]) -> None:
        self._queue += [(word, index == len(words) - 1) for index, word in enumerate(words)]

    @property
    def empty(self) -> bool:
        return not self._queue

    def _goes(self) -> bool:
        return self._random.random() >= self._stall

    async def source(self, ctx: SimulatorContext, stream: Any) -> None:
        offered = False
        async for _, _, ready in ctx.tick().sample(stream.ready):
            if offered and ready:
                if self._queue.pop(0)[1]:
                    self.taken_cycles.append(self.cycle)
                offered = False
            if not offered and self._queue and self._goes():
                offered = True
                ctx.set(stream.payload.word, self._queue[0][0])
                ctx.set(stream.payload.last, self._queue[0][1])
            ctx.set(stream.valid, offered)

    async def sink(self, ctx: SimulatorContext, stream: Any) -> None:
        words: list[int] = []
        held: tuple[int, int] | None = None
        async for _, _, valid, ready, word, last in ctx.tick().sample(
            stream.valid, stream.ready, stream.payload.word, stream.payload.last
        ):
            self.cycle += 1
            assert self.cycle < WATCHDOG_CYCLES, f"the test has not ended after {WATCHDOG_CYCLES} cycles"
            assert held is None or (valid and held == (word, last)), "o_packet fell or changed before it was taken"
            held = (word, last) if valid and not ready else None
            if valid and ready:
                self.word_cycles.append(self.cycle)
                words.append(word)
                if last:
                    self.sent.append(words)
                    words = []
            ctx.set(stream.ready, not self.blocked and self._goes())


class Bench:
    """A NIC and its surroundings. `test` is the CPU's part: it drives the bus and says when the simulation ends."""

    def __init__(
        self, *, contexts: int = 2, windows: int = 2, mtu_bytes: int = 128, latency: int = 3, stall: float = 0.0
    ) -> None:
        self.nic = Nic(contexts=contexts, windows=windows, mtu_bytes=mtu_bytes)
        self.map = load("nic", CONTEXTS=contexts, WINDOWS=windows)
        self.memory = Memory(latency=latency, stall=stall)
        self.fabric = Fabric(stall=stall)
        self.posted = [0] * contexts
        self.ctx: Any = None
        self.quiet_edges = 0

    def run(self, test: Callable[[], Awaitable[None]]) -> None:
        fragment = Fragment.get(self.nic, None)
        simulator = Simulator(fragment)
        simulator.add_clock(1e-8)

        async def bench(ctx: Any) -> None:
            self.ctx = ctx
            ctx.set(self.nic.bus.bready, 1)
            ctx.set(self.nic.bus.rready, 1)
            await test()

        simulator.add_testbench(bench)
        port, nic = self.nic.memory, self.nic
        for role in (
            lambda ctx: self.memory.reader(ctx, port),
            lambda ctx: self.memory.writer(ctx, port),
            lambda ctx: self.fabric.source(ctx, nic.i_packet),
            lambda ctx: self.fabric.sink(ctx, nic.o_packet),
            lambda ctx: self._judge_quiescent(ctx, registers_of(fragment)),
        ):
            simulator.add_testbench(_named(role), background=True)
        simulator.run()

    async def _judge_quiescent(self, ctx: Any, registers: list[Any]) -> None:
        """While `quiescent` was high at a clock edge, that edge must have left every register as it was."""
        nic = self.nic
        await ctx.tick()
        while True:
            before = [ctx.get(register) for register in registers] if ctx.get(nic.quiescent) else None
            _, _, quiescent = await ctx.tick().sample(nic.quiescent)
            if quiescent and before is not None:
                self.quiet_edges += 1
                changed = [r.name for r, value in zip(registers, before, strict=True) if ctx.get(r) != value]
                assert not changed, f"quiescent was high, but the clock changed {', '.join(changed)}"

    async def ticks(self, count: int = 1) -> None:
        await self.ctx.tick().repeat(count)

    async def settle(self) -> None:
        """Until the NIC is quiescent with nothing left to receive, and its surroundings have seen it."""
        while not (self.ctx.get(self.nic.quiescent) and self.fabric.empty):
            await self.ctx.tick()
        await self.ctx.tick()

    async def write(self, path: str | int, value: int, *, privileged: bool = True, strobe: int = 0xFF) -> int:
        """Response of a register write; fields are in place in `value`."""
        ctx, bus = self.ctx, self.nic.bus
        ctx.set(bus.awaddr, path if isinstance(path, int) else self.map.address(path))
        ctx.set(bus.awprot, privileged)
        ctx.set(bus.awvalid, 1)
        ctx.set(bus.wdata, value)
        ctx.set(bus.wstrb, strobe)
        ctx.set(bus.wvalid, 1)
        while True:
            _, _, awready, wready = await ctx.tick().sample(bus.awready, bus.wready)
            if awready:
                ctx.set(bus.awvalid, 0)
            if wready:
                ctx.set(bus.wvalid, 0)
            if not ctx.get(bus.awvalid) and not ctx.get(bus.wvalid):
                break
        (response,) = await ctx.tick().sample(bus.bresp).until(bus.bvalid)
        return int(response)

    async def read(self, path: str | int, *, privileged: bool = True) -> tuple[int, int]:
        """(response, value) of a register read."""
        ctx, bus = self.ctx, self.nic.bus
        ctx.set(bus.araddr, path if isinstance(path, int) else self.map.address(path))
        ctx.set(bus.arprot, privileged)
        ctx.set(bus.arvalid, 1)
        await ctx.tick().until(bus.arready)
        ctx.set(bus.arvalid, 0)
        response, value = await ctx.tick().sample(bus.rresp, bus.rdata).until(bus.rvalid)
        return int(response), int(value)

    async def value(self, path: str) -> int:
        response, value = await self.read(path)
        assert response == OKAY, f"{path} answered {response}"
        return value

    async def fields(self, path: str) -> dict[str, int]:
        value = await self.value(path)
        return {f.name: value >> f.lsb & ((1 << f.width) - 1) for f in self.map.register(path).fields}

    async def configure(self, path: str, **fields: int) -> None:
        register = self.map.register(path)
        value = sum(number << register.field(name).lsb for name, number in fields.items())
        assert await self.write(path, value) == OKAY, f"{path} refused {value:#x}"

    async def boot(self, *, nid: int = 1, contexts: int = 2, ring_log2: int = 2, queue_log2: int = 2) -> None:
        """Context c is process 0x100 + c of job 0x7000 and owns window 0: 0x400 bytes at DATA + c * 0x400, all rights.

        Its rings lie at RING + c * 0x1000 and QUEUE + c * 0x1000. All interrupts are enabled.
        """
        await self.configure("NODE_ID", nid=nid)
        for context in range(contexts):
            path = f"CONTEXT[{context}]"
            await self.configure(f"{path}.IDENTITY", pid=0x100 + context, jid=0x7000)
            await self.configure(f"{path}.COMMAND_BASE", address=RING + 0x1000 * context)
            await self.configure(f"{path}.COMMAND_SIZE", log2=ring_log2)
            await self.configure(f"{path}.EVENT_BASE", address=QUEUE + 0x1000 * context)
            await self.configure(f"{path}.EVENT_SIZE", log2=queue_log2)
            await self.open_window(context, 0, DATA + 0x400 * context, 0x400)
            await self.configure(f"{path}.CONTROL", enable=1, interrupt=1)
        await self.configure("INT_ENABLE", context=(1 << contexts) - 1, violation=1)

    async def open_window(
        self, context: int, index: int, base: int, size: int, *, read: int = 1, write: int = 1
    ) -> None:
        path = f"CONTEXT[{context}].WINDOW[{index}]"
        await self.configure(f"{path}.BASE", address=base)
        await self.configure(f"{path}.LENGTH", bytes=size)
        await self.configure(f"{path}.RIGHTS", local_read=read, remote_write=write)

    def post(self, context: int = 0, *, ring_log2: int = 2, words: list[int] | None = None, **fields: int) -> None:
        """Puts a command into the ring in memory; `ring` tells the NIC. By default a put without payload."""
        command = COMMAND.pack(**{"operation": Operation.PUT, "dst_nid": 1, "dst_pid": 0x100, **fields})
        slot = self.posted[context] % (1 << ring_log2)
        self.memory.store(RING + 0x1000 * context + 64 * slot, words or command)
        self.posted[context] += 1

    async def ring(self, context: int = 0) -> int:
        return await self.write(f"PAGE[{context}].COMMAND_TAIL", self.posted[context], privileged=False)

    def event(self, number: int, context: int = 0, *, queue_log2: int = 2) -> dict[str, int]:
        """Event `number` (from 0) of the queue, which must have been written."""
        slot = number % (1 << queue_log2)
        event = EVENT.unpack(self.memory.load(QUEUE + 0x1000 * context + 64 * slot, EVENT.length_words))
        assert event.pop("sequence") == number + 1, f"event {number} has not been written"
        return event


def _named(role: Callable[[Any], Awaitable[None]]) -> Callable[[Any], Awaitable[None]]:
    async def testbench(ctx: Any) -> None:
        await role(ctx)

    return testbench


def registers_of(fragment: Any) -> list[Any]:
    """All signals that the clock changes, in `fragment` and below."""
    found = {}
    for statement in fragment.statements.get("sync", ()):
        for signal in statement._lhs_signals():
            found[id(signal)] = signal
    for child, *_ in fragment.subfragments:
        found.update((id(signal), signal) for signal in registers_of(child))
    return list(found.values())
