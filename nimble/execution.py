"""`nimble exec`: one program, one memory, one result.

Ref: the plugin protocol of the bpf_conformance project: the program as hex on stdin, memory as hex in an argument, r0
as hex on stdout; anything that goes wrong on stderr, with a status that is not 0. The program gets the address of the
memory in r1 and its length in r2, both 0 if there is none. It may call service 5, which two of that project's tests do
(one of them through a register); it gives back its argument.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable

from nimble import elf
from nimble.access import STATE_BASE, AddressSpace, Memory, Right, Window
from nimble.cli import FAILED_STATUS, CommandError, contents
from nimble.elf import ObjectError
from nimble.engine import load_engine
from nimble.engine.outcome import Status
from nimble.engine.runs import ONE_EACH
from nimble.hexadecimal import HexError, bytes_of
from nimble.isa import decode
from nimble.program import Program
from nimble.services import Argument, Service, Services
from nimble.verifier import InsertionRefused, verify

MEMORY_BASE = 1 << 32
_MAIN = "main"
_ECHO = Service(5, "echo", lambda argument, *_: argument, "Gives its argument.", (Argument("value"),))


def execute(arguments: argparse.Namespace) -> int:
    """Run it and print r0. Raises CommandError."""
    services = named_services(arguments.services)
    if not services.get(_ECHO.id) and not services.get(_ECHO.name):
        services = Services((*services, _ECHO))
    try:
        memory = bytearray(bytes_of(arguments.memory, source="MEMORY"))
        code = _code(arguments)
    except HexError as error:
        raise CommandError(str(error)) from None
    try:
        program = _program(code, arguments.elf or arguments.object is not None, services)
        entry = _entry(program, arguments.entry)
        space = _space(program, memory)
        facts = verify(program, services, space)
        translate, checked = load_engine(arguments.engine), not arguments.unchecked
        thread = translate(program, space=space, services=services, checked=checked, costs=ONE_EACH, facts=facts)
    except (ObjectError, InsertionRefused, ValueError) as error:
        raise CommandError(str(error), FAILED_STATUS) from None
    args = (MEMORY_BASE, len(memory)) if memory else ()
    outcome = thread.run(entry, args, budget=arguments.budget, spend=lambda cost: None)
    if outcome.status is not Status.RETURNED:
        raise CommandError(outcome.reason, FAILED_STATUS)
    print(f"{outcome.r0:x}")
    return 0


def named_services(pairs: Iterable[tuple[str, int]]) -> Services:
    """Services of these names and IDs; each does nothing and gives 0. Raises CommandError."""
    try:
        return Services(Service(number, name, lambda *_: 0, "Gives 0.") for name, number in pairs)
    except ValueError as error:
        raise CommandError(f"--service: {error}; choose another number or name") from None


def _code(arguments: argparse.Namespace) -> bytes:
    """What is to be run. Raises HexError, CommandError."""
    if arguments.object is not None:
        return contents(arguments.object)
    return bytes_of(sys.stdin.read() if arguments.program is None else arguments.program, source="program")


def _program(code: bytes, is_object: bool, services: Services) -> Program:
    if is_object:
        return elf.load(code, name="program", symbols=services.symbols())
    return Program(instructions=decode(code), entries={_MAIN: 0}, name="program")


def _entry(program: Program, wanted: str | None) -> str:
    known = ", ".join(program.entries)
    if wanted is not None:
        if wanted not in program.entries:
            raise ValueError(f"--entry: {wanted} is unknown; known are {known}; name one of them")
        return wanted
    if _MAIN in program.entries:
        return _MAIN
    if len(set(program.entries.values())) == 1:
        return next(iter(program.entries))
    raise ValueError(f"program: has the entries {known}; none is {_MAIN}; choose one with --entry")


def _space(program: Program, memory: bytearray) -> AddressSpace:
    both = Right.READ | Right.WRITE
    windows = [Window("memory", MEMORY_BASE, len(memory), both, Memory(memory))] if memory else []
    if program.state:
        windows.append(Window("state", STATE_BASE, len(program.state), both, Memory(bytearray(program.state))))
    return AddressSpace(windows)
