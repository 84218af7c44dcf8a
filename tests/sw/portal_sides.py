"""Ranks with one NIC context each, for tests of the library."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from fake_machine import FakeMachine
from sw_jobs import job

from rtl.portals import EventKind
from sw.apps.application import Job
from sw.kernel.contexts import ContextRequest, WindowRequest
from sw.kernel.process import Process
from sw.portals.endpoint import Endpoint
from sw.portals.events import Event
from sw.portals.operations import Region, Target, put
from sw.portals.portal_table import ALL_BITS, MatchEntry, PortalTable

PLACES = ((0, 0), (1, 0))
MEMORY_BYTES = 16384
EVERYTHING = {"window": 0, "length_bytes": MEMORY_BYTES, "ignore_bits": ALL_BITS, "op_put": True, "op_get": True}


@dataclass
class Side:
    """A rank with one context, all of whose memory is window 0 with all rights."""

    process: Process
    job: Job
    endpoint: Endpoint
    memory: np.ndarray
    table: PortalTable
    heard: list[Event] = field(default_factory=list)

    @classmethod
    def of(cls, process: Process, job: Job, **request: object) -> "Side":
        va = process.calls.allocate(MEMORY_BYTES)
        window = WindowRequest(
            va=va, length_bytes=MEMORY_BYTES, local_read=True, local_write=True, remote_read=True, remote_write=True
        )
        asked = {"commands_log2": 4, "events_log2": 6, "interrupt": True, "windows": (window,), **request}
        endpoint = Endpoint.open(process, ContextRequest(**asked))  # type: ignore[arg-type]
        memory = process.view(va, MEMORY_BYTES).view(np.uint8)
        return cls(process, job, endpoint, memory, PortalTable(endpoint))

    def events(self, count: int) -> list[Event]:
        """The next events."""
        events = []
        for _ in range(count):
            events.append(self.endpoint.wait())
            self.table.observe(events[-1])
        return events

    def kinds(self, count: int) -> list[EventKind]:
        return [EventKind(event.kind) for event in self.events(count)]


def pair(
    monkeypatch: pytest.MonkeyPatch,
    target: Callable[[Side], object],
    initiator: Callable[[Side, int], object],
    offer: Callable[[Side], object] = lambda side: None,
    **request: object,
) -> list[object]:
    """Rank 0 offers something, then rank 1 (which knows 0's PID) asks for it; what both return."""

    def main(process: Process, job: Job) -> object:
        side = Side.of(process, job, **request)
        offer(side) if job.rank == 0 else None
        side.endpoint.complete()
        pids = process.calls.fence(side.endpoint.handle.pid)
        return target(side) if job.rank == 0 else initiator(side, pids[0])

    return FakeMachine().run(job(monkeypatch, main, jid=9, placement=PLACES)).results()["job"]


def everything(side: Side) -> None:
    side.table.allocate(3)
    side.table.append(3, MatchEntry(user_data=0x5A, event_link_disable=True, **EVERYTHING))  # type: ignore[arg-type]


def alone(monkeypatch: pytest.MonkeyPatch, main: Callable[[Side], object], **request: object) -> object:
    """A rank that sends to itself."""

    def run(process: Process, job: Job) -> object:
        return main(Side.of(process, job, **request))

    return FakeMachine(nodes=1).run(job(monkeypatch, run)).results()["job"][0]


def to_self(side: Side, *, bits: int = 0, length_bytes: int = 0) -> None:
    put(
        side.endpoint,
        Target(nid=0, pid=side.endpoint.handle.pid, match_bits=bits),
        local=Region(window=0, offset=8192, length_bytes=length_bytes),
        event_send_disable=True,
    )
