"""The plan of a machine's fabric: which routers, injectors and links there are, and what each is joined to.

Imports no Amaranth. Each kind of block is one module, however often it occurs: `Router(parameters)`, which learns its
place from the inputs `bases` and `ties`; `Injector(parameters)`, in front of a switch only; and `Link.of(parameters)`.
A link begins at a LinkPort (`o_links[port]` of a router, `o_link` of an injector) and ends at streams (`i_links[port]`
of a router, or those of a node, one for each class: behind a switch a link has as many channels as there are classes).
A node is joined to its router's `i_local` and `o_local`, or, if it has an injector, to that one's `i_local` and to the
link that ends at the node. The inputs of `open_ports` of routers are 0 forever: `i_links[port]`, and the credits of
`o_links[port]`.

Clocks: `clock` n is the gated clock of node n, of its router or injector, and of the links that end there; clock
`nodes`, of a crossbar, is that of the switch and of the links that end there. All are the same clock behind gates.
The gate of a clock must be open at every edge at which `quiescent` of any of its blocks is low. Nothing else opens it:
every `quiescent` falls, combinationally, with whatever makes the next edge matter. For a router or injector that is
`valid` of a stream with a flit that it will look at or take, `valid` of its own flit on a link, or a credit that comes
back; for a link, `valid` at its beginning, `ready` for a flit at its end, or anything that is under way. So both sides
of every handshake are clocked at the edge at which it happens; a node that takes packets from a block here must in
the same way be clocked while `valid` and its `ready` are high.
"""

import enum
from dataclasses import dataclass

from rtl.fabric.parameters import FabricParameters, Topology
from rtl.fabric.routes import bases, directions, neighbour, ties


class End(enum.Enum):
    """What a link begins or ends at."""

    ROUTER = enum.auto()
    INJECTOR = enum.auto()
    NODE = enum.auto()


@dataclass(frozen=True, kw_only=True)
class Place:
    """Block `index` of kind `end`, and which of its `i_links` or `o_links`; a node and an injector have but one."""

    end: End
    index: int
    port: int = 0


@dataclass(frozen=True, kw_only=True)
class RouterPlan:
    """A router, the values of its inputs `bases` and `ties` (a switch has none), and its ports without links."""

    clock: int
    bases: tuple[int, ...] = ()
    ties: int = 0
    open_ports: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class LinkPlan:
    """A link, from `source` to `sink`."""

    clock: int
    source: Place
    sink: Place


@dataclass(frozen=True, kw_only=True)
class Network:
    """All blocks of a fabric. Router n and injector n are those of node n; a crossbar has one router, of no node."""

    clocks: int
    routers: tuple[RouterPlan, ...]
    injectors: int
    links: tuple[LinkPlan, ...]


def network(parameters: FabricParameters) -> Network:
    """The fabric with these parameters."""
    return _crossbar(parameters.nodes) if parameters.topology == Topology.CROSSBAR else _grid(parameters)


def _crossbar(nodes: int) -> Network:
    up = [
        LinkPlan(
            clock=nodes,
            source=Place(end=End.INJECTOR, index=nid),
            sink=Place(end=End.ROUTER, index=0, port=nid),
        )
        for nid in range(nodes)
    ]
    down = [
        LinkPlan(
            clock=nid,
            source=Place(end=End.ROUTER, index=0, port=nid),
            sink=Place(end=End.NODE, index=nid),
        )
        for nid in range(nodes)
    ]
    return Network(clocks=nodes + 1, routers=(RouterPlan(clock=nodes),), injectors=nodes, links=(*up, *down))


def _grid(parameters: FabricParameters) -> Network:
    ports = directions(parameters)
    routers, links = [], []
    for nid in range(parameters.nodes):
        neighbours = [neighbour(parameters, nid, direction) for direction in ports]
        links += [
            LinkPlan(
                clock=other,
                source=Place(end=End.ROUTER, index=nid, port=port),
                sink=Place(end=End.ROUTER, index=other, port=ports.index(ports[port].opposite)),
            )
            for port, other in enumerate(neighbours)
            if other is not None
        ]
        routers.append(
            RouterPlan(
                clock=nid,
                bases=bases(parameters, nid),
                ties=ties(parameters, nid),
                open_ports=tuple(port for port, other in enumerate(neighbours) if other is None),
            )
        )
    return Network(clocks=parameters.nodes, routers=tuple(routers), injectors=0, links=tuple(links))
