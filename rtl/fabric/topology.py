"""How links join the nodes: a topology as a list of connections, from which the machine is built.

Imports no Amaranth.
"""

import enum
from dataclasses import dataclass


class Topology(enum.StrEnum):
    """What lies between the nodes."""

    POINT_TO_POINT = "point_to_point"  # one node's link leads back to itself; two nodes have a link each way
    CROSSBAR = "crossbar"  # each node has a link to a switch and one from it


class End(enum.Enum):
    """What a link starts or ends at."""

    NODE = enum.auto()
    CROSSBAR = enum.auto()


MAX_POINT_TO_POINT_NODES = 2


@dataclass(frozen=True, kw_only=True)
class Connection:
    """A link from port `source_port` of `source` to port `sink_port` of `sink`; a node's port is its NID."""

    source: End
    source_port: int
    sink: End
    sink_port: int


def connections(topology: str, nodes: int) -> tuple[Connection, ...]:
    """The links of a machine of `nodes` nodes. ValueError if the topology cannot join that many."""
    if topology == Topology.CROSSBAR:
        up = [Connection(source=End.NODE, source_port=n, sink=End.CROSSBAR, sink_port=n) for n in range(nodes)]
        down = [Connection(source=End.CROSSBAR, source_port=n, sink=End.NODE, sink_port=n) for n in range(nodes)]
        return (*up, *down)
    if nodes > MAX_POINT_TO_POINT_NODES:
        raise ValueError(
            f"machine.nodes: {nodes} is out of range 1..{MAX_POINT_TO_POINT_NODES} for {topology}; choose crossbar"
        )
    return tuple(
        Connection(source=End.NODE, source_port=n, sink=End.NODE, sink_port=(n + 1) % nodes) for n in range(nodes)
    )
