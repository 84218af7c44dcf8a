"""What can be said against a command, and what it needs, by its words alone."""

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.nic.expressions import FieldsOf
from rtl.nic.interfaces.widths import COMMAND_WORDS
from rtl.nic.parameters import NicParameters
from rtl.portals import (
    ATOMIC_OPERATIONS,
    COMMAND,
    COUNTER_COMMAND,
    DATA_OPERATIONS,
    FETCHING_OPERATIONS,
    MAX_ATOMIC_BYTES,
    MAX_MESSAGE_BYTES,
    AckRequest,
    AtomicOperation,
    AtomicType,
    Operation,
    Refusal,
)
from rtl.records import Record

LIST_OPERATIONS = tuple(sorted({o for o in Operation if Operation.LIST_FIRST <= o < Operation.COUNTER_SET}))
COUNTER_OPERATIONS = (Operation.COUNTER_SET, Operation.COUNTER_INCREMENT)
CONDITIONAL_SWAPS = (AtomicOperation.CSWAP, AtomicOperation.MSWAP)
SWAPS = (AtomicOperation.SWAP, *CONDITIONAL_SWAPS)


def has_operand(command: FieldsOf) -> Value:
    """Whether OPERAND_BYTES with an operand stand before the datum in memory and in the packet."""
    return (command.operation == Operation.SWAP) & command.atomic_operation.matches(*CONDITIONAL_SWAPS)


class CheckCommand(wiring.Component):
    """Judges `words` in the cycle of `start`; the verdict stands from the next cycle on.

    `reason` is NONE or why the command is refused, as far as that does not depend on windows or lists. The other
    outputs have meaning only then: `sends` a message, or changes a list (`lists`) or else a counter; `answered` by a
    response, which may give an event (`answer_event`); `fetches` a reply; `fetches_apart` into a range of its own.
    """

    def __init__(self, parameters: NicParameters) -> None:
        self._parameters = parameters
        super().__init__(
            {
                "start": In(1),
                "words": In(64).array(COMMAND_WORDS),
                "unreadable": In(1),
                "reason": Out(8),
                "sends": Out(1),
                "lists": Out(1),
                "answered": Out(1),
                "answer_event": Out(1),
                "fetches": Out(1),
                "fetches_apart": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        command = FieldsOf(COMMAND, self.words)
        operation, ack = command.operation, command.ack_request
        sends, lists = operation.matches(*DATA_OPERATIONS), operation.matches(*LIST_OPERATIONS)
        fetches = operation.matches(*FETCHING_OPERATIONS)
        with m.If(self.start):
            m.d.sync += [
                self.reason.eq(self._reason(m, command)),
                self.sends.eq(sends),
                self.lists.eq(lists),
                self.answered.eq(fetches | (ack != AckRequest.NONE)),
                self.answer_event.eq(fetches | (ack == AckRequest.FULL)),
                self.fetches.eq(fetches),
                self.fetches_apart.eq(fetches & (operation != Operation.GET)),
            ]
        return m

    def _reason(self, m: Module, command: FieldsOf) -> Signal:
        operation = command.operation
        malformed, no_counter = Signal(), Signal()
        with m.If(operation.matches(*DATA_OPERATIONS)):
            counts = command.ct_send | command.ct_ack | command.ct_reply
            m.d.comb += [malformed.eq(self._malformed(command)), no_counter.eq(counts & ~self._counter(command))]
        with m.Elif(operation.matches(*COUNTER_OPERATIONS)):
            m.d.comb += [malformed.eq(self._reserved(COUNTER_COMMAND)), no_counter.eq(~self._counter(command))]
        with m.Else():
            m.d.comb += malformed.eq(~operation.matches(*LIST_OPERATIONS))
        reason = Signal(8)
        m.d.comb += reason.eq(
            Mux(
                self.unreadable,
                Refusal.MEMORY_ERROR,
                Mux(
                    malformed,
                    Refusal.COMMAND_MALFORMED,
                    Mux(no_counter, Refusal.COMMAND_ENTRY, Refusal.NONE),
                ),
            )
        )
        return reason

    def _counter(self, command: FieldsOf) -> Value:
        return command.counter < self._parameters.counters

    def _reserved(self, record: Record) -> Value:
        return Cat(*((word & record.reserved_mask(index)).any() for index, word in enumerate(self.words))).any()

    def _malformed(self, command: FieldsOf) -> Value:
        """Of a command that moves data."""
        fetches = command.operation.matches(*FETCHING_OPERATIONS)
        atomic = command.operation.matches(*ATOMIC_OPERATIONS)
        ack_request = (command.ack_request > max(AckRequest)) | (fetches & (command.ack_request != AckRequest.NONE))
        no_atomic = (command.atomic_operation | command.atomic_type).any()
        return (
            self._reserved(COMMAND)
            | ack_request
            | (command.length_bytes > MAX_MESSAGE_BYTES)
            | (command.dst_nid >= self._parameters.nodes)
            | Mux(atomic, self._malformed_atomic(command), no_atomic)
        )

    def _malformed_atomic(self, command: FieldsOf) -> Value:
        """The MTU is no shorter than the longest atomic message."""
        swaps = command.atomic_operation.matches(*SWAPS)
        simple = command.atomic_operation.matches(*(o for o in AtomicOperation if o not in SWAPS))
        length = command.length_bytes
        long_datum = command.atomic_type.matches(*(t for t in AtomicType if t.length_bytes == 8))
        datum_bytes = Mux(long_datum, 8, 4)
        return (
            (command.atomic_type > max(AtomicType))
            | ~Mux(command.operation == Operation.SWAP, swaps, simple)
            | (length == 0)
            | (length > MAX_ATOMIC_BYTES)
            | (length & (datum_bytes - 1)).any()
            | (has_operand(command) & (length != datum_bytes))
        )
