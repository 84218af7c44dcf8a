"""Calls of the tools that the extras install."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path

from cosim.errors import UserError

_MOST_SECONDS_FOR_A_VERSION = 600  # the first call of a tool compiles it
_PATIENCE_SECONDS = 3.0


class ToolError(UserError):
    """A tool is missing, has failed or has not answered."""


def search_path() -> str:
    """Where tools are looked for: beside this Python first."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def missing(tools: Iterable[str]) -> list[str]:
    return [tool for tool in tools if shutil.which(tool, path=search_path()) is None]


def require(tools: Iterable[str], extra: str) -> None:
    """ToolError unless all are there; `extra` is that of pyproject.toml which installs them."""
    if lacking := missing(tools):
        raise ToolError(f"{', '.join(lacking)} not found; install the extra `{extra}`: pip install -e '.[{extra}]'")


def versions(tools: Iterable[str]) -> tuple[str, ...]:
    """What tools say of themselves. Those that are WebAssembly are compiled by that, so that it counts for no limit."""
    text = "the tools are being compiled; this takes a minute or two, once"
    hint = threading.Timer(_PATIENCE_SECONDS, print, [text], {"file": sys.stderr, "flush": True})
    hint.start()
    try:
        return tuple(_version(tool) for tool in tools)
    finally:
        hint.cancel()


def _version(tool: str) -> str:
    return run_tool(Path(), tool, "--version", limit_seconds=_MOST_SECONDS_FOR_A_VERSION).strip()


def run_tool(folder: Path, tool: str, *arguments: str, limit_seconds: float, may_fail: bool = False) -> str:
    """What a tool says that runs in `folder`. ToolError if it is missing, takes too long or, unless it may, fails."""
    program = shutil.which(tool, path=search_path())
    if program is None:
        raise ToolError(f"{tool} is not installed")
    # A group of its own, so that what the tool has started ends with it.
    with subprocess.Popen(
        [program, *arguments],
        cwd=folder,
        env={**os.environ, "PATH": search_path()},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=limit_seconds)
        except subprocess.TimeoutExpired as error:
            os.killpg(process.pid, signal.SIGKILL)
            raise ToolError(f"{tool}: no answer in {limit_seconds:g} s; give it more with --limit SECONDS") from error
    if process.returncode and not may_fail:
        raise ToolError(f"{tool}: status {process.returncode}: {output.strip()[-1500:]}")
    return output
