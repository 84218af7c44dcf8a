"""Several golden NICs, joined by channels that lose nothing and keep the order of what one node sends to another.

Everything that can happen happens in an order that a seed chooses, packet by packet; a script of commands that is
right gives the same final memory under every seed, if it is one whose order the program has forced.
"""

import random
from collections import defaultdict, deque
from collections.abc import Callable, Sequence

from rtl.nic.parameters import NicParameters
from tests.golden.context import Right, Settings, Window
from tests.golden.effects import Effects, Pause, Refused, WrittenEvent
from tests.golden.memory import Memory
from tests.golden.model import GoldenNic

# Where a context's things lie in its node's memory; see `Machine.start`.
CONTEXT_BYTES = 1 << 17
WINDOW_BYTES = 1 << 16
EVENT_BASE = WINDOW_BYTES
COUNTER_BASE = EVENT_BASE + 64 * 256
FIRST_PID = 10

Move = Callable[[], Effects]


class Machine:
    """Nodes, their channels, and the commands that wait in the rings. `events` and `refusals` are all there were."""

    def __init__(self, parameters: NicParameters, seed: int = 0) -> None:
        self.parameters = parameters
        self.nics = [
            GoldenNic(parameters, nid, Memory(parameters.contexts * CONTEXT_BYTES)) for nid in range(parameters.nodes)
        ]
        self.events: dict[tuple[int, int], list[WrittenEvent]] = defaultdict(list)
        self.refusals: dict[int, list[Refused]] = defaultdict(list)
        self.consuming: set[tuple[int, int]] = set()
        self._random = random.Random(seed)
        self._rings: dict[tuple[int, int], deque[Sequence[int] | None]] = defaultdict(deque)
        self._channels: dict[tuple[int, int, bool], deque[Sequence[int]]] = defaultdict(deque)

    # ---- set-up ----

    def start(self, nid: int, context: int, *, jid: int = 1, event_log2: int = 6, rights: Right = Right.ALL) -> None:
        """Enables a context with pid 10 + context, one window of 64 KiB with all of `rights`, whose process consumes
        every event at once. Context c has memory from c * CONTEXT_BYTES on: window, event queue, counters."""
        base = context * CONTEXT_BYTES
        settings = Settings(
            pid=FIRST_PID + context,
            jid=jid,
            windows=[Window(base=base, length=WINDOW_BYTES, rights=rights)],
            event_base=base + EVENT_BASE,
            event_log2=event_log2,
            counter_base=base + COUNTER_BASE,
        )
        self.nics[nid].configure(context, settings)
        self.nics[nid].enable(context)
        self.consuming.add((nid, context))

    def write(self, nid: int, context: int, offset: int, data: bytes) -> None:
        """Puts bytes into a context's window, as its process does."""
        self.nics[nid].memory.write(context * CONTEXT_BYTES + offset, data)

    def read(self, nid: int, context: int, offset: int, length: int) -> bytes:
        start = context * CONTEXT_BYTES + offset
        return bytes(self.nics[nid].memory.bytes[start : start + length])

    def counter(self, nid: int, context: int, counter: int) -> tuple[int, int]:
        """Success and failure, as memory shows them."""
        text = self.read(nid, context, COUNTER_BASE + 16 * counter, 16)
        return int.from_bytes(text[:8], "little"), int.from_bytes(text[8:], "little")

    # ---- running ----

    def command(self, nid: int, context: int, *commands: Sequence[int] | None) -> None:
        """Appends commands to a context's ring."""
        self._rings[nid, context] += commands

    def run(self) -> None:
        """Until nothing can happen any more: all is done, or waits for something that does not come."""
        stuck: set[tuple] = set()
        while moves := {name: move for name, move in self._moves().items() if name not in stuck}:
            name = self._random.choice(sorted(moves))
            if self._took_place(name[1], moves[name]()):
                stuck.clear()
            else:
                stuck.add(name)

    def do(self, nid: int, context: int, *commands: Sequence[int] | None) -> list[dict[str, int]]:
        """Runs commands to the end; gives the fields of the events that this context got meanwhile."""
        before = len(self.events[nid, context])
        self.command(nid, context, *commands)
        self.run()
        return [event.fields for event in self.events[nid, context][before:]]

    def waits(self, nid: int, context: int) -> bool:
        """Whether a command has not been retired."""
        return bool(self._rings[nid, context]) or not self.nics[nid].is_idle(context)

    def _moves(self) -> dict[tuple, Move]:
        """What may happen next, by names that begin with a kind and a node."""
        moves: dict[tuple, Move] = {}
        for nic in self.nics:
            nid = nic.nid
            for number in range(self.parameters.contexts):
                if not nic.is_idle(number):
                    moves["command", nid, number, 0] = lambda nic=nic, number=number: nic.proceed(number)
                elif self._rings[nid, number] and nic.contexts[number].active:
                    moves["command", nid, number, 0] = lambda nic=nic, number=number: nic.begin(
                        number, self._rings[nic.nid, number].popleft()
                    )
            for index in range(len(nic.replies)):
                moves["reply", nid, index, 0] = lambda nic=nic, index=index: nic.reply(index)
        for (source, nid, response), channel in self._channels.items():
            if channel:
                moves["packet", nid, source, response] = lambda nid=nid, channel=channel, response=response: self.nics[
                    nid
                ].arrive(channel.popleft(), response=response)
        return moves

    def _took_place(self, nid: int, effects: Effects) -> bool:
        """Sends the packets on, lets the processes consume their events; whether anything has happened."""
        for packet in effects.packets:
            self._channels[nid, packet.dst_nid, packet.response].append(packet.flits)
        self.refusals[nid] += effects.refusals
        for event in effects.events:
            self.events[nid, event.context].append(event)
            if (nid, event.context) in self.consuming:
                queue = self.nics[nid].contexts[event.context].queue
                self._took_place(nid, self.nics[nid].event_head(event.context, queue.tail))
        done = effects.waits in (None, Pause.PACKET)
        return bool(done or effects.packets or effects.events or effects.counters or effects.refusals)
