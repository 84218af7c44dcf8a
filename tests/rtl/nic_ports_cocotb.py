"""cocotb tests that test_nic_ports.py runs: puts between two contexts, in a memory that is cocotbext-axi's AxiRam."""

import itertools
import random
from collections.abc import Iterator
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiBus, AxiLiteBus, AxiLiteMaster, AxiProt, AxiRam, AxiResp

from rtl.descriptors import COMMAND, EVENT, EventKind
from rtl.packet import Operation
from rtl.registers import load

REGISTERS = load("nic", CONTEXTS=2, WINDOWS=2)
KERNEL, USER = AxiProt.PRIVILEGED, AxiProt.NONSECURE
# Above 32 bits, so that the whole address counts; the windows cross boundaries of 4 KiB at odd places.
BASES = [0x7_0000_0000, 0x9_0000_0000]
RING, QUEUE, SOURCE, TARGET = 0x1000, 0x2000, 0x4E38, 0x1_3FF8  # from the context's base
WINDOW_BYTES = 0x2000
RING_LOG2, QUEUE_LOG2 = 4, 5
NID, PID, JID = 5, 0x21, 0x77


class Host:
    """Memory and registers of the NIC, and the software of both contexts."""

    def __init__(self, dut: Any, pause: float) -> None:
        self.dut = dut
        self.master = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "bus_"), dut.clk, dut.rst)
        self.ram = AxiRam(AxiBus.from_prefix(dut, "memory_"), dut.clk, dut.rst, size=1 << 48)
        self.posted = [0, 0]
        seeds = itertools.count()
        write, read = self.ram.write_if, self.ram.read_if
        for channel in (write.aw_channel, write.w_channel, write.b_channel, read.ar_channel, read.r_channel):
            channel.set_pause_generator(pauses(next(seeds), pause))

    async def start(self) -> None:
        Clock(self.dut.clk, 10, unit="ns").start()
        self.dut.rst.value = 1
        for _ in range(3):
            await RisingEdge(self.dut.clk)
        self.dut.rst.value = 0
        assert await self.write("NODE_ID", nid=NID, locked=1) == AxiResp.OKAY
        assert await self.write("INT_ENABLE", context=0b11) == AxiResp.OKAY
        for context, base in enumerate(BASES):
            await self.enable(context, base)

    async def enable(self, context: int, base: int) -> None:
        path = f"CONTEXT[{context}]"
        settings: list[tuple[str, dict[str, int]]] = [
            (f"{path}.IDENTITY", {"pid": PID + context, "jid": JID}),
            (f"{path}.COMMAND_BASE", {"address": base + RING}),
            (f"{path}.COMMAND_SIZE", {"log2": RING_LOG2}),
            (f"{path}.EVENT_BASE", {"address": base + QUEUE}),
            (f"{path}.EVENT_SIZE", {"log2": QUEUE_LOG2}),
            (f"{path}.CONTROL", {"enable": 1, "interrupt": 1}),
        ]
        for index, offset in enumerate((SOURCE, TARGET)):
            window = f"{path}.WINDOW[{index}]"
            settings += [
                (f"{window}.BASE", {"address": base + offset}),
                (f"{window}.LENGTH", {"bytes": WINDOW_BYTES}),
                (f"{window}.RIGHTS", {"local_read": index == 0, "remote_write": index == 1}),
            ]
        for register, fields in settings:
            assert await self.write(register, **fields) == AxiResp.OKAY, register

    async def write(self, path: str, prot: AxiProt = KERNEL, **fields: int) -> AxiResp:
        register = REGISTERS.register(path)
        value = sum(number << register.field(name).lsb for name, number in fields.items())
        answer = await self.master.write(register.address, value.to_bytes(8, "little"), prot)
        return AxiResp(answer.resp)

    async def read(self, path: str) -> int:
        return int.from_bytes((await self.master.read(REGISTERS.address(path), 8, KERNEL)).data, "little")

    def post(self, context: int, **fields: int) -> None:
        """Puts a command to the other context into the ring."""
        words = COMMAND.pack(operation=Operation.PUT, dst_nid=NID, dst_pid=PID + 1 - context, remote_window=1, **fields)
        slot = BASES[context] + RING + COMMAND.length_bytes * self.posted[context]
        self.ram.write(slot, b"".join(word.to_bytes(8, "little") for word in words))
        self.posted[context] += 1

    def event(self, context: int, number: int) -> dict[str, int]:
        data = self.ram.read(BASES[context] + QUEUE + EVENT.length_bytes * number, EVENT.length_bytes)
        event = EVENT.unpack([int.from_bytes(data[i : i + 8], "little") for i in range(0, len(data), 8)])
        assert event["sequence"] == number + 1
        return event


def pauses(seed: int, probability: float) -> Iterator[bool]:
    generator = random.Random(seed)
    while True:
        yield generator.random() < probability


async def exchange(dut: Any, pause: float) -> None:
    """Puts of many lengths both ways at once; each target is a byte array that plain Python keeps."""
    host = Host(dut, pause)
    await host.start()
    generator = random.Random(1)
    expected = [bytearray(generator.randbytes(WINDOW_BYTES)) for _ in BASES]
    sources = [generator.randbytes(WINDOW_BYTES) for _ in BASES]
    offsets: list[list[int]] = [[], []]
    for base, source, target in zip(BASES, sources, expected, strict=True):
        host.ram.write(base + SOURCE, source)
        host.ram.write(base + TARGET, bytes(target))
    for length in (0, 1, 7, 8, 9, 63, 64, 2041, 3072, *(generator.randrange(600) for _ in range(5))):
        for context in range(2):
            local = 8 * generator.randrange((WINDOW_BYTES - length) // 8 + 1)
            remote = 8 * generator.randrange((WINDOW_BYTES - length) // 8 + 1)
            host.post(context, length_bytes=length, local_offset=local, remote_offset=remote)
            expected[1 - context][remote : remote + length] = sources[context][local : local + length]
            offsets[1 - context].append(remote)
    for context in range(2):
        assert await host.write(f"PAGE[{context}].COMMAND_TAIL", USER, index=host.posted[context]) == AxiResp.OKAY
    while dut.quiescent.value == 0:
        await RisingEdge(dut.clk)
    assert await host.read("PACKETS_DELIVERED") == sum(host.posted)
    assert dut.irq.value == 1
    await host.write("INT_STATUS", context=0b11)
    assert dut.irq.value == 0
    for context, base in enumerate(BASES):
        assert host.ram.read(base + TARGET, WINDOW_BYTES) == bytes(expected[context])
        assert host.ram.read(base + SOURCE, WINDOW_BYTES) == sources[context]
        assert await host.read(f"PAGE[{context}].COMMAND_HEAD") == host.posted[context]
        for number, offset in enumerate(offsets[context]):
            event = host.event(context, number)
            assert (event["kind"], event["offset"]) == (EventKind.PUT, offset)
            assert (event["src_nid"], event["src_pid"], event["jid"]) == (NID, PID + 1 - context, JID)


@cocotb.test()
async def puts_arrive(dut: Any) -> None:
    await exchange(dut, 0.0)


@cocotb.test()
async def puts_arrive_with_pauses_on_every_channel(dut: Any) -> None:
    await exchange(dut, 0.5)


@cocotb.test()
async def unprivileged_accesses_to_the_kernels_page_are_refused(dut: Any) -> None:
    host = Host(dut, 0.0)
    await host.start()
    before = await host.read("ACCESS_UNPRIVILEGED")
    for path in ("NODE_ID", "CONTEXT[1].IDENTITY", "CONTEXT[1].WINDOW[1].LENGTH", "INT_ENABLE"):
        assert await host.write(path, USER) == AxiResp.SLVERR
    assert await host.read("ACCESS_UNPRIVILEGED") == before + 4
    assert await host.read("PAGE[1].IDENTITY") == JID << 32 | PID + 1 << 16 | NID
