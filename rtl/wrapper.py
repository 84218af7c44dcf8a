"""The Verilog module `machine`: instances of nodes, routers, injectors and links, joined as `rtl.fabric.network` plans.

All its ports are packed vectors, index i's part at [i * width +: width]. Index i is

    of `clk` and `quiescent`       a clock of the plan; `quiescent` says that an edge of it would change nothing
    of `core_*`                    node * cores + core
    of `memory_*`, `interrupt`     the node
    of `tx_*`, `rx_*`              node * 2 + class: the flits that the node's NIC sends and receives, for monitors
    of `fabric_dropped`            a router: how many packets to no node it has consumed, 32 bits each

`now` is the time in cycles of the device clock.
"""

from collections.abc import Iterator, Sequence

from amaranth.hdl import Shape
from amaranth.lib import wiring

from rtl.axi import Axi4, AxiLite
from rtl.fabric.network import End, LinkPlan, Network, Place, RouterPlan, network
from rtl.fabric.parameters import CLASSES, FabricParameters
from rtl.fabric.router import DROPPED_WIDTH, NID_WIDTH
from rtl.interconnect import ADDRESS_WIDTH
from rtl.node import NodeParameters

_CLASS_NAMES = ("requests", "responses")


def wrapper(node: NodeParameters, fabric: FabricParameters) -> str:
    """The text of module `machine` alone."""
    return _Wrapper(node, fabric).text()


class _Wrapper:
    def __init__(self, node: NodeParameters, fabric: FabricParameters) -> None:
        self._cores = node.cores
        self._fabric = fabric
        self._plan: Network = network(fabric)
        self._flit_width = fabric.datapath_bits + 1  # data, and above it `last`
        self._channel_width = max(1, (fabric.link_channels - 1).bit_length())
        self._bus = _members(AxiLite(address_width=ADDRESS_WIDTH))
        self._memory = _members(Axi4(data_width=fabric.datapath_bits))
        # Of each clock, the wires that say whether its blocks are quiescent.
        self._quiescent: list[list[str]] = [[] for _ in range(self._plan.clocks)]

    def text(self) -> str:
        streams = self._fabric.nodes * CLASSES
        lines = [
            *self._streams("sent", streams),
            *self._streams("received", streams),
            f"wire [{self._fabric.nodes - 1}:0] node_quiescent;",
            *self._nodes(),
            *self._taps(),
        ]
        for index, link in enumerate(self._plan.links):
            lines += self._link(index, link)
        for index, router in enumerate(self._plan.routers):
            lines += self._router(index, router)
        for index in range(self._plan.injectors):
            lines += self._injector(index)
        for clock, quiet in enumerate(self._quiescent):
            lines.append(f"assign quiescent[{clock}] = {' & '.join(quiet)};")
        ports = ",\n".join(f"    {line}" for line in self._ports())
        body = "\n".join(f"    {line}" for line in lines)
        return f"module machine (\n{ports}\n);\n{body}\nendmodule\n"

    def _ports(self) -> Iterator[str]:
        nodes, clocks = self._fabric.nodes, self._plan.clocks
        yield f"input wire [{clocks - 1}:0] clk"
        yield "input wire rst"
        yield "input wire [63:0] now"
        for name, width, is_input in self._bus:
            yield f"{_direction(not is_input)} [{nodes * self._cores * width - 1}:0] core_{name}"
        for name, width, is_input in self._memory:
            yield f"{_direction(is_input)} [{nodes * width - 1}:0] memory_{name}"
        yield f"output wire [{nodes - 1}:0] interrupt"
        yield f"output wire [{clocks - 1}:0] quiescent"
        yield f"output wire [{len(self._plan.routers) * DROPPED_WIDTH - 1}:0] fabric_dropped"
        for side in ("tx", "rx"):
            yield f"output wire [{nodes * CLASSES * self._fabric.datapath_bits - 1}:0] {side}_flit"
            for name in ("last", "valid", "ready"):
                yield f"output wire [{nodes * CLASSES - 1}:0] {side}_{name}"

    # ---- streams of flits ----

    def _streams(self, name: str, count: int) -> Iterator[str]:
        """Declares `count` streams side by side."""
        yield f"wire [{count * self._flit_width - 1}:0] {name}_payload;"
        yield f"wire [{count - 1}:0] {name}_valid;"
        yield f"wire [{count - 1}:0] {name}_ready;"

    def _stream_pins(self, pin: str, wires: str, index: int | str) -> Iterator[str]:
        """Connects the stream `pin` of an instance to stream `index` of `wires`."""
        yield f".{pin}__payload({wires}_payload[({index})*{self._flit_width} +: {self._flit_width}])"
        yield f".{pin}__valid({wires}_valid[{index}])"
        yield f".{pin}__ready({wires}_ready[{index}])"

    def _node_streams(self, pin: str, wires: str, node: int) -> Iterator[str]:
        """Connects both classes of streams `pin` of an instance to those of a node."""
        for packet_class in range(CLASSES):
            yield from self._stream_pins(f"{pin}__{packet_class}", wires, node * CLASSES + packet_class)

    def _taps(self) -> Iterator[str]:
        width = self._flit_width
        for side, wires in (("tx", "sent"), ("rx", "received")):
            yield f"assign {side}_valid = {wires}_valid;"
            yield f"assign {side}_ready = {wires}_ready;"
            for index in range(self._fabric.nodes * CLASSES):
                data = f"{side}_flit[{index * (width - 1)} +: {width - 1}]"
                yield f"assign {data} = {wires}_payload[{index * width} +: {width - 1}];"
                yield f"assign {side}_last[{index}] = {wires}_payload[{(index + 1) * width - 1}];"

    # ---- instances ----

    def _instance(self, module: str, name: str, clock: int, pins: Sequence[str]) -> list[str]:
        quiescent = f"{name}_quiescent"
        self._quiescent[clock].append(quiescent)
        return [
            f"wire {quiescent};",
            *_listed(module, name, [f".clk(clk[{clock}])", ".rst(rst)", *pins, f".quiescent({quiescent})"]),
        ]

    def _nodes(self) -> Iterator[str]:
        cores = self._cores
        pins = [".clk(clk[n])", ".rst(rst)", ".now(now)"]
        for core in range(cores):
            for name, width, _ in self._bus:
                pins.append(f".cores__{core}__{name}(core_{name}[(n*{cores}+{core})*{width} +: {width}])")
        pins += [f".memory__{name}(memory_{name}[n*{width} +: {width}])" for name, width, _ in self._memory]
        for packet_class, name in enumerate(_CLASS_NAMES):
            pins += self._stream_pins(f"o_{name}", "sent", f"n*{CLASSES}+{packet_class}")
            pins += self._stream_pins(f"i_{name}", "received", f"n*{CLASSES}+{packet_class}")
        pins += [".interrupts(interrupt[n])", ".quiescent(node_quiescent[n])"]
        yield "genvar n;"
        yield "generate"
        yield f"    for (n = 0; n < {self._fabric.nodes}; n = n + 1) begin : nodes"
        for line in _listed("node", "node", pins):
            yield f"        {line}"
        yield "    end"
        yield "endgenerate"
        for nid in range(self._fabric.nodes):
            self._quiescent[nid].append(f"node_quiescent[{nid}]")

    def _link(self, index: int, link: LinkPlan) -> Iterator[str]:
        """A link, the wires at its beginning, and the streams at its end if they are not a node's."""
        name = f"link_{index}"
        channels = self._fabric.link_channels
        pins = self._link_pins("i_link", name)
        yield f"wire {name}_valid;"
        yield f"wire [{self._channel_width - 1}:0] {name}_channel;"
        yield f"wire [{self._flit_width - 1}:0] {name}_flit;"
        yield f"wire [{channels - 1}:0] {name}_credit;"
        if link.sink.end is End.NODE:
            pins += self._node_streams("o_flits", "received", link.sink.index)
        else:
            yield from self._streams(f"{name}_end", channels)
            for channel in range(channels):
                pins += self._stream_pins(f"o_flits__{channel}", f"{name}_end", channel)
        yield from self._instance("link", name, link.clock, pins)

    def _link_pins(self, pin: str, wires: str) -> list[str]:
        return [f".{pin}__{name}({wires}_{name})" for name in ("valid", "channel", "flit", "credit")]

    def _router(self, index: int, plan: RouterPlan) -> Iterator[str]:
        dropped = f"fabric_dropped[{index * DROPPED_WIDTH} +: {DROPPED_WIDTH}]"
        pins = [f".dropped({dropped})"]
        pins += [f".bases__{dimension}({NID_WIDTH}'d{base})" for dimension, base in enumerate(plan.bases)]
        if plan.bases:
            pins.append(f".ties({len(plan.bases)}'d{plan.ties})")
            pins += self._node_streams("i_local", "sent", index)
            pins += self._node_streams("o_local", "received", index)
        here = (End.ROUTER, index)
        for number, link in enumerate(self._plan.links):
            if _where(link.source) == here:
                pins += self._link_pins(f"o_links__{link.source.port}", f"link_{number}")
            if _where(link.sink) == here:
                for channel in range(self._fabric.link_channels):
                    pins += self._stream_pins(f"i_links__{link.sink.port}__{channel}", f"link_{number}_end", channel)
        for port in plan.open_ports:
            pins += self._open_port(port)
        yield from self._instance("router", f"router_{index}", plan.clock, pins)

    def _open_port(self, port: int) -> Iterator[str]:
        """The inputs of a port that no link is at."""
        channels = self._fabric.link_channels
        yield f".o_links__{port}__credit({channels}'d0)"
        for channel in range(channels):
            yield f".i_links__{port}__{channel}__valid(1'b0)"
            yield f".i_links__{port}__{channel}__payload({self._flit_width}'d0)"

    def _injector(self, nid: int) -> Iterator[str]:
        (number,) = (
            number for number, link in enumerate(self._plan.links) if _where(link.source) == (End.INJECTOR, nid)
        )
        pins = [*self._node_streams("i_local", "sent", nid), *self._link_pins("o_link", f"link_{number}")]
        yield from self._instance("injector", f"injector_{nid}", nid, pins)


def _where(place: Place) -> tuple[End, int]:
    return place.end, place.index


def _members(signature: wiring.Signature) -> list[tuple[str, int, bool]]:
    """Name, width and whether it is an input of the manager, for each signal of a bus."""
    return [
        (name, Shape.cast(member.shape).width, member.flow == wiring.In) for name, member in signature.members.items()
    ]


def _direction(is_input: bool) -> str:
    return "input wire" if is_input else "output wire"


def _listed(module: str, name: str, pins: Sequence[str]) -> list[str]:
    """An instance, a line for each pin."""
    listed = [f"    {pin}," for pin in pins]
    return [f"{module} {name} (", *listed[:-1], listed[-1].removesuffix(","), ");"]
