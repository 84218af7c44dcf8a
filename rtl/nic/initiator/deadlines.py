"""How long requests have waited for their responses."""

from amaranth import Module, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.nic.initiator.entries import SLOT_WIDTH, ExpiryPort, entry_address
from rtl.nic.interfaces.widths import CONTEXT_WIDTH, GENERATION_WIDTH, TIMEOUT_WIDTH
from rtl.nic.parameters import NicParameters

# In which tick an entry was stamped last, in the use that it was stamped in: what is left over from a use of the same
# generation is 256 uses old, and every use is stamped when its request has left.
STAMP = data.StructLayout({"generation": GENERATION_WIDTH, "tick": 2})


class Deadlines(wiring.Component):
    """Time in ticks of `timeout` cycles, which pass while an entry is `awaited` and `timeout` is not 0.

    `stamp` pulses for the use `stamp_generation` of entry `stamp_slot` of `stamp_context`. It is overdue in the second
    tick after that of its stamp, that is `timeout` to twice as many cycles later. With every tick all entries are
    walked over, two cycles each; a tick is no shorter than that, and waits for entries that are being offered.

    `look` at an entry: from the next cycle on `overdue` tells whether its use `generation` was overdue then. The walk
    asks with `walk` for entry `walk_slot` of `walk_context`, which hold, and is told in the next cycle whether it is
    `walked_waiting` in use `walked_generation`; if it is overdue, too, it is offered.
    """

    def __init__(self, parameters: NicParameters) -> None:
        self._parameters = parameters
        super().__init__(
            {
                "timeout": In(TIMEOUT_WIDTH),
                "awaited": In(1),
                "stamp": In(1),
                "stamp_context": In(CONTEXT_WIDTH),
                "stamp_slot": In(SLOT_WIDTH),
                "stamp_generation": In(GENERATION_WIDTH),
                "look": In(1),
                "context": In(CONTEXT_WIDTH),
                "slot": In(SLOT_WIDTH),
                "generation": In(GENERATION_WIDTH),
                "overdue": Out(1),
                "walk": Out(1),
                "walk_context": Out(CONTEXT_WIDTH),
                "walk_slot": Out(SLOT_WIDTH),
                "walked_waiting": In(1),
                "walked_generation": In(GENERATION_WIDTH),
                "expiry": Out(ExpiryPort()),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        handles = self._parameters.handles
        m.submodules.stamps = stamps = Memory(shape=STAMP, depth=handles, init=[])
        write, looked, walked = stamps.write_port(), stamps.read_port(), stamps.read_port()
        slot_bits = (self._parameters.outstanding - 1).bit_length()
        self._place = Signal(range(max(handles, 2)))
        self._tick = Signal(2)
        elapsed = Signal(TIMEOUT_WIDTH)  # cycles of this tick, as far as they matter
        ticks = Signal()
        runs = Signal()
        due = Signal()
        m.d.comb += [
            runs.eq(self.awaited & self.timeout.any()),
            due.eq(elapsed + 1 >= self.timeout),
            write.addr.eq(entry_address(self._parameters, self.stamp_context, self.stamp_slot)),
            write.data.generation.eq(self.stamp_generation),
            write.data.tick.eq(self._tick),
            write.en.eq(self.stamp),
            looked.addr.eq(entry_address(self._parameters, self.context, self.slot)),
            looked.en.eq(self.look),
            self.overdue.eq(self._is_overdue(looked.data, self.generation)),
            walked.addr.eq(self._place),
            walked.en.eq(self.walk),
            self.walk_slot.eq(self._place[:slot_bits]),
            self.walk_context.eq(self._place >> slot_bits),
            self.expiry.slot.eq(self.walk_slot),
            self.expiry.context.eq(self.walk_context),
        ]
        with m.If(ticks | ~runs):
            m.d.sync += elapsed.eq(0)
        with m.Elif(~due):
            m.d.sync += elapsed.eq(elapsed + 1)

        with m.FSM(name="walk") as walk:
            with m.State("Await-Tick"):
                m.d.comb += ticks.eq(runs & due)
                with m.If(ticks):
                    m.d.sync += [self._tick.eq(self._tick + 1), self._place.eq(0)]
                    m.next = "Read-Entry"
            with m.State("Read-Entry"):
                m.d.comb += self.walk.eq(1)
                m.next = "Judge-Entry"
            with m.State("Judge-Entry"):
                with m.If(self.walked_waiting & self._is_overdue(walked.data, self.walked_generation)):
                    m.next = "Offer-Entry"
                with m.Else():
                    self._go_on(m)
            with m.State("Offer-Entry"):
                m.d.comb += self.expiry.valid.eq(1)
                with m.If(self.expiry.ready):
                    self._go_on(m)
        resting = walk.ongoing("Await-Tick") & ~runs & ~elapsed.any()
        m.d.comb += self.quiescent.eq(resting & ~(self.stamp | self.look))
        return m

    def _is_overdue(self, stamp: data.View, generation: Value) -> Value:
        age_ticks = (self._tick - stamp.tick)[: len(self._tick)]
        return (stamp.generation == generation) & (age_ticks >= 2)

    def _go_on(self, m: Module) -> None:
        m.d.sync += self._place.eq(self._place + 1)
        m.next = "Read-Entry"
        with m.If(self._place == self._parameters.handles - 1):
            m.next = "Await-Tick"
