"""NIC contexts as processes ask for them and as the kernel remembers them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sw.kernel.memory import Region

if TYPE_CHECKING:
    from sw.kernel.process import Process

ENTRY_BYTES = 64  # of a command ring or an event queue
MAX_LOG2 = 15  # of their number


@dataclass(frozen=True, kw_only=True)
class WindowRequest:
    """Memory of a process that a context may use: `va` and `length_bytes` are multiples of 8."""

    va: int
    length_bytes: int
    local_read: bool = False
    remote_write: bool = False


@dataclass(frozen=True, kw_only=True)
class ContextRequest:
    """A command ring of 2**commands_log2 and an event queue of 2**events_log2 entries; `interrupt`: events
    interrupt."""

    commands_log2: int
    events_log2: int
    windows: tuple[WindowRequest, ...] = ()
    interrupt: bool = False


@dataclass(frozen=True, kw_only=True)
class ContextHandle:
    """What a process gets to know of its context; `*_va` are its own addresses. `event` names its event for
    extensions."""

    index: int
    nid: int
    pid: int
    jid: int
    commands_va: int
    commands_log2: int
    events_va: int
    events_log2: int
    page_va: int
    event: str


@dataclass(kw_only=True)
class Context:
    """The kernel's record of a context. `pending`: an event came that no wait has answered yet; `settled`: its
    registers are not being changed right now."""

    handle: ContextHandle
    process: Process
    commands: Region
    events: Region
    pending: bool = False
    settled: bool = False
    sleeper: Process | None = None
