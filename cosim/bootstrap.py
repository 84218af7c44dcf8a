"""Makes the virtual environment that everything else runs in: `python3 -I cosim/bootstrap.py [EXTRA...]`, called by the
Makefile. An extra's packages, those of requirements-EXTRA.txt, are installed when a target that needs them is called.

Runs on the system's Python with its standard library alone, and on versions too old for this project far enough to say
so. A stamp written last tells a whole environment from an interrupted one; it also holds what the environment was made
from, so that a moved checkout, another Python or changed requirements make it anew.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

OLDEST_PYTHON = (3, 11)
_NEWER_PYTHONS = ("python3.14", "python3.13", "python3.12", "python3.11")
_TOOLS = ("g++", "make", "perl")
_STAMP = "nimble-setup.json"
_FAILED = 2
_INTERRUPTED = 130


class SetupError(Exception):
    """Something that the user has to put right; the text says what and how."""


def main(extras: Iterable[str] = ()) -> int:
    """Make `.venv` beside this package if it isn't there or isn't up to date; the exit status."""
    root = Path(__file__).resolve().parent.parent
    try:
        ensure(root, extras)
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)
        return _FAILED
    except KeyboardInterrupt:
        print("setup: interrupted; the next call starts it again", file=sys.stderr)
        return _INTERRUPTED
    return 0


def ensure(root: Path, extras: Iterable[str] = ()) -> None:
    """A whole and current virtual environment in `root`, with these extras. SetupError if it cannot be made."""
    _check_python()
    if any(character.isspace() for character in str(root)):
        raise SetupError(f"the path {str(root)!r} holds white space, which make cannot handle; move the checkout")
    directory = root / ".venv"
    wanted = _description(root)
    missing = [extra for extra in extras if not _has_extra(root, extra)]
    if _is_current(directory, wanted) and not missing:
        return
    lock = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)  # somebody else may be making it right now
        if not _is_current(directory, wanted):
            _make(root, directory)
            (directory / _STAMP).write_text(wanted, encoding="utf-8")
        for extra in extras:
            if not _has_extra(root, extra):
                _add_extra(root, extra)
    except OSError as error:
        raise SetupError(f"{error.filename or directory}: {error.strerror}; make room or check permissions") from None
    finally:
        os.close(lock)


def _check_python() -> None:
    """Go on with a newer Python if this one is too old and another is at hand."""
    if sys.version_info >= OLDEST_PYTHON:
        return
    for name in _NEWER_PYTHONS:
        path = shutil.which(name)
        if path:
            os.execv(path, [path, "-I", os.path.abspath(__file__)])
    found = ".".join(map(str, sys.version_info[:3]))
    oldest = ".".join(map(str, OLDEST_PYTHON))
    raise SetupError(
        f"Python {found} ({sys.executable}) is too old; install Python {oldest} or newer, or name one: make PYTHON=..."
    )


def _description(root: Path) -> str:
    """What an environment made now would be made from."""
    import tomllib

    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements = (root / "requirements.txt").read_bytes()
    return json.dumps(
        {
            "root": str(root),
            "python": os.path.realpath(sys.executable),
            "version": list(sys.version_info[:2]),
            "requirements": hashlib.sha256(requirements).hexdigest(),
            "project": hashlib.sha256(json.dumps(project, sort_keys=True).encode()).hexdigest(),
        },
        indent=1,
    )


def _has_extra(root: Path, extra: str) -> bool:
    """Whether the packages that the extra asks for now are those that were installed for it."""
    installed = root / ".venv" / f"nimble-{extra}.txt"
    return installed.exists() and installed.read_bytes() == _requirements(root, extra).read_bytes()


def _add_extra(root: Path, extra: str) -> None:
    requirements = _requirements(root, extra)
    directory = root / ".venv"
    _say(f"installing what `make {extra}` needs, once")
    pip = [str(directory / "bin" / "python"), "-m", "pip"]
    if not _succeeds([*pip, "--version"]):
        pip = [sys.executable, "-m", "pip", "--python", str(directory / "bin" / "python")]
    _install(pip, ["-r", str(requirements)], directory / "setup.log")
    shutil.copy(requirements, directory / f"nimble-{extra}.txt")


def _requirements(root: Path, extra: str) -> Path:
    path = root / f"requirements-{extra}.txt"
    if not path.is_file():
        raise SetupError(f"{extra!r}: no such extra; there is no {path.name}")
    return path


def _is_current(directory: Path, wanted: str) -> bool:
    try:
        stamp = (directory / _STAMP).read_text(encoding="utf-8")
    except OSError:
        return False
    return stamp == wanted and (directory / "bin" / "python").exists()


def _make(root: Path, directory: Path) -> None:
    _check_tools()
    _say("making the virtual environment .venv")
    pip = _create(directory)
    log = directory / "setup.log"
    requirements = root / "requirements.txt"
    lines = requirements.read_text(encoding="utf-8").splitlines()
    _say(f"installing {sum('==' in line for line in lines)} packages; this takes a minute or two, once")
    _install(pip, ["-r", str(requirements)], log)
    # setuptools is among the requirements: nothing else is fetched to build this project.
    _install(pip, ["--no-deps", "--no-build-isolation", "-e", str(root)], log)
    _check_libpython(directory)
    _say("ready")


def _check_tools() -> None:
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        names = " and ".join(missing)
        raise SetupError(f"{names}: not found on PATH; install (Debian: apt install {' '.join(missing)})")


def _create(directory: Path) -> list[str]:
    """Make the environment; the command of the pip that installs into it."""
    if importlib.util.find_spec("venv") is None:
        raise SetupError(_no_venv())
    command = [sys.executable, "-m", "venv", "--clear", str(directory)]
    python = str(directory / "bin" / "python")
    if importlib.util.find_spec("ensurepip") is not None and _succeeds(command):
        return [python, "-m", "pip"]
    pip = [sys.executable, "-m", "pip", "--python", python]
    if _succeeds([*command, "--without-pip"]) and _succeeds([*pip, "--version"]):
        return pip
    raise SetupError(_no_venv())


def _no_venv() -> str:
    version = ".".join(map(str, sys.version_info[:2]))
    remedy = f"install what it lacks (Debian: apt install python{version}-venv)"
    return f"{sys.executable} cannot make virtual environments; {remedy}"


def _succeeds(command: list[str]) -> bool:
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0


def _install(pip: list[str], arguments: list[str], log: Path) -> None:
    command = [*pip, "install", "--disable-pip-version-check", "--no-input", "--quiet", *arguments]
    environment = {**os.environ, "PIP_USER": "0"}
    with log.open("a", encoding="utf-8") as file:
        status = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, env=environment, check=False).returncode
    if status:
        reason = _reason(log.read_text(encoding="utf-8", errors="replace").splitlines())
        raise SetupError(f"pip failed: {reason}; check the network and try again (all of it: {log})")


def _reason(lines: Iterable[str]) -> str:
    """The line of pip's output that says most."""
    said = [line.strip() for line in lines if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in said if line.startswith("ERROR: ")]
    return (errors or said or ["it said nothing"])[-1][:300]


def _check_libpython(directory: Path) -> None:
    """cocotb loads Python into the simulator, which takes Python's shared library."""
    code = "import find_libpython; print(find_libpython.find_libpython() or '')"
    command = [str(directory / "bin" / "python"), "-c", code]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if not result.stdout.strip():
        version = ".".join(map(str, sys.version_info[:2]))
        raise SetupError(
            f"{sys.executable} has no shared library, which cocotb needs; install it (Debian: apt install "
            f"libpython{version}), or build Python with --enable-shared"
        )


def _say(text: str) -> None:
    print(f"setup: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
