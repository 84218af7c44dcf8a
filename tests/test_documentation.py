"""What the documents promise is there: commands, targets, files, theorems, packages."""

import fnmatch
import re
import shlex
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from cosim.cli import main, parser
from cosim.scenario import load
from tests.formal.catalogue import catalogue

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)[1].split()
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTENSION_COMMANDS = ("asm", "compile", "dis", "exec", "header", "profile", "verify")
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))


def make(*arguments: str, columns: int = 80) -> str:
    """What make prints; only for targets that need no virtual environment."""
    clean = ["env", "-u", "MAKEFLAGS", "-u", "MAKELEVEL", f"COLUMNS={columns}"]
    command = [*clean, "make", "-C", str(ROOT), "--no-print-directory", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_make_alone_is_help_and_lists_every_target():
    text = make()
    assert text == make("help")
    assert re.findall(r"^  ([\w-]+) ", text, re.MULTILINE) == TARGETS


@pytest.mark.parametrize("columns", [40, 60, 200])
def test_help_fits_the_terminal(columns):
    """Nothing of it is lost, whatever the width."""
    lines = make("help", columns=columns).splitlines()
    assert max(map(len, lines)) <= columns
    assert " ".join(lines).split() == make("help").split()


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_knows_what_to_do(target):
    assert make("--dry-run", target)


@pytest.mark.parametrize("target", [target for target in TARGETS if target not in ("help", "clean", "distclean")])
def test_every_target_that_needs_the_environment_makes_it_first(target):
    assert "cosim/bootstrap.py" in make("--dry-run", target)


@pytest.mark.parametrize("target", sorted(PYPROJECT["project"]["optional-dependencies"].keys() & set(TARGETS)))
def test_targets_named_like_an_extra_install_it(target):
    assert f"cosim/bootstrap.py {target}" in make("--dry-run", target)


def test_make_run_passes_on_what_it_is_told():
    text = make("--dry-run", "run", "CONFIG=configs/mine.yaml", "ARGS=--json --waves")
    assert '.venv/bin/python -m cosim run "configs/mine.yaml" --json --waves' in text


@pytest.mark.parametrize(
    ("path", "some"),
    [
        ("README.md", {"run", "test", "help"}),
        ("ARCHITECTURE.md", {"docs"}),
        ("rtl/nic/NIC.md", {"bench-nic", "formal", "fuzz-nic"}),
        ("tests/formal/README.md", {"formal"}),
    ],
)
def test_make_targets_of_a_document_exist(path, some):
    text = (ROOT / path).read_text(encoding="utf-8")
    named = set(re.findall(r"(?:^    |`)make ([\w-]+)", text, re.MULTILINE))
    assert some <= named <= set(TARGETS)


@pytest.mark.parametrize(
    ("path", "some"), [("ARCHITECTURE.md", {"tests.rtl.load"}), ("tests/formal/README.md", {"tests.formal"})]
)
def test_modules_that_a_document_has_the_reader_run_exist(path, some):
    text = (ROOT / path).read_text(encoding="utf-8")
    named = set(re.findall(r"python -m ([\w.]+)", text))
    assert some <= named
    assert [name for name in named if not (ROOT.joinpath(*name.split(".")) / "__main__.py").exists()] == []


def test_theorems_of_the_proofs_are_those_of_the_catalogue():
    """Each name, or pattern of names, is one's; and each theorem has its link in the chain."""
    text = (ROOT / "tests" / "formal" / "README.md").read_text(encoding="utf-8")
    patterns = {name for name in re.findall(r"`([a-z_]+\.[a-z0-9_*]+)`", text) if not name.endswith(".py")}
    theorems = {name.removesuffix("_128") for name in catalogue()}  # the wider datapath's have the same link
    assert [pattern for pattern in patterns if not fnmatch.filter(theorems, pattern)] == []
    assert [name for name in theorems if not any(fnmatch.fnmatch(name, pattern) for pattern in patterns)] == []


@pytest.mark.parametrize("path", ["README.md", "nimble/EXTENSIONS.md"])
def test_commands_about_extensions_do_what_the_text_says(path, capsys, monkeypatch, tmp_path):
    """The sources in a document, each named before it in backticks, and then the commands, in order."""
    text = (ROOT / path).read_text(encoding="utf-8")
    for name, source in re.findall(r"`([\w./]+)`[^`]*\n\n```\w+\n(.*?)```", text, re.DOTALL):
        (tmp_path / name).write_text(source, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    printed = {}
    for line in re.findall(rf"^    \.venv/bin/nimble ((?:{'|'.join(EXTENSION_COMMANDS)}) .*)$", text, re.MULTILINE):
        assert main(shlex.split(line, comments=True)) == 0, line
        printed[line] = capsys.readouterr().out
    assert {"compile", "verify", "exec"} <= {line.split()[0] for line in printed}
    for line, out in printed.items():
        if "  # prints " in line:
            assert out == line.partition("  # prints ")[2] + "\n"


@pytest.mark.parametrize("line", re.findall(r"^    \.venv/bin/nimble (.*)$", README, re.MULTILINE))
def test_commands_of_the_readme_are_understood(line, capsys, monkeypatch):
    if line.split()[0] in EXTENSION_COMMANDS:
        return  # they need the files that the text has the reader write
    monkeypatch.chdir(ROOT)
    words = line.split()
    if words[-1] == "--help":
        with pytest.raises(SystemExit, match="0"):
            parser().parse_args(words)
    elif words[0] == "run":
        assert parser().parse_args(words).config.exists()
    else:
        assert main(words) == 0
        assert capsys.readouterr().out


@pytest.mark.parametrize(
    ("path", "least"), [("README.md", 9), ("ARCHITECTURE.md", 20), ("rtl/nic/NIC.md", 6), ("tests/formal/README.md", 1)]
)
def test_files_that_a_document_names_exist(path, least):
    text = (ROOT / path).read_text(encoding="utf-8")
    named = re.findall(r"`((?:configs|cosim|sw|nimble|rtl|tests)/[\w./]*)`", text)
    assert len(named) >= least
    made_by_the_reader = {"configs/mine.yaml"}
    assert [name for name in named if name not in made_by_the_reader and not (ROOT / name).exists()] == []


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_scenario_is_a_good_one_and_named_like_its_file(path):
    assert load(path).name == path.stem


def test_ci_calls_what_the_readme_calls():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert 'for target in lint formal "bench-nic ARGS=--nodes" test; do' in script
    assert "make --no-print-directory $target" in script


# ---- packages ----


def wanted() -> list[Requirement]:
    """What `make setup` installs of what pyproject.toml asks for: not the extras that are large and rarely needed."""
    project = PYPROJECT["project"]
    development = project["optional-dependencies"]["dev"]
    needs = (*project["dependencies"], *development, *PYPROJECT["build-system"]["requires"])
    return [Requirement(line) for line in needs]


def pinned(name: str = "requirements.txt") -> dict[str, Version]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def needed() -> dict[str, Requirement]:
    """Every package that the wanted ones need on this machine, directly or not."""
    waiting, found = wanted(), {}
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        if name not in found:
            found[name] = requirement
            try:
                waiting += [Requirement(line) for line in requires(requirement.name) or ()]
            except PackageNotFoundError:
                pytest.fail(f"{name} is not installed: run `make setup`")
    return found


def test_pins_satisfy_what_the_project_asks_for():
    pins = pinned()
    for requirement in wanted():
        assert pins[canonicalize_name(requirement.name)] in requirement.specifier, requirement


@pytest.mark.parametrize("extra", ["formal", "synth"])
def test_pins_of_an_extra_satisfy_it(extra: str) -> None:
    pins = pinned(f"requirements-{extra}.txt")
    for line in PYPROJECT["project"]["optional-dependencies"][extra]:
        requirement = Requirement(line)
        assert pins[canonicalize_name(requirement.name)] in requirement.specifier, requirement


def test_everything_that_is_needed_is_pinned_and_nothing_else():
    assert sorted(pinned()) == sorted(needed())


def test_every_dependency_says_why_it_is_there():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lists = re.findall(r"^(?:dependencies|\w+) = \[\n((?:    .*\n)+)\]", text, re.MULTILINE)
    lines = [line for part in lists for line in part.splitlines() if re.match(r"    \"[\w-]+[>=<]", line)]
    extras = PYPROJECT["project"]["optional-dependencies"].values()
    assert len(lines) == len(PYPROJECT["project"]["dependencies"]) + sum(map(len, extras))
    assert [line for line in lines if "  # " not in line] == []


def test_installed_scripts_lead_to_the_command_line():
    assert PYPROJECT["project"]["scripts"] == {
        "nimble": "cosim.cli:main",
        "nimble-exec": "nimble.cli:exec_main",
    }
    command = [sys.executable, "-m", "cosim", "--version"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout == f"nimble {PYPROJECT['project']['version']}\n"
