"""What the kernel counts: declared here, reported without further code."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Counter:
    """A dotted name, what it counts, and what one count is."""

    name: str
    description: str
    unit: str


def _counter(name: str, unit: str, description: str) -> Counter:
    return Counter(name=name, description=description, unit=unit)


INTERRUPTS = _counter(
    "kernel.interrupts", "interrupts", "Device interrupts; a job is charged those with an event for it."
)
SIGNALS = _counter("kernel.signals", "interrupts", "Interrupts by another core or by the management network.")
TRAPS = _counter("kernel.traps", "traps", "System calls, page faults and bus errors of processes.")
PAGE_FAULTS = _counter("kernel.page_faults", "faults", "Accesses of processes that no mapping allows.")
BUS_ERRORS = _counter("kernel.bus_errors", "errors", "Register accesses of processes that the hardware refused.")
CONTEXT_SWITCHES = _counter(
    "kernel.context_switches", "switches", "From one process to another; charged to the new one."
)
CONTEXT_EVENTS = _counter("kernel.context_events", "events", "NIC contexts that an interrupt reported to have events.")
STUCK_CONTEXTS = _counter(
    "kernel.stuck_contexts",
    "contexts",
    "NIC contexts that stayed busy after they were closed, because memory or a link does not answer; they and the "
    "memory of their jobs are nobody's until the node is reset.",
)
WAKE_UPS = _counter("kernel.wake_ups", "wake-ups", "Processes that the default handler of an event woke.")
VIOLATIONS = _counter(
    "kernel.violations", "violations", "Refusals that the NIC's logs held; a job is charged those of its own processes."
)
PROCESSES = _counter("kernel.processes", "processes", "Processes made.")
PROCESS_FAILURES = _counter("kernel.process_failures", "processes", "Processes that ended with an error.")
EXTENSION_CALLS = _counter("extension.calls", "calls", "Calls of extensions; a job is charged those of its own.")
EXTENSION_INSTRUCTIONS = _counter("extension.instructions", "instructions", "Instructions that extensions executed.")
EXTENSION_STOPS = _counter("extension.stops", "extensions", "Extensions taken out for a fault or an exhausted budget.")

COUNTERS = (
    INTERRUPTS, SIGNALS, TRAPS, PAGE_FAULTS, BUS_ERRORS, CONTEXT_SWITCHES, CONTEXT_EVENTS, STUCK_CONTEXTS, WAKE_UPS,
    VIOLATIONS, PROCESSES, PROCESS_FAILURES, EXTENSION_CALLS, EXTENSION_INSTRUCTIONS, EXTENSION_STOPS,
)  # fmt: skip


class Counts:
    """The kernel counters of one node: in all, and of each job (by JID)."""

    def __init__(self) -> None:
        self.total = dict.fromkeys((counter.name for counter in COUNTERS), 0)
        self._jobs: dict[int, dict[str, int]] = {}

    def add(self, counter: Counter, amount: int = 1, *, jid: int | None = None) -> None:
        """Count, and charge the job `jid` if one is given."""
        self.total[counter.name] += amount
        if jid is not None:
            self.charge(counter, jid, amount)

    def charge(self, counter: Counter, jid: int, amount: int = 1) -> None:
        """Charge a job alone, for what is counted elsewhere."""
        self._jobs.setdefault(jid, dict.fromkeys(self.total, 0))[counter.name] += amount

    def of_job(self, jid: int) -> dict[str, int]:
        """A copy of what was charged to a job."""
        return dict(self._jobs.get(jid) or dict.fromkeys(self.total, 0))
