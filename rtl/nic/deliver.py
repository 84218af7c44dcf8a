"""Delivers packets that have arrived whole: admission, payload into the window, then the event."""

from amaranth import C, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.descriptors import EVENT, EventKind, Refusal
from rtl.nic.events import EVENT_REQUEST_WORDS
from rtl.nic.header import Admit
from rtl.nic.ports import (
    CONTEXT_WIDTH,
    ContextRegisters,
    EventPort,
    FieldsOf,
    PacketPort,
    WritePort,
    assemble,
    select,
)
from rtl.nic.receive import PAYLOAD_INDEX_WIDTH
from rtl.nic.refusals import RefusalPort
from rtl.nic.store import StorePayload
from rtl.packet import HEADER, TRUSTED_WORD


class Deliver(wiring.Component):
    """One packet at a time. A refused one is over in four cycles, less than the shortest packet takes on the link.

    The place in the event queue is reserved before the first byte of payload is written, so that no process can make
    the port wait: without a place the packet is refused. The event is written after memory has answered the payload.
    """

    def __init__(self, *, contexts: int, windows: int) -> None:
        self._windows = windows
        super().__init__(
            {
                "nid": In(16),
                "contexts": In(ContextRegisters(windows)).array(contexts),
                "restarted": In(contexts),
                "i_packet": In(PacketPort(HEADER.length_words)),
                "buffer_half": Out(1),
                "buffer_index": Out(PAYLOAD_INDEX_WIDTH),
                "buffer_word": In(64),
                "reserve_valid": Out(1),
                "reserve_ready": In(1),
                "reserve_context": Out(CONTEXT_WIDTH),
                "reserve_room": In(1),
                "release": Out(1),
                "write": Out(WritePort()),
                "o_event": Out(EventPort(EVENT_REQUEST_WORDS)),
                "refusal": Out(RefusalPort()),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.admit = admit = Admit(contexts=len(self.contexts), windows=self._windows)
        m.submodules.store = store = StorePayload()
        for ours, theirs in zip(self.contexts, admit.contexts, strict=True):
            wiring.connect(m, wiring.flipped(ours), theirs)
        wiring.connect(m, wiring.flipped(self.write), store.write)
        words = [Signal(64, name=f"header_{index}") for index in range(HEADER.length_words)]
        header = FieldsOf(HEADER, words)
        m.d.comb += [theirs.eq(word) for theirs, word in zip(admit.header, words, strict=True)]
        m.d.comb += [
            admit.nid.eq(self.nid),
            self.buffer_index.eq(store.buffer_index),
            store.buffer_word.eq(self.buffer_word),
            store.address.eq(admit.address),
            store.length_bytes.eq(header.length_bytes),
            self.reserve_context.eq(admit.context),
        ]
        self._compose_event(m, header, words[TRUSTED_WORD])
        restarted = Signal()
        m.d.comb += [
            self.o_event.context.eq(admit.context),
            self.o_event.abandoned.eq(restarted | select(list(self.restarted), admit.context)),
        ]
        m.d.sync += restarted.eq(self.o_event.abandoned)

        with m.FSM(name="deliver"):
            with m.State("Await-Packet"):
                m.d.comb += [self.i_packet.ready.eq(1), self.quiescent.eq(~self.i_packet.valid)]
                with m.If(self.i_packet.valid):
                    m.d.sync += [word.eq(taken) for word, taken in zip(words, self.i_packet.header, strict=True)]
                    m.d.sync += self.buffer_half.eq(self.i_packet.buffer)
                    m.next = "Start-Admission"
            with m.State("Start-Admission"):
                m.d.comb += admit.start.eq(1)
                m.next = "Await-Admission"
            with m.State("Await-Admission"):
                # The context was looked at in the cycle before; restarts count from here on.
                with m.If(~admit.done):
                    m.d.sync += restarted.eq(0)
                with m.Elif(admit.reason == Refusal.NONE):
                    m.next = "Reserve-Event"
                with m.Else():
                    self._refuse(m, admit.reason)
            with m.State("Reserve-Event"):
                m.d.comb += self.reserve_valid.eq(1)
                with m.If(self.reserve_ready & ~self.reserve_room):
                    self._refuse(m, C(Refusal.EVENT_QUEUE_FULL, 8))
                with m.Elif(self.reserve_ready & header.length_bytes.any()):
                    m.d.comb += store.start.eq(1)
                    m.next = "Store-Payload"
                with m.Elif(self.reserve_ready):
                    m.next = "Report"
            with m.State("Store-Payload"), m.If(store.done):
                with m.If(store.failed):
                    m.d.comb += self.release.eq(1)
                    self._refuse(m, C(Refusal.MEMORY_ERROR, 8))
                with m.Else():
                    m.next = "Report"
            with m.State("Report"):
                m.d.comb += self.o_event.valid.eq(1)
                with m.If(self.o_event.ready):
                    m.next = "Await-Packet"
        return m

    def _refuse(self, m: Module, reason: Value) -> None:
        m.d.comb += [self.refusal.valid.eq(1), self.refusal.reason.eq(reason)]
        m.next = "Await-Packet"

    def _compose_event(self, m: Module, header: FieldsOf, trusted: Value) -> None:
        words = assemble(
            EVENT,
            {
                "kind": C(EventKind.PUT, 8),
                "window": header.window,
                "length_bytes": header.length_bytes,
                "offset": header.remote_offset,
                "match_bits": header.match_bits,
                "header_data": header.header_data,
            },
        )
        words[TRUSTED_WORD] = trusted
        m.d.comb += [theirs.eq(word) for theirs, word in zip(self.o_event.words, words[:-1], strict=True)]
