"""What the commands of `nimble.cli` do. Whatever is wrong with what the user gave becomes a CommandError."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from nimble import elf_writer
from nimble.assembler import assemble
from nimble.cc import compile_c
from nimble.cli import CommandError
from nimble.disassembler import disassemble
from nimble.execution import execute
from nimble.extension import Manifest
from nimble.header import header
from nimble.hexadecimal import bytes_of, lines_of
from nimble.inputs import (
    decoded,
    load,
    manifest_of,
    mistakes,
    object_of,
    raw_program,
    services_of,
    space_of,
    text_of,
)
from nimble.isa import encode
from nimble.manifest import dump, parse
from nimble.program import Program
from nimble.verifier import access_report
from nimble.verifier import verify as verify_program

__all__ = ["asm", "compile_source", "dis", "execute", "print_header", "verify"]


def asm(arguments: argparse.Namespace) -> int:
    """Text to an object or to hex."""
    source = arguments.source
    with mistakes():
        symbols = {**arguments.symbols(), **dict(arguments.defines)}
        program = assemble(text_of(source), symbols=symbols, source=str(source))
        verify_program(program, services_of(program, ()))
        if arguments.hex:
            if program.state:
                raise CommandError(
                    f"{source}: has {len(program.state)} bytes of state, which hex has no place for; use -o"
                )
            print(lines_of(encode(program.instructions)))
            return 0
        manifest = _beside(arguments.manifest)
        _check_entries(manifest, program)
        _write(arguments.output, elf_writer.write(program, manifest=dump(manifest) if manifest else None), source)
    print(f"{arguments.output}: {_size(program)}")
    return 0


def dis(arguments: argparse.Namespace) -> int:
    """An object, or hex, to text."""
    data = object_of(arguments.source)
    with mistakes():
        if data[:4] == b"\x7fELF":
            program, made_up = load(data, dict(arguments.services), source=str(arguments.source))
            for name, number in made_up.items():
                print(f"# call {number}: {name}; a number made up here, give the true one with --service {name}=ID")
        else:
            code = bytes_of(decoded(arguments.source, data), source=str(arguments.source))
            program = raw_program(code, name=arguments.source.stem)
        print(disassemble(program), end="")
    return 0


def compile_source(arguments: argparse.Namespace) -> int:
    """Python or C to an object."""
    source, defines = arguments.source, dict(arguments.defines)
    with mistakes():
        symbols = arguments.symbols()
        if source.suffix == ".py":
            data = _compile_python(arguments, symbols)
        elif source.suffix == ".c":
            include = header(symbols, ())
            data = compile_c(source, include=include, cpu=arguments.cpu, defines=defines, warn=_warn)
        else:
            raise CommandError(f"{source}: is neither .py nor .c; assembly is for `nimble asm`; give one of them")
        program, _ = load(data, {}, source=str(source))
        _check_entries(manifest_of(data, str(source)), program)
        _write(arguments.output, data, source)
    print(f"{arguments.output}: {_size(program)}")
    return 0


def print_header(arguments: argparse.Namespace) -> int:
    """The C header."""
    with mistakes():
        print(header(arguments.symbols(), ()), end="")
    return 0


def verify(arguments: argparse.Namespace) -> int:
    """Whether an object would be accepted, and what is proved of its accesses."""
    source = arguments.source
    data = object_of(source)
    with mistakes():
        program, made_up = load(data, dict(arguments.services), source=str(source))
        manifest = _beside(arguments.manifest) or manifest_of(data, str(source))
        _check_entries(manifest, program)
        space = space_of(arguments.windows, program, manifest)
        services = services_of(program, (*arguments.services, *made_up.items()))
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


def _beside(path: Path | None) -> Manifest | None:
    """The manifest in a file of its own, if one is given."""
    return None if path is None else parse(text_of(path), source=str(path))


def _write(path: Path, data: bytes, source: Path) -> None:
    """Write an output, whole or not at all; never over what it was made of."""
    try:
        if path.exists():
            if path.samefile(source):
                raise CommandError(f"{path}: is the source itself; give another name for the object")
            path.open("ab").close()  # may it be written?
        if path.exists() and not path.is_file():  # a device or a pipe
            path.write_bytes(data)
            return
        target = path.resolve()
        part = target.with_name(f".nimble-{os.getpid()}.part")
        try:
            part.write_bytes(data)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
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
