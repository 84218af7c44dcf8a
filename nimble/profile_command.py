"""`nimble profile`: which sequences of operations a run executes most, and what they gain as superoperators."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nimble.cli import add_run, count

if TYPE_CHECKING:
    from nimble.engine.profile import DispatchTime, Profile


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `nimble profile`."""
    parser.add_argument("object", metavar="OBJECT", type=Path)
    add_run(parser)
    parser.add_argument("--longest", metavar="N", type=int, choices=range(2, 6), default=3, help="2 to 5 (%(default)s)")
    parser.add_argument("--top", metavar="N", type=count, default=20, help="sequences shown (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def main(arguments: argparse.Namespace) -> int:
    """Profile one run of an object and print what was found. Raises CommandError.

    Services that the object calls answer 0 here.
    """
    from nimble.engine.profile import measure_dispatch, profile
    from nimble.inputs import (
        arguments_of,
        budget_of,
        entry_of,
        load,
        manifest_of,
        mistakes,
        object_of,
        services_of,
        space_of,
    )

    source = str(arguments.object)
    with mistakes():
        data = object_of(arguments.object)
        program, made_up = load(data, {}, source=source)
        manifest = manifest_of(data, source)
        found = profile(
            program,
            entry_of(program, arguments.entry),
            arguments_of(arguments.args),
            space=space_of(arguments.windows, program, manifest),
            services=services_of(program, made_up.items()),
            checked=not arguments.unchecked,
            budget=budget_of(arguments.budget, manifest),
            longest=arguments.longest,
        )
    if arguments.json:
        print(json.dumps(as_json(found, measure_dispatch()), indent=2))
    else:
        for line in _lines(found, measure_dispatch(), arguments.top):
            print(line)
    return 0


def as_json(found: Profile, dispatch: DispatchTime) -> Mapping[str, Any]:
    """Stable keys, for tools. Times are of this machine; ratios are what to compare."""
    return {
        "status": found.outcome.status.value,
        "instructions": found.outcome.instructions,
        "dispatches": found.dispatches,
        "dispatch_share_of_instruction": round(dispatch.share, 3),
        "dispatch_ns": round(dispatch.dispatch_ns, 1),
        "sequences": [
            {
                "sequence": each.text,
                "times": each.times,
                "superoperator": each.known,
                "saves_dispatches": each.saves,
                "saves_percent": round(found.percent(each), 2),
                "saves_time_percent": round(found.time_percent(each, dispatch), 2),
            }
            for each in found.sequences
        ],
    }


def _lines(found: Profile, dispatch: DispatchTime, top: int) -> Iterator[str]:
    """The table, as wide as its longest sequence: a terminal or a pipe may be of any width."""
    outcome = found.outcome
    yield (
        f"{outcome.status.value}: {outcome.instructions} instructions, {found.dispatches} dispatches of closures; "
        f"a dispatch is {dispatch.share:.0%} of an instruction alone"
    )
    if outcome.reason:
        yield outcome.reason
    rows = [("sequence", "times", "saves", "%", "time %", "")]
    rows += [
        (
            *(each.text, str(each.times), str(each.saves)),
            *(f"{found.percent(each):.1f}", f"{found.time_percent(each, dispatch):.1f}"),
            "has" if each.known else "new",
        )
        for each in found.sequences[:top]
        if each.saves
    ]
    yield from _aligned(rows)
    yield "saves: dispatches less, of a superoperator that is there (has) or would be (new)"


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *others in rows:
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
        yield "  ".join(cells).rstrip()
