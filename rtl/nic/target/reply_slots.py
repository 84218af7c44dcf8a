"""Places for replies: which are free, and in which order replies have their turns."""

from amaranth import Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out


def settled(queue: SyncFIFOBuffered) -> Value:
    """Whether a queue shows an entry if it has one, so that it stirs no more by itself."""
    return queue.r_rdy | ~queue.level.any()


class ReplySlots(wiring.Component):
    """`slots` places in memory. What has a turn is taken from the head of a queue and comes back at its tail.

    `allocate` takes slot `free_slot` for a reply, which is due there as the last one; `free` gives `freed_slot` back.
    The user never allocates more than `slots`: `used` are taken. If `waiting`, `choose` takes the reply at the head:
    from then on it is `slot`, and `fresh` if this is its first turn. It is `out` until, in any later cycle, `put_back`
    sends it to the tail or `remove` leaves it out for good. `put_back` holds as long as `out` does, because a new
    reply goes before it; nobody else is `waiting` meanwhile. `settled`: nothing stirs unless it is told to.
    """

    def __init__(self, slots: int) -> None:
        self._slots = slots
        super().__init__(
            {
                "allocate": In(1),
                "free_slot": Out(range(slots)),
                "used": Out(range(slots + 1)),
                "waiting": Out(1),
                "next_slot": Out(range(slots)),
                "choose": In(1),
                "slot": Out(range(slots)),
                "fresh": Out(1),
                "out": Out(1),
                "put_back": In(1),
                "remove": In(1),
                "free": In(1),
                "freed_slot": In(range(slots)),
                "settled": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        entry = data.StructLayout({"slot": range(self._slots), "fresh": unsigned(1)})
        m.submodules.turns = turns = SyncFIFOBuffered(width=entry.size, depth=self._slots)
        m.submodules.freed = freed = SyncFIFOBuffered(width=len(self.freed_slot), depth=self._slots)
        head, tail = data.View(entry, turns.r_data), data.View(entry, turns.w_data)
        m.d.comb += [
            self.settled.eq(settled(turns) & settled(freed)),
            self.waiting.eq(turns.r_rdy & ~self.out),
            self.next_slot.eq(head.slot),
            turns.r_en.eq(self.choose),
            turns.w_en.eq(self.allocate | (self.out & self.put_back)),
            tail.slot.eq(Mux(self.allocate, self.free_slot, self.slot)),
            tail.fresh.eq(self.allocate),
        ]
        with m.If(self.choose):
            m.d.sync += [self.slot.eq(head.slot), self.fresh.eq(head.fresh), self.out.eq(1)]
        with m.Elif(self.remove | (self.put_back & ~self.allocate)):
            m.d.sync += self.out.eq(0)
        self._keep_free(m, freed)
        return m

    def _keep_free(self, m: Module, freed: SyncFIFOBuffered) -> None:
        """Slots that were never taken go first: memory, which no reset clears, need not list them."""
        untouched = Signal(range(self._slots + 1))  # from this one on
        touch = Signal()
        m.d.comb += [
            touch.eq(untouched != self._slots),
            self.free_slot.eq(Mux(touch, untouched, freed.r_data)),
            freed.r_en.eq(self.allocate & ~touch),
            freed.w_en.eq(self.free),
            freed.w_data.eq(self.freed_slot),
        ]
        with m.If(self.allocate & touch):
            m.d.sync += untouched.eq(untouched + 1)
        with m.If(self.allocate & ~self.free):
            m.d.sync += self.used.eq(self.used + 1)
        with m.Elif(self.free & ~self.allocate):
            m.d.sync += self.used.eq(self.used - 1)
