"""A whole fabric in Amaranth's simulator, with nodes that send, answer and judge."""

import random
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from amaranth.hdl import Cat, Elaboratable, EnableInserter, Module, Signal
from amaranth.lib import wiring
from amaranth.sim import Simulator, SimulatorContext

from rtl.fabric.bundle import begin, end
from rtl.fabric.channel import Link
from rtl.fabric.injector import Injector
from rtl.fabric.parameters import FabricParameters, Topology
from rtl.fabric.router import Router
from rtl.fabric.routes import bases, links, ties
from rtl.fabric.switch import Switch

CLASSES = 2
REQUEST, RESPONSE = range(CLASSES)


class Fabric(Elaboratable):
    """A fabric, joined as `routes.links` says. Streams are packed, number node * CLASSES + class, each of `width` bits.

    With `gated` each node's blocks, and a switch, are clocked only while one of them is not quiescent.
    """

    def __init__(self, parameters: FabricParameters, *, gated: bool = False) -> None:
        self.parameters = parameters
        self.width = parameters.datapath_bits + 1
        count = parameters.nodes * CLASSES
        self.i_valid, self.i_ready, self.o_valid, self.o_ready = (
            Signal(count, name=name) for name in ("i_valid", "i_ready", "o_valid", "o_ready")
        )
        self.i_flits, self.o_flits = Signal(count * self.width), Signal(count * self.width)
        self.quiescent = Signal()
        crossbar = parameters.topology == Topology.CROSSBAR
        self.gates = parameters.nodes + crossbar
        self.open_gates = Signal(self.gates)
        self.routers: list[Any] = (
            [Switch(parameters)] if crossbar else [Router(parameters) for _ in range(parameters.nodes)]
        )
        self._injectors = [Injector(parameters) for _ in range(parameters.nodes if crossbar else 0)]
        self._last_links = [Link.of(parameters) for _ in self._injectors]
        self._gated = gated

    def elaborate(self, platform: object) -> Module:
        m = Module()
        blocks = self._connect_switch(m) if self._injectors else self._connect_routers(m)
        for gate, block in blocks:
            m.submodules += EnableInserter(self.open_gates[gate])(block) if self._gated else block
        for gate in range(self.gates):
            quiet = Cat(block.quiescent for owner, block in blocks if owner == gate)
            m.d.comb += self.open_gates[gate].eq(~quiet.all())
        m.d.comb += self.quiescent.eq(~self.open_gates.any())
        for node in range(self.parameters.nodes):
            self._connect_node(m, node)
        return m

    def _connect_routers(self, m: Module) -> list[tuple[int, Any]]:
        """Returns all blocks, each with the number of its gate."""
        blocks: list[tuple[int, Any]] = list(enumerate(self.routers))
        for nid, router in enumerate(self.routers):
            places = bases(self.parameters, nid)
            m.d.comb += [port.eq(base) for port, base in zip(router.bases, places, strict=True)]
            m.d.comb += router.ties.eq(ties(self.parameters, nid))
        for (nid, port), (other, arrival) in links(self.parameters):
            link = Link.of(self.parameters)
            blocks.append((other, link))
            wiring.connect(m, self.routers[nid].o_links[port], link.i_link)
            for channel, stream in enumerate(link.o_flits):
                wiring.connect(m, stream, self.routers[other].i_links[arrival][channel])
        return blocks

    def _connect_switch(self, m: Module) -> list[tuple[int, Any]]:
        """Returns all blocks, each with the number of its gate."""
        (switch,) = self.routers
        for nid, (injector, link) in enumerate(zip(self._injectors, self._last_links, strict=True)):
            begin(m, injector.o_link, switch.i_link, nid)
            end(m, switch.o_link, nid, link.i_link)
        return [*enumerate(self._injectors), *enumerate(self._last_links), (self.parameters.nodes, switch)]

    def _connect_node(self, m: Module, node: int) -> None:
        if self._injectors:
            entries, exits = self._injectors[node].i_local, self._last_links[node].o_flits
        else:
            entries, exits = self.routers[node].i_local, self.routers[node].o_local
        for packet_class in range(CLASSES):
            index = node * CLASSES + packet_class
            flit = slice(index * self.width, (index + 1) * self.width)
            entry, leave = entries[packet_class], exits[packet_class]
            m.d.comb += [
                entry.valid.eq(self.i_valid[index]),
                entry.payload.eq(self.i_flits[flit]),
                self.i_ready[index].eq(entry.ready),
                self.o_valid[index].eq(leave.valid),
                self.o_flits[flit].eq(leave.payload),
                leave.ready.eq(self.o_ready[index]),
            ]


@dataclass(frozen=True)
class Packet:
    """What a node sends; `number` counts those of one source, destination and class."""

    source: int
    destination: int
    packet_class: int
    number: int
    length: int

    def flits(self, datapath_bits: int) -> list[int]:
        """The destination first, as routers expect it; the rest is noise that looks like destinations, too."""
        head = self.destination | self.source << 16 | self.packet_class << 32 | self.number << 33 | self.length << 56
        noise = random.Random(head)
        return [head, *(noise.getrandbits(datapath_bits) for _ in range(self.length - 1))]

    @staticmethod
    def of(head: int) -> "Packet":
        return Packet(head >> 16 & 0xFFFF, head & 0xFFFF, head >> 32 & 1, head >> 33 & 0x7FFFFF, head >> 56)


@dataclass
class Result:
    """`arrived` and `injected`: the cycles of each packet's first and last flit; `drops` by router."""

    injected: dict[Packet, tuple[int, int]] = field(default_factory=dict)
    arrived: dict[Packet, tuple[int, int]] = field(default_factory=dict)
    flits: int = 0  # that have arrived
    cycles: int = 0
    drops: list[int] = field(default_factory=list)
    idle_gates: int = 0  # cycles in which a gate was closed, summed over gates


class Traffic:
    """Nodes that send `requests` and answer each that arrives with a response of `response_length` flits.

    A node takes no flit of a request while it has more than `unanswered` responses that have not left; with 0 for
    `response_length` there are none. `take` and `offer` are probabilities per cycle and stream. Ends when all has
    arrived and the fabric is quiescent, or at `until_cycle`; fails if nothing moves for `patience` cycles.
    """

    def __init__(
        self,
        parameters: FabricParameters,
        requests: Iterable[Packet],
        *,
        response_length: int = 0,
        unanswered: int = 1 << 30,
        offer: float = 1.0,
        take: float = 1.0,
        seed: int = 1,
        gated: bool = False,
        patience: int = 2000,
        until_cycle: int | None = None,
    ) -> None:
        self.fabric = Fabric(parameters, gated=gated)
        self.result = Result()
        self._parameters = parameters
        self._random = random.Random(seed)
        self._response_length, self._unanswered = response_length, unanswered
        self._offer, self._take = offer, take
        self._patience, self._until = patience, until_cycle
        count = parameters.nodes * CLASSES
        self._queues: list[deque[Packet]] = [deque() for _ in range(count)]
        self._leaving: list[deque[int]] = [deque() for _ in range(count)]  # flits of the packet that is leaving
        self._coming: list[deque[int] | None] = [None] * count  # flits that must come next
        self._from: list[Packet | None] = [None] * count  # the packet that is leaving
        self._here: list[Packet | None] = [None] * count  # the packet that is coming
        self._offered_now = 0
        self._cycle = 0
        self._last_numbers: dict[tuple[int, int, int], int] = {}
        self._due = 0
        for packet in requests:
            self._enqueue(packet)

    def _enqueue(self, packet: Packet) -> None:
        self._queues[packet.source * CLASSES + packet.packet_class].append(packet)
        self._due += packet.destination < self._parameters.nodes

    def run(self) -> Result:
        simulator = Simulator(self.fabric)
        simulator.add_clock(1e-9)
        simulator.add_testbench(self._bench)
        simulator.run()
        self.result.cycles = self._cycle
        return self.result

    async def _bench(self, ctx: SimulatorContext) -> None:
        fabric = self.fabric
        held_out = before = progress = offered = 0
        while True:
            offered = self._offers(offered)
            accepting = self._accepts()
            ctx.set(fabric.i_valid, offered)
            ctx.set(fabric.i_flits, self._packed(offered))
            ctx.set(fabric.o_ready, accepting)
            _, _, ready, valid, flits, gates = await ctx.tick().sample(
                fabric.i_ready, fabric.o_valid, fabric.o_flits, fabric.open_gates
            )
            self._check_held(held_out, before, valid, flits)
            held_out, before = valid & ~accepting, flits
            self.result.idle_gates += fabric.gates - gates.bit_count()
            self._sent(offered & ready)
            offered &= ~ready
            taken = valid & accepting
            self._received(taken, flits)
            self._cycle += 1
            progress = self._cycle if ready & self._offered_now | taken else progress
            assert self._cycle - progress < self._patience, f"nothing has moved for {self._patience} cycles"
            if self._cycle == self._until or (self._finished(offered) and ctx.get(fabric.quiescent)):
                break
        self.result.drops = [ctx.get(router.dropped) for router in fabric.routers]

    def _finished(self, offered: int) -> bool:
        return not offered and self._due == 0 and not any(self._queues) and not any(self._leaving)

    def _offers(self, offered: int) -> int:
        for index, (queue, leaving) in enumerate(zip(self._queues, self._leaving, strict=True)):
            if not leaving and queue:
                packet = queue.popleft()
                leaving.extend(packet.flits(self._parameters.datapath_bits))
                self._from[index] = packet
                self.result.injected[packet] = (self._cycle, 0)
            if leaving and not offered >> index & 1 and self._random.random() < self._offer:
                offered |= 1 << index
        self._offered_now = offered
        return offered

    def _packed(self, offered: int) -> int:
        value = 0
        for index, leaving in enumerate(self._leaving):
            if offered >> index & 1:
                last = len(leaving) == 1
                value |= (leaving[0] | last << self.fabric.width - 1) << index * self.fabric.width
        return value

    def _accepts(self) -> int:
        accepting = 0
        for node in range(self._parameters.nodes):
            response = node * CLASSES + RESPONSE
            owed = len(self._queues[response]) + bool(self._leaving[response])
            for packet_class in range(CLASSES):
                blocked = packet_class == REQUEST and owed > self._unanswered
                if not blocked and self._random.random() < self._take:
                    accepting |= 1 << node * CLASSES + packet_class
        return accepting

    def _check_held(self, held: int, before: int, valid: int, flits: int) -> None:
        assert valid & held == held, "a flit was withdrawn before it was taken"
        for index in _bits(held):
            assert self._flit(before, index) == self._flit(flits, index), "a flit changed before it was taken"

    def _flit(self, flits: int, index: int) -> int:
        return flits >> index * self.fabric.width & (1 << self.fabric.width) - 1

    def _sent(self, sent: int) -> None:
        for index in _bits(sent):
            self._leaving[index].popleft()
            packet = self._from[index]
            assert packet is not None
            if not self._leaving[index]:
                self.result.injected[packet] = (self.result.injected[packet][0], self._cycle)

    def _received(self, taken: int, flits: int) -> None:
        for index in _bits(taken):
            flit = self._flit(flits, index)
            bits = self._parameters.datapath_bits
            data, last = flit & (1 << bits) - 1, flit >> bits
            expected = self._coming[index]
            if expected is None:
                expected = self._coming[index] = self._begin(index, data)
            assert data == expected.popleft(), "a flit is not the one that was sent here"
            assert last == (not expected), "last is at the wrong flit"
            self.result.flits += 1
            if last:
                self._end(index)

    def _begin(self, index: int, data: int) -> deque[int]:
        """A new packet: it must be the next one of its source and class for this node."""
        packet = Packet.of(data)
        assert packet in self.result.injected, f"{packet} was never sent"
        assert packet not in self.result.arrived, f"{packet} has come twice"
        assert packet.destination * CLASSES + packet.packet_class == index, f"{packet} came to stream {index}"
        flow = (packet.source, packet.destination, packet.packet_class)
        assert packet.number == self._last_numbers.get(flow, -1) + 1, f"{packet} is out of order"
        self._last_numbers[flow] = packet.number
        self.result.arrived[packet] = (self._cycle, 0)
        self._here[index] = packet
        return deque(packet.flits(self._parameters.datapath_bits))

    def _end(self, index: int) -> None:
        node, packet_class = divmod(index, CLASSES)
        self._coming[index] = None
        self._due -= 1
        packet = self._here[index]
        assert packet is not None
        self.result.arrived[packet] = (self.result.arrived[packet][0], self._cycle)
        if packet_class == REQUEST and self._response_length:
            self._enqueue(Packet(node, packet.source, RESPONSE, packet.number, self._response_length))


def _bits(value: int) -> list[int]:
    return [index for index in range(value.bit_length()) if value >> index & 1]


def uniform(
    parameters: FabricParameters, packets: int, lengths: Sequence[int], *, beyond: int = 0, seed: int = 1
) -> list[Packet]:
    """`packets` requests of each node to nodes at random, themselves included; every length is one of `lengths`.
    NIDs up to `beyond` above the last node's are among the destinations."""
    generator = random.Random(seed)
    numbers: dict[tuple[int, int], int] = {}
    made = []
    for _ in range(packets):
        for source in range(parameters.nodes):
            destination = generator.randrange(parameters.nodes + beyond)
            number = numbers[source, destination] = numbers.get((source, destination), -1) + 1
            made.append(Packet(source, destination, REQUEST, number, generator.choice(lengths)))
    return made
