"""A tile: a node and its part of the fabric. A machine is made of equal tiles, joined by wires or by a switch.

Nothing goes through a tile within a cycle: what leaves it towards other tiles comes from registers.
"""

from collections.abc import Iterator
from typing import Any

from amaranth import Cat, Module, Shape, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.axi import Axi4, AxiLite
from rtl.fabric.bundle import LinkBundle, begin, end
from rtl.fabric.channel import Link
from rtl.fabric.injector import Injector
from rtl.fabric.parameters import CLASSES, FabricParameters, Topology
from rtl.fabric.router import DROPPED_WIDTH, NID_WIDTH, Router
from rtl.fabric.routes import link_ports
from rtl.interconnect import ADDRESS_WIDTH
from rtl.node import Node, NodeParameters

_BUS = AxiLite(address_width=ADDRESS_WIDTH)


class Tile(wiring.Component):
    """A node, its router (in front of a switch its injector), and the links that end there.

    All is packed: core i's part of `core_*`, which are the signals of AxiLite, is word i, that of `interrupts` bit i;
    number p of `i_link` and `o_link` is port p of the router; word c of `tx_*` and `rx_*` is class c of the flits that
    the node sends and receives, for monitors. `memory`, `now`, `interrupts` as of `Node`; `bases` (word d is that of
    dimension d), `ties`, `dropped` as of `Router`.

    `quiescent`: with all inputs but `now` still, a clock edge would change nothing.
    """

    def __init__(self, node: NodeParameters, fabric: FabricParameters) -> None:
        self._node = node
        self._fabric = fabric
        self._ports = link_ports(fabric)
        dimensions = max(1, len(fabric.shape))
        links = LinkBundle(fabric.datapath_bits, fabric.link_channels, self._ports)
        super().__init__(
            {
                **{f"core_{name}": flow(node.cores * width) for name, flow, width in _bus_members()},
                "memory": Out(Axi4(data_width=fabric.datapath_bits)),
                "now": In(64),
                "interrupts": Out(node.cores),
                "bases": In(dimensions * NID_WIDTH),
                "ties": In(dimensions),
                "i_link": In(links),
                "o_link": Out(links),
                "dropped": Out(DROPPED_WIDTH),
                **{f"{side}_{name}": Out(CLASSES) for side in ("tx", "rx") for name in ("last", "valid", "ready")},
                **{f"{side}_flit": Out(CLASSES * fabric.datapath_bits) for side in ("tx", "rx")},
                "quiescent": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.node = node = Node(self._node)
        self._connect_cores(m, node)
        wiring.connect(m, node.memory, wiring.flipped(self.memory))
        sent, received = [node.o_requests, node.o_responses], [node.i_requests, node.i_responses]
        if self._fabric.topology == Topology.CROSSBAR:
            quiescent = self._connect_injector(m, sent, received)
        else:
            quiescent = self._connect_router(m, sent, received)
        for side, streams in (("tx", sent), ("rx", received)):
            m.d.comb += [
                getattr(self, f"{side}_flit").eq(Cat(stream.payload.data for stream in streams)),
                getattr(self, f"{side}_last").eq(Cat(stream.payload.last for stream in streams)),
                getattr(self, f"{side}_valid").eq(Cat(stream.valid for stream in streams)),
                getattr(self, f"{side}_ready").eq(Cat(stream.ready for stream in streams)),
            ]
        m.d.comb += [
            node.now.eq(self.now),
            self.interrupts.eq(node.interrupts),
            self.quiescent.eq(Cat(node.quiescent, *quiescent).all()),
        ]
        return m

    def _connect_cores(self, m: Module, node: Node) -> None:
        for name, flow, width in _bus_members():
            packed = getattr(self, f"core_{name}")
            for index, bus in enumerate(node.cores):
                single, part = getattr(bus, name), packed.word_select(index, width)
                m.d.comb += single.eq(part) if flow is In else part.eq(single)

    def _connect_router(self, m: Module, sent: list[Any], received: list[Any]) -> list[Value]:
        """Returns what says whether a clock edge would change nothing here."""
        m.submodules.router = router = Router(self._fabric)
        m.d.comb += [
            *(base.eq(self.bases.word_select(index, NID_WIDTH)) for index, base in enumerate(router.bases)),
            router.ties.eq(self.ties),
            self.dropped.eq(router.dropped),
        ]
        for packet_class in range(CLASSES):
            wiring.connect(m, sent[packet_class], router.i_local[packet_class])
            wiring.connect(m, router.o_local[packet_class], received[packet_class])
        quiescent = [router.quiescent]
        for port in range(router.link_ports):
            begin(m, router.o_links[port], self.o_link, port)
            quiescent.append(self._end_link(m, port, router.i_links[port]))
        return quiescent

    def _connect_injector(self, m: Module, sent: list[Any], received: list[Any]) -> list[Value]:
        m.submodules.injector = injector = Injector(self._fabric)
        for packet_class in range(CLASSES):
            wiring.connect(m, sent[packet_class], injector.i_local[packet_class])
        begin(m, injector.o_link, self.o_link, 0)
        return [injector.quiescent, self._end_link(m, 0, received)]

    def _end_link(self, m: Module, port: int, streams: Any) -> Value:
        """The link that ends at `streams`."""
        m.submodules[f"link_{port}"] = link = Link.of(self._fabric)
        end(m, self.i_link, port, link.i_link)
        for stream, arriving in zip(link.o_flits, streams, strict=True):
            wiring.connect(m, stream, arriving)
        return link.quiescent


def _bus_members() -> Iterator[tuple[str, Any, int]]:
    """Name, direction at the node, and width of each signal of a core's bus."""
    for name, member in _BUS.members.items():
        yield name, In if member.flow == Out else Out, Shape.cast(member.shape).width
