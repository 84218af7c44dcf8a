"""How long requests have waited for their responses."""

from amaranth import Module, Value
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.nic.deadlines import TICK_WIDTH, Walk, is_overdue
from rtl.nic.initiator.entries import SLOT_WIDTH, ExpiryPort, entry_address
from rtl.nic.interfaces.widths import CONTEXT_WIDTH, GENERATION_WIDTH, TIMEOUT_WIDTH
from rtl.nic.parameters import NicParameters

# In which tick an entry was stamped last, in the use that it was stamped in: what is left over from a use of the same
# generation is 256 uses old, and every use is stamped when its request has left.
STAMP = data.StructLayout({"generation": GENERATION_WIDTH, "tick": TICK_WIDTH})


class Deadlines(wiring.Component):
    """Time passes while an entry is `awaited` and `timeout` is not 0; see `Walk` for when an entry is overdue.

    `stamp` pulses for the use `stamp_generation` of entry `stamp_slot` of `stamp_context`: its time begins.

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
        m.submodules.walk = walk = Walk(handles)
        m.submodules.stamps = stamps = Memory(shape=STAMP, depth=handles, init=[])
        write, looked, walked = stamps.write_port(), stamps.read_port(), stamps.read_port()
        slot_bits = (self._parameters.outstanding - 1).bit_length()
        m.d.comb += [
            walk.timeout.eq(self.timeout),
            walk.awaited.eq(self.awaited),
            write.addr.eq(entry_address(self._parameters, self.stamp_context, self.stamp_slot)),
            write.data.generation.eq(self.stamp_generation),
            write.data.tick.eq(walk.tick),
            write.en.eq(self.stamp),
            looked.addr.eq(entry_address(self._parameters, self.context, self.slot)),
            looked.en.eq(self.look),
            self.overdue.eq(self._is_overdue(walk, looked.data, self.generation)),
            walked.addr.eq(walk.place),
            walked.en.eq(walk.look),
            self.walk.eq(walk.look),
            self.walk_slot.eq(walk.place[:slot_bits]),
            self.walk_context.eq(walk.place >> slot_bits),
            walk.overdue.eq(self.walked_waiting & self._is_overdue(walk, walked.data, self.walked_generation)),
            self.expiry.valid.eq(walk.offer),
            self.expiry.slot.eq(self.walk_slot),
            self.expiry.context.eq(self.walk_context),
            walk.taken.eq(self.expiry.ready),
            self.quiescent.eq(walk.quiescent & ~(self.stamp | self.look)),
        ]
        return m

    @staticmethod
    def _is_overdue(walk: Walk, stamp: data.View, generation: Value) -> Value:
        return (stamp.generation == generation) & is_overdue(walk.tick, stamp.tick)
