"""`nimble profile`: which sequences of operations a run executes most, and what they gain as superoperators."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nimble.cli import DEFAULT_BUDGET, CommandError

if TYPE_CHECKING:
    from nimble.access import AddressSpace, Window
    from nimble.engine.profile import DispatchTime, Profile
    from nimble.program import Program
    from nimble.services import Services


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `nimble profile`."""
    parser.add_argument("object", metavar="OBJECT", type=Path)
    parser.add_argument("--entry", metavar="NAME", help="where the run begins; main, or the only one")
    parser.add_argument(
        "--arg", dest="args", metavar="N", type=_number, action="append", default=[], help="r1, then r2 to r5"
    )
    parser.add_argument(
        "--window",
        dest="windows",
        metavar="NAME:BASE:LENGTH:RIGHTS",
        type=_window,
        action="append",
        default=[],
        help="zeroed memory that it is granted; rights r, w or rw",
    )
    parser.add_argument("--unchecked", action="store_true", help="run the unchecked form of the operations")
    parser.add_argument(
        "--budget", metavar="N", type=_number, default=DEFAULT_BUDGET, help="instructions allowed (%(default)s)"
    )
    parser.add_argument("--longest", metavar="N", type=int, choices=range(2, 6), default=3, help="2 to 5 (%(default)s)")
    parser.add_argument("--top", metavar="N", type=int, default=20, help="sequences shown (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _number(text: str) -> int:
    return int(text, 0)


def _window(text: str) -> Window:
    from nimble.access import Memory, Right, Window

    name, base, length, rights = text.split(":")
    granted = {"r": Right.READ, "w": Right.WRITE, "rw": Right.READ | Right.WRITE}
    if rights not in granted or not 0 < int(length, 0) <= 1 << 30:
        raise ValueError
    return Window(name, int(base, 0), int(length, 0), granted[rights], Memory(bytearray(int(length, 0))))


_number.__name__ = "number"
_window.__name__ = "NAME:BASE:LENGTH:RIGHTS"


def main(args: argparse.Namespace) -> int:
    """Profile one run of an object and print what was found. Raises CommandError.

    Services that the object calls answer 0 here.
    """
    from nimble import elf
    from nimble.elf import ObjectError
    from nimble.engine.profile import measure_dispatch, profile
    from nimble.verifier import InsertionRefused

    try:
        program = elf.load(args.object.read_bytes(), name=args.object.stem)
        found = profile(
            program,
            _entry(program, args.entry),
            args.args,
            space=_space(program, args.windows),
            services=_services(program),
            checked=not args.unchecked,
            budget=args.budget,
            longest=args.longest,
        )
    except OSError as error:
        raise CommandError(f"{args.object}: {error.strerror}; name an object that can be read") from None
    except (ObjectError, InsertionRefused, ValueError) as error:
        raise CommandError(str(error)) from None
    if args.json:
        print(json.dumps(as_json(found, measure_dispatch()), indent=2))
    else:
        _print(found, measure_dispatch(), args.top)
    return 0


def _entry(program: Program, name: str | None) -> str:
    entries = tuple(program.entries)
    if name in entries:
        return str(name)
    if name is None and ("main" in entries or len(entries) == 1):
        return "main" if "main" in entries else entries[0]
    raise CommandError(f"--entry: {name or 'none given'}; the object has {', '.join(entries)}; name one of them")


def _space(program: Program, windows: list[Window]) -> AddressSpace:
    from nimble.access import STATE_BASE, AddressSpace, Memory, Right, Window

    if program.state:
        state = Memory(bytearray(program.state))
        windows = [*windows, Window("state", STATE_BASE, len(program.state), Right.READ | Right.WRITE, state)]
    return AddressSpace(windows)


def _services(program: Program) -> Services:
    from nimble.isa import Group
    from nimble.services import Service, Services

    called = {instruction.imm for _, instruction, row in program.starts if row.group is Group.CALL_SERVICE}
    return Services(Service(number, f"service{number}", lambda *arguments: 0, "answers 0") for number in sorted(called))


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


def _print(found: Profile, dispatch: DispatchTime, top: int) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    outcome = found.outcome
    console.print(
        f"{outcome.status.value}: {outcome.instructions} instructions, {found.dispatches} dispatches "
        f"of closures; a dispatch is {dispatch.share:.0%} of an instruction alone",
        highlight=False,
    )
    if outcome.reason:
        console.print(outcome.reason, highlight=False, markup=False)
    table = Table("sequence", box=None, pad_edge=False)
    for heading in ("times", "saves", "%", "time %"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for each in found.sequences[:top]:
        if each.saves:
            numbers = f"{found.percent(each):.1f}", f"{found.time_percent(each, dispatch):.1f}"
            table.add_row(each.text, str(each.times), str(each.saves), *numbers, "has" if each.known else "new")
    console.print(table)
    console.print("saves: dispatches less, of a superoperator that is there (has) or would be (new)", highlight=False)
