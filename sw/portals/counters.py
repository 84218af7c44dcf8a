"""Counting events: the NIC counts, the process reads its own memory.

Ref: Portals 4, section 3.14.
"""

from dataclasses import dataclass

from nimble.access import Right
from rtl.portals import COUNTER, COUNTER_COMMAND, Operation
from sw.portals.endpoint import Endpoint, EndpointError


@dataclass(frozen=True, kw_only=True)
class Count:
    """A counting event: operations, or bytes of those that succeeded."""

    success: int
    failure: int


class Counter:
    """Counting event `number` of an endpoint's context."""

    def __init__(self, endpoint: Endpoint, number: int) -> None:
        """EndpointError if the NIC has no such."""
        handle = endpoint.handle
        if not 0 <= number < handle.limits.counters:
            raise EndpointError(f"counter: {number} is out of range 0..{handle.limits.counters - 1}; take another one")
        self._endpoint = endpoint
        self._number = number
        va = handle.counters_va + COUNTER.length_bytes * number
        self._words = endpoint.process.view(va, COUNTER.length_bytes, Right.READ)

    def set(self, *, success: int = 0, failure: int = 0, user_data: int = 0) -> None:
        """Give it a value, after all commands before. EndpointError, ValueError."""
        self._do(Operation.COUNTER_SET, success, failure, user_data)

    def increment(self, *, success: int = 0, failure: int = 0, user_data: int = 0) -> None:
        """Add to it, after all commands before. EndpointError, ValueError."""
        self._do(Operation.COUNTER_INCREMENT, success, failure, user_data)

    def _do(self, operation: Operation, success: int, failure: int, user_data: int) -> None:
        self._endpoint.submit(
            COUNTER_COMMAND.pack(
                operation=operation, counter=self._number, success=success, failure=failure, user_data=user_data
            )
        )

    def read(self) -> Count:
        """Its value as memory shows it now."""
        process = self._endpoint.process
        process.settle()
        process.compute(process.costs.poll)
        return Count(**COUNTER.unpack(self._words.tolist()))

    def wait(self, success: int, *, due_ps: int | None = None) -> Count:
        """Its value when so many have succeeded, or one has failed, or it is `due_ps` (PtlCTWait, PtlCTPoll). Sleeps
        meanwhile if the context has `counter_interrupt`; an interrupt for an event wakes it, too, and the event stays
        in the queue."""
        process, handle = self._endpoint.process, self._endpoint.handle
        while True:
            count = self.read()
            late = due_ps is not None and process.now_ps >= due_ps
            if count.success >= success or count.failure or late:
                return count
            if handle.counter_interrupt:
                process.calls.wait_event(handle, due_ps=due_ps)
