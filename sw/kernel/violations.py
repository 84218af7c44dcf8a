"""What the hardware refused: who, what, where, when. The kernel's log, which is read with the results of a run."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from rtl.portals import EVENT
from sw.drivers.interface import Subject
from sw.kernel import counters

if TYPE_CHECKING:
    from sw.kernel.kernel import Kernel
    from sw.kernel.network import Network
    from sw.kernel.process import Process

MOST_ENTRIES = 4096  # of a node; what comes later is only counted
MOST_ERRORS = 1024  # remembered until the log tells of them; a log holds less than a tenth as many
MOST_OWNERS = 8  # remembered of each context for the same reason
_SENDER_WORD = EVENT.fields["src_nid"].word


@dataclass(frozen=True, kw_only=True)
class Violation:
    """Something that a node's hardware refused.

    When: `time_ps`, by the device's clock. What: `subject` (access, command or packet) and `reason`. Where: node `nid`,
    its NIC context `context` (None: none), and `detail`, which is the address of an access, a command's number, or a
    packet's identity word. Who: `jid` and `process`, None for nobody's; of a packet `jid`, `src_nid` and `src_pid` are
    what its sender's hardware says, or a claim if the packet was damaged.
    """

    nid: int
    time_ps: int
    subject: str
    reason: str
    context: int | None
    detail: int
    jid: int | None
    process: str | None = None
    src_nid: int | None = None
    src_pid: int | None = None


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """Who may have done what is refused: at `time_ps` the process got an error at `place`, which is a physical address,
    or was given `place`, which is a context."""

    place: int
    time_ps: int
    jid: int
    process: str

    @classmethod
    def of(cls, place: int, process: Process) -> Suspect:
        return cls(place=place, time_ps=process.now_ps, jid=process.jid, process=process.name)


class Violations:
    """The log of one node, in the order in which the driver tells; `entries` are the first MOST_ENTRIES. A refusal may
    be told of when its process is gone, so that its time says whose it was."""

    def __init__(self, kernel: Kernel) -> None:
        self.entries: list[Violation] = []
        self._kernel = kernel
        self._bus_errors: deque[Suspect] = deque(maxlen=MOST_ERRORS)
        self._owners: dict[int, deque[Suspect]] = {}  # by context, the last ones

    def bus_error(self, address: int, process: Process) -> None:
        """The hardware answered a process's access to a physical address with an error."""
        self._bus_errors.append(Suspect.of(address, process))

    def opened(self, index: int, process: Process) -> None:
        """From now on a context is a process's."""
        self._owners.setdefault(index, deque(maxlen=MOST_OWNERS)).append(Suspect.of(index, process))

    def refused(self, network: Network, subject: int, reason: int, index: int, detail: int, time_cycles: int) -> int:
        """Service: the NIC refused something. If an access was not to a context's page, only the bus error tells whose
        doing it was."""
        time_ps = time_cycles * network.device.clock_period_ps
        owner = self._owner_at(index, time_ps)
        refused = partial(
            Violation,
            nid=self._kernel.node.nid,
            time_ps=time_ps,
            subject=Subject(subject).name.lower(),
            reason=network.driver.reasons.get(reason, f"reason {reason}"),
            context=index if owner else None,
        )
        if subject == Subject.PACKET:
            sender = EVENT.unpack([detail if word == _SENDER_WORD else 0 for word in range(EVENT.length_words)])
            self._add(refused(detail=detail, jid=sender["jid"], src_nid=sender["src_nid"], src_pid=sender["src_pid"]))
            return 0
        if subject == Subject.ACCESS:
            detail += network.device.base
        who = owner or self._error_at(detail, time_ps)
        self._add(refused(detail=detail, jid=who.jid if who else None, process=who.process if who else None))
        return 0

    def _owner_at(self, index: int, time_ps: int) -> Suspect | None:
        """Whose the context was then, or last before."""
        owners = reversed(self._owners.get(index, ()))
        return next((owner for owner in owners if owner.time_ps <= time_ps), None)

    def _error_at(self, address: int, time_ps: int) -> Suspect | None:
        """The first error there that a core saw since the hardware refused at `time_ps`. Each core has its own time."""
        errors = (error for error in self._bus_errors if error.place == address and error.time_ps >= time_ps)
        return min(errors, key=lambda error: error.time_ps, default=None)

    def _add(self, violation: Violation) -> None:
        # A packet's job is another node's matter, and may be a claim.
        self._kernel.counts.add(counters.VIOLATIONS, jid=violation.jid if violation.process else None)
        if len(self.entries) < MOST_ENTRIES:
            self.entries.append(violation)
