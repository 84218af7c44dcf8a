"""Shows on stderr what a run is doing: a line that changes on a terminal, lines that stay elsewhere."""

import sys
import time
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.status import Status

from cosim.scenario import Scenario

_PLAIN_PERIOD_S = 5.0


class Display:
    """Enter it to show; leaving it removes the changing line."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._status = Status("", console=self._console) if self._console.is_terminal else None
        self._jobs: dict[str, str] = {}
        self._next_s = 0.0

    def __enter__(self) -> Self:
        if self._status:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status:
            self._status.stop()

    def building(self, step: str) -> None:
        """A step of building the model has begun."""
        self._show(step)

    def simulating(self, scenario: Scenario) -> None:
        """The model is ready."""
        jobs = ", ".join(job.name for job in scenario.jobs)
        self._show(f"simulating {scenario.name} on {scenario.simulator}: {jobs}")
        self._next_s = time.monotonic() + _PLAIN_PERIOD_S

    def progress(self, state: dict[str, Any]) -> None:
        """A progress line of the simulator's process arrived (see `cosim.handover.Progress`)."""
        jobs: dict[str, str] = state["jobs"]
        line = f"{state['simulated_ps'] / 1e9:.3f} ms simulated"
        if self._status:
            running = ", ".join(f"{name} {state}" for name, state in jobs.items())
            self._show(f"{line}; {running}")
            return
        for name, state_of_job in jobs.items():
            if self._jobs.get(name) != state_of_job:
                self._show(f"{line}: {name} {state_of_job}")
                self._jobs[name] = state_of_job
        if time.monotonic() >= self._next_s:
            self._show(line)
            self._next_s = time.monotonic() + _PLAIN_PERIOD_S

    def _show(self, line: str) -> None:
        if self._status:
            self._status.update(escape(line))
        else:
            print(line, file=sys.stderr, flush=True)
