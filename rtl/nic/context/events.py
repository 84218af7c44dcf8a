"""Event queues and counting events of the contexts, in host memory, and the interrupts that announce them."""

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from rtl.nic.context.indices import EventProgress
from rtl.nic.context.moderation import INTERVAL_WIDTH, Moderation
from rtl.nic.context.places import Places
from rtl.nic.context.writer import EventWriter, RequestedWrite
from rtl.nic.expressions import select
from rtl.nic.interfaces.context import context_ports
from rtl.nic.interfaces.host import WritePort
from rtl.nic.interfaces.reports import EventPort, RefusalPort, ReservePort
from rtl.nic.interfaces.widths import ADDRESS_WIDTH, CONTEXT_WIDTH, EPOCH_WIDTH
from rtl.nic.parameters import NicParameters
from rtl.portals import Refusal

WRITES_IN_FLIGHT = 8  # unanswered by memory
MOST_WRITES = 2  # of one transfer


class Events(wiring.Component):
    """Writes the events and counters of `ports` (in turn), keeps account of places for `reserves`, raises interrupts.

    No transfer waits for anything but memory: every event has a place, and a context that restarts or whose queue is
    full holds up no other. `passed` pulses when memory takes the last write of a transfer. `progress` tells the
    contexts' indices. `written` pulses for each event that memory has stored; `interrupts` has a pulse for each
    context, moderated as its registers say, and no oftener than once in `interval` cycles. `room`: see `Places`.

    Several writes are on their way at a time, so an event cannot be called back when memory refuses it. It keeps its
    place and its number: EVENT_TAIL passes it, as if it had been written, and its context is told of it like of any
    other. Who finds that EVENT_TAIL has passed an event whose number memory does not show knows that this one was lost
    (memory may also have stored what it refused), and the numbers of later events are not disturbed. Each event and
    each value of a counter that memory refused is a `refusal` for MEMORY_ERROR, with its address as the detail.
    """

    def __init__(self, parameters: NicParameters, *, sources: int, reservers: int) -> None:
        self._parameters = parameters
        self._sources = sources
        self._reservers = reservers
        super().__init__(
            {
                **context_ports(parameters),
                "ports": In(EventPort()).array(sources),
                "reserves": In(ReservePort()).array(reservers),
                "write": Out(WritePort(parameters.datapath_bits)),
                "passed": Out(1),
                "room": Out(parameters.contexts),
                "progress": Out(EventProgress()),
                "written": Out(1),
                "interval": In(INTERVAL_WIDTH),
                "interrupts": Out(parameters.contexts),
                "refusal": Out(RefusalPort()),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.places = places = Places(self._parameters, reservers=self._reservers)
        m.submodules.writer = writer = EventWriter(self._parameters, sources=self._sources)
        m.submodules.moderation = moderation = Moderation(self._parameters)
        m.submodules.requested = requested = SyncFIFO(width=_REQUESTED_BITS, depth=WRITES_IN_FLIGHT)
        for block in (places, writer, moderation):
            for number, (registers, state) in enumerate(zip(self.contexts, self.states, strict=True)):
                wiring.connect(m, wiring.flipped(registers), block.contexts[number])
                wiring.connect(m, wiring.flipped(state), block.states[number])
        for number, reserve in enumerate(self.reserves):
            wiring.connect(m, wiring.flipped(reserve), places.reserves[number])
        for number, port in enumerate(self.ports):
            wiring.connect(m, wiring.flipped(port), writer.ports[number])

        write, progress = self.write, self.progress
        m.d.comb += [
            self.room.eq(places.room),
            places.context.eq(writer.context),
            places.advance.eq(writer.begins & writer.event),
            writer.slot.eq(places.address),
            writer.number.eq(places.number),
            writer.may_begin.eq(self._in_flight(m, writer) <= WRITES_IN_FLIGHT - MOST_WRITES),
            write.valid.eq(writer.request),
            write.address.eq(writer.address),
            write.bytes.eq(writer.bytes),
            writer.request_ready.eq(write.ready),
            write.data_valid.eq(writer.data_valid),
            write.data.eq(writer.data),
            writer.data_ready.eq(write.data_ready),
            progress.shown.eq(writer.shown),
            progress.shown_context.eq(writer.shown_context),
            self.passed.eq(writer.requested.valid & writer.requested.last),
            requested.w_en.eq(writer.requested.valid),
            requested.w_data.eq(_packed(writer.requested)),
        ]
        self._answer(m, requested, moderation)
        m.d.comb += [
            self.interrupts.eq(moderation.interrupts),
            self.quiescent.eq(places.quiescent & writer.quiescent & moderation.quiescent & ~write.done),
        ]
        return m

    def _in_flight(self, m: Module, writer: EventWriter) -> Signal:
        """Writes that were begun and not answered."""
        in_flight = Signal(range(WRITES_IN_FLIGHT + 1))
        m.d.sync += in_flight.eq(in_flight + Mux(writer.begins, writer.writes, 0) - self.write.done)
        return in_flight

    def _answer(self, m: Module, requested: SyncFIFO, moderation: Moderation) -> None:
        """What memory answers is the oldest write that was requested."""
        oldest = RequestedWrite().create()
        context = oldest.context
        present = Signal()
        m.d.comb += [
            _packed(oldest).eq(requested.r_data),
            present.eq(self.write.done & (select([state.epoch for state in self.states], context) == oldest.epoch)),
            requested.r_en.eq(self.write.done),
            self.progress.answered.eq(present & oldest.event),
            self.progress.answered_context.eq(context),
            self.written.eq(present & oldest.event & ~self.write.error),
            moderation.interval.eq(self.interval),
            moderation.happened.eq(present),
            moderation.event.eq(oldest.event),
            moderation.context.eq(context),
            self.refusal.valid.eq(self.write.done & self.write.error),
            self.refusal.reason.eq(Refusal.MEMORY_ERROR),
            self.refusal.context.eq(context),
            self.refusal.detail.eq(oldest.address),
        ]


_REQUESTED_BITS = CONTEXT_WIDTH + EPOCH_WIDTH + 1 + ADDRESS_WIDTH


def _packed(write: RequestedWrite) -> Value:
    return Cat(write.context, write.epoch, write.event, write.address)
