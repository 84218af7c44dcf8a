"""Runs the simulator's process: starts it, listens to its progress, stops it when the user asks, says how it ended."""

import json
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

from cosim.handover import ENVIRONMENT, Order

GRACE_S = 0.6  # from the user's Ctrl-C to the end by force: a run stops within a second
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """Takes Ctrl-C and its relatives while it is entered. They raise KeyboardInterrupt, except while `supervise` runs,
    which looks at `count` instead."""

    def __init__(self) -> None:
        self.count = 0
        self.raising = True
        self.wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._previous: dict[signal.Signals, Any] = {}
        self._previous_wake = -1

    def __enter__(self) -> Self:
        # Wakes `select` whichever thread the signal is delivered to.
        self._previous_wake = signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        self._previous = {number: signal.signal(number, self._take) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, previous in self._previous.items():
            signal.signal(number, previous)
        signal.set_wakeup_fd(self._previous_wake)
        os.close(self.wake_read)
        os.close(self._wake_write)

    def _take(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        if self.raising:
            raise KeyboardInterrupt


@dataclass
class Ending:
    """How the simulator's process ended. `last` is its last progress line."""

    status: int = 0  # exit status, or minus the signal's number
    stopped: bool = False  # because the user asked
    wall_s: float = 0.0
    last: dict[str, Any] = field(default_factory=dict)


def supervise(
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    directory: Path,
    order: Callable[[int], Order],
    inherited: Sequence[int],
    on_progress: Callable[[dict[str, Any]], None],
    interrupts: Interrupts,
) -> Ending:
    """Run `command` in `directory`, its output in simulator.log there; `order` makes its run.json, given the descriptor
    of the progress pipe. It also gets the descriptors `inherited`. OSError if it cannot be started."""
    interrupts.raising = False
    with ExitStack() as stack:
        progress, child_end = os.pipe2(os.O_CLOEXEC)
        stack.callback(os.close, progress)
        order_path = directory / "run.json"
        with ExitStack() as ours, (directory / "simulator.log").open("wb") as log:
            ours.callback(os.close, child_end)
            order(child_end).write(order_path)
            child = subprocess.Popen(
                command,
                env={**os.environ, **environment, ENVIRONMENT: str(order_path)},
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(child_end, *inherited),
                process_group=0,
            )
        stack.callback(_end, child)
        return _watch(child, progress, on_progress, interrupts)


def _watch(
    child: subprocess.Popen[bytes],
    progress: int,
    on_progress: Callable[[dict[str, Any]], None],
    interrupts: Interrupts,
) -> Ending:
    """Follow the process to its end. Wakes for its progress, for signals, for its end and for the end of its grace."""
    ending, pending, started = Ending(), b"", time.monotonic()
    kill_at: float | None = None
    with selectors.DefaultSelector() as selector, open(os.pidfd_open(child.pid), "rb") as exited:
        for descriptor in (progress, interrupts.wake_read, exited.fileno()):
            selector.register(descriptor, selectors.EVENT_READ)
        while True:
            if interrupts.count and not ending.stopped:
                ending.stopped = True
                kill_at = time.monotonic() + GRACE_S
                os.killpg(child.pid, signal.SIGINT)
            if kill_at is not None and (interrupts.count > 1 or time.monotonic() >= kill_at):
                kill_at = None
                os.killpg(child.pid, signal.SIGKILL)
            ready = {
                key.fd for key, _ in selector.select(None if kill_at is None else max(0.0, kill_at - time.monotonic()))
            }
            if interrupts.wake_read in ready:
                os.read(interrupts.wake_read, 64)
            if progress in ready:
                data = os.read(progress, 1 << 16)
                if not data:
                    selector.unregister(progress)
                *lines, pending = (pending + data).split(b"\n")
                for line in lines:
                    ending.last = json.loads(line)
                    on_progress(ending.last)
            elif exited.fileno() in ready:
                ending.status, ending.wall_s = _end(child), time.monotonic() - started
                return ending


def _end(child: subprocess.Popen[bytes]) -> int:
    """End what is left of the process and its group; its exit status."""
    if child.returncode is None:  # not yet waited for: the number is still its own
        os.killpg(child.pid, signal.SIGKILL)
    return child.wait()


def how_it_ended(ending: Ending, log: Path) -> str:
    """Why a process that handed over no result ended, in one line."""
    if ending.status < 0:
        try:
            number = signal.Signals(-ending.status)
            how = f"was killed by {number.name} ({signal.strsignal(number)})"
        except ValueError:
            how = f"was killed by signal {-ending.status}"
    else:
        how = f"ended with status {ending.status} and without a result"
    last = _last_line(log)
    return f"the simulator {how}" + (f"; its last words: {last}" if last else "")


def _last_line(log: Path, window_bytes: int = 4096) -> str:
    """The last line of a log that says something."""
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - window_bytes))
        lines = stream.read().decode("utf-8", "replace").splitlines()
    return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "")
