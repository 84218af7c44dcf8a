"""``python -m tests.fuzz``: run random programs on all engines and the reference, in lockstep, and compare."""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from pathlib import Path

from nimble.isa import TABLE, Group
from tests.fuzz import driver
from tests.fuzz.lockstep import ENGINES, Tally, engine, expectations
from tests.fuzz.programs import KINDS

CORPUS = Path(__file__).parents[1] / "nimble" / "corpus"
REDUCED = 3  # of each kind: the rest is likely to be the same


def main() -> int:
    """1 when anything was found, 2 when there is no such engine."""
    options = _options()
    engines = tuple(options.engines.split(","))
    for name in engines:
        try:
            engine(name)
        except (ImportError, AttributeError) as error:
            print(f"fuzz: engine {name}: {error}; name some of {', '.join(ENGINES)}")
            return 2
    plan = driver.Plan(
        programs=options.programs,
        seed=options.seed,
        engines=engines,
        native_every=options.native_every,
        workers=options.workers,
        kind=options.kind,
        seconds=options.seconds,
    )
    progress = _Progress(plan.programs)
    summary = driver.run(plan, progress.show)
    progress.end()
    print(f"engines: {', '.join(engines)}; seed {plan.seed}; {progress.seconds():.0f} s")
    print(_described(summary.tally))
    print(f"differences: {len(summary.found)} programs")
    for kind, alike in sorted(_by_kind(summary.found).items()):
        print(f"- {kind}: {len(alike)} programs: {', '.join(str(found.number) for found in alike[:8])}")
        for found in alike[:REDUCED]:
            print(f"  program {found.number}: {found.what[:600]}")
            print(f"  made small: {_keep(plan, found, Path(options.corpus))}")
    return 1 if summary.found else 0


def _by_kind(found: list[driver.Found]) -> dict[str, list[driver.Found]]:
    kinds: dict[str, list[driver.Found]] = {}
    for one in found:
        kinds.setdefault(one.kind, []).append(one)
    return kinds


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--programs", type=_positive, default=20_000, help="how many (default 20000)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same programs (default 1)")
    parser.add_argument("--engines", default=",".join(ENGINES), help="default all: %(default)s")
    parser.add_argument("--workers", type=_positive, default=2, help="processes (default 2)")
    parser.add_argument("--native-every", type=_positive, default=50, help="programs per one on native (default 50)")
    parser.add_argument("--kind", choices=KINDS, default=KINDS[0], help="of programs (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so long (default never)")
    parser.add_argument("--corpus", default=str(CORPUS), help="where small programs that show a difference are kept")
    return parser.parse_args()


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is less than 1; give 1 or more")
    return value


class _Progress:
    """One line, written over and over on a terminal and now and then elsewhere."""

    def __init__(self, programs: int) -> None:
        self.programs = programs
        self.began = self.shown = time.monotonic()
        self.terminal = sys.stderr.isatty()

    def seconds(self) -> float:
        return time.monotonic() - self.began

    def show(self, summary: driver.Summary) -> None:
        if time.monotonic() - self.shown < (0.5 if self.terminal else 30):
            return
        self.shown = time.monotonic()
        count = summary.tally.programs
        line = f"{count}/{self.programs} programs, {count / self.seconds():.0f}/s, {len(summary.found)} found"
        print(f"\r{line} " if self.terminal else line, end="" if self.terminal else "\n", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self.terminal:
            print(file=sys.stderr)


def _described(tally: Tally) -> str:
    """The tally in a few lines, with the operations of the table that no program executed."""
    statuses = ", ".join(f"{count} {status}" for status, count in sorted(tally.statuses.items()))
    lines = [
        f"programs: {tally.programs}; {tally.refused} refused, {tally.proved} with proofs",
        f"runs of the reference: {tally.runs} ({statuses}), {tally.instructions} instructions",
        "operations executed:",
    ]
    for group in Group:
        rows = [(index, row) for index, row in enumerate(TABLE) if row.group is group]
        holes = [f"{row.mnemonic} 0x{row.opcode:02x}" for index, row in rows if index not in tally.executed]
        text = f"  {group.name.lower()}: {len(rows) - len(holes)} of {len(rows)}"
        lines.append(f"{text}; never: {', '.join(holes)}" if holes else text)
    return "\n".join(lines)


def _keep(plan: driver.Plan, found: driver.Found, corpus: Path) -> Path:
    """Make the case small and write it down."""
    case = driver.reduced(plan, found)
    corpus.mkdir(parents=True, exist_ok=True)
    path = corpus / f"{hashlib.sha256(case.code).hexdigest()[:10]}.json"
    try:
        expected = expectations(case)
    except Exception:  # what the verifier should have refused: the reference cannot run it either
        expected = None
    path.write_text(case.to_json(expected))
    return path


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("fuzz: interrupted while programs were made small")
