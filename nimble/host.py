"""The host: inserts extensions, attaches them to events, calls them, and takes out what faults or runs too long.

An event has one extension for now. Events are names; what raises them is the kernel's business, and so is what
happens when nobody is attached or the extension was stopped: its default handler.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from nimble.access import STATE_BASE, AddressSpace, Memory, Right, Window
from nimble.engine.closures import translate
from nimble.engine.outcome import Outcome, Spend, Status
from nimble.extension import Extension, Manifest, Trust
from nimble.program import Program
from nimble.services import Services
from nimble.verifier import InsertionRefused

__all__ = ["Host", "HostError", "InsertionRefused"]

Observer = Callable[[Extension, Outcome], None]


class HostError(ValueError):
    """A request that does not fit what is inserted and attached; the text says what is."""


class Host:
    """The extensions of one kernel. ``on_stopped`` is told of each extension that a fault or its budget stopped."""

    def __init__(self, on_stopped: Observer | None = None) -> None:
        self._on_stopped = on_stopped
        self._attached: dict[str, tuple[Extension, str]] = {}
        self._extensions: dict[str, Extension] = {}

    @property
    def extensions(self) -> tuple[Extension, ...]:
        """All that are inserted, stopped ones included, in the order of insertion."""
        return tuple(self._extensions.values())

    def insert(
        self, program: Program, manifest: Manifest, *, windows: Iterable[Window], services: Services
    ) -> Extension:
        """Check, translate and attach as the manifest asks. Raises InsertionRefused, and then nothing has changed.

        ``windows`` are granted as they are; each name that the manifest asks for must be among them. The program's
        state becomes a window at STATE_BASE.
        """
        granted = tuple(windows)
        self._check_manifest(program, manifest, granted)
        state = _state_window(program, manifest)
        try:
            space = AddressSpace((*granted, state) if state else granted)
        except ValueError as error:
            raise InsertionRefused(f"{manifest.name}: {error}") from None
        checked = manifest.trust is Trust.UNTRUSTED
        thread = translate(program, space=space, services=services, checked=checked)
        extension = Extension(program, manifest, space, services, state, thread)
        self._extensions[manifest.name] = extension
        for attachment in manifest.attach:
            self.attach(attachment.event, extension, attachment.entry)
        return extension

    def remove(self, extension: Extension) -> None:
        """Detach it everywhere and forget it. Calls that run finish; none begins. Removing twice changes nothing."""
        self._detach_all(extension)
        extension.removed = True
        if self._extensions.get(extension.name) is extension:
            del self._extensions[extension.name]

    def attach(self, event: str, extension: Extension, entry: str) -> None:
        """Let ``entry`` of ``extension`` handle ``event``. Attaching the same again changes nothing."""
        self._check_usable(extension)
        if entry not in extension.program.entries:
            raise HostError(f"{extension.name}: entry {entry} is unknown; known are {_names(extension.program)}")
        present = self._attached.get(event)
        if present is not None and present != (extension, entry):
            raise HostError(
                f"event {event}: {present[0].name} is attached; an event has one extension; detach it first"
            )
        self._attached[event] = extension, entry

    def detach(self, event: str) -> None:
        """Let nobody handle ``event``. A call that runs finishes."""
        self._attached.pop(event, None)

    def attached(self, event: str) -> Extension | None:
        """Who handles ``event``."""
        present = self._attached.get(event)
        return present[0] if present else None

    def call(
        self, extension: Extension, entry: str, args: Sequence[int], *, spend: Spend, budget: int | None = None
    ) -> Outcome:
        """Run ``entry`` with ``args`` in r1..r5, for at most ``budget`` instructions (default: the manifest's).

        ``spend`` is called as ``Thread.run`` says. An outcome other than RETURNED stops the extension. Raises
        HostError when it was stopped or removed before.
        """
        self._check_usable(extension)
        limit = extension.manifest.budget if budget is None else budget
        outcome = extension.thread.run(entry, args, budget=limit, spend=spend)
        extension.count(outcome)
        if outcome.status is not Status.RETURNED:
            self._stop(extension, outcome)
        return outcome

    def raise_event(self, event: str, args: Sequence[int], *, spend: Spend) -> Outcome | None:
        """Call who is attached; None when nobody is, and the caller runs its default handler."""
        present = self._attached.get(event)
        if present is None:
            return None
        extension, entry = present
        return self.call(extension, entry, args, spend=spend)

    def _stop(self, extension: Extension, outcome: Outcome) -> None:
        """Only the first stop counts: another core may still have been inside, and fail the same way."""
        if extension.stopped is not None:
            return
        extension.stopped = outcome
        self._detach_all(extension)
        if self._on_stopped is not None:
            self._on_stopped(extension, outcome)

    def _detach_all(self, extension: Extension) -> None:
        for event in [event for event, (present, _) in self._attached.items() if present is extension]:
            del self._attached[event]

    def _check_usable(self, extension: Extension) -> None:
        if extension.stopped is not None:
            raise HostError(f"{extension.name}: was stopped ({extension.stopped.reason}); insert it again to use it")
        if extension.removed:
            raise HostError(f"{extension.name}: was removed; insert it again to use it")

    def _check_manifest(self, program: Program, manifest: Manifest, windows: Sequence[Window]) -> None:
        if manifest.name in self._extensions:
            raise InsertionRefused(f"{manifest.name}: is inserted already; names are unique; remove it or rename this")
        granted = {window.name for window in windows}
        for name in [wish.name for wish in manifest.windows]:
            if name not in granted:
                known = ", ".join(sorted(granted)) or "none"
                raise InsertionRefused(
                    f"{manifest.name}: window {name}: is not granted; granted are: {known}; grant it"
                )
        for event, entry in [(attachment.event, attachment.entry) for attachment in manifest.attach]:
            if entry not in program.entries:
                text = f"entry {entry} is unknown; known are {_names(program)}; name one of them"
                raise InsertionRefused(f"{manifest.name}: attach {event}: {text}")
            if event in self._attached:
                present = self._attached[event][0].name
                raise InsertionRefused(f"{manifest.name}: attach {event}: {present} is attached; detach it first")


def _state_window(program: Program, manifest: Manifest) -> Window | None:
    if not program.state:
        return None
    memory = Memory(bytearray(program.state), shared=manifest.shared_state)
    return Window("state", STATE_BASE, len(program.state), Right.READ | Right.WRITE, memory)


def _names(program: Program) -> str:
    return ", ".join(program.entries)
