"""Which replies are under way, and how far each of them is."""

from amaranth import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.nic.arbitration import next_in_turn

MOST_IN_FLIGHT = 15  # packets of one reply: enough to keep a link busy while memory answers


class ReplySlots(wiring.Component):
    """`slots` replies, each with packets to make, packets in flight, or both. A reply's packets are in flight from the
    choice of its slot to their `done`.

    `allocate` takes slot `free_slot`. If `waiting`, `choose` takes `next_slot`, the next one in turn with a packet to
    make; it must be followed by `made` for `slot`, with `final` if no more are to be made and `broken` if the reply was
    cut short. `done` with `done_slot`: a packet has left; if it `done_failed` the reply is cut short, too. Bits of
    `fresh`: no packet was made yet; `over`: all have left; `failed`: the reply was cut short. `free` makes `over_slot`
    free again. All but the bits are pulses.
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
                "made": In(1),
                "final": In(1),
                "broken": In(1),
                "done": In(1),
                "done_slot": In(range(slots)),
                "done_failed": In(1),
                "free": In(1),
                "over_slot": In(range(slots)),
                "fresh": Out(slots),
                "over": Out(slots),
                "failed": Out(slots),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        taken = Signal(self._slots)
        ended = Signal(self._slots)
        in_flight = [Signal(range(MOST_IN_FLIGHT + 1), name=f"in_flight_{slot}") for slot in range(self._slots)]
        waiting = Cat(count != MOST_IN_FLIGHT for count in in_flight) & taken & ~ended
        turn = next_in_turn(m, waiting, self.slot)
        m.d.comb += [
            self.waiting.eq(waiting.any()),
            self.next_slot.eq(turn),
            self.over.eq(taken & ended & Cat(~count.any() for count in in_flight)),
        ]
        for slot in reversed(range(self._slots)):
            with m.If(~taken[slot]):
                m.d.comb += self.free_slot.eq(slot)
        with m.If(self.allocate & ~self.free):
            m.d.sync += self.used.eq(self.used + 1)
        with m.Elif(self.free & ~self.allocate):
            m.d.sync += self.used.eq(self.used - 1)
        with m.If(self.choose):
            m.d.sync += self.slot.eq(turn)
        for slot, count in enumerate(in_flight):
            starts = self.choose & (turn == slot)
            leaves = self.done & (self.done_slot == slot)
            with m.If(starts & ~leaves):
                m.d.sync += count.eq(count + 1)
            with m.Elif(leaves & ~starts):
                m.d.sync += count.eq(count - 1)
            with m.If(self.free & (self.over_slot == slot)):
                m.d.sync += taken[slot].eq(0)
            with m.If(self.allocate & (self.free_slot == slot)):
                m.d.sync += [taken[slot].eq(1), self.fresh[slot].eq(1), ended[slot].eq(0), self.failed[slot].eq(0)]
            with m.If(self.made & (self.slot == slot)):
                m.d.sync += self.fresh[slot].eq(0)
                with m.If(self.final):
                    m.d.sync += ended[slot].eq(1)
                with m.If(self.broken):
                    m.d.sync += self.failed[slot].eq(1)
            with m.If(leaves & self.done_failed):
                m.d.sync += [ended[slot].eq(1), self.failed[slot].eq(1)]
        return m
