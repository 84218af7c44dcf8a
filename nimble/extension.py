"""An extension: a program with what it was granted, its own state, its counters and how it was stopped."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum

from nimble.access import AddressSpace, Right, Window
from nimble.engine import Thread
from nimble.engine.outcome import Outcome, Status
from nimble.program import Program
from nimble.services import Services
from nimble.verifier import Facts

RETURNED = Status.RETURNED  # on the way of every call, where the look-up of an enumeration's member counts

NEVER = 1 << 200  # more instructions than are ever executed
BUDGET_LIMIT = 1 << 60  # instructions per call; every engine counts in signed 64 bits
PRIORITY_LIMIT = 1000
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,199}")


class Trust(Enum):
    """Who inserted it, and so which form of the operations runs: unchecked for TRUSTED, checked for UNTRUSTED."""

    TRUSTED = "trusted"
    UNTRUSTED = "untrusted"


@dataclass(frozen=True)
class Attachment:
    """``entry`` handles ``event``. Of several extensions on one event the highest ``priority`` comes first.

    Priorities are -1000..1000. Raises ValueError.
    """

    event: str
    entry: str
    priority: int = 0

    def __post_init__(self) -> None:
        for what, value in (("event", self.event), ("entry", self.entry)):
            if not isinstance(value, str) or not value:
                raise ValueError(f"attach: {what}: {value!r} is no name; write the {what}'s name")
        if type(self.priority) is not int or abs(self.priority) > PRIORITY_LIMIT:
            text = f"{self.priority!r} is no integer in -{PRIORITY_LIMIT}..{PRIORITY_LIMIT}; write one"
            raise ValueError(f"attach {self.event}: priority: {text}")


@dataclass(frozen=True)
class WindowWish:
    """A window that an extension cannot do without, by name, and the rights that it needs there. Raises ValueError."""

    name: str
    rights: Right

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"windows: name: {self.name!r} is no name; write the window's name")
        if not isinstance(self.rights, Right) or not self.rights:
            raise ValueError(f"window {self.name}: rights: {self.rights!r}; ask for READ, WRITE or both")


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What an extension asks for. Raises ValueError with the name, the field, the value and the remedy.

    ``attach``: which events which of its entries handle. ``budget``: instructions allowed per call. ``windows``: those
    that it needs; it gets these with these rights and no others. ``calls``: names of the extensions that it calls,
    which must be inserted before it. ``exports``: the entries that other extensions may call. ``shared_state``: others
    (a second core that runs it, an application that reads its state) see its state while it runs, so that time is paid
    before each access to it. ``resumes``: it takes over the state that an extension of its name left.
    """

    name: str
    trust: Trust
    attach: tuple[Attachment, ...]
    budget: int
    windows: tuple[WindowWish, ...] = ()
    calls: tuple[str, ...] = ()
    exports: tuple[str, ...] = ()
    shared_state: bool = False
    resumes: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            text = "write a letter or '_', then at most 199 letters, digits, '_', '.' or '-'"
            raise ValueError(f"manifest: name: {self.name!r} is no name; {text}")
        self._check_types()
        if type(self.budget) is not int or not 1 <= self.budget <= BUDGET_LIMIT:
            text = f"{self.budget!r}; must be 1 or more, and at most {BUDGET_LIMIT}; give instructions per call"
            raise ValueError(f"{self.name}: budget: {text}")
        if self.name in self.calls:
            raise ValueError(f"{self.name}: calls: {self.name} is this extension; call its function with call local")
        self._check_twice("attach", [attachment.event for attachment in self.attach], "an event has one entry")
        self._check_twice("windows", [wish.name for wish in self.windows], "ask for all rights at once")
        self._check_twice("calls", self.calls, "once is enough")
        self._check_twice("exports", self.exports, "once is enough")

    def _check_types(self) -> None:
        if not isinstance(self.trust, Trust):
            raise ValueError(f"{self.name}: trust: {self.trust!r}; write trusted or untrusted")
        for what, kind in (("attach", Attachment), ("windows", WindowWish), ("calls", str), ("exports", str)):
            given = getattr(self, what)
            if not isinstance(given, tuple) or not all(isinstance(item, kind) for item in given):
                raise ValueError(f"{self.name}: {what}: {given!r}; give a tuple of {kind.__name__}")
        for what in ("shared_state", "resumes"):
            if not isinstance(getattr(self, what), bool):
                raise ValueError(f"{self.name}: {what}: {getattr(self, what)!r}; write true or false")

    def _check_twice(self, what: str, names: list[str] | tuple[str, ...], why: str) -> None:
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"{self.name}: {what}: {name} is named twice; {why}; remove one")


@dataclass(slots=True)
class Usage:
    """What extensions of one name have used, one after the other if it was inserted again.

    ``faults`` and ``budget_stops`` are calls that ended so. Times are picoseconds on the clock of the host's watch; a
    call's time is all from its begin to its end, what it waited for and the extensions that it called included.
    """

    calls: int = 0
    instructions: int = 0
    faults: int = 0
    budget_stops: int = 0
    time_ps: int = 0
    worst_ps: int = 0

    def add_time(self, took_ps: int) -> None:
        """One call took so long."""
        self.time_ps += took_ps
        if took_ps > self.worst_ps:
            self.worst_ps = took_ps

    def add_stop(self, outcome: Outcome) -> None:
        """One call ended badly."""
        self.faults += outcome.status is Status.FAULT
        self.budget_stops += outcome.status is Status.BUDGET


@dataclass(eq=False)
class Extension:
    """A program inserted into a host. Made by ``Host.insert``; only the host changes it.

    ``state`` is the window of its own memory, or None if the program has none; ``memory`` are its bytes. ``callees``
    are those that it may call, ``chain`` how many can be inside one another with it. ``order`` counts insertions.
    ``hot_at``: with that many instructions in its usage, compiling it pays. ``running``: calls that have begun and not
    ended. ``stopped`` is the outcome for which it was taken from its events; ``removed`` says that the host let go of
    it: with the end of the last call that runs, ``thread`` becomes None and its views of memory are gone.
    """

    program: Program
    manifest: Manifest
    space: AddressSpace
    services: Services
    facts: Facts = field(repr=False)
    memory: bytearray = field(repr=False)
    state: Window | None
    thread: Thread | None = field(repr=False)
    callees: tuple[Extension, ...]
    chain: int
    order: int
    usage: Usage
    hot_at: int = NEVER
    running: int = 0
    stopped: Outcome | None = None
    removed: bool = False

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def usable(self) -> bool:
        """Whether a call may begin."""
        return self.stopped is None and not self.removed

    def let_go(self) -> None:
        """Drop everything by which memory is reached."""
        self.thread = self.state = None
        self.space = AddressSpace(())
        self.services = Services()
        self.facts = Facts()
