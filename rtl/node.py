"""One node: its NIC, and what joins its cores to it."""

from dataclasses import dataclass

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.axi import Axi4, AxiLite
from rtl.devices import DEVICES
from rtl.flits import flit_stream
from rtl.interconnect import ADDRESS_WIDTH, AxiLiteInterconnect
from rtl.nic.nic import Nic
from rtl.nic.parameters import NicParameters


@dataclass(frozen=True, kw_only=True)
class NodeParameters:
    """Cores of a node, and how large its NIC is. ValueError if it has not one interrupt line for each core."""

    cores: int
    nic: NicParameters

    def __post_init__(self) -> None:
        if self.cores != self.nic.interrupt_lines:
            raise ValueError(
                f"node.cores: {self.cores}, but nic.interrupt_lines is {self.nic.interrupt_lines}; write the same"
            )


class Node(wiring.Component):
    """`cores`, In(AxiLite).array, at physical addresses (see `rtl.devices`); `memory`, Out(Axi4), the host memory.

    Flits of requests and of responses come from the fabric and go there; `now` is the time in cycles of the device
    clock; `interrupts` has a level for each core. `quiescent`: with all inputs but `now` still, a clock edge would
    change nothing.
    """

    def __init__(self, parameters: NodeParameters) -> None:
        self.parameters = parameters
        flits = flit_stream(parameters.nic.datapath_bits)
        super().__init__(
            {
                "cores": In(AxiLite(address_width=ADDRESS_WIDTH)).array(parameters.cores),
                "memory": Out(Axi4(data_width=parameters.nic.datapath_bits)),
                "i_requests": In(flits),
                "i_responses": In(flits),
                "o_requests": Out(flits),
                "o_responses": Out(flits),
                "now": In(64),
                "interrupts": Out(parameters.cores),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.nic = nic = Nic(self.parameters.nic)
        m.submodules.interconnect = interconnect = AxiLiteInterconnect(
            managers=self.parameters.cores, map={device.name: (device.base, device.length_bytes) for device in DEVICES}
        )
        for core, manager in zip(self.cores, interconnect.managers, strict=True):
            wiring.connect(m, wiring.flipped(core), manager)
        wiring.connect(m, interconnect.devices.nic, nic.bus)
        wiring.connect(m, nic.memory, wiring.flipped(self.memory))
        wiring.connect(m, wiring.flipped(self.i_requests), nic.i_requests)
        wiring.connect(m, wiring.flipped(self.i_responses), nic.i_responses)
        wiring.connect(m, nic.o_requests, wiring.flipped(self.o_requests))
        wiring.connect(m, nic.o_responses, wiring.flipped(self.o_responses))
        m.d.comb += [
            nic.time.eq(self.now),
            self.interrupts.eq(nic.interrupts),
            self.quiescent.eq(interconnect.quiescent & nic.quiescent),
        ]
        return m
