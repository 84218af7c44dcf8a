"""Whole fabrics, verilated, under a random load that saturates them (load.cpp), as programs that are built once.

The nodes that send and judge know nothing of routes. Everything from the stream that goes into a router to the one that
leaves another is the RTL of the machine: routers, links, gated clocks, and the joints between the tiles.
"""

import json
import os
import subprocess
from dataclasses import astuple, dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from amaranth.back import verilog
from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from cosim import cache as entries
from cosim.toolchain import Verilator, find_verilator
from rtl.fabric.bundle import LinkBundle, begin, end
from rtl.fabric.channel import Link
from rtl.fabric.joints import fabric_text
from rtl.fabric.parameters import CLASSES, FabricParameters
from rtl.fabric.router import DROPPED_WIDTH, NID_WIDTH, Router
from rtl.fabric.routes import link_ports
from rtl.fabric.routing import Way
from rtl.machine import without_collection

LOAD = Path(__file__).with_name("load.cpp")
CACHE = Path(__file__).parents[3] / "build" / "fabric"
FABRICS = {
    "ring of 8": FabricParameters(topology="ring", nodes=8),
    "mesh 4x4": FabricParameters(topology="mesh", nodes=16, dimensions=(4, 4)),
    "torus 4x4": FabricParameters(topology="torus", nodes=16, dimensions=(4, 4)),
    "torus 3x3x3": FabricParameters(topology="torus", nodes=27, dimensions=(3, 3, 3)),
}


class LoadRouter(Router):
    """A router that, while `one_group` is high, leaves the channels alone that break the circles of its fabric."""

    def __init__(self, parameters: FabricParameters) -> None:
        self.one_group = Signal()
        super().__init__(parameters)

    def _find_way(self, m: Module, name: str, destination: Value) -> Way:
        way = super()._find_way(m, name, destination)
        return Way(outputs=way.outputs, group=way.group & ~self.one_group)


class Station(wiring.Component):
    """A tile without its node, whose streams are packed ports: word c is that of class c. All else as of `Tile`."""

    def __init__(self, parameters: FabricParameters) -> None:
        self._parameters = parameters
        dimensions = len(parameters.shape)
        links = LinkBundle(parameters.datapath_bits, parameters.link_channels, link_ports(parameters))
        super().__init__(
            {
                "i_data": In(CLASSES * parameters.datapath_bits),
                "o_data": Out(CLASSES * parameters.datapath_bits),
                **{f"i_{name}": In(CLASSES) for name in ("last", "valid")},
                **{f"o_{name}": Out(CLASSES) for name in ("last", "valid")},
                "i_ready": Out(CLASSES),
                "o_ready": In(CLASSES),
                "bases": In(dimensions * NID_WIDTH),
                "ties": In(dimensions),
                "one_group": In(1),
                "i_link": In(links),
                "o_link": Out(links),
                "dropped": Out(DROPPED_WIDTH),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.router = router = LoadRouter(self._parameters)
        m.d.comb += [
            router.one_group.eq(self.one_group),
            *(base.eq(self.bases.word_select(index, NID_WIDTH)) for index, base in enumerate(router.bases)),
            router.ties.eq(self.ties),
            self.dropped.eq(router.dropped),
        ]
        for packet_class, (entry, leave) in enumerate(zip(router.i_local, router.o_local, strict=True)):
            data = slice(packet_class * len(entry.payload.data), (packet_class + 1) * len(entry.payload.data))
            m.d.comb += [
                entry.payload.data.eq(self.i_data[data]),
                entry.payload.last.eq(self.i_last[packet_class]),
                entry.valid.eq(self.i_valid[packet_class]),
                self.i_ready[packet_class].eq(entry.ready),
                self.o_data[data].eq(leave.payload.data),
                self.o_last[packet_class].eq(leave.payload.last),
                self.o_valid[packet_class].eq(leave.valid),
                leave.ready.eq(self.o_ready[packet_class]),
            ]
        quiescent = [router.quiescent]
        for port in range(router.link_ports):
            begin(m, router.o_links[port], self.o_link, port)
            m.submodules[f"link_{port}"] = link = Link.of(self._parameters)
            end(m, self.i_link, port, link.i_link)
            for stream, arriving in zip(link.o_flits, router.i_links[port], strict=True):
                wiring.connect(m, stream, arriving)
            quiescent.append(link.quiescent)
        m.d.comb += self.quiescent.eq(Cat(*quiescent).all())
        return m


@dataclass(frozen=True, kw_only=True)
class Load:
    """What nodes do, and how the fabric is changed: see load.cpp. `packets` of each node and class, `stall` in 256."""

    packets: int
    longest: int = 40
    stall: int = 0
    answers: bool = False
    pauses: bool = False
    gated: bool = True
    upwards: bool = False
    one_group: bool = False
    seed: int = 1


def run(parameters: FabricParameters, load: Load) -> dict[str, Any]:
    """What became of it: see load.cpp. Links have 64 bits."""
    done = subprocess.run(
        [program(parameters), *(str(int(value)) for value in astuple(load))], capture_output=True, text=True, check=True
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@cache
def program(parameters: FabricParameters) -> Path:
    """The fabric and its load, compiled; kept by the contents of all that it is made of."""
    with without_collection():
        station = verilog.convert(Station(parameters), name="station", emit_src=False, strip_internal_attrs=True)
    source = f"{station}\n{fabric_text(parameters)}"
    tool = find_verilator()
    digest = sha256("\0".join([source, LOAD.read_text(), repr(parameters), tool.version]).encode()).hexdigest()[:24]
    target = CACHE / digest

    def make(folder: Path) -> None:
        folder.mkdir()
        (folder / "fabric.v").write_text(source)
        entries.lend_objects(CACHE / "library" / tool.version, folder)
        for step in _steps(parameters, tool):
            done = subprocess.run(
                step, cwd=folder, env={**os.environ, **tool.environment}, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{step[0]}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        entries.keep_objects(folder, CACHE / "library" / tool.version)

    entries.make_once(target, make, lambda text: None)
    return target / "load"


def _steps(parameters: FabricParameters, tool: Verilator) -> list[list[str | Path]]:
    sizes = {
        "NODES": parameters.nodes,
        "LINKS": link_ports(parameters),
        "CHANNELS": parameters.link_channels,
        "CHANNEL_BITS": LinkBundle(parameters.datapath_bits, parameters.link_channels, 1).widths["channel"],
        "DIMENSIONS": len(parameters.shape),
    }
    modules = ("station", "fabric")
    verilate = ["--cc", "-O3", "--x-assign", "fast", "-Wno-lint", "-Wno-fatal", "-Mdir", ".", "fabric.v"]
    make = ["make", f"-j{os.cpu_count() or 1}", *tool.make_variables, "VM_PARALLEL_BUILDS=0"]
    optimisation = ["OPT_FAST=-O1", "OPT_SLOW=-O0", "OPT_GLOBAL=-O0"]  # little time is spent in Verilator's library
    return [
        *([tool.program, "--top-module", module, "--prefix", f"V{module}", *verilate] for module in modules),
        [*make, *optimisation, "-f", "Vstation.mk", "libVstation.a", "libverilated.a"],
        [*make, *optimisation, "-f", "Vfabric.mk", "libVfabric.a"],
        ["g++", "-std=c++20", "-O1", *(f"-D{name}={size}" for name, size in sizes.items()), "-I.",
         f"-I{tool.include}", f"-I{tool.include}/vltstd", "-o", "load", LOAD, "libVstation.a", "libVfabric.a",
         "libverilated.a", "-pthread"],
    ]  # fmt: skip


def rate(parameters: FabricParameters, load: Load) -> float:
    """Flits that arrive per node and cycle while all nodes are sending."""
    result = run(parameters, load)
    assert result["outcome"] == "arrived", result["outcome"]
    return float(result["steady_flits"] / result["steady_cycles"] / parameters.nodes)


def bisection(parameters: FabricParameters) -> float:
    """Flits per node and cycle that no way of routing can exceed, since the nodes below the middle of a dimension send
    to those above it over the links between them. Destinations are uniform, the sender included."""
    bounds = []
    for size, closed in zip(parameters.shape, parameters.wraps, strict=True):
        below = parameters.nodes // size * (size // 2)
        crossing = parameters.nodes // size * (2 if closed else 1)
        if below:
            bounds.append(crossing * parameters.nodes / (below * (parameters.nodes - below)))
    return min(bounds)


def bound(parameters: FabricParameters) -> float:
    """The same, since besides each node takes one flit in a cycle."""
    return min(1.0, bisection(parameters))
