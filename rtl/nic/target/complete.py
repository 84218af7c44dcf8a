"""Ends messages: waits for memory, executes atomics, tells the application and the initiator."""

from collections.abc import Iterable
from typing import Any

from amaranth import Module, Mux, Signal, Value
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.nic.expressions import FieldsOf
from rtl.nic.interfaces.context import ContextState
from rtl.nic.interfaces.reports import EventPort, ReservePort
from rtl.nic.interfaces.target import AnswerPort, AtomicPort
from rtl.nic.interfaces.widths import INLINE_WORDS
from rtl.nic.parameters import NicParameters
from rtl.nic.target.report import event_words, response_words, unlink_words
from rtl.nic.target.stages import completion_layout, finish_part, header_fields, is_live, is_one_of, slots
from rtl.portals import AtomicOperation, Fail, Operation

COMPLETIONS = 8  # as many are on their way at most


class Complete(wiring.Component):
    """Completions in their order; a message's end takes two cycles and one for each thing to tell.

    The event of a message is offered in the cycle in which memory's answer is known. Of an abandoned message only its
    counter and AUTO_UNLINK tell.

    `answered` pulses when memory has answered the write of a completion that is on its way, in their order, with
    `answer_error`. A write that failed in the middle of a message is remembered to its end. `settled` pulses when a
    completion that `owes` an answer has given it, or will never; `atomic_done` when `operands` are needed no more;
    `delivered` when a message has ended well.
    """

    def __init__(self, parameters: NicParameters) -> None:
        self._parameters = parameters
        super().__init__(
            {
                "states": In(ContextState()).array(parameters.contexts),
                "i_completion": In(stream.Signature(completion_layout(parameters))),
                "operands": In(64).array(INLINE_WORDS),
                "answered": In(1),
                "answer_error": In(1),
                "atomic": Out(AtomicPort()),
                "answer": Out(AnswerPort()),
                "o_event": Out(EventPort()),
                "reserve": Out(ReservePort()),
                "finish": Out(finish_part()),
                "settled": Out(1),
                "atomic_done": Out(1),
                "delivered": Out(1),
                "quiescent": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        completion = self.i_completion.payload
        arrival = completion.arrival
        matched = arrival.matched
        header = header_fields(arrival)
        m.submodules.failures = failures = memory.Memory(shape=1, depth=slots(self._parameters), init=[])
        failed_before, keep = failures.read_port(), failures.write_port()
        use = Signal()
        known, error = self._collect_answers(m, use)
        live = Signal()
        is_get = Signal()
        ends = Signal()
        failed = Signal()  # memory has refused some of the message
        pop = Signal()
        fail = Signal(8)
        judged = Signal.like(fail)  # what `fail` was when memory's answer was known
        reports = Signal()
        m.d.comb += [
            live.eq(is_live(self.states, arrival.context, arrival.epoch) & ~arrival.refused),
            is_get.eq(header.kind == Operation.GET),
            ends.eq(header.last | arrival.cut_short),
            failed.eq(
                (completion.fail != Fail.OK) | (completion.written & error) | (~header.first & failed_before.data)
            ),
            reports.eq(matched.event & ((fail != Fail.OK) | ~matched.success_disable)),
            failed_before.addr.eq(arrival.slot),
            failed_before.en.eq(0),
            keep.addr.eq(arrival.slot),
            keep.data.eq(failed),
            fail.eq(judged),
            self.i_completion.ready.eq(pop),
            self.settled.eq(pop & arrival.owes),
            self.atomic_done.eq(pop & completion.atomic),
        ]
        self._compose(m, completion, fail, reports)

        with m.FSM(name="complete"):
            with m.State("Await-Completion"):
                m.d.comb += [failed_before.en.eq(self.i_completion.valid), self.quiescent.eq(~self.i_completion.valid)]
                with m.If(self.i_completion.valid):
                    m.next = "Await-Answer"
            with m.State("Await-Answer"), m.If(known | ~completion.written):
                m.d.comb += [use.eq(completion.written), fail.eq(_fail(completion, failed))]
                m.d.sync += judged.eq(fail)
                with m.If(~live):
                    m.d.comb += pop.eq(1)
                    m.next = "Await-Completion"
                with m.Elif(arrival.abandoned):
                    self._release(m, matched.event)
                    m.next = "Report-Unlink"
                with m.Elif(~ends):
                    m.d.comb += [keep.en.eq(1), pop.eq(1)]
                    m.next = "Await-Completion"
                with m.Elif(completion.atomic):
                    m.next = "Await-Atomic"
                with m.Elif(is_get):
                    m.next = "Finish-Message"
                with m.Else():
                    self._report(m, matched, reports)
            with m.State("Await-Atomic"):
                m.d.comb += self.atomic.valid.eq(1)
                with m.If(self.atomic.done):
                    m.next = "Report-Message"
                    with m.If(self.atomic.failed):
                        m.d.sync += judged.eq(Fail.SEGMENT)
            with m.State("Report-Message"):
                self._report(m, matched, reports)
            with m.State("Report-Unlink"):
                counts = arrival.abandoned & matched.counted  # the others' have been
                m.d.comb += [
                    self.o_event.valid.eq(matched.unlinked | counts),
                    self.o_event.event.eq(matched.unlinked),
                    self.o_event.counter_valid.eq(counts),
                    *_drive(self.o_event.words, unlink_words(arrival)),
                ]
                with m.If(self.o_event.ready | ~self.o_event.valid):
                    m.next = "Finish-Message"
            with m.State("Finish-Message"):
                m.d.comb += self.finish.finish.eq(matched.found & (arrival.abandoned | ~is_get))
                with m.If(self.finish.finish_ready | ~self.finish.finish):
                    m.next = "Answer"
            with m.State("Answer"):
                m.d.comb += [
                    self.answer.valid.eq(arrival.owes & live),
                    self.delivered.eq(fail == Fail.OK),
                    pop.eq(1),
                ]
                m.next = "Await-Completion"
        return m

    def _report(self, m: Module, matched: data.View, reports: Value) -> None:
        """In this state, and if need be in the next."""
        event = self.o_event
        m.d.comb += [
            event.valid.eq(reports | matched.counted),
            event.event.eq(reports),
            event.counter_valid.eq(matched.counted),
        ]
        m.next = "Report-Message"
        with m.If(event.ready | ~event.valid):
            self._release(m, matched.event & ~reports)
            with m.If(matched.unlinked):
                m.next = "Report-Unlink"
            with m.Else():
                m.next = "Finish-Message"

    def _release(self, m: Module, places: Value) -> None:
        m.d.comb += [self.reserve.release_valid.eq(places.any()), self.reserve.release_count.eq(places)]

    def _collect_answers(self, m: Module, use: Value) -> tuple[Value, Value]:
        """Whether memory has answered the oldest write, and with an error; `use` takes the answer off."""
        errors = Signal(COMPLETIONS)  # of answers not yet used, oldest first
        count = Signal(range(COMPLETIONS + 1))
        waiting = Signal()
        kept = Signal()
        position = Signal(range(COMPLETIONS))
        m.d.comb += [
            waiting.eq(count.any()),
            kept.eq(self.answered & (waiting | ~use)),
            position.eq(count - use),
        ]
        with m.If(kept | (use & waiting)):
            left = Mux(use, errors >> 1, errors)
            m.d.sync += [
                count.eq(count + kept - (use & waiting)),
                errors.eq(left | ((kept & self.answer_error) << position)),
            ]
        return waiting | self.answered, Mux(waiting, errors[0], self.answer_error)

    def _compose(self, m: Module, completion: data.View, fail: Value, reports: Value) -> None:
        """What is told of the completion; which of it, the state decides."""
        arrival = completion.arrival
        matched = arrival.matched
        header = header_fields(arrival)
        manipulated_bytes = Signal.like(matched.bytes)
        good = fail == Fail.OK
        success = Mux(good, Mux(matched.count_bytes, manipulated_bytes, 1), 0)
        event, answer = self.o_event, self.answer
        m.d.comb += [
            manipulated_bytes.eq(Mux(good, matched.bytes, 0)),
            *(port.context.eq(arrival.context) for port in (event, answer)),
            *(port.epoch.eq(arrival.epoch) for port in (event, answer)),
            *(port.counter.eq(matched.counter) for port in (event, answer)),
            *(port.success.eq(success) for port in (event, answer)),
            *(port.failure.eq(~good) for port in (event, answer)),
            *_drive(event.words, event_words(arrival, fail, manipulated_bytes)),
            *_drive(answer.words, response_words(arrival, fail, manipulated_bytes)),
            answer.window.eq(matched.window),
            answer.offset.eq(matched.start),
            answer.entry.eq(matched.entry),
            answer.overflow.eq(matched.overflow),
            answer.header.eq(matched.header),
            answer.inline.eq(header.kind != Operation.GET),
            *_drive(answer.data, self.atomic.old),
            *_drive(answer.event_words, event_words(arrival, fail, manipulated_bytes)),
            *_drive(answer.unlink_words, unlink_words(arrival)),
            self.reserve.release_context.eq(arrival.context),
            self.reserve.release_epoch.eq(arrival.epoch),
            self.finish.finish_context.eq(arrival.context),
            self.finish.finish_epoch.eq(arrival.epoch),
            *(
                getattr(self.finish, f"finish_{name}").eq(matched[name])
                for name in ("entry", "overflow", "unexpected", "header")
            ),
            self.finish.finish_failed.eq(~good),
        ]
        # The events of a get are written and it is finished when its reply has left.
        with m.If(header.kind == Operation.GET):
            m.d.comb += [
                answer.event.eq(matched.event),
                answer.event_success_disable.eq(matched.success_disable),
                answer.unlink_event.eq(matched.unlinked),
                answer.counter_valid.eq(matched.counted),
                answer.matched.eq(matched.found),
                answer.unexpected.eq(matched.unexpected),
            ]
        self._compose_atomic(m, completion, header)

    def _compose_atomic(self, m: Module, completion: data.View, header: FieldsOf) -> None:
        conditional = is_one_of(header.atomic_operation, (AtomicOperation.CSWAP, AtomicOperation.MSWAP))
        words = list(self.operands)
        m.d.comb += [
            self.atomic.address.eq(completion.address),
            self.atomic.bytes.eq(completion.arrival.matched.bytes),
            self.atomic.operation.eq(header.atomic_operation),
            self.atomic.type.eq(header.atomic_type),
            self.atomic.operand.eq(words[0]),
            *_drive(self.atomic.data, words),
        ]
        with m.If(conditional):  # the operand, then the only datum
            m.d.comb += self.atomic.data[0].eq(words[1])


def _drive(driven: Iterable[Value], drivers: Iterable[Value]) -> list[Any]:
    return [target.eq(source) for target, source in zip(driven, drivers, strict=True)]


def _fail(completion: data.View, failed: Value) -> Value:
    """How the message ended, but for what an atomic will find."""
    arrival = completion.arrival
    of_memory = Mux(completion.fail != Fail.OK, completion.fail, Mux(failed, Fail.SEGMENT, Fail.OK))
    of_match = Mux(arrival.matched.fail != Fail.OK, arrival.matched.fail, of_memory)
    return Mux(arrival.abandoned | arrival.cut_short, Fail.UNDELIVERABLE, of_match)
