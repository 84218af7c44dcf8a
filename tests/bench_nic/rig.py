"""Two or more NICs, booted and with a match entry each, to be measured."""

from dataclasses import dataclass

from rtl.nic.parameters import NicParameters
from rtl.portals import COMMAND, EVENT, LIST_COMMAND, EventKind, Operation
from rtl.records import WORD_BYTES
from tests.rtl.whole.simulator import OKAY, Settings, Simulator

PID = 0x100  # of context 0; the others follow
JID = 7
PT_INDEX = 1
MATCH_BITS = 0x5EED
RING_LOG2 = 10
QUEUE_LOG2 = 12
COMMAND_BYTES = COMMAND.length_words * WORD_BYTES
EVENT_BYTES = EVENT.length_words * WORD_BYTES
WINDOW_BYTES = 1 << 17
_AREA_BYTES = 1 << 20  # of host memory, for each context
_QUEUE, _COUNTERS, _WINDOW = 1 << 17, 3 << 18, 7 << 17


@dataclass(frozen=True, kw_only=True)
class Times:
    """Of host memory and fabric, in cycles; the defaults are those of a scenario that names none."""

    read_latency: int = 20
    write_latency: int = 10


class Rig:
    """Every process may put into, get from and change every other's window; nothing stalls.

    Commands are written straight into the rings, so only their doorbells take time. Window 1 of all contexts are the
    last `large_bytes` of memory.
    """

    def __init__(self, parameters: NicParameters, times: Times | None = None, *, large_bytes: int = 0) -> None:
        times = times or Times()
        self.parameters = parameters
        self.large_bytes = large_bytes
        self._settings = Settings(
            memory_bytes=parameters.contexts * _AREA_BYTES + large_bytes,
            read_latency=times.read_latency,
            write_latency=times.write_latency,
        )
        self.simulator = Simulator(parameters, self._settings)
        self._posted: dict[tuple[int, int], int] = {}
        self._read: dict[tuple[int, int], int] = {}
        for node in range(parameters.nodes):
            self._boot(node)
        self.simulator.settle()
        self.forget()

    def close(self) -> None:
        self.simulator.close()

    def _boot(self, node: int) -> None:
        configure = self.simulator.configure
        configure(node, "NODE_ID", nid=node, locked=1)
        for context in range(self.parameters.contexts):
            path, area = f"CONTEXT[{context}]", _AREA_BYTES * context
            configure(node, f"{path}.IDENTITY", pid=PID + context, jid=JID)
            configure(node, f"{path}.COMMAND_BASE", address=area)
            configure(node, f"{path}.COMMAND_SIZE", log2=RING_LOG2)
            configure(node, f"{path}.EVENT_BASE", address=area + _QUEUE)
            configure(node, f"{path}.EVENT_SIZE", log2=QUEUE_LOG2)
            configure(node, f"{path}.COUNTER_BASE", address=area + _COUNTERS)
            self._open_window(node, f"{path}.WINDOW[0]", area + _WINDOW, WINDOW_BYTES)
            self._open_window(node, f"{path}.WINDOW[1]", self.parameters.contexts * _AREA_BYTES, self.large_bytes)
            configure(node, f"{path}.CONTROL", enable=1)
            lists = [
                LIST_COMMAND.pack(operation=Operation.PT_ALLOC, pt_index=PT_INDEX),
                LIST_COMMAND.pack(
                    operation=Operation.ME_APPEND, pt_index=PT_INDEX, match_bits=MATCH_BITS, any_nid=1, any_pid=1,
                    op_put=1, op_get=1, length_bytes=WINDOW_BYTES, event_link_disable=1,
                ),
            ]  # fmt: skip
            self.post(node, context, lists)
            self.simulator.settle()

    def _open_window(self, node: int, path: str, address: int, length_bytes: int) -> None:
        configure = self.simulator.configure
        configure(node, f"{path}.BASE", address=address)
        configure(node, f"{path}.LENGTH", bytes=length_bytes)
        rights = dict.fromkeys(("local_read", "local_write", "remote_read", "remote_write"), 1)
        configure(node, f"{path}.RIGHTS", **rights)

    def large(self, node: int) -> memoryview:
        """A node's window 1."""
        return self.simulator.memory[node][self.parameters.contexts * _AREA_BYTES :]

    # ---- commands ----

    def command(self, operation: Operation, node: int, **fields: int) -> list[int]:
        """The words of a command for context 0 of `node`, without an event when it has left."""
        common = {"dst_pid": PID, "pt_index": PT_INDEX, "match_bits": MATCH_BITS, "event_send_disable": 1}
        return COMMAND.pack(operation=operation, dst_nid=node, **(common | fields))

    def place(self, node: int, context: int, commands: list[list[int]]) -> int:
        """Put commands into a ring; returns the index for its doorbell."""
        tail = self._posted.get((node, context), 0)
        for words in commands:
            self._write(node, _AREA_BYTES * context + COMMAND_BYTES * (tail % (1 << RING_LOG2)), words)
            tail += 1
        self._posted[node, context] = tail
        return tail

    def ring(self, node: int, context: int, tail: int) -> None:
        """Ring the doorbell, without waiting for the answer."""
        self.simulator.write(node, f"PAGE[{context}].COMMAND_TAIL", tail, privileged=False, wait=False)

    def post(self, node: int, context: int, commands: list[list[int]]) -> None:
        tail = self.place(node, context, commands)
        response = self.simulator.write(node, f"PAGE[{context}].COMMAND_TAIL", tail, privileged=False)
        assert response == OKAY, f"node {node}: doorbell of context {context} answered {response}"

    def _write(self, node: int, address: int, words: list[int]) -> None:
        text = b"".join(word.to_bytes(WORD_BYTES, "little") for word in words)
        self.simulator.memory[node][address : address + len(text)] = text

    # ---- events ----

    def next_event(self, node: int, context: int) -> dict[str, int] | None:
        """The next event that has not been consumed, if a process that polls memory would see it by now."""
        index = self._read.get((node, context), 0)
        address = _AREA_BYTES * context + _QUEUE + EVENT_BYTES * (index % (1 << QUEUE_LOG2))
        raw = self.simulator.memory[node][address : address + EVENT_BYTES]
        words = [int.from_bytes(raw[at : at + WORD_BYTES], "little") for at in range(0, EVENT_BYTES, WORD_BYTES)]
        event = EVENT.unpack(words)
        return event if event["sequence"] == index + 1 else None

    def await_event(self, node: int, kind: EventKind, *, context: int = 0, limit: int = 10_000) -> int:
        """The cycle in which the last word of the next event of a queue was written; AssertionError unless it is one of
        `kind` that tells of success."""
        for _ in range(limit):
            event = self.next_event(node, context)
            if event is not None:
                assert event["kind"] == kind, f"{EventKind(event['kind']).name}, fail {event['fail']}"
                assert event["fail"] == 0, f"{kind.name}: fail {event['fail']}"
                return self.simulator.cycle - 1
            self.simulator.run(1)
        raise AssertionError(f"node {node}: no event in {limit} cycles")

    def consume_events(self) -> None:
        """All events there are, of all contexts; AssertionError if one of them tells of a failure."""
        for node in range(self.parameters.nodes):
            for context in range(self.parameters.contexts):
                tail = self.simulator.value(node, f"PAGE[{context}].EVENT_TAIL")
                while (event := self.next_event(node, context)) is not None:
                    assert event["fail"] == 0, f"{EventKind(event['kind']).name}: fail {event['fail']}"
                    self._read[node, context] = event["sequence"]
                assert self._read.get((node, context), 0) == tail
                response = self.simulator.write(node, f"PAGE[{context}].EVENT_HEAD", tail, privileged=False)
                assert response == OKAY, f"node {node}: EVENT_HEAD of context {context} answered {response}"

    def settle(self) -> None:
        """Until nothing is on its way."""
        self.simulator.settle(limit=10_000_000)

    def forget(self) -> None:
        """Forget the packets seen so far."""
        self.simulator.forget()
