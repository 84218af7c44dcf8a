"""Runs a scenario from the model to the report, whatever happens on the way.

Exit statuses: 0 passed, 1 the run, a job or a check of `expect` failed, 2 the user can put it right (UserError),
3 the simulator crashed, 130 interrupted.
"""

import fcntl
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from cosim import report, trace
from cosim.display import Display
from cosim.errors import UserError
from cosim.handover import Order, write_whole
from cosim.scenario import PS_PER_NS, Scenario
from cosim.supervisor import Interrupts, how_it_ended, supervise

_STATUS = {"passed": 0, "failed": 1, "crashed": 3, "interrupted": 130}
_LAST_EVENTS = 10
_INTERRUPTED_SPANS = 20_000  # of the timeline after Ctrl-C: what can be written well within a second


@dataclass(frozen=True, kw_only=True)
class Waves:
    """A waveform, of everything or between two simulated times."""

    from_ns: int = 0
    to_ns: int | None = None


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to run: nothing here changes a result."""

    out: Path = Path("out")
    build_dir: Path = Path("build")
    json: bool = False
    waves: Waves | None = None


def run(scenario: Scenario, options: Options) -> int:
    """Build, simulate, report; the exit status. UserError if it cannot start or its output cannot be written."""
    directory = (options.out / scenario.name).absolute()
    with _occupied(directory) as lock, Interrupts() as interrupts, Display() as display:
        _remove_old(directory)
        try:
            result = _simulated(scenario, options, directory, lock, interrupts, display)
        except KeyboardInterrupt:
            result = {"status": "interrupted", "reason": "before the simulation started"}
        interrupts.raising = False  # from here on only the files are written
        with _writing(directory):
            found = report.assemble(scenario, result)
            write_whole(directory / "report.json", report.text(found))
            _write_trace(directory, found["status"])
    _tell(found, directory, options)
    return _STATUS[found["status"]]


def _simulated(
    scenario: Scenario, options: Options, directory: Path, lock: int, interrupts: Interrupts, display: Display
) -> dict[str, Any]:
    """What the simulator's process handed over, or what can be said in its stead."""
    from cosim.build import build

    waves = options.waves
    model = build(scenario, progress=display.building, waves=waves is not None, cache=options.build_dir.absolute())
    display.simulating(scenario)

    def order(progress_fd: int) -> Order:
        return Order(
            scenario=scenario.canonical(),
            result_path=str(directory / "result.json"),
            trace_path=str(directory / "trace.bin"),
            objects_path=str(options.build_dir.absolute() / "extensions"),
            progress_fd=progress_fd,
        )

    with _writing(directory):
        trace.Recorder(directory / "trace.bin", scenario.limits.trace_records).close()  # a full disk shows here
        ending = supervise(
            [*model.command, *_waves_arguments(waves, directory, model.waves_suffix)],
            model.environment,
            directory=directory,
            order=order,
            inherited=(lock,),
            on_progress=display.progress,
            interrupts=interrupts,
        )
        result = _handed_over(directory / "result.json")
    if result is not None:
        return result
    known = {"simulated_ps": 0, "cycles": 0, "wall_s": ending.wall_s, **ending.last}
    known["jobs"] = {name: {"state": state} for name, state in ending.last.get("jobs", {}).items()}
    if ending.stopped:
        when = "the simulator did not answer and was killed" if ending.last else "before the simulation started"
        return {**known, "status": "interrupted", "reason": when}
    return {**known, "status": "crashed", "reason": how_it_ended(ending, directory / "simulator.log")}


def _waves_arguments(waves: Waves | None, directory: Path, suffix: str) -> list[str]:
    """What a model that was built for waves is told (see `cosim.build.Model`)."""
    if waves is None:
        return []
    arguments = [f"+waves={directory / 'wave'}{suffix}", f"+waves_from={waves.from_ns * PS_PER_NS}"]
    return arguments + ([] if waves.to_ns is None else [f"+waves_to={waves.to_ns * PS_PER_NS}"])


def _handed_over(path: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


@contextmanager
def _occupied(directory: Path) -> Iterator[int]:
    """Make the run's directory and keep other runs out of it; gives the lock's descriptor. The simulator inherits it,
    so that the directory stays locked until both processes have ended. UserError if that cannot be."""
    with _writing(directory):
        directory.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            remedy = "wait for it to end, or choose another directory with --out"
            raise UserError(f"{directory}: another run (process {other}) is writing there; {remedy}") from None
        with _writing(directory):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _writing(directory: Path) -> Iterator[None]:
    """Turns the operating system's refusals into one line for the user."""
    try:
        yield
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(f"{error.filename}: a file is in the way of the output; remove it or choose --out") from None
    except OSError as error:
        where = error.filename or directory
        raise UserError(f"{where}: {error.strerror}; choose another directory with --out, or make room") from None


def _remove_old(directory: Path) -> None:
    """Nothing of an earlier run may look like a result of this one."""
    with _writing(directory):
        for name in ("report.json", "trace.json", "trace.bin", "result.json", "run.json", "simulator.log"):
            (directory / name).unlink(missing_ok=True)
        for wave in directory.glob("wave.*"):
            wave.unlink()


def _write_trace(directory: Path, status: str) -> None:
    """trace.json from the binary one, which is kept only after a crash."""
    binary = directory / "trace.bin"
    if not binary.exists():  # interrupted before the simulation started
        return
    try:
        most = _INTERRUPTED_SPANS if status == "interrupted" else None
        trace.write_chrome(binary, directory / "trace.json", most=most)
    except ValueError:  # ended while the file was being made: nothing had been recorded
        write_whole(directory / "trace.json", "[]\n")
    if status != "crashed":
        binary.unlink()


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _tell(found: report.Report, directory: Path, options: Options) -> None:
    """Results on stdout; what went wrong, and where to look, on stderr."""
    shown = os.path.relpath(directory)
    for line in report.failures(found):
        _say(f"{found['status']}: {line}" if line == found["reason"] else line)
    if found["status"] == "crashed":
        for event in trace.last_events(directory / "trace.bin", _LAST_EVENTS):
            _say(f"  {event}")
        _say(f"log: {shown}/simulator.log")
    if dropped := found["trace_dropped"]:
        _say(f"the timeline lacks {dropped} records; raise limits.trace_records to keep them")
    if options.json:
        sys.stdout.write(report.text(found))
        return
    console = Console(highlight=False)
    console.print(report.table(found))
    if (extensions := report.extensions(found)) is not None:
        console.print(extensions)
    waves = [f"{shown}/{wave.name}" for wave in sorted(directory.glob("wave.*"))]
    print("\n".join([f"{shown}/report.json", f"{shown}/trace.json (open it in https://ui.perfetto.dev)", *waves]))
