"""The command line: one line for every mistake, and no traceback."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cosim import cli
from cosim.cli import main

GOOD = """\
name: good
machine: {nodes: 2}
jobs:
  - {name: one, jid: 1, app: random_access, placement: [{node: 0, core: 0}]}
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = Path("good.yaml")
    path.write_text(GOOD)
    return path


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nimble: the following arguments are required: COMMAND; see `nimble --help`"),
        (["walk"], "nimble: argument COMMAND: invalid choice: 'walk' (choose from "),
        (["run"], "nimble run: the following arguments are required: CONFIG; see `nimble run --help`"),
        (["run", "x", "--fast"], "nimble: unrecognized arguments: --fast; see `nimble --help`"),
        (["run", "x", "--simulator", "vcs"], "nimble run: argument --simulator: invalid choice: 'vcs' (choose from "),
        (
            ["run", "x", "--waves-from", "1e3"],
            "nimble run: argument --waves-from: invalid time in ns value: '1e3'; see ",
        ),
        (["run", "x", "--waves-from=-1"], "nimble run: argument --waves-from: invalid time in ns value: '-1'; see "),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(arguments, said, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(said)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--waves-to", "5"], "--waves-from and --waves-to choose a part of a waveform; add --waves"),
        (
            ["--waves", "--waves-from", "7", "--waves-to", "7"],
            "--waves-to: 7 is not later than --waves-from, 7; exchange them",
        ),
        (
            ["--build-dir", "a b"],
            "--build-dir: '{here}/a b' holds white space, which make cannot handle; choose another with --build-dir",
        ),
    ],
)
def test_impossible_combinations(arguments, said, config, capsys):
    assert main(["run", str(config), *arguments]) == 2
    assert capsys.readouterr().err == said.format(here=Path.cwd()) + "\n"


@pytest.mark.parametrize("command", ["run", "check"])
def test_a_wrong_scenario_is_one_line_for_each_problem(command, config, capsys):
    config.write_text(GOOD.replace("nodes: 2", "nodes: 300").replace("name: good", "name: good\nsede: 1"))
    assert main([command, str(config)]) == 2
    assert capsys.readouterr() == (
        "",
        "good.yaml:2:1: sede: unknown key; did you mean 'seed'?\n"
        "good.yaml:3:18: machine.nodes: 300 is out of range 1..64; compute nodes of the machine\n",
    )
    assert os.listdir() == ["good.yaml"]


def test_a_missing_scenario(config, capsys):
    assert main(["run", "missing.yaml"]) == 2
    remedy = "give the path of a scenario, such as configs/quickstart.yaml"
    assert capsys.readouterr().err == f"missing.yaml: no such file; {remedy}\n"


def test_check_says_that_all_is_well(config, capsys):
    assert main(["check", str(config)]) == 0
    assert capsys.readouterr() == ("good.yaml: good: 2 nodes, 1 jobs\n", "")


def test_schema_is_json(capsys):
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["required"] == ["name", "machine", "jobs"]


def test_version(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == "nimble 0.1.0\n"


def test_ctrl_c_outside_a_run(monkeypatch, capsys, config):
    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_check", interrupted)
    assert main(["check", str(config)]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_an_error_of_ours_is_one_line_and_names_the_traceback(monkeypatch, capsys, config, tmp_path):
    def broken(_: object) -> int:
        raise OSError(errno.EIO, "some\nlines")

    monkeypatch.setattr(cli, "_check", broken)
    monkeypatch.setattr(cli.tempfile, "tempdir", str(tmp_path))
    assert main(["check", str(config)]) == 70
    (kept,) = tmp_path.glob("nimble-*.traceback")
    assert capsys.readouterr().err == (
        f"nimble: internal error: OSError: [Errno 5] some lines; please report it with {kept}\n"
    )
    assert "in broken" in kept.read_text()


def test_a_reader_that_goes_away_is_no_error():
    command = f"{sys.executable} -m cosim schema | head -c 1"
    result = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=True)
    assert (result.stdout, result.stderr) == ("{", "")


def test_arguments_are_refused_before_anything_heavy_is_imported():
    code = "import sys; from cosim.cli import parser; parser(); print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "pydantic", "rich", "amaranth", "cocotb"} & set(result.stdout.split())


def test_bench_measures_the_quickstart_unless_told_otherwise(monkeypatch, config, tmp_path):
    calls = []
    monkeypatch.setattr("cosim.bench.main", lambda scenario, **options: calls.append((scenario.name, options)) or 1)
    assert main(["bench", str(config), "--out", "there"]) == 1
    ((name, options),) = calls
    assert (name, options["cache"], options["out"]) == ("good", tmp_path / "build", Path("there"))
    assert cli.parser().parse_args(["bench"]).config == Path("configs/quickstart.yaml")
