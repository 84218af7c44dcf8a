"""``python -m tests.formal``: prove all theorems, or those whose names contain one of the words given.

With --mutants, each theorem's seeded bugs are put into the hardware, one at a time, and must break it. Verdicts are
kept in build/formal by the hardware that they are about; report.json there says what holds of the sources as they are.
Ends with 1 if a theorem fails or a bug is not caught, with 2 if a tool is missing.
"""

import argparse
import time
import warnings
from contextlib import nullcontext
from dataclasses import dataclass

from amaranth.hdl import UnusedElaboratable
from rich.console import Console

from tests.commands.jobs import Ended, in_parallel
from tests.commands.tables import Column, show
from tests.commands.tools import require, versions
from tests.formal import report
from tests.formal.carried import looked_at
from tests.formal.catalogue import catalogue
from tests.formal.solver import COMPILED, MOST_SECONDS, TOOLS, Verdict, decide

_COLUMNS = (
    Column(heading=""),
    Column(heading="theorem", words=True),
    Column(heading="block", words=True),
    Column(heading="k"),
    Column(heading="s"),
    Column(heading="verdict"),
    Column(heading="bugs"),
)


@dataclass(frozen=True, kw_only=True)
class Job:
    """A theorem, or (`bug` counts from 0) whether it breaks."""

    theorem: str
    bug: int | None = None
    limit_seconds: float = MOST_SECONDS

    def __str__(self) -> str:
        return self.theorem if self.bug is None else f"{self.theorem}, seeded bug {self.bug + 1}"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """`error`: why there is no verdict."""

    verdict: Verdict | None = None
    error: str = ""

    @property
    def holds(self) -> bool:
        return self.verdict is not None and self.verdict.holds

    @property
    def breaks(self) -> bool:
        return self.verdict is not None and not self.verdict.holds


def run(job: Job) -> Outcome:
    theorem = catalogue()[job.theorem]
    seeded = nullcontext() if job.bug is None else theorem.bugs[job.bug].seeded()
    try:
        with seeded:
            bench = theorem.build()
            rtlil, looked = bench.rtlil(), looked_at(bench)
        if looked:
            return Outcome(verdict=Verdict(failed=(f"what is marked is looked at: {', '.join(looked)}",), seconds=0))
        return Outcome(verdict=decide(rtlil, induction=theorem.induction, limit_seconds=job.limit_seconds))
    except Exception as error:  # whatever it is, it concerns this theorem or this bug alone
        return Outcome(error=f"{type(error).__name__}: {error}")


def main() -> int:
    options = _options()
    require(TOOLS, "formal")
    versions(COMPILED)  # what their first calls take is no theorem's time
    warnings.simplefilter("ignore", UnusedElaboratable)  # of parts that a bench does without
    names = [name for name in catalogue() if not options.words or any(word in name for word in options.words)]
    jobs = [Job(theorem=name, limit_seconds=options.limit) for name in names]
    if options.mutants:
        jobs += [
            Job(theorem=name, bug=bug, limit_seconds=options.limit)
            for name in names
            for bug in range(len(catalogue()[name].bugs))
        ]
    start, sources = time.monotonic(), report.sources()
    outcomes = {}
    ending = in_parallel(run, jobs)
    with Ended(len(jobs)) as ended:
        for job, outcome in ending:
            outcomes[job] = outcome
            ended.show(f"{job}: {_said(job, outcome)}")
    outcomes = {job: outcomes[job] for job in jobs}
    holds = {job.theorem: outcome.holds for job, outcome in outcomes.items() if job.bug is None}
    report.write(sources, holds, whole=not options.words)
    console = Console()
    show(console, _COLUMNS, [_row(name, outcomes) for name in names], name=1)
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
    parser.add_argument(
        "--limit", type=float, default=MOST_SECONDS, metavar="SECONDS", help="of each call of a tool (%(default)g)"
    )
    return parser.parse_args()


def _said(job: Job, outcome: Outcome) -> str:
    """How a job has ended, in a word or two."""
    if outcome.verdict is None:
        return "no verdict"
    if job.bug is None:
        return "holds" if outcome.holds else "FAILS"
    return "caught" if outcome.breaks else "NOT CAUGHT"


def _row(name: str, outcomes: dict[Job, Outcome]) -> list[str]:
    """Of a theorem: property, induction over k cycles, how many of its seeded bugs break it."""
    theorem = catalogue()[name]
    (outcome,) = (one for job, one in outcomes.items() if job.theorem == name and job.bug is None)
    tried = [one for job, one in outcomes.items() if job.theorem == name and job.bug is not None]
    return [
        str(theorem.number),
        name,
        theorem.block,
        str(theorem.induction),
        f"{outcome.verdict.seconds:.1f}" if outcome.verdict else "",
        "holds" if outcome.holds else "FAILS",
        f"{sum(one.breaks for one in tried)}/{len(tried)}" if tried else "",
    ]


def _complaints(outcomes: dict[Job, Outcome]) -> list[str]:
    complaints = []
    for job, outcome in outcomes.items():
        if outcome.verdict is None:
            complaints.append(f"{job}: {outcome.error}")
        elif job.bug is None and not outcome.holds:
            complaints.append(f"{job}: does not hold: " + "; ".join(outcome.verdict.failed))
        elif job.bug is not None and outcome.holds:
            bug = catalogue()[job.theorem].bugs[job.bug]
            complaints.append(f"{job}: not caught: {bug.function}: {bug.old!r} -> {bug.new!r}")
    return complaints
