"""The machine's RTL as Verilog: module `tile`, of which there is one for each node, and `fabric`, which joins them.

Each module is converted once, however often it occurs, so that a large machine compiles as fast as a small one. What
instantiates the tiles gives each of them a memory, and a clock that may stand still while the tile is quiescent.
"""

import gc
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from amaranth.back import verilog as amaranth_verilog
from amaranth.lib import wiring

from rtl.fabric.bundle import LinkBundle
from rtl.fabric.joints import fabric_text
from rtl.fabric.parameters import FabricParameters, Topology
from rtl.fabric.routes import link_ports
from rtl.fabric.switch import Switch
from rtl.node import NodeParameters
from rtl.tile import Tile

_FIRST_EVENT = r"^  reg (\\\$auto\$verilog_backend\S+ ) = 0;$"


@dataclass(frozen=True, kw_only=True)
class MachineParameters:
    """Equal nodes, as many as the fabric joins. ValueError if node and fabric do not fit together."""

    node: NodeParameters
    fabric: FabricParameters

    def __post_init__(self) -> None:
        for name in ("nodes", "datapath_bits"):
            nic, fabric = getattr(self.node.nic, name), getattr(self.fabric, name)
            if nic != fabric:
                raise ValueError(f"machine: nic.{name} is {nic}, fabric.{name} is {fabric}; write the same")


def verilog(parameters: MachineParameters) -> str:
    """The Verilog of modules `tile` and `fabric`, of all that they need, and of the package `machine`, which says how
    large they are; the same parameters give the same text."""
    modules = [_convert("tile", Tile(parameters.node, parameters.fabric))]
    if parameters.fabric.topology == Topology.CROSSBAR:
        modules.append(_convert("crossbar", Switch(parameters.fabric)))
    return "\n".join([_sizes(parameters), *modules, fabric_text(parameters.fabric)])


def _sizes(parameters: MachineParameters) -> str:
    """The package `machine`: how many there are of everything, and how wide the ports are."""
    fabric = parameters.fabric
    sizes = {
        "NODES": fabric.nodes,
        "CORES": parameters.node.cores,
        "LINKS": link_ports(fabric),
        "CHANNELS": fabric.link_channels,
        "CHANNEL_BITS": LinkBundle(fabric.datapath_bits, fabric.link_channels, 1).widths["channel"],
        "DIMENSIONS": max(1, len(fabric.shape)),
        "DATA_BITS": fabric.datapath_bits,
    }
    lines = "".join(f"    localparam int {name} = {size};\n" for name, size in sizes.items())
    return f"package machine;\n{lines}endpackage\n"


def _convert(name: str, component: wiring.Component) -> str:
    with without_collection():
        # Source locations would make the text depend on where the project lies.
        text = amaranth_verilog.convert(component, name=name, emit_src=False, strip_internal_attrs=True)
    # An `always @*` waits for an event, and where all its inputs keep their first values there is none: its outputs
    # stay unknown. Yosys makes each of them read a variable for that, but gives the variable its value by declaration,
    # which in SystemVerilog comes before all processes and is no event (IEEE 1800-2017, 6.8). This makes it one.
    return re.sub(_FIRST_EVENT, r"\g<0>\n`ifndef VERILATOR\n  initial \1 <= 1;\n`endif", text, flags=re.MULTILINE)


@contextmanager
def without_collection() -> Iterator[None]:
    """A netlist is millions of objects that all live on: looking for garbage among them takes half of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
