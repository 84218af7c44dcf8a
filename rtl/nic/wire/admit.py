"""Decides which packets get in: the other half of the trusted header.

A packet that is admitted was sent by a NIC that its words name truly, in this order and once, by a process of the same
job as the process that it is for. Everything behind this block relies on that and looks at no job again.
"""

from amaranth import Module, Signal, Value
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from rtl.nic.expressions import FieldsOf, select
from rtl.nic.interfaces.context import context_ports
from rtl.nic.interfaces.reports import RefusalPort
from rtl.nic.interfaces.widths import CONTEXT_WIDTH, NO_CONTEXT
from rtl.nic.interfaces.wire import PacketPort
from rtl.nic.parameters import NicParameters
from rtl.nic.wire.form import HeaderForm
from rtl.nic.wire.lanes import SEQUENCE_WIDTH, Lanes
from rtl.packets import IDENTITY_WORD, REQUEST
from rtl.portals import Refusal

FLITS_WIDTH = 14  # of the longest payload that a header can tell


class Passage(wiring.Component):
    """Lets payloads through or drains them, in the order of their packets, as `admitted` said with `judged`.

    `judged` is a pulse for a packet with `flits` of payload, only while `room`; one verdict may wait while the payload
    before it passes.
    """

    def __init__(self, datapath_bits: int) -> None:
        super().__init__(
            {
                "judged": In(1),
                "admitted": In(1),
                "flits": In(FLITS_WIDTH),
                "room": Out(1),
                "i_valid": In(1),
                "i_ready": Out(1),
                "i_data": In(datapath_bits),
                "o_valid": Out(1),
                "o_ready": In(1),
                "o_data": Out(datapath_bits),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        left = Signal(FLITS_WIDTH)
        passing = Signal()
        next_left = Signal(FLITS_WIDTH)
        next_passing = Signal()
        idle = Signal()
        transfer = Signal()
        ending = Signal()
        m.d.comb += [
            idle.eq(left == 0),
            self.room.eq(next_left == 0),
            self.o_data.eq(self.i_data),
            self.o_valid.eq(self.i_valid & ~idle & passing),
            self.i_ready.eq(~idle & (self.o_ready | ~passing)),
            transfer.eq(self.i_valid & self.i_ready),
            ending.eq(idle | (transfer & (left == 1))),
            self.quiescent.eq(idle & self.room & ~self.judged),
        ]
        with m.If(ending & ~self.room):
            m.d.sync += [left.eq(next_left), passing.eq(next_passing), next_left.eq(0)]
        with m.Elif(ending & self.judged):
            m.d.sync += [left.eq(self.flits), passing.eq(self.admitted)]
        with m.Elif(transfer):
            m.d.sync += left.eq(left - 1)
        with m.If(self.judged & ~ending):
            m.d.sync += [next_left.eq(self.flits), next_passing.eq(self.admitted)]
        return m


class SequenceCheck(wiring.Component):
    """The next sequence number of each lane of each node. `node` and `lane` must exist for the answer to mean anything.

    They are sampled with `look_up`; from the next cycle to the next `look_up`, `fresh` tells whether `sequence` is the
    expected one or one after it. `accept`, a pulse after that, makes the one after `sequence` the expected one.
    """

    def __init__(self, parameters: NicParameters, *, response: bool) -> None:
        self._lanes = Lanes(parameters, response=response)
        super().__init__(
            {
                "look_up": In(1),
                "node": In(16),
                "lane": In(8),
                "sequence": In(SEQUENCE_WIDTH),
                "fresh": Out(1),
                "accept": In(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.expected = expected = memory.Memory(shape=SEQUENCE_WIDTH, depth=self._lanes.rows, init=[])
        read = expected.read_port()
        write = expected.write_port()
        ahead = Signal(SEQUENCE_WIDTH)
        m.d.comb += [
            read.addr.eq(self._lanes.row(self.node, self.lane)),
            read.en.eq(self.look_up),
            ahead.eq(self.sequence - read.data),
            self.fresh.eq(~ahead[-1]),
            write.addr.eq(read.addr),
            write.data.eq(self.sequence + 1),
            write.en.eq(self.accept),
        ]
        return m


class Admit(wiring.Component):
    """Passes on the packets of one class that may get in, and refuses the others.

    Two cycles for each packet; while one waits to be taken, the next one is examined. `o_packet.valid` shows a header
    when it has been judged. In the cycle before its first one the context was active, the process that the packet is
    for, and of the packet's job; the `epoch` of that cycle is the life that the packet belongs to, however long it
    waits.
    """

    def __init__(self, parameters: NicParameters, *, response: bool) -> None:
        self._parameters = parameters
        self._response = response
        super().__init__(
            {
                "nid": In(16),
                **context_ports(parameters),
                "i_packet": In(PacketPort(parameters.datapath_bits)),
                "o_packet": Out(PacketPort(parameters.datapath_bits)),
                "refusal": Out(RefusalPort()),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.form = form = HeaderForm(self._parameters, response=self._response)
        m.submodules.sequence = sequence = SequenceCheck(self._parameters, response=self._response)
        m.submodules.passage = passage = Passage(self._parameters.datapath_bits)
        arriving = self.i_packet
        header = FieldsOf(REQUEST, list(arriving.words))  # what responses share with requests is all that is used
        examine = Signal()
        well_formed = Signal()
        here = Signal()
        reason = Signal(8)
        m.d.comb += [
            *(theirs.eq(ours) for ours, theirs in zip(arriving.words, form.words, strict=True)),
            sequence.look_up.eq(examine),
            sequence.node.eq(header.src_nid),
            sequence.lane.eq(header.lane),
            sequence.sequence.eq(header.sequence),
            self.refusal.detail.eq(arriving.words[IDENTITY_WORD]),
            self.refusal.reason.eq(reason),
            self.refusal.context.eq(NO_CONTEXT),
        ]
        with m.If(examine):
            m.d.sync += [well_formed.eq(form.well_formed), here.eq(header.dst_nid == self.nid)]
        context = Signal(CONTEXT_WIDTH)
        found, own_job = self._find_context(m, header, examine, context)
        with m.If(~well_formed):
            m.d.comb += reason.eq(Refusal.PACKET_MALFORMED)
        with m.Elif(~here):
            m.d.comb += reason.eq(Refusal.PACKET_DESTINATION)
        with m.Elif(~sequence.fresh):
            m.d.comb += reason.eq(Refusal.PACKET_SEQUENCE)
        with m.Elif(~found):
            m.d.comb += reason.eq(Refusal.PACKET_DESTINATION)
        with m.Elif(~own_job):
            m.d.comb += [reason.eq(Refusal.PACKET_JOB), self.refusal.context.eq(context)]
        self._decide(m, examine, reason, context, passage)
        # Nothing is left of a packet that is refused, whatever its lane and number claim.
        m.d.comb += sequence.accept.eq(passage.judged & passage.admitted)
        return m

    def _find_context(self, m: Module, header: FieldsOf, examine: Signal, context: Signal) -> tuple[Value, Value]:
        """Whether a context is meant, and whether it belongs to the packet's job: both as of the present cycle.

        Which one is meant is looked for with `examine`, and is the first one if the kernel let several be the same
        process. Everything that makes it the right one is looked at again when the verdict falls, because the kernel
        may have given the context to somebody else in between.
        """
        found = Signal()
        with m.If(examine):
            m.d.sync += found.eq(0)
            for index in reversed(range(len(self.contexts))):
                with m.If(self.states[index].active & (self.contexts[index].pid == header.dst_pid)):
                    m.d.sync += [found.eq(1), context.eq(index)]
        active = select([state.active for state in self.states], context)
        pid = select([registers.pid for registers in self.contexts], context)
        jid = select([registers.jid for registers in self.contexts], context)
        return found & active & (pid == header.dst_pid), jid == header.jid

    def _decide(self, m: Module, examine: Signal, reason: Signal, context: Signal, passage: Passage) -> None:
        arriving, admitted = self.i_packet, self.o_packet
        size = self._parameters.datapath_bytes
        payload_bytes = FieldsOf(REQUEST, list(arriving.words)).payload_bytes
        m.d.comb += [
            passage.flits.eq((payload_bytes + (size - 1)) >> (size.bit_length() - 1)),
            passage.admitted.eq(reason == Refusal.NONE),
            passage.i_valid.eq(arriving.data_valid),
            arriving.data_ready.eq(passage.i_ready),
            passage.i_data.eq(arriving.data),
            admitted.data_valid.eq(passage.o_valid),
            passage.o_ready.eq(admitted.data_ready),
            admitted.data.eq(passage.o_data),
        ]
        with m.If(admitted.ready):
            m.d.sync += admitted.valid.eq(0)
        with m.FSM(name="admit"):
            with m.State("Await-Packet"):
                m.d.comb += examine.eq(arriving.valid)
                m.d.comb += self.quiescent.eq(~(arriving.valid | admitted.valid) & passage.quiescent)
                with m.If(arriving.valid):
                    m.next = "Judge"
            with m.State("Judge"), m.If(passage.room & (~admitted.valid | admitted.ready)):
                m.d.comb += [
                    passage.judged.eq(1),
                    arriving.ready.eq(1),
                    self.refusal.valid.eq(~passage.admitted),
                ]
                m.d.sync += [
                    *(theirs.eq(ours) for ours, theirs in zip(arriving.words, admitted.words, strict=True)),
                    admitted.poisoned.eq(arriving.poisoned),
                    admitted.context.eq(context),
                    admitted.epoch.eq(select([state.epoch for state in self.states], context)),
                    admitted.valid.eq(passage.admitted),
                ]
                m.next = "Await-Packet"
