"""One NIC context as a process uses it: OS bypass. Commands are written into a ring in the process's memory and
announced by a store to the process's own register page; events are read from a queue in memory that the NIC writes.
"""

from collections.abc import Sequence

from nimble.access import Right
from rtl.portals import COMMAND, EVENT
from rtl.registers import load
from sw.kernel.contexts import ContextHandle, ContextRequest
from sw.kernel.process import Process
from sw.portals.events import Event

INDEX_MASK = 0xFFFF_FFFF  # ring and queue indices are modulo 2**32
STALL_LIMIT = 1_000_000  # looks at a ring that does not move; a NIC that is alive takes a command within one
LOSS_CHECK = 1024  # looks at an empty queue after which its tail register is asked, too

_SYMBOLS = load("nic").symbols()
COMMAND_TAIL = _SYMBOLS["NIC.PAGE.COMMAND_TAIL"]
COMMAND_HEAD = _SYMBOLS["NIC.PAGE.COMMAND_HEAD"]
EVENT_HEAD = _SYMBOLS["NIC.PAGE.EVENT_HEAD"]
EVENT_TAIL = _SYMBOLS["NIC.PAGE.EVENT_TAIL"]
REFUSED = _SYMBOLS["NIC.PAGE.REFUSED"]
_SEQUENCE = EVENT.fields["sequence"]


class EndpointError(Exception):
    """The endpoint cannot do what it is asked; names the context, the value, the bound and the remedy."""


class Endpoint:
    """A context with its ring and its queue.

    A message that finds no place in the event queue is dropped, or disables its portal table entry; the NIC keeps
    places for the events of own commands. The queue's head is told to the NIC whenever half of it has been read, and
    before sleeping; so at most half of the entries may be underway to it at any time.
    """

    def __init__(self, process: Process, handle: ContextHandle) -> None:
        """Use a context that was just opened."""
        self.process = process
        self.handle = handle
        commands = process.view(handle.commands_va, COMMAND.length_bytes << handle.commands_log2)
        events = process.view(handle.events_va, EVENT.length_bytes << handle.events_log2, Right.READ)
        self._events = events.reshape(-1, EVENT.length_words)
        self._ring = commands.reshape(-1, COMMAND.length_words)
        self._tail = 0
        self._head = 0  # as last read from the NIC; it may be further by now
        self._read = 0
        self._told = 0
        self._misses = 0  # looks at the queue since the last event

    @classmethod
    def open(cls, process: Process, request: ContextRequest) -> "Endpoint":
        """Open a context and use it. TrapError."""
        return cls(process, process.calls.open_context(request))

    @classmethod
    def resume(cls, process: Process, handle: ContextHandle, *, event_index: int) -> "Endpoint":
        """Use a context that an extension used before; `event_index` is the number of events that were handled."""
        endpoint = cls(process, handle)
        endpoint._tail = process.load(handle.page_va + COMMAND_TAIL)
        endpoint._head = process.load(handle.page_va + COMMAND_HEAD)
        endpoint._told = process.load(handle.page_va + EVENT_HEAD)
        endpoint._read = event_index & INDEX_MASK
        return endpoint

    # ---- commands ----

    def submit(self, words: Sequence[int]) -> None:
        """Write a command as it is into the ring and ring the doorbell. Waits while the ring is full. EndpointError."""
        if len(words) != COMMAND.length_words:
            raise EndpointError(
                f"command: {len(words)} words; a command has {COMMAND.length_words}; pack it with COMMAND"
            )
        self._await_waiting(len(self._ring) - 1, f"its ring of {len(self._ring)} commands stays full")
        self.process.compute(self.process.costs.command)
        self._ring[self._tail % len(self._ring)] = words
        self._tail = self._tail + 1 & INDEX_MASK
        self.process.store(self.handle.page_va + COMMAND_TAIL, self._tail)

    def complete(self) -> int:
        """Wait until all commands so far have been carried out, handed over or refused; how many were ever refused,
        modulo 2**32. EndpointError."""
        self._await_waiting(0, "its commands are not carried out")
        return self.process.load(self.handle.page_va + REFUSED)

    def hand_over_ring(self) -> int:
        """Give the ring to an extension: when all commands are carried out, the ring is zeros again, and the number of
        commands so far is returned. EndpointError."""
        self.complete()
        self._ring[:] = 0
        return self._tail

    def _await_waiting(self, most: int, what: str) -> None:
        """Wait until at most so many commands are in the ring."""
        for _ in range(STALL_LIMIT):
            if self._tail - self._head & INDEX_MASK <= most:
                return
            self._head = self.process.load(self.handle.page_va + COMMAND_HEAD)
        raise EndpointError(
            f"context {self.handle.index}: {what}; the NIC takes no command, or waits for room in the event queue: "
            "read events"
        )

    # ---- events ----

    def poll(self) -> Event | None:
        """The next event, or None if there is none yet. EndpointError if the NIC lost one."""
        process = self.process
        process.settle()
        words = self._next()
        if words is None:
            process.compute(process.costs.poll)
            self._misses += 1
            if self._misses % LOSS_CHECK == 0:
                self._check_loss()
            return None
        process.compute(process.costs.event)
        self._misses = 0
        self._read = self._read + 1 & INDEX_MASK
        if self._read - self._told & INDEX_MASK >= max(len(self._events) // 2, 1):
            self.tell()
        return Event.unpack(words)

    def tell(self) -> None:
        """Tell the NIC what has been read, so that it may write there again."""
        if self._told != self._read:
            self.process.store(self.handle.page_va + EVENT_HEAD, self._read)
            self._told = self._read

    def wait(self) -> Event:
        """The next event; sleeps until there is one. EndpointError, also if events of the context interrupt nobody."""
        if not self.handle.interrupt:
            raise EndpointError(
                f"context {self.handle.index}: was opened without interrupt, and nothing would wake who waits; poll it"
            )
        while True:
            event = self.poll()
            if event is not None:
                return event
            self._sleep(None)

    def wait_until(self, due_ps: int) -> Event | None:
        """The next event, or None if there is none until then (PtlEQPoll); sleeps if events of the context interrupt,
        else looks again and again. EndpointError."""
        while True:
            event = self.poll()
            if event is not None or self.process.now_ps >= due_ps:
                return event
            if self.handle.interrupt:
                self._sleep(due_ps)

    def _sleep(self, due_ps: int | None) -> None:
        if self._misses > 1:
            self._check_loss()
        self.tell()
        self.process.calls.wait_event(self.handle, due_ps=due_ps)

    def _next(self) -> list[int] | None:
        """The words of the next event if memory shows it."""
        words: list[int] = self._events[self._read % len(self._events)].tolist()
        return words if words[_SEQUENCE.word] & _SEQUENCE.mask == self._read + 1 & INDEX_MASK else None

    def _check_loss(self) -> None:
        """An event that memory refused is passed by the queue's tail, and never seen."""
        tail = self.process.load(self.handle.page_va + EVENT_TAIL)
        if 0 < tail - self._read & INDEX_MASK <= len(self._events) and self._next() is None:
            raise EndpointError(
                f"context {self.handle.index}: event {self._read} was lost, memory refused it; {tail} were written; "
                "open another context"
            )
