"""Several NICs with what a kernel and processes make of them: contexts, rings, queues, windows, doorbells.

Every context has its things at the same places of its node's memory, CONTEXT_BYTES apart; see `Place`.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rtl.nic.parameters import NicParameters
from rtl.portals import COMMAND, COUNTER, EVENT
from tests.golden.context import Right, Window
from tests.golden.context import Settings as ContextSettings
from tests.rtl.whole.simulator import OKAY, Settings, Simulator

CONTEXT_BYTES = 0x40000
RING_LOG2, QUEUE_LOG2 = 5, 8
WINDOWS = 3
WINDOW_BYTES = 0xE000
FIRST_PID = 0x100
INDEX_MODULUS = 1 << 32

Who = tuple[int, int]  # node and context


# NICs that random traffic meets, by name; the first one is that of all other tests of the whole, too, so that each
# datapath is compiled but once for them.
_USUAL = {
    "contexts": 3, "windows": WINDOWS, "portal_entries": 8, "match_entries": 16, "unexpected_headers": 8, "counters": 4,
    "outstanding": 4, "prefetch": 2, "replies": 32, "mtu_bytes": 128, "nodes": 3, "interrupt_lines": 2,
}  # fmt: skip
SHAPES: Mapping[str, Mapping[str, int]] = {
    "usual": _USUAL,
    "least": _USUAL
    | {"contexts": 1, "outstanding": 1, "prefetch": 1, "replies": 1, "mtu_bytes": 64, "nodes": 2}
    | {"interrupt_lines": 1},
    "many": _USUAL | {"contexts": 4, "outstanding": 8, "prefetch": 4, "replies": 4, "mtu_bytes": 256},
    "long": _USUAL | {"contexts": 2, "outstanding": 2, "prefetch": 8, "mtu_bytes": 4096, "nodes": 2},
}


def parameters_of(datapath_bits: int, shape: str = "usual") -> NicParameters:
    return NicParameters(**SHAPES[shape], datapath_bits=datapath_bits)


@dataclass(frozen=True)
class Place:
    """Addresses of a context's things."""

    context: int

    @property
    def base(self) -> int:
        return self.context * CONTEXT_BYTES

    @property
    def ring(self) -> int:
        return self.base

    @property
    def queue(self) -> int:
        return self.base + 0x1000

    @property
    def counters(self) -> int:
        return self.base + 0x6000

    def window(self, number: int) -> int:
        return self.base + 0x8000 + 0x10000 * number


def usual(context: int, *, jid: int, event_log2: int = QUEUE_LOG2) -> ContextSettings:
    """What a context is given if nothing else is said: all rights in all windows."""
    place = Place(context)
    return ContextSettings(
        pid=FIRST_PID + context,
        jid=jid,
        windows=[Window(base=place.window(number), length=WINDOW_BYTES, rights=Right.ALL) for number in range(WINDOWS)],
        event_base=place.queue,
        event_log2=event_log2,
        counter_base=place.counters,
    )


def words_at(memory: memoryview, address: int, count: int) -> tuple[int, ...]:
    text = bytes(memory[address : address + 8 * count])
    return tuple(int.from_bytes(text[8 * i : 8 * i + 8], "little") for i in range(count))


def to_bytes(words: Sequence[int]) -> bytes:
    return b"".join(word.to_bytes(8, "little") for word in words)


class Board:
    """All nodes with their kernels. `memory` is the simulator's, by node."""

    def __init__(self, parameters: NicParameters, settings: Settings | None = None) -> None:
        self.parameters = parameters
        self.simulator = Simulator(self.parameters, settings or Settings())
        self.memory = self.simulator.memory
        self.settings: dict[Who, ContextSettings] = {}
        self._posted: dict[Who, int] = defaultdict(int)
        self._consumed: dict[Who, int] = defaultdict(int)
        for nid in range(self.parameters.nodes):
            self.boot(nid)

    @property
    def everybody(self) -> list[Who]:
        p = self.parameters
        return [(nid, context) for nid in range(p.nodes) for context in range(p.contexts)]

    # ---- the kernel ----

    def boot(self, nid: int) -> None:
        """A node after its reset learns who it is."""
        self.simulator.configure(nid, "NODE_ID", nid=nid, locked=1)

    def configure(self, who: Who, settings: ContextSettings) -> None:
        """Writes a context's registers, but for CONTROL."""
        nid, path = who[0], f"CONTEXT[{who[1]}]"
        self.settings[who] = settings
        configure = self.simulator.configure
        configure(nid, f"{path}.IDENTITY", pid=settings.pid, jid=settings.jid)
        configure(nid, f"{path}.COMMAND_BASE", address=Place(who[1]).ring)
        configure(nid, f"{path}.COMMAND_SIZE", log2=RING_LOG2)
        configure(nid, f"{path}.EVENT_BASE", address=settings.event_base)
        configure(nid, f"{path}.EVENT_SIZE", log2=settings.event_log2)
        configure(nid, f"{path}.COUNTER_BASE", address=settings.counter_base)
        for number, window in enumerate(settings.windows):
            self.window(who, number, window)

    def window(self, who: Who, number: int, window: Window) -> None:
        nid, path = who[0], f"CONTEXT[{who[1]}].WINDOW[{number}]"
        configure = self.simulator.configure
        configure(nid, f"{path}.BASE", address=window.base)
        configure(nid, f"{path}.LENGTH", bytes=window.length)
        rights = {name.lower(): int(right in window.rights) for name, right in Right.__members__.items()}
        configure(nid, f"{path}.RIGHTS", **{name: rights[name] for name in rights if name != "all"})

    def enable(self, who: Who, **control: int) -> None:
        """Begins a new life of a context that is off; `control` is what else is written to CONTROL."""
        self._posted[who] = self._consumed[who] = 0
        queue, slots = self.settings[who].event_base, 1 << self.settings[who].event_log2
        self.memory[who[0]][queue : queue + EVENT.length_bytes * slots] = bytes(EVENT.length_bytes * slots)
        self.simulator.configure(who[0], f"CONTEXT[{who[1]}].CONTROL", enable=1, **control)

    def disable(self, who: Who) -> None:
        self.simulator.configure(who[0], f"CONTEXT[{who[1]}].CONTROL", enable=0)

    def start(self, who: Who, *, jid: int = 7, event_log2: int = QUEUE_LOG2) -> None:
        self.configure(who, usual(who[1], jid=jid, event_log2=event_log2))
        self.enable(who)

    # ---- processes ----

    def write_ring(self, who: Who, *commands: Sequence[int]) -> int:
        """Puts commands into a ring, for which there must be room; what is to be written to the doorbell."""
        for words in commands:
            slot = self._posted[who] % (1 << RING_LOG2)
            address = Place(who[1]).ring + COMMAND.length_bytes * slot
            self.memory[who[0]][address : address + COMMAND.length_bytes] = to_bytes(words)
            self._posted[who] += 1
        return self._posted[who] % INDEX_MODULUS

    def ring(self, who: Who, *, wait: bool = True) -> int:
        """Rings the doorbell for all that was written; the response, or OKAY at once if it is not waited for."""
        register = f"PAGE[{who[1]}].COMMAND_TAIL"
        return self.simulator.write(who[0], register, self._posted[who], privileged=False, wait=wait)

    def post(self, who: Who, *commands: Sequence[int]) -> None:
        self.write_ring(who, *commands)
        assert self.ring(who) == OKAY

    def do(self, who: Who, *commands: Sequence[int]) -> list[dict[str, int]]:
        """Posts commands, lets everything come to rest; the events of this context."""
        self.post(who, *commands)
        self.simulator.settle()
        return [EVENT.unpack(words) for words in self.events(who)]

    def events(self, who: Who, *, consume: bool = True) -> list[tuple[int, ...]]:
        """New events as memory shows them: each one's sequence number says whether it is there."""
        found: list[tuple[int, ...]] = []
        settings, first = self.settings[who], self._consumed[who]
        while True:
            number = first + len(found)
            slot = number % (1 << settings.event_log2)
            words = words_at(self.memory[who[0]], settings.event_base + EVENT.length_bytes * slot, EVENT.length_words)
            if EVENT.unpack(words)["sequence"] != (number + 1) % INDEX_MODULUS or len(found) >> settings.event_log2:
                break
            found.append(words)
        if consume and found:
            self._consumed[who] += len(found)
            self.event_head(who, self._consumed[who])
        return found

    def event_head(self, who: Who, number: int) -> None:
        """Says that the first `number` events are consumed."""
        assert (
            self.simulator.write(who[0], f"PAGE[{who[1]}].EVENT_HEAD", number % INDEX_MODULUS, privileged=False) == OKAY
        )

    def counter(self, who: Who, number: int) -> tuple[int, int]:
        """Success and failure, as memory shows them."""
        address = self.settings[who].counter_base + COUNTER.length_bytes * number
        success, failure = words_at(self.memory[who[0]], address, 2)
        return success, failure

    def page(self, who: Who, register: str) -> int:
        return self.simulator.value(who[0], f"PAGE[{who[1]}].{register}")

    # ---- memory ----

    def write(self, who: Who, window: int, offset: int, data: bytes) -> None:
        """Puts bytes into a window, as its process does."""
        address = self.settings[who].windows[window].base + offset
        self.memory[who[0]][address : address + len(data)] = data

    def read(self, who: Who, window: int, offset: int, length: int) -> bytes:
        address = self.settings[who].windows[window].base + offset
        return bytes(self.memory[who[0]][address : address + length])
