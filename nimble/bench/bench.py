"""Measures everything, in an order that tells early when something is wrong."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from nimble.bench import dispatch, overheads
from nimble.bench.cases import Case, cases
from nimble.bench.contenders import CHECKED, C, Engine, Name, accesses, check_equal, contenders
from nimble.bench.dispatch import Count
from nimble.bench.overheads import Calls, Insertion
from nimble.bench.reference import CReference, NoCompilerError
from nimble.bench.times import Effort, Ratio, Times, take_turns
from nimble.engine import ENGINES

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Measured:
    """One case. ``times`` are nanoseconds per repetition; ``instructions`` those of a repetition.

    ``slots`` and ``accesses`` count the program's instructions and its loads, stores and atomics, of which ``proved``
    need no check; ``compile_ns`` is what native takes for it, checked.
    """

    case: Case
    times: Mapping[Name, Times]
    instructions: int
    slots: int
    accesses: int
    proved: int
    compile_ns: int

    def ns(self, name: Name) -> Times:
        """Nanoseconds per instruction."""
        return Times(tuple(one / self.instructions for one in self.times[name].ns))

    def ratio(self, name: Name) -> Ratio | None:
        """How many times as long as C; None without C."""
        reference = self.times.get((C, ""))
        return self.times[name].over(reference) if reference else None


@dataclass(frozen=True)
class Results:
    """All figures; what was not measured is empty."""

    measured: tuple[Measured, ...]
    insertions: Mapping[str, Insertion]
    calls: Mapping[str, Calls]
    native_call: Times
    counts: Mapping[str, Count]
    yardstick: Times | None = None


def measure(effort: Effort, only: Collection[str], *, progress: Progress) -> Results:
    """Measure the cases named in ``only`` (all, if it is empty) and the overheads.

    Raises DifferenceError when results differ. Without a C compiler that works, what needs it is left out.
    """
    with ExitStack() as stack:
        reference: CReference | None = None
        yardstick: Times | None = None
        try:
            reference = stack.enter_context(CReference())
            yardstick = take_turns({C: reference.yardstick()}, effort)[C]
        except NoCompilerError as error:
            reference = None
            progress(str(error))
        chosen = [case for case in cases() if not only or case.name in only]
        measured = tuple(_case(case, reference, effort, progress) for case in chosen)
    insertions, calls = {}, {}
    for engine in ENGINES:
        progress(f"inserting and calling in {engine}")
        insertions[engine] = overheads.insertion(engine, effort)
        calls[engine] = overheads.calls(engine, effort)
    return Results(measured, insertions, calls, overheads.native_call(effort), dispatch.count(), yardstick)


def _case(case: Case, reference: CReference | None, effort: Effort, progress: Progress) -> Measured:
    progress(f"{case.name}: translating and comparing results")
    found = contenders(case, reference)
    check_equal(case, found)
    progress(f"{case.name}: measuring")
    times = take_turns({name: contender.run for name, contender in found.items()}, effort)
    native, threaded = found["native", CHECKED.name], found["threaded", CHECKED.name]
    assert isinstance(native, Engine)
    assert isinstance(threaded, Engine)
    all_accesses, proved = accesses(case)
    return Measured(
        case,
        times,
        threaded.instructions,
        len(case.program.starts),
        all_accesses,
        proved,
        native.translate_ns,
    )
