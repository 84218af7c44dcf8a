"""System calls: what a process asks the kernel for. Each costs a trap; errors come back as exceptions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from nimble.access import READ_WRITE
from nimble.extension import Manifest, Trust
from nimble.host import InsertionRefused
from nimble.program import Program
from sw.kernel import counters
from sw.kernel.contexts import ContextHandle, ContextRequest
from sw.kernel.errors import RequestRefused
from sw.kernel.extensions import Grant
from sw.kernel.hardware import TraceKind
from sw.kernel.memory import PageFault, RegionKind
from sw.kernel.network import Network

if TYPE_CHECKING:
    from sw.kernel.process import Main, Process


T = TypeVar("T")


class TrapError(Exception):
    """A system call that the kernel refused; the text names the call, the thing, the bound and the remedy."""


@dataclass(frozen=True, kw_only=True)
class ExtensionState:
    """The memory of an extension, and why it was stopped (None: it was not)."""

    memory: bytes
    stopped: str | None


class SystemCalls:
    """The calls of one process."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._kernel = process.kernel
        self._processor = process.processor
        self._start_ps: int | None = None

    # ---- memory and processes ----

    def allocate(self, length_bytes: int) -> int:
        """Zeroed memory, mapped read and write; its address. TrapError."""
        with self._trap("allocate"):
            process = self._process
            region = self._kernel.memory.allocate(RegionKind.PROCESS, length_bytes, process.name, process.jid)
            return process.space.map(region.kind, region.base, region.length_bytes, READ_WRITE).va

    def spawn(self, name: str, main: Main) -> Process:
        """A helper process of the same job on the same core. It ends with the job. TrapError."""
        with self._trap("spawn"):
            process = self._process
            helper = self._kernel.make_process(
                self._processor, name=f"{process.name}.{name}", jid=process.jid, rank=None, main=main
            )
            self._processor.add(helper)
            return helper

    def yield_core(self) -> None:
        """Let the other processes of this core run."""
        with self._trap("yield_core"):
            self._left_kernel("yield_core")
            self._processor.yield_core()

    def fence(self, value: object = None) -> tuple[Any, ...]:
        """Wait until all ranks of the job have called this; what each of them gave, by rank (as PMI's put and
        fence)."""
        return self.managed("fence", lambda: self._kernel.manager.fence(self._process, value))

    def managed(self, name: str, request: Callable[[], T]) -> T:
        """A request that the machine's manager answers, while the process sleeps. TrapError."""
        with self._trap(name):
            self._left_kernel(name)
            return request()

    def counters(self) -> dict[str, int]:
        """What this node's kernel has charged to the job, by the counters' names."""
        with self._trap("counters"):
            return self._kernel.counts.of_job(self._process.jid)

    # ---- NIC contexts ----

    def open_context(self, request: ContextRequest) -> ContextHandle:
        """A NIC context with rings in new memory and its register page mapped. TrapError."""
        with self._trap("open_context"):
            return self._network().open(self._process, request).handle

    def moderate(self, handle: ContextHandle, *, count: int, duration_us: int) -> None:
        """Let a context interrupt after `count` events or `duration_us` microseconds from now on, as in
        `ContextRequest`. TrapError."""
        with self._trap("moderate"):
            self._network().moderate(self._process, handle.index, count, duration_us)

    def wait_event(self, handle: ContextHandle, *, due_ps: int | None = None) -> None:
        """Sleep until an event of a context comes that no extension has handled, or until `due_ps`, if the core has
        nothing else to do then. Returns at once if one came since the last call; it may have been consumed already, so
        look and call again. TrapError."""
        with self._trap("wait_event"):
            context = self._network().owned(self._process, handle.index)
            if context.sleeper is not None:
                raise RequestRefused(f"context {handle.index}: {context.sleeper.name} waits for it; one process can")
            self._left_kernel("wait_event")
            if not context.pending:  # from this look to the sleep no time passes, so no event comes between
                context.sleeper = self._process
                self._processor.sleep(due_ps)
                context.sleeper = None
            context.pending = False

    # ---- extensions ----

    def insert_extension(self, program: Program, manifest: Manifest, grants: Sequence[Grant]) -> int:
        """Insert an untrusted extension with parts of what this process has mapped; its number. TrapError."""
        with self._trap("insert_extension"):
            self._check_manifest(manifest)
            return self._kernel.extensions.insert_for(self._process, program, manifest, grants)

    def extension_state(self, number: int) -> ExtensionState:
        """A copy of the memory of an extension of the job, and whether it was stopped. TrapError."""
        with self._trap("extension_state"):
            extension = self._kernel.extensions.owned(number, self._process.jid)
            stopped = extension.stopped.reason if extension.stopped else None
            return ExtensionState(memory=bytes(extension.memory), stopped=stopped)

    def extension_services(self, manifest: Manifest) -> dict[str, int]:
        """The IDs of what an extension with this manifest may call, by name, for its program. TrapError."""
        with self._trap("extension_services"):
            return self._kernel.extensions.services_for(self._process, manifest).symbols()

    def remove_extension(self, number: int, *, keep_state: bool = False) -> None:
        """Take an extension out; its events go to the next one or the default handler. `keep_state`: its memory waits
        for one that this process inserts under the same name, and that resumes, until the job ends. TrapError."""
        with self._trap("remove_extension"):
            self._kernel.extensions.owned(number, self._process.jid)
            self._kernel.extensions.remove(number, keep_state=keep_state)

    # ---- inside ----

    def _network(self) -> Network:
        if self._kernel.network is None:
            raise RequestRefused("no NIC has a driver; add nic to kernel.drivers")
        return self._kernel.network

    def _check_manifest(self, manifest: Manifest) -> None:
        if manifest.trust is not Trust.UNTRUSTED:
            raise InsertionRefused(
                f"{manifest.name}: trust: {manifest.trust.value}; applications insert untrusted ones"
            )
        contexts = self._network().contexts
        mine = [c.handle.event for c in contexts if c is not None and c.process.jid == self._process.jid]
        for event in [attachment.event for attachment in manifest.attach]:
            if event not in mine:
                raise InsertionRefused(
                    f"{manifest.name}: event {event}: is not one of job {self._process.jid}; there are "
                    f"{', '.join(mine) or 'none'}; open the context first"
                )

    @contextmanager
    def _trap(self, name: str) -> Iterator[None]:
        """Into the kernel and back: no interrupts inside, and a moment for them behind, so that not even a process that
        does nothing but trap keeps them out."""
        core, cost = self._processor.core, self._processor.costs.trap
        core.interrupts_enabled = False
        self._start_ps = core.now_ps
        core.spend(cost // 2)
        self._kernel.counts.add(counters.TRAPS, jid=self._process.jid)
        try:
            yield
        except (RequestRefused, PageFault, InsertionRefused) as error:
            raise TrapError(f"{name}: {error}") from None
        finally:
            self._left_kernel(name)
            core.interrupts_enabled = True
        core.spend(cost - cost // 2)
        core.settle()

    def _left_kernel(self, name: str) -> None:
        """The kernel's own work for the call ends here, though the process may sleep before it returns."""
        if self._start_ps is not None:
            self._processor.core.settle()
            self._processor.trace(TraceKind.TRAP, self._start_ps, name)
            self._start_ps = None
