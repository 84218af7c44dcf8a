"""Follows the packets of requests until they have left, and reports messages that have left whole."""

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.nic.initiator.report import REPORT
from rtl.nic.interfaces.initiator import LeftPort
from rtl.nic.interfaces.widths import CONTEXT_WIDTH, EPOCH_WIDTH, GENERATION_WIDTH, TAG_WIDTH
from rtl.nic.parameters import NicParameters
from rtl.portals import MAX_MESSAGE_BYTES, Fail

PACKETS = 16  # handed over and not yet accounted for

# A packet handed over. What follows `last` is that of the message, and has meaning only in its last packet: whether
# it has failed already, when it gives an event, by how much it changes a counter if all is well, and whether the entry
# of `handle` waits for a response.
DEPARTURE = data.StructLayout(
    {
        "context": CONTEXT_WIDTH,
        "epoch": EPOCH_WIDTH,
        "last": 1,
        "failed": 1,
        "event_if_ok": 1,
        "event_if_failed": 1,
        "counts": 1,
        "counter": 8,
        "success": range(MAX_MESSAGE_BYTES + 1),
        "user_data": 64,
        "answered": 1,
        "handle": 16,
        "generation": GENERATION_WIDTH,
    }
)


class Departures(wiring.Component):
    """`push` enters a packet, while there is `room`, and calls it `slot`; with `over` it is no packet at all, but the
    end of a message whose last packet has been handed over already.

    `done`, `done_slot` and `failed` tell that a packet has left; `spoiled` that the packet in `spoiled_slot` will not
    go out as it was entered, with `dropped` not at all. Messages are reported in the order in which they were entered,
    with SEGMENT if one of their packets failed; `left` tells of those that a response is to answer. `clear` has a bit
    for each context without a message that waits to be reported, apart from one whose last packet has not been
    entered. `broken` pulses when a packet of such a message of `broken_context` has failed: the message is to end
    without another packet.
    """

    def __init__(self, parameters: NicParameters) -> None:
        self._contexts = parameters.contexts
        super().__init__(
            {
                "room": Out(1),
                "slot": Out(TAG_WIDTH),
                "push": In(1),
                "departure": In(DEPARTURE),
                "over": In(1),
                "done": In(1),
                "done_slot": In(TAG_WIDTH),
                "failed": In(1),
                "spoiled": In(1),
                "spoiled_slot": In(TAG_WIDTH),
                "dropped": In(1),
                "o_report": Out(stream.Signature(REPORT)),
                "left": Out(LeftPort()),
                "clear": Out(parameters.contexts),
                "broken": Out(1),
                "broken_context": Out(CONTEXT_WIDTH),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.packets = packets = memory.Memory(shape=DEPARTURE, depth=PACKETS, init=[])
        write, read = packets.write_port(), packets.read_port()
        newest, oldest = Signal(range(PACKETS)), Signal(range(PACKETS))
        level = Signal(range(PACKETS + 1))
        over, failed = Signal(PACKETS), Signal(PACKETS)
        pop = Signal()
        awaiting = Signal()
        m.d.comb += [
            self.room.eq(level != PACKETS),
            self.slot.eq(newest),
            write.addr.eq(newest),
            write.data.eq(self.departure),
            write.en.eq(self.push),
            read.addr.eq(oldest),
            self.broken_context.eq(read.data.context),
        ]
        m.d.sync += level.eq(level + self.push - pop)
        with m.If(self.push):
            m.d.sync += [
                newest.eq(newest + 1),
                over.bit_select(newest, 1).eq(self.over),
                failed.bit_select(newest, 1).eq(0),
            ]
        with m.If(self.done):
            m.d.sync += over.bit_select(self.done_slot[: len(newest)], 1).eq(1)
            with m.If(self.failed):
                m.d.sync += failed.bit_select(self.done_slot[: len(newest)], 1).eq(1)
        with m.If(self.spoiled):
            m.d.sync += failed.bit_select(self.spoiled_slot[: len(newest)], 1).eq(1)
            with m.If(self.dropped):
                m.d.sync += over.bit_select(self.spoiled_slot[: len(newest)], 1).eq(1)

        spoilt = Signal(self._contexts)  # by context: an earlier packet of the message being accounted for failed
        unreported = self._count(m, read.data, pop)
        this_failed = failed.bit_select(oldest, 1)
        context = read.data.context
        with m.FSM(name="account"):
            with m.State("Await-Departure"):
                m.d.comb += [awaiting.eq(over.bit_select(oldest, 1) & level.any()), read.en.eq(awaiting)]
                with m.If(awaiting):
                    m.next = "Account"
            with m.State("Account"):
                m.d.comb += [
                    self.o_report.valid.eq(read.data.last),
                    pop.eq(~read.data.last | self.o_report.ready),
                    self.left.valid.eq(pop & read.data.last & read.data.answered),
                    self.broken.eq(~read.data.last & this_failed & ~unreported.bit_select(context, 1)),
                ]
                with m.If(pop):
                    m.d.sync += oldest.eq(oldest + 1)
                    m.d.sync += spoilt.bit_select(context, 1).eq(
                        ~read.data.last & (this_failed | spoilt.bit_select(context, 1))
                    )
                    m.next = "Await-Departure"
        self._compose(m, read.data, read.data.failed | this_failed | spoilt.bit_select(context, 1))
        m.d.comb += self.quiescent.eq(~(self.push | self.done | self.spoiled | awaiting | pop))
        return m

    def _count(self, m: Module, departed: data.View, pop: Signal) -> Value:
        """Messages of each context whose last packet is here. Returns a bit for each context that has some."""
        unreported = []
        for number in range(self._contexts):
            count = Signal(range(PACKETS + 1), name=f"unreported_{number}")
            entered = self.push & self.departure.last & (self.departure.context == number)
            reported = pop & departed.last & (departed.context == number)
            m.d.sync += count.eq(count + entered - reported)
            m.d.comb += self.clear[number].eq(~count.any())
            unreported.append(count.any())
        return Cat(*unreported)

    def _compose(self, m: Module, departed: data.View, failed: Value) -> None:
        report = self.o_report.payload
        m.d.comb += [
            report.context.eq(departed.context),
            report.epoch.eq(departed.epoch),
            report.event.eq(Mux(failed, departed.event_if_failed, departed.event_if_ok)),
            report.fail.eq(Mux(failed, Fail.SEGMENT, Fail.OK)),
            report.user_data.eq(departed.user_data),
            report.counter_valid.eq(departed.counts),
            report.counter.eq(departed.counter),
            report.success.eq(Mux(failed, 0, departed.success)),
            report.failure.eq(failed),
            *(getattr(self.left, name).eq(departed[name]) for name in ("context", "epoch", "handle", "generation")),
        ]
