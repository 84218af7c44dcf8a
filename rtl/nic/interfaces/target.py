"""Between the blocks that do what arriving requests want."""

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.nic.interfaces.widths import (
    ADDRESS_WIDTH,
    CONTEXT_WIDTH,
    ENTRY_WIDTH,
    EPOCH_WIDTH,
    EVENT_REQUEST_WORDS,
    INLINE_WORDS,
    LENGTH_WIDTH,
    START_WIDTH,
)
from rtl.packets import HEADER_WORDS


class MatchPort(wiring.Signature):
    """Asks for the match entry of a message that begins, seen from the deliverer.

    `valid` with the header's words (checked: context, job) holds until `done`, a pulse with which all answers are
    valid and after which they stay until the next `valid`. `epoch` is the life in which the packet was admitted: if
    it is over, the answer is DROPPED and nothing has happened. `fail` is a `Fail`; unless OK nothing was matched (and
    with flow control the entry of the portal table is disabled by now). `bytes` of the message may be touched from
    `start` of `window` on, which may lie beyond any window. `places`: how many places in the event queue are
    reserved: one for the message's event if `event` is high, one for AUTO_UNLINK if `unlinked` is high. `overflow`:
    the entry is of the overflow list; unless its unexpected_header_disable is set, unexpected header `header` was
    made. `entry` is the entry's number, `entry_word` is word 1 of its LIST_COMMAND, `user_data` and `counter` are its.

    Every message for which an entry was found must be finished, once: `finish` tells that a message of `finish_entry`
    of `finish_context` has ended, and is answered by `finish_ready`, at once if the entry is not `finish_overflow`, one
    of the overflow list. With `finish_unexpected` it has unexpected header `finish_header`, which is not made available
    with `finish_failed`.
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
                "entry": In(ENTRY_WIDTH),
                "entry_word": In(64),
                "user_data": In(64),
                "counter": In(8),
                "finish": Out(1),
                "finish_ready": In(1),
                "finish_context": Out(CONTEXT_WIDTH),
                "finish_epoch": Out(EPOCH_WIDTH),
                "finish_entry": Out(ENTRY_WIDTH),
                "finish_overflow": Out(1),
                "finish_unexpected": Out(1),
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
    tells of a failure; otherwise its place is given back. With `matched` the message is finished after that, so that
    its memory is in use until it has been read: it was taken by `entry`, of the `overflow` list or not, and with
    `unexpected` it has unexpected header `header`.
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
                "matched": Out(1),
                "entry": Out(ENTRY_WIDTH),
                "overflow": Out(1),
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
