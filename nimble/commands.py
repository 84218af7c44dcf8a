"""What the commands of `nimble.cli` do. Whatever is wrong with what the user gave becomes a CommandError."""

from __future__ import annotations

import argparse
import mmap
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from nimble import elf, elf_writer
from nimble.access import STATE_BASE, AddressSpace, Memory, Registers, Right, Window
from nimble.assembler import AssemblyError, assemble
from nimble.cc import CompileError, compile_c
from nimble.cli import CommandError, WindowOption, contents
from nimble.disassembler import disassemble
from nimble.elf import ObjectError
from nimble.execution import execute, named_services
from nimble.extension import Manifest
from nimble.header import HeaderError, header
from nimble.hexadecimal import HexError, bytes_of, lines_of
from nimble.isa import Group, InstructionError, decode, encode
from nimble.manifest import ManifestError, dump, parse
from nimble.program import Program
from nimble.services import Services
from nimble.verifier import InsertionRefused, access_report
from nimble.verifier import verify as verify_program

__all__ = ["asm", "compile_source", "dis", "execute", "print_header", "verify"]

WINDOW_LIMIT = 1 << 30  # bytes; they take room only when they are touched, and nothing here does
_RIGHTS = {"r": Right.READ, "w": Right.WRITE, "rw": Right.READ | Right.WRITE}
_WRONG = (
    *(AssemblyError, CompileError, HeaderError, HexError, InsertionRefused, InstructionError, ManifestError),
    ObjectError,
)


def asm(arguments: argparse.Namespace) -> int:
    """Text to an object or to hex."""
    source = arguments.source
    with _mistakes():
        symbols = {**arguments.symbols(), **dict(arguments.defines)}
        program = assemble(_text(source), symbols=symbols, source=str(source))
        verify_program(program, _services(program, ()))
        if arguments.hex:
            if program.state:
                raise CommandError(
                    f"{source}: has {len(program.state)} bytes of state, which hex has no place for; use -o"
                )
            print(lines_of(encode(program.instructions)))
            return 0
        manifest = _manifest(arguments.manifest, None, source)
        _check_entries(manifest, program)
        _write(arguments.output, elf_writer.write(program, manifest=dump(manifest) if manifest else None))
    print(f"{arguments.output}: {_size(program)}")
    return 0


def dis(arguments: argparse.Namespace) -> int:
    """An object, or hex, to text."""
    data = contents(arguments.source)
    with _mistakes():
        if data[:4] == b"\x7fELF":
            program, made_up = _load(arguments.source, data, dict(arguments.services))
            for name, number in made_up.items():
                print(f"# call {number}: {name}; a number made up here, give the true one with --service {name}=ID")
        else:
            code = bytes_of(_decoded(arguments.source, data), source=str(arguments.source))
            program = _raw_program(arguments.source, code)
        print(disassemble(program), end="")
    return 0


def compile_source(arguments: argparse.Namespace) -> int:
    """Python or C to an object."""
    source, defines = arguments.source, dict(arguments.defines)
    with _mistakes():
        symbols = arguments.symbols()
        if source.suffix == ".py":
            data = _compile_python(arguments, symbols)
        elif source.suffix == ".c":
            include = header(symbols, ())
            data = compile_c(source, include=include, cpu=arguments.cpu, defines=defines, warn=_warn)
        else:
            raise CommandError(f"{source}: is neither .py nor .c; assembly is for `nimble asm`; give one of them")
        program, _ = _load(arguments.output, data, {})
        _check_entries(_manifest(None, data, arguments.output), program)
        _write(arguments.output, data)
    print(f"{arguments.output}: {_size(program)}")
    return 0


def print_header(arguments: argparse.Namespace) -> int:
    """The C header."""
    with _mistakes():
        print(header(arguments.symbols(), ()), end="")
    return 0


def verify(arguments: argparse.Namespace) -> int:
    """Whether an object would be accepted, and what is proved of its accesses."""
    source = arguments.source
    data = contents(source)
    with _mistakes():
        program, made_up = _load(source, data, dict(arguments.services))
        manifest = _manifest(arguments.manifest, data, source)
        _check_entries(manifest, program)
        space = _space(arguments.windows, program)
        services = _services(program, (*arguments.services, *made_up.items()))
        facts = verify_program(program, services, space)
        accesses = access_report(program, services, space, facts)
    proved = sum(access.window is not None for access in accesses)
    print(f"{source}: accepted: {_size(program)}")
    print(f"entries: {_list(f'{name} (pc {pc})' for name, pc in program.entries.items())}")
    print(f"services: {_list(service.name for service in services)}")
    if manifest is not None:
        _print_manifest(manifest, {window.name for window in arguments.windows})
    print(f"accesses: {len(accesses)}: {proved} proved, {len(accesses) - proved} checked while it runs")
    for access in accesses:
        print(f"  {access.where}: {access.text}")
        print(f"    {'proved' if access.window else 'checked'}: {access.known}")
        if access.window:
            print(f"    in {access.window}")
    return 0


# Pieces


@contextmanager
def _mistakes() -> Iterator[None]:
    try:
        yield
    except _WRONG as error:
        raise CommandError(str(error)) from None


def _decoded(path: Path, data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CommandError(f"{path}: byte {error.start} is no UTF-8 text; give a text or an object") from None


def _text(path: Path) -> str:
    return _decoded(path, contents(path))


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}; give a place that can be written") from None


def _warn(message: str) -> None:
    print(message, file=sys.stderr)


def _compile_python(arguments: argparse.Namespace, symbols: Mapping[str, int]) -> bytes:
    from nimble.python import PythonError, compile_file  # needs LLVM, which nothing else here does
    from nimble.python.devices import Device

    devices = {}
    for name, base in arguments.devices:
        block = f"{name.upper()}."
        registers = {symbol: value for symbol, value in symbols.items() if symbol.startswith(block)}
        if not registers:
            known = ", ".join(sorted({symbol.partition(".")[0].lower() for symbol in symbols})) or "none"
            raise CommandError(f"--device {name}: has no register map; there are: {known}; name one of them")
        try:
            devices[name] = Device(base, registers)
        except ValueError as error:
            raise CommandError(f"--device {name}: {error}") from None
    constants = {**symbols, **dict(arguments.defines)}
    try:
        return compile_file(arguments.source, constants=constants, devices=devices, cpu=arguments.cpu)
    except PythonError as error:
        raise CommandError(str(error)) from None


def _raw_program(path: Path, code: bytes) -> Program:
    try:
        return Program(instructions=decode(code), entries={"main": 0}, name=path.stem)
    except InstructionError:
        raise
    except ValueError as error:
        raise CommandError(str(error)) from None


def _load(path: Path, data: bytes, known: dict[str, int]) -> tuple[Program, dict[str, int]]:
    """The program, and the numbers made up for services whose own are not known."""
    taken, made_up = set(known.values()), {}
    for name in elf.services_of(data, name=str(path)):
        if name not in known:
            number = next(number for number in range(1, len(taken) + 2) if number not in taken)
            taken.add(number)
            made_up[name] = number
    return elf.load(data, name=str(path), symbols={**known, **made_up}), made_up


def _services(program: Program, known: Iterable[tuple[str, int]]) -> Services:
    """One for each that is known or called: what they do does not matter here."""
    pairs = [*known]
    numbers = {number for _, number in pairs}
    called = {slot.imm for _, slot, operation in program.starts if operation.group is Group.CALL_SERVICE}
    pairs += [(f"service {number}", number) for number in sorted(called - numbers)]
    return named_services(pairs)


def _manifest(path: Path | None, data: bytes | None, source: Path) -> Manifest | None:
    if path is not None:
        return parse(_text(path), source=str(path))
    text = None if data is None else elf.manifest_text(data, name=str(source))
    return None if text is None else parse(text, source=f"{source} (.nimble)")


def _check_entries(manifest: Manifest | None, program: Program) -> None:
    if manifest is None:
        return
    wanted = [(f"attach {each.event}", each.entry) for each in manifest.attach]
    wanted += [("exports", entry) for entry in manifest.exports]
    for what, entry in wanted:
        if entry not in program.entries:
            known = ", ".join(program.entries)
            raise CommandError(
                f"{manifest.name}: {what}: entry {entry} is unknown; known are {known}; name one of them"
            )


def _space(options: Iterable[WindowOption], program: Program) -> AddressSpace:
    windows = [_window(option) for option in options]
    if program.state:
        state = Memory(bytearray(program.state))
        windows.append(Window("state", STATE_BASE, len(program.state), _RIGHTS["rw"], state))
    try:
        return AddressSpace(windows)
    except ValueError as error:
        raise CommandError(f"--window: {error}") from None


def _window(option: WindowOption) -> Window:
    if not 0 < option.length <= WINDOW_LIMIT:
        text = f"{option.length} bytes; 1..{WINDOW_LIMIT} are allowed; change the length"
        raise CommandError(f"--window {option.name}: {text}")
    try:
        backing: Memory | Registers
        if option.device:
            backing = Registers(lambda offset, width: 0, lambda offset, width, value: None)
        else:
            backing = Memory(mmap.mmap(-1, option.length))
        return Window(option.name, option.base, option.length, _RIGHTS[option.rights], backing)
    except (ValueError, OSError) as error:
        raise CommandError(f"--window {option.name}: {error}") from None


def _print_manifest(manifest: Manifest, granted: set[str]) -> None:
    print(f"manifest: {manifest.name}, {manifest.trust.value}, budget {manifest.budget}")
    for attachment in manifest.attach:
        print(f"  {attachment.event} -> {attachment.entry} (priority {attachment.priority})")
    for wish in manifest.windows:
        remark = "" if wish.name in granted else "; not given here with --window, so nothing is proved there"
        print(f"  window {wish.name}: {wish.rights}{remark}")
    for what, names in (("calls", manifest.calls), ("exports", manifest.exports)):
        if names:
            print(f"  {what}: {', '.join(names)}")


def _size(program: Program) -> str:
    return f"{len(program.starts)} instructions, {len(program.state)} bytes of state"


def _list(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
