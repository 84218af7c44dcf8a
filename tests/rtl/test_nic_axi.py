"""The NIC's register bus and memory port, judged by cocotbext-axi's master and memory."""

from pathlib import Path

import cocotb_runner
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.axi import Axi4, AxiLite
from rtl.nic.nic import Nic
from rtl.nic.parameters import NicParameters

SMALLEST = NicParameters(
    contexts=1, windows=1, portal_entries=1, match_entries=1, unexpected_headers=1, counters=1, outstanding=1,
    prefetch=1, replies=1, mtu_bytes=64, nodes=1,
)  # fmt: skip


class Bench(wiring.Component):
    """A NIC that hears what it says."""

    def __init__(self) -> None:
        super().__init__(
            {"bus": In(AxiLite(address_width=32)), "memory": Out(Axi4(data_width=64)), "interrupt": Out(1)}
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.nic = nic = Nic(SMALLEST)
        wiring.connect(m, wiring.flipped(self.bus), nic.bus)
        wiring.connect(m, nic.memory, wiring.flipped(self.memory))
        wiring.connect(m, nic.o_requests, nic.i_requests)
        wiring.connect(m, nic.o_responses, nic.i_responses)
        m.d.comb += self.interrupt.eq(nic.interrupts)
        return m


def test_both_ports_keep_to_the_protocol(tmp_path: Path) -> None:
    cocotb_runner.run(Bench(), test_module="nic_axi_cocotb", folder=tmp_path)
