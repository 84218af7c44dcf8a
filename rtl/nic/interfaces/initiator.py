"""Between the blocks that carry out what processes ask for."""

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.nic.interfaces.widths import (
    ADDRESS_WIDTH,
    COMMAND_WORDS,
    CONTEXT_WIDTH,
    EPOCH_WIDTH,
    GENERATION_WIDTH,
    INDEX_WIDTH,
    LENGTH_WIDTH,
)


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
