"""One NIC context as a process uses it: OS bypass. Commands are written into a ring in the process's memory and
announced by a store to the process's own register page; events are read from a queue in memory that the NIC writes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from nimble.access import Right
from rtl.descriptors import COMMAND, EVENT
from rtl.packet import Operation
from rtl.registers import load
from sw.kernel.contexts import ContextHandle, ContextRequest
from sw.kernel.process import Process

INDEX_MASK = 0xFFFF_FFFF  # ring and queue indices are modulo 2**32
STALL_LIMIT = 1_000_000  # looks at a ring that stays full; a NIC that is alive takes a command within one

_SYMBOLS = load("nic").symbols()
COMMAND_TAIL = _SYMBOLS["NIC.PAGE.COMMAND_TAIL"]
COMMAND_HEAD = _SYMBOLS["NIC.PAGE.COMMAND_HEAD"]
EVENT_HEAD = _SYMBOLS["NIC.PAGE.EVENT_HEAD"]
_SEQUENCE = EVENT.fields["sequence"]


class EndpointError(Exception):
    """The endpoint cannot do what it is asked; names the context, the value, the bound and the remedy."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """An event. `nid`, `pid` and `jid` say who sent a put, and are the hardware's word."""

    kind: int
    reason: int
    window: int
    nid: int
    pid: int
    jid: int
    length_bytes: int
    offset: int
    match_bits: int
    header_data: int
    user_data: int


@dataclass(frozen=True, kw_only=True)
class Part:
    """`length_bytes` from byte `offset` of a window of the own context, to send; `remote_*` say where to."""

    window: int
    offset: int
    length_bytes: int
    remote_window: int
    remote_offset: int


class Endpoint:
    """A context with its ring and its queue.

    The NIC drops what arrives while the event queue is full. The queue's head is told to the NIC whenever half of it
    has been read, and before sleeping; so at most half of the entries may be underway to it at any time.
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

    @classmethod
    def open(cls, process: Process, request: ContextRequest) -> "Endpoint":
        """Open a context and use it. TrapError."""
        return cls(process, process.calls.open_context(request))

    @classmethod
    def resume(cls, process: Process, handle: ContextHandle, *, event_index: int) -> "Endpoint":
        """Use a context that an extension used before; `event_index` is the number of events that it handled."""
        endpoint = cls(process, handle)
        endpoint._tail = process.load(handle.page_va + COMMAND_TAIL)
        endpoint._head = process.load(handle.page_va + COMMAND_HEAD)
        endpoint._told = process.load(handle.page_va + EVENT_HEAD)
        endpoint._read = event_index
        return endpoint

    # ---- sending ----

    def put(
        self,
        *,
        nid: int,
        pid: int,
        match_bits: int = 0,
        header_data: int = 0,
        part: Part | None = None,
        notify: bool = False,
        user_data: int = 0,
    ) -> None:
        """Send a message, with memory if `part` is given. Waits while the ring is full. EndpointError, ValueError."""
        memory = {} if part is None else vars(part)
        self.submit(
            COMMAND.pack(
                operation=Operation.PUT,
                notify=notify,
                dst_nid=nid,
                dst_pid=pid,
                match_bits=match_bits,
                header_data=header_data,
                user_data=user_data,
                length_bytes=memory.get("length_bytes", 0),
                local_window=memory.get("window", 0),
                local_offset=memory.get("offset", 0),
                remote_window=memory.get("remote_window", 0),
                remote_offset=memory.get("remote_offset", 0),
            )
        )

    def submit(self, words: Sequence[int]) -> None:
        """Write a command as it is into the ring and ring the doorbell. Waits while the ring is full. EndpointError."""
        if len(words) != COMMAND.length_words:
            raise EndpointError(
                f"command: {len(words)} words; a command has {COMMAND.length_words}; pack it with COMMAND"
            )
        self._await_room()
        self.process.compute(self.process.costs.command)
        self._ring[self._tail % len(self._ring)] = words
        self._tail = self._tail + 1 & INDEX_MASK
        self.process.store(self.handle.page_va + COMMAND_TAIL, self._tail)

    def _await_room(self) -> None:
        for _ in range(STALL_LIMIT):
            if self._tail - self._head & INDEX_MASK < len(self._ring):
                return
            self._head = self.process.load(self.handle.page_va + COMMAND_HEAD)
        raise EndpointError(
            f"context {self.handle.index}: its ring of {len(self._ring)} commands stays full; the NIC takes no command"
        )

    # ---- receiving ----

    def poll(self) -> Event | None:
        """The next event, or None if there is none yet."""
        process = self.process
        process.settle()
        words = self._events[self._read % len(self._events)].tolist()
        if words[_SEQUENCE.word] & INDEX_MASK != self._read + 1 & INDEX_MASK:
            process.compute(process.costs.poll)
            return None
        process.compute(process.costs.event)
        fields = EVENT.unpack(words)
        self._read = self._read + 1 & INDEX_MASK
        if self._read - self._told & INDEX_MASK >= max(len(self._events) // 2, 1):
            self.tell()
        return Event(
            kind=fields["kind"],
            reason=fields["reason"],
            window=fields["window"],
            nid=fields["src_nid"],
            pid=fields["src_pid"],
            jid=fields["jid"],
            length_bytes=fields["length_bytes"],
            offset=fields["offset"],
            match_bits=fields["match_bits"],
            header_data=fields["header_data"],
            user_data=fields["user_data"],
        )

    def tell(self) -> None:
        """Tell the NIC what has been read, so that it may write there again."""
        if self._told != self._read:
            self.process.store(self.handle.page_va + EVENT_HEAD, self._read)
            self._told = self._read

    def wait(self) -> Event:
        """The next event; sleeps until there is one. The context must have been opened with `interrupt`."""
        while True:
            event = self.poll()
            if event is not None:
                return event
            self.tell()
            self.process.calls.wait_event(self.handle)
