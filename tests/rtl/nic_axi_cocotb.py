"""cocotb test that test_nic_axi.py runs: a put, a get and an atomic to the own node, seen through cocotbext-axi."""

import random
from collections.abc import Iterator
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiBus, AxiLiteBus, AxiLiteMaster, AxiProt, AxiRam, AxiResp

from rtl.portals import COMMAND, EVENT, LIST_COMMAND, AtomicOperation, AtomicType, EventKind, Operation
from rtl.registers import load

KERNEL, USER = AxiProt.PRIVILEGED, AxiProt.NONSECURE
RING, QUEUE, COUNTERS, WINDOW, WINDOW_BYTES = 0x1000, 0x2000, 0x3000, 0x4008, 0x2000
MAP = load("nic", CONTEXTS=1, WINDOWS=1)
PID, JID = 0x55, 7


def pauses(seed: int) -> Iterator[bool]:
    generator = random.Random(seed)
    while True:
        yield generator.random() < 0.4


class Node:
    """The NIC's registers and memory."""

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        # The prefix ends in one of the two underscores that Amaranth puts between members.
        self.bus = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "bus_"), dut.clk, dut.rst)
        self.memory = AxiRam(AxiBus.from_prefix(dut, "memory_"), dut.clk, dut.rst, size=1 << 16)
        channels = [self.bus.write_if.aw_channel, self.bus.write_if.w_channel, self.bus.write_if.b_channel]
        channels += [self.bus.read_if.ar_channel, self.bus.read_if.r_channel]
        channels += [self.memory.write_if.aw_channel, self.memory.write_if.w_channel, self.memory.write_if.b_channel]
        channels += [self.memory.read_if.ar_channel, self.memory.read_if.r_channel]
        for number, channel in enumerate(channels):
            channel.set_pause_generator(pauses(number))
        self.posted = self.seen = 0

    async def write(self, path: str, prot: AxiProt = KERNEL, **fields: int) -> AxiResp:
        register = MAP.register(path)
        value = sum(number << register.field(name).lsb for name, number in fields.items())
        answer = await self.bus.write(MAP.address(path), value.to_bytes(8, "little"), prot)
        return AxiResp(answer.resp)

    async def read(self, path: str, prot: AxiProt = KERNEL) -> tuple[int, AxiResp]:
        answer = await self.bus.read(MAP.address(path), 8, prot)
        return int.from_bytes(answer.data, "little"), AxiResp(answer.resp)

    async def boot(self) -> None:
        for path, fields in (
            ("NODE_ID", {"nid": 0, "locked": 1}),
            ("INT_ENABLE", {"context": 1}),
            ("CONTEXT[0].IDENTITY", {"pid": PID, "jid": JID}),
            ("CONTEXT[0].COMMAND_BASE", {"address": RING}),
            ("CONTEXT[0].COMMAND_SIZE", {"log2": 4}),
            ("CONTEXT[0].EVENT_BASE", {"address": QUEUE}),
            ("CONTEXT[0].EVENT_SIZE", {"log2": 4}),
            ("CONTEXT[0].COUNTER_BASE", {"address": COUNTERS}),
            ("CONTEXT[0].WINDOW[0].BASE", {"address": WINDOW}),
            ("CONTEXT[0].WINDOW[0].LENGTH", {"bytes": WINDOW_BYTES}),
            (
                "CONTEXT[0].WINDOW[0].RIGHTS",
                dict.fromkeys(("local_read", "local_write", "remote_read", "remote_write"), 1),
            ),
            ("CONTEXT[0].CONTROL", {"enable": 1, "interrupt": 1}),
        ):
            assert await self.write(path, **fields) == AxiResp.OKAY, path

    async def do(self, words: list[int], events: int) -> list[dict[str, int]]:
        """One command, and as many events, as memory shows them."""
        text = b"".join(word.to_bytes(8, "little") for word in words)
        self.memory.write(RING + 64 * (self.posted % 16), text)
        self.posted += 1
        assert await self.write("PAGE[0].COMMAND_TAIL", USER, index=self.posted) == AxiResp.OKAY
        found = []
        for _ in range(events):
            at = QUEUE + 64 * (self.seen % 16)
            for _ in range(3000):
                await RisingEdge(self.dut.clk)
                event = EVENT.unpack([self.memory.read_qword(at + 8 * index) for index in range(8)])
                if event["sequence"] == self.seen + 1:
                    break
            else:
                raise AssertionError("no event has come")
            self.seen += 1
            found.append(event)
        return found


@cocotb.test()
async def a_put_a_get_and_an_atomic_reach_the_own_node(dut: Any) -> None:
    Clock(dut.clk, 10, unit="ns").start()
    dut.rst.value = 1
    node = Node(dut)
    for _ in range(3):
        await RisingEdge(dut.clk)
    dut.rst.value = 0
    await RisingEdge(dut.clk)
    assert await node.read("ID", USER) == (0, AxiResp.SLVERR)
    assert (await node.read("ID"))[0] & 0xFFFF == 0x4E49
    await node.boot()
    data = random.Random(1).randbytes(WINDOW_BYTES)
    node.memory.write(WINDOW, data)
    await node.do(LIST_COMMAND.pack(operation=Operation.PT_ALLOC), 0)
    entry = {"op_put": 1, "op_get": 1, "any_nid": 1, "any_pid": 1, "offset": 0x1000, "length_bytes": 0x800}
    [linked] = await node.do(LIST_COMMAND.pack(operation=Operation.ME_APPEND, **entry), 1)
    assert linked["kind"] == EventKind.LINK
    aim = {"dst_nid": 0, "dst_pid": PID}
    told = await node.do(
        COMMAND.pack(operation=Operation.PUT, length_bytes=201, local_offset=3, remote_offset=5, ack_request=1, **aim),
        3,
    )
    assert sorted(event["kind"] for event in told) == [EventKind.PUT, EventKind.SEND, EventKind.ACK]
    assert {(event["src_pid"], event["jid"]) for event in told if event["kind"] != EventKind.SEND} == {(PID, JID)}
    assert node.memory.read(WINDOW + 0x1005, 201) == data[3:204]
    told = await node.do(
        COMMAND.pack(operation=Operation.GET, length_bytes=150, local_offset=0x1801, remote_offset=6, **aim), 2
    )
    assert sorted(event["kind"] for event in told) == [EventKind.GET, EventKind.REPLY]
    assert node.memory.read(WINDOW + 0x1801, 150) == data[4:154]
    kinds = {"atomic_operation": AtomicOperation.SUM, "atomic_type": AtomicType.UINT32}
    await node.do(
        COMMAND.pack(operation=Operation.ATOMIC, length_bytes=8, local_offset=16, remote_offset=0x400, **kinds, **aim),
        2,
    )
    sums = [(int.from_bytes(data[a : a + 4], "little") + int.from_bytes(data[b : b + 4], "little")) % (1 << 32)
            for a, b in ((16, 0x1400), (20, 0x1404))]  # fmt: skip
    assert node.memory.read(WINDOW + 0x1400, 8) == b"".join(number.to_bytes(4, "little") for number in sums)
    assert dut.interrupt.value == 1
    assert await node.write("INT_STATUS", context=1) == AxiResp.OKAY
    await RisingEdge(dut.clk)
    assert dut.interrupt.value == 0
