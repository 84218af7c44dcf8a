"""NIC contexts: who owns which, what an event of one leads to. Everything that touches the NIC is an entry of its
driver; this file knows no register."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nimble.access import READ_WRITE, Right
from nimble.engine.outcome import Status
from nimble.extension import Extension
from sw.drivers.interface import CONTEXT_STATE, DEVICE_INFO, WINDOW_SETUP, Driver
from sw.kernel import counters
from sw.kernel.contexts import (
    COUNTER_BYTES,
    ENTRY_BYTES,
    Context,
    ContextHandle,
    ContextLimits,
    ContextRequest,
    check_moderation,
    check_request,
    context_setup,
    device_cycles,
    window_setup,
)
from sw.kernel.errors import KernelPanic, RequestRefused
from sw.kernel.hardware import Device
from sw.kernel.memory import PAGE_BYTES, Region, RegionKind

if TYPE_CHECKING:
    from sw.kernel.kernel import Kernel
    from sw.kernel.process import Process
    from sw.kernel.processor import Processor

DRAIN_READS = 100_000  # of a closed context's state: far more than its last packet takes behind those of all nodes
LOG_READS = 1000  # by the driver at the end: far more than logs hold, but not for ever if links go on
PARAMETER_BYTES = PAGE_BYTES  # of each core, for the records that a driver reads and writes


class Network:
    """The node's NIC through its driver."""

    def __init__(self, kernel: Kernel, device: Device, driver: Driver) -> None:
        self.device = device
        self.driver = driver
        self._kernel = kernel
        self._extension: Extension | None = None
        self._parameters: dict[int, Region] = {}  # by core
        self._info: dict[str, int] = {}
        self.contexts: list[Context | None] = []
        self._draining: dict[int, int] = {}  # closed, but the device may still touch the memory of the job (JID)

    def start(self, extension: Extension, parameters: Mapping[int, Region], *times_cycles: int) -> None:
        """Initialise the device. `times_cycles`, as `init` takes them: how long requests wait for a response, and what
        is between two interrupts for refusals and for events of a context. KernelPanic if it refuses."""
        self._extension = extension
        self._parameters = dict(parameters)
        region = self._region()
        self._call("init", self._kernel.node.nid, region.base, *times_cycles)
        self._info = DEVICE_INFO.unpack(self._words(region, DEVICE_INFO.length_words).tolist())
        self.contexts = [None] * self._info["contexts"]

    # ---- contexts ----

    def open(self, process: Process, request: ContextRequest) -> Context:
        """Give a process a context. RequestRefused, PageFault (a window it does not own)."""
        index = self._free_index()
        check_request(request, windows=self._info["windows"], clock_period_ps=self.device.clock_period_ps)
        windows = [window_setup(process, window) for window in request.windows]
        context = self._make(process, request, index)
        self.contexts[index] = context
        region = self._region()
        setup = context_setup(
            context, request, windows=self._info["windows"], clock_period_ps=self.device.clock_period_ps
        )
        closed = [WINDOW_SETUP.pack()] * (self._info["windows"] - len(windows))
        words = [word for record in (setup, *windows, *closed) for word in record]
        self._words(region, len(words))[:] = words
        self._kernel.violations.opened(index, process)
        self._call("open", index, region.base)
        context.settled = True
        return context

    def owned(self, process: Process, index: int) -> Context:
        """The context `index` if it belongs to the process's job. RequestRefused."""
        context = self.contexts[index] if 0 <= index < len(self.contexts) else None
        if context is None or context.process.jid != process.jid:
            raise RequestRefused(f"context {index}: is not one of job {process.jid}; open it first")
        return context

    def moderate(self, process: Process, index: int, count: int, duration_us: int) -> None:
        """How a context interrupts from now on. RequestRefused."""
        context = self.owned(process, index)
        period_ps = self.device.clock_period_ps
        check_moderation(count, duration_us, period_ps)
        context.settled = False
        self._call("moderate", index, count, device_cycles(duration_us, period_ps))
        context.settled = True

    def close_of(self, jid: int) -> None:
        """Close all contexts of a job and wait until the device leaves their memory alone. A context that stays busy is
        nobody's until the node is reset, and `touches` says so."""
        mine = [context for context in self.contexts if context is not None and context.process.jid == jid]
        for context in mine:
            context.settled = False
            self._call("close", context.handle.index)
            self._draining[context.handle.index] = jid
            self.contexts[context.handle.index] = None
        for context in mine:
            if self._drained(context.handle.index):
                del self._draining[context.handle.index]
            else:
                self._kernel.counts.add(counters.STUCK_CONTEXTS, jid=jid)

    def touches(self, jid: int) -> bool:
        """Whether the device may still read or write memory of a job whose contexts are closed: what it does not
        answer for is given to nobody else."""
        return jid in self._draining.values()

    def _drained(self, index: int) -> bool:
        """Transfers of a closed context that had begun still end, unless memory or a link does not answer any more."""
        return any(not self._call("busy", index) for _ in range(DRAIN_READS))

    # ---- what the driver tells ----

    def context_event(self, index: int) -> int:
        """Service: events were written to the queue of a context. An extension handles it, or its sleeper is woken."""
        context = self.contexts[index] if index < len(self.contexts) else None
        # Closed since, and perhaps another's by now: extensions of others before it may have taken long.
        if context is None or context.process.processor is not self._kernel.here():
            return 0
        counts, jid = self._kernel.counts, context.process.jid
        counts.add(counters.CONTEXT_EVENTS, jid=jid)
        self._kernel.charge_interrupt(jid)
        if not self._kernel.extensions.handle(context.handle.event, index):
            self._wake(context)
        return 0

    def _wake(self, context: Context) -> None:
        """The default handler. What it leaves in `pending` answers the next wait: no event is lost between a process's
        last look at its queue and its sleep."""
        context.pending = True
        if context.sleeper is not None:
            sleeper, context.sleeper = context.sleeper, None
            self._kernel.counts.add(counters.WAKE_UPS, jid=sleeper.jid)
            sleeper.processor.wake(sleeper)

    # ---- reading the device ----

    def read_refusals(self) -> None:
        """Have the driver tell of all that the device has refused so far."""
        for _ in range(LOG_READS):
            if not self._call("refusals"):
                return

    def counters(self) -> dict[str, int]:
        """The device's counters by name."""
        region = self._region()
        self._call("counters", region.base)
        values = self._words(region, len(self.driver.counters))
        return {counter.name: int(value) for counter, value in zip(self.driver.counters, values, strict=True)}

    def registers(self) -> dict[ContextHandle, dict[str, int]]:
        """The registers of all contexts that are open throughout."""
        found = {}
        for context in [context for context in self.contexts if context is not None and context.settled]:
            registers = self._inspect(context.handle.index)
            if context.settled:
                found[context.handle] = registers
        return found

    def _inspect(self, index: int) -> dict[str, int]:
        region = self._region()
        self._call("inspect", index, region.base)
        return CONTEXT_STATE.unpack(self._words(region, CONTEXT_STATE.length_words).tolist())

    @property
    def limits(self) -> ContextLimits:
        """What each context has."""
        return ContextLimits(**{field.name: self._info[field.name] for field in fields(ContextLimits)})

    @property
    def kernel_page(self) -> tuple[int, int]:
        """Physical address and length of the registers that are the kernel's."""
        return self.device.base, self._info["page_offset"]

    # ---- inside ----

    def _free_index(self) -> int:
        for index, context in enumerate(self.contexts):
            if context is None and index not in self._draining:
                return index
        raise RequestRefused(
            f"NIC contexts: all {len(self.contexts)} of node {self._kernel.node.nid} are in use; "
            "build the NIC with more"
        )

    def _make(self, process: Process, request: ContextRequest, index: int) -> Context:
        memory, name = self._kernel.memory, f"{process.name}.context{index}"
        commands = memory.allocate(
            RegionKind.RING, ENTRY_BYTES << request.commands_log2, f"{name}.commands", process.jid
        )
        events = memory.allocate(RegionKind.RING, ENTRY_BYTES << request.events_log2, f"{name}.events", process.jid)
        # Every context has them: a command of the process alone makes the NIC write there.
        counting = memory.allocate(
            RegionKind.RING, COUNTER_BYTES * self.limits.counters, f"{name}.counters", process.jid
        )
        page = self.device.base + self._info["page_offset"] + index * self._info["page_stride"]
        length = self._info["page_stride"]
        handle = ContextHandle(
            index=index,
            nid=self._kernel.node.nid,
            pid=self._pid(process),
            jid=process.jid,
            commands_va=process.space.map(
                commands.kind, commands.base, ENTRY_BYTES << request.commands_log2, READ_WRITE
            ).va,
            commands_log2=request.commands_log2,
            events_va=process.space.map(events.kind, events.base, ENTRY_BYTES << request.events_log2, Right.READ).va,
            events_log2=request.events_log2,
            counters_va=process.space.map(counting.kind, counting.base, counting.length_bytes, Right.READ).va,
            page_va=process.space.map(RegionKind.DEVICE, page, length, READ_WRITE, alignment=length).va,
            event=f"{self.device.name}.context{index}",
            interrupt=request.interrupt,
            counter_interrupt=request.counter_interrupt,
            limits=self.limits,
        )
        return Context(handle=handle, process=process, commands=commands, events=events, counters=counting)

    def _pid(self, process: Process) -> int:
        """A context's PID is its address for packets: the process's own, and a further one for each further context."""
        own = any(context is not None and context.handle.pid == process.pid for context in self.contexts)
        return self._kernel.new_pid() if own else process.pid

    def _call(self, entry: str, *arguments: int) -> int:
        assert self._extension is not None
        outcome = self._kernel.extensions.call(self._extension, entry, *arguments)
        if outcome.status is not Status.RETURNED:
            raise KernelPanic(f"node {self._kernel.node.nid}: driver {self.driver.name}: {entry}: {outcome.reason}")
        return outcome.r0

    def _region(self) -> Region:
        processor: Processor = self._kernel.here()
        return self._parameters[processor.core.index]

    def _words(self, region: Region, count: int) -> npt.NDArray[np.uint64]:
        return self._kernel.memory.view(region.base, 8 * count).view(np.uint64)
