"""Places in the event queues: who has reserved how many, and where the next event goes."""

from amaranth import C, Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.nic.arbitration import next_in_turn
from rtl.nic.expressions import select, slot_address
from rtl.nic.interfaces.context import context_ports
from rtl.nic.interfaces.reports import ReservePort
from rtl.nic.interfaces.widths import ADDRESS_WIDTH, CONTEXT_WIDTH, INDEX_WIDTH, SLOT_LOG2_BYTES
from rtl.nic.parameters import NicParameters

MOST_AT_ONCE = 3  # what a ReservePort can ask for
PLACES_WIDTH = 16  # a queue has at most 2**15 places, and so many may be taken


class Places(wiring.Component):
    """One reservation a cycle, the reservers in turn; releases at any time, which count two cycles later.

    A reservation belongs to the life that the context's state shows in the cycle of `valid` and `ready`. None is
    answered in the cycle in which the context restarts. `room` has a bit for each context that has a free place.

    The next event of `context` goes to `address` and is number `number`, from 0; `advance` uses that place up. The
    queue is where it was and as large as it was when the context started: what the kernel writes into these registers
    later holds from the next start on, so that no event that waits can be overwritten.
    """

    def __init__(self, parameters: NicParameters, *, reservers: int) -> None:
        super().__init__(
            {
                **context_ports(parameters),
                "reserves": In(ReservePort()).array(reservers),
                "room": Out(parameters.contexts),
                "context": In(CONTEXT_WIDTH),
                "address": Out(ADDRESS_WIDTH),
                "number": Out(INDEX_WIDTH),
                "advance": In(1),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        bases, sizes = self._queues(m)
        self._position(m, bases, sizes)
        places, claimed = self._count(m, sizes)
        chosen_context, granted = self._reserve(m, places)
        released = self._release(m)
        for number, state in enumerate(self.states):
            freed = sum((Mux(context == number, count, 0) for context, count in released), start=C(0))
            taken = Mux(chosen_context == number, granted, 0)
            with m.If(state.restarted):
                m.d.sync += claimed[number].eq(0)
            with m.Else():
                m.d.sync += claimed[number].eq(claimed[number] + taken - freed)
        active = [port.valid | port.release_valid for port in self.reserves]
        restarting = [state.restarted for state in self.states]
        freeing = [count.any() for _, count in released]
        m.d.comb += self.quiescent.eq(~(Cat(*active, *restarting, *freeing).any() | self.advance))
        return m

    def _queues(self, m: Module) -> tuple[list[Value], list[Signal]]:
        """Base address and log2 of the size of each queue."""
        bases: list[Value] = []
        sizes: list[Signal] = []
        for number, (registers, state) in enumerate(zip(self.contexts, self.states, strict=True)):
            base = Signal(ADDRESS_WIDTH - SLOT_LOG2_BYTES, name=f"queue_base_{number}")
            size = Signal(4, name=f"queue_log2_{number}")
            with m.If(state.restarted):
                m.d.sync += [base.eq(registers.event_base[SLOT_LOG2_BYTES:]), size.eq(registers.event_log2)]
            bases.append(Cat(C(0, SLOT_LOG2_BYTES), base))
            sizes.append(size)
        return bases, sizes

    def _position(self, m: Module, bases: list[Value], sizes: list[Signal]) -> None:
        issued = [Signal(INDEX_WIDTH, name=f"events_issued_{number}") for number in range(len(self.states))]
        for number, state in enumerate(self.states):
            with m.If(state.restarted):
                m.d.sync += issued[number].eq(0)
            with m.Elif(self.advance & (self.context == number)):
                m.d.sync += issued[number].eq(issued[number] + 1)
        m.d.comb += [
            self.number.eq(select(issued, self.context)),
            self.address.eq(slot_address(select(bases, self.context), self.number, select(sizes, self.context))),
        ]

    def _count(self, m: Module, sizes: list[Signal]) -> tuple[list[Signal], list[Signal]]:
        """Free places of each context, but no more than can be asked for; and how many were ever claimed.

        What was claimed is reserved, on its way, or waits to be consumed; modulo 2**16, which is enough to subtract.
        """
        places, claimed = [], []
        for number, state in enumerate(self.states):
            ever = Signal(PLACES_WIDTH, name=f"claimed_{number}")
            used = Signal(PLACES_WIDTH, name=f"used_{number}")
            free = Signal(PLACES_WIDTH, name=f"free_{number}")
            askable = Signal(range(MOST_AT_ONCE + 1), name=f"places_{number}")
            m.d.comb += [
                used.eq(ever - state.event_head[:PLACES_WIDTH]),
                free.eq((C(1) << sizes[number]) - used),
                askable.eq(Mux(free > MOST_AT_ONCE, MOST_AT_ONCE, free)),
                self.room[number].eq(free.any()),
            ]
            places.append(askable)
            claimed.append(ever)
        return places, claimed

    def _reserve(self, m: Module, places: list[Signal]) -> tuple[Value, Value]:
        """Answers one reserver. Returns whose context it is and how many places it was given."""
        ports = self.reserves
        restarting = [state.restarted for state in self.states]
        asking = Signal(len(ports))
        last = Signal(range(max(len(ports), 2)))
        m.d.comb += asking.eq(Cat(*(port.valid & ~select(restarting, port.context) for port in ports)))
        index = next_in_turn(m, asking, last)
        with m.If(asking.any()):
            m.d.sync += last.eq(index)
        granted = []
        for number, port in enumerate(ports):
            m.d.comb += [
                port.ready.eq(asking[number] & (index == number)),
                port.room.eq(select(places, port.context) >= port.count),
            ]
            granted.append(Mux(port.ready & port.room, port.count, 0))
        return select([port.context for port in ports], index), select(granted, index)

    def _release(self, m: Module) -> list[tuple[Signal, Signal]]:
        """For each reserver the context and the number of places that it gave back in the cycle before."""
        released = []
        for number, port in enumerate(self.reserves):
            context = Signal(CONTEXT_WIDTH, name=f"released_context_{number}")
            count = Signal(2, name=f"released_{number}")
            present = select([state.epoch for state in self.states], port.release_context) == port.release_epoch
            m.d.sync += count.eq(Mux(port.release_valid & present, port.release_count, 0))
            with m.If(port.release_valid):
                m.d.sync += context.eq(port.release_context)
            released.append((context, count))
        return released
