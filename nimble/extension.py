"""An extension: a program with what it was granted, its own state, its counters and how it was stopped."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from nimble.access import AddressSpace, Window
from nimble.engine.closures import Outcome, Status, Thread
from nimble.program import Program
from nimble.services import Services


class Trust(Enum):
    """Who inserted it, and so which form of the operations runs: unchecked for TRUSTED, checked for UNTRUSTED."""

    TRUSTED = "trusted"
    UNTRUSTED = "untrusted"


@dataclass(frozen=True)
class Manifest:
    """What an extension asks for.

    ``attach``: pairs of an event and the entry that handles it. ``budget``: instructions allowed per call.
    ``windows``: names of the windows that it cannot do without. ``shared_state``: others (a second core that runs it,
    an application that reads its state) see its state while it runs, so that time is paid before each access to it.
    """

    name: str
    trust: Trust
    attach: tuple[tuple[str, str], ...]
    budget: int
    windows: tuple[str, ...] = ()
    shared_state: bool = False

    def __post_init__(self) -> None:
        if self.budget < 1:
            raise ValueError(f"{self.name}: budget: {self.budget}; must be 1 or more; give instructions per call")
        events = [event for event, _ in self.attach]
        for event in events:
            if events.count(event) > 1:
                raise ValueError(f"{self.name}: attach: {event} is named twice; an event has one entry; remove one")


@dataclass(eq=False)
class Extension:
    """A program inserted into a host. Made by ``Host.insert``; only the host changes it.

    Counters: ``calls``, ``instructions`` (all executed), ``faults`` and ``budget_stops`` (calls that ended so).
    ``state`` is the window of its own memory, or None if the program has none. ``stopped`` is the outcome for which
    it was taken from its events; ``removed`` says that the host let go of it.
    """

    program: Program
    manifest: Manifest
    space: AddressSpace
    services: Services
    state: Window | None
    thread: Thread = field(repr=False)
    calls: int = 0
    instructions: int = 0
    faults: int = 0
    budget_stops: int = 0
    stopped: Outcome | None = None
    removed: bool = False

    @property
    def name(self) -> str:
        return self.manifest.name

    def count(self, outcome: Outcome) -> None:
        """Take one ended call into the counters."""
        self.calls += 1
        self.instructions += outcome.instructions
        self.faults += outcome.status is Status.FAULT
        self.budget_stops += outcome.status is Status.BUDGET
