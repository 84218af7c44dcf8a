"""How long messages under way have waited for their next packet."""

from amaranth import Cat, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.nic.deadlines import TICK_WIDTH, Walk, is_overdue
from rtl.nic.interfaces.context import ContextState
from rtl.nic.interfaces.widths import CONTEXT_WIDTH, TIMEOUT_WIDTH
from rtl.nic.parameters import NicParameters
from rtl.nic.target.stages import slots

# Whether the message of a slot waits for a packet, and in which tick its last one came.
STAMP = data.StructLayout({"waits": 1, "tick": TICK_WIDTH})


class Deadlines(wiring.Component):
    """Time passes while a message of an active context is under way and `timeout` is not 0; see `Walk` for when one is
    overdue.

    `note` pulses for every packet of the message of `slot`, which is one of `context`: with it the message `waits` for
    the next one, or does so no more; `waited` if it was under way before, in a life that lasts. `offer` and
    `offered_slot` hold until `taken`; the cycle after a `look` tells whether the message is `overdue` still.
    """

    def __init__(self, parameters: NicParameters) -> None:
        self._parameters = parameters
        super().__init__(
            {
                "states": In(ContextState()).array(parameters.contexts),
                "timeout": In(TIMEOUT_WIDTH),
                "note": In(1),
                "slot": In(range(slots(parameters))),
                "context": In(CONTEXT_WIDTH),
                "waits": In(1),
                "waited": In(1),
                "offer": Out(1),
                "offered_slot": Out(range(slots(parameters))),
                "look": In(1),
                "overdue": Out(1),
                "taken": In(1),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.walk = walk = Walk(slots(self._parameters))
        m.submodules.stamps = stamps = Memory(shape=STAMP, depth=slots(self._parameters), init=[])
        write, read = stamps.write_port(), stamps.read_port()
        restarted = Cat(state.restarted for state in self.states)
        m.d.comb += [
            walk.timeout.eq(self.timeout),
            walk.awaited.eq(self._count(m)),
            write.en.eq(self.note),
            write.addr.eq(self.slot),
            write.data.waits.eq(self.waits),
            write.data.tick.eq(walk.tick),
            read.addr.eq(walk.place),
            read.en.eq(walk.look | self.look),
            self.overdue.eq(read.data.waits & is_overdue(walk.tick, read.data.tick)),
            walk.overdue.eq(self.overdue),
            self.offer.eq(walk.offer),
            self.offered_slot.eq(walk.place),
            walk.taken.eq(self.taken),
            self.quiescent.eq(walk.quiescent & ~(self.note | self.look | restarted.any())),
        ]
        return m

    def _count(self, m: Module) -> Signal:
        """Counts the messages under way of each context in its present life; whether an active context has any."""
        awaited = Signal()
        counts = [Signal(range(slots(self._parameters) + 1), name=f"under_way_{i}") for i in range(len(self.states))]
        m.d.comb += awaited.eq(
            Cat(count.any() & state.active for count, state in zip(counts, self.states, strict=True)).any()
        )
        for index, (count, state) in enumerate(zip(counts, self.states, strict=True)):
            with m.If(state.restarted):
                m.d.sync += count.eq(0)
            with m.Elif(self.note & (self.context == index)):
                m.d.sync += count.eq(count + self.waits - self.waited)
        return awaited
