"""The Verilog module `fabric`: how the links of all tiles are joined, and where each tile is.

Tile n's part of a port is its word n; within that, of `o_link_*` (which come from the tiles) and `i_link_*` (which go
to them), link p's part is word p. `bases` and `ties` are constants. Of a crossbar, `clk` and `quiescent` are its
switch's, which has a clock of its own, and `dropped` is what it has dropped; any other fabric is wires, and quiescent.
"""

from collections.abc import Iterator

from rtl.fabric.bundle import LinkBundle
from rtl.fabric.parameters import FabricParameters, Topology
from rtl.fabric.router import DROPPED_WIDTH, NID_WIDTH
from rtl.fabric.routes import bases, link_ports, links, ties

_TO_TILES = ("valid", "channel", "flit")


def fabric_text(parameters: FabricParameters) -> str:
    """The text of module `fabric`."""
    widths = LinkBundle(parameters.datapath_bits, parameters.link_channels, 1).widths
    count = parameters.nodes * link_ports(parameters)
    dimensions = max(1, len(parameters.shape))
    ports = ["input wire clk", "input wire rst"]
    for name, width in widths.items():
        come, go = ("input", "output") if name in _TO_TILES else ("output", "input")
        ports.append(f"{come} wire [{count * width - 1}:0] o_link_{name}")
        ports.append(f"{go} wire [{count * width - 1}:0] i_link_{name}")
    ports += [
        f"output wire [{parameters.nodes * dimensions * NID_WIDTH - 1}:0] bases",
        f"output wire [{parameters.nodes * dimensions - 1}:0] ties",
        f"output wire [{DROPPED_WIDTH - 1}:0] dropped",
        "output wire quiescent",
    ]
    lines = _switch(widths) if parameters.topology == Topology.CROSSBAR else _wires(parameters, widths)
    body = "\n".join(f"    {line}" for line in lines)
    return "module fabric (\n" + ",\n".join(f"    {port}" for port in ports) + f"\n);\n{body}\nendmodule\n"


def _switch(widths: dict[str, int]) -> Iterator[str]:
    pins = [".clk(clk)", ".rst(rst)", ".dropped(dropped)", ".quiescent(quiescent)"]
    for name in widths:
        pins += [f".i_link__{name}(o_link_{name})", f".o_link__{name}(i_link_{name})"]
    yield f"crossbar crossbar ({', '.join(pins)});"
    yield "assign bases = 0;"
    yield "assign ties = 0;"


def _wires(parameters: FabricParameters, widths: dict[str, int]) -> Iterator[str]:
    ports = link_ports(parameters)
    sources = {
        end_node * ports + end_port: node * ports + port for (node, port), (end_node, end_port) in links(parameters)
    }
    sinks = {source: sink for sink, source in sources.items()}
    for name, width in widths.items():
        driven, joined = ("i", sources) if name in _TO_TILES else ("o", sinks)
        driving = "o" if driven == "i" else "i"
        for index in range(parameters.nodes * ports):
            value = f"{width}'d0"  # where no link is
            if index in joined:
                value = f"{driving}_link_{name}[{joined[index] * width} +: {width}]"
            yield f"assign {driven}_link_{name}[{index * width} +: {width}] = {value};"
    for nid in range(parameters.nodes):
        yield from _place(parameters, nid)
    yield "assign dropped = 0;"
    yield "assign quiescent = 1;"


def _place(parameters: FabricParameters, nid: int) -> Iterator[str]:
    dimensions = len(parameters.shape)
    for dimension, base in enumerate(bases(parameters, nid)):
        yield f"assign bases[{(nid * dimensions + dimension) * NID_WIDTH} +: {NID_WIDTH}] = {NID_WIDTH}'d{base};"
    yield f"assign ties[{nid * dimensions} +: {dimensions}] = {dimensions}'d{ties(parameters, nid)};"
