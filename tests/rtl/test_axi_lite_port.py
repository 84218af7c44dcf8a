"""The register bank behind the interconnect, its AXI4-Lite ports judged by cocotbext-axi's own master."""

from pathlib import Path

import cocotb_runner
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from rtl.axi import AxiLite
from rtl.csr import RegisterBank
from rtl.interconnect import AxiLiteInterconnect
from rtl.registers import load_file

BANK_BASE, BANK_SIZE = 0x4000_0000, 0x2_0000


class Bench(wiring.Component):
    """Two managers, `managers__0__*` and `managers__1__*`, and the bank of csr_bank.rdl, which accepts even values."""

    def __init__(self) -> None:
        super().__init__({"managers": In(AxiLite()).array(2)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.bank = bank = RegisterBank(load_file(Path(__file__).parent / "csr_bank.rdl"))
        m.submodules.interconnect = interconnect = AxiLiteInterconnect(managers=2, map={"bank": (BANK_BASE, BANK_SIZE)})
        for outer, inner in zip(self.managers, interconnect.managers, strict=True):
            wiring.connect(m, wiring.flipped(outer), inner)
        wiring.connect(m, interconnect.devices.bank, bank.bus)
        m.d.comb += [bank.accept(path).eq(~bank.write_data[0]) for path in ("GUARDED", "SEALED", "OWNED")]
        return m


def test_the_ports_keep_to_the_protocol(tmp_path: Path) -> None:
    cocotb_runner.run(Bench(), test_module="axi_lite_port_cocotb", folder=tmp_path)
