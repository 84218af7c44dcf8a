"""The lightweight kernel of one node: its parts, its processes, and what it records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from greenlet import getcurrent, greenlet

from nimble.access import READ_WRITE
from sw.drivers.interface import Driver
from sw.kernel import counters
from sw.kernel.boot import boot
from sw.kernel.costs import CpuCosts
from sw.kernel.counters import Counts
from sw.kernel.errors import KernelPanic, OutOfMemoryError
from sw.kernel.extensions import Extensions
from sw.kernel.hardware import Device, Node
from sw.kernel.memory import SLOTS, AddressSpace, PhysicalMemory, RegionKind
from sw.kernel.network import Network
from sw.kernel.process import Main, Process, State
from sw.kernel.processor import Processor
from sw.kernel.traps import SystemCalls
from sw.kernel.violations import Violations

MAX_PID = 0xFFFF


class Manager(Protocol):
    """What the kernel tells the machine's launcher."""

    def booted(self, processor: Processor) -> None:
        """A node is ready for jobs."""

    def process_ended(self, processor: Processor, process: Process) -> None:
        """A process ended, by itself or killed."""

    def fence(self, process: Process, value: object) -> tuple[object, ...]:
        """Wait for all ranks of the process's job; what each of them gave, by rank."""


class Kernel:
    """One node's kernel. A request of its processes to which no response comes fails after `response_timeout_us`, or up
    to twice as long; 0: never. Interrupts for events of one context are at least `interrupt_interval_us` apart."""

    def __init__(
        self,
        node: Node,
        *,
        costs: CpuCosts,
        drivers: Sequence[Driver],
        manager: Manager,
        engine: str,
        response_timeout_us: int,
        interrupt_interval_us: int,
    ) -> None:
        self.node = node
        self.manager = manager
        self.counts = Counts()
        self.memory = PhysicalMemory(node.memory)
        self.extensions = Extensions(self, costs=costs, engine=engine)
        self.processors = [Processor(self, core, costs) for core in node.cores]
        self.network: Network | None = None
        self.violations = Violations(self)
        self.response_timeout_us = response_timeout_us
        self.interrupt_interval_us = interrupt_interval_us
        self._drivers = drivers
        self._processes: list[Process] = []
        self._processor_of: dict[greenlet, Processor] = {}
        self._last_pid = 0

    def run_core(self, index: int) -> None:
        """The life of a core; the first one boots the node."""
        self.processors[index].run(self._boot if index == 0 else None)

    def here(self) -> Processor:
        """The core that is running this."""
        return self._processor_of[getcurrent()]

    def register(self, running: greenlet, processor: Processor) -> None:
        """Say which core a greenlet belongs to."""
        self._processor_of[running] = processor

    def _boot(self, processor: Processor) -> None:
        boot(self, processor, self._drivers)
        self.manager.booted(processor)

    # ---- interrupts ----

    @staticmethod
    def interrupt_event(device: Device) -> str:
        """The event that a device's interrupt raises."""
        return f"{device.name}.interrupt"

    def serve_devices(self, processor: Processor) -> None:
        """Give a core's interrupt to the drivers. KernelPanic if one was stopped: nobody else can silence the
        device."""
        processor.charged.clear()
        for device in self.node.devices:
            if not self.extensions.handle(self.interrupt_event(device), processor.core.index):
                raise KernelPanic(f"node {self.node.nid}: the interrupt of {device.name} has no handler")

    def charge_interrupt(self, jid: int) -> None:
        """The interrupt being served here is on account of a job; counted once per interrupt."""
        charged = self.here().charged
        if jid not in charged:
            charged.add(jid)
            self.counts.charge(counters.INTERRUPTS, jid)

    def require_network(self) -> Network:
        """The node's NIC. KernelPanic if no driver for one was inserted."""
        if self.network is None:
            raise KernelPanic(f"node {self.node.nid}: no NIC has a driver; add nic to kernel.drivers")
        return self.network

    # ---- processes ----

    def make_process(
        self, processor: Processor, *, name: str, jid: int, rank: int | None, main: Main, kernel_page: bool = False
    ) -> Process:
        """A new process of a core; it does not run yet. `kernel_page`: map the NIC's kernel page into it, a hole made
        on purpose so that the hardware's own refusal can be seen. OutOfMemoryError."""
        process = Process(
            kernel=self,
            processor=processor,
            name=name,
            pid=self.new_pid(),
            jid=jid,
            slot=self._free_slot(),
            rank=rank,
            main=main,
        )
        process.calls = SystemCalls(process)
        if kernel_page:
            base, length = self.require_network().kernel_page
            mapping = process.space.map(RegionKind.DEVICE, base, length, READ_WRITE, alignment=length)
            process.kernel_page_va = mapping.va
        self._processes.append(process)
        self._processor_of[process.greenlet] = processor
        self.counts.add(counters.PROCESSES, jid=jid)
        processor.core.spend(processor.costs.process_load)
        return process

    def new_pid(self) -> int:
        """A PID that no process and no NIC context of this node has."""
        used = {process.pid for process in self._processes}
        if self.network is not None:
            used.update(context.handle.pid for context in self.network.contexts if context is not None)
        if len(used) == MAX_PID:
            raise OutOfMemoryError(f"PIDs: all {MAX_PID} are in use; end some processes")
        while True:
            self._last_pid = self._last_pid % MAX_PID + 1
            if self._last_pid not in used:
                return self._last_pid

    def processes_of(self, jid: int) -> list[Process]:
        """The living processes of a job on this node."""
        return [process for process in self._processes if process.jid == jid]

    def processors_of(self, jid: int) -> set[Processor]:
        """Where processes of a job live on this node, or its extensions are called."""
        contexts = self.network.contexts if self.network is not None else []
        owners = [context.process for context in contexts if context is not None and context.process.jid == jid]
        return {process.processor for process in (*self.processes_of(jid), *owners)}

    def shared_space(self, slot: int, jid: int) -> AddressSpace | None:
        """SMARTMAP: what a process of job `jid` sees in a slot. Only its own job's processes: the node may hold
        others."""
        for process in self._processes:
            if process.slot == slot and process.jid == jid:
                return process.space
        return None

    def process_ended(self, processor: Processor, process: Process) -> None:
        """A process's greenlet is over. Its memory stays until the job's end: others may still use it."""
        process.state = State.DEAD
        self._processes.remove(process)
        del self._processor_of[process.greenlet]
        if process.failure is not None:
            self.counts.add(counters.PROCESS_FAILURES, jid=process.jid)
        self.manager.process_ended(processor, process)

    def release(self, jid: int) -> None:
        """Give back what a job had on this node: extensions, NIC contexts, and memory unless the NIC may still touch
        it. All its processes have ended."""
        self.extensions.remove_of(jid)
        if self.network is not None:
            self.network.close_of(jid)
        if self.network is None or not self.network.touches(jid):
            self.memory.free_of(jid)

    def read_refusals(self) -> None:
        """Put into `violations` what the device has not interrupted for yet; on the core that its logs interrupt."""
        if self.network is not None:
            self.network.read_refusals()

    def counters(self) -> dict[str, int]:
        """Everything that is counted on this node; reads the device's counters."""
        device = self.network.counters() if self.network is not None else {}
        return {**self.counts.total, **device}

    def _free_slot(self) -> int:
        used = {process.slot for process in self._processes}
        for slot in range(SLOTS):
            if slot not in used:
                return slot
        raise OutOfMemoryError(f"SMARTMAP slots: all {SLOTS} are in use; end some processes")
