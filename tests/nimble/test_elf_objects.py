"""Objects that compilers made (objects/build.sh), run, and compared with answers worked out by hand from their C."""

from __future__ import annotations

import contextlib
import io
import random
import struct
from itertools import pairwise
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from nimble.access import READ_WRITE, STATE_BASE, TEXT_BASE, AddressSpace, Memory, Window, state_window
from nimble.assembler import assemble, disassemble
from nimble.elf import ObjectError, load
from nimble.engine.closures import translate
from nimble.engine.outcome import Outcome, Status, no_time
from nimble.isa import Group
from nimble.program import Program, SourceLine
from nimble.services import Service, Services
from nimble.verifier import InsertionRefused

OBJECTS = Path(__file__).parent / "objects"
MEMORY_BASE = 0x1000
SERVICES = Services([Service(6, "wake", lambda process, *_: 0x9000 + process, "a number")])


def read(name: str) -> Program:
    return load((OBJECTS / name).read_bytes(), name=name, symbols=SERVICES.symbols())


def run(program: Program, entry: str, args: tuple[int, ...], memory: bytearray | None = None) -> Outcome:
    state = state_window(bytearray(program.state))
    windows = [state] if state else []
    if memory is not None:
        windows.append(Window("memory", MEMORY_BASE, len(memory), READ_WRITE, Memory(memory)))
    thread = translate(program, space=AddressSpace(windows), services=SERVICES, checked=True)
    return thread.run(entry, args, budget=1000, spend=no_time)


def negative(value: int) -> int:
    return value % (1 << 64)


BYTES = bytes.fromhex("fe 00 34 82 f0 ff ff ff")  # -2; its second half -32204; its second word -16
SECTIONS = [
    # table[i] * 3 + 6, + 1, + primes[i], + 11, + wake(i)
    ("start", (0,), 30 + 6 + 1 + 7 + 11 + 0x9000),
    ("start", (1,), 60 + 6 + 1 + 11 + 11 + 0x9001),
    ("start", (2,), 90 + 6 + 1 + 13 + 11 + 0x9002),
    ("start", (3,), 120 + 6 + 1 + 17 + 11 + 0x9003),
    ("event", (50,), 156),
    ("event/in", (50,), 156),
    ("note", (50,), 51),
    ("helpers", (50,), 51),
]
TABLES = [
    ("choose", (0, 5, 3), 8),
    ("choose", (1, 5, 3), 15),
    ("choose", (2, 5, 3), 2),
    ("exchange", (5, 3), 8),
    ("passed", (0, 5, 3), 11),
    ("passed", (1, 20, 3), 14),
    ("service", (7, 2), 0x9002 + 7),
]
WIDTHS = [
    ("extend", (MEMORY_BASE,), negative(-2 - 3 * 32204 - 5 * 16)),
    ("narrow", (0x1_8000_FF80,), negative(-128 - 128 - 0x8000_0000 + 0xFF80)),
    ("divide", (100, 7), 14 + 14 + 2),
    ("swap", (0x0102030405060708,), 0x080706050C040C03),
    ("compare", (negative(-2), 2), 80),  # 2, 8, 26, 80
    ("compare", (3, 7), 81),  # 2, 8, 26, 81
    ("gather", (MEMORY_BASE, 4), (0xFE + 0x34 + 0x82) % 256),
]
ATOMICS = [("atomics", (7,), 123254093 + 3), ("atomics32", (5,), 0xFFFF_FFFE + 3)]
ANSWERS = [
    *((f"sections-{cpu}.o", *row) for cpu in ("v1", "v2", "v3", "v4", "g", "clang14") for row in SECTIONS),
    *((f"tables-{cpu}.o", *row) for cpu in ("v1", "v2", "v3", "v4", "clang14") for row in TABLES),
    *((f"widths-{cpu}.o", *row) for cpu in ("v1", "v2", "v3", "v4") for row in WIDTHS),
    ("widths-v4.o", "signed_division", (negative(-7), 2), negative(-301)),
    *((f"atomics-{cpu}.o", *row) for cpu in ("v3", "v4") for row in ATOMICS),
    ("map-g.o", "map", (2, 7), 7011),
    ("map-g.o", "map", (5, 7), negative(-1)),
    ("map-plain.o", "map", (5, 7), negative(-1)),
]


@pytest.mark.parametrize(("name", "entry", "args", "answer"), ANSWERS)
def test_answers(name: str, entry: str, args: tuple[int, ...], answer: int) -> None:
    memory = bytearray(BYTES)
    outcome = run(read(name), entry, args, memory)
    assert (outcome.status, outcome.r0) == (Status.RETURNED, answer), outcome.reason
    assert memory == (bytes.fromhex("01 ff cb 7d f0 ff ff ff") if entry == "gather" else BYTES)


def test_every_cpu_version_uses_what_is_new_in_it() -> None:
    """Otherwise the objects above would all be the same."""
    used = {cpu: {row.mnemonic for _, _, row in read(f"widths-{cpu}.o").starts} for cpu in ("v1", "v2", "v3", "v4")}
    less = {"jlt", "jle", "jslt", "jsle"}
    assert not used["v1"] & less
    assert used["v2"] & less
    assert not used["v2"] & {"jsgt32", "jslt32", "jlt32"}
    assert used["v3"] & {"jsgt32", "jslt32", "jlt32"}
    assert {"sdiv", "ldxsb", "ldxsh", "ldxsw", "movsx864", "bswap64"} <= used["v4"]


def test_where_things_lie() -> None:
    program = read("sections-g.o")
    # .text first: triple 0, start 3; event/in and helpers behind its 35 slots.
    assert program.entries == {"start": 3, "event/in": 35, "event": 35, "helpers": 43, "note": 43}
    # .data: counter, cursor -> recent[2], table; .bss: recent and last; .rodata: primes, second_prime.
    data, bss, rodata = program.state[:32], program.state[32:64], program.state[64:]
    assert struct.unpack("<QQ4I", data) == (5, STATE_BASE + 32 + 16, 10, 20, 30, 40)
    assert bss == bytes(32)
    assert struct.unpack("<4IQ", rodata) == (7, 11, 13, 17, STATE_BASE + 64 + 4)
    assert assemble(disassemble(program)) == program


def test_tables_hold_the_addresses_of_functions() -> None:
    for name in ("tables-v1.o", "tables-clang14.o"):
        program = read(name)
        addresses = struct.unpack("<5Q", program.state)
        at = {slot - TEXT_BASE: index for index, slot in enumerate(addresses)}
        assert len(at) == 3  # add and multiply are in the table twice
        assert {TEXT_BASE, TEXT_BASE + 8 * 3} <= set(addresses)  # add and multiply, which nothing else names
        assert addresses.count(TEXT_BASE + 8 * program.entries["subtract"]) == 1
        assert all(slot.dst and not slot.imm for _, slot, row in program.starts if row.group is Group.CALL_REGISTER)
        assert assemble(disassemble(program)) == program


def test_lddw_of_a_service_is_its_number() -> None:
    program = read("tables-v3.o")
    assert "lddw %r1, 0x6" in disassemble(program)


def test_maps() -> None:
    assert read("map-g.o").state == bytes(5 * 16 + 3 * 16)
    assert read("map-plain.o").state == bytes(64)  # without type information it is what its section holds


# Lines


@pytest.mark.parametrize("name", ["fault-dwarf5.o", "fault-dwarf4.o", "fault-clang14.o"])
def test_a_fault_names_its_line(name: str) -> None:
    program = read(name)
    assert sorted(set(program.lines.values())) == [SourceLine("fault.c", line) for line in (5, 6, 10)]
    outcome = run(program, "start", (0x10,))
    assert outcome.status is Status.FAULT
    assert outcome.reason.startswith("fault.c:5: pc 3: ldxdw %r0, [%r1]: ")


def reference_lines(data: bytes) -> dict[int, int]:
    """Line by slot, by pyelftools, of an object whose code is all in one section."""
    found: dict[int, int] = {}
    dwarf = ELFFile(io.BytesIO(data)).get_dwarf_info()
    for unit in dwarf.iter_CUs():
        rows = [row.state for row in dwarf.line_program_for_CU(unit).get_entries() if row.state]
        for row, behind in pairwise(rows):
            if not row.end_sequence and row.line:
                found.update(dict.fromkeys(range(row.address // 8, behind.address // 8), row.line))
    return found


def test_lines_are_those_of_another_reader() -> None:
    data = (OBJECTS / "map-g.o").read_bytes()
    expected = reference_lines(data)
    assert len(expected) > 20
    assert {pc: line.line for pc, line in read("map-g.o").lines.items()} == expected


# Refusals


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("common-c.o", "offset 0x0: total: is a common symbol, which has no place yet; give it a value or use "),
        ("hash_map-g.o", "offset 0x70: map table: type 1; only arrays (2) are supported, as state that the program "),
    ],
)
def test_refused(name: str, error: str) -> None:
    with pytest.raises(ObjectError) as caught:
        read(name)
    assert str(caught.value).startswith(f"{name}: {error}")


@pytest.mark.parametrize("name", ["sections-g.o", "tables-clang14.o", "map-g.o", "fault-dwarf4.o", "atomics-v4.o"])
def test_damage_is_refused_or_read(name: str) -> None:
    """Whatever byte is wrong or missing: an ObjectError with an offset, or a program that runs or is refused."""
    data = (OBJECTS / name).read_bytes()
    generator = random.Random(name)
    read_again = 0
    for _ in range(400):
        damaged = bytearray(data[: generator.randrange(len(data))] if generator.random() < 0.1 else data)
        for _ in range(generator.choice((1, 1, 1, 3)) if damaged else 0):
            damaged[generator.randrange(len(damaged))] = generator.choice((0, 1, 2, 0x7F, 0x80, 0xFF))
        try:
            program = load(bytes(damaged), name="x.o", symbols=SERVICES.symbols())
        except ObjectError as error:
            assert str(error).startswith("x.o: offset 0x")  # noqa: PT017 - both ends are allowed
            continue
        read_again += 1
        with contextlib.suppress(InsertionRefused):
            run(program, next(iter(program.entries)), (1, 2, 3))
    assert read_again
