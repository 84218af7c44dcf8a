"""Who runs a program: C, and each engine in each of its variants."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from nimble.bench.cases import ENTRY, SERVICES, Case
from nimble.bench.reference import CReference
from nimble.engine import ENGINES
from nimble.engine.outcome import Outcome, Status, no_time
from nimble.engine.runs import ONE_EACH
from nimble.isa import MEMORY
from nimble.timing import Timing
from nimble.verifier import Facts, verify

C = "C"
_FOREVER = 1 << 60  # instructions; metered all the same


@dataclass(frozen=True)
class Variant:
    """``checked``: rights are asked, as for untrusted code. ``proofs``: but not where the verifier proved them.
    ``timed``: besides instructions, the time on a modeled core is counted, by operation, as under a kernel."""

    name: str
    checked: bool
    proofs: bool
    timed: bool = False


CHECKED = Variant("checked", checked=True, proofs=True)
UNPROVED = Variant("checked, no proofs", checked=True, proofs=False)
UNCHECKED = Variant("unchecked", checked=False, proofs=True)
TIMED = Variant("checked, timed", checked=True, proofs=True, timed=True)
VARIANTS = (CHECKED, UNPROVED, UNCHECKED, TIMED)


class DifferenceError(Exception):
    """A contender gave another result than the others; the text says which, where and what."""


class Reference:
    """The case in C."""

    def __init__(self, reference: CReference, case: Case) -> None:
        self.placed = case.place()
        self._run = reference.run(case, self.placed)

    def run(self, repetitions: int) -> int:
        return self._run(repetitions)


class Engine:
    """The case in one engine. ``translate_ns``: what the first translation in this process took."""

    def __init__(self, case: Case, engine: str, variant: Variant) -> None:
        self._case = case.name
        self._name = f"{engine} ({variant.name})"
        self.placed = case.place()
        facts = verify(case.program, SERVICES, self.placed.space) if variant.proofs else Facts()
        translate = ENGINES[engine]()
        began = time.thread_time_ns()
        self._thread = translate(
            case.program,
            space=self.placed.space,
            services=SERVICES,
            checked=variant.checked,
            costs=Timing().costs() if variant.timed else ONE_EACH,
            facts=facts,
        )
        self.translate_ns = time.thread_time_ns() - began
        self.instructions = 0  # of a repetition, on the average of the last run

    def run(self, repetitions: int) -> int:
        """Raises DifferenceError when the program does not return."""
        outcome = self._thread.run(
            ENTRY, (repetitions, *self.placed.bases, *self.placed.arguments), budget=_FOREVER, spend=no_time
        )
        self._check(outcome)
        self.instructions = outcome.instructions // repetitions
        return outcome.r0

    def _check(self, outcome: Outcome) -> None:
        if outcome.status is not Status.RETURNED:
            raise DifferenceError(f"{self._case}: {self._name}: did not return: {outcome.reason}")


Contender = Reference | Engine
Name = tuple[str, str]  # engine, variant


def contenders(case: Case, reference: CReference | None) -> dict[Name, Contender]:
    """All that run a case; C first, if there is a compiler."""
    found: dict[Name, Contender] = {}
    if reference is not None:
        found[C, ""] = Reference(reference, case)
    for engine in ENGINES:
        for variant in VARIANTS:
            found[engine, variant.name] = Engine(case, engine, variant)
    return found


def check_equal(case: Case, found: Mapping[Name, Contender], repetitions: int = 2) -> None:
    """Run each from the same memory; results and memory must be equal. Raises DifferenceError."""
    (first, judge), *others = found.items()
    expected = judge.run(repetitions)
    for name, contender in others:
        result = contender.run(repetitions)
        if result != expected:
            text = f"0x{result:x} in {_text(name)}, 0x{expected:x} in {_text(first)}"
            raise DifferenceError(f"{case.name}: {repetitions} repetitions give {text}; one of them is wrong")
        for data, mine, theirs in zip(case.windows, contender.placed.memories, judge.placed.memories, strict=True):
            if mine != theirs:
                at = next(index for index, (one, other) in enumerate(zip(mine, theirs, strict=True)) if one != other)
                text = f"0x{mine[at]:x} in {_text(name)}, 0x{theirs[at]:x} in {_text(first)}"
                raise DifferenceError(f"{case.name}: byte {at} of {data.name} is {text}; one of them is wrong")


def accesses(case: Case) -> tuple[int, int]:
    """How many loads, stores and atomics the program has, and how many of them are proved."""
    pcs = [pc for pc, _, row in case.program.starts if row.group in MEMORY]
    facts = verify(case.program, SERVICES, case.place().space)
    return len(pcs), sum(pc in facts.proved for pc in pcs)


def _text(name: Name) -> str:
    return name[0] if name[0] == C else f"{name[0]} ({name[1]})"
