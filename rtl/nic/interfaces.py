"""Signatures between the blocks of the NIC.

Handshakes: `valid` and what goes with it hold until `ready`; `valid` never waits for `ready`. A pulse is high for one
cycle. `context` numbers a context, `epoch` says which life of it is meant: it counts the context's restarts modulo
2**16, and what was begun for another epoch is dropped by whoever notices.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from amaranth import Array, C, Cat, Value, ValueLike, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from rtl.nic.parameters import NicParameters
from rtl.packets import HEADER_WORDS
from rtl.portals import COMMAND, EVENT, MAX_ATOMIC_BYTES
from rtl.records import WORD_BYTES, Record

ADDRESS_WIDTH = 48
START_WIDTH = ADDRESS_WIDTH + 1  # offset of a match entry in its window, and an offset in the entry
INDEX_WIDTH = 32  # ring and queue indices count modulo 2**32
CONTEXT_WIDTH = 8
NO_CONTEXT = 255  # of a refusal that concerns none
EPOCH_WIDTH = 16
ENTRY_WIDTH = 16  # index of a match entry or unexpected header of a context
SIZE_WIDTH = 17  # bytes of a transfer of host memory: at most 65,536
LENGTH_WIDTH = 32  # bytes of a message
GENERATION_WIDTH = 8  # says which use of a handle is meant
TIMEOUT_WIDTH = 32  # cycles of the device clock
COMMAND_WORDS = COMMAND.length_words
EVENT_REQUEST_WORDS = EVENT.length_words  # the sequence number in the last word is put in by the event writer
INLINE_WORDS = MAX_ATOMIC_BYTES // WORD_BYTES
SLOT_LOG2_BYTES = 6  # of a command and of an event
TAG_WIDTH = 16


# ---- what the kernel has configured ----


class ContextRegisters(wiring.Signature):
    """What the kernel says about one context; see CONTEXT in nic.rdl. Changes at any time, register by register.

    The windows are arrays of ports, one per member of a window, because Amaranth's flipped interfaces cannot hold
    arrays of interfaces.
    """

    def __init__(self, windows: int) -> None:
        super().__init__(
            {
                "enable": Out(1),
                "interrupt": Out(1),
                "counter_interrupt": Out(1),
                "pid": Out(16),
                "jid": Out(32),
                "command_base": Out(ADDRESS_WIDTH),
                "command_log2": Out(4),
                "event_base": Out(ADDRESS_WIDTH),
                "event_log2": Out(4),
                "counter_base": Out(ADDRESS_WIDTH),
                "moderation_count": Out(16),
                "moderation_cycles": Out(32),
                "window_address": Out(ADDRESS_WIDTH).array(windows),
                "window_bytes": Out(ADDRESS_WIDTH).array(windows),
                "window_local_read": Out(1).array(windows),
                "window_local_write": Out(1).array(windows),
                "window_remote_read": Out(1).array(windows),
                "window_remote_write": Out(1).array(windows),
            }
        )


class ContextState(wiring.Signature):
    """Where one context stands. Indices are modulo 2**32.

    `active`: enabled, restarted if it was off before, and drained of its former life; nothing is done for it, no access
    to memory judged and no event taken, in a cycle in which it is not.
    `epoch` changes in the cycle in which `restarted` is high; all state kept for the context by any block belongs to
    one epoch. `command_head` <= `command_fetched` <= `command_tail` <= `command_head` + ring size, and
    `event_head` <= `event_tail` <= `event_head` + queue size, as long as the kernel leaves the sizes alone.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "active": Out(1),
                "restarted": Out(1),
                "epoch": Out(EPOCH_WIDTH),
                "command_tail": Out(INDEX_WIDTH),
                "command_fetched": Out(INDEX_WIDTH),
                "command_head": Out(INDEX_WIDTH),
                "event_head": Out(INDEX_WIDTH),
                "event_tail": Out(INDEX_WIDTH),
            }
        )


# ---- host memory ----


class ReadPort(wiring.Signature):
    """Reads of host memory, seen from the block that reads.

    A request is for `bytes` (1 to 65,536) from byte `address`, any alignment. Its flits come in order, byte 0 of the
    first being the byte at `address`; bytes beyond the last are 0. The reader takes every flit in the cycle in which
    it comes: it requests only what it has room for, so that nobody ever waits for it. `data_error`: memory answered
    an access for this flit with an error; its data are 0. Requests of one reader are answered in order.
    """

    def __init__(self, datapath_bits: int) -> None:
        super().__init__(
            {
                "valid": Out(1),
                "ready": In(1),
                "address": Out(ADDRESS_WIDTH),
                "bytes": Out(SIZE_WIDTH),
                "data_valid": In(1),
                "data": In(datapath_bits),
                "data_last": In(1),
                "data_error": In(1),
            }
        )


class WritePort(wiring.Signature):
    """Writes of host memory, seen from the block that writes.

    A request is for `bytes` (1 to 65,536) from byte `address`, any alignment; its flits, byte 0 of the first going to
    `address`, may be offered from the cycle of the request on. The writer has or will have all flits whatever happens
    elsewhere: nobody waits for another because of it. `done` pulses once for each request, in order, when memory has
    answered all of it; `error` beside it tells how. Writes of all writers reach memory in the order of acceptance.
    """

    def __init__(self, datapath_bits: int) -> None:
        super().__init__(
            {
                "valid": Out(1),
                "ready": In(1),
                "address": Out(ADDRESS_WIDTH),
                "bytes": Out(SIZE_WIDTH),
                "data_valid": Out(1),
                "data_ready": In(1),
                "data": Out(datapath_bits),
                "done": In(1),
                "error": In(1),
            }
        )


# ---- events and counters ----


class EventPort(wiring.Signature):
    """One event, one change of a counter, or both (the event first), for `context` in its life `epoch`.

    With `event`, `words` are the event but for its sequence number, and a place that was reserved for it is used up:
    every event has a reservation. With `counter_valid`, `success` and `failure` are added to counter `counter`; with
    `counter_set` too, it becomes these. `ready` means taken, not written. What belongs to another epoch is dropped, and
    so is what is taken while the context is not active.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "valid": Out(1),
                "ready": In(1),
                "context": Out(CONTEXT_WIDTH),
                "epoch": Out(EPOCH_WIDTH),
                "event": Out(1),
                "words": Out(64).array(EVENT_REQUEST_WORDS),
                "counter_valid": Out(1),
                "counter_set": Out(1),
                "counter": Out(8),
                "success": Out(64),
                "failure": Out(64),
            }
        )


class ReservePort(wiring.Signature):
    """Places in the event queue of `context`.

    In the cycle of `valid` and `ready`, `room` tells whether `count` (0 to 3) places are free, and if so they are
    reserved from then on. `release_valid` gives `release_count` of them back, with a context and epoch of their own; it
    is a pulse and always heard. A restart of the context forgets all its reservations.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "valid": Out(1),
                "ready": In(1),
                "context": Out(CONTEXT_WIDTH),
                "count": Out(2),
                "room": In(1),
                "release_valid": Out(1),
                "release_context": Out(CONTEXT_WIDTH),
                "release_epoch": Out(EPOCH_WIDTH),
                "release_count": Out(2),
            }
        )


class RefusalPort(wiring.Signature):
    """A pulse per refusal; `reason` is a `Refusal`, never NONE. `context` (or NO_CONTEXT) and `detail` (a command's
    index, a packet's identity word) say whose and which."""

    def __init__(self) -> None:
        super().__init__({"valid": Out(1), "reason": Out(8), "context": Out(CONTEXT_WIDTH), "detail": Out(64)})


# ---- initiator ----


class CommandPort(wiring.Signature):
    """The oldest fetched command of each context that has one (bit of `available`), seen from the fetcher.

    `select` (a context) is answered in the next cycle by `words`, `index` and `unreadable` (memory answered with an
    error: all words are 0) of that context's oldest command, which stay while `select` stays and until it is taken.
    `take` pulses to remove it; `retired` of the context's ring is the taker's business.
    """

    def __init__(self, contexts: int) -> None:
        super().__init__(
            {
                "available": Out(contexts),
                "select": In(CONTEXT_WIDTH),
                "words": Out(64).array(COMMAND_WORDS),
                "index": Out(INDEX_WIDTH),
                "unreadable": Out(1),
                "take": In(1),
            }
        )


class ListPort(wiring.Signature):
    """A command for portal table, match entries or search, seen from the block that issues it.

    Holds until `ready`, which comes soon and waits for no process. If `deferred` with it, the command is not over: it
    lacks places in the event queue, or a message that it concerns is still arriving. It is offered again, unchanged,
    when `resume` has its context's bit, a level that says that it would get on (or that its life is over); meanwhile
    other contexts' commands are offered, and none of its own. Otherwise it has been carried out or refused: `refusal`
    is NONE or why (`Refusal`). If the context is not active or its epoch is another one, that is so at once, with no
    effect.
    """

    def __init__(self, contexts: int) -> None:
        super().__init__(
            {
                "valid": Out(1),
                "ready": In(1),
                "context": Out(CONTEXT_WIDTH),
                "epoch": Out(EPOCH_WIDTH),
                "words": Out(64).array(COMMAND_WORDS),
                "deferred": In(1),
                "refusal": In(8),
                "resume": In(contexts),
            }
        )


class OutstandingPort(wiring.Signature):
    """Makes an entry for a request that a response will answer, seen from the issuing block.

    `free` has a bit for each context that has a free entry. In the cycle of `valid` (only if free) the entry is made,
    and `handle` and `generation` name it, combinationally. A reply goes to `bytes` from `offset` of `window`.
    `command_word` is the command's word 0.
    """

    def __init__(self, contexts: int) -> None:
        super().__init__(
            {
                "free": In(contexts),
                "valid": Out(1),
                "context": Out(CONTEXT_WIDTH),
                "epoch": Out(EPOCH_WIDTH),
                "dst_nid": Out(16),
                "dst_pid": Out(16),
                "window": Out(8),
                "offset": Out(ADDRESS_WIDTH),
                "bytes": Out(LENGTH_WIDTH),
                "command_word": Out(64),  # word 0 of the command: operation, counter, options
                "user_data": Out(64),
                "handle": In(16),
                "generation": In(GENERATION_WIDTH),
            }
        )


class LeftPort(wiring.Signature):
    """A pulse when the last packet of a request that a response will answer has left, or will never: `handle` and
    `generation` are those of its entry, made in life `epoch` of `context`."""

    def __init__(self) -> None:
        super().__init__(
            {
                "valid": Out(1),
                "context": Out(CONTEXT_WIDTH),
                "epoch": Out(EPOCH_WIDTH),
                "handle": Out(16),
                "generation": Out(GENERATION_WIDTH),
            }
        )


class JobPort(wiring.Signature):
    """One packet to send. `words` are the header without its trusted words, which are ignored.

    `context` is who speaks; the stamp samples
    the identity when the job is taken, or with `resume` uses the one that it sampled for this context's last request
    without `resume` (a message has one identity). Payload: `payload_bytes` from `address`, already checked; or with
    `inline` from `data`. In order of the jobs, `done` pulses when a packet has left for good, with its `tag`; with
    `failed`, memory answered with an error and the packet left poisoned: with an inverted CRC, which tells the receiver
    that the header is true and the payload is not.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "valid": Out(1),
                "ready": In(1),
                "resume": Out(1),
                "context": Out(CONTEXT_WIDTH),
                "words": Out(64).array(HEADER_WORDS),
                "payload_bytes": Out(16),
                "address": Out(ADDRESS_WIDTH),
                "inline": Out(1),
                "data": Out(64).array(INLINE_WORDS),
                "tag": Out(TAG_WIDTH),
                "done": In(1),
                "done_tag": In(TAG_WIDTH),
                "failed": In(1),
            }
        )


# ---- target ----


class PacketPort(wiring.Signature):
    """A packet that has arrived whole and undamaged, seen from the receiver: its header, then its payload as flits.

    Header words hold until `ready`. The payload's flits, as many as `payload_bytes` needs, come on `data` in the order
    of the packets, the first no earlier than its header; the taker takes all of them, wanted or not, without waiting
    for anything but memory. `poisoned`: the sender could not read the payload; it counts as an aborted packet without
    payload, but its flits come. `context`: whose packet it is, and `epoch`: the life in which it was admitted, which is
    the only one that it may do anything in; of an admitted packet only, before that 0.
    """

    def __init__(self, datapath_bits: int) -> None:
        super().__init__(
            {
                "valid": Out(1),
                "ready": In(1),
                "poisoned": Out(1),
                "context": Out(CONTEXT_WIDTH),
                "epoch": Out(EPOCH_WIDTH),
                "words": Out(64).array(HEADER_WORDS),
                "data_valid": Out(1),
                "data_ready": In(1),
                "data": Out(datapath_bits),
            }
        )


class MatchPort(wiring.Signature):
    """Asks for the match entry of a message that begins, seen from the deliverer.

    `valid` with the header's words (checked: context, job) holds until `done`, a pulse with which all answers are
    valid and after which they stay until the next `valid`. `epoch` is the life in which the packet was admitted: if
    it is over, the answer is DROPPED and nothing has happened. `fail` is a `Fail`; unless OK nothing was matched (and
    with flow control the entry of the portal table is disabled by now). `bytes` of the message may be touched from
    `start` of `window` on, which may lie beyond any window. `places`: how many places in the event queue are
    reserved: one for the message's event if `event` is high, one for AUTO_UNLINK if `unlinked` is high. `overflow`:
    the entry is of the overflow list; unless its unexpected_header_disable is set, unexpected header `header` was
    made, which must be finished. `entry_word` is word 1 of the entry's LIST_COMMAND, `user_data` and `counter` are
    the entry's.

    `finish` tells that the message with unexpected header `finish_header` of `finish_context` has ended; it is
    answered by `finish_ready`. With `finish_failed` the header is not made available.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "valid": Out(1),
                "context": Out(CONTEXT_WIDTH),
                "epoch": Out(EPOCH_WIDTH),
                "words": Out(64).array(HEADER_WORDS),
                "done": In(1),
                "fail": In(8),
                "window": In(8),
                "start": In(START_WIDTH),
                "bytes": In(LENGTH_WIDTH),
                "remote_offset": In(64),  # the offset in the entry that was used
                "event": In(1),
                "unlinked": In(1),
                "overflow": In(1),
                "header": In(ENTRY_WIDTH),
                "entry_word": In(64),
                "user_data": In(64),
                "counter": In(8),
                "finish": Out(1),
                "finish_ready": In(1),
                "finish_context": Out(CONTEXT_WIDTH),
                "finish_epoch": Out(EPOCH_WIDTH),
                "finish_header": Out(ENTRY_WIDTH),
                "finish_failed": Out(1),
            }
        )


class AnswerPort(wiring.Signature):
    """A response that the target owes, seen from the deliverer: an ACK, or a REPLY from memory or of `data`.

    `ack_ready` and `reply_ready` say that there is room for one; the deliverer begins a request only if both are high,
    and then `valid` is taken at once. `context` answers; `words` is the response's header without trusted words,
    payload_bytes, segment_offset and last. A REPLY has manipulated_bytes of payload from `offset` of `window` (each
    packet is checked: inside, and remote_read), or with `inline` from `data`. When the reply has left, the events and
    the counter are written for `context`: `event` with `event_words`, whose fail and manipulated_bytes are mended if
    the reply failed; their places are reserved already. With `event_success_disable` the event is wanted only if it
    tells of a failure; otherwise its place is given back. With `unexpected` the message has unexpected header `header`,
    which is finished after that, so that nobody is told of the message while its memory is still to be read.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "ack_ready": In(1),
                "reply_ready": In(1),
                "valid": Out(1),
                "context": Out(CONTEXT_WIDTH),
                "epoch": Out(EPOCH_WIDTH),
                "words": Out(64).array(HEADER_WORDS),
                "window": Out(8),
                "offset": Out(ADDRESS_WIDTH),
                "inline": Out(1),
                "data": Out(64).array(INLINE_WORDS),
                "event": Out(1),
                "event_success_disable": Out(1),
                "event_words": Out(64).array(EVENT_REQUEST_WORDS),
                "unlink_event": Out(1),  # a second event, AUTO_UNLINK, after the first; its place is reserved, too
                "unlink_words": Out(64).array(EVENT_REQUEST_WORDS),
                "counter_valid": Out(1),
                "counter": Out(8),
                "success": Out(64),
                "failure": Out(64),
                "unexpected": Out(1),
                "header": Out(ENTRY_WIDTH),
            }
        )


class AtomicPort(wiring.Signature):
    """A read-modify-write of `bytes` (1 to 64, a multiple of the datum) at `address`, a multiple of the datum.

    `valid` and its payload hold until `done`, a pulse, when memory has answered the write; `failed` with it: memory
    answered the read (then nothing was written) or the write with an error. `old` is what stood there, from byte 0 of
    word 0 on, and stays until the next `valid`. `data` are the operands of the data, byte 0 first; `operand` that of
    CSWAP and MSWAP.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "valid": Out(1),
                "address": Out(ADDRESS_WIDTH),
                "bytes": Out(7),
                "operation": Out(8),
                "type": Out(8),
                "operand": Out(64),
                "data": Out(64).array(INLINE_WORDS),
                "done": In(1),
                "failed": In(1),
                "old": In(64).array(INLINE_WORDS),
            }
        )


# ---- fabric ----


def flit_layout(datapath_bits: int) -> data.StructLayout:
    """One flit of a packet; `last` marks the CRC flit."""
    return data.StructLayout({"data": unsigned(datapath_bits), "last": unsigned(1)})


def flit_stream(datapath_bits: int) -> stream.Signature:
    """Flits of packets, one packet after the other."""
    return stream.Signature(flit_layout(datapath_bits))


# ---- helpers ----


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
    """The value of `values` at `index`, which means something only if it is within."""
    return values[0] if len(values) == 1 else Array(values)[index]


def slot_address(base: Value, index: Value, log2_slots: Value) -> Value:
    """Address of the slot that `index` falls on, in a ring of 2**`log2_slots` slots from `base` (a multiple of 64)."""
    slot = (index & ((C(1) << log2_slots) - 1))[:15]
    return Cat(C(0, SLOT_LOG2_BYTES), (base[SLOT_LOG2_BYTES:] + slot)[: ADDRESS_WIDTH - SLOT_LOG2_BYTES])


def context_ports(parameters: NicParameters) -> dict[str, Any]:
    """The members by which a block sees all contexts: `contexts` (registers) and `states`."""
    return {
        "contexts": In(ContextRegisters(parameters.windows)).array(parameters.contexts),
        "states": In(ContextState()).array(parameters.contexts),
    }
