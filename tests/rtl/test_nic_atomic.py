# amaranth: UnusedElaboratable=no
"""Atomic operations: the plain function against answers worked by hand, the hardware against the plain function."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
from amaranth.sim import Simulator

from rtl.nic.parameters import NicParameters
from rtl.nic.target.alu import Alu
from rtl.nic.target.atomic import Atomic
from rtl.portals import AtomicOperation as Do
from rtl.portals import AtomicType as Of
from tests.golden import atomics
from tests.rtl.nic_port_bench import MEMORY_BYTES, PortMemory, simulate

M32, M64 = (1 << 32) - 1, (1 << 64) - 1
CONDITIONAL = (Do.CSWAP, Do.MSWAP)

# Operation, type, what memory has, the datum, the operand, what memory becomes.
BY_HAND = [
    (Do.SUM, Of.UINT32, 0xFFFF_FFFF, 2, 0, 1),
    (Do.SUM, Of.INT32, 0x7FFF_FFFF, 1, 0, 0x8000_0000),
    (Do.SUM, Of.UINT64, 0xFFFF_FFFF, 1, 0, 0x1_0000_0000),
    (Do.SUM, Of.INT64, 5, M64, 0, 4),
    (Do.MIN, Of.INT32, 1, 0xFFFF_FFFF, 0, 0xFFFF_FFFF),
    (Do.MIN, Of.UINT32, 1, 0xFFFF_FFFF, 0, 1),
    (Do.MIN, Of.INT64, 1 << 63, 7, 0, 1 << 63),
    (Do.MIN, Of.UINT64, 1 << 63, 7, 0, 7),
    (Do.MIN, Of.INT64, M64, M64 - 1, 0, M64 - 1),
    (Do.MAX, Of.INT32, 1, 0xFFFF_FFFF, 0, 1),
    (Do.MAX, Of.UINT32, 1, 0xFFFF_FFFF, 0, 0xFFFF_FFFF),
    (Do.MAX, Of.INT64, 1 << 63, 7, 0, 7),
    (Do.MAX, Of.UINT64, 0x1_0000_0000, 0xFFFF_FFFF, 0, 0x1_0000_0000),
    (Do.AND, Of.UINT64, 0xFF00_FF00, 0x0FF0_0FF0, 0, 0x0F00_0F00),
    (Do.OR, Of.UINT32, 0xFF00_FF00, 0x0FF0_0FF0, 0, 0xFFF0_FFF0),
    (Do.XOR, Of.INT64, M64, 1, 0, M64 - 1),
    (Do.SWAP, Of.INT32, 3, 0x8765_4321, 0, 0x8765_4321),
    (Do.CSWAP, Of.UINT64, 9, 5, 9, 5),
    (Do.CSWAP, Of.UINT64, 9, 5, 1 << 63 | 9, 9),
    (Do.CSWAP, Of.INT32, 0xFFFF_FFFF, 5, 0x1234_5678_FFFF_FFFF, 5),
    (Do.CSWAP, Of.UINT32, 9, 5, 8, 9),
    (Do.MSWAP, Of.UINT32, 0xAAAA_AAAA, 0x5555_5555, 0xFFFF_FFFF_0000_FFFF, 0xAAAA_5555),
    (Do.MSWAP, Of.INT64, M64, 0, 0xF0 << 56, 0x0F << 56 | (1 << 56) - 1),
]


@pytest.mark.parametrize(("operation", "datum_type", "memory", "datum", "operand", "expected"), BY_HAND)
def test_the_reference_gives_what_was_worked_by_hand(
    operation: Do, datum_type: Of, memory: int, datum: int, operand: int, expected: int
) -> None:
    size = datum_type.length_bytes
    old, data = memory.to_bytes(size, "little"), datum.to_bytes(size, "little")
    assert atomics.apply(operation, datum_type, old, data, operand) == expected.to_bytes(size, "little")


def test_the_reference_treats_each_datum_alone() -> None:
    old = bytes.fromhex("ffffffff 00000000 01000000")
    data = bytes.fromhex("01000000 05000000 ffffffff")
    assert atomics.apply(Do.SUM, Of.UINT32, old, data) == bytes.fromhex("00000000 05000000 00000000")
    assert atomics.apply(Do.MIN, Of.INT32, old, data) == bytes.fromhex("ffffffff 00000000 ffffffff")
    assert atomics.apply(Do.SUM, Of.UINT32, b"", b"") == b""


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((6, Of.INT32, bytes(4), bytes(4)), "6 is not a valid AtomicOperation"),
        ((Do.SUM, 4, bytes(4), bytes(4)), "4 is not a valid AtomicType"),
        ((Do.SUM, Of.INT32, bytes(4), bytes(8)), "8 bytes of data for 4 bytes of memory; they must be as many"),
        ((Do.SUM, Of.INT64, bytes(12), bytes(12)), "12 bytes; SUM on INT64 takes multiples of 8 up to 64"),
        ((Do.SUM, Of.INT64, bytes(72), bytes(72)), "72 bytes; SUM on INT64 takes multiples of 8 up to 64"),
        ((Do.CSWAP, Of.UINT32, bytes(8), bytes(8)), "8 bytes; CSWAP on UINT32 takes multiples of 4 up to 4"),
        ((Do.CSWAP, Of.UINT32, bytes(4), bytes(4), 1 << 64), "operand 0x10000000000000000 is out of range 0..0xff"),
        ((Do.CSWAP, Of.UINT32, bytes(4), bytes(4), -1), "operand -0x1 is out of range 0..0xff"),
    ],
)
def test_the_reference_refuses_what_makes_no_sense(arguments: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        atomics.apply(*arguments)


def edges() -> Iterator[tuple[int, int, int]]:
    """Memory, datum and operand where signs, carries and equality of halves decide; then some at random."""
    corners = [0, 1, M32, 1 << 31, 1 << 32, 1 << 63, M64, 1 << 63 | M32]
    yield from ((memory, datum, memory ^ datum & 1 << 40) for memory in corners for datum in corners)
    generator = random.Random(5)
    for _ in range(40):
        high, low = generator.getrandbits(32), generator.getrandbits(32)
        memory = high << 32 | low
        yield memory, high << 32 | generator.getrandbits(32), memory
        yield memory, generator.getrandbits(64), generator.getrandbits(32) << 32 | low
        yield memory, generator.getrandbits(64), high << 32 | generator.getrandbits(32)


def test_the_alu_agrees_with_the_reference() -> None:
    alu = Alu()
    vectors = list(edges())

    async def bench(ctx: Any) -> None:
        for operation in Do:
            for datum_type in Of:
                size = datum_type.length_bytes
                ctx.set(alu.operation, operation)
                ctx.set(alu.type, datum_type)
                for memory, datum, operand in vectors:
                    ctx.set(alu.memory, memory)
                    ctx.set(alu.datum, datum)
                    ctx.set(alu.operand, operand)
                    old, data = memory.to_bytes(8, "little"), datum.to_bytes(8, "little")
                    expected = b"".join(
                        atomics.apply(operation, datum_type, old[at : at + size], data[at : at + size], operand)
                        for at in range(0, 8, size)
                    )
                    result = ctx.get(alu.result).to_bytes(8, "little")
                    assert result == expected, f"{operation.name} {datum_type.name} {memory:#x} {datum:#x} {operand:#x}"

    simulator = Simulator(alu)
    simulator.add_testbench(bench)
    simulator.run()


class Requester:
    """Issues requests to an Atomic and keeps what memory ought to hold."""

    def __init__(self, *, datapath_bits: int, stall: float = 0.0, latency: int = 4) -> None:
        self.block = Atomic(NicParameters(datapath_bits=datapath_bits))
        self.memory = PortMemory(datapath_bits, stall=stall, latency=latency)
        self.expected = bytearray(self.memory.data)
        self.cycles = 0  # that the last request took
        self.ctx: Any = None

    def run(self, test: Any) -> None:
        async def with_context(ctx: Any) -> None:
            self.ctx = ctx
            await test()

        block, memory = self.block, self.memory
        simulate(
            block,
            with_context,
            lambda ctx: memory.serve_reads(ctx, block.read),
            lambda ctx: memory.serve_writes(ctx, block.write),
        )

    async def request(
        self, operation: int, datum_type: int, address: int, data: bytes, operand: int = 0
    ) -> tuple[bool, bytes]:
        """(failed, what stood there, with zeros up to 64 bytes)."""
        ctx, port = self.ctx, self.block.i_request
        for name, value in (
            ("address", address),
            ("bytes", len(data)),
            ("operation", operation),
            ("type", datum_type),
            ("operand", operand),
        ):
            ctx.set(getattr(port, name), value)
        for index in range(8):
            ctx.set(port.data[index], int.from_bytes(data[8 * index : 8 * index + 8], "little"))
        ctx.set(port.valid, 1)
        self.cycles = 0
        done = failed = False
        while not done:
            _, _, done, failed = await ctx.tick().sample(port.done, port.failed)
            self.cycles += 1
        ctx.set(port.valid, 0)
        await ctx.tick()
        return bool(failed), b"".join(ctx.get(word).to_bytes(8, "little") for word in port.old)

    async def check(self, operation: Do, datum_type: Of, address: int, data: bytes, operand: int = 0) -> None:
        """A request that must succeed."""
        place = slice(address, address + len(data))
        before = bytes(self.expected[place])
        self.expected[place] = atomics.apply(operation, datum_type, before, data, operand)
        failed, old = await self.request(operation, datum_type, address, data, operand)
        assert not failed
        assert old == before.ljust(64, b"\0")
        assert self.memory.data == self.expected


@pytest.mark.parametrize("datapath_bits", [64, 128])
@pytest.mark.parametrize("stall", [0.0, 0.5])
def test_every_operation_on_memory(datapath_bits: int, stall: float) -> None:
    requester = Requester(datapath_bits=datapath_bits, stall=stall)
    generator = random.Random(7)

    async def test() -> None:
        for operation in Do:
            for datum_type in Of:
                size = datum_type.length_bytes
                count = 1 if operation in CONDITIONAL else generator.randint(1, 64 // size)
                address = generator.randrange(0, MEMORY_BYTES - 64, size)
                operand = generator.getrandbits(64)
                if operation is Do.CSWAP and generator.random() < 0.5:
                    operand = int.from_bytes(requester.expected[address : address + size], "little")
                await requester.check(operation, datum_type, address, generator.randbytes(size * count), operand)
                await requester.ctx.tick().repeat(generator.randint(1, 3))

    requester.run(test)


@pytest.mark.parametrize("datapath_bits", [64, 128])
def test_every_length_at_every_place_of_a_bus_word(datapath_bits: int) -> None:
    requester = Requester(datapath_bits=datapath_bits)
    generator = random.Random(8)

    async def test() -> None:
        for length in range(4, 65, 4):
            await requester.check(Do.SUM, Of.UINT32, 512 + 20 * length, generator.randbytes(length))
        for length in range(8, 65, 8):
            await requester.check(Do.XOR, Of.INT64, 2048 + 8 * length, generator.randbytes(length))

    requester.run(test)


@pytest.mark.parametrize("datapath_bits", [64, 128])
def test_an_error_of_memory_is_told_and_a_word_that_cannot_be_read_is_not_written(datapath_bits: int) -> None:
    requester = Requester(datapath_bits=datapath_bits)
    memory = requester.memory

    async def test() -> None:
        for bad in (64, 95, 127):
            memory.bad_reads = {bad}
            memory.log.clear()
            failed, old = await requester.request(Do.SUM, Of.INT64, 64, bytes([1] * 64))
            assert failed
            assert old != bytes(64)
            assert [kind for kind, *_ in memory.log] == ["read"]
            assert memory.data == requester.expected
        memory.bad_reads = set()
        memory.bad_writes = {64}
        failed, _ = await requester.request(Do.SUM, Of.INT64, 64, bytes([1] * 64))
        assert failed
        memory.bad_writes = set()
        await requester.check(Do.SUM, Of.INT64, 64, bytes([1] * 64))

    requester.run(test)


def test_nothing_is_read_before_memory_has_answered_the_write_before() -> None:
    requester = Requester(datapath_bits=64, stall=0.3, latency=9)

    async def test() -> None:
        for _ in range(4):
            await requester.check(Do.SUM, Of.INT64, 128, bytes([1] * 8))

    requester.run(test)
    assert [kind for kind, *_ in requester.memory.log] == ["read", "write", "answer"] * 4


@pytest.mark.parametrize("datapath_bits", [64, 128])
@pytest.mark.parametrize("length", [8, 64])
def test_besides_memory_a_request_takes_eight_cycles_and_one_for_each_word(datapath_bits: int, length: int) -> None:
    latency = 4
    requester = Requester(datapath_bits=datapath_bits, latency=latency)

    async def test() -> None:
        await requester.ctx.tick().repeat(2)  # until memory is ready
        await requester.check(Do.SUM, Of.INT64, 256, bytes(length))
        # Memory takes a request, waits, gives the flits; takes the flits, waits, answers.
        flits = -(-length * 8 // datapath_bits)
        of_memory = (1 + latency + flits) + (flits + latency + 1)
        assert requester.cycles - of_memory <= 8 + length // 8
        assert requester.cycles <= of_memory + 4

    requester.run(test)
