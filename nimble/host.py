"""The host: inserts extensions, attaches them to events, calls them, and takes out what faults or runs too long.

Events are names; what raises them is the kernel's business, and so is what happens when no extension handles one: its
default handler. Several extensions may be attached to an event. They are asked in turn, the highest priority first and
those of equal priority in the order of their insertion, until one handles it. What a handler leaves in r0 says whether
it did: PASS (1) hands the event on to the next; everything else, 0 by convention, means that it is done with. One that
is stopped over an event has not handled it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from nimble.access import AddressSpace, Window, state_window
from nimble.engine import DEFAULT_ENGINE, Thread, load_engine
from nimble.engine.outcome import Outcome, Spend
from nimble.engine.runs import ONE_EACH, Costs
from nimble.extension import NEVER, RETURNED, Attachment, Extension, Manifest, Trust, Usage, WindowWish
from nimble.linking import calling, chain, find_callees, with_calls
from nimble.program import Program
from nimble.promotion import PROMOTED_FROM, Promotion
from nimble.services import Services
from nimble.verifier import InsertionRefused, verify

__all__ = ["PASS", "Host", "HostError", "InsertionRefused", "Watch"]

PASS = 1  # r0 of a handler that leaves the event to the next one


class HostError(ValueError):
    """A request that does not fit what is inserted and attached; the text says what is."""


class Watch:
    """What a kernel does around calls; this one does nothing. The methods run where the call does."""

    def begins(self, extension: Extension) -> int:
        """A call begins; the time in picoseconds."""
        return 0

    def ended(self, extension: Extension, outcome: Outcome, began_ps: int) -> int:
        """A call came to its end; the time in picoseconds."""
        return 0

    def stopped(self, extension: Extension, outcome: Outcome) -> None:
        """An extension was taken out for a fault or its budget; told once, after ``ended``."""


@dataclass(eq=False, slots=True)
class Handler:
    """One extension on one event, until it is no longer ``attached``."""

    extension: Extension
    entry: str
    priority: int
    attached: bool = True


class Host:
    """The extensions of one kernel, run by the engine of that name, with the costs of its operations.

    Hot ones are compiled if the engine is ``threaded``. Raises ValueError for an unknown engine.
    """

    def __init__(self, *, engine: str = DEFAULT_ENGINE, costs: Costs = ONE_EACH, watch: Watch | None = None) -> None:
        self._translate = load_engine(engine)
        self._costs = costs
        self._watch = watch
        self._promotion = Promotion(costs) if engine == PROMOTED_FROM else None
        self._handlers: dict[str, tuple[Handler, ...]] = {}
        self._extensions: dict[str, Extension] = {}
        self._usage: dict[str, Usage] = {}
        self._kept: dict[str, bytearray] = {}
        self._inserted = 0

    @property
    def extensions(self) -> Mapping[str, Extension]:
        """All that are inserted, stopped ones included, by name, in the order of insertion."""
        return MappingProxyType(self._extensions)

    @property
    def usage(self) -> Mapping[str, Usage]:
        """What was used by all that ever were inserted, by name, in the order of the first insertion."""
        return MappingProxyType(self._usage)

    # ---- inserting and removing ----

    def services_for(
        self, manifest: Manifest, services: Services, *, callees: Mapping[str, Extension] | None = None
    ) -> Services:
        """``services`` and the calls of other extensions that ``manifest`` asks for: what its program may call, for
        their IDs. Raises InsertionRefused. ``callees``: as ``insert`` says."""
        found = find_callees(manifest, self._extensions if callees is None else callees)
        return with_calls(manifest, services, found, self._run)

    def insert(
        self,
        program: Program,
        manifest: Manifest,
        *,
        windows: Iterable[Window],
        services: Services,
        callees: Mapping[str, Extension] | None = None,
    ) -> Extension:
        """Check, translate and attach as the manifest asks. Raises InsertionRefused, and then nothing has changed.

        Of ``windows`` it gets those that the manifest asks for, with the rights that it asks for. The program's state
        becomes a window at STATE_BASE. ``callees``: what the names in ``Manifest.calls`` mean; by default, what is
        inserted under these names.
        """
        if manifest.name in self._extensions:
            raise InsertionRefused(f"{manifest.name}: is inserted already; names are unique; remove it or rename this")
        _check_entries(program, manifest)
        found = find_callees(manifest, self._extensions if callees is None else callees)
        offered = with_calls(manifest, services, found, self._run)
        memory = self._first_memory(program, manifest)
        state = state_window(memory, shared=manifest.shared_state)
        space = _space(manifest, windows, state)
        facts = verify(program, offered, space)
        thread = self._translate(
            program,
            space=space,
            services=offered,
            checked=manifest.trust is Trust.UNTRUSTED,
            costs=self._costs,
            facts=facts,
        )
        self._inserted += 1
        extension = Extension(
            program=program,
            manifest=manifest,
            space=space,
            services=offered,
            facts=facts,
            memory=memory,
            state=state,
            thread=thread,
            callees=found,
            chain=chain(found),
            order=self._inserted,
            usage=self._usage.setdefault(manifest.name, Usage()),
        )
        self._kept.pop(manifest.name, None)
        self._extensions[manifest.name] = extension
        if self._promotion is not None:
            extension.hot_at = self._promotion.threshold(extension)
        for attachment in manifest.attach:
            self.attach(attachment.event, extension, attachment.entry, attachment.priority)
        return extension

    def remove(self, extension: Extension, *, keep_state: bool = False) -> None:
        """Detach it everywhere and forget it. Calls that run finish; none begins, not even of an event that was raised
        before. What it reaches of memory is let go with the last of them. Removing twice changes nothing.

        ``keep_state``: the next insertion under its name takes its memory over if its manifest resumes, and drops it
        otherwise. A call that still runs goes on with the same bytes.
        """
        if extension.removed:
            return
        extension.removed = True
        self._detach_all(extension)
        del self._extensions[extension.name]
        if self._promotion is not None:
            self._promotion.forget(extension)
        if keep_state and extension.memory:
            self._kept[extension.name] = extension.memory
        if not extension.running:
            extension.let_go()

    def drop_state(self, name: str) -> None:
        """Forget the memory that was kept under a name, if any."""
        self._kept.pop(name, None)

    # ---- events ----

    def attach(self, event: str, extension: Extension, entry: str, priority: int = 0) -> None:
        """Let ``entry`` of ``extension`` handle ``event``. Attaching the same again changes nothing. HostError."""
        _check_usable(extension)
        if entry not in extension.program.entries:
            raise HostError(f"{extension.name}: entry {entry} is unknown; known are {_names(extension.program)}")
        try:
            Attachment(event, entry, priority)
        except ValueError as error:
            raise HostError(f"{extension.name}: {error}") from None
        present = self._handlers.get(event, ())
        for other in present:
            if other.extension is not extension:
                continue
            if (other.entry, other.priority) == (entry, priority):
                return
            raise HostError(
                f"event {event}: {extension.name} is attached with {other.entry}, priority {other.priority}; an "
                "extension has one entry for an event; detach it first"
            )
        handlers = (*present, Handler(extension, entry, priority))
        ordered = sorted(handlers, key=lambda handler: (-handler.priority, handler.extension.order))
        self._handlers[event] = tuple(ordered)

    def detach(self, event: str, extension: Extension) -> None:
        """Let ``extension`` no longer handle ``event``. A call that runs finishes."""
        handlers = self._handlers.pop(event, ())
        for handler in handlers:
            if handler.extension is extension:
                handler.attached = False
        rest = tuple(handler for handler in handlers if handler.attached)
        if rest:
            self._handlers[event] = rest

    def attached(self, event: str) -> tuple[Extension, ...]:
        """Who handles ``event``, in the order in which they are asked."""
        return tuple(handler.extension for handler in self._handlers.get(event, ()))

    def raise_event(self, event: str, args: Sequence[int], *, spend: Spend) -> Outcome | None:
        """Ask those who are attached, in turn; the outcome of the one that handled the event.

        None when nobody did, and the caller runs its default handler.
        """
        for handler in self._handlers.get(event, ()):
            if not handler.attached:
                continue  # it was detached, stopped or removed since the event was raised
            extension = handler.extension
            if extension.callees:
                outcome = self._run_caller(extension, handler.entry, args, extension.manifest.budget, spend)
            else:
                outcome = self._run(extension, handler.entry, args, extension.manifest.budget, spend)
            if outcome[0] is RETURNED and outcome[1] != PASS:
                return outcome
        return None

    def call(
        self, extension: Extension, entry: str, args: Sequence[int], *, spend: Spend, budget: int | None = None
    ) -> Outcome:
        """Run ``entry`` with ``args`` in r1..r5, for at most ``budget`` instructions (default: the manifest's).

        ``spend`` is called as ``Thread.run`` says. An outcome other than RETURNED stops the extension. Raises
        HostError when it was stopped or removed before.
        """
        _check_usable(extension)
        run = self._run_caller if extension.callees else self._run
        return run(extension, entry, args, extension.manifest.budget if budget is None else budget, spend)

    # ---- inside ----

    def _run_caller(self, extension: Extension, entry: str, args: Sequence[int], budget: int, spend: Spend) -> Outcome:
        """A call, not made by another extension, of one that may call others."""
        with calling(spend):
            return self._run(extension, entry, args, budget, spend)

    def _run(self, extension: Extension, entry: str, args: Sequence[int], budget: int, spend: Spend) -> Outcome:
        """One call, counted. While it waits, others of the same extension may begin and end.

        On the way of every event: written for few steps, with an outcome's fields by position.
        """
        usage, thread, watch = extension.usage, extension.thread, self._watch
        assert thread is not None
        if usage.instructions >= extension.hot_at:
            thread = self._promoted(extension)
        extension.running += 1
        try:
            began_ps = watch.begins(extension) if watch is not None else 0
            outcome = thread.run(entry, args, budget=budget, spend=spend)
        finally:
            extension.running -= 1
            if extension.removed and not extension.running:
                extension.let_go()
        usage.calls += 1
        usage.instructions += outcome[2]
        if watch is not None:
            usage.add_time(watch.ended(extension, outcome, began_ps) - began_ps)
        if outcome[0] is not RETURNED:
            self._stop(extension, outcome)
        return outcome

    def _promoted(self, extension: Extension) -> Thread:
        """The thread of a hot extension: compiled, if that has been done."""
        assert self._promotion is not None
        if self._promotion.consider(extension):
            extension.hot_at = NEVER
        assert extension.thread is not None
        return extension.thread

    def _stop(self, extension: Extension, outcome: Outcome) -> None:
        """Only the first stop takes it out: another core may still have been inside, and fail the same way."""
        extension.usage.add_stop(outcome)
        if extension.stopped is not None:
            return
        extension.stopped = outcome
        self._detach_all(extension)
        if self._watch is not None:
            self._watch.stopped(extension, outcome)

    def _detach_all(self, extension: Extension) -> None:
        for event in [event for event in self._handlers if extension in self.attached(event)]:
            self.detach(event, extension)

    def _first_memory(self, program: Program, manifest: Manifest) -> bytearray:
        """The kept memory of that name, if the manifest resumes and there is any; else the program's image."""
        kept = self._kept.get(manifest.name) if manifest.resumes else None
        if kept is None:
            return bytearray(program.state)
        if len(kept) != len(program.state):
            raise InsertionRefused(
                f"{manifest.name}: resumes: {len(kept)} bytes of state were kept, the program has "
                f"{len(program.state)}; give it as many, or insert it without resumes"
            )
        return kept


def _check_usable(extension: Extension) -> None:
    if extension.stopped is not None:
        raise HostError(f"{extension.name}: was stopped ({extension.stopped.reason}); insert it again to use it")
    if extension.removed:
        raise HostError(f"{extension.name}: was removed; insert it again to use it")


def _check_entries(program: Program, manifest: Manifest) -> None:
    attached = [(f"attach {attachment.event}", attachment.entry) for attachment in manifest.attach]
    for what, entry in (*attached, *(("exports", entry) for entry in manifest.exports)):
        if entry not in program.entries:
            text = f"entry {entry} is unknown; known are {_names(program)}; name one of them"
            raise InsertionRefused(f"{manifest.name}: {what}: {text}")


def _space(manifest: Manifest, windows: Iterable[Window], state: Window | None) -> AddressSpace:
    """The windows that a manifest asks for, with the rights that it asks for, and its state."""
    offered = tuple(windows)
    wanted = [_granted(manifest, wish, offered) for wish in manifest.windows]
    try:
        return AddressSpace((*wanted, state) if state else wanted)
    except ValueError as error:
        raise InsertionRefused(f"{manifest.name}: {error}") from None


def _granted(manifest: Manifest, wish: WindowWish, offered: Sequence[Window]) -> Window:
    found = [window for window in offered if window.name == wish.name]
    if len(found) != 1:
        what = "is granted more than once; name them apart" if found else "is not granted"
        known = ", ".join(sorted({window.name for window in offered})) or "none"
        raise InsertionRefused(f"{manifest.name}: window {wish.name}: {what}; granted are: {known}; grant it")
    window = found[0]
    if wish.rights & ~window.rights:
        raise InsertionRefused(
            f"{manifest.name}: window {wish.name}: asks for {wish.rights}; granted is {window.rights}; ask for less "
            "or grant more"
        )
    return window.part(0, window.length, rights=wish.rights)


def _names(program: Program) -> str:
    return ", ".join(program.entries)
