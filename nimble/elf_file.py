"""The structure of a relocatable eBPF object: sections, symbols and relocations, each within the bounds of the file.

Ref: System V ABI, chapter 4 (64-bit objects).
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, NamedTuple

from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection
from elftools.elf.sections import Section, SymbolTableSection

_EM_BPF = "EM_BPF"
_SECTION_HEADER_BYTES, _SYMBOL_BYTES = 64, 24


class ObjectError(ValueError):
    """An object that is damaged or needs what is not supported: ``name: offset 0x..: thing: value; remedy``."""


class Symbol(NamedTuple):
    """One symbol. ``section`` is an index of a section, or a word such as ``SHN_UNDEF``; ``value`` counts from it."""

    name: str
    section: int | str
    value: int
    kind: str
    binding: str


class Relocation(NamedTuple):
    """``offset`` counts bytes from the section that is relocated, ``where`` from the file's first byte."""

    offset: int
    where: int
    kind: int
    symbol: Symbol


class ElfFile:
    """One object, read for ``name``, which begins each error. Raises ObjectError for what is none."""

    def __init__(self, data: bytes, name: str) -> None:
        self._data = data
        self._name = name
        if data[:4] != b"\x7fELF":
            raise self.error(0, f"magic: {data[:4].hex() or 'nothing'}; an ELF object begins with 7f454c46; give one")
        elf = ELFFile(io.BytesIO(data))
        self._check_header(elf)
        self.sections: tuple[Section, ...] = tuple(elf.iter_sections())
        self.symbols: tuple[Symbol, ...] = tuple(
            symbol for section in self.sections if isinstance(section, SymbolTableSection) for symbol in _all(section)
        )

    def error(self, offset: int, text: str) -> ObjectError:
        """The error to raise for what stands at ``offset`` of the file."""
        return ObjectError(f"{self._name}: offset 0x{offset:x}: {text}")

    def content(self, section: Section) -> bytes:
        """The bytes of a section. Raises ObjectError when the file does not have them all."""
        offset, size = section.header.sh_offset, section.header.sh_size
        if section.header.sh_type == "SHT_NOBITS" or offset + size > len(self._data):
            text = f"section {section.name}: {size} bytes; the file has {len(self._data)}; it is cut off"
            raise self.error(offset, text)
        return self._data[offset : offset + size]

    def find(self, name: str) -> int | None:
        """The index of the first section of that name that has content."""
        for index, section in enumerate(self.sections):
            if section.name == name and section.header.sh_type != "SHT_NOBITS" and section.header.sh_size:
                return index
        return None

    def relocations(self, target: int) -> Iterator[Relocation]:
        """Those of the section with index ``target``. Raises ObjectError for what cannot be read."""
        base = self.sections[target].header.sh_offset
        for section in self.sections:
            if section.header.sh_info != target or section.header.sh_type not in ("SHT_REL", "SHT_RELA"):
                continue
            if not isinstance(section, RelocationSection) or section.is_RELA():
                text = f"section {section.name}: has addends of its own, which eBPF objects do not; rebuild"
                raise self.error(section.header.sh_offset, text)
            table = self.sections[section.header.sh_link]
            if not isinstance(table, SymbolTableSection):
                raise self.error(section.header.sh_offset, f"section {section.name}: has no symbol table; rebuild")
            for entry in section.iter_relocations():
                symbol = _symbol(table.get_symbol(entry["r_info_sym"]))
                yield Relocation(entry["r_offset"], base + entry["r_offset"], entry["r_info_type"], symbol)

    def _check_header(self, elf: Any) -> None:
        header = elf.header
        if header.e_machine != _EM_BPF or not elf.little_endian or elf.elfclass != 64:
            text = f"machine: {header.e_machine}; only 64-bit little-endian EM_BPF is read; build for bpfel"
            raise self.error(0x12, text)
        if header.e_type != "ET_REL":
            raise self.error(0x10, f"type: {header.e_type}; only ET_REL is read; give the object before linking")
        # A size of 0 would make the reader see the same header again and again.
        end = header.e_shoff + header.e_shnum * _SECTION_HEADER_BYTES
        if header.e_shentsize != _SECTION_HEADER_BYTES or not header.e_shnum or end > len(self._data):
            text = f"{header.e_shnum} of {header.e_shentsize} bytes at 0x{header.e_shoff:x}"
            raise self.error(0x3A, f"section headers: {text}; the file has {len(self._data)}; it is damaged")


def _all(table: SymbolTableSection) -> Iterator[Symbol]:
    if table.header.sh_entsize != _SYMBOL_BYTES:
        raise ValueError(f"a symbol takes {table.header.sh_entsize} bytes")
    for symbol in table.iter_symbols():
        yield _symbol(symbol)


def _symbol(symbol: Any) -> Symbol:
    entry = symbol.entry
    return Symbol(symbol.name, entry.st_shndx, entry.st_value, entry.st_info.type, entry.st_info.bind)
