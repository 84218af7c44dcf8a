"""The NIC's register bank by itself."""

from amaranth import Value

from rtl.csr import RegisterBank
from rtl.nic.parameters import NicParameters
from tests.formal.theorems import SMALL


def register_bank(parameters: NicParameters = SMALL) -> tuple[RegisterBank, list[Value]]:
    """The bank with all that a block may ask it for, and what drives it: bus and blocks."""
    bank = RegisterBank(parameters.registers)
    bus = bank.bus
    inputs: list[Value] = [bus.awvalid, bus.awaddr, bus.awprot, bus.wvalid, bus.wdata, bus.wstrb]
    inputs += [bus.bready, bus.arvalid, bus.araddr, bus.arprot, bus.rready]
    for register in bank.register_map.registers:
        inputs += [bank.field(register.path, field.name) for field in register.fields if field.hardware == "w"]
        if register.counter:
            inputs.append(bank.increment(register.path))
        if register.checked:
            inputs.append(bank.accept(register.path))
    return bank, inputs


def outputs_of(bank: RegisterBank) -> list[Value]:
    """What the bank says to the bus and to blocks."""
    bus = bank.bus
    outputs: list[Value] = [bus.awready, bus.wready, bus.bvalid, bus.bresp, bus.arready, bus.rvalid, bus.rdata]
    outputs += [bus.rresp, bank.write_data, bank.refused, bank.refused_unprivileged, bank.refused_address]
    outputs.append(bank.quiescent)
    for register in bank.register_map.registers:
        outputs += [bank.field(register.path, field.name) for field in register.fields if field.hardware == "r"]
        if register.checked:
            outputs.append(bank.proposed(register.path))
    return outputs
