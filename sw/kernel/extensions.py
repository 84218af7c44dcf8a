"""Extensions under the kernel: what they are granted, who owns them, what they are charged.

A driver is granted its device's registers with privilege and the kernel's own parameter memory. An application's
extension is granted parts of what its process has mapped, at the same addresses and with no more rights; its accesses
to registers are unprivileged, like the process's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nimble.access import AccessFault, Memory, Registers, Right, Window
from nimble.engine import outcome as engine
from nimble.extension import Extension, Manifest
from nimble.host import Host
from nimble.program import Program
from nimble.services import Services
from sw.kernel import counters
from sw.kernel.errors import RequestRefused
from sw.kernel.hardware import BusError, TraceKind
from sw.kernel.memory import RegionKind

if TYPE_CHECKING:
    from sw.kernel.kernel import Kernel
    from sw.kernel.process import Process

REGISTER_WIDTHS = (8,)


@dataclass(frozen=True, kw_only=True)
class Grant:
    """A window that a process gives its extension: `length_bytes` from its own address `va`."""

    name: str
    va: int
    length_bytes: int
    rights: Right


class Extensions:
    """The node's extensions, by event. Adds owners, charges and time to `nimble.Host`."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._host = Host(self._stopped)
        self._owned: dict[int, tuple[Extension, int]] = {}  # applications' extensions by number, with the owner's JID
        self._last = 0

    def insert_driver(
        self, program: Program, manifest: Manifest, windows: Sequence[Window], services: Services
    ) -> Extension:
        """Insert a trusted extension. InsertionRefused."""
        return self._host.insert(program, manifest, windows=windows, services=services)

    def insert_for(self, process: Process, program: Program, manifest: Manifest, grants: Sequence[Grant]) -> int:
        """Insert an application's extension; its number. InsertionRefused; PageFault if a grant is more than the
        process has."""
        self._last += 1
        name = f"{manifest.name}.{self._last}"
        windows = [self._window(process, grant) for grant in grants]
        extension = self._host.insert(program, replace(manifest, name=name), windows=windows, services=Services())
        self._owned[self._last] = extension, process.jid
        return self._last

    def owned(self, number: int, jid: int) -> Extension:
        """The extension of that number, which must be the job's. RequestRefused."""
        extension, owner = self._owned.get(number, (None, None))
        if extension is None or owner != jid:
            raise RequestRefused(f"extension {number}: is not one of job {jid}; insert it first")
        return extension

    def remove(self, number: int) -> None:
        """Take out an application's extension."""
        extension, _ = self._owned.pop(number)
        self._host.remove(extension)

    def remove_of(self, jid: int) -> None:
        """Take out all extensions of a job."""
        for number in [number for number, (_, owner) in self._owned.items() if owner == jid]:
            self.remove(number)

    def _owner(self, extension: Extension) -> int | None:
        return next((jid for owned, jid in self._owned.values() if owned is extension), None)

    def handle(self, event: str, *arguments: int) -> bool:
        """Give an event to the extension that is attached to it; False if nobody is, or it was stopped over it."""
        extension = self._host.attached(event)
        if extension is None:
            return False
        outcome = self._run(extension, lambda spend: self._host.raise_event(event, arguments, spend=spend))
        return outcome is not None and outcome.status is engine.Status.RETURNED

    def call(self, extension: Extension, entry: str, *arguments: int) -> engine.Outcome:
        """Call an entry by name. HostError if the extension was stopped."""
        outcome = self._run(extension, lambda spend: self._host.call(extension, entry, arguments, spend=spend))
        assert outcome is not None
        return outcome

    def _run(
        self, extension: Extension, call: Callable[[engine.Spend], engine.Outcome | None]
    ) -> engine.Outcome | None:
        processor = self._kernel.here()
        start_ps = processor.core.now_ps
        processor.core.spend(processor.costs.extension_call)
        outcome = call(processor.spend_of[extension.manifest.trust])
        instructions = outcome.instructions if outcome else 0
        jid = self._owner(extension)
        self._kernel.counts.add(counters.EXTENSION_CALLS, jid=jid)
        self._kernel.counts.add(counters.EXTENSION_INSTRUCTIONS, instructions, jid=jid)
        processor.trace(TraceKind.EXTENSION, start_ps, extension.name, instructions)
        return outcome

    def _stopped(self, extension: Extension, outcome: engine.Outcome) -> None:
        self._kernel.counts.add(counters.EXTENSION_STOPS, jid=self._owner(extension))

    def _window(self, process: Process, grant: Grant) -> Window:
        base, kind = process.space.find(grant.va, grant.length_bytes, grant.rights)
        if kind is RegionKind.DEVICE:
            registers = self.registers(base, privileged=False)
            return Window(grant.name, grant.va, grant.length_bytes, grant.rights, registers, REGISTER_WIDTHS)
        # The device writes rings; another core sees the rest if interrupts are not served where the process runs.
        shared = kind is RegionKind.RING or self._kernel.interrupt_processor() is not process.processor
        return Window(
            grant.name, grant.va, grant.length_bytes, grant.rights, self.memory(base, grant.length_bytes, shared)
        )

    def memory(self, base: int, length_bytes: int, shared: bool) -> Memory:
        """Physical memory as a window's backing."""
        return Memory(self._kernel.memory.view(base, length_bytes).data, shared=shared)

    def registers(self, base: int, *, privileged: bool) -> Registers:
        """Device registers from a physical address on, accessed by whichever core runs the extension."""

        def read(offset: int, width: int) -> int:
            try:
                return self._kernel.here().core.load(base + offset, privileged=privileged)
            except BusError as error:
                raise AccessFault(base + offset, width, Right.READ, str(error)) from None

        def write(offset: int, width: int, value: int) -> None:
            try:
                self._kernel.here().core.store(base + offset, value, privileged=privileged)
            except BusError as error:
                raise AccessFault(base + offset, width, Right.WRITE, str(error)) from None

        return Registers(read, write)
