"""What is told to processes and kernel: events, counters, refusals."""

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.nic.interfaces.widths import CONTEXT_WIDTH, EPOCH_WIDTH, EVENT_REQUEST_WORDS


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
