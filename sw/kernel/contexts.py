"""NIC contexts as processes ask for them and as the kernel remembers them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nimble.access import Right
from sw.drivers.interface import CONTEXT_SETUP, WINDOW_SETUP
from sw.kernel.errors import RequestRefused
from sw.kernel.memory import Region, RegionKind

if TYPE_CHECKING:
    from sw.kernel.process import Process

ENTRY_BYTES = 64  # of a command ring or an event queue
COUNTER_BYTES = 16  # of a counting event
MAX_LOG2 = 15  # of the number of entries
MAX_SLOTS = 1 << MAX_LOG2
LEAST_EVENTS_LOG2 = 2  # a command begins only if there are places for all events that it may give
MAX_MODERATION_COUNT = (1 << 16) - 1
MAX_MODERATION_CYCLES = (1 << 32) - 1
PS_PER_US = 1_000_000


@dataclass(frozen=True, kw_only=True)
class WindowRequest:
    """Memory of a process that a context may use: `va` and `length_bytes` are multiples of 8.

    `local_read`: what is sent may lie there; `local_write`: what comes back may; `remote_read`: who gets from this
    context may read it; `remote_write`: who puts to it may write it. Atomics of others need both remote rights.
    """

    va: int
    length_bytes: int
    local_read: bool = False
    local_write: bool = False
    remote_read: bool = False
    remote_write: bool = False

    def rights(self) -> Iterator[Right]:
        """What the process itself must be allowed to do there."""
        if self.local_read or self.remote_read:
            yield Right.READ
        if self.local_write or self.remote_write:
            yield Right.WRITE


@dataclass(frozen=True, kw_only=True)
class ContextRequest:
    """A command ring of 2**commands_log2 and an event queue of 2**events_log2 entries.

    `interrupt`: events interrupt; `counter_interrupt`: changes of counting events do. An interrupt comes to the core of
    the process that asks for the context, after `moderation_count` of them (0 and 1: every one), or `moderation_us`
    microseconds after the first, whichever is first (0: no limit; then fewer than `moderation_count` interrupt nobody).
    """

    commands_log2: int
    events_log2: int
    windows: tuple[WindowRequest, ...] = ()
    interrupt: bool = False
    counter_interrupt: bool = False
    moderation_count: int = 0
    moderation_us: int = 0


@dataclass(frozen=True, kw_only=True)
class ContextLimits:
    """What each context of the NIC has, and what its messages may be; see `rtl.nic.parameters`."""

    mtu_bytes: int
    portal_entries: int
    match_entries: int
    unexpected_headers: int
    counters: int
    outstanding: int
    nodes: int


@dataclass(frozen=True, kw_only=True)
class ContextHandle:
    """What a process gets to know of its context; `*_va` are its own addresses. `event` names its event for
    extensions. From `counters_va` on lie the counting events, which only the NIC writes."""

    index: int
    nid: int
    pid: int
    jid: int
    commands_va: int
    commands_log2: int
    events_va: int
    events_log2: int
    counters_va: int
    page_va: int
    event: str
    interrupt: bool
    counter_interrupt: bool
    limits: ContextLimits


@dataclass(kw_only=True)
class Context:
    """The kernel's record of a context. `pending`: an event came that no wait has answered yet; `settled`: its
    registers are not being changed right now."""

    handle: ContextHandle
    process: Process
    commands: Region
    events: Region
    counters: Region
    pending: bool = False
    settled: bool = False
    sleeper: Process | None = None


def device_cycles(duration_us: int, clock_period_ps: int) -> int:
    """Microseconds in cycles of a device's clock, no fewer than that."""
    return -(-duration_us * PS_PER_US // clock_period_ps)


def check_request(request: ContextRequest, *, windows: int, clock_period_ps: int) -> None:
    """RequestRefused if a NIC with so many windows for each context and such a clock cannot do it."""
    _check_range("commands_log2", request.commands_log2, 0, MAX_LOG2)
    _check_range("events_log2", request.events_log2, LEAST_EVENTS_LOG2, MAX_LOG2)
    check_moderation(request.moderation_count, request.moderation_us, clock_period_ps)
    if len(request.windows) > windows:
        raise RequestRefused(f"windows: {len(request.windows)}; a context of this NIC has {windows}; join some")


def check_moderation(count: int, duration_us: int, clock_period_ps: int) -> None:
    """RequestRefused if a NIC with such a clock cannot count so many events or so much time."""
    _check_range("moderation_count", count, 0, MAX_MODERATION_COUNT)
    _check_range("moderation_us", duration_us, 0, MAX_MODERATION_CYCLES * clock_period_ps // PS_PER_US)


def _check_range(what: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise RequestRefused(f"{what}: {value} is out of range {least}..{most}; ask for what the NIC can do")


def context_setup(context: Context, request: ContextRequest, *, windows: int, clock_period_ps: int) -> Sequence[int]:
    """The CONTEXT_SETUP of a context of a NIC with so many windows for each: its events interrupt its process's
    core."""
    return CONTEXT_SETUP.pack(
        pid=context.handle.pid,
        jid=context.handle.jid,
        command_base=context.commands.base,
        command_log2=request.commands_log2,
        event_base=context.events.base,
        event_log2=request.events_log2,
        counter_base=context.counters.base,
        moderation_count=request.moderation_count,
        moderation_cycles=device_cycles(request.moderation_us, clock_period_ps),
        interrupt=request.interrupt,
        counter_interrupt=request.counter_interrupt,
        core=context.process.processor.core.index,
        windows=windows,
    )


def window_setup(process: Process, window: WindowRequest) -> Sequence[int]:
    """The WINDOW_SETUP of memory that a process owns. RequestRefused, PageFault."""
    wanted = list(window.rights())
    if not wanted or window.va % 8 or window.length_bytes % 8 or window.length_bytes < 8:
        raise RequestRefused(
            f"window {window.va:#x}+{window.length_bytes:#x}: needs a right, and multiples of 8 bytes; mend the request"
        )
    for right in wanted:
        base, kind = process.space.find(window.va, window.length_bytes, right)
    if kind is not RegionKind.PROCESS:
        raise RequestRefused(f"window {window.va:#x}: is {kind.value} memory; windows lie in process memory")
    return WINDOW_SETUP.pack(
        base=base,
        length_bytes=window.length_bytes,
        local_read=window.local_read,
        local_write=window.local_write,
        remote_read=window.remote_read,
        remote_write=window.remote_write,
    )
