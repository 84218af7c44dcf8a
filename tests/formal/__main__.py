"""``python -m tests.formal``: prove all theorems, or those whose names contain one of the words given.

With --mutants, each theorem's seeded bugs are put into the hardware, one at a time, and must break it. Ends with 1 if
a theorem fails or a bug is not caught, with 2 if a tool is missing.
"""

import argparse
import sys
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass

from amaranth.hdl import UnusedElaboratable
from rich.console import Console
from rich.table import Table

from tests.formal.catalogue import catalogue
from tests.formal.solver import Verdict, decide, missing_tools

WORKERS = 2


@dataclass(frozen=True, kw_only=True)
class Job:
    """A theorem, or (`bug` counts from 0) whether it breaks."""

    theorem: str
    bug: int | None = None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """`error`: why there is no verdict."""

    verdict: Verdict | None = None
    error: str = ""


def run(job: Job) -> Outcome:
    theorem = catalogue()[job.theorem]
    seeded = nullcontext() if job.bug is None else theorem.bugs[job.bug].seeded()
    try:
        with seeded:
            rtlil = theorem.build().rtlil()
        return Outcome(verdict=decide(rtlil, induction=theorem.induction))
    except Exception as error:  # whatever it is, it concerns this theorem or this bug alone
        return Outcome(error=f"{type(error).__name__}: {error}")


def main() -> int:
    options = _options()
    missing = missing_tools()
    if missing:
        print(f"formal: {', '.join(missing)} not found; install the extra `formal`: pip install -e '.[formal]'")
        return 2
    warnings.simplefilter("ignore", UnusedElaboratable)  # of parts that a bench does without
    names = [name for name in catalogue() if not options.words or any(word in name for word in options.words)]
    jobs = [Job(theorem=name) for name in names]
    if options.mutants:
        jobs += [Job(theorem=name, bug=bug) for name in names for bug in range(len(catalogue()[name].bugs))]
    start = time.monotonic()
    with ProcessPoolExecutor(WORKERS) as pool:
        outcomes = dict(zip(jobs, pool.map(run, jobs), strict=True))
    console = Console()
    console.print(_table(names, outcomes))
    wrong = _complaints(outcomes)
    for complaint in wrong:
        console.print(complaint, markup=False, highlight=False)
    seconds = time.monotonic() - start
    seeded = len(jobs) - len(names)
    console.print(f"theorems: {len(names)}; seeded bugs: {seeded}; wrong: {len(wrong)}; {seconds:.0f} s")
    return 1 if wrong else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.formal", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("words", nargs="*", help="parts of the names of the theorems wanted; all, if none is given")
    parser.add_argument(
        "--mutants", action="store_true", help="put the seeded bugs in, too, and see that they are caught"
    )
    return parser.parse_args()


def _table(names: list[str], outcomes: dict[Job, Outcome]) -> Table:
    """A row for each theorem: property, induction over k cycles, how many of its seeded bugs break it."""
    table = Table("", "theorem", "block", "k", "s", "verdict", "bugs")
    for name in names:
        theorem, outcome = catalogue()[name], outcomes[Job(theorem=name)]
        tried = [one for job, one in outcomes.items() if job.theorem == name and job.bug is not None]
        table.add_row(
            str(theorem.number),
            name,
            theorem.block,
            str(theorem.induction),
            f"{outcome.verdict.seconds:.1f}" if outcome.verdict else "",
            "holds" if outcome.verdict and outcome.verdict.holds else "FAILS",
            f"{sum(_breaks(one) for one in tried)}/{len(tried)}" if tried else "",
        )
    return table


def _breaks(outcome: Outcome) -> bool:
    return outcome.verdict is not None and not outcome.verdict.holds


def _complaints(outcomes: dict[Job, Outcome]) -> list[str]:
    complaints = []
    for job, outcome in outcomes.items():
        what = f"{job.theorem}: " if job.bug is None else f"{job.theorem}, seeded bug {job.bug + 1}: "
        if outcome.verdict is None:
            complaints.append(what + outcome.error)
        elif job.bug is None and not outcome.verdict.holds:
            complaints.append(what + "does not hold: " + "; ".join(outcome.verdict.failed))
        elif job.bug is not None and outcome.verdict.holds:
            bug = catalogue()[job.theorem].bugs[job.bug]
            complaints.append(what + f"not caught: {bug.function}: {bug.old!r} -> {bug.new!r}")
    return complaints


if __name__ == "__main__":
    sys.exit(main())
