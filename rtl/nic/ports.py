"""Signatures between the blocks of the NIC, and how they name the fields of records that lie in word registers."""

from collections.abc import Mapping, Sequence
from typing import Any

from amaranth import Array, C, Cat, Value, ValueLike
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.descriptors import COMMAND
from rtl.records import WORD_BYTES, Record

ADDRESS_WIDTH = 48
INDEX_WIDTH = 32  # ring and queue indices count modulo 2**32
WORD_LOG2_BYTES = (WORD_BYTES - 1).bit_length()
SLOT_LOG2_BYTES = (COMMAND.length_bytes - 1).bit_length()  # of a ring; an event takes as much as a command
CONTEXT_WIDTH = 8  # as wide as VIOLATION.context and CAPABILITIES.contexts


class ContextRegisters(wiring.Signature):
    """What the kernel has configured for one context and its windows; see CONTEXT in nic.rdl.

    Changes at any time, register by register. The windows are arrays of ports, one per member of a window, because
    Amaranth's flipped interfaces cannot hold arrays of interfaces.
    """

    def __init__(self, windows: int) -> None:
        super().__init__(
            {
                "enable": Out(1),
                "interrupt": Out(1),
                "pid": Out(16),
                "jid": Out(32),
                "command_base": Out(ADDRESS_WIDTH),
                "command_log2": Out(4),
                "event_base": Out(ADDRESS_WIDTH),
                "event_log2": Out(4),
                "window_address": Out(ADDRESS_WIDTH).array(windows),
                "window_bytes": Out(ADDRESS_WIDTH).array(windows),
                "window_local_read": Out(1).array(windows),
                "window_remote_write": Out(1).array(windows),
            }
        )


class ContextIndices(wiring.Signature):
    """Positions of one context in its command ring and event queue, all modulo 2**32.

    `command_head` <= `command_fetched` <= `command_tail` <= `command_head` + ring size, and
    `event_head` <= `event_tail` <= `event_head` + queue size, as long as the kernel leaves the sizes alone.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "command_tail": Out(INDEX_WIDTH),
                "command_fetched": Out(INDEX_WIDTH),
                "command_head": Out(INDEX_WIDTH),
                "commands_refused": Out(INDEX_WIDTH),
                "event_head": Out(INDEX_WIDTH),
                "event_tail": Out(INDEX_WIDTH),
            }
        )


class ReadPort(wiring.Signature):
    """Reads of host memory, seen from the block that reads.

    A burst (1 to 256 words from an address that is a multiple of 8, within one block of 4 KiB) is requested by
    `burst_valid`, which with its payload holds until `burst_ready`. The words of all bursts come in order.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "burst_valid": Out(1),
                "burst_ready": In(1),
                "burst_address": Out(ADDRESS_WIDTH),
                "burst_words": Out(9),
                "data_valid": In(1),
                "data_ready": Out(1),
                "data_word": In(64),
                "data_error": In(1),
            }
        )


class WritePort(wiring.Signature):
    """Writes of host memory, seen from the block that writes.

    `request` stays high from before the first burst until the last `done`; the port belongs to the block while
    `granted`. Bursts as in `ReadPort`; a burst's words follow its acceptance. `done` is high for one cycle when
    memory has answered a burst, with `error` telling how; it is never refused.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "request": Out(1),
                "granted": In(1),
                "burst_valid": Out(1),
                "burst_ready": In(1),
                "burst_address": Out(ADDRESS_WIDTH),
                "burst_words": Out(9),
                "data_valid": Out(1),
                "data_ready": In(1),
                "data_word": Out(64),
                "data_strobe": Out(8),
                "data_last": Out(1),
                "done": In(1),
                "error": In(1),
            }
        )


class EventPort(wiring.Signature):
    """One event for the queue of `context`: all words but the last, which the event writer makes.

    `valid`, `context` and `words` hold until `ready`. `abandoned` may rise while the event waits: the context has been
    restarted, its queue is another one, and the event is dropped.
    """

    def __init__(self, words: int) -> None:
        super().__init__(
            {
                "valid": Out(1),
                "ready": In(1),
                "abandoned": Out(1),
                "context": Out(CONTEXT_WIDTH),
                "words": Out(64).array(words),
            }
        )


class CommandPort(wiring.Signature):
    """A fetched command, seen from the block that fetched it.

    `valid` and the payload hold until `ready`. `abandoned` may rise while the command waits: the context has been
    disabled since, and the command must not be begun. `unreadable`: memory answered with an error.
    """

    def __init__(self, words: int) -> None:
        super().__init__(
            {
                "valid": Out(1),
                "ready": In(1),
                "abandoned": Out(1),
                "unreadable": Out(1),
                "context": Out(CONTEXT_WIDTH),
                "index": Out(INDEX_WIDTH),
                "words": Out(64).array(words),
            }
        )


class PacketPort(wiring.Signature):
    """A whole packet that has arrived undamaged: its header, and its payload in half `buffer` of the packet buffer.

    `valid` and the payload hold until `ready`. The half belongs to the taker until it takes the next packet.
    """

    def __init__(self, words: int) -> None:
        super().__init__({"valid": Out(1), "ready": In(1), "buffer": Out(1), "header": Out(64).array(words)})


class FieldsOf:
    """The fields of `record`, by name, as slices of `words`."""

    def __init__(self, record: Record, words: Sequence[Value]) -> None:
        self._record = record
        self._words = words

    def __getattr__(self, name: str) -> Value:
        field = self._record.fields[name]
        return self._words[field.word][field.lsb : field.lsb + field.width]


def assemble(record: Record, values: Mapping[str, ValueLike]) -> list[Value]:
    """The words of `record` with the given field values, each as wide as its field; all other bits are zero."""
    words = []
    for index in range(record.length_words):
        parts: list[Any] = []
        position = 0
        for field in sorted((f for f in record if f.word == index and f.name in values), key=lambda f: f.lsb):
            parts += [C(0, field.lsb - position), fit(values[field.name], field.width)]
            position = field.lsb + field.width
        words.append(Cat(*parts, C(0, 64 - position)))
    return words


def fit(value: ValueLike, width: int) -> Value:
    """`value`, cut or extended with zeros to `width` bits."""
    cast = Value.cast(value)
    return cast[:width] if len(cast) >= width else Cat(cast, C(0, width - len(cast)))


def select(values: Sequence[Value], index: Value) -> Value:
    """The value of `values` at `index`; the last one if `index` is beyond."""
    return values[0] if len(values) == 1 else Array(values)[index]


def slot_address(base: Value, index: Value, log2_slots: Value) -> Value:
    """Address of the slot that `index` falls on, in a ring of 2**`log2_slots` slots from `base` (a multiple of 64)."""
    slot = (index & ((C(1) << log2_slots) - 1))[:15]
    return Cat(C(0, SLOT_LOG2_BYTES), (base[SLOT_LOG2_BYTES:] + slot)[: ADDRESS_WIDTH - SLOT_LOG2_BYTES])
