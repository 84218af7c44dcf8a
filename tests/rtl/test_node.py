"""A node: its cores reach the NIC at the address of the device table, each with its own privilege."""

import re

import pytest
from amaranth.sim import SimulatorContext
from axi_lite_bench import KERNEL, USER, read, simulate, write

from rtl.axi import Response
from rtl.devices import NIC_BASE
from rtl.nic.parameters import NicParameters
from rtl.node import Node, NodeParameters

OKAY, SLVERR, DECERR = Response.OKAY, Response.SLVERR, Response.DECERR
SMALL = NodeParameters(
    cores=2,
    nic=NicParameters(
        contexts=1, windows=1, portal_entries=1, match_entries=1, unexpected_headers=1, counters=1, outstanding=1,
        prefetch=1, replies=1, mtu_bytes=64, interrupt_lines=2,
    ),
)  # fmt: skip
NIC = SMALL.nic.registers


def address(path: str) -> int:
    return NIC_BASE + NIC.address(path)


def test_cores_reach_the_nic_and_nothing_else() -> None:
    node = Node(SMALL)

    async def bench(ctx: SimulatorContext) -> None:
        first, second = node.cores
        # 'NI' and version 2.
        assert (await read(ctx, second, 0xC000_0000))[:2] == (0x0002_4E49, OKAY)
        assert (await read(ctx, first, address("CAPABILITIES")))[:2] == (0x02_01_01_01_0040_01_01, OKAY)
        assert (await write(ctx, first, address("NODE_ID"), 0x1234))[0] == OKAY
        assert (await read(ctx, second, address("PAGE[0].IDENTITY"), prot=USER))[:2] == (0x1234, OKAY)
        for nowhere in (0x0, NIC_BASE - 8, NIC_BASE + 0x40_0000):
            assert (await read(ctx, first, nowhere))[:2] == (0, DECERR)
            assert (await write(ctx, second, nowhere, 0))[0] == DECERR
        await ctx.tick().repeat(2)
        assert ctx.get(node.quiescent)

    simulate(node, bench, watched=tuple(node.cores))


def test_one_cores_violation_interrupts_and_leaves_the_other_alone() -> None:
    node = Node(SMALL)
    violation = NIC.register("INT_STATUS").field("violation").mask
    quiet: list[int] = []

    async def kernel(ctx: SimulatorContext) -> None:
        core = node.cores[0]
        assert (await write(ctx, core, address("INT_ENABLE"), violation))[0] == OKAY
        for turn in range(10):
            assert (await write(ctx, core, address("NODE_ID"), turn))[0] == OKAY
            assert (await read(ctx, core, address("NODE_ID")))[:2] == (turn, OKAY)
        while not ctx.get(node.interrupts):
            await ctx.tick()
        assert ctx.get(node.interrupts) == 0b01
        assert (await read(ctx, core, address("ACCESS_UNPRIVILEGED")))[:2] == (1, OKAY)
        assert (await write(ctx, core, address("VIOLATION_LOG.ACKNOWLEDGE"), 1))[0] == OKAY
        await ctx.tick().repeat(2)
        assert not ctx.get(node.interrupts)
        quiet.append(ctx.get(node.quiescent))

    async def forger(ctx: SimulatorContext) -> None:
        assert (await write(ctx, node.cores[1], address("NODE_ID"), 0xBAD, prot=USER))[0] == SLVERR

    simulate(node, kernel, forger, watched=tuple(node.cores))
    assert quiet == [1]


def test_privilege_is_the_cores_and_not_the_interconnects() -> None:
    node = Node(SMALL)

    async def bench(ctx: SimulatorContext) -> None:
        for core in node.cores:
            assert (await read(ctx, core, address("ID"), prot=USER))[:2] == (0, SLVERR)
            assert (await read(ctx, core, address("ID"), prot=KERNEL))[1] == OKAY
            assert (await read(ctx, core, address("ID"), prot=USER))[:2] == (0, SLVERR)

    simulate(node, bench)


@pytest.mark.parametrize("cores", [0, 1, 65])
def test_a_node_has_as_many_cores_as_its_nic_has_interrupt_lines(cores: int) -> None:
    text = f"node.cores: {cores}, but nic.interrupt_lines is 2; write the same"
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        NodeParameters(cores=cores, nic=SMALL.nic)
