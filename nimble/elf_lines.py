"""Line numbers: the line table of DWARF 2 to 5, of which only file and line are kept.

Ref: DWARF 5, section 6.2, and DWARF 4, section 6.2. Read here and not by pyelftools, because its reader believes every
count in the table, and an object may be hostile.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from nimble.elf_file import ElfFile
from nimble.elf_layout import Layout
from nimble.elf_relocations import R_ABS32, R_ABS64, R_NODYLD32
from nimble.isa import SLOT_BYTES
from nimble.program import SourceLine

_SHF_COMPRESSED = 0x800
_SECTION = ".debug_line"
_STRING_SECTIONS = {0x1F: ".debug_line_str", 0x0E: ".debug_str"}  # by form
_STRING, _BLOCK, _UDATA = 0x08, 0x09, 0x0F
_FIXED_FORMS = {0x0B: 1, 0x05: 2, 0x06: 4, 0x07: 8, 0x1E: 16}  # data1, 2, 4, 8, 16
_PATH, _DIRECTORY = 1, 2  # DW_LNCT
_END_SEQUENCE, _SET_ADDRESS = 1, 2  # DW_LNE
_COPY, _ADVANCE_PC, _ADVANCE_LINE, _SET_FILE, _CONST_ADD_PC, _FIXED_ADVANCE_PC = 1, 2, 3, 4, 8, 9  # DW_LNS


class LineError(ValueError):
    """A line table that cannot be read; ``offset`` counts bytes from the section's first one."""

    def __init__(self, offset: int, text: str) -> None:
        super().__init__(text)
        self.offset = offset


def lines(elf: ElfFile, layout: Layout) -> dict[int, SourceLine]:
    """Where each instruction was written, by pc, as far as the object knows. Raises ObjectError."""
    index = elf.find(_SECTION)
    if index is None or elf.sections[index].header.sh_flags & _SHF_COMPRESSED:
        return {}
    section = elf.sections[index]
    data = bytearray(elf.content(section))
    placed = _relocated(elf, layout, index, data)
    strings = {form: _content(elf, name) for form, name in _STRING_SECTIONS.items()}
    marks: dict[int, SourceLine | None] = {}  # by byte of the code: what holds from there on
    try:
        for row in _Table(bytes(data), strings, placed).rows():
            if row.line is None:
                marks.setdefault(row.address, None)
            else:
                marks[row.address] = row.line
    except LineError as error:
        raise elf.error(section.header.sh_offset + error.offset, f"section {_SECTION}: {error}") from None
    return _spread(marks, len(layout.code))


def _content(elf: ElfFile, name: str) -> bytes:
    index = elf.find(name)
    return b"" if index is None else elf.content(elf.sections[index])


def _relocated(elf: ElfFile, layout: Layout, index: int, data: bytearray) -> frozenset[int]:
    """Put the code's real places into the table; where in the table they stand."""
    placed = set()
    for offset, where, kind, symbol in elf.relocations(index):
        form = {R_ABS64: "<Q", R_ABS32: "<I", R_NODYLD32: "<I"}.get(kind)
        if form is None or offset + struct.calcsize(form) > len(data):
            raise elf.error(where, f"relocation type {kind} at 0x{offset:x} of {_SECTION}: is none of its; rebuild")
        (addend,) = struct.unpack_from(form, data, offset)
        base = 0
        if kind == R_ABS64:
            if not isinstance(symbol.section, int) or symbol.section not in layout.code_at:
                continue
            base = layout.code_at[symbol.section]
            placed.add(offset)
        value = base + symbol.value + addend & (1 << 8 * struct.calcsize(form)) - 1
        struct.pack_into(form, data, offset, value)
    return frozenset(placed)


def _spread(marks: dict[int, SourceLine | None], code_bytes: int) -> dict[int, SourceLine]:
    found: dict[int, SourceLine] = {}
    line = None
    for at in range(0, code_bytes, SLOT_BYTES):
        line = marks.get(at, line)
        if line is not None:
            found[at // SLOT_BYTES] = line
    return found


@dataclass(frozen=True)
class _Row:
    """From this byte of the code on; ``line`` None ends what was said before."""

    address: int
    line: SourceLine | None


@dataclass
class _Unit:
    """The header of one table and where its rows are."""

    version: int = 0
    offset_bytes: int = 4
    end: int = 0
    instruction_bytes: int = 1
    line_base: int = 0
    line_range: int = 1
    opcode_base: int = 1
    lengths: bytes = b""
    directories: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _State:
    """The registers that matter, at the start of a sequence."""

    address: int | None = None  # None until it is known to be in the code
    file: int = 1
    line: int = 1


class _Table:
    """All tables of one section, read in order."""

    def __init__(self, data: bytes, strings: dict[int, bytes], placed: frozenset[int]) -> None:
        self._data = data
        self._strings = strings
        self._placed = placed
        self._at = 0

    def rows(self) -> Iterator[_Row]:
        while self._at < len(self._data):
            unit = self._unit()
            if 2 <= unit.version <= 5:
                self._header(unit)
                yield from self._program(unit)
            self._at = unit.end

    # Pieces

    def _number(self, size: int, signed: bool = False) -> int:
        if self._at + size > len(self._data):
            raise LineError(self._at, f"{size} bytes are missing; the table is cut off; build it again")
        self._at += size
        return int.from_bytes(self._data[self._at - size : self._at], "little", signed=signed)

    def _leb(self, signed: bool = False) -> int:
        value = shift = 0
        while True:
            byte = self._number(1)
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
            if shift > 63:
                raise LineError(self._at, "a number of more than 64 bits; the table is damaged; build it again")
        return value - (1 << shift) if signed and byte & 0x40 else value

    def _text(self) -> str:
        end = self._data.find(b"\0", self._at)
        if end < 0:
            raise LineError(self._at, "a name without end; the table is damaged; build it again")
        text = self._data[self._at : end].decode("utf-8", "replace")
        self._at = end + 1
        return text

    # Header

    def _unit(self) -> _Unit:
        start, unit = self._at, _Unit()
        length = self._number(4)
        if length == 0xFFFF_FFFF:
            length, unit.offset_bytes = self._number(8), 8
        unit.end = self._at + length
        if unit.end > len(self._data):
            raise LineError(start, f"a table of {length} bytes; {len(self._data) - self._at} are left; it is cut off")
        unit.version = self._number(2)
        return unit

    def _header(self, unit: _Unit) -> None:
        if unit.version == 5:
            self._number(2)  # sizes of addresses and of segment selectors
        length = self._number(unit.offset_bytes)
        begin = self._at + length
        unit.instruction_bytes = self._number(1)
        if unit.version >= 4:
            self._number(1)  # operations per instruction: 1 but on VLIW machines
        self._number(1)  # whether rows are statements by default
        unit.line_base = self._number(1, signed=True)
        unit.line_range = self._number(1)
        unit.opcode_base = self._number(1)
        if not unit.line_range or not unit.opcode_base:
            raise LineError(self._at, "a line range or opcode base of 0; the table is damaged; build it again")
        unit.lengths = bytes(self._number(1) for _ in range(unit.opcode_base - 1))
        if unit.version == 5:
            unit.directories = [name for name, _ in self._entries()]
            files = self._entries()
        else:
            unit.directories = ["", *iter(self._text, "")]
            files = [("", 0), *self._old_files()]
        unit.files = [_join(unit.directories, name, directory) for name, directory in files]
        if not self._at <= begin <= unit.end:
            raise LineError(self._at, f"rows at 0x{begin:x} lie outside their table; it is damaged; build it again")
        self._at = begin

    def _old_files(self) -> Iterator[tuple[str, int]]:
        while name := self._text():
            directory = self._leb()
            self._leb()  # time
            self._leb()  # length
            yield name, directory

    def _entries(self) -> list[tuple[str, int]]:
        """Name and directory of each entry of one of DWARF 5's self-describing lists."""
        formats = [(self._leb(), self._leb()) for _ in range(self._number(1))]
        count = self._leb()
        if count > len(self._data):
            raise LineError(self._at, f"{count} names; the table has {len(self._data)} bytes; it is damaged")
        entries = []
        for _ in range(count):
            values = {content: self._form(form) for content, form in formats}
            name, directory = values.get(_PATH, ""), values.get(_DIRECTORY, 0)
            entries.append((str(name), directory if isinstance(directory, int) else 0))
        return entries

    def _form(self, form: int) -> str | int:
        if form == _STRING:
            return self._text()
        if form in self._strings:
            offset = self._number(4)
            return self._strings[form][offset:].split(b"\0", 1)[0].decode("utf-8", "replace")
        if form == _UDATA:
            return self._leb()
        size = self._leb() if form == _BLOCK else _FIXED_FORMS.get(form)
        if size is None:
            raise LineError(self._at, f"form 0x{form:x} of a name is not known; build with -gdwarf-5 or -gdwarf-4")
        return self._number(size)

    # Rows

    def _program(self, unit: _Unit) -> Iterator[_Row]:
        state = start = _State()
        while self._at < unit.end:
            opcode = self._number(1)
            if opcode >= unit.opcode_base:
                steps, line = divmod(opcode - unit.opcode_base, unit.line_range)
                state = _advanced(state, steps * unit.instruction_bytes)
                state = replace(state, line=state.line + unit.line_base + line)
                yield from _row(unit, state)
            elif opcode == 0:
                end = self._leb() + self._at
                ended, state = self._extended(state, end)
                if ended:
                    if state.address is not None:
                        yield _Row(state.address, None)
                    state = start
            elif opcode == _COPY:
                yield from _row(unit, state)
            else:
                state = self._standard(unit, opcode, state)

    def _extended(self, state: _State, end: int) -> tuple[bool, _State]:
        """Whether the sequence ends, and the state."""
        opcode = self._number(1)
        if opcode == _SET_ADDRESS:
            at = self._at
            address = self._number(max(end - at, 0))
            state = replace(state, address=address if at in self._placed else None)
        if not self._at <= end <= len(self._data):
            raise LineError(self._at, "an operation that is longer than the table; it is damaged; build it again")
        self._at = end
        return opcode == _END_SEQUENCE, state

    def _standard(self, unit: _Unit, opcode: int, state: _State) -> _State:
        if opcode == _ADVANCE_PC:
            return _advanced(state, self._leb() * unit.instruction_bytes)
        if opcode == _ADVANCE_LINE:
            return replace(state, line=state.line + self._leb(signed=True))
        if opcode == _SET_FILE:
            return replace(state, file=self._leb())
        if opcode == _CONST_ADD_PC:
            return _advanced(state, (255 - unit.opcode_base) // unit.line_range * unit.instruction_bytes)
        if opcode == _FIXED_ADVANCE_PC:
            return _advanced(state, self._number(2))
        for _ in range(unit.lengths[opcode - 1]):
            self._leb()
        return state


def _advanced(state: _State, distance: int) -> _State:
    return state if state.address is None else replace(state, address=state.address + distance)


def _row(unit: _Unit, state: _State) -> Iterator[_Row]:
    if state.address is None:
        return
    known = 0 <= state.file < len(unit.files) and 0 < state.line < 1 << 32 and unit.files[state.file]
    yield _Row(state.address, SourceLine(unit.files[state.file], state.line) if known else None)


def _join(directories: list[str], name: str, directory: int) -> str:
    """Directory 0 is where the compiler ran; names relative to it stay as it was given them."""
    if directory and directory < len(directories) and directories[directory] and not name.startswith("/"):
        return f"{directories[directory]}/{name}"
    return name
