"""A process: what the kernel knows of it, and what it can do without the kernel.

Applications are Python functions that run in a greenlet of the core's; the calls below are the machine instructions
that they use. They cost what they say, everything else a process spends with `compute`.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from greenlet import greenlet

from nimble.access import READ_WRITE, Right
from sw.kernel import counters
from sw.kernel.costs import CpuCosts
from sw.kernel.hardware import BusError
from sw.kernel.memory import AddressSpace, PageFault, RegionKind

if TYPE_CHECKING:
    from sw.kernel.kernel import Kernel
    from sw.kernel.processor import Processor
    from sw.kernel.traps import SystemCalls

REGISTER_BYTES = 8

Main = Callable[["Process"], object]


class State(Enum):
    """What a process is doing."""

    READY = "ready"
    RUNNING = "running"
    WAITING = "waiting"
    DEAD = "dead"


class Process:
    """One process, bound to one core. `rank` is its rank in its job, or None for a helper that a rank spawned.

    `result` is what `main` returned, `failure` why it ended otherwise.
    """

    calls: SystemCalls

    def __init__(
        self, *, kernel: Kernel, processor: Processor, name: str, pid: int, jid: int, slot: int, rank: int | None,
        main: Main
    ) -> None:  # fmt: skip
        self.kernel = kernel
        self.processor = processor
        self.name = name
        self.pid = pid
        self.jid = jid
        self.slot = slot
        self.rank = rank
        self.space = AddressSpace(lambda slot: kernel.shared_space(slot, jid))
        self.state = State.READY
        self.interrupts_enabled = True  # as the core had it when the process left it
        self.result: object = None
        self.failure: str | None = None
        self.kernel_page_va: int | None = None  # a hole that tests of the hardware ask for
        self._main = main
        self.greenlet = greenlet(self._run, processor.scheduler)

    # ---- instructions ----

    @property
    def costs(self) -> CpuCosts:
        return self.processor.costs

    @property
    def now_ps(self) -> int:
        """The core's time stamp counter."""
        return self.processor.core.now_ps

    def compute(self, cycles: int) -> None:
        """Work for that many core cycles."""
        self.processor.core.spend(cycles)

    def settle(self) -> None:
        """Let the machine catch up: afterwards memory shows what devices wrote until now."""
        self.processor.core.settle()

    def load(self, va: int) -> int:
        """Read a mapped device register, unprivileged. PageFault, BusError."""
        address = self._register(va, Right.READ)
        try:
            return self.processor.core.load(address, privileged=False)
        except BusError:
            self.kernel.violations.bus_error(address, self)
            self._exception(counters.BUS_ERRORS)
            raise

    def store(self, va: int, value: int) -> None:
        """Write a mapped device register, unprivileged. PageFault, BusError."""
        address = self._register(va, Right.WRITE)
        try:
            self.processor.core.store(address, value, privileged=False)
        except BusError:
            self.kernel.violations.bus_error(address, self)
            self._exception(counters.BUS_ERRORS)
            raise

    def view(self, va: int, length_bytes: int, right: Right = READ_WRITE) -> npt.NDArray[np.uint64]:
        """Memory as 64-bit words, no copy; `va` is a multiple of 8. PageFault if `right` is not given for all of it."""
        base, kind = self._find(va, length_bytes, right)
        if kind is RegionKind.DEVICE:
            self._exception(counters.PAGE_FAULTS)
            raise PageFault(va, length_bytes, right, "device registers are not memory; use load and store")
        return self.kernel.memory.view(base, length_bytes).view(np.uint64)

    def _register(self, va: int, right: Right) -> int:
        base, kind = self._find(va, REGISTER_BYTES, right)
        if kind is not RegionKind.DEVICE:
            self._exception(counters.PAGE_FAULTS)
            raise PageFault(va, REGISTER_BYTES, right, f"{kind.value} memory has no registers; use view")
        return base

    def _find(self, va: int, length_bytes: int, right: Right) -> tuple[int, RegionKind]:
        try:
            return self.space.find(va, length_bytes, right)
        except PageFault:
            self._exception(counters.PAGE_FAULTS)
            raise

    def _exception(self, counter: counters.Counter) -> None:
        """The kernel takes the exception and delivers it to the process."""
        self.processor.core.spend(self.costs.trap)
        self.kernel.counts.add(counters.TRAPS, jid=self.jid)
        self.kernel.counts.add(counter, jid=self.jid)

    # ---- the kernel's ----

    def _run(self) -> None:
        """What the greenlet does. An exception that the application lets out ends this process and nothing else."""
        self.processor.core.interrupts_enabled = True
        try:
            self.result = self._main(self)
        except Exception as error:
            self.failure = f"{type(error).__name__}: {error}{_place(error)}"
        self.processor.core.interrupts_enabled = False
        self.processor.core.spend(self.costs.trap)  # the exit
        self.kernel.counts.add(counters.TRAPS, jid=self.jid)


def _place(error: Exception) -> str:
    """Where an exception was raised, as ` (file:line)`."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return ""
    return f" ({trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno})"
