"""What surrounds one block of the NIC in the simulator: host memory behind its ports, a judge of quiescence."""

import random
from collections.abc import Iterable
from typing import Any

from amaranth.hdl import Fragment
from amaranth.sim import Simulator

from tests.rtl.quiescence import QuiescenceJudge
from tests.rtl.roles import Role, as_testbench

MEMORY_BYTES = 4096
WATCHDOG_CYCLES = 20_000


class PortMemory:
    """Host memory behind one ReadPort and one WritePort; it fails the test when a port changes what it must hold.

    `stall` is the probability that a channel waits in a cycle; accesses of bytes in `bad_reads` and `bad_writes` err.
    """

    def __init__(self, datapath_bits: int, *, latency: int = 4, stall: float = 0.0, seed: int = 1) -> None:
        self.data = bytearray(random.Random(seed).randbytes(MEMORY_BYTES))
        self.bad_reads: set[int] = set()
        self.bad_writes: set[int] = set()
        self.log: list[tuple[str, int, int]] = []  # "read", "write" or "answer", address, bytes
        self._flit_bytes = datapath_bits // 8
        self._latency = latency
        self._stall = stall
        self._random = random.Random(seed)

    def _goes(self) -> bool:
        return self._random.random() >= self._stall

    def _ready(self, ctx: Any, valid: Any) -> bool:
        """Memory that stalls is also one that is ready only for what is offered."""
        return self._goes() and (not self._stall or bool(ctx.get(valid)))

    def _flits(self, address: int, length: int) -> Iterable[tuple[int, bool, bool]]:
        """Data, last and error of the flits of a read."""
        for start in range(0, length, self._flit_bytes):
            places = range(address + start, address + min(start + self._flit_bytes, length))
            error = not self.bad_reads.isdisjoint(places)
            text = bytes(self.data[places.start : places.stop])
            yield 0 if error else int.from_bytes(text, "little"), start + self._flit_bytes >= length, error

    async def serve_reads(self, ctx: Any, port: Any) -> None:
        flits: list[tuple[int, int, bool, bool]] = []  # due cycle first
        cycle = 0
        held: tuple[int, int] | None = None
        async for _, _, valid, ready, *request in ctx.tick().sample(port.valid, port.ready, port.address, port.bytes):
            cycle += 1
            assert held is None or (valid and held == tuple(request)), "a read request fell or changed"
            held = tuple(request) if valid and not ready else None
            if valid and ready:
                self.log.append(("read", *request))
                flits += [(cycle + self._latency, *flit) for flit in self._flits(*request)]
            comes = bool(flits) and flits[0][0] <= cycle and self._goes()
            if comes:
                _, data, last, error = flits.pop(0)
                ctx.set(port.data, data)
                ctx.set(port.data_last, last)
                ctx.set(port.data_error, error)
            ctx.set(port.data_valid, comes)
            ctx.set(port.ready, self._ready(ctx, port.valid))

    async def serve_writes(self, ctx: Any, port: Any) -> None:
        requests: list[tuple[int, int]] = []
        received = b""
        answers: list[tuple[int, bool, tuple[int, int]]] = []  # due cycle, error, request
        cycle = 0
        held: list[tuple[int, ...] | None] = [None, None]
        channels = (port.valid, port.ready, port.data_valid, port.data_ready, port.address, port.bytes, port.data)
        async for _, _, valid, ready, data_valid, data_ready, address, length, data in ctx.tick().sample(*channels):
            cycle += 1
            offers = ((valid, ready, (address, length)), (data_valid, data_ready, (data,)))
            for index, (offered, taken, payload) in enumerate(offers):
                before = held[index]
                assert before is None or (offered and before == payload), f"{('a request', 'a flit')[index]} changed"
                held[index] = payload if offered and not taken else None
            if valid and ready:
                self.log.append(("write", address, length))
                requests.append((address, length))
            if data_valid and data_ready:
                received += data.to_bytes(self._flit_bytes, "little")
            if requests and len(received) >= requests[0][1]:
                address, length = requests.pop(0)
                error = not self.bad_writes.isdisjoint(range(address, address + length))
                if not error:
                    self.data[address : address + length] = received[:length]
                received = received[-(-length // self._flit_bytes) * self._flit_bytes :]
                answers.append((cycle + self._latency, error, (address, length)))
            answered = bool(answers) and answers[0][0] <= cycle
            if answered:
                _, error, request = answers.pop(0)
                self.log.append(("answer", *request))
                ctx.set(port.error, error)
            ctx.set(port.done, answered)
            ctx.set(port.ready, self._ready(ctx, port.valid))
            ctx.set(port.data_ready, self._ready(ctx, port.data_valid))


async def watchdog(ctx: Any) -> None:
    for _ in range(WATCHDOG_CYCLES):
        await ctx.tick()
    raise AssertionError(f"the test has not ended after {WATCHDOG_CYCLES} cycles")


def simulate(block: Any, test: Role, *roles: Role) -> None:
    """Runs `test` on `block` with `roles` in the background. The judge fails the test if `quiescent` was wrong."""
    fragment = Fragment.get(block, None)
    judge = QuiescenceJudge(fragment, block.quiescent)
    simulator = Simulator(fragment)
    simulator.add_clock(1e-8)

    simulator.add_testbench(as_testbench(test))
    for role in (*roles, judge.watch, watchdog):
        simulator.add_testbench(as_testbench(role), background=True)
    simulator.run()
    assert judge.quiet_edges, "the block was never quiescent"
