"""Extensions under the kernel: what they are granted, who owns them, what they are charged.

A driver is granted its device's registers with privilege and the kernel's own parameter memory. An application's
extension is granted parts of what its process has mapped, at the same addresses and with no more rights; its accesses
to registers are unprivileged, like the process's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nimble.access import AccessFault, Memory, Registers, Right, Window
from nimble.engine.outcome import Outcome
from nimble.extension import Extension, Manifest, Trust, Usage
from nimble.host import Host, InsertionRefused, Watch
from nimble.program import Program
from nimble.services import Services
from sw.kernel import counters
from sw.kernel.costs import CpuCosts
from sw.kernel.errors import RequestRefused
from sw.kernel.hardware import BusError, TraceKind
from sw.kernel.memory import RegionKind

if TYPE_CHECKING:
    from sw.kernel.kernel import Kernel
    from sw.kernel.process import Process

REGISTER_WIDTHS = (8,)
# Instructions that an application may allow one call of its extension: some 10 ms, with interrupts off.
BUDGET_LIMIT = 1 << 22


@dataclass(frozen=True, kw_only=True)
class Grant:
    """A window that a process gives its extension: `length_bytes` from its own address `va`."""

    name: str
    va: int
    length_bytes: int
    rights: Right


class Extensions(Watch):
    """The node's extensions, by event. Adds owners, charges and time to `nimble.Host`."""

    def __init__(self, kernel: Kernel, *, costs: CpuCosts, engine: str) -> None:
        """ValueError if there is no such engine."""
        self._kernel = kernel
        self._host = Host(engine=engine, costs=costs.timing.costs(), watch=self)
        self._owned: dict[int, tuple[Extension, int]] = {}  # applications' extensions by number, with the owner's JID
        self._jids: dict[str, int] = {}  # of all applications' extensions that ever were, by name
        self._leaving: list[Extension] = []  # removed while calls ran
        self._last = 0

    @property
    def usage(self) -> Mapping[str, Usage]:
        """What was used by all extensions that ever were inserted, by name."""
        return self._host.usage

    # ---- inserting and removing ----

    def insert_driver(
        self, program: Program, manifest: Manifest, windows: Sequence[Window], services: Services
    ) -> Extension:
        """Insert a trusted extension. InsertionRefused."""
        return self._host.insert(program, manifest, windows=windows, services=services)

    def insert_for(self, process: Process, program: Program, manifest: Manifest, grants: Sequence[Grant]) -> int:
        """Insert an application's extension; its number. It is called by the name of its process and its own.
        InsertionRefused; PageFault if a grant is more than the process has."""
        if manifest.budget > BUDGET_LIMIT:
            raise InsertionRefused(
                f"{manifest.name}: budget: {manifest.budget}; an application's extension has at most {BUDGET_LIMIT} "
                "instructions per call; do less per call"
            )
        try:
            renamed = replace(manifest, name=f"{process.name}.{manifest.name}")
        except ValueError as error:
            raise InsertionRefused(str(error)) from None
        windows = [self._window(process, grant) for grant in grants]
        extension = self._host.insert(
            program, renamed, windows=windows, services=Services(), callees=self._visible(process)
        )
        self._jids[extension.name] = process.jid
        self._last += 1
        self._owned[self._last] = extension, process.jid
        return self._last

    def services_for(self, process: Process, manifest: Manifest) -> Services:
        """What an application's extension with this manifest may call. InsertionRefused."""
        return self._host.services_for(manifest, Services(), callees=self._visible(process))

    def owned(self, number: int, jid: int) -> Extension:
        """The extension of that number, which must be the job's. RequestRefused."""
        extension, owner = self._owned.get(number, (None, None))
        if extension is None or owner != jid:
            raise RequestRefused(f"extension {number}: is not one of job {jid}; insert it first")
        return extension

    def remove(self, number: int, *, keep_state: bool = False) -> None:
        """Take out an application's extension; `keep_state`: see `Host.remove`."""
        extension, _ = self._owned.pop(number)
        self._host.remove(extension, keep_state=keep_state)
        self._leaving = [leaving for leaving in (*self._leaving, extension) if leaving.running]

    def remove_of(self, jid: int) -> None:
        """Take out all extensions of a job, and wait until no other core is inside one of them: their memory can be
        given away then."""
        for number in [number for number, (_, owner) in self._owned.items() if owner == jid]:
            self.remove(number)
        for name in [name for name, owner in self._jids.items() if owner == jid]:
            self._host.drop_state(name)
        processor = self._kernel.here()
        while any(extension.running and self._jids[extension.name] == jid for extension in self._leaving):
            processor.core.spend(max(processor.costs.poll, 1))
            processor.core.settle()

    def _visible(self, process: Process) -> dict[str, Extension]:
        """What a process's extension may name: the system's and, before them, the process's own by their short
        names."""
        inserted, prefix = self._host.extensions, f"{process.name}."
        system = {name: extension for name, extension in inserted.items() if extension.manifest.trust is Trust.TRUSTED}
        own = {name.removeprefix(prefix): extension for name, extension in inserted.items() if name.startswith(prefix)}
        return system | own

    # ---- calling ----

    def handle(self, event: str, *arguments: int) -> bool:
        """Give an event to the extensions that are attached to it; False if none has handled it."""
        spend = self._kernel.here().spend_hundredths
        return self._host.raise_event(event, arguments, spend=spend) is not None

    def call(self, extension: Extension, entry: str, *arguments: int) -> Outcome:
        """Call an entry by name. HostError if the extension was stopped."""
        return self._host.call(extension, entry, arguments, spend=self._kernel.here().spend_hundredths)

    def begins(self, extension: Extension) -> int:
        """See `Watch.begins`."""
        processor = self._kernel.here()
        start_ps = processor.core.now_ps
        processor.core.spend(processor.costs.extension_call)
        return start_ps

    def ended(self, extension: Extension, outcome: Outcome, began_ps: int) -> int:
        """See `Watch.ended`."""
        processor, jid = self._kernel.here(), self._jids.get(extension.name)
        self._kernel.counts.add(counters.EXTENSION_CALLS, jid=jid)
        self._kernel.counts.add(counters.EXTENSION_INSTRUCTIONS, outcome.instructions, jid=jid)
        processor.trace(TraceKind.EXTENSION, began_ps, extension.name, outcome.instructions)
        return processor.core.now_ps

    def stopped(self, extension: Extension, outcome: Outcome) -> None:
        """See `Watch.stopped`."""
        self._kernel.counts.add(counters.EXTENSION_STOPS, jid=self._jids.get(extension.name))

    # ---- windows ----

    def _window(self, process: Process, grant: Grant) -> Window:
        base, kind = process.space.find(grant.va, grant.length_bytes, grant.rights)
        if kind is RegionKind.DEVICE:
            registers = self.registers(base, privileged=False)
            return Window(grant.name, grant.va, grant.length_bytes, grant.rights, registers, REGISTER_WIDTHS)
        # The device writes rings; the rest others see only from another core.
        shared = kind is RegionKind.RING or len(self._kernel.processors_of(process.jid)) > 1
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
