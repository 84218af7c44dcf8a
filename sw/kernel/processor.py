"""One core under the kernel: its run queue, its scheduler, its interrupts, the time that extensions take on it.

Processes run until they wait: the quantum is infinite. An event that wakes a process preempts for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from greenlet import GreenletExit, getcurrent, greenlet

from nimble.timing import HUNDRED
from sw.kernel import counters
from sw.kernel.costs import CpuCosts
from sw.kernel.errors import KernelPanic
from sw.kernel.hardware import Core, Interrupt, TraceKind
from sw.kernel.process import Process, State

if TYPE_CHECKING:
    from sw.kernel.kernel import Kernel

# From one node to another over the management network: a request of tens of bytes over 100 Mb/s Ethernet, as Red
# Storm's.
MANAGEMENT_DELAY_PS = 10_000_000


class Processor:
    """The kernel's half of a core. All methods run on this core, except `post` and `wake`."""

    def __init__(self, kernel: Kernel, core: Core, costs: CpuCosts) -> None:
        self.kernel = kernel
        self.core = core
        self.costs = costs
        self.scheduler: greenlet | None = None  # the core's first greenlet
        self.current: Process | None = None
        self._last: Process | None = None
        self._ready: deque[Process] = deque()
        self._urgent = 0  # the first so many of `_ready` were woken by events
        self._due_ps: dict[Process, int] = {}  # of those that wait no longer than until then
        self._doomed: list[Process] = []
        self._inbox: list[Callable[[Processor], None]] = []
        self._hundredths = 0
        self.charged: set[int] = set()  # JIDs on whose account the interrupt being served is

    def run(self, boot: Callable[[Processor], None] | None) -> None:
        """The life of the core: boot, then processes for ever."""
        self.scheduler = getcurrent()
        self.kernel.register(self.scheduler, self)
        self.core.on_interrupt = self._interrupted
        self.core.interrupts_enabled = False
        if boot is not None:
            boot(self)
        while True:
            self._bury()
            self._wake_due()
            if self._ready:
                self._dispatch(self._ready.popleft())
            else:
                self._idle()

    # ---- scheduling ----

    def add(self, process: Process) -> None:
        """Let a new process run when its turn comes."""
        process.state = State.READY
        self._ready.append(process)

    def wake(self, process: Process) -> None:
        """Let a waiting process of this core run before all others; callable from any core of the node."""
        if process.state is not State.WAITING:
            return
        process.state = State.READY
        self._due_ps.pop(process, None)
        self._ready.insert(self._urgent, process)
        self._urgent += 1
        if self.kernel.here() is not self:
            self.core.signal()

    def sleep(self, due_ps: int | None = None) -> None:
        """The running process waits until it is woken, or until `due_ps` has passed and nothing else runs here."""
        if due_ps is not None:
            assert self.current is not None
            self._due_ps[self.current] = due_ps
        self._leave(State.WAITING)

    def yield_core(self) -> None:
        """The running process lets all that are ready run first."""
        assert self.current is not None
        self._ready.append(self.current)
        self._leave(State.READY)

    def kill(self, processes: list[Process]) -> None:
        """End those processes that live on this core, whatever they are doing."""
        for process in processes:
            if process.processor is self and process.state is not State.DEAD and process not in self._doomed:
                self._doomed.append(process)
        waiting = [process for process in self._ready if process not in self._doomed]
        self._urgent = sum(process not in self._doomed for process in list(self._ready)[: self._urgent])
        self._ready = deque(waiting)
        self._due_ps = {process: due_ps for process, due_ps in self._due_ps.items() if process not in self._doomed}

    def _wake_due(self) -> None:
        for process in [process for process, due_ps in self._due_ps.items() if due_ps <= self.core.now_ps]:
            self.wake(process)

    def _leave(self, state: State) -> None:
        """Give the core to the scheduler; returns when the process is dispatched again."""
        process = self.current
        assert process is not None
        assert self.scheduler is not None
        process.state = state
        process.interrupts_enabled = self.core.interrupts_enabled
        self.scheduler.switch()

    def _dispatch(self, process: Process) -> None:
        self._urgent = max(self._urgent - 1, 0)
        if process is not self._last:
            start_ps = self.core.now_ps
            self.core.spend(self.costs.context_switch)
            self.kernel.counts.add(counters.CONTEXT_SWITCHES, jid=process.jid)
            self.core.settle()
            self.trace(TraceKind.SWITCH, start_ps, process.name, process.pid)
        self._last = self.current = process
        process.state = State.RUNNING
        start_ps = self.core.now_ps
        self.core.interrupts_enabled = process.interrupts_enabled
        process.greenlet.switch()
        self.core.interrupts_enabled = False
        self.current = None
        self.trace(TraceKind.PROCESS, start_ps, process.name, process.pid)
        if process.greenlet.dead:
            self.kernel.process_ended(self, process)

    def _bury(self) -> None:
        """End the processes that were killed. Their frames unwind here, while nothing else runs on the core."""
        while self._doomed:
            process = self._doomed.pop(0)
            process.greenlet.throw(GreenletExit)
            self.core.interrupts_enabled = False
            self.kernel.process_ended(self, process)

    def _idle(self) -> None:
        self.core.interrupts_enabled = True
        self.core.settle()
        if not self._ready and not self._doomed:
            self.core.idle(min(self._due_ps.values(), default=None))
        self.core.interrupts_enabled = False

    # ---- interrupts ----

    def post(self, origin: Processor, action: Callable[[Processor], None]) -> None:
        """Run `action` on this core soon; called on the core `origin` of any node."""
        origin.core.settle()
        self._inbox.append(action)
        self.core.signal(MANAGEMENT_DELAY_PS)

    def _interrupted(self, cause: Interrupt) -> None:
        start_ps = self.core.now_ps
        self.core.spend(self.costs.interrupt_entry)
        try:
            self._serve(cause)
        except Exception as error:  # it must not look like the interrupted application's
            raise KernelPanic(f"node {self.core.node} core {self.core.index}: {cause.value}: {error!r}") from error
        self.core.spend(self.costs.interrupt_exit)
        self.core.settle()
        self.trace(TraceKind.INTERRUPT, start_ps, cause.value)
        if self.current is not None and (self._urgent or self._doomed):
            self._preempt(self.current)

    def _serve(self, cause: Interrupt) -> None:
        if cause is Interrupt.DEVICE:
            self.kernel.counts.add(counters.INTERRUPTS)
            self.kernel.serve_devices(self)
            return
        self.kernel.counts.add(counters.SIGNALS)
        actions, self._inbox = self._inbox, []
        for action in actions:
            action(self)

    def _preempt(self, process: Process) -> None:
        """The interrupted process goes behind those that were woken and before the rest; killed, it goes nowhere."""
        if process not in self._doomed:
            self._ready.insert(self._urgent, process)
        self._leave(State.READY)

    # ---- time ----

    def spend_hundredths(self, hundredths: int) -> None:
        """Let the time of an extension's instructions pass, in hundredths of a cycle; what is no whole cycle is carried
        over to the next time."""
        cycles, self._hundredths = divmod(self._hundredths + hundredths, HUNDRED)
        self.core.spend(cycles)
        self.core.settle()

    def trace(self, kind: TraceKind, start_ps: int, name: str, value: int = 0) -> None:
        """Record a span that ends now."""
        core = self.core
        self.kernel.node.trace.record(kind, core.node, core.index, start_ps, core.now_ps, name, value)
