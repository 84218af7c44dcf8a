"""What the commands are given, turned into what they work on: texts, objects, services, windows, arguments, budgets.

Whatever is wrong with it becomes a CommandError.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from nimble import elf
from nimble.access import READ_WRITE, AddressSpace, Memory, Registers, Right, Window, state_window
from nimble.assembler import AssemblyError
from nimble.cc import CompileError
from nimble.cli import DEFAULT_BUDGET, CommandError, WindowOption, contents
from nimble.elf import ObjectError
from nimble.extension import Manifest
from nimble.header import HeaderError
from nimble.hexadecimal import HexError
from nimble.isa import ARGUMENTS, MASK64, Group, InstructionError, decode
from nimble.manifest import ManifestError, parse
from nimble.program import Program
from nimble.services import Service, Services
from nimble.verifier import InsertionRefused

WINDOW_LIMIT = 1 << 30  # bytes; they take room only where they are touched
_MAIN = "main"
_SOURCES = {".py": "compile", ".c": "compile", ".asm": "asm"}  # and the command that makes objects of them
_RIGHTS = {"r": Right.READ, "w": Right.WRITE, "rw": READ_WRITE}
_WRONG = (
    *(AssemblyError, CompileError, HeaderError, HexError, InsertionRefused, InstructionError, ManifestError),
    ObjectError,
)


@contextmanager
def mistakes() -> Iterator[None]:
    """What the user's input is refused with, as a CommandError."""
    try:
        yield
    except _WRONG as error:
        raise CommandError(str(error)) from None


# Files


def decoded(path: Path, data: bytes) -> str:
    """The text in a file; a byte order mark is left out."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CommandError(f"{path}: byte {error.start} is no UTF-8 text; give a text or an object") from None


def text_of(path: Path) -> str:
    """The text in a file."""
    return decoded(path, contents(path))


def object_of(path: Path) -> bytes:
    """What is in the file of an object."""
    data = contents(path)
    verb = _SOURCES.get(path.suffix)
    if verb is not None and data[:4] != b"\x7fELF":
        made = path.with_suffix(".o")
        raise CommandError(f"{path}: is a source, no object; make one of it: nimble {verb} {path} -o {made}")
    return data


def manifest_of(data: bytes, source: str) -> Manifest | None:
    """The manifest that an object carries."""
    text = elf.manifest_text(data, name=source)
    return None if text is None else parse(text, source=f"{source} (.nimble)")


def raw_program(code: bytes, *, name: str) -> Program:
    """The program in bare code, which begins at its first instruction."""
    try:
        return Program(instructions=decode(code), entries={_MAIN: 0}, name=name)
    except InstructionError:
        raise
    except ValueError as error:
        raise CommandError(str(error)) from None


# Services


def load(data: bytes, known: dict[str, int], *, source: str) -> tuple[Program, dict[str, int]]:
    """The program in an object, and the numbers made up for services whose own are not ``known``."""
    taken, made_up = set(known.values()), {}
    for name in elf.services_of(data, name=source):
        if name not in known:
            number = next(number for number in range(1, len(taken) + 2) if number not in taken)
            taken.add(number)
            made_up[name] = number
    return elf.load(data, name=source, symbols={**known, **made_up}), made_up


def named_services(pairs: Iterable[tuple[str, int]]) -> Services:
    """Services of these names and IDs; each does nothing and gives 0."""
    try:
        return Services(Service(number, name, lambda *_: 0, "Gives 0.") for name, number in pairs)
    except ValueError as error:
        raise CommandError(f"--service: {error}; choose another number or name") from None


def services_of(program: Program, known: Iterable[tuple[str, int]]) -> Services:
    """One for each that is known or called; each gives 0."""
    pairs = [*known]
    numbers = {number for _, number in pairs}
    called = {slot.imm for _, slot, operation in program.starts if operation.group is Group.CALL_SERVICE}
    return named_services([*pairs, *((f"service {number}", number) for number in sorted(called - numbers))])


# Runs


def entry_of(program: Program, wanted: str | None) -> str:
    """Where a run begins: the entry that is ``wanted``, or main, or the only one."""
    known = ", ".join(program.entries)
    if wanted is not None:
        if wanted not in program.entries:
            raise CommandError(f"--entry: {wanted} is unknown; known are {known}; name one of them")
        return wanted
    if _MAIN in program.entries:
        return _MAIN
    if len(set(program.entries.values())) == 1:
        return next(iter(program.entries))
    raise CommandError(f"{program.name}: has the entries {known}; none is {_MAIN}; choose one with --entry")


def arguments_of(given: Sequence[int]) -> tuple[int, ...]:
    """r1, r2, ... from --arg."""
    if len(given) > ARGUMENTS:
        raise CommandError(f"--arg: {len(given)} are given; r1..r{ARGUMENTS} take {ARGUMENTS}; leave some out")
    return tuple(value & MASK64 for value in given)


def budget_of(given: int | None, manifest: Manifest | None) -> int:
    """Instructions that a run may take: as --budget says, or the manifest."""
    if given is not None:
        return given
    return DEFAULT_BUDGET if manifest is None else manifest.budget


# Windows


def space_of(
    options: Iterable[WindowOption], program: Program, manifest: Manifest | None, memory: Window | None = None
) -> AddressSpace:
    """The windows that an extension gets from --window, zeroed, beside ``memory`` and its own state.

    As when it is inserted: what its manifest does not ask for it does not get. Registers read 0.
    """
    state = state_window(bytearray(program.state))
    windows = [window for window in (memory, state) if window is not None]
    windows += [_window(option, _granted(option, manifest)) for option in options]
    try:
        return AddressSpace(windows)
    except ValueError as error:
        raise CommandError(f"--window: {error}") from None


def _granted(option: WindowOption, manifest: Manifest | None) -> Right:
    rights = _RIGHTS[option.rights]
    if manifest is None:
        return rights
    asked = {wish.name: wish.rights for wish in manifest.windows}
    if option.name not in asked:
        known = ", ".join(asked) or "none"
        text = f"{manifest.name} asks for no such window; it asks for: {known}; name one of them"
        raise CommandError(f"--window {option.name}: {text}, or add it to the manifest")
    if asked[option.name] & ~rights:
        text = f"{manifest.name} asks for {asked[option.name]}, and {rights} is given; ask for less or give more"
        raise CommandError(f"--window {option.name}: {text}")
    return asked[option.name]


def _window(option: WindowOption, rights: Right) -> Window:
    if not 0 < option.length <= WINDOW_LIMIT:
        text = f"{option.length} bytes; 1..{WINDOW_LIMIT} are allowed; change the length"
        raise CommandError(f"--window {option.name}: {text}")
    try:
        backing: Memory | Registers
        if option.device:
            backing = Registers(lambda offset, width: 0, lambda offset, width, value: None)
        else:
            backing = Memory(mmap.mmap(-1, option.length))
        return Window(option.name, option.base, option.length, rights, backing)
    except (ValueError, OSError) as error:
        raise CommandError(f"--window {option.name}: {error}") from None
