"""A router: packets go from its node and its links to the node or the link that leads on.

Input-buffered, wormhole: the buffers are those at the ends of the links; a packet takes a virtual channel of its next
link with its first flit and gives it back with its last. Packets on different channels of a link go by turns, flit by
flit. In the first cycle in which a packet's first flit is there, its way is looked up; from the second on each flit
takes its turn; in the cycle after that it is on the next link.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from amaranth import C, Cat, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.fabric.channel import Link, LinkPort, places
from rtl.fabric.parameters import CLASSES, FabricParameters, Topology
from rtl.fabric.routes import directions, turns
from rtl.fabric.routing import Way, channel_of, find_way
from rtl.fabric.sender import Sender
from rtl.fabric.turns import in_turn
from rtl.flits import flit_stream
from rtl.packets import REQUEST

NID_WIDTH = REQUEST.fields["dst_nid"].width
DROPPED_WIDTH = 32


@dataclass(frozen=True, kw_only=True)
class _Input:
    """One virtual channel that ends here. `stream` may go on to `outputs`; all of its packets are of one class.

    `wanted` is the output of the packet that is being passed on, as a bit, or 0 if none is; `channel` its channel
    there, of its class; `begun` if its first flit has gone. `asking`: the output that the flit which is there wants;
    `served`: the output that takes it in this cycle.
    """

    name: str
    stream: Any
    packet_class: int
    outputs: tuple[int, ...]
    wanted: Signal
    channel: Signal
    begun: Signal
    asking: Signal
    served: Signal
    discarding: Signal


class Router(wiring.Component):
    """The router of a node; of a crossbar, the switch.

    `i_local` and `o_local`: streams from and to the node, one for each class. `i_links[p]`: what the link from port p's
    neighbour brings, a stream for each virtual channel; `o_links[p]`: the link to that neighbour. The ports are those
    of `routes.directions`; a link that is not there has all its inputs 0. `bases` and `ties` say where the router is
    (see `routes`) and never change: one module serves all places. A switch has neither place nor node, but a pair of
    links for each NID.

    A packet to no node, or one that came by a link that does not lead there, is consumed and counted in `dropped`.
    `quiescent`: with the inputs still, a clock edge would change nothing; flits may wait for channels and credits.
    """

    def __init__(self, parameters: FabricParameters) -> None:
        self.parameters = parameters
        self.is_switch = parameters.topology == Topology.CROSSBAR
        self._directions = directions(parameters)
        self.link_ports = parameters.nodes if self.is_switch else len(self._directions)
        stream = flit_stream(parameters.datapath_bits)
        members: dict[str, Any] = {"dropped": Out(DROPPED_WIDTH), "quiescent": Out(1)}
        if not self.is_switch:
            dimensions = len(parameters.shape)
            members["bases"] = In(NID_WIDTH).array(dimensions)
            members["ties"] = In(dimensions)
            members["i_local"] = In(stream).array(CLASSES)
            members["o_local"] = Out(stream).array(CLASSES)
        if self.link_ports:
            link = LinkPort(parameters.datapath_bits, parameters.link_channels)
            members["i_links"] = In(stream).array(self.link_ports, parameters.link_channels)
            members["o_links"] = Out(link).array(self.link_ports)
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        inputs = list(self._inputs())
        quiet = [self._elaborate_output(m, port, inputs) for port in range(self.link_ports)]
        if not self.is_switch:
            quiet.append(self._elaborate_local(m, inputs))
        still = [self._elaborate_input(m, source) for source in inputs]
        drops = Cat(source.discarding & source.stream.valid & source.stream.payload.last for source in inputs)
        with m.If(drops.any()):
            m.d.sync += self.dropped.eq(self.dropped + sum(drops))
        m.d.comb += self.quiescent.eq(Cat(*quiet, *still).all())
        return m

    def _inputs(self) -> Iterator[_Input]:
        everywhere = tuple(range(self.link_ports + (not self.is_switch)))
        if not self.is_switch:
            for packet_class in range(CLASSES):
                yield self._input(f"local_{packet_class}", self.i_local[packet_class], packet_class, everywhere)
        for port in range(self.link_ports):
            onward = everywhere
            if not self.is_switch:
                ways = turns(self.parameters, self._directions[port])
                onward = (*(self._directions.index(way) for way in ways), self.link_ports)
            for channel in range(self.parameters.link_channels):
                packet_class = channel // self.parameters.channels_per_class
                yield self._input(f"link_{port}_{channel}", self.i_links[port][channel], packet_class, onward)

    def _input(self, name: str, stream: Any, packet_class: int, outputs: tuple[int, ...]) -> _Input:
        count = self.link_ports + (not self.is_switch)
        return _Input(
            name=name,
            stream=stream,
            packet_class=packet_class,
            outputs=outputs,
            wanted=Signal(count, name=f"{name}_wanted"),
            channel=Signal(range(self.parameters.channels_per_class), name=f"{name}_channel"),
            begun=Signal(name=f"{name}_begun"),
            asking=Signal(count, name=f"{name}_asking"),
            served=Signal(count, name=f"{name}_served"),
            discarding=Signal(name=f"{name}_discarding"),
        )

    def _elaborate_input(self, m: Module, source: _Input) -> Value:
        """Looks up the way of each packet. Returns whether a clock edge would change nothing here."""
        stream = source.stream
        destination = _destination(stream)
        way = self._find_way(m, source.name, destination)
        reachable = way.outputs & C(sum(1 << output for output in source.outputs), len(way.outputs))
        routed = source.wanted.any()
        with m.If(source.served.any()):
            m.d.sync += source.begun.eq(~stream.payload.last)
            with m.If(stream.payload.last):
                m.d.sync += source.wanted.eq(0)
        with m.Elif(source.discarding):
            m.d.sync += source.discarding.eq(~(stream.valid & stream.payload.last))
        with m.Elif(stream.valid & ~routed):
            m.d.sync += [
                source.wanted.eq(reachable),
                source.channel.eq(channel_of(self.parameters, way.group, destination)),
                source.discarding.eq(~reachable.any()),
            ]
        with m.If(stream.valid):
            m.d.comb += source.asking.eq(source.wanted)
        m.d.comb += stream.ready.eq(source.served.any() | source.discarding)
        return ~(stream.valid & (stream.ready | ~routed))

    def _find_way(self, m: Module, name: str, destination: Value) -> Way:
        if self.is_switch:
            return Way(outputs=Cat(destination == port for port in range(self.link_ports)), group=C(0, 1))
        return find_way(m, self.parameters, bases=list(self.bases), ties=self.ties, destination=destination, name=name)

    def _elaborate_output(self, m: Module, port: int, inputs: list[_Input]) -> Value:
        """The link of `port`. Returns whether a clock edge would change nothing here."""
        parameters = self.parameters
        sender = Sender(
            datapath_bits=parameters.datapath_bits,
            channels=parameters.link_channels,
            credits=places(parameters.link_latency_cycles, parameters.cycles_per_flit),
            cycles_per_flit=parameters.cycles_per_flit,
        )
        m.submodules[f"sender_{port}"] = sender
        wiring.connect(m, sender.o_link, wiring.flipped(self.o_links[port]))
        _share(m, port, inputs, sender, parameters.channels_per_class)
        return sender.quiescent

    def _elaborate_local(self, m: Module, inputs: list[_Input]) -> Value:
        """The way to the node: a link of the shortest kind. Returns whether a clock edge would change nothing here."""
        bits = self.parameters.datapath_bits
        m.submodules.local_sender = sender = Sender(datapath_bits=bits, channels=CLASSES, credits=places(1))
        m.submodules.local_link = link = Link(datapath_bits=bits, channels=CLASSES, latency_cycles=1)
        wiring.connect(m, sender.o_link, link.i_link)
        for packet_class in range(CLASSES):
            wiring.connect(m, link.o_flits[packet_class], wiring.flipped(self.o_local[packet_class]))
        _share(m, self.link_ports, inputs, sender, 1)
        return sender.quiescent & link.quiescent


def _share(m: Module, output: int, inputs: list[_Input], sender: Sender, channels_per_class: int) -> None:
    """Gives `sender`, of `channels_per_class`, to the inputs that want `output`, in turn, a flit at a time."""
    sources = [source for source in inputs if output in source.outputs]
    held = Signal(sender.channels, name=f"held_{output}")  # by a packet that has begun and not ended
    channels = [_channel_there(source, channels_per_class) for source in sources]
    asking = Cat(source.asking[output] for source in sources)
    begun = Cat(source.begun for source in sources)
    usable = Cat(sender.usable.bit_select(channel, 1) for channel in channels)
    free = Cat(~held.bit_select(channel, 1) for channel in channels)
    requests = Signal(len(sources), name=f"requests_{output}")
    m.d.comb += [requests.eq(asking & usable & (begun | free)), sender.take.eq(requests.any())]
    served = in_turn(m, requests, f"output_{output}")
    for index, (source, channel) in enumerate(zip(sources, channels, strict=True)):
        m.d.comb += source.served[output].eq(served[index])
        with m.If(served[index]):
            m.d.comb += [sender.channel.eq(channel), sender.flit.eq(source.stream.payload)]
    with m.If(sender.take):
        m.d.sync += held.bit_select(sender.channel, 1).eq(~sender.flit.last)


def _channel_there(source: _Input, channels_per_class: int) -> Value:
    """The channel of an output, all classes counted, that a packet goes to."""
    first = source.packet_class * channels_per_class
    return C(first, range(CLASSES)) if channels_per_class == 1 else (first + source.channel)


def _destination(stream: Any) -> Value:
    field = REQUEST.fields["dst_nid"]
    if field.word != 0:
        raise ValueError(f"packet: dst_nid lies in word {field.word}; a router decides on the first flit")
    return stream.payload.data[field.lsb : field.lsb + field.width]
