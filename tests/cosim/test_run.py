"""Runs with a stand-in for the simulator: every way they end, seen from outside, by the real command line."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cosim import run as run_module
from cosim.errors import UserError
from cosim.handover import Order, Progress
from cosim.run import Options, run
from cosim.scenario import load
from cosim.supervisor import Interrupts

HERE = Path(__file__).parent
SAFETY_S = 60  # only so that a broken supervisor does not hang the tests

SCENARIO = """\
name: fake
machine: {nodes: 2}
jobs:
  - name: one
    jid: 1
    app: random_access
    placement: [{node: 0, core: 0}, {node: 1, core: 0}]
    parameters: {handler: process}
  - {name: two, jid: 2, app: forger, placement: [{node: 1, core: 1}]}
expect:
  random_access.process.errors: 0
  random_access.process.updates_per_s: {min: 1}
"""

# The command line, with a model that is a Python script. An argument "pause" or "raise" is done while building.
DRIVER = f"""\
import signal, sys
import cosim.build, cosim.supervisor
def build(scenario, *, progress, waves=False, cache):
    progress("building")
    if what == "pause":
        signal.pause()
    if what == "raise":
        raise KeyError("inside")
    return cosim.build.Model(
        command=[sys.executable, {str(HERE / "fake_simulator.py")!r}, what], environment={{}}, waves_suffix=".vcd"
    )
cosim.build.build = build
what = sys.argv.pop(1)
if what == "polite":
    cosim.supervisor.GRACE_S = 60  # however busy the machine: whether it answers is asked here, not how fast
from cosim.cli import main
sys.exit(main())
"""


class Nimble:
    """`nimble run` on SCENARIO in a directory of its own, results in out/fake."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.output = directory / "out" / "fake"
        (directory / "fake.yaml").write_text(SCENARIO)

    def start(self, what: str, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", DRIVER, what, "run", "fake.yaml", *arguments]
        environment = {**os.environ, "COLUMNS": "40"}
        return subprocess.Popen(
            command, cwd=self.directory, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def run(self, what: str, *arguments: str) -> tuple[int, str, list[str]]:
        """Exit status, stdout, and the lines of stderr that are no progress."""
        return self.end(self.start(what, *arguments))

    def end(self, process: subprocess.Popen[str]) -> tuple[int, str, list[str]]:
        out, err = process.communicate(timeout=SAFETY_S)
        said = [line for line in err.splitlines() if not re.match(r"building|simulating|\d+\.\d+ ms simulated", line)]
        return process.returncode, out, said

    def report(self) -> dict:
        return json.loads((self.output / "report.json").read_text())


def wait_for(process: subprocess.Popen[str], text: str) -> None:
    """Read stderr up to a line with `text`."""
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            return
    pytest.fail(f"the process ended without saying {text!r}")


@pytest.fixture
def nimble(tmp_path: Path) -> Nimble:
    return Nimble(tmp_path)


def test_a_run_that_passes(nimble):
    status, out, said = nimble.run("finish")
    assert (status, said) == (0, [])
    assert re.search(r"^updates/s +1,234,568$", out, re.MULTILINE)
    assert out.splitlines()[-2:] == ["out/fake/report.json", "out/fake/trace.json (open it in https://ui.perfetto.dev)"]
    assert max(map(len, out.splitlines()[:-1])) <= 40
    report = nimble.report()
    assert (report["status"], report["simulated_ps"], report["wall_s"]) == ("passed", 5_000_000_000, 2.5)
    assert [check["passed"] for check in report["checks"]] == [True, True]
    assert len(json.loads((nimble.output / "trace.json").read_text())) == 2 + 25
    assert sorted(path.name for path in nimble.output.iterdir() if path.name[0] != ".") == [
        "report.json", "result.json", "run.json", "simulator.log", "trace.json",
    ]  # fmt: skip


def test_json_is_the_report_and_nothing_else(nimble):
    status, out, _ = nimble.run("finish", "--json")
    assert status == 0
    assert out == (nimble.output / "report.json").read_text()
    assert json.loads(out)["forgery"]["delivered"] == 0


def test_progress_is_told_in_lines_where_there_is_no_terminal(nimble):
    process = nimble.start("finish")
    assert process.communicate(timeout=SAFETY_S)[1].splitlines() == [
        "building",
        "simulating fake on verilator: one, two",
        "0.007 ms simulated: one running",
        "0.007 ms simulated: two waiting",
    ]


ENDED, STATUS, LAST = "crashed: the simulator", " ended with status {} and without a result", "; its last words:"


@pytest.mark.parametrize(
    ("what", "status", "state", "said"),
    [
        ("wrong", 1, "failed", ["expect: random_access.process.errors: 3; expected 0"]),
        ("job", 1, "failed", ["job one: failed: node 0: page fault"]),
        ("limit", 1, "failed", ["failed: limits.simulated_ms: 5 ms have passed"]),
        ("crash", 3, "crashed", ["crashed: internal error: KeyError: 3"]),
        ("segfault", 3, "crashed", [f"{ENDED} was killed by SIGSEGV (Segmentation fault){LAST} arguments:"]),
        ("exception", 3, "crashed", [f"{ENDED}{STATUS.format(1)}{LAST} ZeroDivisionError: of the testbench"]),
        ("silent", 3, "crashed", [f"{ENDED}{STATUS.format(0)}{LAST} arguments:"]),
    ],
)  # fmt: skip
def test_runs_that_do_not_pass(nimble, what, status, state, said):
    result, out, lines = nimble.run(what)
    assert (result, nimble.report()["status"]) == (status, state)
    if state == "crashed":
        events = [f"  0.0{n:02}000 us, node 0, core 1, mmio: store (address {n:#x}), 500 ps" for n in range(15, 25)]
        said = [*said, *events, "log: out/fake/simulator.log"]
    assert lines == said
    assert re.search(rf"^result +{state}$", out, re.MULTILINE)
    assert len(json.loads((nimble.output / "trace.json").read_text())) == 2 + 25


def test_a_crash_keeps_what_is_known(nimble):
    nimble.run("segfault")
    report = nimble.report()
    assert (report["simulated_ps"], report["cycles"]) == (7_000_000, 1750)
    assert report["jobs"] == {"one": {"state": "running"}, "two": {"state": "waiting"}}
    assert report["checks"] == []
    assert (nimble.output / "trace.bin").exists()


def test_a_timeline_that_was_never_made_is_empty(nimble):
    status, _, said = nimble.run("torn")
    assert (status, said) == (
        3,
        ["crashed: the simulator was killed by SIGKILL (Killed)", "log: out/fake/simulator.log"],
    )
    assert json.loads((nimble.output / "trace.json").read_text()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(
    ("what", "reason", "simulated_ps"),
    [
        ("polite", "stopped by a signal", 5_000_000_000),
        ("deaf", "the simulator did not answer and was killed", 7_000_000),
    ],
)
def test_a_signal_stops_the_run_and_leaves_a_partial_report(nimble, what, reason, simulated_ps, number):
    process = nimble.start(what)
    wait_for(process, "two waiting")
    process.send_signal(number)
    status, out, said = nimble.end(process)
    assert (status, said) == (130, [f"interrupted: {reason}"])
    assert re.search(r"^result +interrupted$", out, re.MULTILINE)
    report = nimble.report()
    assert (report["status"], report["reason"], report["simulated_ps"]) == ("interrupted", reason, simulated_ps)
    assert len(json.loads((nimble.output / "trace.json").read_text())) == 2 + 25


def test_an_impatient_second_signal(nimble):
    process = nimble.start("deaf")
    wait_for(process, "two waiting")
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    assert nimble.end(process)[0] == 130


@pytest.mark.parametrize(("what", "line"), [("pause", "building"), ("early", "simulating")])
def test_a_signal_before_the_simulation_has_started(nimble, what, line):
    process = nimble.start(what)
    wait_for(process, line)
    process.send_signal(signal.SIGINT)
    status, _, said = nimble.end(process)
    assert (status, said) == (130, ["interrupted: before the simulation started"])
    assert nimble.report()["status"] == "interrupted"


def test_the_simulator_does_not_outlive_a_killed_supervisor_unnoticed(tmp_path):
    read, write = os.pipe()
    order = Order(scenario="", result_path="", trace_path="", objects_path="", progress_fd=write)
    progress = Progress(order)
    assert progress.send(simulated_ps=1, cycles=2, jobs={"a": "running"})
    assert json.loads(os.read(read, 4096)) == {"simulated_ps": 1, "cycles": 2, "jobs": {"a": "running"}}
    assert progress.send(simulated_ps=1, cycles=2, jobs={f"job {i}": "running" for i in range(1000)})
    assert json.loads(os.read(read, 4096))["jobs"] == {}
    for _ in range(10_000):  # more than the pipe holds: nobody waits
        assert progress.send(simulated_ps=1, cycles=2, jobs={})
    os.close(read)
    assert not progress.send(simulated_ps=1, cycles=2, jobs={})
    os.close(write)


def test_the_supervisor_survives_a_simulator_that_closes_its_end_early(nimble, monkeypatch):
    code = "import os, json; o = json.load(open(os.environ['NIMBLE_RUN'])); os.close(o['progress_fd']); os._exit(5)"
    monkeypatch.setattr("cosim.build.build", lambda *_, **__: Fake([sys.executable, "-c", code]))
    assert run(load(nimble.directory / "fake.yaml"), Options(out=nimble.directory / "out", json=True)) == 3
    assert nimble.report()["reason"] == "the simulator ended with status 5 and without a result"


class Fake:
    """A model that runs a command."""

    def __init__(self, command: list[str]) -> None:
        self.command = command
        self.environment: dict[str, str] = {}
        self.waves_suffix = ".vcd"


@pytest.mark.parametrize("variables", [{}, {"NO_COLOR": "1"}])
def test_a_terminal_gets_a_changing_line_and_colour_if_it_wants(nimble, variables):
    ours, terminal = os.openpty()
    command = [sys.executable, "-c", DRIVER, "finish", "run", "fake.yaml"]
    own = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    environment = {**own, "COLUMNS": "40", "TERM": "xterm", **variables}
    process = subprocess.Popen(command, cwd=nimble.directory, env=environment, stdout=terminal, stderr=terminal)
    os.close(terminal)
    shown = b""
    while data := read_or_end(ours):
        shown += data
    os.close(ours)
    assert process.wait(SAFETY_S) == 0
    assert b"0.007 ms simulated; one running" in shown, "the last line is drawn, however short the run"
    assert b"\x1b[?25l" in shown, "the cursor is hidden while the line changes"
    assert (b"\x1b[32m" in shown) is not bool(variables)


def read_or_end(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # how Linux says that nobody holds the other end any more
        return b""


# ---- places ----


def test_a_file_where_the_results_should_go(nimble):
    nimble.output.parent.mkdir()
    nimble.output.write_text("mine")
    status, out, said = nimble.run("finish")
    assert (status, out) == (2, "")
    assert said == [f"{nimble.output}: a file is in the way of the output; remove it or choose --out"]
    assert nimble.output.read_text() == "mine"


def test_a_place_that_cannot_be_written(nimble):
    status, out, said = nimble.run("finish", "--out", "/proc/nimble")
    assert (status, out) == (2, "")
    assert said == ["/proc/nimble: No such file or directory; choose another directory with --out, or make room"]


def test_a_full_disk(nimble, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("cosim.build.build", lambda *_, **__: Fake(["true"]))
    monkeypatch.setattr(run_module.trace, "Recorder", full)
    with pytest.raises(UserError) as caught:
        run(load(nimble.directory / "fake.yaml"), Options(out=nimble.directory / "out"))
    remedy = "choose another directory with --out, or make room"
    assert caught.value.message == f"{nimble.output}: No space left on device; {remedy}"


def test_two_runs_do_not_write_to_the_same_place(nimble):
    first = nimble.start("deaf")
    wait_for(first, "two waiting")
    status, _, said = nimble.run("finish")
    remedy = "wait for it to end, or choose another directory with --out"
    assert (status, said) == (2, [f"{nimble.output}: another run (process {first.pid}) is writing there; {remedy}"])
    assert nimble.run("finish", "--out", "elsewhere")[0] == 0
    first.send_signal(signal.SIGINT)
    assert nimble.end(first)[0] == 130
    assert nimble.run("finish")[0] == 0


def test_old_results_do_not_pass_for_new_ones(nimble):
    assert nimble.run("finish")[0] == 0
    (nimble.output / "wave.vcd").touch()
    (nimble.output / "notes.txt").touch()
    process = nimble.start("deaf")
    wait_for(process, "two waiting")
    assert not {"report.json", "trace.json", "result.json", "wave.vcd"} & {
        path.name for path in nimble.output.iterdir()
    }
    assert (nimble.output / "notes.txt").exists()
    process.send_signal(signal.SIGINT)
    nimble.end(process)


# ---- the rest ----


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "arguments:"),
        (("--waves",), "arguments: +waves={out}/wave.vcd +waves_from=0"),
        (
            ("--waves", "--waves-from", "5", "--waves-to", "20"),
            "arguments: +waves={out}/wave.vcd +waves_from=5000 +waves_to=20000",
        ),
    ],
)
def test_waves_are_asked_for_in_picoseconds(nimble, arguments, told):
    assert nimble.run("finish", *arguments)[0] == 0
    assert (nimble.output / "simulator.log").read_text().strip() == told.format(out=nimble.output)


def test_the_simulator_can_be_chosen_without_touching_the_file(nimble):
    nimble.run("finish", "--simulator", "icarus")
    assert nimble.report()["simulator"] == "icarus"
    assert json.loads(json.loads((nimble.output / "run.json").read_text())["scenario"])["simulator"] == "icarus"


def test_an_internal_error_is_one_line_and_keeps_its_traceback(nimble, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    status, out, said = nimble.run("raise")
    (kept,) = tmp_path.glob("nimble-*.traceback")
    assert (status, out) == (70, "")
    assert said == [f"nimble: internal error: KeyError: 'inside'; please report it with {kept}"]
    assert "Traceback" in kept.read_text()


def test_handlers_of_signals_are_put_back():
    before = signal.getsignal(signal.SIGINT)
    with Interrupts() as interrupts:
        assert signal.getsignal(signal.SIGINT) == interrupts._take
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
