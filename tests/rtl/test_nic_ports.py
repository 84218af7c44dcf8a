"""A NIC that sends to itself, its AXI4 and AXI4-Lite ports judged by cocotbext-axi's memory and master."""

from pathlib import Path

import cocotb_runner
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.axi import Axi4, AxiLite
from rtl.nic.nic import Nic


class Bench(wiring.Component):
    """`o_packet` leads straight to `i_packet`. Two contexts, two windows, 3072 bytes."""

    def __init__(self) -> None:
        super().__init__(
            {"bus": In(AxiLite(address_width=32)), "memory": Out(Axi4()), "irq": Out(1), "quiescent": Out(1)}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.nic = nic = Nic(contexts=2, windows=2, mtu_bytes=3072)
        wiring.connect(m, wiring.flipped(self.bus), nic.bus)
        wiring.connect(m, wiring.flipped(self.memory), nic.memory)
        wiring.connect(m, nic.o_packet, nic.i_packet)
        m.d.comb += [self.irq.eq(nic.interrupt), self.quiescent.eq(nic.quiescent)]
        return m


def test_the_ports_keep_to_the_protocol(tmp_path: Path) -> None:
    cocotb_runner.run(Bench(), test_module="nic_ports_cocotb", folder=tmp_path)
