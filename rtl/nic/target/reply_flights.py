"""Packets of replies between their making and their leaving: which replies have failed, and which are over."""

from amaranth import Module, Mux, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

MOST_IN_FLIGHT = 16  # packets of all replies: enough to keep a link busy while memory answers


class ReplyFlights(wiring.Component):
    """Packets leave in the order in which they were made, so that a queue knows whose each one is.

    If `room`, `made` enters a packet of reply `slot`, or without `packet` only what would be known of one: it `ends`
    the reply, it was `broken` off. `done` pulses when a packet has left, with `done_failed` if its payload could not
    be read. All this is known of a reply when all its packets before have left: `over` pulses then for `over_slot`,
    with `over_failed` if any of it went wrong. `look` asks for `look_slot`, and from the next cycle on `has_failed`
    says whether a packet of it that has left has failed; before a reply's first packet is made, `forget` pulses for
    `forget_slot`, of whose last reply nothing is known any more then.
    """

    def __init__(self, slots: int) -> None:
        self._entry = data.StructLayout(
            {"slot": range(slots), "packet": unsigned(1), "ends": unsigned(1), "broken": unsigned(1)}
        )
        self._slots = slots
        super().__init__(
            {
                "room": Out(1),
                "made": In(1),
                "slot": In(range(slots)),
                "packet": In(1),
                "ends": In(1),
                "broken": In(1),
                "done": In(1),
                "done_failed": In(1),
                "over": Out(1),
                "over_slot": Out(range(slots)),
                "over_failed": Out(1),
                "look": In(1),
                "look_slot": In(range(slots)),
                "has_failed": Out(1),
                "forget": In(1),
                "forget_slot": In(range(slots)),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.flights = flights = SyncFIFO(width=self._entry.size, depth=MOST_IN_FLIGHT)
        m.submodules.departures = departures = SyncFIFO(width=1, depth=MOST_IN_FLIGHT)  # whether they failed
        m.submodules.failures = failures = Memory(shape=unsigned(1), depth=self._slots, init=[])
        looked, known, learn = failures.read_port(), failures.read_port(), failures.write_port()
        entered, oldest = data.View(self._entry, flights.w_data), data.View(self._entry, flights.r_data)
        due, failing, leaves = Signal(), Signal(), Signal()
        m.d.comb += [
            self.room.eq(flights.w_rdy),
            flights.w_en.eq(self.made),
            *(entered[name].eq(getattr(self, name)) for name in ("slot", "packet", "ends", "broken")),
            departures.w_en.eq(self.done),
            departures.w_data.eq(self.done_failed),
            looked.addr.eq(self.look_slot),
            looked.en.eq(self.look),
            self.has_failed.eq(looked.data),
            due.eq(flights.r_rdy & (departures.r_rdy | ~oldest.packet)),
            failing.eq(oldest.broken | (oldest.packet & departures.r_data)),
            known.addr.eq(oldest.slot),
            known.en.eq(0),  # its reset value is 1
            flights.r_en.eq(leaves),
            departures.r_en.eq(leaves & oldest.packet),
            self.over.eq(leaves & oldest.ends),
            self.over_slot.eq(oldest.slot),
            self.over_failed.eq(failing | known.data),
            learn.en.eq(self.forget | (leaves & failing)),
            learn.addr.eq(Mux(self.forget, self.forget_slot, oldest.slot)),
            learn.data.eq(~self.forget),
        ]
        with m.FSM(name="flights"):
            with m.State("Await-Departure"):
                m.d.comb += [known.en.eq(due), self.quiescent.eq(~due)]
                with m.If(due):
                    m.next = "Account"
            with m.State("Account"):
                m.d.comb += leaves.eq(~self.forget)
                with m.If(leaves):
                    m.next = "Await-Departure"
        return m
