"""Delivers admitted requests: match, payload into memory, events, answers. Wiring of its three stages."""

from amaranth import Module
from amaranth.lib import fifo, wiring
from amaranth.lib.wiring import In, Out

from rtl.nic.interfaces.context import context_ports
from rtl.nic.interfaces.host import WritePort
from rtl.nic.interfaces.reports import EventPort, RefusalPort, ReservePort
from rtl.nic.interfaces.target import AnswerPort, AtomicPort, MatchPort
from rtl.nic.interfaces.widths import TIMEOUT_WIDTH
from rtl.nic.interfaces.wire import PacketPort
from rtl.nic.parameters import NicParameters
from rtl.nic.target.complete import COMPLETIONS, Complete
from rtl.nic.target.finishes import Finishes
from rtl.nic.target.messages import Messages
from rtl.nic.target.stages import (
    completion_layout,
    connect_part,
    finish_part,
    header_part,
    match_part,
    payload_part,
    write_part,
)
from rtl.nic.target.store import Store


class Deliver(wiring.Component):
    """Takes packets in their order and ends messages in that order, whatever waits between.

    `Messages` finds or matches a packet's message, `Store` brings its payload to memory, `Complete` waits for memory's
    answer and tells. Each works on a packet of its own, and up to COMPLETIONS wait between the last two. A packet is
    taken only if there is room for its answer, so that no packet taken waits for the network. `delivered` pulses when a
    message has ended well; a get's end is that its reply was handed over. Gets are finished by who replies, through
    `i_finish`. `timed_out` pulses when a message is abandoned because nothing more came of it in `timeout`; see
    `Messages`.
    """

    def __init__(self, parameters: NicParameters) -> None:
        self._parameters = parameters
        super().__init__(
            {
                **context_ports(parameters),
                "i_packet": In(PacketPort(parameters.datapath_bits)),
                "match": Out(MatchPort()),
                "i_finish": In(finish_part()),
                "atomic": Out(AtomicPort()),
                "answer": Out(AnswerPort()),
                "write": Out(WritePort(parameters.datapath_bits)),
                "o_event": Out(EventPort()),
                "reserve": Out(ReservePort()),
                "refusal": Out(RefusalPort()),
                "delivered": Out(1),
                "timeout": In(TIMEOUT_WIDTH),
                "timed_out": Out(1),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.messages = messages = Messages(self._parameters)
        m.submodules.store = store = Store(self._parameters)
        m.submodules.complete = complete = Complete(self._parameters)
        width = completion_layout(self._parameters).size
        m.submodules.completions = completions = fifo.SyncFIFOBuffered(width=width, depth=COMPLETIONS)
        for index, ours in enumerate(self.contexts):
            wiring.connect(m, wiring.flipped(ours), store.contexts[index])
        for index, ours in enumerate(self.states):
            for stage in (messages, store, complete):
                wiring.connect(m, wiring.flipped(ours), stage.states[index])

        connect_part(m, header_part(self._parameters), self.i_packet, messages.i_header)
        connect_part(m, payload_part(self._parameters), self.i_packet, store.payload)
        connect_part(m, match_part(), messages.match, self.match)
        m.submodules.finishes = finishes = Finishes()
        wiring.connect(m, complete.finish, finishes.i_finish[0])
        wiring.connect(m, wiring.flipped(self.i_finish), finishes.i_finish[1])
        connect_part(m, finish_part(), finishes.o_finish, self.match)
        connect_part(m, write_part(self._parameters), store.write, self.write)
        wiring.connect(m, messages.o_arrival, store.i_arrival)
        for ours, theirs in (
            (self.atomic, complete.atomic),
            (self.answer, complete.answer),
            (self.o_event, complete.o_event),
            (self.reserve, complete.reserve),
            (self.refusal, messages.refusal),
        ):
            wiring.connect(m, wiring.flipped(ours), theirs)
        m.d.comb += [
            completions.w_en.eq(store.o_completion.valid),
            completions.w_data.eq(store.o_completion.payload),
            store.o_completion.ready.eq(completions.w_rdy),
            complete.i_completion.valid.eq(completions.r_rdy),
            complete.i_completion.payload.eq(completions.r_data),
            completions.r_en.eq(complete.i_completion.ready),
            complete.answered.eq(self.write.done),
            complete.answer_error.eq(self.write.error),
            *(theirs.eq(word) for theirs, word in zip(complete.operands, store.operands, strict=True)),
            store.atomic_done.eq(complete.atomic_done),
            messages.ack_ready.eq(self.answer.ack_ready),
            messages.reply_ready.eq(self.answer.reply_ready),
            messages.settled.eq(complete.settled),
            messages.drained.eq(store.quiescent & complete.quiescent & ~completions.level.any()),
            messages.timeout.eq(self.timeout),
            self.timed_out.eq(messages.timed_out),
            self.delivered.eq(complete.delivered),
            self.quiescent.eq(messages.quiescent & messages.drained & finishes.quiescent),
        ]
        return m
