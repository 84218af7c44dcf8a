"""Makes packets of jobs: header, payload from memory or at hand, CRC."""

from amaranth import C, Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, fifo, wiring
from amaranth.lib.wiring import In, Out

from rtl.flits import flit_stream
from rtl.nic.expressions import FieldsOf, select
from rtl.nic.interfaces.context import ContextRegisters
from rtl.nic.interfaces.host import ReadPort
from rtl.nic.interfaces.widths import INLINE_WORDS, TAG_WIDTH
from rtl.nic.interfaces.wire import JobPort
from rtl.nic.parameters import NicParameters
from rtl.nic.wire.crc import ALL_ONES, Crc32
from rtl.nic.wire.payload import PayloadAhead
from rtl.nic.wire.stamp import Stamp
from rtl.packets import HEADER_WORDS, REQUEST, TRUSTED_WORDS
from rtl.records import WORD_BYTES

LENGTH = REQUEST.fields["payload_bytes"]
PACKETS_AHEAD = 8  # taken and not yet sent, so that small payloads are read while memory is slow to answer


class Send(wiring.Component):
    """Sends the packets of `i_job`, one after the other, for one class: requests, or with `response` responses.

    A job is taken when its header is stamped and queued and its payload has been asked for, which is done as far ahead
    as `PayloadAhead` goes; `lean` asks for the next one while no more than `read_ahead_flits` are left. The identity is
    sampled in the first cycle in which the job is shown, so that a job that waits here cannot take the name of its
    context's next owner. `sent` pulses with `done` of a packet that is good.
    """

    def __init__(self, parameters: NicParameters, *, response: bool) -> None:
        self._parameters = parameters
        self._response = response
        width = parameters.datapath_bits
        self._head_layout = data.StructLayout(
            {"data": unsigned(width), "last": unsigned(1), "payload_follows": unsigned(1)}
        )
        super().__init__(
            {
                "nid": In(16),
                "contexts": In(ContextRegisters(parameters.windows)).array(parameters.contexts),
                "i_job": In(JobPort()),
                "read": Out(ReadPort(width)),
                "o_flits": Out(flit_stream(width)),
                "sent": Out(1),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.stamp = stamp = Stamp(self._parameters, response=self._response)
        # Shows in the next cycle what was put in: nothing else stands between a command and the first flit.
        m.submodules.heads = heads = fifo.SyncFIFO(
            width=self._head_layout.size, depth=PACKETS_AHEAD * self._header_flits
        )
        m.submodules.tags = tags = fifo.SyncFIFOBuffered(width=TAG_WIDTH, depth=PACKETS_AHEAD + 1)
        m.submodules.ahead = ahead = PayloadAhead(self._parameters)
        wiring.connect(m, ahead.read, wiring.flipped(self.read))
        taking = self._take(m, stamp, heads, tags, ahead)
        self._emit(m, heads, tags, ahead)
        m.d.comb += self.i_job.lean.eq(heads.level + ahead.unsent <= self._parameters.read_ahead_flits)
        m.d.comb += self.quiescent.eq(
            ~(
                self.i_job.valid
                | taking
                | ~stamp.quiescent
                | heads.level.any()
                | ahead.unsent.any()
                | self.o_flits.valid
                | self.i_job.done
            )
        )
        return m

    # ---- from the job to the FIFOs ----

    def _take(
        self, m: Module, stamp: Stamp, heads: fifo.SyncFIFO, tags: fifo.SyncFIFOBuffered, ahead: PayloadAhead
    ) -> Value:
        job = self.i_job
        flits = self._head_flits(stamp)
        index = Signal(range(len(flits)))
        last_index = Signal.like(index)
        head = Signal(self._head_layout)
        queued = Signal()  # the whole head is
        last_queued = Signal()
        stamped = Signal()
        may_queue = Signal()
        m.d.comb += [
            stamp.nid.eq(self.nid),
            Cat(*stamp.pids).eq(Cat(*(context.pid for context in self.contexts))),
            Cat(*stamp.jids).eq(Cat(*(context.jid for context in self.contexts))),
            stamp.resume.eq(job.resume),
            stamp.context.eq(job.context),
            stamp.dst_nid.eq(FieldsOf(REQUEST, list(job.words)).dst_nid),
            last_index.eq(self._header_flits - 1 + Mux(job.inline, self._flits_of(job.payload_bytes), 0)),
            head.data.eq(select(flits, index)),
            head.last.eq(index == last_index),
            head.payload_follows.eq(~job.inline & job.payload_bytes.any()),
            heads.w_data.eq(head),
            tags.w_data.eq(job.tag),
            ahead.wanted.eq(job.valid & head.payload_follows),
            ahead.address.eq(job.address),
            ahead.bytes.eq(job.payload_bytes),
            ahead.taken.eq(job.ready),
            may_queue.eq(job.valid & ~queued & (stamped | (index < self._untrusted_flits))),
            heads.w_en.eq(may_queue & (index.any() | tags.w_rdy)),
            tags.w_en.eq(may_queue & ~index.any() & heads.w_rdy),
            last_queued.eq(heads.w_en & heads.w_rdy & head.last),
        ]
        with m.FSM(name="take"):
            with m.State("Await-Job"):
                m.d.comb += stamp.start.eq(job.valid)
                with m.If(job.valid):
                    m.next = "Queue-Packet"
            with m.State("Queue-Packet"):
                m.d.comb += [stamped.eq(1), job.ready.eq((queued | last_queued) & ahead.complete)]
                with m.If(job.ready):
                    m.next = "Await-Job"
        with m.If(job.ready):
            m.d.sync += [index.eq(0), queued.eq(0)]
        with m.Elif(heads.w_en & heads.w_rdy):
            m.d.sync += [index.eq(index + 1), queued.eq(head.last)]
        return stamped

    @property
    def _header_flits(self) -> int:
        return HEADER_WORDS * 64 // self._parameters.datapath_bits

    @property
    def _untrusted_flits(self) -> int:
        """Flits at the beginning of the header that need no stamp."""
        return min(TRUSTED_WORDS) * 64 // self._parameters.datapath_bits

    def _flits_of(self, length_bytes: Value) -> Value:
        size = self._parameters.datapath_bytes
        return (length_bytes + (size - 1)) >> (size.bit_length() - 1)

    def _head_flits(self, stamp: Stamp) -> list[Value]:
        """Of the job: the header with its trusted words, then payload that is at hand, zero beyond its length."""
        job = self.i_job
        words = [Value.cast(word) for word in job.words]
        for index, word in zip(TRUSTED_WORDS, stamp.trusted, strict=True):
            words[index] = word
        words[LENGTH.word] = Cat(words[LENGTH.word][: LENGTH.lsb], job.payload_bytes)
        at_hand = Cat(*job.data)
        for index in range(INLINE_WORDS):
            numbers = range(WORD_BYTES * index, WORD_BYTES * (index + 1))
            words.append(
                Cat(*(Mux(job.payload_bytes > number, at_hand.word_select(number, 8), 0) for number in numbers))
            )
        stride = self._parameters.datapath_bits // 64
        return [Cat(*words[first : first + stride]) for first in range(0, len(words), stride)]

    # ---- from the FIFOs to the fabric ----

    def _emit(self, m: Module, heads: fifo.SyncFIFO, tags: fifo.SyncFIFOBuffered, ahead: PayloadAhead) -> None:
        m.submodules.crc = crc = Crc32(self._parameters.datapath_bits)
        job, out = self.i_job, self.o_flits
        head = data.View(self._head_layout, heads.r_data)
        advance = Signal()
        poisoned = Signal()
        begun = Signal()  # the packet's first flit, which says how long its payload is, has gone
        left = Signal(range(self._parameters.mtu_bytes // self._parameters.datapath_bytes + 1))  # flits of payload
        m.d.comb += [advance.eq(~out.valid | out.ready), self.sent.eq(job.done & ~job.failed)]
        m.d.sync += job.done.eq(out.valid & out.ready & out.payload.last)
        with m.If(out.ready):
            m.d.sync += out.valid.eq(0)
        with m.If(crc.valid):
            m.d.sync += [out.valid.eq(1), out.payload.data.eq(crc.flit), out.payload.last.eq(0)]
        with m.FSM(name="emit"):
            with m.State("Send-Head"):
                m.d.comb += [heads.r_en.eq(advance), crc.flit.eq(head.data), crc.valid.eq(advance & heads.r_rdy)]
                with m.If(crc.valid & ~begun):
                    m.d.sync += [
                        begun.eq(1),
                        left.eq(self._flits_of(head.data[LENGTH.lsb : LENGTH.lsb + LENGTH.width])),
                    ]
                with m.If(crc.valid & head.last):
                    m.next = "Send-CRC"
                    with m.If(head.payload_follows):
                        m.next = "Send-Payload"
            with m.State("Send-Payload"):
                m.d.comb += [ahead.ready.eq(advance), crc.flit.eq(ahead.flit), crc.valid.eq(advance & ahead.valid)]
                with m.If(crc.valid):
                    m.d.sync += [left.eq(left - 1), poisoned.eq(poisoned | ahead.error)]
                    with m.If(left == 1):
                        m.next = "Send-CRC"
            with m.State("Send-CRC"), m.If(advance):
                m.d.comb += [crc.clear.eq(1), tags.r_en.eq(1)]
                m.d.sync += [
                    out.valid.eq(1),
                    out.payload.data.eq(crc.value ^ Mux(poisoned, C(ALL_ONES), 0)),
                    out.payload.last.eq(1),
                    poisoned.eq(0),
                    begun.eq(0),
                    job.done_tag.eq(tags.r_data),
                    job.failed.eq(poisoned),
                ]
                m.next = "Send-Head"
