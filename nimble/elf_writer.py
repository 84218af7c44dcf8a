"""Programs to relocatable eBPF objects (ELF), which ``elf.load`` reads back to equal programs.

Ref: System V ABI, chapter 4 (64-bit objects); DWARF 4, section 6.2 (line table).

All code is in ``.text`` and all state in ``.data`` (``.bss`` if it is all zeros), so that addresses of functions and of
state, which stand in the code as numbers, need no relocations. Each entry is a global function.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from nimble.elf_layout import MANIFEST
from nimble.elf_relocations import R_ABS64
from nimble.isa import SLOT_BYTES, encode
from nimble.program import Program, SourceLine

_EM_BPF, _ET_REL = 247, 1
_PROGBITS, _SYMTAB, _STRTAB, _NOBITS, _REL = 1, 2, 3, 8, 9
_WRITE, _ALLOC, _EXECUTE = 1, 2, 4
_GLOBAL_FUNCTION, _LOCAL_SECTION = 0x12, 0x03
_HEADER_BYTES, _SECTION_HEADER_BYTES, _SYMBOL_BYTES, _RELOCATION_BYTES = 64, 64, 24, 16
_STATE_ALIGNMENT = 16
# Operands of DWARF 4's standard opcodes 1..12.
_OPERANDS = bytes((0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1))
_COPY, _ADVANCE_PC, _ADVANCE_LINE, _SET_FILE = 1, 2, 3, 4


def write(program: Program, *, manifest: str | None = None) -> bytes:
    """The object. ``manifest`` becomes its section ``.nimble``. Raises ValueError for an entry without a name, or a
    name that holds a NUL."""
    writer = _Writer()
    text = writer.section(".text", _PROGBITS, encode(program.instructions), flags=_ALLOC | _EXECUTE, alignment=8)
    if any(program.state):
        writer.section(".data", _PROGBITS, program.state, flags=_ALLOC | _WRITE, alignment=_STATE_ALIGNMENT)
    elif program.state:
        size = len(program.state)
        writer.section(".bss", _NOBITS, b"", flags=_ALLOC | _WRITE, alignment=_STATE_ALIGNMENT, size=size)
    if manifest is not None:
        writer.section(MANIFEST, _PROGBITS, manifest.encode())
    symbols = [_symbol(0, _LOCAL_SECTION, text, 0)]
    for name, pc in program.entries.items():
        if not name:
            raise ValueError(f"{program.name}: an entry has no name; give it one")
        symbols.append(_symbol(writer.name(name), _GLOBAL_FUNCTION, text, pc * SLOT_BYTES))
    if program.lines:
        table, address_at = _line_table(program)
        debug_line = writer.section(".debug_line", _PROGBITS, table)
        relocation = struct.pack("<QQ", address_at, 1 << 32 | R_ABS64)  # to the first symbol, .text
        writer.section(".rel.debug_line", _REL, relocation, link=-2, info=debug_line, entry=_RELOCATION_BYTES)
    locals_end = 2  # the null symbol and the section's
    content = bytes(_SYMBOL_BYTES) + b"".join(symbols)
    writer.section(".symtab", _SYMTAB, content, link=-1, info=locals_end, alignment=8, entry=_SYMBOL_BYTES)
    return writer.finish()


def _symbol(name: int, information: int, section: int, value: int) -> bytes:
    return struct.pack("<IBBHQQ", name, information, 0, section, value, 0)


@dataclass(frozen=True)
class _Section:
    """``link`` counts from the end of the section table if it is negative."""

    name: int
    kind: int
    flags: int
    content: bytes
    size: int
    link: int
    info: int
    alignment: int
    entry: int


class _Writer:
    def __init__(self) -> None:
        self._sections: list[_Section] = []
        self._strings = bytearray(b"\0")

    def name(self, text: str) -> int:
        """Where a name stands in the string table."""
        at = len(self._strings)
        self._strings += _terminated(text)
        return at

    def section(
        self,
        name: str,
        kind: int,
        content: bytes,
        *,
        flags: int = 0,
        size: int | None = None,
        link: int = 0,
        info: int = 0,
        alignment: int = 1,
        entry: int = 0,
    ) -> int:
        """Its index; 0 is the null section."""
        size = len(content) if size is None else size
        self._sections.append(_Section(self.name(name), kind, flags, content, size, link, info, alignment, entry))
        return len(self._sections)

    def finish(self) -> bytes:
        name = self.name(".strtab")
        strings = bytes(self._strings)
        self._sections.append(_Section(name, _STRTAB, 0, strings, len(strings), 0, 0, 1, 0))
        count = len(self._sections) + 1
        body, headers = bytearray(_HEADER_BYTES), bytearray(_SECTION_HEADER_BYTES)
        for each in self._sections:
            body += bytes(-len(body) % each.alignment)
            link = each.link + count if each.link < 0 else each.link
            headers += struct.pack(
                "<IIQQQQIIQQ",
                *(each.name, each.kind, each.flags, 0, len(body)),
                *(each.size, link, each.info, each.alignment, each.entry),
            )
            body += each.content
        body += bytes(-len(body) % 8)
        identity = b"\x7fELF\x02\x01\x01" + bytes(9)
        sizes = (_HEADER_BYTES, 0, 0, _SECTION_HEADER_BYTES, count, count - 1)
        body[:_HEADER_BYTES] = identity + struct.pack("<HHIQQQIHHHHHH", _ET_REL, _EM_BPF, 1, 0, 0, len(body), 0, *sizes)
        return bytes(body + headers)


def _terminated(text: str) -> bytes:
    encoded = text.encode("utf-8", "replace")
    if b"\0" in encoded:
        raise ValueError(f"name {text!r}: holds a NUL, which ends a name in an object; choose another")
    return encoded + b"\0"


# Lines


def _line_table(program: Program) -> tuple[bytes, int]:
    """The table, and the offset in it of the address that its rows begin at."""
    files = list(dict.fromkeys(line.file for line in program.lines.values()))
    names = b"".join(_terminated(file) + bytes(3) for file in files)  # directory, time and length: 0
    header = struct.pack("<BBBbBB", SLOT_BYTES, 1, 1, -5, 14, len(_OPERANDS) + 1) + _OPERANDS + b"\0" + names + b"\0"
    set_address = bytes((0, 9, 2)) + bytes(8)
    rows = set_address + _rows(program, {file: number for number, file in enumerate(files, start=1)})
    content = struct.pack("<HI", 4, len(header)) + header + rows
    return struct.pack("<I", len(content)) + content, 4 + 6 + len(header) + 3


def _rows(program: Program, files: dict[str, int]) -> bytes:
    """One row wherever the line changes; line 0 says that there is none."""
    found = bytearray()
    at, file, line, shown = 0, 1, 1, None
    for pc in range(len(program.instructions)):
        here = program.lines.get(pc)
        if here == shown:
            continue
        shown, wanted = here, here or SourceLine("", 0)
        if here is not None and files[here.file] != file:
            file = files[here.file]
            found += bytes((_SET_FILE,)) + _unsigned(file)
        found += bytes((_ADVANCE_PC,)) + _unsigned(pc - at)
        found += bytes((_ADVANCE_LINE,)) + _signed(wanted.line - line) + bytes((_COPY,))
        at, line = pc, wanted.line
    end_sequence = bytes((0, 1, 1))
    return bytes(found) + bytes((_ADVANCE_PC,)) + _unsigned(len(program.instructions) - at) + end_sequence


def _unsigned(value: int) -> bytes:
    """LEB128."""
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*found, value))


def _signed(value: int) -> bytes:
    found = bytearray()
    while not -64 <= value < 64:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*found, value & 0x7F))
