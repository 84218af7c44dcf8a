"""``python -m nimble.bench``: exit status 1 if results differ, 130 after Ctrl-C, else 0, whatever the figures are."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from rich.console import Console

from nimble.bench.bench import measure
from nimble.bench.cases import cases
from nimble.bench.contenders import DifferenceError
from nimble.bench.report import as_json, show
from nimble.bench.times import QUICK, THOROUGH

_DIFFERENT, _INTERRUPTED = 1, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; the exit status."""
    options = _parser().parse_args(arguments)
    progress = Console(stderr=True)
    try:
        results = measure(
            QUICK if options.quick else THOROUGH,
            options.program,
            progress=lambda text: progress.print(text, style="dim", markup=False, highlight=False, soft_wrap=True),
        )
    except DifferenceError as error:
        print(error, file=sys.stderr)
        return _DIFFERENT
    except KeyboardInterrupt:
        print("bench-nimble: interrupted; nothing is left behind", file=sys.stderr)
        return _INTERRUPTED
    if options.json:
        print(json.dumps(as_json(results), indent=2))
    else:
        show(results, Console())
    return 0


def _parser() -> argparse.ArgumentParser:
    names = [case.name for case in cases()]
    parser = argparse.ArgumentParser(prog="bench-nimble", description="The speed of the engines, against C.")
    parser.add_argument("--quick", action="store_true", help="measure shortly: figures are rough")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    text = f"measure only this program, of {', '.join(names)}; may be given again"
    parser.add_argument("--program", action="append", default=[], choices=names, metavar="NAME", help=text)
    return parser


if __name__ == "__main__":
    sys.exit(main())
