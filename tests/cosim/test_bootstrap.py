"""Setting up: when it is done again, and what a machine that lacks something is told. Nothing is installed here."""

import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest

from cosim import bootstrap
from cosim.bootstrap import SetupError

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with what the set-up looks at."""
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\n')
    (tmp_path / "requirements.txt").write_text("a==1\n")
    return tmp_path


@pytest.fixture
def made(root: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The environments that were made; each is only the file that is looked for."""
    calls: list[Path] = []

    def make(_: Path, directory: Path) -> None:
        calls.append(directory)
        (directory / "bin").mkdir(parents=True, exist_ok=True)
        (directory / "bin" / "python").touch()

    monkeypatch.setattr(bootstrap, "_make", make)
    return calls


def test_a_second_call_does_nothing(root, made):
    bootstrap.ensure(root)
    bootstrap.ensure(root)
    assert made == [root / ".venv"]


def change_requirements(root: Path) -> None:
    (root / "requirements.txt").write_text("a==2\n")


def change_project(root: Path) -> None:
    (root / "pyproject.toml").write_text('[project]\nname = "x"\n[project.scripts]\ny = "z:main"\n')


def remove_python(root: Path) -> None:
    (root / ".venv" / "bin" / "python").unlink()
    (root / ".venv" / "bin" / "python").symlink_to("/nonexistent/python")


def lose_the_stamp(root: Path) -> None:
    (root / ".venv" / "nimble-setup.json").unlink()


def come_from_elsewhere(root: Path) -> None:
    stamp = root / ".venv" / "nimble-setup.json"
    stamp.write_text(stamp.read_text().replace(str(root), "/elsewhere"))


def be_of_another_python(root: Path) -> None:
    stamp = root / ".venv" / "nimble-setup.json"
    stamp.write_text(json.dumps({**json.loads(stamp.read_text()), "version": [3, 10]}))


@pytest.mark.parametrize(
    "change",
    [change_requirements, change_project, remove_python, lose_the_stamp, come_from_elsewhere, be_of_another_python],
)
def test_what_makes_it_anew(root, made, change):
    bootstrap.ensure(root)
    change(root)
    if change is remove_python:  # the stand-in touches what the link points to
        (root / ".venv" / "bin" / "python").unlink()
    bootstrap.ensure(root)
    bootstrap.ensure(root)
    assert len(made) == 2


def test_other_settings_in_pyproject_do_not(root, made):
    bootstrap.ensure(root)
    (root / "pyproject.toml").write_text('[project]\nname = "x"\n[tool.ruff]\nline-length = 99\n')
    bootstrap.ensure(root)
    assert len(made) == 1


def test_an_interrupted_one_is_made_anew(root, monkeypatch, made, capsys):
    make = bootstrap._make
    monkeypatch.setattr(bootstrap, "_make", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    monkeypatch.setattr(bootstrap, "__file__", str(root / "cosim" / "bootstrap.py"))
    assert bootstrap.main() == 130
    assert capsys.readouterr().err == "setup: interrupted; the next call starts it again\n"
    monkeypatch.setattr(bootstrap, "_make", make)
    assert bootstrap.main() == 0
    assert len(made) == 1


def test_an_extra_is_installed_once_and_again_when_it_asks_for_other_packages(root, made, monkeypatch):
    installed: list[str] = []
    monkeypatch.setattr(bootstrap, "_install", lambda _pip, arguments, _log: installed.append(Path(arguments[1]).name))
    monkeypatch.setattr(bootstrap, "_succeeds", lambda _: True)
    extra = root / "requirements-proofs.txt"
    extra.write_text("b==1\n")
    bootstrap.ensure(root)
    assert installed == []
    bootstrap.ensure(root, ["proofs"])
    bootstrap.ensure(root, ["proofs"])
    assert installed == [extra.name]
    extra.write_text("b==2\n")
    bootstrap.ensure(root, ["proofs"])
    assert installed == [extra.name] * 2
    assert made == [root / ".venv"]


def test_an_unknown_extra_names_the_file_that_is_missing(root, made):
    with pytest.raises(SetupError, match=r"^'prooves': no such extra; there is no requirements-prooves.txt$"):
        bootstrap.ensure(root, ["prooves"])


def test_white_space_in_the_path_is_refused(tmp_path):
    root = tmp_path / "my checkout"
    root.mkdir()
    with pytest.raises(
        SetupError, match=r"^the path '.*my checkout' holds white space, which make cannot handle; move "
    ):
        bootstrap.ensure(root)


def test_a_full_disk_is_one_line(root, monkeypatch):
    def make(*_: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(root / ".venv"))

    monkeypatch.setattr(bootstrap, "_make", make)
    with pytest.raises(SetupError, match=r"/\.venv: No space left on device; make room or check permissions$"):
        bootstrap.ensure(root)


def test_an_old_python_names_the_version_and_the_remedy(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 9, 2, "final", 0))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SetupError) as caught:
        bootstrap._check_python()
    remedy = "install Python 3.11 or newer, or name one: make PYTHON=..."
    assert str(caught.value) == f"Python 3.9.2 ({sys.executable}) is too old; {remedy}"


def test_an_old_python_goes_on_with_a_newer_one(monkeypatch, tmp_path):
    newer = tmp_path / "python3.12"
    newer.write_text("#!/bin/sh\n")
    newer.chmod(0o755)
    started = []
    monkeypatch.setattr(sys, "version_info", (3, 9, 2, "final", 0))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(bootstrap.os, "execv", lambda path, command: started.append(command) or sys.exit(0))
    with pytest.raises(SystemExit):
        bootstrap._check_python()
    assert started == [[str(newer), "-I", str(Path(bootstrap.__file__).absolute())]]


@pytest.mark.parametrize(
    ("present", "message"),
    [
        (("g++", "make"), "perl: not found on PATH; install (Debian: apt install perl)"),
        (("make",), "g++ and perl: not found on PATH; install (Debian: apt install g++ perl)"),
    ],
)
def test_missing_tools_are_named(present, message, monkeypatch, tmp_path):
    for tool in present:
        (tmp_path / tool).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SetupError) as caught:
        bootstrap._check_tools()
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("missing", "failing", "pip"),
    [
        ((), (), ["V", "-m", "pip"]),
        (("ensurepip",), (), [sys.executable, "-m", "pip", "--python", "V"]),
        ((), ("--clear V",), [sys.executable, "-m", "pip", "--python", "V"]),  # ensurepip is there and does not work
        (("ensurepip",), ("--version",), None),
        (("venv",), (), None),
    ],
)
def test_ways_to_an_environment(missing, failing, pip, monkeypatch, tmp_path):
    python = str(tmp_path / "bin" / "python")

    def succeeds(command: list[str]) -> bool:
        line = " ".join(command).replace(str(tmp_path), "V")
        return not any(line.endswith(end) for end in failing)

    monkeypatch.setattr(bootstrap.importlib.util, "find_spec", lambda name: None if name in missing else object())
    monkeypatch.setattr(bootstrap, "_succeeds", succeeds)
    if pip is None:
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        message = (
            rf"cannot make virtual environments; install what it lacks \(Debian: apt install python{version}-venv\)$"
        )
        with pytest.raises(SetupError, match=message):
            bootstrap._create(tmp_path)
    else:
        assert bootstrap._create(tmp_path) == [python if word == "V" else word for word in pip]


def test_a_failure_of_pip_is_one_line_and_names_its_log(tmp_path):
    script = "print('Collecting a\\nERROR: No matching distribution found for a==1\\n'); raise SystemExit(1)"
    log = tmp_path / "setup.log"
    with pytest.raises(SetupError) as caught:
        bootstrap._install([sys.executable, "-c", script], ["-r", "requirements.txt"], log)
    reason = "No matching distribution found for a==1; check the network and try again"
    assert str(caught.value) == f"pip failed: {reason} (all of it: {log})"


@pytest.mark.parametrize(("answer", "good"), [("/usr/lib/libpython3.11.so", True), ("", False)])
def test_a_python_without_its_shared_library_is_refused(answer, good, tmp_path):
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python"
    python.write_text(f"#!/bin/sh\necho {answer}\n")
    python.chmod(0o755)
    if good:
        bootstrap._check_libpython(tmp_path)
        return
    with pytest.raises(
        SetupError, match=r"has no shared library, which cocotb needs; install it \(Debian: apt install lib"
    ):
        bootstrap._check_libpython(tmp_path)


def test_it_runs_on_the_bare_standard_library():
    """As on a fresh machine; a path with white space ends it before it makes anything."""
    script = str(ROOT / "cosim" / "bootstrap.py")
    code = f"import runpy, pathlib; runpy.run_path({script!r})['ensure'](pathlib.Path('/a b'))"
    result = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
    assert "SetupError: the path '/a b' holds white space" in result.stderr
