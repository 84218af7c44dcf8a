"""`nimble exec`: one program, one memory, one result.

Ref: the plugin protocol of the bpf_conformance project: the program as hex on stdin, memory as hex in an argument, r0
as hex on stdout; anything that goes wrong on stderr, with a status that is not 0. The program gets the address of the
memory in r1 and its length in r2, both 0 if there is none. It may call service 5, which two of that project's tests do
(one of them through a register); it gives back its argument.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from nimble import elf
from nimble.access import READ_WRITE, Memory, Window
from nimble.cli import FAILED_STATUS, CommandError
from nimble.engine import load_engine
from nimble.engine.outcome import Status, no_time
from nimble.engine.runs import ONE_EACH
from nimble.extension import Manifest
from nimble.hexadecimal import bytes_of
from nimble.inputs import (
    arguments_of,
    budget_of,
    entry_of,
    manifest_of,
    mistakes,
    named_services,
    object_of,
    raw_program,
    space_of,
)
from nimble.program import Program
from nimble.services import Argument, Service, Services
from nimble.verifier import verify

MEMORY_BASE = 1 << 32
_ELF = "\x7fELF"
_ECHO = Service(5, "echo", lambda argument, *_: argument, "Gives its argument.", (Argument("value"),))


def execute(arguments: argparse.Namespace) -> int:
    """Run it and print r0. Raises CommandError."""
    services = named_services(arguments.services)
    if not services.get(_ECHO.id) and not services.get(_ECHO.name):
        services = Services((*services, _ECHO))
    with mistakes():
        memory = _memory(arguments)
        program, manifest = _program(arguments, services)
        entry = entry_of(program, arguments.entry)
        space = space_of(arguments.windows, program, manifest, memory)
        facts = verify(program, services, space)
        translate, checked = load_engine(arguments.engine), not arguments.unchecked
        thread = translate(program, space=space, services=services, checked=checked, costs=ONE_EACH, facts=facts)
    args = arguments_of(arguments.args) if memory is None else (memory.base, memory.length)
    with _stoppable():
        outcome = thread.run(entry, args, budget=budget_of(arguments.budget, manifest), spend=no_time)
    if outcome.status is not Status.RETURNED:
        remedy = ", as MEMORY or with --window" if "no window is granted" in outcome.reason else ""
        raise CommandError(f"{outcome.reason}{remedy}", FAILED_STATUS)
    print(f"{outcome.r0:x}")
    return 0


@contextmanager
def _stoppable() -> Iterator[None]:
    """Compiled code runs no Python, which would see Ctrl-C only when the run is over: the signal ends the process."""
    mine = threading.current_thread() is threading.main_thread()
    if not mine or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _memory(arguments: argparse.Namespace) -> Window | None:
    """MEMORY as a window. Raises HexError, CommandError."""
    text = " ".join(arguments.memory)
    if not text.strip():
        return None
    if arguments.args:
        raise CommandError("--arg: MEMORY is given, too, and is r1 and r2; leave one of them out")
    named = [word for word in arguments.memory if word.endswith(".o")]
    if named:
        raise CommandError(f"MEMORY: {named[0]} is no hex; name an object as --object {named[0]}")
    data = bytearray(bytes_of(text, source="MEMORY"))
    return Window("memory", MEMORY_BASE, len(data), READ_WRITE, Memory(data))


def _stdin() -> str:
    """What stdin holds. Raises CommandError for an object there."""
    try:
        text = sys.stdin.read() if sys.stdin is not None else ""
    except UnicodeDecodeError:
        text = _ELF
    if text.startswith(_ELF):
        raise CommandError("program: stdin holds bytes, not hex; give an object as --object FILE")
    return text


def _program(arguments: argparse.Namespace, services: Services) -> tuple[Program, Manifest | None]:
    """What is to be run. Raises HexError, InstructionError, ObjectError, ManifestError, CommandError."""
    source = "program"
    if arguments.object is not None:
        source = str(arguments.object)
        data = object_of(arguments.object)
    else:
        data = bytes_of(_stdin() if arguments.program is None else arguments.program, source=source)
        if not arguments.elf:
            return raw_program(data, name=source), None
    known = services.symbols()
    for name in elf.services_of(data, name=source):
        if name not in known:
            remedy = f"give it a number, as in --service {name}=1, and it gives 0; or define it"
            raise CommandError(f"{source}: service {name}: is unknown here; known are {', '.join(known)}; {remedy}")
    return elf.load(data, name=source, symbols=known), manifest_of(data, source)
