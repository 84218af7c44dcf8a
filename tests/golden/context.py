"""One context: its identity, windows, event queue and counting events."""

import enum
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rtl.portals import COUNTER, EVENT
from tests.golden.effects import CounterChange, Effects, Source, WrittenEvent
from tests.golden.memory import Memory

INDEX_MODULUS = 1 << 32
WORD_MODULUS = 1 << 64


class Right(enum.IntFlag):
    """What may be done in a window, with the register's bits."""

    LOCAL_READ = 1
    LOCAL_WRITE = 2
    REMOTE_READ = 4
    REMOTE_WRITE = 8
    ALL = 15


@dataclass(frozen=True, kw_only=True)
class Window:
    """A range of host memory that a context may use; of length 0 it is closed."""

    base: int
    length: int
    rights: Right = Right.ALL


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the kernel says of a context. The event queue has 2**`event_log2` places."""

    pid: int
    jid: int
    windows: Sequence[Window]
    event_base: int
    event_log2: int
    counter_base: int


def words_to_bytes(words: Sequence[int]) -> bytes:
    return b"".join(word.to_bytes(8, "little") for word in words)


class EventQueue:
    """Places of the queue: written, reserved or free. What is reserved is used or released by whoever reserved it."""

    def __init__(self) -> None:
        self.tail = self.head = self.reserved = 0

    def free(self, log2: int) -> int:
        return (1 << log2) - (self.tail - self.head) % INDEX_MODULUS - self.reserved


class Context:
    """State of one context. A life of it, between two restarts, has an `epoch` of its own."""

    def __init__(self, number: int, counters: int, memory: Memory) -> None:
        self.number = number
        self.settings = Settings(pid=0, jid=0, windows=(), event_base=0, event_log2=0, counter_base=0)
        self.active = False
        self.epoch = 0
        self._memory = memory
        self._counter_count = counters
        self.restart()

    def restart(self) -> None:
        """Begins a new life: indices and counters are 0, nothing is reserved or owed."""
        self.epoch += 1
        self.queue = EventQueue()
        self.command_head = 0
        self.counters = [[0, 0] for _ in range(self._counter_count)]
        self.refused = self.dropped = self.violations = 0
        self._owed: deque[Mapping[str, int]] = deque()

    # ---- memory ----

    def address(self, window: int, offset: int, length: int, right: Right) -> int | None:
        """Where `length` bytes from `offset` of a window are; None if not all are inside or the right is wanting."""
        windows = self.settings.windows
        if window >= len(windows) or not windows[window].rights & right:
            return None
        return windows[window].base + offset if offset + length <= windows[window].length else None

    # ---- events ----

    def reserve(self, places: int) -> bool:
        """Whether there were that many free places; if so they are reserved."""
        if self.queue.free(self.settings.event_log2) < places:
            return False
        self.queue.reserved += places
        return True

    def release(self, places: int) -> None:
        self.queue.reserved -= places

    def write_event(self, effects: Effects, source: Source, **fields: int) -> None:
        """Writes an event to a place that is reserved for it."""
        queue, settings = self.queue, self.settings
        queue.reserved -= 1
        place = queue.tail % (1 << settings.event_log2)
        queue.tail = (queue.tail + 1) % INDEX_MODULUS
        words = EVENT.pack(**fields, sequence=queue.tail)
        address = settings.event_base + EVENT.length_bytes * place
        self._memory.write(address, words_to_bytes(words))
        effects.events.append(WrittenEvent(context=self.number, source=source, address=address, words=tuple(words)))

    def owe_event(self, **fields: int) -> None:
        """An event that nobody can wait for: it is written as soon as there is a place."""
        self._owed.append(fields)

    def pay(self, effects: Effects) -> None:
        """Writes the owed events for which there are places."""
        while self._owed and self.reserve(1):
            self.write_event(effects, Source.OWED, **self._owed.popleft())

    def owes(self, **fields: int) -> bool:
        """Whether just this event is owed already."""
        return fields in self._owed

    # ---- counting events ----

    def count(self, effects: Effects, counter: int, success: int, failure: int, *, replace: bool = False) -> None:
        """Adds to a counter, or with `replace` sets it, and shows it in host memory."""
        before = [0, 0] if replace else self.counters[counter]
        after = [(old + new) % WORD_MODULUS for old, new in zip(before, (success, failure), strict=True)]
        self.counters[counter] = after
        words = COUNTER.pack(success=after[0], failure=after[1])
        self._memory.write(self.settings.counter_base + COUNTER.length_bytes * counter, words_to_bytes(words))
        effects.counters.append(CounterChange(context=self.number, counter=counter, success=after[0], failure=after[1]))

    def count_outcome(self, effects: Effects, counter: int, *, ok: bool, in_bytes: int, moved: int) -> None:
        """One operation more: a success (of `moved` bytes if it counts `in_bytes`) or a failure."""
        if ok:
            self.count(effects, counter, moved if in_bytes else 1, 0)
        else:
            self.count(effects, counter, 0, 1)
