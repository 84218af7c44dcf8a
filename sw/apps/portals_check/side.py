"""What a rank has in hand: its memory and what it must hold, two NIC contexts, and the other rank of the step."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from rtl.portals import AckRequest, EventKind, Fail
from sw.apps.application import Job
from sw.apps.portals_check.checks import Checks
from sw.kernel.contexts import ContextRequest, WindowRequest
from sw.kernel.process import Process
from sw.portals.counters import Count, Counter
from sw.portals.endpoint import Endpoint
from sw.portals.events import Event
from sw.portals.operations import NO_COUNTING, Counting, Region, Target, put
from sw.portals.portal_table import MatchEntry, PortalTable

LOCAL = 0  # window that the own commands name
REMOTE = 1  # window that the other rank's messages reach
BACKGROUND = 0xA5  # what memory holds where nobody has written
INTERRUPTING_LOG2 = 3  # of the queue of the context that interrupts: soon full
PS_PER_US = 1_000_000
REST_US = 5  # in which what nobody expects would come


@dataclass(frozen=True, kw_only=True)
class Peer:
    """The other rank: its node, and the PIDs of its two contexts."""

    nid: int
    pid: int
    interrupting_pid: int


@dataclass(frozen=True, kw_only=True)
class Step:
    """An operation, checked by a target and an initiator. Both are generators; at a `yield` all ranks meet."""

    name: str
    target: Callable[["Side"], Iterator[None]]
    initiator: Callable[["Side"], Iterator[None]]


class Side:
    """One rank. `polled` is a context whose events interrupt nobody, `interrupting` one whose events and counting
    events do. Both have the same memory: half of it is window LOCAL, half window REMOTE, `area_bytes` each."""

    peer: Peer
    pt_index: int

    def __init__(
        self, process: Process, job: Job, *, commands_log2: int, events_log2: int, area_bytes: int, patience_us: int
    ) -> None:  # fmt: skip
        self.process = process
        self.checks = Checks()
        self.area_bytes = area_bytes
        self._job = job
        self._patience_ps = patience_us * PS_PER_US
        va = process.calls.allocate(2 * area_bytes)
        self._memory = process.view(va, 2 * area_bytes).view(np.uint8)
        self._memory[:] = BACKGROUND
        self._expected = self._memory.copy()
        windows = (
            WindowRequest(va=va, length_bytes=area_bytes, local_read=True, local_write=True),
            WindowRequest(va=va + area_bytes, length_bytes=area_bytes, remote_read=True, remote_write=True),
        )
        self.polled = Endpoint.open(
            process, ContextRequest(commands_log2=commands_log2, events_log2=events_log2, windows=windows)
        )
        self.interrupting = Endpoint.open(
            process,
            ContextRequest(
                commands_log2=commands_log2,
                events_log2=INTERRUPTING_LOG2,
                windows=windows,
                interrupt=True,
                counter_interrupt=True,
            ),
        )
        self._allocated: list[Endpoint] = []  # whose portal table has the step's entry
        self.tables = {endpoint: PortalTable(endpoint) for endpoint in (self.polled, self.interrupting)}

    # ---- memory ----

    def data(self, number: int, length_bytes: int) -> bytes:
        """Bytes that both ranks know by their number."""
        return np.random.default_rng([self._job.seed, number]).bytes(length_bytes)

    def write(self, window: int, offset: int, data: bytes) -> None:
        """The process itself writes."""
        self._memory[self._place(window, offset, len(data))] = np.frombuffer(data, dtype=np.uint8)
        self.expect(window, offset, data)

    def expect(self, window: int, offset: int, data: bytes) -> None:
        """The NIC is to write that."""
        self._expected[self._place(window, offset, len(data))] = np.frombuffer(data, dtype=np.uint8)

    def read(self, window: int, offset: int, length_bytes: int) -> bytes:
        """The process itself looks."""
        self.process.settle()
        self.process.compute(self.process.costs.poll)
        return self._memory[self._place(window, offset, length_bytes)].tobytes()

    def check_memory(self) -> None:
        """All of it is as it must be, also where nothing was to be written."""
        self.process.settle()
        for window, name in ((LOCAL, "local memory"), (REMOTE, "remote memory")):
            place = self._place(window, 0, self.area_bytes)
            self.checks.memory(name, self._memory[place], self._expected[place])

    def _place(self, window: int, offset: int, length_bytes: int) -> slice:
        start = self.area_bytes * window + offset
        return slice(start, start + length_bytes)

    # ---- what is offered ----

    def allocate(self, *, flow_control: bool = False, endpoint: Endpoint | None = None) -> None:
        """The step's portal table entry."""
        endpoint = endpoint or self.polled
        self.tables[endpoint].allocate(self.pt_index, flow_control=flow_control)
        self._allocated.append(endpoint)

    def append(self, entry: MatchEntry, *, endpoint: Endpoint | None = None) -> int:
        """A match entry of the priority list; its number."""
        return self.tables[endpoint or self.polled].append(self.pt_index, entry)

    def ready(self) -> None:
        """Wait until all that was offered stands."""
        self.polled.complete()
        self.interrupting.complete()

    # ---- what is asked ----

    def to(self, *, bits: int = 0, offset: int = 0, interrupting: bool = False) -> Target:
        """The other rank's portal table entry of this step."""
        pid = self.peer.interrupting_pid if interrupting else self.peer.pid
        return Target(nid=self.peer.nid, pid=pid, pt_index=self.pt_index, match_bits=bits, remote_offset=offset)

    def put(
        self,
        target: Target,
        data: bytes = b"",
        *,
        at: int = 0,
        ack_request: AckRequest = AckRequest.FULL,
        header_data: int = 0,
        user_data: int = 0,
        counting: Counting = NO_COUNTING,
        endpoint: Endpoint | None = None,
    ) -> None:
        """Put `data`, which the process writes at `at` of window LOCAL before; no SEND."""
        self.write(LOCAL, at, data)
        put(
            endpoint or self.polled,
            target,
            local=Region(window=LOCAL, offset=at, length_bytes=len(data)),
            ack_request=ack_request,
            header_data=header_data,
            user_data=user_data,
            counting=counting,
            event_send_disable=True,
        )

    # ---- what is told ----

    def event(self, what: str, *, endpoint: Endpoint | None = None, **expected: int) -> Event | None:
        """The next event has these fields, and 0 in all others; `entry` -1 is none. None if there is none in time."""
        endpoint = endpoint or self.polled
        event = endpoint.wait_until(self.process.now_ps + self._patience_ps)
        if event is None:
            self.checks.fail(what, "no such event came")
            return None
        self.tables[endpoint].observe(event)
        left_out = ("sequence", "user_data")
        found = {name: getattr(event, name) for name in event.__slots__ if name not in left_out}
        found |= {"entry": -1 if event.entry is None else event.entry, "entry_data": event.entry_data}
        self.checks.fields(what, found, dict.fromkeys(found, 0) | {"entry": -1} | expected)
        return event

    def message(
        self,
        what: str,
        kind: EventKind,
        *,
        endpoint: Endpoint | None = None,
        sender_pid: int | None = None,
        **fields: int,
    ) -> Event | None:
        """The next event is of a message of the other rank. Whole and in window REMOTE, if nothing else is said."""
        whole = {"manipulated_bytes": fields.get("requested_bytes", 0), "start_window": REMOTE}
        sender = {"src_nid": self.peer.nid, "src_pid": sender_pid or self.peer.pid, "jid": self._job.jid}
        return self.event(what, endpoint=endpoint, kind=kind, pt_index=self.pt_index, **whole | sender | fields)

    def answered(
        self,
        what: str,
        kind: EventKind = EventKind.ACK,
        *,
        moved: int = 0,
        offset: int = 0,
        fail: Fail = Fail.OK,
        user_data: int = 0,
        which: int = 0,
        endpoint: Endpoint | None = None,
        pid: int | None = None,
    ) -> Event | None:
        """The next event is an ACK or REPLY of the other rank: so many bytes at that offset of an entry of a list."""
        return self.event(
            what,
            endpoint=endpoint,
            kind=kind,
            src_nid=self.peer.nid,
            src_pid=pid or self.peer.pid,
            jid=self._job.jid,
            manipulated_bytes=moved,
            remote_offset=offset,
            fail=fail,
            entry_data=user_data,
            list=which,
        )

    def unlinked(self, what: str, kind: EventKind = EventKind.AUTO_UNLINK, **fields: int) -> Event | None:
        """The next event says that a match entry has gone, or is free."""
        return self.event(what, endpoint=self.polled, kind=kind, pt_index=self.pt_index, **fields)

    def counter(self, number: int, endpoint: Endpoint | None = None) -> Counter:
        """A counting event, at 0."""
        counter = Counter(endpoint or self.polled, number)
        counter.set()
        return counter

    def counted(self, what: str, counter: Counter, *, success: int = 0, failure: int = 0) -> None:
        """A counting event comes to have that value."""
        wanted = Count(success=success, failure=failure)
        due_ps = self.process.now_ps + self._patience_ps
        count = counter.read()
        while count != wanted and self.process.now_ps < due_ps:
            count = counter.read()
        self.checks.equal(what, count, wanted)

    # ---- time ----

    def due_ps(self) -> int:
        """When patience is over."""
        return self.process.now_ps + self._patience_ps

    def pause(self, duration_us: int) -> None:
        """Compute."""
        self.process.compute(duration_us * self._job.core_mhz)
        self.process.settle()

    def charged(self, counter: str) -> int:
        """What this node's kernel has charged to the job."""
        return self.process.calls.counters()[counter]

    # ---- the frame of a step ----

    def begin(self, step: str, role: str, peer: Peer, pt_index: int) -> None:
        """Nothing of earlier steps counts any more."""
        self.checks.begin(step, role)
        self.peer, self.pt_index = peer, pt_index
        self._drain()
        self._expected[:] = self._memory

    def end(self) -> None:
        """All that the step offered is taken back, and nothing more has been told."""
        self.pause(REST_US)
        self.checks.equal("events that nobody expects", self._drain(), 0)
        self.check_memory()
        while self._allocated:
            self._take_back(self._allocated.pop())

    def _take_back(self, endpoint: Endpoint) -> None:
        table, refused = self.tables[endpoint], endpoint.complete()
        for number in table.in_use:
            table.unlink(number)
        table.free(self.pt_index)
        self.checks.equal("commands refused that take back what was offered", endpoint.complete() - refused, 0)

    def _drain(self) -> int:
        """Take all events that there are; how many."""
        count = 0
        for endpoint, table in self.tables.items():
            while (event := endpoint.poll()) is not None:
                table.observe(event)
                count += 1
            endpoint.tell()
        return count
