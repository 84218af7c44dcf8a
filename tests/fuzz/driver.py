"""Runs many cases in worker processes; survives a worker that dies or hangs, and makes what was found small."""

from __future__ import annotations

import contextlib
import faulthandler
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

from tests.fuzz.case import Case
from tests.fuzz.lockstep import FORMS, Difference, Form, Tally, Translate, engine, examine
from tests.fuzz.programs import case_of
from tests.fuzz.shrink import shrink

BATCH = 50
RENEWED_AFTER = 200  # batches of a worker: code that an engine compiled may stay in its process for good
_SPAWN = multiprocessing.get_context("spawn")  # a fork would inherit what engines have compiled


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to run: ``programs`` cases of ``seed``, of a ``kind`` that ``programs.KINDS`` names, on ``engines``; every
    ``native_every``-th on ``native`` too.

    A case takes milliseconds: one that takes ``patience_seconds`` never ends.
    """

    programs: int
    seed: int
    engines: tuple[str, ...]
    native_every: int
    workers: int
    kind: str = "any"
    seconds: float = float("inf")
    patience_seconds: float = 120.0

    def case(self, number: int) -> Case:
        return case_of(self.seed, number, self.kind)

    def translators(self, number: int) -> dict[str, Translate]:
        """The engines that take this case."""
        return {name: engine(name) for name in self.engines if name != "native" or number % self.native_every == 0}


class Found(NamedTuple):
    """A case that showed something: differences, or how the process that ran it ended; ``kind`` in a few words."""

    number: int
    kind: str
    what: str
    died: bool = False


@dataclass
class Summary:
    """What a whole run saw."""

    tally: Tally = field(default_factory=Tally)
    found: list[Found] = field(default_factory=list)


def forms_of(number: int, kind: str) -> tuple[Form, ...]:
    """The forms in which a case runs: what was proved matters little to unchecked code, so it is told every other.

    One of them for loops: ``native``, which takes long to translate, is the engine that they are for.
    """
    if kind == "loops":
        return FORMS[number % len(FORMS) :][:1]
    return Form(True, True), Form(True, False), Form(False, number % 2 == 0)


class _Shared(NamedTuple):
    """What driver and workers share: the next number to take, each worker's present number and end of batch."""

    next: Any
    stop: Any
    present: Any
    end: Any


def _work(plan: Plan, shared: _Shared, me: int, resume: tuple[int, int], results: Connection) -> None:
    """A worker: takes batches until there are none; sends a tally and what it found after each."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver decides
    faulthandler.enable()
    start, end = resume
    for _ in range(RENEWED_AFTER):
        if start >= end:
            with shared.next.get_lock():
                start = shared.next.value
                end = shared.next.value = min(start + BATCH, plan.programs)
        tally, found = Tally(), []
        shared.end[me] = end
        for number in range(start, end):
            if shared.stop.value:
                break
            shared.present[me] = number
            differences = examine(plan.case(number), plan.translators(number), tally, forms_of(number, plan.kind))
            if differences:
                found.append(Found(number, differences[0].kind, "; ".join(map(str, differences))))
        shared.present[me] = -1
        results.send((tally, found))
        if start >= end or shared.stop.value:
            return
        start = end


class _Worker:
    """A worker process as the driver sees it."""

    def __init__(self, plan: Plan, shared: _Shared, me: int, resume: tuple[int, int] = (0, 0)) -> None:
        self.me, self.shared, self.patience_seconds = me, shared, plan.patience_seconds
        self.results, theirs = _SPAWN.Pipe(duplex=False)
        shared.present[me] = -1
        self.process = _SPAWN.Process(target=_work, args=(plan, shared, me, resume, theirs), daemon=True)
        self.process.start()
        theirs.close()
        self.moved, self.last = time.monotonic(), -1

    def hangs(self) -> bool:
        """Whether it has been at one case for far too long."""
        present, now = self.shared.present[self.me], time.monotonic()
        if present != self.last or present < 0:
            self.last, self.moved = present, now
        return now - self.moved > self.patience_seconds


def run(plan: Plan, progress: Callable[[Summary], None]) -> Summary:
    """Run the plan. ``progress`` is called now and then. Ctrl-C ends it early, with what was seen until then."""
    shared = _Shared(
        _SPAWN.Value("q", 0), _SPAWN.Value("b", 0), _SPAWN.Array("q", plan.workers), _SPAWN.Array("q", plan.workers)
    )
    summary = Summary()
    workers = [_Worker(plan, shared, me) for me in range(plan.workers)]
    end = time.monotonic() + plan.seconds
    try:
        while workers:
            try:
                workers = _attend(plan, shared, workers, summary)
                progress(summary)
                if time.monotonic() > end:
                    shared.stop.value = 1
            except KeyboardInterrupt:
                if shared.stop.value:
                    raise
                shared.stop.value = 1
    finally:
        for worker in workers:
            worker.process.kill()
    summary.found.sort()
    return summary


def _attend(plan: Plan, shared: _Shared, workers: list[_Worker], summary: Summary) -> list[_Worker]:
    """Take in what workers have to say; the workers that there are then."""
    ready = wait([worker.results for worker in workers], timeout=1.0)
    going = []
    for worker in workers:
        if worker.results not in ready:
            if worker.hangs():
                worker.process.kill()
            going.append(worker)
            continue
        try:
            tally, found = worker.results.recv()
        except EOFError:
            going += _ended(plan, shared, worker, summary)
            continue
        summary.tally.add(tally)
        summary.found += found
        going.append(worker)
    return going


def _ended(plan: Plan, shared: _Shared, worker: _Worker, summary: Summary) -> list[_Worker]:
    """What takes the place of a worker that ended: nothing if all work is done."""
    worker.process.join()
    number, code = shared.present[worker.me], worker.process.exitcode
    if number < 0 and (code == 0 or shared.stop.value):
        done = shared.stop.value or shared.next.value >= plan.programs
        return [] if done else [_Worker(plan, shared, worker.me)]
    if number < 0:
        raise RuntimeError(f"a worker cannot work: {ending(code)}; see what it printed above")
    summary.found.append(Found(number, ending(code), "the process ended while it ran this program", died=True))
    return [_Worker(plan, shared, worker.me, (number + 1, shared.end[worker.me]))]


def ending(code: int | None) -> str:
    """How a process ended, in words."""
    if code is None or code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name
    return f"{name}, of a program that did not end" if name == "SIGKILL" else name


def reduced(plan: Plan, found: Found) -> Case:
    """The case of what was found, made small in a process of its own; as it was if that process died."""
    case = plan.case(found.number)
    ours, theirs = _SPAWN.Pipe(duplex=False)
    process = _SPAWN.Process(target=_reduce, args=(plan, found, theirs))
    process.start()
    theirs.close()
    with contextlib.suppress(EOFError):
        case = ours.recv()
    process.join()
    return case


def _reduce(plan: Plan, found: Found, result: Connection) -> None:
    engines, case = plan.translators(found.number), plan.case(found.number)
    if found.died:
        examine(case_of(plan.seed, -1), engines, Tally())  # engines are built before the forks, once
        result.send(shrink(case, lambda smaller: _dies(smaller, engines), tries=600))
        return
    first = examine(case, engines, Tally())
    names = {difference.engine for difference in first}
    kept = {name: translate for name, translate in engines.items() if name in names or len(names) > 1}
    result.send(shrink(case, lambda smaller: _differs(smaller, kept or engines, first)))


def _differs(case: Case, engines: Mapping[str, Translate], first: Sequence[Difference]) -> bool:
    """Whether a case still shows a difference of the same kind."""
    kinds = {difference.kind for difference in first}
    return any(difference.kind in kinds for difference in examine(case, engines, Tally()))


def _dies(case: Case, engines: Mapping[str, Translate]) -> bool:
    """Whether a case ends its process, or keeps it for seconds."""
    child = os.fork()
    if child == 0:
        signal.alarm(5)
        try:
            examine(case, engines, Tally())
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0
