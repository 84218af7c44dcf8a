"""What the hardware refused: who, what, where, when. The kernel's log, which is read with the results of a run."""

from __future__ import annotations

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


class Violations:
    """The log of one node, in the order in which the driver tells; `entries` are the first MOST_ENTRIES."""

    def __init__(self, kernel: Kernel) -> None:
        self.entries: list[Violation] = []
        self._kernel = kernel
        self._bus_errors: dict[int, Process] = {}  # physical address -> who got the latest error there

    def bus_error(self, address: int, process: Process) -> None:
        """The hardware answered a process's access to a physical address with an error."""
        self._bus_errors[address] = process

    def forget(self, jid: int) -> None:
        """A job's processes are gone."""
        self._bus_errors = {address: process for address, process in self._bus_errors.items() if process.jid != jid}

    def refused(self, network: Network, subject: int, reason: int, index: int, detail: int, time_cycles: int) -> int:
        """Service: the NIC refused something. If an access was not to a context's page, only the bus error tells whose
        doing it was."""
        context = network.contexts[index] if index < len(network.contexts) else None
        refused = partial(
            Violation,
            nid=self._kernel.node.nid,
            time_ps=time_cycles * network.device.clock_period_ps,
            subject=Subject(subject).name.lower(),
            reason=network.driver.reasons.get(reason, f"reason {reason}"),
            context=index if context else None,
        )
        if subject == Subject.PACKET:
            sender = EVENT.unpack([detail if word == _SENDER_WORD else 0 for word in range(EVENT.length_words)])
            self._add(refused(detail=detail, jid=sender["jid"], src_nid=sender["src_nid"], src_pid=sender["src_pid"]))
            return 0
        if subject == Subject.ACCESS:
            detail += network.device.base
        process = context.process if context else self._bus_errors.get(detail)
        jid, name = (process.jid, process.name) if process else (None, None)
        self._add(refused(detail=detail, jid=jid, process=name))
        return 0

    def _add(self, violation: Violation) -> None:
        # A packet's job is another node's matter, and may be a claim.
        self._kernel.counts.add(counters.VIOLATIONS, jid=violation.jid if violation.process else None)
        if len(self.entries) < MOST_ENTRIES:
            self.entries.append(violation)
