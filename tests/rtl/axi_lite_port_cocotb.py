"""cocotb tests that test_axi_lite_port.py runs: cocotbext-axi's master against the bank of csr_bank.rdl."""

import itertools
import random
from collections.abc import Iterator
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import Combine, RisingEdge
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiProt, AxiResp

BASE = 0x4000_0000
OPEN, GUARDED, SECRET, COUNT, CELL = BASE + 0x10, BASE + 0x18, BASE + 0x8, BASE + 0x28, BASE + 0x1_1000
KERNEL, USER = AxiProt.PRIVILEGED, AxiProt.NONSECURE


async def start(dut: Any) -> list[AxiLiteMaster]:
    Clock(dut.clk, 10, unit="ns").start()
    dut.rst.value = 1
    # The prefix ends in one of the two underscores that Amaranth puts between members.
    masters = [AxiLiteMaster(AxiLiteBus.from_prefix(dut, f"managers__{i}_"), dut.clk, dut.rst) for i in range(2)]
    for _ in range(3):
        await RisingEdge(dut.clk)
    dut.rst.value = 0
    await RisingEdge(dut.clk)
    return masters


def pauses(seed: int) -> Iterator[bool]:
    generator = random.Random(seed)
    while True:
        yield generator.random() < 0.5


async def write(master: AxiLiteMaster, address: int, value: int, prot: AxiProt = KERNEL) -> AxiResp:
    answer = await master.write(address, value.to_bytes(8, "little"), prot)
    return AxiResp(answer.resp)


async def read(master: AxiLiteMaster, address: int, prot: AxiProt = KERNEL) -> tuple[int, AxiResp]:
    answer = await master.read(address, 8, prot)
    return int.from_bytes(answer.data, "little"), AxiResp(answer.resp)


@cocotb.test()
async def every_kind_of_access_is_answered_as_the_map_says(dut: Any) -> None:
    master = (await start(dut))[0]
    assert await read(master, OPEN, USER) == (0x0123456789ABCDEF, AxiResp.OKAY)
    assert await write(master, OPEN, 0x1122334455667788, USER) == AxiResp.OKAY
    assert await read(master, OPEN) == (0x1122334455667788, AxiResp.OKAY)
    assert await write(master, SECRET, 1, USER) == AxiResp.SLVERR
    assert await read(master, SECRET, USER) == (0, AxiResp.SLVERR)
    assert await read(master, SECRET) == (0x5A, AxiResp.OKAY)
    assert await write(master, GUARDED, 9) == AxiResp.SLVERR
    assert await write(master, GUARDED, 10) == AxiResp.OKAY
    assert await read(master, GUARDED) == (10, AxiResp.OKAY)
    assert await write(master, COUNT, 1) == AxiResp.SLVERR
    assert await write(master, BASE + 0x48, 1) == AxiResp.SLVERR
    assert await read(master, BASE + 0x48) == (0, AxiResp.SLVERR)
    assert await write(master, BASE - 8, 1) == AxiResp.DECERR
    assert await read(master, BASE + 0x2_0000) == (0, AxiResp.DECERR)
    # Four bytes are a partial write: the strobes say so.
    assert AxiResp((await master.write(OPEN, b"\xff" * 4, KERNEL)).resp) == AxiResp.SLVERR
    assert await read(master, OPEN) == (0x1122334455667788, AxiResp.OKAY)


@cocotb.test()
async def many_accesses_with_pauses_on_every_channel_agree_with_a_model(dut: Any) -> None:
    masters = await start(dut)
    channels = itertools.count(1)
    for master in masters:
        for channel in (master.write_if.aw_channel, master.write_if.w_channel, master.write_if.b_channel):
            channel.set_pause_generator(pauses(next(channels)))
        for channel in (master.read_if.ar_channel, master.read_if.r_channel):
            channel.set_pause_generator(pauses(next(channels)))

    async def traffic(index: int) -> None:
        generator = random.Random(index)
        cell = CELL + 0x1000 * index
        value = 0
        for _ in range(150):
            if generator.random() < 0.5:
                wanted = generator.getrandbits(64)
                prot = generator.choice([KERNEL, USER])
                response = await write(masters[index], cell, wanted, prot)
                assert response == (AxiResp.OKAY if prot == KERNEL else AxiResp.SLVERR)
                value = wanted if prot == KERNEL else value
            else:
                assert await read(masters[index], cell) == (value, AxiResp.OKAY)

    await Combine(*(cocotb.start_soon(traffic(index)) for index in range(2)))


@cocotb.test()
async def requests_issued_ahead_are_answered_in_order(dut: Any) -> None:
    master = (await start(dut))[0]
    writes = [cocotb.start_soon(write(master, CELL, value)) for value in range(20)]
    assert [await task for task in writes] == [AxiResp.OKAY] * 20
    reads = [cocotb.start_soon(read(master, CELL if turn % 2 else OPEN)) for turn in range(20)]
    expected = [(19 if turn % 2 else 0x0123456789ABCDEF, AxiResp.OKAY) for turn in range(20)]
    assert [await task for task in reads] == expected
