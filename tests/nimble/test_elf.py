"""Objects: hand-built and from LLVM, good, unsupported and damaged."""

from __future__ import annotations

import contextlib
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from nimble.access import STATE_BASE, AddressSpace, state_window
from nimble.assembler import assemble, disassemble
from nimble.elf import ObjectError, load
from nimble.elf_writer import write
from nimble.engine.closures import translate
from nimble.engine.outcome import Outcome, no_time
from nimble.isa import encode
from nimble.program import Program
from nimble.services import Service, Services
from nimble.verifier import InsertionRefused

PROGBITS, SYMTAB, STRTAB, RELA, NOBITS, REL = 1, 2, 3, 4, 8, 9
ALLOC_WRITE, ALLOC_CODE = 3, 6
GLOBAL_FUNCTION, LOCAL_SECTION, GLOBAL_OBJECT, GLOBAL_NOTYPE = 0x12, 0x03, 0x11, 0x10
R_64_64, R_ABS64, R_ABS32, R_64_32 = 1, 2, 3, 10


@dataclass
class Object:
    """A relocatable object put together by hand. Ref: System V ABI, chapter 4 (64-bit)."""

    sections: list[tuple[str, int, int, bytes, int]] = field(default_factory=list)  # name, type, flags, bytes, info
    symbols: list[tuple[str, int, int, int]] = field(default_factory=list)  # name, info, section, value
    machine: int = 247
    kind: int = 1
    bss_bytes: int = 0
    alignment: int = 8

    def section(self, name: str, content: bytes, flags: int = ALLOC_CODE, kind: int = PROGBITS, info: int = 0) -> int:
        """Its index: 0 is the null section."""
        self.sections.append((name, kind, flags, content, info))
        return len(self.sections)

    def symbol(self, name: str, info: int, section: int, value: int = 0) -> int:
        self.symbols.append((name, info, section, value))
        return len(self.symbols)

    def relocate(self, section: int, *entries: tuple[int, int, int]) -> None:
        """Entries are offset, symbol, type."""
        content = b"".join(struct.pack("<QQ", offset, symbol << 32 | kind) for offset, symbol, kind in entries)
        self.section(f".rel{section}", content, 0, REL, section)

    def bytes(self) -> bytes:
        names, strings = b"\0", b"\0"
        table = bytes(24)
        for name, info, section, value in self.symbols:
            table += struct.pack("<IBBHQQ", len(strings), info, 0, section, value, 0)
            strings += name.encode() + b"\0"
        symtab = len(self.sections) + 1
        all_sections: list[tuple[str, int, int, bytes, int]] = [
            *self.sections,
            (".symtab", SYMTAB, 0, table, 1),
            (".strtab", STRTAB, 0, strings, 0),
        ]
        names_at = []
        for name in [*(section[0] for section in all_sections), ".shstrtab"]:
            names_at.append(len(names))
            names += name.encode() + b"\0"
        all_sections.append((".shstrtab", STRTAB, 0, names, 0))
        body, headers = bytearray(64), bytearray(64)
        for at, (_, kind, flags, content, info) in zip(names_at, all_sections, strict=True):
            size = self.bss_bytes if kind == NOBITS else len(content)
            link = symtab if kind in (REL, RELA) else symtab + 1 if kind == SYMTAB else 0
            each = {SYMTAB: 24, REL: 16, RELA: 24}.get(kind, 0)
            headers += struct.pack("<IIQQQQIIQQ", at, kind, flags, 0, len(body), size, link, info, self.alignment, each)
            body += content + bytes(-len(content) % 8)
        identity = b"\x7fELF\x02\x01\x01" + bytes(9)
        count = len(all_sections) + 1
        fields = (self.kind, self.machine, 1, 0, 0, len(body), 0, 64, 0, 0, 64, count, count - 1)
        body[:64] = identity + struct.pack("<HHIQQQIHHHHHH", *fields)
        return bytes(body + headers)


def code(text: str) -> bytes:
    return encode(assemble(text).instructions)


def good() -> Object:
    """main adds a number from .data, one from .bss (stored first), one from a function of another section."""
    made = Object(bss_bytes=12)
    other = made.section("events", code("call local -1\nexit"))
    text = made.section(
        ".text",
        code(
            """
            lddw %r1, 0         # 0: .bss + 8
            stw [%r1], 0x70
            lddw %r2, 4         # 3: the section .data, and 4 more
            ldxw %r0, [%r2]
            ldxw %r3, [%r1]
            add %r0, %r3
            mov %r6, %r0
            call local -1       # 9: events
            add %r0, %r6
            call 0              # 11: the service wake
            exit
            mov %r0, 0x500      # 13: helper, which has no symbol
            exit
            """
        ),
    )
    data = made.section(".data", struct.pack("<II", 1, 2), ALLOC_WRITE)
    bss = made.section(".bss", b"", ALLOC_WRITE, NOBITS)
    made.section(".ignored", bytes(range(8)), 0)
    data_symbol = made.symbol("", LOCAL_SECTION, data)
    text_symbol = made.symbol("", LOCAL_SECTION, text)
    bss_symbol = made.symbol("total", GLOBAL_OBJECT, bss, 8)
    handler = made.symbol("handler", GLOBAL_FUNCTION, other)
    made.symbol("main", GLOBAL_FUNCTION, text)
    wake = made.symbol("wake", GLOBAL_NOTYPE, 0)
    made.relocate(
        text, (0, bss_symbol, R_64_64), (24, data_symbol, R_64_64), (72, handler, R_64_32), (88, wake, R_64_32)
    )
    patched = bytearray(made.sections[other - 1][3])
    patched[4:8] = struct.pack("<i", 13 - 1)  # slot 13 of .text, less one
    made.sections[other - 1] = ("events", PROGBITS, ALLOC_CODE, bytes(patched), 0)
    made.relocate(other, (0, text_symbol, R_64_32))
    return made


SYMBOLS = {"wake": 6}


def run(program: Program, *args: int, entry: str = "main") -> Outcome:
    state = state_window(bytearray(program.state))
    assert state is not None
    space = AddressSpace([state])
    services = Services([Service(6, "wake", lambda *_: 0x9000, "a number")])
    thread = translate(program, space=space, services=services, checked=True)
    return thread.run(entry, args, budget=1000, spend=no_time)


def test_a_good_object() -> None:
    program = load(good().bytes(), name="good.o", symbols=SYMBOLS)
    assert program.entries == {"main": 0, "events": 15, "handler": 15}
    assert program.state == struct.pack("<II", 1, 2) + bytes(8 + 12)  # .data, padding to 16, .bss
    assert program.name == "good.o"
    text = disassemble(program)
    assert f"lddw %r1, 0x{STATE_BASE + 16 + 8:x}" in text
    assert f"lddw %r2, 0x{STATE_BASE + 4:x}" in text
    assert "call 6" in text
    assert assemble(text) == program
    # 2 from .data, 0x70 through .bss; events -> helper gives 0x500; wake's result replaces r0.
    assert run(program).r0 == 0x9000


def test_the_numbers_come_from_where_they_should() -> None:
    made = good()
    name, kind, flags, content, info = made.sections[1]
    made.sections[1] = (name, kind, flags, content.replace(code("call 0"), code("mov %r5, 0")), info)
    made.sections[5] = (*made.sections[5][:3], made.sections[5][3][:48], made.sections[5][4])  # all but wake
    assert run(load(made.bytes(), name="x")).r0 == 0x500 + 0x70 + 2


def changed(change: Callable[[Object], object]) -> bytes:
    made = good()
    change(made)
    return made.bytes()


def relocation(offset: int, symbol: int, kind: int, section: int = 2) -> Callable[[Object], None]:
    return lambda made: made.relocate(section, (offset, symbol, kind))


def replace_section(index: int, **changes: object) -> Callable[[Object], None]:
    def change(made: Object) -> None:
        fields = dict(zip(("name", "kind", "flags", "content", "info"), made.sections[index - 1], strict=True))
        made.sections[index - 1] = tuple({**fields, **changes}.values())  # type: ignore[assignment]

    return change


def set_field(name: str, value: int) -> Callable[[Object], None]:
    return lambda made: setattr(made, name, value)


# Symbols: 1 .data, 2 .text, 3 total, 4 handler, 5 main, 6 wake. Sections: 1 events, 2 .text, 3 .data, 4 .bss.
UNSUPPORTED: list[tuple[Callable[[Object], object], str]] = [
    (set_field("machine", 62), "offset 0x12: machine: EM_X86_64; only 64-bit little-endian EM_BPF is read; build for"),
    (set_field("kind", 2), "offset 0x10: type: ET_EXEC; only ET_REL is read; give the object before linking"),
    (set_field("bss_bytes", 1 << 40), "section .bss: 1099511627776 bytes; state has 1048576 at most; ask for a window"),
    (set_field("alignment", 64), "section .data: alignment 64; 16 at most; lower it"),
    (replace_section(2, content=bytes(12)), "section .text: 12 bytes; code is whole slots of 8, 1048576 at most"),
    (replace_section(2, kind=NOBITS), "section .text: 12 bytes; the file has"),
    (relocation(0, 5, 3), "relocation type 3: 1 and 10 are supported in code; rebuild without it"),
    (relocation(4, 3, R_64_64), "relocation at 0x4: is no slot of its section; rebuild"),
    (relocation(800, 3, R_64_64), "relocation at 0x320: is no slot of its section; rebuild"),
    (relocation(16, 3, R_64_64), "relocation to total: opcode 0x62; expected lddw; rebuild"),
    (relocation(16, 4, R_64_32), "relocation to handler: opcode 0x62; expected call; rebuild"),
    (relocation(176, 3, R_64_64), "relocation at 0xb0: is no slot of its section; rebuild"),
    (lambda made: made.relocate(2, (0, made.symbol("x", GLOBAL_OBJECT, 5), R_64_64)),
     "relocation to x: is in section .ignored, which is neither code nor state; move it to another"),
    (lambda made: made.relocate(2, (0, made.symbol("x", GLOBAL_OBJECT, 0xFFF1), R_64_64)),
     "relocation to x: is in no section (SHN_ABS); define it in the program"),
    (lambda made: made.symbol("x", GLOBAL_OBJECT, 0xFFF2),
     "x: is a common symbol, which has no place yet; give it a value or use -fno-common"),
    (relocation(0, 3, R_ABS32, 3), "relocation of .data to total: type 3; only whole 64-bit addresses are supported"),
    (relocation(4, 3, R_ABS64, 3), "relocation at 0x4: its section has 8 bytes; rebuild"),
    (lambda made: made.relocate(2, (72, made.symbol("gone", GLOBAL_NOTYPE, 0), R_64_32)),
     "gone: is neither defined here nor a service; services are: wake; define it"),
    (lambda made: made.relocate(3, (0, made.symbol("gone", GLOBAL_NOTYPE, 0), R_ABS64)),
     "gone: is neither defined here nor a service; services are: wake; define it"),
    (relocation(72, 3, R_64_32), "call of total: is no function of the program; define it in its code"),
    (lambda made: made.section(".rela2", bytes(24), 0, RELA, 2), "section .rela2: has addends of its own"),
    (replace_section(1, content=bytes.fromhex("0d01000000000000")), "offset 0x40: gotox: jumps through a register are"),
    (lambda made: made.relocate(2, (72, made.symbol("off", GLOBAL_FUNCTION, 2, 1 << 20), R_64_32)),
     "call of off: slot 131"),
    (lambda made: made.relocate(2, (0, made.symbol("off", GLOBAL_OBJECT, 3, 1 << 20), R_64_64)),
     "relocation to off: 0x200000000100018 is outside code and state; rebuild"),
    (lambda made: made.relocate(2, (0, made.symbol("off", GLOBAL_FUNCTION, 2, 4), R_64_64)),
     "relocation to off: 0x40000000000001c is outside code and state; rebuild"),
    (lambda made: made.symbol("odd", GLOBAL_FUNCTION, 2, 4), "function odd: at 0x4; it is no slot of its section"),
    (lambda made: made.symbol("far", GLOBAL_FUNCTION, 2, 8000), "function far: at 0x1f40; it is no slot"),
    (lambda made: made.sections.clear(), "offset 0x0: code: no executable section has any; compile a function"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "error"), UNSUPPORTED, ids=[error[:40] for _, error in UNSUPPORTED])
def test_unsupported_objects(change: Callable[[Object], object], error: str) -> None:
    with pytest.raises(ObjectError) as caught:
        load(changed(change), name="x.o", symbols=SYMBOLS)
    assert str(caught.value).startswith("x.o: offset 0x")
    assert error in str(caught.value)


def test_what_is_no_object_at_all() -> None:
    for data, error in ((b"", "magic: nothing"), (b"#!/bin/sh", "magic: 23212f62"), (b"\x7fELF", "is damaged")):
        with pytest.raises(ObjectError, match=error):
            load(data, name="x.o")


@pytest.mark.parametrize(
    ("at", "value", "error"),
    [
        (0x3A, 0, "offset 0x3a: section headers: 8 of 0 bytes at 0x"),  # the reader would see one header for ever
        (0x3C, 0, "offset 0x3a: section headers: 0 of 64 bytes at 0x"),  # their number would stand in the first
        (0x3C, 9000, "offset 0x3a: section headers: 9000 of 64 bytes at 0x"),
    ],
)
def test_section_headers_that_are_not_there(at: int, value: int, error: str) -> None:
    data = bytearray(write(assemble("exit", source="x"), manifest=""))
    struct.pack_into("<H", data, at, value)
    with pytest.raises(ObjectError, match=error.replace("8 of 0", r"\d of 0")):
        load(bytes(data), name="x.o")


def damaged_is_refused_or_read(data: bytes) -> bool:
    """Whether it was read. What is read runs or is refused; any other error escapes and fails the test."""
    try:
        program = load(data, name="x.o", symbols=SYMBOLS)
    except ObjectError as error:
        assert str(error).startswith("x.o: offset 0x")  # noqa: PT017 - both ends are allowed
        return False
    with contextlib.suppress(InsertionRefused):
        assert run(program, entry=next(iter(program.entries))).instructions > 0
    return True


def test_every_truncation_is_refused() -> None:
    data = good().bytes()
    assert not any(damaged_is_refused_or_read(data[:length]) for length in range(0, len(data), 3))


def test_mutations_never_raise_a_bare_error() -> None:
    data = good().bytes()
    generator = random.Random(3)
    read = 0
    for at in range(len(data)):
        damaged = bytearray(data)
        damaged[at] ^= generator.randrange(1, 256)
        read += damaged_is_refused_or_read(bytes(damaged))
    for _ in range(500):
        damaged = bytearray(data)
        for _ in range(generator.randint(2, 8)):
            damaged[generator.randrange(len(data))] = generator.choice((0, 1, 0x7F, 0x80, 0xFF))
        read += damaged_is_refused_or_read(bytes(damaged))
    assert 0 < read < len(data) + 500


LLVM = r"""
target triple = "bpfel"
@counter = global i64 5
@table = internal global [4 x i32] [i32 10, i32 20, i32 30, i32 40]
@last = internal global i64 0
@primes = internal constant [4 x i32] [i32 7, i32 11, i32 13, i32 17], section ".rodata"
declare i64 @wake(i64)
define internal i64 @triple(i64 %x) noinline {
  %y = mul i64 %x, 3
  ret i64 %y
}
define i64 @event(i64 %x) noinline section "events" {
  %y = call i64 @triple(i64 %x)
  %c = load volatile i64, ptr @counter
  %z = add i64 %y, %c
  ret i64 %z
}
define i64 @main(i64 %i) {
  %p = getelementptr [4 x i32], ptr @table, i64 0, i64 %i
  %v = load volatile i32, ptr %p
  %w = zext i32 %v to i64
  %f = call i64 @event(i64 %w)
  store volatile i64 %f, ptr @last
  %q = getelementptr [4 x i32], ptr @primes, i64 0, i64 %i
  %t = load volatile i32, ptr %q
  %u = zext i32 %t to i64
  %g = load volatile i64, ptr @last
  %r = add i64 %g, %u
  %s = call i64 @wake(i64 %r)
  %a = add i64 %r, %s
  ret i64 %a
}
"""


@pytest.mark.parametrize("cpu", ["v1", "v2", "v3", "v4"])
def test_an_object_from_llvm(cpu: str) -> None:
    llvm = pytest.importorskip("llvmlite.binding", reason="llvmlite makes the object")
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple("bpfel").create_target_machine(cpu=cpu)
    program = load(machine.emit_object(llvm.parse_assembly(LLVM)), name="llvm.o", symbols=SYMBOLS)
    assert {"main", "event", "events"} == set(program.entries)
    for index, (entry, prime) in enumerate(((10, 7), (20, 11), (30, 13), (40, 17))):
        assert run(program, index).r0 == entry * 3 + 5 + prime + 0x9000
