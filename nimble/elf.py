"""Relocatable eBPF objects (ELF) to programs: code, named entries, and .data, .rodata and .bss as state.

Ref: the ELF specification; Linux, Documentation/bpf/llvm_reloc.rst (relocation types and their implicit addends).

Executable sections follow one another in the program, .text first; their names and the global functions in them are
its entries. Objects come from outside: whatever is damaged or not supported raises ObjectError with its offset.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Mapping
from typing import Any

from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection
from elftools.elf.sections import Section, SymbolTableSection

from nimble.access import STATE_BASE
from nimble.isa import SLOT_BYTES, InstructionError, decode
from nimble.program import INSTRUCTION_LIMIT, STATE_LIMIT_BYTES, Program

_EM_BPF = "EM_BPF"
_SHF_ALLOC, _SHF_EXECINSTR = 2, 4
_STATE_SECTIONS = (".data", ".rodata", ".bss")
_STATE_ALIGNMENT = 16
_R_BPF_64_64, _R_BPF_64_32 = 1, 10
_LDDW, _CALL, _CALL_LOCAL_REGISTERS = 0x18, 0x85, 0x10


class ObjectError(ValueError):
    """An object that is damaged or needs what is not supported: ``name: offset 0x..: thing: value; remedy``."""


def load(data: bytes, *, name: str, symbols: Mapping[str, int] = {}) -> Program:
    """The program in the object file ``data``. ``symbols`` gives IDs to the extern functions that it calls: services.

    Raises ObjectError.
    """
    try:
        return _Object(data, name, symbols).program()
    except ObjectError:
        raise
    except Exception as error:
        # The parser reports damage with whatever its reading of the bytes happens to raise.
        detail = f"{type(error).__name__} {error}".strip()
        raise ObjectError(f"{name}: offset 0x0: the object is damaged ({detail}); build it again") from error


class _Object:
    """One object while it is read."""

    def __init__(self, data: bytes, name: str, symbols: Mapping[str, int]) -> None:
        self._data = data
        self._name = name
        self._services = symbols
        if data[:4] != b"\x7fELF":
            raise self._error(0, f"magic: {data[:4].hex() or 'nothing'}; an ELF object begins with 7f454c46; give one")
        self._elf = ELFFile(io.BytesIO(data))
        header = self._elf.header
        if header.e_machine != _EM_BPF or not self._elf.little_endian or self._elf.elfclass != 64:
            text = f"machine: {header.e_machine}; only 64-bit little-endian EM_BPF is read; build for bpfel"
            raise self._error(0x12, text)
        if header.e_type != "ET_REL":
            raise self._error(0x10, f"type: {header.e_type}; only ET_REL is read; give the object before linking")
        self._sections: list[Section] = list(self._elf.iter_sections())
        self._code = bytearray()
        self._state = bytearray()
        self._code_at: dict[int, int] = {}  # section index -> byte in _code
        self._state_at: dict[int, int] = {}
        self._place_sections()

    def program(self) -> Program:
        for section in self._sections:
            if isinstance(section, RelocationSection) and section.header.sh_info in self._placed:
                self._relocate(section)
        try:
            instructions = decode(bytes(self._code))
            return Program(
                instructions=instructions, entries=self._entries(), state=bytes(self._state), name=self._name
            )
        except (InstructionError, ValueError) as error:
            raise self._error(0, str(error)) from None

    @property
    def _placed(self) -> set[int]:
        return {*self._code_at, *self._state_at}

    def _error(self, offset: int, text: str) -> ObjectError:
        return ObjectError(f"{self._name}: offset 0x{offset:x}: {text}")

    # Sections

    def _place_sections(self) -> None:
        by_text_first = sorted(enumerate(self._sections), key=lambda item: item[1].name != ".text")
        for index, section in by_text_first:
            if section.header.sh_type not in ("SHT_PROGBITS", "SHT_NOBITS") or not section.header.sh_size:
                continue
            if section.header.sh_flags & _SHF_EXECINSTR:
                self._place_code(index, section)
            elif section.header.sh_flags & _SHF_ALLOC and section.name.startswith(_STATE_SECTIONS):
                self._place_state(index, section)
        if not self._code:
            raise self._error(0, "code: no executable section has any; compile a function into the object")

    def _place_code(self, index: int, section: Section) -> None:
        content = self._content(section)
        if len(content) % SLOT_BYTES or len(self._code) + len(content) > INSTRUCTION_LIMIT * SLOT_BYTES:
            text = f"{len(content)} bytes; code is whole slots of {SLOT_BYTES}, {INSTRUCTION_LIMIT} at most; rebuild"
            raise self._error(section.header.sh_offset, f"section {section.name}: {text}")
        self._code_at[index] = len(self._code)
        self._code += content

    def _place_state(self, index: int, section: Section) -> None:
        size = section.header.sh_size
        padding = -len(self._state) % _STATE_ALIGNMENT
        if len(self._state) + padding + size > STATE_LIMIT_BYTES:
            text = f"section {section.name}: {size} bytes; state has {STATE_LIMIT_BYTES} at most; ask for a window"
            raise self._error(section.header.sh_offset, text)
        if section.header.sh_addralign > _STATE_ALIGNMENT:
            text = (
                f"section {section.name}: alignment {section.header.sh_addralign}; {_STATE_ALIGNMENT} at most; lower it"
            )
            raise self._error(section.header.sh_offset, text)
        self._state += bytes(padding)
        self._state_at[index] = len(self._state)
        self._state += bytes(size) if section.header.sh_type == "SHT_NOBITS" else self._content(section)

    def _content(self, section: Section) -> bytes:
        offset, size = section.header.sh_offset, section.header.sh_size
        if section.header.sh_type == "SHT_NOBITS" or offset + size > len(self._data):
            text = f"section {section.name}: {size} bytes; the file has {len(self._data)}; it is cut off"
            raise self._error(offset, text)
        return self._data[offset : offset + size]

    # Symbols

    def _entries(self) -> dict[str, int]:
        entries = {self._sections[index].name: at // SLOT_BYTES for index, at in self._code_at.items()}
        for symbol in self._symbols():
            where = symbol.entry.st_shndx
            information = symbol.entry.st_info
            if information.type != "STT_FUNC" or information.bind != "STB_GLOBAL" or where not in self._code_at:
                continue
            value = symbol.entry.st_value
            if value % SLOT_BYTES or value >= self._sections[where].header.sh_size:
                text = f"function {symbol.name}: at 0x{value:x}; it is no slot of its section; rebuild"
                raise self._error(self._sections[where].header.sh_offset, text)
            entries[symbol.name] = (self._code_at[where] + value) // SLOT_BYTES
        return entries

    def _symbols(self) -> Iterator[Any]:
        for section in self._sections:
            if isinstance(section, SymbolTableSection):
                yield from section.iter_symbols()

    # Relocations

    def _relocate(self, relocations: RelocationSection) -> None:
        target = relocations.header.sh_info
        base = self._sections[target].header.sh_offset
        table = self._sections[relocations.header.sh_link]
        if not isinstance(table, SymbolTableSection):
            raise self._error(relocations.header.sh_offset, f"section {relocations.name}: has no symbol table; rebuild")
        for relocation in relocations.iter_relocations():
            offset, kind = relocation.entry.r_offset, relocation.entry.r_info_type
            symbol = table.get_symbol(relocation.entry.r_info_sym)
            where = base + offset
            if target not in self._code_at:
                text = f"relocation of {self._sections[target].name} to {symbol.name}: only code is relocated; "
                raise self._error(where, text + "set the pointer when the program runs")
            size = self._sections[target].header.sh_size
            if offset % SLOT_BYTES or offset + SLOT_BYTES > size:
                raise self._error(where, f"relocation at 0x{offset:x}: is no slot of its section; rebuild")
            at = self._code_at[target] + offset
            if kind == _R_BPF_64_64:
                self._relocate_data(at, symbol, where, offset + 2 * SLOT_BYTES <= size)
            elif kind == _R_BPF_64_32:
                self._relocate_call(at, symbol, where)
            else:
                text = f"relocation type {kind}: {_R_BPF_64_64} and {_R_BPF_64_32} are supported; rebuild without it"
                raise self._error(where, text)

    def _relocate_data(self, at: int, symbol: Any, where: int, whole: bool) -> None:
        if self._code[at] != _LDDW or not whole:
            raise self._error(
                where, f"relocation to {symbol.name}: opcode 0x{self._code[at]:02x}; expected lddw; rebuild"
            )
        section = self._state_at.get(symbol.entry.st_shndx)
        if section is None:
            names = ", ".join(_STATE_SECTIONS)
            raise self._error(where, f"relocation to {symbol.name}: is in none of {names}; define it in the program")
        (addend,) = struct.unpack_from("<I", self._code, at + 4)
        address = STATE_BASE + section + symbol.entry.st_value + addend
        if not STATE_BASE <= address <= STATE_BASE + len(self._state):
            raise self._error(where, f"relocation to {symbol.name}: 0x{address:x} is outside the state; rebuild")
        struct.pack_into("<I", self._code, at + 4, address & 0xFFFF_FFFF)
        struct.pack_into("<I", self._code, at + SLOT_BYTES + 4, address >> 32)

    def _relocate_call(self, at: int, symbol: Any, where: int) -> None:
        if self._code[at] != _CALL:
            raise self._error(
                where, f"relocation to {symbol.name}: opcode 0x{self._code[at]:02x}; expected call; rebuild"
            )
        section = self._code_at.get(symbol.entry.st_shndx)
        (imm,) = struct.unpack_from("<i", self._code, at + 4)
        if section is not None:
            # imm holds the addend in slots, less one; a call counts from the next slot.
            called = (section + symbol.entry.st_value) // SLOT_BYTES + imm + 1
            registers, imm = _CALL_LOCAL_REGISTERS, called - at // SLOT_BYTES - 1
            if not 0 <= called < len(self._code) // SLOT_BYTES:
                raise self._error(where, f"call of {symbol.name}: slot {called} is outside the code; rebuild")
        elif symbol.entry.st_shndx == "SHN_UNDEF" and symbol.name in self._services:
            registers, imm = 0, self._services[symbol.name]
        else:
            known = ", ".join(self._services) or "none"
            text = (
                f"call of {symbol.name or 'nothing'}: is neither here nor a service; services are: {known}; define it"
            )
            raise self._error(where, text)
        self._code[at + 1] = registers
        struct.pack_into("<i", self._code, at + 4, imm)
