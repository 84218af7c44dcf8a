"""One node: its NIC, and what joins its cores to it."""

from dataclasses import dataclass

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.axi import Axi4, AxiLite
from rtl.devices import DEVICES
from rtl.interconnect import ADDRESS_WIDTH, AxiLiteInterconnect
from rtl.layouts import PacketStream
from rtl.nic.nic import Nic

MAX_CORES = 64
MAX_CONTEXTS = 63  # INT_STATUS has a bit for each, and one for violations
MAX_WINDOWS = 14  # in the 512 bytes of a context's registers
MAX_MTU_BYTES = 65_528  # the packet's length_bytes has 16 bits
MTU_MULTIPLE_BYTES = 8


@dataclass(frozen=True, kw_only=True)
class NodeParameters:
    """Cores of a node, NIC contexts, memory windows of each context, largest payload of a packet in bytes.

    ValueError if one is out of range.
    """

    cores: int
    contexts: int
    windows: int
    mtu_bytes: int

    def __post_init__(self) -> None:
        _in_range("cores", self.cores, MAX_CORES, "a node has at least 1 core")
        _in_range("contexts", self.contexts, MAX_CONTEXTS, "INT_STATUS has a bit for each")
        _in_range("windows", self.windows, MAX_WINDOWS, "a context's registers hold no more")
        _in_range("mtu_bytes", self.mtu_bytes, MAX_MTU_BYTES, "a packet says its length in 16 bits")
        if self.mtu_bytes % MTU_MULTIPLE_BYTES:
            raise ValueError(f"node.mtu_bytes: {self.mtu_bytes} is no multiple of {MTU_MULTIPLE_BYTES}")


def _in_range(name: str, value: int, maximum: int, reason: str) -> None:
    if not 1 <= value <= maximum:
        raise ValueError(f"node.{name}: {value} is out of range 1..{maximum}; {reason}")


class Node(wiring.Component):
    """`cores`, In(AxiLite).array, at physical addresses (see `rtl.devices`); `memory`, Out(Axi4), the host memory.

    `i_packet` and `o_packet` go to the fabric; `interrupt` is the NIC's level. `quiescent`: with the inputs still, a
    clock edge would change nothing.
    """

    def __init__(self, parameters: NodeParameters) -> None:
        self.parameters = parameters
        super().__init__(
            {
                "cores": In(AxiLite(address_width=ADDRESS_WIDTH)).array(parameters.cores),
                "memory": Out(Axi4()),
                "i_packet": In(PacketStream),
                "o_packet": Out(PacketStream),
                "interrupt": Out(1),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        parameters = self.parameters
        m.submodules.nic = nic = Nic(
            contexts=parameters.contexts, windows=parameters.windows, mtu_bytes=parameters.mtu_bytes
        )
        m.submodules.interconnect = interconnect = AxiLiteInterconnect(
            managers=parameters.cores, map={device.name: (device.base, device.length_bytes) for device in DEVICES}
        )
        for core, manager in zip(self.cores, interconnect.managers, strict=True):
            wiring.connect(m, wiring.flipped(core), manager)
        wiring.connect(m, interconnect.devices.nic, nic.bus)
        wiring.connect(m, nic.memory, wiring.flipped(self.memory))
        wiring.connect(m, wiring.flipped(self.i_packet), nic.i_packet)
        wiring.connect(m, nic.o_packet, wiring.flipped(self.o_packet))
        m.d.comb += [self.interrupt.eq(nic.interrupt), self.quiescent.eq(interconnect.quiescent & nic.quiescent)]
        return m
