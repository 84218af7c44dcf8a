"""The machine's RTL as Verilog: N nodes and the fabric between them.

Each module is converted once, however often it occurs, so that a large machine compiles as fast as a small one; the
module `machine` (see `rtl.wrapper`) joins the instances.
"""

import gc
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from amaranth.back import verilog as amaranth_verilog
from amaranth.lib import wiring

from rtl.fabric.channel import Link
from rtl.fabric.injector import Injector
from rtl.fabric.network import network
from rtl.fabric.parameters import FabricParameters
from rtl.fabric.router import Router
from rtl.node import Node, NodeParameters
from rtl.wrapper import wrapper

# A port is named for what it carries; that C++ has a use for the name too is Verilator's worry.
_HEADER = "/* verilator lint_off SYMRSVDWORD */"
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
    """The Verilog of module `machine` and all that it needs; the same parameters give the same text."""
    modules = [_convert(name, block) for name, block in _blocks(parameters)]
    return "\n".join([_HEADER, *modules, wrapper(parameters.node, parameters.fabric)])


def _blocks(parameters: MachineParameters) -> Iterator[tuple[str, wiring.Component]]:
    """All modules of the machine but the wrapper; each is made when its turn comes."""
    fabric = parameters.fabric
    plan = network(fabric)
    yield "node", Node(parameters.node)
    yield "router", Router(fabric)
    if plan.injectors:
        yield "injector", Injector(fabric)
    if plan.links:
        link = Link(
            datapath_bits=fabric.datapath_bits,
            channels=fabric.link_channels,
            latency_cycles=fabric.link_latency_cycles,
            cycles_per_flit=fabric.cycles_per_flit,
        )
        yield "link", link


def _convert(name: str, component: wiring.Component) -> str:
    with _without_collection():
        # Source locations would make the text depend on where the project lies.
        text = amaranth_verilog.convert(component, name=name, emit_src=False, strip_internal_attrs=True)
    # An `always @*` waits for an event, and where all its inputs keep their first values there is none: its outputs
    # stay unknown. Yosys makes each of them read a variable for that, but gives the variable its value by declaration,
    # which in SystemVerilog comes before all processes and is no event (IEEE 1800-2017, 6.8). This makes it one.
    return re.sub(_FIRST_EVENT, r"\g<0>\n`ifndef VERILATOR\n  initial \1 <= 1;\n`endif", text, flags=re.MULTILINE)


@contextmanager
def _without_collection() -> Iterator[None]:
    """A netlist is millions of objects that all live on: looking for garbage among them takes half of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
