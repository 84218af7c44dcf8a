"""The command line: `nimble run | check | schema | bench`, and the commands about extensions (`nimble.cli`).

Imports little before the arguments are known to be good; nothing reaches the user as a traceback.
"""

import argparse
import errno
import json
import os
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

from cosim.errors import USAGE_STATUS, UserError
from nimble.cli import CommandError, add_commands

INTERNAL_STATUS = 70  # EX_SOFTWARE of sysexits.h
INTERRUPTED_STATUS = 130


class _Parser(argparse.ArgumentParser):
    """Refuses in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE_STATUS, f"{self.prog}: {message}; see `{self.prog} --help`\n")


def _nanoseconds(text: str) -> int:
    value = int(text)
    if value < 0:
        raise ValueError
    return value


_nanoseconds.__name__ = "time in ns"  # argparse names it in its message


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    top = _Parser(prog="nimble", description="An extensible lightweight kernel beside the NIC that protects it.")
    top.add_argument("--version", action="version", version=f"nimble {version('nimble-cosim')}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)

    run = commands.add_parser("run", help="build the machine of a scenario, run its jobs, report")
    run.add_argument("config", metavar="CONFIG", type=Path, help="a scenario, such as configs/quickstart.yaml")
    run.add_argument("--json", action="store_true", help="print the report instead of the table")
    _add_places(run)
    run.add_argument("--simulator", choices=("verilator", "icarus"), help="instead of the scenario's")
    run.add_argument(
        "--waves", action="store_true", help="write a waveform; the model is built for it once, each node by itself"
    )
    run.add_argument("--waves-from", metavar="NS", type=_nanoseconds, help="from this simulated time on")
    run.add_argument("--waves-to", metavar="NS", type=_nanoseconds, help="up to this simulated time")
    run.set_defaults(action=_run)

    check = commands.add_parser("check", help="check a scenario without running it")
    check.add_argument("config", metavar="CONFIG", type=Path)
    check.set_defaults(action=_check)

    schema = commands.add_parser("schema", help="print the JSON Schema of scenarios, for editors")
    schema.set_defaults(action=_schema)

    bench = commands.add_parser("bench", help="measure the speed, each figure beside its reference")
    bench.add_argument("config", metavar="CONFIG", type=Path, nargs="?", default=Path("configs/quickstart.yaml"))
    _add_places(bench)
    bench.set_defaults(action=_bench)

    add_commands(commands, symbols=_symbols)
    return top


def _symbols() -> Mapping[str, int]:
    """The names of all devices' registers."""
    from rtl.registers import load

    return load("nic").symbols()


def _add_places(command: argparse.ArgumentParser) -> None:
    command.add_argument("--out", metavar="DIR", type=Path, default=Path("out"), help="where results go (%(default)s)")
    command.add_argument("--build-dir", metavar="DIR", type=Path, default=Path("build"), help="models (%(default)s)")


def _run(arguments: argparse.Namespace) -> int:
    from cosim.run import Options, Waves, run
    from cosim.scenario import load

    waves = None
    if arguments.waves:
        waves = Waves(from_ns=arguments.waves_from or 0, to_ns=arguments.waves_to)
        if waves.to_ns is not None and waves.to_ns <= waves.from_ns:
            raise UserError(f"--waves-to: {waves.to_ns} is not later than --waves-from, {waves.from_ns}; exchange them")
    elif arguments.waves_from is not None or arguments.waves_to is not None:
        raise UserError("--waves-from and --waves-to choose a part of a waveform; add --waves")
    scenario = load(arguments.config)
    if arguments.simulator:
        scenario = scenario.model_copy(update={"simulator": arguments.simulator})
    cache = _build_dir(arguments)
    return run(scenario, Options(out=arguments.out, build_dir=cache, json=arguments.json, waves=waves))


def _check(arguments: argparse.Namespace) -> int:
    from cosim.scenario import load

    scenario = load(arguments.config)
    print(f"{arguments.config}: good: {scenario.machine.nodes} nodes, {len(scenario.jobs)} jobs")
    return 0


def _schema(arguments: argparse.Namespace) -> int:
    from cosim.scenario import schema

    print(json.dumps(schema(), indent=2))
    return 0


def _bench(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from cosim import bench
    from cosim.display import Display
    from cosim.scenario import load

    with Display() as display:
        return bench.main(
            load(arguments.config),
            cache=_build_dir(arguments),
            out=arguments.out,
            progress=display.building,
            console=Console(),
        )


def _build_dir(arguments: argparse.Namespace) -> Path:
    """Where models are built: an absolute path that make can handle."""
    path: Path = arguments.build_dir.absolute()
    if any(character.isspace() for character in str(path)):
        remedy = "choose another with --build-dir"
        raise UserError(f"--build-dir: {str(path)!r} holds white space, which make cannot handle; {remedy}")
    return path


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that `argv` gives (default: the process's); the exit status."""
    try:
        arguments = parser().parse_args(argv)
        status = int(arguments.action(arguments))
        if sys.stdout is not None:  # it was closed, as in `nimble schema >&-`
            sys.stdout.flush()
        return status
    except UserError as error:
        print(error.message, file=sys.stderr)
        return USAGE_STATUS
    except CommandError as error:
        print(error, file=sys.stderr)
        return error.status
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED_STATUS
    except BrokenPipeError:  # the reader of our output has gone, as in `nimble schema | head`
        _forget_output()
        return 0
    except OSError as error:
        if error.errno != errno.ENOSPC:
            return _internal_error(error)
        _forget_output()
        print(f"nimble: {error.filename or 'the output'}: {error.strerror}; free some", file=sys.stderr)
        return USAGE_STATUS
    except Exception as error:
        return _internal_error(error)


def _forget_output() -> None:
    """What is still to be written to stdout goes nowhere, or Python would complain of it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _internal_error(error: Exception) -> int:
    with tempfile.NamedTemporaryFile("w", prefix="nimble-", suffix=".traceback", delete=False) as file:
        traceback.print_exc(file=file)
    summary = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    print(f"nimble: internal error: {summary}; please report it with {file.name}", file=sys.stderr)
    return INTERNAL_STATUS
