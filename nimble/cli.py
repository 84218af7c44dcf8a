"""The commands about extensions: `nimble asm | dis | compile | header | verify | exec | profile`.

``add_commands`` puts them beside those of whoever has a command line. Imports little before a command is known.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

USAGE_STATUS = 2
FAILED_STATUS = 1  # of a program that faults or exhausts its budget in `exec`
_CPUS = ("v1", "v2", "v3", "v4")
_ENGINES = ("closures", "threaded", "native")
DEFAULT_BUDGET = 100_000_000
_LONG_RIGHTS = {"read": "r", "write": "w", "read-write": "rw"}  # as manifests have them
Symbols = Callable[[], Mapping[str, int]]


class CommandError(ValueError):
    """What the user can put right: one line for stderr, and the exit status."""

    def __init__(self, message: str, status: int = USAGE_STATUS) -> None:
        super().__init__(message)
        self.status = status


class WindowOption(NamedTuple):
    """NAME:BASE:LENGTH:RIGHTS[:device] of the command line; base and length in bytes."""

    name: str
    base: int
    length: int
    rights: str
    device: bool


def contents(path: Path) -> bytes:
    """What is in a file. Raises CommandError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}; give a file that can be read") from None


def add_commands(commands: Any, *, symbols: Symbols = dict) -> None:
    """Add the commands to argparse's ``commands`` (of ``add_subparsers``).

    ``symbols`` gives the names of the machine's registers that sources may use; it is called when one is compiled.
    """
    asm = commands.add_parser("asm", help="assemble a text to an object, or to hex for exec")
    asm.add_argument("source", metavar="FILE", type=Path)
    output = asm.add_mutually_exclusive_group(required=True)
    output.add_argument("-o", "--output", metavar="OBJECT", type=Path)
    output.add_argument("--hex", action="store_true", help="print the code, one instruction a line")
    _add_define(asm)
    asm.add_argument("--manifest", metavar="YAML", type=Path, help="put this manifest into the object")
    asm.set_defaults(action=_command("asm"), symbols=symbols)

    dis = commands.add_parser("dis", help="print an object, or hex, as text that asm reads")
    dis.add_argument("source", metavar="FILE", type=Path)
    _add_service(dis)
    dis.set_defaults(action=_command("dis"))

    compiled = commands.add_parser("compile", help="compile Python or C to an object")
    compiled.add_argument("source", metavar="FILE", type=Path, help="a .py or a .c file")
    compiled.add_argument("-o", "--output", metavar="OBJECT", type=Path, required=True)
    compiled.add_argument("--cpu", choices=_CPUS, default="v4", help="eBPF version (%(default)s)")
    _add_define(compiled)
    compiled.add_argument(
        "--device",
        dest="devices",
        metavar="NAME=BASE",
        type=_pair,
        action="append",
        default=[],
        help="address of a device that Python names",
    )
    compiled.set_defaults(action=_command("compile_source"), symbols=symbols)

    header = commands.add_parser("header", help="print nimble.h, which C sources may include")
    header.set_defaults(action=_command("print_header"), symbols=symbols)

    verify = commands.add_parser("verify", help="check an object and show what is proved of it")
    verify.add_argument("source", metavar="OBJECT", type=Path)
    verify.add_argument("--manifest", metavar="YAML", type=Path, help="instead of the one in the object")
    add_window(verify)
    _add_service(verify)
    verify.set_defaults(action=_command("verify"))

    execute = commands.add_parser("exec", help="run an object, or hex from stdin; print r0 as hex")
    _add_exec_arguments(execute)
    execute.set_defaults(action=_command("execute"))

    from nimble import profile_command  # which imports this module

    profile = commands.add_parser("profile", help="show the sequences that a run executes most")
    profile_command.add_arguments(profile)
    profile.set_defaults(action=profile_command.main)


def _command(name: str) -> Callable[[argparse.Namespace], int]:
    """The function of that name, imported when it is called."""

    def run(arguments: argparse.Namespace) -> int:
        from nimble import commands

        return int(getattr(commands, name)(arguments))

    return run


def _add_define(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--define",
        dest="defines",
        metavar="NAME=VALUE",
        type=_pair,
        action="append",
        default=[],
        help="a name for a number in the source",
    )


def _add_service(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--service",
        dest="services",
        metavar="NAME=ID",
        type=_pair,
        action="append",
        default=[],
        help="a service that it may call",
    )


def add_window(command: argparse.ArgumentParser) -> None:
    """--window, into ``windows``."""
    command.add_argument(
        "--window",
        dest="windows",
        metavar="NAME:BASE:LENGTH:RIGHTS",
        type=_window,
        action="append",
        default=[],
        help="zeroed memory that it is granted; rights r, w or rw; add :device for registers, which read 0",
    )


def add_run(command: argparse.ArgumentParser) -> None:
    """What a run is: --entry, --arg, --window, --unchecked, --budget."""
    command.add_argument("--entry", metavar="NAME", help="where the run begins; main, or the only one")
    command.add_argument(
        "--arg", dest="args", metavar="N", type=_word, action="append", default=[], help="r1, then r2 to r5"
    )
    add_window(command)
    command.add_argument("--unchecked", action="store_true", help="run the unchecked form of the operations")
    command.add_argument(
        "--budget", metavar="N", type=count, help=f"instructions allowed (as in the manifest, or {DEFAULT_BUDGET})"
    )


def _add_exec_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("memory", metavar="MEMORY", nargs="*", help="hex; r1 is its address, r2 its length")
    source = command.add_mutually_exclusive_group()
    source.add_argument("--program", metavar="HEX", help="instead of stdin")
    source.add_argument("--object", metavar="FILE", type=Path, help="an object, instead of stdin")
    command.add_argument("--engine", choices=_ENGINES, default="threaded", help="%(choices)s (%(default)s)")
    command.add_argument("--elf", action="store_true", help="the hex is an object")
    add_run(command)
    _add_service(command)


# Values of options: argparse names the function in its message.


def _pair(text: str) -> tuple[str, int]:
    name, _, value = text.partition("=")
    if not name.strip():
        raise ValueError
    return name.strip(), int(value, 0)


def count(text: str) -> int:
    """A number that is not negative."""
    value = int(text, 0)
    if not 0 <= value < 1 << 60:
        raise ValueError
    return value


def _word(text: str) -> int:
    value = int(text, 0)
    if not -(1 << 63) <= value < 1 << 64:
        raise ValueError
    return value


def _window(text: str) -> WindowOption:
    name, base, length, rights, *rest = text.split(":")
    rights = _LONG_RIGHTS.get(rights, rights)
    if not name or rights not in _LONG_RIGHTS.values() or rest not in ([], ["device"]):
        raise ValueError
    return WindowOption(name, int(base, 0), int(length, 0), rights, bool(rest))


_pair.__name__ = "NAME=number"
_word.__name__ = "64-bit number"
_window.__name__ = "NAME:BASE:LENGTH:RIGHTS"


# The plugin of bpf_conformance


class _Parser(argparse.ArgumentParser):
    """Refuses in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE_STATUS, f"{self.prog}: {message}; see `{self.prog} --help`\n")


def exec_main(argv: Sequence[str] | None = None) -> int:
    """`nimble-exec`: `nimble exec` as a program of its own, as the runner of bpf_conformance starts it.

    The runner gives memory as one argument and all of its --plugin_options as another; either may be empty.
    """
    parser = _Parser(prog="nimble-exec", description="Run a program given as hex on stdin; print r0 as hex.")
    _add_exec_arguments(parser)
    given = list(sys.argv[1:] if argv is None else argv)
    try:
        arguments = parser.parse_args([word for argument in given for word in _words(argument)])
        return _command("execute")(arguments)
    except CommandError as error:
        print(error, file=sys.stderr)
        return error.status


def _words(argument: str) -> list[str]:
    if argument.startswith("--") and " " in argument:
        return shlex.split(argument)
    return [argument] if argument.strip() else []
