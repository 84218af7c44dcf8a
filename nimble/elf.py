"""Relocatable eBPF objects (ELF) to programs: code, named entries, initial state and line numbers.

Executable sections follow one another in the program, .text first; the global functions in them and the sections that
were given a name of their own are its entries. Everything else that is allocated (.data, .rodata, .bss, maps) becomes
state. Type information, unwinding tables and the rest of the debug information are ignored. Objects come from outside:
whatever is damaged or not supported raises ObjectError with its offset.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from nimble.elf_file import ElfFile, ObjectError
from nimble.elf_layout import MANIFEST, Layout, place
from nimble.elf_lines import lines
from nimble.elf_relocations import refuse_common, relocate
from nimble.isa import BY_MNEMONIC, REGISTERS, SLOT_BYTES, Instruction, decode
from nimble.program import Program

__all__ = ["ObjectError", "load", "manifest_text", "services_of"]

_CALLX = BY_MNEMONIC["callx"][0].opcode


def load(data: bytes, *, name: str, symbols: Mapping[str, int] = {}) -> Program:
    """The program in the object file ``data``. ``symbols`` gives IDs to the extern functions that it calls: services.

    Raises ObjectError.
    """
    with _reading(name):
        return _program(ElfFile(data, name), name, symbols)


def manifest_text(data: bytes, *, name: str = "object") -> str | None:
    """The text of the object's section ``.nimble``, None if it has none. Raises ObjectError."""
    with _reading(name):
        elf = ElfFile(data, name)
        index = elf.find(MANIFEST)
        if index is None:
            return None
        section = elf.sections[index]
        try:
            return elf.content(section).rstrip(b"\0").decode("utf-8")
        except UnicodeDecodeError as error:
            where = section.header.sh_offset + error.start
            raise elf.error(where, f"section {MANIFEST}: is no UTF-8 text; write YAML or JSON") from None


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """The parser reports damage with whatever its reading of the bytes happens to raise: here it becomes an error."""
    try:
        yield
    except ObjectError:
        raise
    except Exception as error:
        detail = " ".join(f"{type(error).__name__} {error}".split())
        raise ObjectError(f"{name}: offset 0x0: the object is damaged ({detail}); build it again") from error


def _program(elf: ElfFile, name: str, symbols: Mapping[str, int]) -> Program:
    common = refuse_common(elf)
    if common is not None:
        raise common
    layout = place(elf)
    relocate(elf, layout, symbols)
    instructions = tuple(_callx_in_dst(slot) for slot in decode(bytes(layout.code)))
    entries = _entries(elf, layout)
    return Program(
        instructions=instructions, entries=entries, state=bytes(layout.state), lines=lines(elf, layout), name=name
    )


def _callx_in_dst(slot: Instruction) -> Instruction:
    """LLVM before 19 put the register of ``callx`` into imm."""
    if slot.opcode == _CALLX and not slot.dst and 0 < slot.imm < REGISTERS:
        return Instruction(_CALLX, dst=slot.imm)
    return slot


def _entries(elf: ElfFile, layout: Layout) -> dict[str, int]:
    """Named sections and global functions; without any, the first section of code under its own name."""
    names = {index: elf.sections[index].name for index in layout.code_at}
    entries = {name: layout.code_at[index] // SLOT_BYTES for index, name in names.items() if not name.startswith(".")}
    for symbol in elf.symbols:
        if symbol.kind != "STT_FUNC" or symbol.section not in names:
            continue
        section = elf.sections[symbol.section]
        if symbol.value % SLOT_BYTES or symbol.value >= section.header.sh_size:
            text = f"function {symbol.name}: at 0x{symbol.value:x}; it is no slot of its section; rebuild"
            raise elf.error(section.header.sh_offset, text)
        if symbol.binding != "STB_LOCAL":
            entries[symbol.name] = (layout.code_at[symbol.section] + symbol.value) // SLOT_BYTES
    return entries or {next(iter(names.values())): 0}


def services_of(data: bytes, *, name: str) -> tuple[str, ...]:
    """Names of the functions that the object calls and does not define, which must be services. Raises ObjectError."""
    with _reading(name):
        undefined = [symbol.name for symbol in ElfFile(data, name).symbols if symbol.section == "SHN_UNDEF"]
        return tuple(dict.fromkeys(filter(None, undefined)))
