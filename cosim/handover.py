"""What the supervisor (`cosim.run`) and the simulator's process (`cosim.testbench`) hand to each other.

    Order      supervisor -> simulator, once: run.json, whose path is in the environment variable NIMBLE_RUN
    Progress   simulator -> supervisor, now and then: a line of JSON through a pipe
    result     simulator -> supervisor, once: result.json, written whole or not at all

The result is a mapping. Required: `status` ("finished", "failed", "interrupted" or "crashed"), `simulated_ps`, `cycles`
(clock edges that the clock really made) and `wall_s` (wall-clock seconds of simulating, without building and starting).
If the status isn't "finished", `reason` says why in one line. Everything else is copied to the report: `node_cycles`
(for each node, the edges that its own clock made), `jobs` (name -> mapping with `state`; a job that ended badly has
the state "failed" and a `reason`), `counters`, `violations` and the applications' own sections (`random_access`,
`forgery`); `trace_dropped` counts what the timeline lacks.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ENVIRONMENT = "NIMBLE_RUN"
_LINE_BYTES = 4096  # a pipe takes that much whole or not at all (PIPE_BUF)


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is to be run, and where everything goes. Paths are absolute."""

    scenario: str  # Scenario.canonical()
    result_path: str
    trace_path: str  # binary, see cosim.trace
    objects_path: str  # a folder for the extension engine's compiled code
    progress_fd: int

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls) -> "Order":
        """The order of the process that this code runs in."""
        return cls(**json.loads(Path(os.environ[ENVIRONMENT]).read_text(encoding="utf-8")))


class Progress:
    """The simulator's end of the progress pipe."""

    def __init__(self, order: Order) -> None:
        self._descriptor = order.progress_fd
        os.set_blocking(self._descriptor, False)

    def send(self, *, simulated_ps: int, cycles: int, jobs: Mapping[str, str]) -> bool:
        """Tell where the simulation is and the state of every job; a line that does not fit now is left out.

        False: the supervisor is gone, and nobody will read a result.
        """
        state = {"simulated_ps": simulated_ps, "cycles": cycles, "jobs": dict(jobs)}
        line = json.dumps(state, separators=(",", ":")).encode() + b"\n"
        if len(line) > _LINE_BYTES:
            line = json.dumps({**state, "jobs": {}}, separators=(",", ":")).encode() + b"\n"
        try:
            os.write(self._descriptor, line)
        except BlockingIOError:
            pass
        except BrokenPipeError:
            return False
        return True


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader sees all of it or none."""
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def write_result(order: Order, result: Mapping[str, Any]) -> None:
    """Hand the result over."""
    write_whole(Path(order.result_path), json.dumps(result))
