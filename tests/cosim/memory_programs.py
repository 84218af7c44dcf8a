"""Runs inside the simulator: cocotbext-axi judges the host memory; a packet monitor is fed word by word."""

import itertools
import mmap
import os
import random
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge, Timer
from cocotbext.axi import AxiBus, AxiMaster, AxiResp

PERIOD_PS = 4000
BASE = BYTES = 65536
STORE_BYTES = BASE + BYTES
RING = 1024
READ_LATENCY, WRITE_LATENCY = 7, 3


async def start(dut: Any) -> mmap.mmap:
    """Clock, reset and an empty store."""
    descriptor = os.memfd_create("store")
    os.ftruncate(descriptor, STORE_BYTES)
    os.environ["NIMBLE_STORE"] = f"/proc/self/fd/{descriptor}"
    for name in ("word", "last", "valid", "ready", "axi_awvalid", "axi_wvalid", "axi_arvalid"):
        getattr(dut, name).value = 0
    dut.rst.value = 1
    Clock(dut.clk, PERIOD_PS, "ps").start()
    await Timer(10 * PERIOD_PS, "ps")
    return mmap.mmap(descriptor, STORE_BYTES)


async def start_master(dut: Any) -> tuple[AxiMaster, mmap.mmap]:
    store = await start(dut)
    master = AxiMaster(AxiBus.from_prefix(dut, "axi"), dut.clk, dut.rst)
    dut.rst.value = 0
    await RisingEdge(dut.clk)
    return master, store


@cocotb.test
async def memory(dut: Any) -> None:
    """Random bursts of any length and alignment, with back pressure, against a plain bytearray."""
    master, store = await start_master(dut)
    chance = random.Random(1)
    expected = bytearray(BYTES)
    pauses = random.Random(2)
    for channel in (master.write_if.b_channel, master.read_if.r_channel):
        channel.set_pause_generator(pauses.random() < 0.3 for _ in itertools.count())
    master.write_if.w_channel.set_pause_generator(pauses.random() < 0.3 for _ in itertools.count())
    for _ in range(150):
        length = chance.choice((1, 3, 8, 17, 64, 200, 1000, 2048))
        address = chance.randrange(BYTES - length)
        if chance.random() < 0.5:
            data = chance.randbytes(length)
            response = await master.write(address, data, awid=0)
            assert response.resp == AxiResp.OKAY
            expected[address : address + length] = data
        else:
            assert bytes((await master.read(address, length, arid=0)).data) == expected[address : address + length]
    assert store[BASE : BASE + BYTES] == expected
    assert store[:RING] == bytes(RING)
    await Timer(20 * PERIOD_PS, "ps")
    assert dut.quiescent.value == 1


@cocotb.test
async def refusals(dut: Any) -> None:
    """Beyond the memory: DECERR, nothing is written, and what follows works."""
    master, store = await start_master(dut)
    assert (await master.write(BYTES, bytes(8), awid=0)).resp == AxiResp.DECERR
    assert (await master.write(BYTES - 8, b"\xff" * 16, awid=0)).resp == AxiResp.DECERR
    assert store[BASE + BYTES - 8 :] == b"\xff" * 8
    assert (await master.read(BYTES, 8, arid=0)).resp == AxiResp.DECERR
    assert (await master.read((1 << 48) - 8, 8, arid=0)).resp == AxiResp.DECERR
    assert bytes((await master.read(BYTES - 8, 8, arid=0)).data) == b"\xff" * 8


@cocotb.test
async def latencies(dut: Any) -> None:
    """Exactly the latencies asked for, and a word a cycle after them."""
    await start(dut)
    dut.axi_rready.value = 1
    dut.axi_bready.value = 1
    dut.axi_araddr.value = 64
    dut.axi_arlen.value = 3
    dut.axi_arvalid.value = 1
    await RisingEdge(dut.clk)  # taken at this edge
    dut.axi_arvalid.value = 0
    beats = []
    for cycle in range(1, READ_LATENCY + 8):
        await RisingEdge(dut.clk)
        if dut.axi_rvalid.value == 1:
            beats.append((cycle, int(dut.axi_rlast.value)))
    assert beats == [(READ_LATENCY + 1 + n, n == 3) for n in range(4)]
    dut.axi_awaddr.value = 64
    dut.axi_awlen.value = 0
    dut.axi_awvalid.value = 1
    await RisingEdge(dut.clk)
    dut.axi_awvalid.value = 0
    dut.axi_wvalid.value = 1
    dut.axi_wlast.value = 1
    await RisingEdge(dut.clk)  # the last word is taken at this edge
    dut.axi_wvalid.value = 0
    cycles = 0
    while dut.axi_bvalid.value != 1:
        await RisingEdge(dut.clk)
        cycles += 1
    assert cycles == WRITE_LATENCY + 1


@cocotb.test
async def monitor(dut: Any) -> None:
    """Packets are recorded with their times and words 0, 1 and 4; the ring wraps; pauses do not count as words."""
    store = await start(dut)
    for packet in range(6):
        length = 6 + 3 * packet
        for index in range(length):
            dut.word.value = 1000 * packet + index
            dut.last.value = index == length - 1
            dut.valid.value = 1
            dut.ready.value = 0
            await RisingEdge(dut.clk)
            dut.ready.value = 1
            await RisingEdge(dut.clk)
        dut.valid.value = 0
        await RisingEdge(dut.clk)
    words = memoryview(store).cast("Q")
    assert words[RING // 8] == 6
    for slot, packet in enumerate((4, 5, 2, 3)):  # four slots: packets 4 and 5 took those of 0 and 1
        first, last, route, trusted, header_data = words[RING // 8 + 8 * (slot + 1) :][:5]
        assert (route, trusted, header_data) == (1000 * packet, 1000 * packet + 1, 1000 * packet + 4)
        assert last - first == 2 * (5 + 3 * packet) * PERIOD_PS
    words.release()
