"""What surrounds the contexts and their event queues in Amaranth's simulator: memory, kernel, process, other blocks.

The order in which transfers are taken is the hardware's choice; from it `Expected` says every write that memory must
see, by plain arithmetic on Python integers.
"""

import random
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from amaranth import Elaboratable, Module, Signal
from amaranth.hdl import Fragment
from amaranth.lib import wiring
from amaranth.sim import Simulator

from rtl.nic.context.drain import Drain
from rtl.nic.context.events import WRITES_IN_FLIGHT, Events
from rtl.nic.context.indices import Contexts
from rtl.nic.host.mark import Mark
from rtl.nic.interfaces.context import ContextRegisters
from rtl.nic.interfaces.widths import EPOCH_WIDTH
from rtl.nic.parameters import NicParameters
from rtl.portals import EVENT
from tests.rtl.quiescence import QuiescenceJudge
from tests.rtl.roles import as_testbench

QUEUE, COUNTERS = 0x10000, 0x80000  # of context 0; the others' follow at 0x8000 and 0x1000
QUEUE_BYTES, COUNTERS_BYTES = 0x8000, 0x1000
WORD = (1 << 64) - 1


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """What a source hands over; the event's words are all `mark` but for the sequence number."""

    context: int = 0
    epoch: int = 1
    event: bool = True
    mark: int = 0
    counter: int | None = None
    set: bool = False
    success: int = 0
    failure: int = 0


def event_bytes(mark: int, number: int) -> bytes:
    words = [mark * 0x0101 + index for index in range(8)]
    words[7] = (words[7] << 32 | (number + 1) % (1 << 32)) & WORD
    return b"".join(word.to_bytes(8, "little") for word in words)


class WriteMemory:
    """Host memory behind a WritePort, which it judges. `bad`: addresses whose writes are stored by halves and err."""

    def __init__(self, *, latency: int = 3, stall: float = 0.0, seed: int = 1) -> None:
        self.data: dict[int, int] = {}
        self.bad: set[int] = set()
        self.silent = False  # answers nothing while this is set
        self.blocked = False  # takes no flit while this is set
        self.writes: list[tuple[int, bytes]] = []  # in the order of requests
        self.answer_cycles: list[int] = []
        self.most_unanswered = 0
        self.latency = latency
        self.stall = stall
        self.cycle = 0
        self._random = random.Random(seed)

    def word(self, address: int) -> int:
        return int.from_bytes(bytes(self.data.get(address + index, 0) for index in range(8)), "little")

    def sequence(self, context: int, slot: int) -> int:
        return self.word(QUEUE + QUEUE_BYTES * context + 64 * slot + 56) & 0xFFFF_FFFF

    def _goes(self) -> bool:
        return self._random.random() >= self.stall

    async def role(self, ctx: Any, port: Any) -> None:
        flit_bytes = len(port.data) // 8
        requests: deque[tuple[int, int]] = deque()
        text = bytearray()
        answers: deque[tuple[int, bool]] = deque()
        held: list[tuple[int, ...] | None] = [None, None]
        unanswered = 0
        channels = (port.valid, port.ready, port.address, port.bytes, port.data_valid, port.data_ready, port.data)
        async for _, _, *sampled in ctx.tick().sample(port.done, *channels):
            self.cycle += 1
            done, valid, ready, address, length, data_valid, data_ready, data = sampled
            unanswered -= done
            if done:
                self.answer_cycles.append(self.cycle)
            for index, (offered, taken, *what) in enumerate(
                ((valid, ready, address, length), (data_valid, data_ready, data))
            ):
                before = held[index]
                assert before is None or (offered and before == tuple(what)), f"{['request', 'data'][index]} changed"
                held[index] = tuple(what) if offered and not taken else None
            if valid and ready:
                assert length in (16, 64), f"a write of {length} bytes"
                assert address % length == 0, f"address {address:#x} is no multiple of {length}"
                requests.append((address, length))
                unanswered += 1
                self.most_unanswered = max(self.most_unanswered, unanswered)
            if data_valid and data_ready:
                text += data.to_bytes(flit_bytes, "little")
            while requests and len(text) >= requests[0][1]:
                address, length = requests.popleft()
                self._store(address, bytes(text[:length]))
                del text[:length]
                answers.append((self.cycle + self.latency, address in self.bad))
            assert requests or not text, "flits of no request"
            due = bool(answers) and answers[0][0] <= self.cycle and not self.silent and self._goes()
            ctx.set(port.done, due)
            ctx.set(port.error, due and answers[0][1])
            if due:
                answers.popleft()
            ctx.set(port.ready, self._goes())
            ctx.set(port.data_ready, not self.blocked and (not self.stall or (bool(requests) and self._goes())))

    def _store(self, address: int, text: bytes) -> None:
        self.writes.append((address, text))
        kept = text[: len(text) // 2] if address in self.bad else text
        self.data.update(enumerate(kept, start=address))


class Expected:
    """The writes that follow from the transfers taken and the restarts, one after the other."""

    def __init__(self, parameters: NicParameters, queue_log2: list[int]) -> None:
        self.writes: list[tuple[int, bytes]] = []
        self.epochs = [0] * parameters.contexts
        self.issued = [0] * parameters.contexts
        self.sizes = [1 << log2 for log2 in queue_log2]
        self.counters: dict[tuple[int, int], tuple[int, int]] = {}

    def restart(self, context: int) -> None:
        self.epochs[context] = (self.epochs[context] + 1) % (1 << EPOCH_WIDTH)
        self.issued[context] = 0
        self.counters = {key: value for key, value in self.counters.items() if key[0] != context}

    def take(self, transfer: Transfer) -> None:
        context = transfer.context
        if transfer.epoch != self.epochs[context]:
            return
        if transfer.event:
            number = self.issued[context]
            address = QUEUE + QUEUE_BYTES * context + 64 * (number % self.sizes[context])
            self.writes.append((address, event_bytes(transfer.mark, number)))
            self.issued[context] += 1
        if transfer.counter is not None:
            old = (0, 0) if transfer.set else self.counters.get((context, transfer.counter), (0, 0))
            new = ((old[0] + transfer.success) & WORD, (old[1] + transfer.failure) & WORD)
            self.counters[context, transfer.counter] = new
            text = b"".join(value.to_bytes(8, "little") for value in new)
            self.writes.append((COUNTERS + COUNTERS_BYTES * context + 16 * transfer.counter, text))


class Queues(Elaboratable):
    """Contexts and their event queues, as the NIC wires them; `registers` are the kernel's."""

    def __init__(self, parameters: NicParameters, *, sources: int, reservers: int) -> None:
        self.parameters = parameters
        self.contexts = Contexts(parameters)
        self.events = Events(parameters, sources=sources, reservers=reservers)
        self.drain = Drain(parameters, engines=1)
        self.mark = Mark(WRITES_IN_FLIGHT)
        self.in_flight = Signal(range(WRITES_IN_FLIGHT + 1))  # requested and not answered
        self.registers = [ContextRegisters(parameters.windows).create() for _ in range(parameters.contexts)]

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.contexts = self.contexts
        m.submodules.events = self.events
        m.submodules.drain = drain = self.drain
        m.submodules.mark = mark = self.mark
        write = self.events.write
        m.d.sync += self.in_flight.eq(self.in_flight + mark.begins - mark.ends)
        m.d.comb += [
            drain.offered.eq(write.valid),
            drain.passed.eq(self.events.passed),
            mark.begins.eq(write.valid & write.ready),
            mark.ends.eq(write.done),
            mark.mark.eq(drain.mark),
            drain.marked.eq(mark.marked),
            self.contexts.busy.eq(drain.busy),
        ]
        for number, registers in enumerate(self.registers):
            wiring.connect(m, registers, self.contexts.contexts[number], self.events.contexts[number])
            wiring.connect(m, self.contexts.states[number], self.events.states[number], drain.states[number])
        wiring.connect(m, self.events.progress, self.contexts.events)
        return m


class Bench:
    """`test` is the kernel's and the processes' part. Sources hand over what `give` queues for them."""

    def __init__(
        self,
        *,
        sources: int = 2,
        reservers: int = 2,
        queue_log2: tuple[int, ...] = (3, 3),
        latency: int = 3,
        stall: float = 0.0,
        **parameters: int,
    ) -> None:
        self.parameters = NicParameters(**{"contexts": len(queue_log2), "counters": 4, "windows": 1, **parameters})
        self.queue_log2 = list(queue_log2)
        self.dut = Queues(self.parameters, sources=sources, reservers=reservers)
        self.memory = WriteMemory(latency=latency, stall=stall)
        self.expected = Expected(self.parameters, self.queue_log2)
        self.pending: list[deque[Transfer]] = [deque() for _ in range(sources)]
        self.taken: list[tuple[int, int, Transfer]] = []  # cycle, source
        self.interrupts: list[tuple[int, int]] = []  # cycle, context
        self.refusals: list[tuple[int, int, int]] = []
        self.written = 0
        self.quiet_edges = 0
        self.ctx: Any = None
        self._random = random.Random(7)
        self._stall = stall

    def run(self, test: Callable[[], Awaitable[None]]) -> None:
        fragment = Fragment.get(self.dut, None)
        simulator = Simulator(fragment)
        simulator.add_clock(1e-8)

        async def bench(ctx: Any) -> None:
            self.ctx = ctx
            for context, registers in enumerate(self.dut.registers):
                ctx.set(registers.event_base, QUEUE + QUEUE_BYTES * context)
                ctx.set(registers.event_log2, self.queue_log2[context])
                ctx.set(registers.counter_base, COUNTERS + COUNTERS_BYTES * context)
            await test()

        simulator.add_testbench(bench)
        blocks = [block.quiescent for block in (self.dut.contexts, self.dut.events, self.dut.drain, self.dut.mark)]
        judge = QuiescenceJudge(fragment, *blocks)
        roles = [
            lambda ctx: self.memory.role(ctx, self.dut.events.write),
            self._watch,
        ]
        roles += [lambda ctx, number=number: self._source(ctx, number) for number in range(len(self.pending))]
        roles.append(judge.watch)
        for role in roles:
            simulator.add_testbench(as_testbench(role), background=True)
        simulator.run()
        self.quiet_edges = judge.quiet_edges

    async def _source(self, ctx: Any, number: int) -> None:
        """Hands over what is pending; holds it until it is taken."""
        port = self.dut.events.ports[number]
        offered: Transfer | None = None
        alive = [state.active for state in self.dut.contexts.states]
        async for _, _, ready, *active in ctx.tick().sample(port.ready, *alive):
            assert offered or not ready, "ready for nothing"
            if offered and ready:
                self.pending[number].popleft()
                self.taken.append((self.memory.cycle, number, offered))
                if active[offered.context]:
                    self.expected.take(offered)
                offered = None
            if offered is None and self.pending[number] and self._random.random() >= self._stall:
                offered = self.pending[number][0]
                self._offer(ctx, port, offered)
            ctx.set(port.valid, offered is not None)

    def _offer(self, ctx: Any, port: Any, transfer: Transfer) -> None:
        ctx.set(port.context, transfer.context)
        ctx.set(port.epoch, transfer.epoch)
        ctx.set(port.event, transfer.event)
        for index in range(8):
            word = transfer.mark * 0x0101 + index
            ctx.set(port.words[index], word << 32 & WORD if index == EVENT.fields["sequence"].word else word)
        ctx.set(port.counter_valid, transfer.counter is not None)
        ctx.set(port.counter_set, transfer.set)
        ctx.set(port.counter, transfer.counter or 0)
        ctx.set(port.success, transfer.success)
        ctx.set(port.failure, transfer.failure)

    async def _watch(self, ctx: Any) -> None:
        events = self.dut.events
        refusal = events.refusal
        restarted = [state.restarted for state in self.dut.contexts.states]
        sampled = (events.interrupts, events.written, refusal.valid, refusal.reason, refusal.context, refusal.detail)
        # Sources look after this at an edge, so that what is taken in the first cycle of a life is judged by it.
        async for _, _, interrupts, written, refused, *rest in ctx.tick().sample(*sampled, *restarted):
            who, begun = rest[:3], rest[3:]
            self.interrupts += [
                (self.memory.cycle, number) for number in range(len(restarted)) if interrupts >> number & 1
            ]
            self.written += written
            if refused:
                self.refusals.append(tuple(who))
            for number, begins in enumerate(begun):
                if begins:
                    self.expected.restart(number)

    # ---- for tests ----

    async def ticks(self, count: int = 1) -> None:
        await self.ctx.tick().repeat(count)

    async def start(self, *numbers: int, **registers: int) -> None:
        """Switches contexts on with these registers, and waits until they are active."""
        for number in numbers:
            for name, value in registers.items():
                self.ctx.set(getattr(self.dut.registers[number], name), value)
            self.ctx.set(self.dut.registers[number].enable, 1)
        while not all(self.state(number, "active") for number in numbers):
            await self.ticks()

    async def stop(self, number: int) -> None:
        self.ctx.set(self.dut.registers[number].enable, 0)
        await self.ticks()

    def state(self, number: int, name: str) -> int:
        return int(self.ctx.get(getattr(self.dut.contexts.states[number], name)))

    async def doorbell(self, which: str, number: int, value: int) -> bool:
        """Rings `command_tail` or `event_head` of a context; whether it was accepted."""
        ctx, contexts = self.ctx, self.dut.contexts
        ctx.set(contexts.proposed, value % (1 << 32))
        ctx.set(getattr(contexts, f"{which}_proposed"), 1 << number)
        _, _, accept = await ctx.tick().sample(getattr(contexts, f"{which}_accept"))
        ctx.set(getattr(contexts, f"{which}_proposed"), 0)
        return bool(accept >> number & 1)

    async def reserve(self, number: int, count: int, *, reserver: int = 0) -> bool:
        ctx, port = self.ctx, self.dut.events.reserves[reserver]
        ctx.set(port.context, number)
        ctx.set(port.count, count)
        ctx.set(port.valid, 1)
        (room,) = await ctx.tick().sample(port.room).until(port.ready)
        ctx.set(port.valid, 0)
        return bool(room)

    async def release(self, number: int, count: int, *, epoch: int = 1, reserver: int = 0) -> None:
        """The places are free for who asks from now on."""
        ctx, port = self.ctx, self.dut.events.reserves[reserver]
        ctx.set(port.release_context, number)
        ctx.set(port.release_count, count)
        ctx.set(port.release_epoch, epoch)
        ctx.set(port.release_valid, 1)
        await ctx.tick()
        ctx.set(port.release_valid, 0)
        await ctx.tick()

    def give(self, source: int, *transfers: Transfer) -> None:
        self.pending[source] += transfers

    async def settle(self) -> None:
        """Until all that was given is written and answered."""
        in_flight = self.dut.in_flight
        while any(self.pending) or not self.ctx.get(self.dut.events.quiescent) or self.ctx.get(in_flight):
            await self.ticks()

    def judge(self) -> None:
        assert self.memory.writes == self.expected.writes
