"""Writes events into the queues of the contexts, in host memory."""

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.descriptors import EVENT, Refusal
from rtl.nic.ports import (
    CONTEXT_WIDTH,
    INDEX_WIDTH,
    ContextIndices,
    ContextRegisters,
    EventPort,
    WritePort,
    fit,
    select,
    slot_address,
)
from rtl.nic.refusals import RefusalPort

EVENT_REQUEST_WORDS = EVENT.length_words - 1  # the last word is made here


class Events(wiring.Component):
    """One event at a time.

    A put reserves its place before its payload is written: `reserve_valid` with `reserve_context` holds until
    `reserve_ready`, when `reserve_room` tells whether there is one. It is given back by the put's event or by
    `release`. An event of this node (`i_local`) that finds no room is dropped and counted.

    `written` (with `written_context`) pulses when memory has answered; `interrupts` sets bits of INT_STATUS then.
    Between the last word and the answer the event is `visible`: who polls memory may consume it before it is written.
    `withdrawn` pulses if memory refuses it. If the context was restarted meanwhile, its queue is another one and the
    event does not count.
    """

    def __init__(self, *, contexts: int, windows: int) -> None:
        super().__init__(
            {
                "contexts": In(ContextRegisters(windows)).array(contexts),
                "indices": In(ContextIndices()).array(contexts),
                "restarted": In(contexts),
                "reserve_valid": In(1),
                "reserve_ready": Out(1),
                "reserve_context": In(CONTEXT_WIDTH),
                "reserve_room": Out(1),
                "release": In(1),
                "i_put": In(EventPort(EVENT_REQUEST_WORDS)),
                "i_local": In(EventPort(EVENT_REQUEST_WORDS)),
                "write": Out(WritePort()),
                "written": Out(1),
                "visible": Out(1),
                "withdrawn": Out(1),
                "written_put": Out(1),
                "written_context": Out(CONTEXT_WIDTH),
                "interrupts": Out(contexts),
                "refusal": Out(RefusalPort()),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        context = self.written_context
        reserved = Signal()
        reserved_context = Signal(CONTEXT_WIDTH)
        room, position = self._look_up(m, reserved & (reserved_context == self._candidate()))
        stale = Signal()
        restarted = select(list(self.restarted), context)

        with m.If(self.release):
            m.d.sync += reserved.eq(0)
        m.d.comb += [self.write.burst_words.eq(EVENT.length_words), self.write.data_strobe.eq(0xFF)]
        with m.FSM(name="event"):
            with m.State("Await-Event"):
                requests = Cat(self.reserve_valid, self.i_put.valid, self.i_local.valid)
                m.d.comb += self.quiescent.eq(~(requests.any() | reserved))
                with m.If(requests.any()):
                    m.d.sync += [stale.eq(0), context.eq(self._candidate())]
                with m.If(self.reserve_valid):
                    m.d.comb += [self.reserve_ready.eq(1), self.reserve_room.eq(room)]
                    m.d.sync += [reserved.eq(room), reserved_context.eq(self.reserve_context)]
                with m.Elif(self.i_put.valid & self.i_put.abandoned):
                    m.d.comb += self.i_put.ready.eq(1)
                    m.d.sync += reserved.eq(0)
                with m.Elif(~self.i_put.valid & self.i_local.valid & (self.i_local.abandoned | ~room)):
                    m.d.comb += [
                        self.i_local.ready.eq(1),
                        self.refusal.valid.eq(~self.i_local.abandoned),
                        self.refusal.reason.eq(Refusal.EVENT_QUEUE_FULL),
                    ]
                with m.Elif(requests.any()):
                    m.d.sync += [self.written_put.eq(self.i_put.valid), self.write.burst_address.eq(position)]
                    m.next = "Request-Write"
            with m.State("Request-Write"):
                m.d.comb += [self.write.request.eq(1), self.write.burst_valid.eq(1)]
                with m.If(self.write.burst_ready):
                    m.next = "Write-Event"
            with m.State("Write-Event"):
                m.d.comb += self.write.request.eq(1)
                self._write_words(m)
            with m.State("Await-Answer"):
                failed = self.write.done & self.write.error
                m.d.comb += [
                    self.write.request.eq(1),
                    self.visible.eq(~(stale | restarted | failed)),
                    self.withdrawn.eq(failed & ~(stale | restarted)),
                ]
                with m.If(self.write.done):
                    with m.If(self.written_put):
                        m.d.sync += reserved.eq(0)
                    with m.If(self.write.error):
                        m.d.comb += [self.refusal.valid.eq(1), self.refusal.reason.eq(Refusal.MEMORY_ERROR)]
                    with m.Elif(~(stale | restarted)):
                        m.d.comb += self.written.eq(1)
                    m.next = "Await-Event"
        # Not in the cycle in which the event is chosen: `context` is that of the one before.
        with m.If(restarted & self.write.request):
            m.d.sync += stale.eq(1)
        for number, registers in enumerate(self.contexts):
            m.d.comb += self.interrupts[number].eq(self.written & (context == number) & registers.interrupt)
        return m

    def _candidate(self) -> Value:
        """The context of the request that comes first."""
        of_event = Mux(self.i_put.valid, self.i_put.context, self.i_local.context)
        return Mux(self.reserve_valid, self.reserve_context, of_event)

    def _look_up(self, m: Module, one_reserved: Value) -> tuple[Value, Value]:
        """Whether the candidate's queue has room beside the reserved place, and where its next event goes."""
        tail = Signal(INDEX_WIDTH)
        used = Signal(INDEX_WIDTH)
        log2_slots = select([registers.event_log2 for registers in self.contexts], self._candidate())
        base = select([registers.event_base for registers in self.contexts], self._candidate())
        head = select([indices.event_head for indices in self.indices], self._candidate())
        m.d.comb += [
            tail.eq(select([indices.event_tail for indices in self.indices], self._candidate())),
            used.eq(tail - head + one_reserved),
        ]
        return used < (1 << log2_slots), slot_address(base, tail, log2_slots)

    def _write_words(self, m: Module) -> None:
        beat = Signal(range(EVENT.length_words))
        tail = select([indices.event_tail for indices in self.indices], self.written_context)
        requested = [
            Mux(self.written_put, put, local) for put, local in zip(self.i_put.words, self.i_local.words, strict=True)
        ]
        m.d.comb += [
            self.write.data_valid.eq(1),
            self.write.data_word.eq(select([*requested, fit(fit(tail + 1, INDEX_WIDTH), 64)], beat)),
            self.write.data_last.eq(beat == EVENT.length_words - 1),
        ]
        with m.If(self.write.data_ready):
            m.d.sync += beat.eq(beat + 1)
            with m.If(self.write.data_last):
                m.d.comb += [self.i_put.ready.eq(self.written_put), self.i_local.ready.eq(~self.written_put)]
                m.next = "Await-Answer"
