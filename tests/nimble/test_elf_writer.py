"""Programs written as objects and read back, and the line tables and type information that are refused."""

from __future__ import annotations

import random
import re
import struct

import pytest

from nimble import elf, elf_writer
from nimble.assembler import assemble
from nimble.elf import ObjectError
from nimble.elf_btf import BtfError, MapDefinition, map_definitions
from nimble.elf_writer import write
from nimble.isa import Instruction
from nimble.program import Program, SourceLine

TEXT = """
.byte 1, 2
.state 20
.entry first
.entry also first-pc/2
lddw %r1, f
lddw %r2, STATE + 8
callx %r1


.entry second
call 7
exit
f: exit
"""


def program(text: str = TEXT.replace("also first-pc/2", '"also first; 2"')) -> Program:
    return assemble(text, source="drivers/nic.asm")


def test_an_object_reads_back_to_an_equal_program() -> None:
    written = program()
    data = write(written, manifest="name: nic\n")
    read = elf.load(data, name="nic")
    assert read == written
    assert read.lines == written.lines
    assert elf.manifest_text(data) == "name: nic\n"
    assert elf.manifest_text(write(written)) is None
    assert data == write(program(), manifest="name: nic\n")


@pytest.mark.parametrize("seed", range(10))
def test_random_programs_read_back(seed: int) -> None:
    generator = random.Random(seed)
    count = generator.randrange(1, 300)
    places = [SourceLine(f"{generator.choice('abc')}.py", generator.randrange(1, 100_000)) for _ in range(20)]
    written = Program(
        instructions=tuple(Instruction(0xB7, generator.randrange(10), imm=pc) for pc in range(count)),
        entries={f"entry {index}": generator.randrange(count) for index in range(1, generator.randrange(2, 9))},
        state=generator.choice((b"", bytes(17), b"\0\1", generator.randbytes(100))),
        lines={pc: generator.choice(places) for pc in range(count) if generator.random() < 0.7},
    )
    read = elf.load(write(written), name="x")
    assert read == written
    assert read.lines == written.lines


@pytest.mark.parametrize(
    ("entry", "error"),
    [("", "x: an entry has no name; give it one"), ("a\0b", "name 'a\\x00b': holds a NUL, which ends a name in an ")],
)
def test_names_that_no_object_can_have(entry: str, error: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(error)}"):
        write(Program(instructions=(Instruction(0x95),), entries={entry: 0}, name="x"))


def test_a_manifest_that_is_no_text() -> None:
    data = write(program(), manifest="name: XXXX")
    with pytest.raises(ObjectError, match=r"^nic\.o: offset 0x9c: section \.nimble: is no UTF-8 text; write YAML or"):
        elf.manifest_text(data.replace(b"XXXX", b"\xff\xff\xff\xff"), name="nic.o")
    with pytest.raises(ObjectError, match=r"^nic\.o: offset 0x0: magic: 68656c6c; an ELF object begins with"):
        elf.manifest_text(b"hello", name="nic.o")
    with pytest.raises(ObjectError, match=r"^nic\.o: offset 0x0: the object is damaged \(.*\); build it again$"):
        elf.manifest_text(data[:20], name="nic.o")


# Line tables


def table(rows: bytes, *, names: bytes = b"x.c\0\1\0\0", directories: bytes = b"include\0", **changes: int) -> bytes:
    """A table of DWARF 4; its rows begin with the address of the code's first slot."""
    fields = {"instruction": 8, "range": 14, "opcode_base": 13, "longer": 0, "version": 4, **changes}
    header = struct.pack("<BBBbBB", fields["instruction"], 1, 1, -5, fields["range"], fields["opcode_base"])
    header += bytes((0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1)) + directories + b"\0" + names + b"\0"
    content = struct.pack("<HI", fields["version"], len(header) + fields["longer"]) + header
    content += b"\0\x09\x02" + bytes(8) + rows
    return struct.pack("<I", len(content)) + content


def with_table(content: bytes, monkeypatch: pytest.MonkeyPatch) -> Program:
    at = content.find(b"\0\x09\x02")
    monkeypatch.setattr(elf_writer, "_line_table", lambda program: (content, at + 3 if at >= 0 else 0))
    return elf.load(write(program()), name="x.o")


END = b"\2\x08\0\1\1"  # behind 8 slots


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (table(b"\3\x09\1" + END), {0: 10}),  # advance line, copy
        (table(b"\x13" + END), {0: 2}),  # special opcode 19: line + 1
        (table(b"\x13\x21" + END), {0: 2, 1: 3}),  # 33: one slot and line + 1
        (table(b"\1\x08\x13" + END), {0: 1, 17: 2}),  # const add pc: (255 - 13) // 14 slots, outside the code
        (table(b"\1\x08\x13" + END, range=121), {0: 1, 2: 2}),
        (table(b"\1\x09\x08\0\x13" + END), {0: 1, 1: 2}),  # fixed advance: 8 bytes
        (table(b"\1\x06\x07\x0a\x0b\x05\x03\x0c\x04\x13" + END), {0: 2}),  # flags, column and ISA change nothing
        (table(b"\1\0\2\x80\x05\0\3\4\1\1" + END), {0: 1}),  # unknown extended operations
        (table(b"\3\x7f\1" + END), {}),  # line 0: none
        (table(b"\4\2\1" + END), {}),  # a file that is not in the list
        (table(b"\1\2\1\0\1\1"), {0: 1, 1: None}),  # ends behind one slot
        (table(b"\1", version=6), {}),  # of the future: passed over
        (b"", {}),
    ],
)
def test_rows(content: bytes, lines: dict[int, int | None], monkeypatch: pytest.MonkeyPatch) -> None:
    read = with_table(content, monkeypatch) if content else elf.load(write(program()), name="x.o")
    if not content:
        return
    expected: dict[int, SourceLine] = {}
    line = None
    for pc in range(len(read.instructions)):
        line = lines.get(pc, line)
        if line is not None:
            expected[pc] = SourceLine("include/x.c", line)
    assert read.lines == expected


def table5(directories: bytes, files: bytes) -> bytes:
    """A table of DWARF 5 with one row, of file 1."""
    header = struct.pack("<BBBbBB", 8, 1, 1, -5, 14, 13) + bytes((0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1))
    header += directories + files
    content = struct.pack("<HBBI", 5, 8, 0, len(header)) + header + b"\0\x09\x02" + bytes(8) + b"\1" + END
    return struct.pack("<I", len(content)) + content


NAMES = b"\1\1\x08\2/home\0sub\0"  # one format: path as text; two of them


@pytest.mark.parametrize(
    ("files", "name"),
    [
        (b"\2\1\x08\2\x0f\2x.py\0\0y.py\0\1", "sub/y.py"),
        (b"\2\1\x08\2\x0b\2x.py\0\0y.py\0\0", "y.py"),
        (b"\3\1\x08\2\x05\5\x1e\2x\0\0\0" + bytes(16) + b"/y\0\1\0" + bytes(16), "/y"),  # with an MD5 sum
        (b"\2\1\x08\x81\x40\x09\2x\0\2ab" + b"y\0\0", "y"),  # with a block of a vendor's
    ],
)
def test_names_of_dwarf_5(files: bytes, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert with_table(table5(NAMES, files), monkeypatch).lines[0] == SourceLine(name, 1)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (table(b"\1") + b"\1\2", r"section \.debug_line: 4 bytes are missing; the table is cut off; build it"),
        (table(b"\1")[:-1], r"section \.debug_line: a table of \d+ bytes; \d+ are left; it is cut off"),
        (table(b"\1", range=0), "a line range or opcode base of 0; the table is damaged; build it again"),
        (table(b"\1", opcode_base=0), "a line range or opcode base of 0; the table is damaged; build it again"),
        (table(b"\1", longer=900), r"rows at 0x\w+ lie outside their table; it is damaged; build it again"),
        (table(b"", longer=-20), r"rows at 0x\w+ lie outside their table; it is damaged; build it again"),
        (table(b"\2" + b"\xff" * 12), "a number of more than 64 bits; the table is damaged; build it again"),
        (table(b"\0\x70\x80"), "an operation that is longer than the table; it is damaged; build it again"),
        (table5(b"\1\1\x08\xff\xff\x03", b""), "65535 names; the table has 53 bytes; it is damaged"),
        (table5(b"\1\1\x1a\2", b""), "form 0x1a of a name is not known; build with -gdwarf-5 or -gdwarf-4"),
        (table5(b"\1\1\x08\x30", b""), "a name without end; the table is damaged; build it again"),
    ],
)
def test_damaged_tables(content: bytes, error: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ObjectError, match=error) as caught:
        with_table(content, monkeypatch)
    assert str(caught.value).startswith("x.o: offset 0x")


def test_a_relocation_that_no_table_has() -> None:
    data = write(program())
    kind = struct.pack("<Q", 1 << 32 | 2)
    with pytest.raises(ObjectError, match=r"relocation type 9 at 0x\w+ of \.debug_line: is none of its; rebuild"):
        elf.load(data.replace(kind, struct.pack("<Q", 1 << 32 | 9)), name="x.o")


# Type information


def btf(*types: tuple[int, ...], strings: bytes = b"\0.maps\0m\0type\0max_entries\0value\0value_size\0") -> bytes:
    """Types as words: name, kind << 24 | parts, size or type, and what follows."""
    content = b"".join(struct.pack(f"<{len(words)}I", *words) for words in types)
    return struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(content), len(content), len(strings)) + content + strings


MAPS, M, TYPE, MAX_ENTRIES, VALUE, VALUE_SIZE = 1, 7, 9, 14, 26, 32  # of the strings
INT, PTR, ARRAY, STRUCT, TYPEDEF, VAR, DATASEC = (kind << 24 for kind in (1, 2, 3, 4, 8, 14, 15))
U64 = (0, INT, 8, 64)  # 1
ARRAYS = ((0, ARRAY, 0, 1, 1, 2), (0, PTR, 2), (0, ARRAY, 0, 1, 1, 5), (0, PTR, 4))  # 2..5: pointers 3 to 2, 5 to 5
POINTER = (0, PTR, 7)  # 6, to 7: an alias of u64
ALIAS = (0, TYPEDEF, 1)
MAP = (0, STRUCT | 3, 24, TYPE, 3, 0, MAX_ENTRIES, 5, 64, VALUE, 6, 128)  # 8
VARIABLE = (M, VAR, 8, 1)  # 9
SECTION = (MAPS, DATASEC | 1, 24, 9, 0, 24)
GOOD = (U64, *ARRAYS, POINTER, ALIAS, MAP, VARIABLE, SECTION)


def test_a_map_definition() -> None:
    assert map_definitions(btf(*GOOD), ".maps") == {"m": MapDefinition(2, 5, 8)}
    assert map_definitions(btf(*GOOD), ".data") == {}
    by_size = (0, STRUCT | 2, 24, TYPE, 3, 0, VALUE_SIZE, 5, 64)
    assert map_definitions(btf(*GOOD[:7], by_size, *GOOD[8:]), ".maps") == {"m": MapDefinition(2, 0, 5)}
    of_arrays = (0, PTR, 4)
    assert map_definitions(btf(*GOOD[:5], of_arrays, *GOOD[6:]), ".maps") == {"m": MapDefinition(2, 5, 40)}
    plain = (M, VAR, 1, 1)
    assert map_definitions(btf(*GOOD[:8], plain, SECTION), ".maps") == {}


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"\x9f\xeb", "2 bytes; its header has 24; it is damaged; build it again, or without -g"),
        (bytes(24), "header 0x0, types to 0, strings to 0; it is damaged"),
        (btf(*GOOD)[:200], "header 0xeb9f, types to 224, strings to 224; it is damaged"),
        (btf((0, 31 << 24, 0)), "type of kind 31; 1..19 are known; it is damaged"),
        (btf((0, STRUCT | 9, 0)), "the last type is cut off; it is damaged"),
        (btf(*GOOD[:8], (M, VAR, 99, 1), SECTION), "type 99; there are 10; it is damaged"),
        (btf(*GOOD[:6], (0, TYPEDEF, 7), *GOOD[7:]), "type 7 is an alias of aliases without end; it is damaged"),
        (btf(*GOOD[:2], ALIAS, *GOOD[3:]), "a member of a map definition is no pointer; it is damaged"),
        (btf(*GOOD[:2], (0, PTR, 1), *GOOD[3:]), "a number of a map definition is no pointer to an array; it is"),
        (btf(*GOOD[:6], (0, VAR, 1, 1), *GOOD[7:]), "a type of kind 14 has no size; it is damaged"),
        (btf(*GOOD[:8], U64, SECTION), "section .maps holds a type of kind 1; it is damaged"),
    ],
)
def test_damaged_types(data: bytes, error: str) -> None:
    with pytest.raises(BtfError) as caught:
        map_definitions(data, ".maps")
    assert str(caught.value).startswith(error)
