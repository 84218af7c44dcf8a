"""The end of a response: what was written is known to be written, then the initiator is told and the entry freed."""

from amaranth import C, Module, Mux, Signal, Value
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.nic.expressions import assemble
from rtl.nic.initiator.entries import SLOT_WIDTH, entry_address
from rtl.nic.interfaces.reports import EventPort, ReservePort
from rtl.nic.interfaces.widths import CONTEXT_WIDTH, EPOCH_WIDTH, GENERATION_WIDTH, LENGTH_WIDTH
from rtl.nic.parameters import NicParameters
from rtl.packets import IDENTITY_WORD
from rtl.portals import EVENT, EventKind, Fail

RECORDS = 8  # responses whose data may be on their way to memory

# What is left to do for a response packet. `written`: a write of its data was requested. `refused`: its data were not
# wanted, or the sender could not read them. `closing`: no other packet follows; `expired`: because none has come for
# too long. `place`: one is reserved in the event queue. `count`: the counter is wanted. The rest is the header's and
# the entry's.
RECORD = data.StructLayout(
    {
        "context": CONTEXT_WIDTH,
        "epoch": EPOCH_WIDTH,
        "slot": SLOT_WIDTH,
        "generation": GENERATION_WIDTH,
        "written": 1,
        "refused": 1,
        "closing": 1,
        "expired": 1,
        "reply": 1,
        "identity": 64,
        "manipulated_bytes": LENGTH_WIDTH,
        "segment_offset": LENGTH_WIDTH,
        "payload_bytes": 16,
        "remote_offset": 64,
        "fail": 8,
        "list": 2,
        "silent": 1,
        "user_data": 64,
        "place": 1,
        "event_success_disable": 1,
        "count": 1,
        "ct_bytes": 1,
        "counter": 8,
    }
)

# What is known of a reply between its packets: the first failure, and how far it has come. It is believed only in the
# use of the entry that it was written in: what is left over from a use of the same generation is 256 uses old, and
# every use that is answered overwrites it.
PROGRESS = data.StructLayout({"generation": GENERATION_WIDTH, "received_bytes": LENGTH_WIDTH, "fail": 8})


class Complete(wiring.Component):
    """Takes records in the order of the writes, up to RECORDS before their `write_done`; ends one in 2 or 3 cycles.

    A reply of which a packet is missing fails with UNDELIVERABLE, so that nothing is lost silently. `free` and the
    members beside it are those of EntryPort; `completed` pulses with it, or `timed_out` if the entry has expired.
    """

    def __init__(self, parameters: NicParameters) -> None:
        self._parameters = parameters
        super().__init__(
            {
                "i_record": In(stream.Signature(RECORD)),
                "write_done": In(1),
                "write_error": In(1),
                "o_event": Out(EventPort()),
                "reserve": Out(ReservePort()),
                "free": Out(1),
                "free_context": Out(CONTEXT_WIDTH),
                "free_slot": Out(SLOT_WIDTH),
                "free_epoch": Out(EPOCH_WIDTH),
                "completed": Out(1),
                "timed_out": Out(1),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.records = records = fifo.SyncFIFO(width=RECORD.size, depth=RECORDS)
        m.submodules.answers = answers = fifo.SyncFIFO(width=1, depth=RECORDS)
        m.submodules.progress = progress = Memory(shape=PROGRESS, depth=self._parameters.handles, init=[])
        record = data.View(RECORD, records.r_data)
        before = progress.read_port()
        after = progress.write_port()
        write_failed = Signal()
        fail = Signal(8)
        address = entry_address(self._parameters, record.context, record.slot)
        known = before.data.generation == record.generation
        m.d.comb += [
            records.w_data.eq(self.i_record.payload),
            records.w_en.eq(self.i_record.valid),
            self.i_record.ready.eq(records.w_rdy),
            answers.w_data.eq(self.write_error),
            answers.w_en.eq(self.write_done),
            before.addr.eq(address),
            before.en.eq(0),
            after.addr.eq(address),
            after.data.generation.eq(record.generation),
            after.data.received_bytes.eq(record.segment_offset + record.payload_bytes),
            after.data.fail.eq(self._judge(record, before.data, known, write_failed)),
            self.quiescent.eq(~(records.r_rdy | self.i_record.valid)),
        ]
        event = record.place & ((fail != Fail.OK) | ~record.event_success_disable)
        self._compose_event(m, record, fail, event)
        with m.FSM(name="complete"):
            with m.State("Await-Memory"), m.If(records.r_rdy & (answers.r_rdy | ~record.written)):
                m.d.comb += [before.en.eq(1), answers.r_en.eq(record.written)]
                m.d.sync += write_failed.eq(record.written & answers.r_data)
                m.next = "Judge-Segment"
            with m.State("Judge-Segment"):
                m.d.comb += [after.en.eq(1), records.r_en.eq(~record.closing)]
                m.d.sync += fail.eq(after.data.fail)
                m.next = "Await-Memory"
                with m.If(record.closing):
                    m.next = "Report"
            with m.State("Report"):
                m.d.comb += self.o_event.valid.eq(~record.silent & (event | record.count))
                with m.If(self.o_event.ready | ~self.o_event.valid):
                    m.d.comb += [records.r_en.eq(1), self.free.eq(1)]
                    m.d.comb += [self.completed.eq(~record.expired), self.timed_out.eq(record.expired)]
                    m.d.comb += self.reserve.release_valid.eq(record.place & (record.silent | ~event))
                    m.next = "Await-Memory"
        return m

    def _judge(self, record: data.View, before: data.View, known: Value, write_failed: Value) -> Value:
        """The first failure up to this packet. The target's own word counts in the last packet."""
        target_fail = Mux(record.closing, record.fail, Fail.OK)
        missing = record.reply & (record.segment_offset != Mux(known, before.received_bytes, 0))
        packet_fail = Mux(
            record.refused | write_failed,
            Fail.SEGMENT,
            Mux(target_fail != Fail.OK, target_fail, Mux(missing, Fail.UNDELIVERABLE, Fail.OK)),
        )
        return Mux(known & (before.fail != Fail.OK), before.fail, packet_fail)

    def _compose_event(self, m: Module, record: data.View, fail: Value, event: Value) -> None:
        manipulated_bytes = Mux(fail == Fail.OK, record.manipulated_bytes, 0)
        words = assemble(
            EVENT,
            {
                "kind": Mux(record.reply, EventKind.REPLY, EventKind.ACK),
                "manipulated_bytes": manipulated_bytes,
                "remote_offset": record.remote_offset,
                "user_data": record.user_data,
                "fail": fail,
                "list": record.list,
            },
        )
        words[IDENTITY_WORD] = record.identity
        port = self.o_event
        m.d.comb += [
            *(theirs.eq(word) for theirs, word in zip(port.words, words, strict=True)),
            port.context.eq(record.context),
            port.epoch.eq(record.epoch),
            port.event.eq(event),
            port.counter_valid.eq(record.count),
            port.counter.eq(record.counter),
            port.success.eq(Mux(fail == Fail.OK, Mux(record.ct_bytes, manipulated_bytes, C(1)), 0)),
            port.failure.eq(fail != Fail.OK),
            self.reserve.release_context.eq(record.context),
            self.reserve.release_epoch.eq(record.epoch),
            self.reserve.release_count.eq(1),
            self.free_context.eq(record.context),
            self.free_slot.eq(record.slot),
            self.free_epoch.eq(record.epoch),
        ]
