"""Routing in hardware; `rtl.fabric.routes` says which way and why.

A destination is never taken apart into coordinates, which would take divisions: in each dimension its NID is compared
with those of the nodes that are where the router is in this dimension and all higher ones, a range.
"""

from dataclasses import dataclass

from amaranth import C, Cat, Module, Mux, Signal, Value

from rtl.fabric.parameters import FabricParameters
from rtl.fabric.routes import DOWN, UP, Direction, directions


@dataclass(frozen=True, kw_only=True)
class Way:
    """`outputs`: a bit for each direction and one for the node itself, one of them set, or none if there is no such
    node. `group` of channels, on a link."""

    outputs: Value
    group: Value


def find_way(
    m: Module, parameters: FabricParameters, *, bases: list[Value], ties: Value, destination: Value, name: str
) -> Way:
    """The way on from the router whose `bases` and `ties` these are; all combinational."""
    ports = {direction: index for index, direction in enumerate(directions(parameters))}
    outputs = Signal(len(ports) + 1, name=f"{name}_outputs")
    group = Signal(name=f"{name}_group")
    width = max((parameters.nodes - 1).bit_length(), 1)
    undecided: Value = destination < parameters.nodes
    for dimension in reversed(range(len(parameters.shape))):
        if parameters.shape[dimension] == 1:
            continue
        distance = Signal(range(-(1 << width), 1 << width), name=f"{name}_distance_{dimension}")
        m.d.comb += distance.eq(destination[:width] - bases[dimension][:width])
        here, up, before_wrap = _along(parameters, dimension, distance, ties)
        onward = undecided & ~here
        m.d.comb += [
            outputs[ports[Direction(dimension=dimension, step=UP)]].eq(onward & up),
            outputs[ports[Direction(dimension=dimension, step=DOWN)]].eq(onward & ~up),
        ]
        if parameters.wraps[dimension]:
            with m.If(onward):
                m.d.comb += group.eq(~before_wrap)
        undecided = undecided & here
    m.d.comb += outputs[-1].eq(undecided)
    return Way(outputs=outputs, group=group)


def _along(parameters: FabricParameters, dimension: int, distance: Value, ties: Value) -> tuple[Value, Value, Value]:
    """For a destination that agrees with the router in all higher dimensions, with its NID's distance from the base:
    whether it agrees in this one; whether the way is up; whether that way is over the link that closes the dimension.
    """
    stride, size = parameters.strides[dimension], parameters.shape[dimension]
    below = distance < 0
    above = distance >= stride
    if not parameters.wraps[dimension]:
        return ~below & ~above, above, C(0, 1)
    upwards = Mux(below, distance + stride * size, distance)
    nearer = upwards < stride * ((size + 1) // 2)
    tie = ties[dimension] & (upwards < stride * (size // 2 + 1))
    up = nearer | tie
    return ~below & ~above, up, Mux(up, below, above)


def channel_of(parameters: FabricParameters, group: Value, destination: Value) -> Value:
    """Virtual channel of a class: the group's, in the lane of the destination."""
    lane = destination[: (parameters.channels - 1).bit_length()]
    return Cat(lane, group) if parameters.groups == 2 else lane
