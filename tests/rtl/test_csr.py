# amaranth: UnusedElaboratable=no
"""The register bank: every rule of rtl/csr.py on a map with one register of each kind."""

import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from amaranth.hdl import Elaboratable, Module, Signal
from amaranth.sim import SimulatorContext
from axi_lite_bench import KERNEL, USER, read, simulate, write

from rtl.axi import Response
from rtl.csr import RegisterBank
from rtl.registers import RegisterMapError, load_file

MAP = load_file(Path(__file__).parent / "csr_bank.rdl")
OKAY, SLVERR = Response.OKAY, Response.SLVERR
OPEN_RESET = 0x0123456789ABCDEF
ADDRESSES = {"ID": 0x0, "SECRET": 0x8, "OPEN": 0x10, "GUARDED": 0x18, "STATUS": 0x20, "COUNT": 0x28, "SEALED": 0x30}
ADDRESSES |= {"MIXED": 0x38, "CELL[0].WORD": 0x11000, "CELL[1].WORD": 0x12000, "OWNED": 0x80}
RESET = {"ID": 0x4242, "SECRET": 0x5A, "OPEN": OPEN_RESET, "GUARDED": 7}


class Block(Elaboratable):
    """A block with a bank: accepts only even values into checked registers, and keeps OWNED itself, halved."""

    def __init__(self) -> None:
        self.bank = RegisterBank(MAP)
        self.written = self.bank.written("GUARDED")
        self.increment = self.bank.increment("COUNT")
        self.cause = self.bank.field("STATUS", "cause")

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.bank = self.bank
        for path in ("GUARDED", "SEALED", "OWNED"):
            m.d.comb += self.bank.accept(path).eq(self.bank.proposed(path) & ~self.bank.write_data[0])
        owned = Signal(32)
        with m.If(self.bank.written("OWNED")):
            m.d.sync += owned.eq(self.bank.write_data >> 1)
        m.d.comb += self.bank.field("OWNED", "value").eq(owned)
        return m


class Log:
    """What the bank said beside the bus: (cycle's) refusals, writes and proposals, in order."""

    def __init__(self) -> None:
        self.refusals: list[tuple[str, int]] = []
        self.written: list[int] = []
        self.proposed: list[int] = []

    def watch(self, block: Block) -> Callable[[SimulatorContext], Awaitable[None]]:
        bank = block.bank
        sampled = (bank.refused, bank.refused_unprivileged, bank.refused_address, block.written, bank.write_data)

        async def bench(ctx: SimulatorContext) -> None:
            async for _, _, refused, unprivileged, address, written, data, proposed in ctx.tick().sample(
                *sampled, bank.proposed("GUARDED")
            ):
                assert not (refused and unprivileged)
                if refused or unprivileged:
                    self.refusals.append(("refused" if refused else "unprivileged", address))
                if written:
                    self.written.append(data)
                if proposed:
                    self.proposed.append(data)

        return bench


def run(scenario: Callable[[SimulatorContext, Block, Any], Awaitable[None]]) -> Log:
    block, log = Block(), Log()

    async def bench(ctx: SimulatorContext) -> None:
        await scenario(ctx, block, block.bank.bus)
        await ctx.tick().repeat(3)

    simulate(block, bench, watched=(block.bank.bus,), background=(log.watch(block),))
    return log


async def snapshot(ctx: SimulatorContext, bus: Any) -> dict[str, int]:
    return {path: (await read(ctx, bus, address))[0] for path, address in ADDRESSES.items()}


def test_all_registers_start_at_their_reset_values() -> None:
    async def scenario(ctx: SimulatorContext, block: Block, bus: Any) -> None:
        for path, address in ADDRESSES.items():
            assert await read(ctx, bus, address) == (RESET.get(path, 0), OKAY, 1)

    assert run(scenario).refusals == []


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("SECRET", 0xFFFF_FFFF_FFFF_FFFF, 0xF000_0000_0000_00FF),  # bits that no field names stay 0
        ("OPEN", 0xFEDC_BA98_7654_3210, 0xFEDC_BA98_7654_3210),
        ("GUARDED", 0xFFFF_FFFF_8000_0000, 0x8000_0000),
        ("MIXED", 0xFFFF_FFFF, 0xFFFF),  # only its writable field takes the value
        ("CELL[0].WORD", 1, 1),
        ("CELL[1].WORD", 2, 2),
        ("OWNED", 0x4444_4444, 0x2222_2222),  # what the block makes of it
    ],
)
def test_a_write_reaches_its_register_and_no_other(path: str, value: int, expected: int) -> None:
    async def scenario(ctx: SimulatorContext, block: Block, bus: Any) -> None:
        before = await snapshot(ctx, bus)
        assert await write(ctx, bus, ADDRESSES[path], value) == (OKAY, 2)
        assert await snapshot(ctx, bus) == before | {path: expected}

    assert run(scenario).refusals == []


REFUSED_WRITES = [
    ("unknown address", {"address": 0x40}, "refused"),
    ("unknown address, no privilege", {"address": 0x40, "prot": USER}, "refused"),
    ("an address one register beyond", {"address": 0x11008}, "refused"),
    ("in the last group", {"address": 0x12FF8}, "refused"),
    ("an alias beyond the map", {"address": 0x8000_0010}, "refused"),
    ("an alias beyond the map's highest address bit", {"address": 0x2_0010}, "refused"),
    ("misaligned", {"address": 0x14}, "refused"),
    ("misaligned by one", {"address": 0x11}, "refused"),
    ("partial", {"address": 0x10, "strobe": 0x0F}, "refused"),
    ("without the last byte", {"address": 0x10, "strobe": 0x7F}, "refused"),
    ("without the first byte", {"address": 0x10, "strobe": 0xFE}, "refused"),
    ("no byte at all", {"address": 0x10, "strobe": 0}, "refused"),
    ("read-only", {"address": 0x0}, "refused"),
    ("a counter", {"address": 0x28}, "refused"),
    ("kernel's register, no privilege", {"address": 0x8, "prot": USER}, "unprivileged"),
    ("privilege in the wrong bit of prot", {"address": 0x8, "prot": 0b110}, "unprivileged"),
    ("kernel's register, no privilege, partial", {"address": 0x8, "prot": USER, "strobe": 1}, "unprivileged"),
    ("kernel's read-only register, no privilege", {"address": 0x0, "prot": USER}, "unprivileged"),
    ("privileged by its register file", {"address": 0x12000, "prot": USER}, "unprivileged"),
    ("checked, refused by the block", {"address": 0x18}, "refused"),
    ("checked and kept by the block, refused by it", {"address": 0x80}, "refused"),
    ("checked and privileged, no privilege", {"address": 0x30, "prot": USER}, "unprivileged"),
]


@pytest.mark.parametrize(
    ("access", "reason"), [row[1:] for row in REFUSED_WRITES], ids=[row[0] for row in REFUSED_WRITES]
)
def test_a_refused_write_is_answered_slverr_and_changes_nothing(access: dict[str, int], reason: str) -> None:
    async def scenario(ctx: SimulatorContext, block: Block, bus: Any) -> None:
        before = await snapshot(ctx, bus)
        address = access["address"]
        rest = {name: value for name, value in access.items() if name != "address"}
        assert await write(ctx, bus, address, 0xFFFF_FFFF_FFFF_FFFF, **rest) == (SLVERR, 2)
        assert await snapshot(ctx, bus) == before

    log = run(scenario)
    assert log.refusals == [(reason, access["address"])]
    assert log.written == []


REFUSED_READS = [
    ("unknown address", 0x40, KERNEL, "refused"),
    ("an alias beyond the map", 0x8000_0010, KERNEL, "refused"),
    ("misaligned", 0x14, KERNEL, "refused"),
    ("kernel's register, no privilege", 0x8, USER, "unprivileged"),
    ("privilege in the wrong bit of prot", 0x8, 0b010, "unprivileged"),
    ("privileged by its register file", 0x11000, USER, "unprivileged"),
]


@pytest.mark.parametrize(
    ("address", "prot", "reason"), [row[1:] for row in REFUSED_READS], ids=[row[0] for row in REFUSED_READS]
)
def test_a_refused_read_is_answered_slverr_and_tells_nothing(address: int, prot: int, reason: str) -> None:
    async def scenario(ctx: SimulatorContext, block: Block, bus: Any) -> None:
        assert (await read(ctx, bus, 0x10))[0] == OPEN_RESET  # leaves something that must not be seen again
        assert await read(ctx, bus, address, prot=prot) == (0, SLVERR, 1)

    assert run(scenario).refusals == [(reason, address)]


def test_an_unprivileged_access_to_an_open_register_is_accepted() -> None:
    async def scenario(ctx: SimulatorContext, block: Block, bus: Any) -> None:
        assert await write(ctx, bus, ADDRESSES["OPEN"], 5, prot=USER) == (OKAY, 2)
        assert await read(ctx, bus, ADDRESSES["OPEN"], prot=USER) == (5, OKAY, 1)

    assert run(scenario).refusals == []


@pytest.mark.parametrize(("address_delay", "data_delay"), [(0, 1), (1, 0), (0, 9), (9, 0), (3, 2)])
@pytest.mark.parametrize("answer_delay", [0, 1, 6])
def test_address_and_data_come_in_any_order_and_answers_wait(
    address_delay: int, data_delay: int, answer_delay: int
) -> None:
    async def scenario(ctx: SimulatorContext, block: Block, bus: Any) -> None:
        delays = {"address_delay": address_delay, "data_delay": data_delay, "answer_delay": answer_delay}
        assert await write(ctx, bus, ADDRESSES["OPEN"], 0x77, **delays) == (OKAY, max(address_delay, data_delay) + 2)
        assert await read(ctx, bus, ADDRESSES["OPEN"], answer_delay=answer_delay) == (0x77, OKAY, 1)

    run(scenario)


def test_a_second_write_waits_for_the_first_ones_answer() -> None:
    async def scenario(ctx: SimulatorContext, block: Block, bus: Any) -> None:
        for signal, value in ((bus.awvalid, 1), (bus.wvalid, 1), (bus.awaddr, ADDRESSES["OPEN"]), (bus.awprot, KERNEL)):
            ctx.set(signal, value)
        ctx.set(bus.wstrb, 0xFF)
        ctx.set(bus.wdata, 1)
        await ctx.tick()
        ctx.set(bus.wdata, 2)
        await ctx.tick().repeat(2)  # decided; then address and data of the second are taken as well
        ctx.set(bus.awvalid, 0)
        ctx.set(bus.wvalid, 0)
        for _ in range(5):
            assert ctx.get(bus.bvalid)
            assert ctx.get(block.bank.field("OPEN", "value")) == 1
            await ctx.tick()
        ctx.set(bus.bready, 1)
        await ctx.tick().repeat(2)
        assert ctx.get(bus.bvalid)
        assert ctx.get(block.bank.field("OPEN", "value")) == 2

    run(scenario)


def test_a_checked_register_takes_what_the_block_accepts() -> None:
    async def scenario(ctx: SimulatorContext, block: Block, bus: Any) -> None:
        for value, response in ((8, OKAY), (9, SLVERR), (10, OKAY)):
            assert (await write(ctx, bus, ADDRESSES["GUARDED"], value))[0] == response
        assert (await read(ctx, bus, ADDRESSES["GUARDED"]))[0] == 10

    log = run(scenario)
    assert log.proposed == [8, 9, 10]
    assert log.written == [8, 10]
    assert log.refusals == [("refused", ADDRESSES["GUARDED"])]


def test_the_new_value_is_there_in_the_cycle_after_written() -> None:
    async def scenario(ctx: SimulatorContext, block: Block, bus: Any) -> None:
        seen: list[tuple[int, int]] = []
        for signal, value in ((bus.awvalid, 1), (bus.wvalid, 1), (bus.awaddr, ADDRESSES["GUARDED"]), (bus.wdata, 12)):
            ctx.set(signal, value)
        ctx.set(bus.wstrb, 0xFF)
        ctx.set(bus.bready, 1)
        for _ in range(4):
            seen.append((ctx.get(block.written), ctx.get(block.bank.field("GUARDED", "value"))))
            await ctx.tick()
            ctx.set(bus.awvalid, 0)
            ctx.set(bus.wvalid, 0)
        assert seen == [(0, 7), (1, 7), (0, 12), (0, 12)]

    run(scenario)


@pytest.mark.parametrize("set_cycle", range(6))
def test_what_the_hardware_sets_is_never_lost_to_a_clearing_write(set_cycle: int) -> None:
    """Software clears 0b0011 in the second cycle of its write; the hardware sets 0b0101 in some cycle around it."""
    expected = 0b0100 if set_cycle < 1 else 0b0101

    async def scenario(ctx: SimulatorContext, block: Block, bus: Any) -> None:
        ctx.set(block.cause, 0b0011)
        await ctx.tick()
        ctx.set(block.cause, 0)
        for signal, value in (
            (bus.awvalid, 1),
            (bus.wvalid, 1),
            (bus.awaddr, ADDRESSES["STATUS"]),
            (bus.wdata, 0b0011),
        ):
            ctx.set(signal, value)
        ctx.set(bus.wstrb, 0xFF)
        ctx.set(bus.bready, 1)
        for cycle in range(6):
            ctx.set(block.cause, 0b0101 if cycle == set_cycle else 0)
            await ctx.tick()
            ctx.set(bus.awvalid, 0)
            ctx.set(bus.wvalid, 0)
        ctx.set(block.cause, 0)
        assert ctx.get(block.bank.stored("STATUS", "cause")) == expected
        assert (await read(ctx, bus, ADDRESSES["STATUS"]))[0] == expected

    run(scenario)


def test_what_the_block_drives_is_what_software_reads() -> None:
    async def scenario(ctx: SimulatorContext, block: Block, bus: Any) -> None:
        ctx.set(block.bank.field("ID", "built"), 0xBEEF)
        ctx.set(block.bank.field("MIXED", "seen"), 0x1234)
        assert (await read(ctx, bus, ADDRESSES["ID"]))[0] == 0xBEEF_4242
        assert (await read(ctx, bus, ADDRESSES["MIXED"]))[0] == 0x1234_0000

    run(scenario)


def test_a_counter_counts_every_cycle_of_its_pulse() -> None:
    async def scenario(ctx: SimulatorContext, block: Block, bus: Any) -> None:
        generator = random.Random(3)
        pulses = [generator.randrange(2) for _ in range(50)]
        for pulse in pulses:
            ctx.set(block.increment, pulse)
            await ctx.tick()
        ctx.set(block.increment, 0)
        assert (await read(ctx, bus, ADDRESSES["COUNT"]))[0] == sum(pulses)

    run(scenario)


def test_reads_and_writes_at_once_lose_no_refusal() -> None:
    log = Log()
    block = Block()
    bus = block.bank.bus
    rounds = 20

    async def reader(ctx: SimulatorContext) -> None:
        for _ in range(rounds):
            assert (await read(ctx, bus, 0x48))[1] == SLVERR

    async def writer(ctx: SimulatorContext) -> None:
        for round_ in range(rounds):
            assert (await write(ctx, bus, 0x50, 0, address_delay=round_ % 3))[0] == SLVERR

    simulate(block, reader, writer, watched=(bus,), background=(log.watch(block),))
    assert sorted(log.refusals) == [("refused", 0x48)] * rounds + [("refused", 0x50)] * rounds


def test_while_quiescent_a_clock_edge_changes_nothing() -> None:
    """Snapshots of all that the bank stores, around each edge, against what `quiescent` said before it."""
    block = Block()
    bank, bus = block.bank, block.bank.bus
    state = [bank.stored(*key) for key in (("SECRET", "low"), ("OPEN", "value"), ("GUARDED", "value"))]
    state += [bank.stored("STATUS", "cause"), bank.stored("COUNT", "count"), bank.write_data]
    state += [bus.bvalid, bus.rvalid, bus.rdata, bus.awready, bus.wready, bus.arready]
    said: list[int] = []

    async def watch(ctx: SimulatorContext) -> None:
        while True:
            before = [ctx.get(signal) for signal in state]
            quiescent = ctx.get(bank.quiescent)
            said.append(quiescent)
            await ctx.tick()
            if quiescent:
                assert before == [ctx.get(signal) for signal in state]

    async def bench(ctx: SimulatorContext) -> None:
        generator = random.Random(11)
        for _ in range(60):
            await ctx.tick().repeat(generator.randrange(3) + 1)
            assert ctx.get(bank.quiescent)
            address = generator.choice([*ADDRESSES.values(), 0x14, 0x40])
            delays = {"address_delay": generator.randrange(3), "answer_delay": generator.randrange(3)}
            await write(ctx, bus, address, generator.getrandbits(64), data_delay=generator.randrange(3), **delays)
            await read(ctx, bus, address, answer_delay=generator.randrange(3))
            for signal, value in ((block.increment, 1), (block.cause, generator.randrange(16))):
                ctx.set(signal, value)
                await ctx.tick()
                ctx.set(signal, 0)

    simulate(block, bench, background=(watch,))
    assert 0 in said
    assert 1 in said


@pytest.mark.parametrize("channel", ["aw", "w"])
def test_half_a_write_is_something_in_progress(channel: str) -> None:
    async def scenario(ctx: SimulatorContext, block: Block, bus: Any) -> None:
        ctx.set(getattr(bus, f"{channel}valid"), 1)
        assert not ctx.get(block.bank.quiescent)
        await ctx.tick()
        ctx.set(getattr(bus, f"{channel}valid"), 0)
        for _ in range(3):
            assert not ctx.get(block.bank.quiescent)
            await ctx.tick()

    run(scenario)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (lambda bank: bank.field("OPEN", "other"), r"^OPEN: no field 'other'; there are value$"),
        (lambda bank: bank.field("NONE", "value"), r"^bank: no register 'NONE'; a path is like 'CELL\[1\]\.WORD'$"),
        (lambda bank: bank.field("COUNT", "count"), r"^COUNT\.count: hw = na; the block neither reads nor drives it$"),
        (lambda bank: bank.stored("ID", "built"), r"^ID\.built: the bank stores nothing here"),
        (lambda bank: bank.increment("OPEN"), r"^OPEN: this register is not a counter$"),
        (lambda bank: bank.accept("OPEN"), r"^OPEN: this register is not checked$"),
        (lambda bank: bank.written("ID"), r"^ID: no field is writable by software, so it is never written$"),
    ],
)
def test_asking_for_what_is_not_there_is_refused(wrong: Callable[[RegisterBank], object], text: str) -> None:
    with pytest.raises(RegisterMapError, match=text):
        wrong(RegisterBank(MAP))


def test_refuses_fields_of_a_kind_it_does_not_have(tmp_path: Path) -> None:
    path = tmp_path / "odd.rdl"
    path.write_text("addrmap odd { reg { regwidth = 64; field { sw = rw; hw = rw; } x[7:0] = 0; } R @ 0; };")
    with pytest.raises(RegisterMapError, match=r"^R\.x: sw = rw, hw = rw, .* is no kind of field"):
        RegisterBank(load_file(path))


def test_refuses_a_bus_too_narrow_for_the_map() -> None:
    with pytest.raises(RegisterMapError, match=r"^bank: \d+ bytes do not fit into 16 address bits$"):
        RegisterBank(MAP, address_width=16)
