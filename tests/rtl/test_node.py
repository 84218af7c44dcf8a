"""A node: its cores reach the NIC at the address of the device table, each with its own privilege."""

import pytest
from amaranth.sim import SimulatorContext
from axi_lite_bench import KERNEL, USER, read, simulate, write

from rtl.axi import Response
from rtl.devices import NIC_BASE
from rtl.node import Node, NodeParameters
from rtl.registers import load

OKAY, SLVERR, DECERR = Response.OKAY, Response.SLVERR, Response.DECERR
SMALL = NodeParameters(cores=2, contexts=1, windows=1, mtu_bytes=64)
NIC = load("nic", CONTEXTS=1, WINDOWS=1)


def address(path: str) -> int:
    return NIC_BASE + NIC.address(path)


def test_cores_reach_the_nic_and_nothing_else() -> None:
    node = Node(SMALL)

    async def bench(ctx: SimulatorContext) -> None:
        first, second = node.cores
        # 'NI' and version 1.
        assert (await read(ctx, second, 0xC000_0000))[:2] == (0x0001_4E49, OKAY)
        assert (await read(ctx, first, address("CAPABILITIES")))[:2] == (64 << 16 | 1 << 8 | 1, OKAY)
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
        while not ctx.get(node.interrupt):
            await ctx.tick()
        assert (await read(ctx, core, address("ACCESS_UNPRIVILEGED")))[:2] == (1, OKAY)
        assert (await write(ctx, core, address("INT_STATUS"), violation))[0] == OKAY
        await ctx.tick().repeat(2)
        assert not ctx.get(node.interrupt)
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


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"cores": 0}, r"^node\.cores: 0 is out of range 1\.\.64; a node has at least 1 core$"),
        ({"cores": 65}, r"^node\.cores: 65 is out of range 1\.\.64; "),
        ({"contexts": 64}, r"^node\.contexts: 64 is out of range 1\.\.63; INT_STATUS has a bit for each$"),
        ({"windows": 15}, r"^node\.windows: 15 is out of range 1\.\.14; a context's registers hold no more$"),
        ({"mtu_bytes": 65536}, r"^node\.mtu_bytes: 65536 is out of range 1\.\.65528; a packet says its length"),
        ({"mtu_bytes": 100}, r"^node\.mtu_bytes: 100 is no multiple of 8$"),
    ],
)
def test_impossible_parameters_are_refused(change: dict[str, int], text: str) -> None:
    possible = {"cores": 2, "contexts": 4, "windows": 4, "mtu_bytes": 4096}
    NodeParameters(**possible)
    with pytest.raises(ValueError, match=text):
        NodeParameters(**possible | change)
