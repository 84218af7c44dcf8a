"""What surrounds the memory port in Amaranth's simulator: a host memory that judges AXI, readers, writers."""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from amaranth.hdl import Fragment
from amaranth.sim import Simulator

from rtl.axi import Response
from tests.rtl.quiescence import QuiescenceJudge
from tests.rtl.roles import Role, as_testbench

MEMORY_BYTES = 1 << 18
WATCHDOG_CYCLES = 20_000


@dataclass(kw_only=True)
class HostMemory:
    """An AXI4 subordinate of `width` bytes a word; it fails the test when the manager breaks a rule.

    `stall` is the probability that a channel waits in a cycle. Words at addresses in `bad` err. With
    `address_awaits_data` a write's address is accepted only once its data are offered.
    """

    width: int
    latency: int = 3
    stall: float = 0.0
    address_awaits_data: bool = False
    size: int = MEMORY_BYTES
    seed: int = 1
    bad: set[int] = field(default_factory=set)
    silent: bool = False  # no write is answered while this is set
    read_bursts: list[tuple[int, int]] = field(default_factory=list)  # address, words
    write_bursts: list[tuple[int, int]] = field(default_factory=list)
    answered: int = 0  # write bursts
    read_words: list[int] = field(default_factory=list)  # cycle of each
    written_words: list[int] = field(default_factory=list)
    most_reads: int = 0  # bursts under way at a time
    most_writes: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.data = bytearray(self.random.randbytes(self.size))
        self.cycle = 0

    def _goes(self) -> bool:
        return self.random.random() >= self.stall

    def _check(self, name: str, address: int, length: int, size: int, burst: int) -> tuple[int, int]:
        end = address + (length + 1) * self.width
        assert (1 << size, burst) == (self.width, 1), f"{name}: not INCR of whole words"
        assert address % self.width == 0, f"{name}: {address:#x} is not aligned"
        assert address // 4096 == (end - 1) // 4096, f"{name}: {address:#x}..{end:#x} crosses 4 KiB"
        assert end <= self.size, f"{name}: {end:#x} is beyond the memory"
        return address, length + 1

    async def serve_reads(self, ctx: Any, axi: Any) -> None:
        words: list[tuple[int, int, bool]] = []  # due cycle, address, last
        held = None
        offered = False
        request = (axi.araddr, axi.arlen, axi.arsize, axi.arburst)
        async for _, _, valid, ready, taken, *payload in ctx.tick().sample(
            axi.arvalid, axi.arready, axi.rready, *request
        ):
            self.cycle += 1
            assert self.cycle < WATCHDOG_CYCLES, f"the test has not ended after {WATCHDOG_CYCLES} cycles"
            assert held is None or (valid and held == payload), "AR fell or changed before it was accepted"
            held = payload if valid and not ready else None
            if offered and taken:
                words.pop(0)
                self.read_words.append(self.cycle)
                offered = False
            if valid and ready:
                address, count = self._check("AR", *payload)
                self.read_bursts.append((address, count))
                words += [(self.cycle + self.latency, address + self.width * i, i == count - 1) for i in range(count)]
                self.most_reads = max(self.most_reads, sum(last for _, _, last in words))
            if not offered and words and words[0][0] <= self.cycle and self._goes():
                _, address, last = words[0]
                bad = address in self.bad
                ctx.set(axi.rdata, int.from_bytes(self.data[address : address + self.width], "little"))
                ctx.set(axi.rresp, Response.SLVERR if bad else Response.OKAY)
                ctx.set(axi.rlast, last)
                offered = True
            ctx.set(axi.rvalid, offered)
            ctx.set(axi.arready, self._goes())

    async def serve_writes(self, ctx: Any, axi: Any) -> None:
        offers = 0  # addresses that were ever offered
        pending: list[tuple[int, int]] = []  # bursts whose address is accepted and whose data are not complete
        early: list[tuple[int, int, int]] = []  # data taken before their address: word, strobe, last
        answers: list[tuple[int, int]] = []  # due cycle, response
        finished = position = 0
        refused = offered = False
        held: list[list[int] | None] = [None, None]
        address_channel = (axi.awvalid, axi.awready, axi.awaddr, axi.awlen, axi.awsize, axi.awburst)
        data_channel = (axi.wvalid, axi.wready, axi.wdata, axi.wstrb, axi.wlast)
        async for _, _, taken, *sampled in ctx.tick().sample(axi.bready, *address_channel, *data_channel):
            (awvalid, awready, *request), (wvalid, wready, *item) = sampled[:6], sampled[6:]
            for index, (valid, ready, payload) in enumerate(((awvalid, awready, request), (wvalid, wready, item))):
                before = held[index]
                assert before is None or (valid and before == payload), f"{('AW', 'W')[index]} changed early"
                if index == 0 and valid and before is None:
                    offers += 1
                held[index] = payload if valid and not ready else None
            if offered and taken:
                answers.pop(0)
                self.answered += 1
                offered = False
            if awvalid and awready:
                burst = self._check("AW", *request)
                self.write_bursts.append(burst)
                pending.append(burst)
            if wvalid:
                assert finished < offers, "data were offered before their address"
            if wvalid and wready:
                self.written_words.append(self.cycle)
                early.append((item[0], item[1], item[2]))
                finished += item[2]
            while early and pending:
                word, strobe, last = early.pop(0)
                address, count = pending[0]
                assert last == (position == count - 1), "WLAST at the wrong word"
                refused |= self._write(address + self.width * position, word, strobe)
                position += 1
                if last:
                    pending.pop(0)
                    answers.append((self.cycle + self.latency, Response.SLVERR if refused else Response.OKAY))
                    position, refused = 0, False
            self.most_writes = max(self.most_writes, len(pending) + len(answers))
            if not offered and not self.silent and answers and answers[0][0] <= self.cycle and self._goes():
                ctx.set(axi.bresp, answers[0][1])
                offered = True
            ctx.set(axi.bvalid, offered)
            waits = self.address_awaits_data and not early and not ctx.get(axi.wvalid)
            ctx.set(axi.awready, self._goes() and not waits)
            ctx.set(axi.wready, self._goes())

    def _write(self, address: int, word: int, strobe: int) -> bool:
        """Whether memory refuses it."""
        if address in self.bad:
            return True
        text = word.to_bytes(self.width, "little")
        for byte in range(self.width):
            if strobe >> byte & 1:
                self.data[address + byte] = text[byte]
        return False


async def until(ctx: Any, signal: Any) -> None:
    """Past the clock edge at which `signal` was high; unlike Amaranth's own, it can be dropped in the middle."""
    while True:
        _, _, high = await ctx.tick().sample(signal)
        if high:
            return


def simulate(
    block: Any,
    test: Role,
    roles: Iterable[Role],
    *,
    judged: bool = True,
) -> None:
    """Runs `test` to its end beside `roles`, which never end; `quiescent` is judged, unless the block has none."""
    fragment = Fragment.get(block, None)
    simulator = Simulator(fragment)
    simulator.add_clock(1e-8)
    simulator.add_testbench(as_testbench(test))
    for role in roles:
        simulator.add_testbench(as_testbench(role), background=True)
    judge = QuiescenceJudge(fragment, block.quiescent) if judged else None
    if judge:
        simulator.add_testbench(judge.watch, background=True)
    simulator.run()
    assert not judge or judge.quiet_edges, "quiescent was never judged"
