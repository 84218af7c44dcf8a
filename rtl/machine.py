"""The machine's RTL as Verilog: N nodes and the fabric between them.

Each module is converted once, however often it occurs, so that a large machine compiles as fast as a small one; the
module `machine` joins the instances. All its ports are packed vectors, index i's part at [i * width +: width].
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from amaranth.back import verilog as amaranth_verilog
from amaranth.hdl import Shape
from amaranth.lib import wiring

from rtl.axi import Axi4, AxiLite
from rtl.fabric.crossbar import Crossbar
from rtl.fabric.link import MAX_LATENCY_CYCLES, Link
from rtl.fabric.topology import Connection, End, Topology, connections
from rtl.interconnect import ADDRESS_WIDTH
from rtl.layouts import PACKET_WORD
from rtl.node import Node, NodeParameters

MAX_NODES = 64
_WORD_WIDTH = PACKET_WORD["word"].width
_PAYLOAD_WIDTH = PACKET_WORD.size
# A port is named for what it carries; that C++ has a use for the name too is Verilator's worry.
_HEADER = "/* verilator lint_off SYMRSVDWORD */"
_FIRST_EVENT = r"^  reg (\\\$auto\$verilog_backend\S+ ) = 0;$"


@dataclass(frozen=True, kw_only=True)
class MachineParameters:
    """`nodes` equal nodes, joined by links of `link_latency_cycles` device clock cycles. ValueError if impossible."""

    nodes: int
    node: NodeParameters
    topology: str  # a `Topology`, or its value
    link_latency_cycles: int

    def __post_init__(self) -> None:
        if not 1 <= self.nodes <= MAX_NODES:
            raise ValueError(f"machine.nodes: {self.nodes} is out of range 1..{MAX_NODES}")
        if not 1 <= self.link_latency_cycles <= MAX_LATENCY_CYCLES:
            raise ValueError(
                f"machine.link_latency_cycles: {self.link_latency_cycles} is out of range 1..{MAX_LATENCY_CYCLES}; "
                "choose a shorter link or a slower clock"
            )
        if self.topology not in list(Topology):
            raise ValueError(f"machine.topology: {self.topology!r} is none of {', '.join(Topology)}")
        connections(self.topology, self.nodes)  # ValueError


def verilog(parameters: MachineParameters) -> str:
    """The Verilog of module `machine` and all that it needs; the same parameters give the same text.

    Index i of the ports `core_*` is node * cores + core; of all others, the node. `tx_*` and `rx_*` are the packets
    that each NIC sends and receives, for monitors; `fabric_dropped` is high when a packet to no node has been consumed.
    """
    modules = [_convert("node", Node(parameters.node)), _convert("link", Link(parameters.link_latency_cycles))]
    if parameters.topology == Topology.CROSSBAR:
        modules.append(_convert("crossbar", Crossbar(parameters.nodes)))
    return "\n".join([_HEADER, *modules, wrapper(parameters)])


def _convert(name: str, component: wiring.Component) -> str:
    # Source locations would make the text depend on where the project lies.
    text = amaranth_verilog.convert(component, name=name, emit_src=False, strip_internal_attrs=True)
    # An `always @*` waits for an event, and where all its inputs keep their first values there is none: its outputs
    # stay unknown. Yosys makes each of them read a variable for that, but gives the variable its value by declaration,
    # which in SystemVerilog comes before all processes and is no event (IEEE 1800-2017, 6.8). This makes it one.
    return re.sub(_FIRST_EVENT, r"\g<0>\n`ifndef VERILATOR\n  initial \1 <= 1;\n`endif", text, flags=re.MULTILINE)


def wrapper(parameters: MachineParameters) -> str:
    """The module `machine` alone; see `verilog`."""
    nodes = parameters.nodes
    links = connections(parameters.topology, nodes)
    ports = ",\n".join(f"    {line}" for line in ["input wire clk", "input wire rst", *_ports(parameters)])
    lines = [
        *_streams("sent", nodes),
        *_streams("received", nodes),
        f"wire [{len(links) - 1}:0] link_quiescent;",
        *_node_instances(parameters),
    ]
    if parameters.topology == Topology.CROSSBAR:
        lines += _crossbar_instance(nodes)
    for index, connection in enumerate(links):
        lines += _link_instance(index, connection)
    if parameters.topology == Topology.CROSSBAR:
        lines.append("assign fabric_quiescent = &link_quiescent & crossbar_quiescent;")
    else:
        lines.append("assign fabric_quiescent = &link_quiescent;")
        lines.append(f"assign fabric_dropped = {nodes}'d0;")
    body = "\n".join(f"    {line}" for line in lines)
    return f"module machine (\n{ports}\n);\n{body}\nendmodule\n"


def _ports(parameters: MachineParameters) -> Iterator[str]:
    nodes = parameters.nodes
    for name, width, is_input in _members(AxiLite(address_width=ADDRESS_WIDTH)):
        yield f"{_direction(not is_input)} [{nodes * parameters.node.cores * width - 1}:0] core_{name}"
    for name, width, is_input in _members(Axi4()):
        yield f"{_direction(is_input)} [{nodes * width - 1}:0] memory_{name}"
    yield f"output wire [{nodes - 1}:0] interrupt"
    yield f"output wire [{nodes - 1}:0] node_quiescent"
    yield "output wire fabric_quiescent"
    yield f"output wire [{nodes - 1}:0] fabric_dropped"
    for side in ("tx", "rx"):
        yield f"output wire [{nodes * _WORD_WIDTH - 1}:0] {side}_word"
        for name in ("last", "valid", "ready"):
            yield f"output wire [{nodes - 1}:0] {side}_{name}"


def _direction(is_input: bool) -> str:
    return "input wire" if is_input else "output wire"


def _members(signature: wiring.Signature) -> Iterator[tuple[str, int, bool]]:
    """Name, width and whether it is an input of the manager, for each signal of a bus."""
    for name, member in signature.members.items():
        yield name, Shape.cast(member.shape).width, member.flow == wiring.In


def _streams(name: str, count: int) -> Iterator[str]:
    """Declares `count` packet streams side by side."""
    yield f"wire [{count * _PAYLOAD_WIDTH - 1}:0] {name}_payload;"
    yield f"wire [{count - 1}:0] {name}_valid;"
    yield f"wire [{count - 1}:0] {name}_ready;"


def _stream_pins(pin: str, wires: str, index: int | str) -> Iterator[str]:
    """Connects the packet stream `pin` of an instance to stream `index` of `wires`."""
    yield f".{pin}__payload({wires}_payload[{index}*{_PAYLOAD_WIDTH} +: {_PAYLOAD_WIDTH}])"
    yield f".{pin}__valid({wires}_valid[{index}])"
    yield f".{pin}__ready({wires}_ready[{index}])"


def _instance(module: str, name: str, pins: list[str]) -> list[str]:
    listed = [f"    {pin}," for pin in (".clk(clk)", ".rst(rst)", *pins)]
    return [f"{module} {name} (", *listed[:-1], listed[-1].removesuffix(","), ");"]


def _node_instances(parameters: MachineParameters) -> Iterator[str]:
    cores = parameters.node.cores
    pins: list[str] = []
    for core in range(cores):
        for name, width, _ in _members(AxiLite(address_width=ADDRESS_WIDTH)):
            pins.append(f".cores__{core}__{name}(core_{name}[(n*{cores}+{core})*{width} +: {width}])")
    pins += [f".memory__{name}(memory_{name}[n*{width} +: {width}])" for name, width, _ in _members(Axi4())]
    pins += _stream_pins("i_packet", "received", "n")
    pins += _stream_pins("o_packet", "sent", "n")
    pins += [".interrupt(interrupt[n])", ".quiescent(node_quiescent[n])"]
    yield "genvar n;"
    yield "generate"
    yield f"    for (n = 0; n < {parameters.nodes}; n = n + 1) begin : nodes"
    for line in _instance("node", "node", pins):
        yield f"        {line}"
    for side, wires in (("tx", "sent"), ("rx", "received")):
        word = f"{wires}_payload[n*{_PAYLOAD_WIDTH} +: {_WORD_WIDTH}]"
        yield f"        assign {side}_word[n*{_WORD_WIDTH} +: {_WORD_WIDTH}] = {word};"
        yield f"        assign {side}_last[n] = {wires}_payload[n*{_PAYLOAD_WIDTH} + {_WORD_WIDTH}];"
    yield "    end"
    yield "endgenerate"
    for side, wires in (("tx", "sent"), ("rx", "received")):
        yield f"assign {side}_valid = {wires}_valid;"
        yield f"assign {side}_ready = {wires}_ready;"


def _link_instance(index: int, connection: Connection) -> list[str]:
    source = "sent" if connection.source is End.NODE else "switched"
    sink = "received" if connection.sink is End.NODE else "switching"
    pins = [
        *_stream_pins("i_packet", source, connection.source_port),
        *_stream_pins("o_packet", sink, connection.sink_port),
        f".quiescent(link_quiescent[{index}])",
    ]
    return _instance("link", f"link_{index}", pins)


def _crossbar_instance(ports: int) -> Iterator[str]:
    yield from _streams("switching", ports)
    yield from _streams("switched", ports)
    yield "wire crossbar_quiescent;"
    pins: list[str] = []
    for port in range(ports):
        pins += _stream_pins(f"i_packets__{port}", "switching", port)
        pins += _stream_pins(f"o_packets__{port}", "switched", port)
    pins += [".dropped(fabric_dropped)", ".quiescent(crossbar_quiescent)"]
    yield from _instance("crossbar", "crossbar", pins)
