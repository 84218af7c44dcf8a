"""Relocations: what an object's code and state say of places that are known only now.

Ref: Linux, Documentation/bpf/llvm_reloc.rst (types and their implicit addends).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from nimble.elf_file import ElfFile, ObjectError, Relocation
from nimble.elf_layout import Layout
from nimble.isa import BY_MNEMONIC, SLOT_BYTES

R_64_64, R_ABS64, R_ABS32, R_NODYLD32, R_64_32 = 1, 2, 3, 4, 10
_LDDW, _CALL = BY_MNEMONIC["lddw"][0].opcode, BY_MNEMONIC["call"][0].opcode
_CALL_LOCAL_REGISTERS = 0x10  # the second byte of `call local`: 1 in the field src


def relocate(elf: ElfFile, layout: Layout, services: Mapping[str, int]) -> None:
    """Apply all relocations of code and state. ``services`` gives IDs to functions that are defined nowhere.

    Raises ObjectError.
    """
    work = _Relocations(elf, layout, services)
    for section in layout.code_at:
        for relocation in elf.relocations(section):
            work.code(section, relocation)
    for section in layout.state_at:
        for relocation in elf.relocations(section):
            work.state(section, relocation)


class _Relocations:
    def __init__(self, elf: ElfFile, layout: Layout, services: Mapping[str, int]) -> None:
        self._elf = elf
        self._layout = layout
        self._services = services

    def code(self, section: int, relocation: Relocation) -> None:
        offset, where, kind, symbol = relocation
        size = self._elf.sections[section].header.sh_size
        if offset % SLOT_BYTES or offset + SLOT_BYTES > size:
            raise self._elf.error(where, f"relocation at 0x{offset:x}: is no slot of its section; rebuild")
        at = self._layout.code_at[section] + offset
        wanted = {R_64_64: (_LDDW, "lddw", 2), R_64_32: (_CALL, "call", 1)}.get(kind)
        if wanted is None:
            text = f"relocation type {kind}: {R_64_64} and {R_64_32} are supported in code; rebuild without it"
            raise self._elf.error(where, text)
        opcode, name, slots = wanted
        found = self._layout.code[at]
        if found != opcode or offset + slots * SLOT_BYTES > size:
            raise self._elf.error(where, f"relocation to {symbol.name}: opcode 0x{found:02x}; expected {name}; rebuild")
        if kind == R_64_64:
            self._address_in_code(at, relocation)
        else:
            self._call(at, relocation)

    def state(self, section: int, relocation: Relocation) -> None:
        offset, where, kind, symbol = relocation
        begin, size = self._layout.state_at[section], self._elf.sections[section].header.sh_size
        if kind not in (R_ABS64, R_64_64):  # older compilers wrote 64_64 for data, too
            text = f"relocation of {self._elf.sections[section].name} to {symbol.name}: type {kind}; only whole "
            raise self._elf.error(where, text + "64-bit addresses are supported in data; use a 64-bit pointer")
        if offset + 8 > size:
            raise self._elf.error(where, f"relocation at 0x{offset:x}: its section has {size} bytes; rebuild")
        (addend,) = struct.unpack_from("<q", self._layout.state, begin + offset)
        struct.pack_into("<Q", self._layout.state, begin + offset, self._value(relocation, addend))

    def _address_in_code(self, at: int, relocation: Relocation) -> None:
        (addend,) = struct.unpack_from("<i", self._layout.code, at + 4)
        value = self._value(relocation, addend)
        struct.pack_into("<I", self._layout.code, at + 4, value & 0xFFFF_FFFF)
        struct.pack_into("<I", self._layout.code, at + SLOT_BYTES + 4, value >> 32)

    def _value(self, relocation: Relocation, addend: int) -> int:
        """The address of a variable or a function, or the ID of a service."""
        symbol = relocation.symbol
        if symbol.section == "SHN_UNDEF":
            return self._service(relocation)
        address = self._layout.address(symbol, addend)
        if address is None:
            raise self._elf.error(relocation.where, f"relocation to {symbol.name}: {self._elsewhere(relocation)}")
        if not self._layout.holds(address):
            text = f"relocation to {symbol.name}: 0x{address:x} is outside code and state; rebuild"
            raise self._elf.error(relocation.where, text)
        return address

    def _elsewhere(self, relocation: Relocation) -> str:
        section = relocation.symbol.section
        if isinstance(section, int) and section < len(self._elf.sections):
            name = self._elf.sections[section].name
            return f"is in section {name}, which is neither code nor state; move it to another"
        return f"is in no section ({section}); define it in the program"

    def _service(self, relocation: Relocation) -> int:
        name = relocation.symbol.name
        if name not in self._services:
            known = ", ".join(self._services) or "none"
            text = f"{name or 'nothing'}: is neither defined here nor a service; services are: {known}; define it"
            raise self._elf.error(relocation.where, text)
        return self._services[name]

    def _call(self, at: int, relocation: Relocation) -> None:
        symbol, where = relocation.symbol, relocation.where
        (imm,) = struct.unpack_from("<i", self._layout.code, at + 4)
        if symbol.section == "SHN_UNDEF":
            registers, imm = 0, self._service(relocation)
        elif isinstance(symbol.section, int) and symbol.section in self._layout.code_at:
            # imm holds the addend in slots, less one; a call counts from the next slot.
            called = (self._layout.code_at[symbol.section] + symbol.value) // SLOT_BYTES + imm + 1
            if not 0 <= called < len(self._layout.code) // SLOT_BYTES:
                raise self._elf.error(where, f"call of {symbol.name}: slot {called} is outside the code; rebuild")
            registers, imm = _CALL_LOCAL_REGISTERS, called - at // SLOT_BYTES - 1
        else:
            raise self._elf.error(where, f"call of {symbol.name}: is no function of the program; define it in its code")
        self._layout.code[at + 1] = registers
        struct.pack_into("<i", self._layout.code, at + 4, imm)


def refuse_common(elf: ElfFile) -> ObjectError | None:
    """The error for a tentative definition, which only a linker could place; None if there is none."""
    for symbol in elf.symbols:
        if symbol.section == "SHN_COMMON":
            text = f"{symbol.name}: is a common symbol, which has no place yet; give it a value or use -fno-common"
            return elf.error(0, text)
    return None
