"""Runs inside the simulator: cocotbext-axi judges the host memory; a packet monitor is fed flit by flit."""

import itertools
import mmap
import os
import random
from pathlib import Path
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
WIDTH = int(os.environ["MEMORY_DATA_BITS"]) // 8  # bytes of a bus word
AHEAD = 8  # bursts of each kind that are accepted before the first is over


async def start(dut: Any) -> mmap.mmap:
    """Clock, reset and an empty store."""
    descriptor = os.memfd_create("store")
    os.ftruncate(descriptor, STORE_BYTES)
    os.environ["NIMBLE_STORE"] = f"/proc/self/fd/{descriptor}"
    for name in ("flit", "last", "valid", "ready", "axi_awvalid", "axi_wvalid", "axi_arvalid"):
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
    assert (await master.write(BYTES, bytes(WIDTH), awid=0)).resp == AxiResp.DECERR
    assert (await master.write(BYTES - WIDTH, b"\xff" * 2 * WIDTH, awid=0)).resp == AxiResp.DECERR
    assert store[BASE + BYTES - WIDTH :] == b"\xff" * WIDTH
    assert (await master.read(BYTES, WIDTH, arid=0)).resp == AxiResp.DECERR
    assert (await master.read((1 << 48) - WIDTH, WIDTH, arid=0)).resp == AxiResp.DECERR
    assert bytes((await master.read(BYTES - WIDTH, WIDTH, arid=0)).data) == b"\xff" * WIDTH


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
async def ahead(dut: Any) -> None:
    """Eight reads are taken one a cycle, the ninth when the first is over; their words come without a pause. Writes
    likewise: four words each, an answer each, and not before eight have been taken."""
    store = await start(dut)
    dut.axi_rready.value = 1
    dut.axi_bready.value = 0
    store[BASE : BASE + 64 * WIDTH] = bytes(number // WIDTH for number in range(64 * WIDTH))
    reads = writes = words = stored = 0
    taken: list[int] = []  # cycle of each read
    came: list[tuple[int, int]] = []  # cycle of each word, its first byte
    written: list[int] = []
    answered: list[int] = []
    for cycle in range(120):
        dut.axi_arvalid.value = reads < 12
        dut.axi_araddr.value = 4 * WIDTH * reads
        dut.axi_arlen.value = 3
        dut.axi_awvalid.value = writes < 12
        dut.axi_awaddr.value = 0x8000 + 4 * WIDTH * writes
        dut.axi_awlen.value = 3
        dut.axi_wvalid.value = words < 48
        dut.axi_wdata.value = words + 1
        dut.axi_wstrb.value = (1 << WIDTH) - 1
        dut.axi_wlast.value = words % 4 == 3
        dut.axi_bready.value = cycle >= 60
        await RisingEdge(dut.clk)
        if dut.axi_arvalid.value == 1 and dut.axi_arready.value == 1:
            reads += 1
            taken.append(cycle)
        if dut.axi_rvalid.value == 1:
            came.append((cycle, int(dut.axi_rdata.value) & 0xFF))
        if dut.axi_awvalid.value == 1 and dut.axi_awready.value == 1:
            writes += 1
        if dut.axi_wvalid.value == 1 and dut.axi_wready.value == 1:
            words += 1
            written.append(cycle)
        if dut.axi_bvalid.value == 1 and dut.axi_bready.value == 1:
            answered.append(cycle)
        if cycle == 59:
            stored = writes
    first = READ_LATENCY + 1
    assert taken[:AHEAD] == list(range(AHEAD))
    assert came == [(first + n, n) for n in range(48)]
    assert stored == AHEAD + 1  # one answer is offered already
    assert written[: 4 * AHEAD] == list(range(1, 4 * AHEAD + 1))
    assert answered[: AHEAD + 1] == list(range(60, 60 + AHEAD + 1))
    assert len(answered) == 12
    words_there = memoryview(store[BASE + 0x8000 : BASE + 0x8000 + 48 * WIDTH]).cast("Q")
    assert list(words_there[:: WIDTH // 8]) == list(range(1, 49))
    assert dut.quiescent.value == 1


@cocotb.test
async def traffic(dut: Any) -> None:
    """Random bursts and pauses; every output of every cycle goes to a file that is the same on every simulator."""
    store = await start(dut)
    chance = random.Random(3)
    store[BASE : BASE + 4096] = chance.randbytes(4096)
    owed: list[int] = []  # words of the write bursts whose data are not complete
    held = {"ar": False, "aw": False, "w": False}
    lines = []
    for _ in range(600):
        for channel in ("ar", "aw"):
            if not held[channel] and chance.random() < 0.3:
                length = chance.choice((0, 0, 1, 5))
                getattr(dut, f"axi_{channel}addr").value = chance.choice((0, 512, BYTES - 2 * WIDTH)) + WIDTH
                getattr(dut, f"axi_{channel}len").value = length
                held[channel] = True
                if channel == "aw":
                    owed.append(length + 1)
        if not held["w"] and owed and chance.random() < 0.7:
            dut.axi_wdata.value = chance.getrandbits(8 * WIDTH)
            dut.axi_wstrb.value = chance.getrandbits(WIDTH)
            dut.axi_wlast.value = owed[0] == 1
            held["w"] = True
        for channel, valid in held.items():
            getattr(dut, f"axi_{channel}valid").value = valid
        dut.axi_rready.value = chance.random() < 0.7
        dut.axi_bready.value = chance.random() < 0.5
        await RisingEdge(dut.clk)
        if dut.axi_wvalid.value == 1 and dut.axi_wready.value == 1:
            owed[0] -= 1
            if owed[0] == 0:
                owed.pop(0)
        for channel in held:
            if getattr(dut, f"axi_{channel}ready").value == 1:
                held[channel] = False
        outputs = ("arready", "awready", "wready", "rvalid", "rdata", "rresp", "rlast", "bvalid", "bresp")
        lines.append(" ".join(str(getattr(dut, f"axi_{name}").value) for name in outputs) + f" {dut.quiescent.value}")
    Path("traffic.txt").write_text("\n".join(lines) + "\n" + store[BASE:].hex())


@cocotb.test
async def monitor(dut: Any) -> None:
    """Packets are recorded with their times, header, last flit and length; the ring wraps; pauses do not count."""
    store = await start(dut)
    chance = random.Random(4)
    packets = [[chance.getrandbits(8 * WIDTH) for _ in range(length)] for length in (14, 9, 5, 12, 2, 1)]
    for packet in packets:
        for flit in packet:
            dut.flit.value = flit
            dut.last.value = flit is packet[-1]
            dut.valid.value = 1
            dut.ready.value = 0
            await RisingEdge(dut.clk)
            dut.ready.value = 1
            await RisingEdge(dut.clk)
        dut.valid.value = 0
        await RisingEdge(dut.clk)
    words = memoryview(store).cast("Q")
    assert words[RING // 8] == len(packets)
    for slot, number in enumerate((4, 5, 2, 3)):  # four slots: packets 4 and 5 took those of 0 and 1
        packet = packets[number]
        first_ps, last_ps, *header, crc, flits = words[RING // 8 + 8 + 12 * slot :][:12]
        text = b"".join(flit.to_bytes(WIDTH, "little") for flit in packet).ljust(64, b"\0")
        assert header == [int.from_bytes(text[8 * n : 8 * n + 8], "little") for n in range(8)]
        assert (crc, flits) == (packet[-1] % 2**64, len(packet))
        assert last_ps - first_ps == 2 * (len(packet) - 1) * PERIOD_PS
    words.release()
