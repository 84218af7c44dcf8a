"""The receiving side: only whole packets pass, and no other stops them."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from rtl.nic.interfaces.widths import NO_CONTEXT
from rtl.nic.parameters import NicParameters
from rtl.nic.wire.receive import ROWS, Receive
from rtl.packets import REQUEST, crc32, pack
from rtl.portals import Refusal
from tests.rtl.nic_wire_bench import Clock, FlitSource, PacketSink, record_refusals, settle, simulate

WIDTHS = (64, 128)
MTU_BYTES = 128
ALL_ONES = 0xFFFF_FFFF

Packet = tuple[list[int], int, int, bytes]


def parameters(width: int) -> NicParameters:
    return NicParameters(mtu_bytes=MTU_BYTES, datapath_bits=width)


class Bench:
    def __init__(self, width: int, *, stall: float = 0.0, data_stall: float = 0.0) -> None:
        self.width = width
        self.receive = Receive(parameters(width))
        self.clock = Clock()
        self.source = FlitSource(self.receive.i_flits, self.clock, stall=stall / 2)
        self.sink = PacketSink(self.receive.o_packet, self.clock, width, stall=stall, data_stall=data_stall)
        self.refusals: list[tuple[int, int, int]] = []

    def run(self, test: Callable[[Any], Any]) -> None:
        async def refusals(ctx: Any) -> None:
            await record_refusals(ctx, self.receive.refusal, self.refusals)

        simulate(self.receive, test, self.source.run, self.sink.run, refusals, clock=self.clock)

    async def settle(self, ctx: Any) -> None:
        await settle(ctx, self.receive, lambda: self.source.busy)

    def packet(self, size: int, source: random.Random, **fields: int) -> list[int]:
        """A whole packet of random words; nothing but `payload_bytes` is looked at here."""
        names = {f.name: source.getrandbits(f.width) for f in REQUEST if f.name != "payload_bytes"}
        return pack(REQUEST, source.randbytes(size), datapath_bits=self.width, **{**names, **fields})

    def seen(self, flits: list[int], *, poisoned: int = 0) -> Packet:
        """What a whole packet looks like behind the receiver."""
        text = b"".join(flit.to_bytes(self.width // 8, "little") for flit in flits[:-1])
        words = [int.from_bytes(text[8 * index : 8 * index + 8], "little") for index in range(8)]
        return words, poisoned, 0, text[64:]

    def seal(self, flits: list[int]) -> list[int]:
        """The flits with a CRC that is right for them, whatever else is wrong."""
        return [*flits, crc32(flits, self.width)]

    def identity(self, flits: list[int]) -> int:
        """Identity word of what came before the CRC, 0 if it had not come."""
        words = [flit >> shift & (1 << 64) - 1 for flit in flits[:-1] for shift in range(0, self.width, 64)]
        return words[1] if len(words) > 1 else 0


def _damage(bench: Bench, kind: str, source: random.Random) -> tuple[list[int], Refusal]:
    """A packet that must be refused, and why."""
    size = source.randrange(MTU_BYTES + 1)
    flits = bench.packet(size, source)
    body = flits[:-1]
    if kind == "flipped bit":
        flits[source.randrange(len(flits))] ^= 1 << source.randrange(32)
        return flits, Refusal.PACKET_CRC
    if kind == "beyond the CRC":
        flits[-1] |= 1 << source.randrange(32, bench.width)
        return flits, Refusal.PACKET_CRC
    if kind == "poison beyond the CRC":
        flits[-1] ^= ALL_ONES | 1 << source.randrange(32, bench.width)
        return flits, Refusal.PACKET_CRC
    if kind == "cut":
        return flits[: source.randrange(1, len(flits))], Refusal.PACKET_CRC
    if kind == "truncated":
        return bench.seal(body[: source.randrange(len(body))]), Refusal.PACKET_MALFORMED
    if kind == "longer than told":
        more = [source.getrandbits(bench.width) for _ in range(source.choice([1, 2, 40]))]
        return bench.seal(body + more), Refusal.PACKET_MALFORMED
    if kind == "longer than told, poisoned":
        flits = bench.seal([*body, source.getrandbits(bench.width)])
        flits[-1] ^= ALL_ONES
        return flits, Refusal.PACKET_MALFORMED
    assert kind == "over the MTU"
    return bench.packet(source.choice([MTU_BYTES + 1, MTU_BYTES + 64, 5 * MTU_BYTES]), source), Refusal.PACKET_MALFORMED


DAMAGE = (
    "flipped bit",
    "beyond the CRC",
    "poison beyond the CRC",
    "cut",
    "truncated",
    "longer than told",
    "longer than told, poisoned",
    "over the MTU",
)


@pytest.mark.parametrize(
    ("width", "stall", "data_stall"), [(64, 0.0, 0.0), (64, 0.5, 0.7), (128, 0.8, 0.2), (128, 0.3, 0.8)]
)
def test_whole_packets_pass_in_order_and_others_are_refused(width: int, stall: float, data_stall: float) -> None:
    bench = Bench(width, stall=stall, data_stall=data_stall)
    source = random.Random(width + int(10 * stall))
    passed: list[Packet] = []
    refused: list[tuple[int, int, int]] = []

    async def test(ctx: Any) -> None:
        for _ in range(4):
            for kind in source.sample([*DAMAGE, "poisoned", "poisoned", *(7 * ["whole"])], 17):
                if kind in DAMAGE:
                    flits, reason = _damage(bench, kind, source)
                    refused.append((reason, NO_CONTEXT, bench.identity(flits)))
                else:
                    size = source.choice([0, 1, 8, 15, 16, 17, MTU_BYTES - 1, MTU_BYTES])
                    flits = bench.packet(size, source)
                    passed.append(bench.seen(flits, poisoned=int(kind == "poisoned")))
                    if kind == "poisoned":
                        flits[-1] ^= ALL_ONES
                bench.source.inject(flits)
            await bench.settle(ctx)
            await ctx.tick().repeat(3)

    bench.run(test)
    assert bench.sink.packets == passed
    assert bench.refusals == refused
    assert bench.clock.quiet_edges > 8


@pytest.mark.parametrize("width", WIDTHS)
def test_a_lone_flit_is_no_packet_even_right_after_reset(width: int) -> None:
    """The CRC of nothing is zero, and its inverse all ones."""
    bench = Bench(width)

    async def test(ctx: Any) -> None:
        for flit in (0, ALL_ONES, 1):
            bench.source.inject([flit])
        await bench.settle(ctx)

    bench.run(test)
    assert bench.sink.packets == []
    assert [reason for reason, _, _ in bench.refusals] == [
        Refusal.PACKET_MALFORMED,
        Refusal.PACKET_MALFORMED,
        Refusal.PACKET_CRC,
    ]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("size", [0, 8, MTU_BYTES])
def test_a_flit_each_cycle_and_a_header_in_the_cycle_after_the_last(width: int, size: int) -> None:
    bench = Bench(width)
    source = random.Random(9)
    packets = [bench.packet(size, source) for _ in range(12)]

    async def test(ctx: Any) -> None:
        for flits in packets:
            bench.source.inject(flits)
        await bench.settle(ctx)

    bench.run(test)
    assert len(bench.sink.packets) == len(packets)
    assert bench.source.waits == 0
    assert bench.source.taken_cycles[-1] - bench.source.taken_cycles[0] == 11 * len(packets[0])
    # Taken at the end of a cycle, shown in one that is noted at its end.
    delays = [s - 1 - t for s, t in zip(bench.sink.shown_cycles, bench.source.taken_cycles, strict=True)]
    assert set(delays) == {0}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("size", "held"), [(0, ROWS + 1), (MTU_BYTES, 2)])
def test_what_is_full_stops_the_fabric_and_loses_nothing(width: int, size: int, held: int) -> None:
    """A damaged packet costs no room: it may come between those that wait while one more could."""
    bench = Bench(width)
    source = random.Random(11)
    packets = [bench.packet(size, source) for _ in range(8)]
    damaged, _ = _damage(bench, "over the MTU", source)

    async def test(ctx: Any) -> None:
        bench.sink.blocked = True
        await ctx.tick().repeat(2)
        for flits in packets[:held]:
            bench.source.inject(damaged)
            bench.source.inject(flits)
        await ctx.tick().repeat(4 * held * len(damaged))
        assert len(bench.source.taken_cycles) == 2 * held
        for flits in packets[held:]:
            bench.source.inject(flits)
        await ctx.tick().repeat(100)
        assert len(bench.source.taken_cycles) == 2 * held
        bench.sink.blocked = False
        await bench.settle(ctx)

    bench.run(test)
    assert bench.sink.packets == [bench.seen(flits) for flits in packets]
    assert len(bench.refusals) == held


@pytest.mark.parametrize("width", WIDTHS)
def test_payload_waits_for_its_header_when_headers_are_taken_late(width: int) -> None:
    bench = Bench(width, stall=0.95)
    source = random.Random(13)
    packets = [bench.packet(size, source) for size in (16, 16, 1, 0, 32, 5)]

    async def test(ctx: Any) -> None:
        for flits in packets:
            bench.source.inject(flits)
        await bench.settle(ctx)

    bench.run(test)
    assert bench.sink.packets == [bench.seen(flits) for flits in packets]
