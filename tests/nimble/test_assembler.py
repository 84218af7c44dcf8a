"""Text to code and back, names for numbers, and the text of each error."""

from __future__ import annotations

import random
import struct

import pytest

from nimble.access import STATE_BASE, TEXT_BASE
from nimble.assembler import AssemblyError, assemble, disassemble
from nimble.isa import TABLE, Instruction, InstructionError, Operand, encode
from nimble.program import Program, SourceLine

SYMBOLS = {"NIC.BASE": 0x4000_0000_0000, "NIC.INT_STATUS": 0x10, "NIC.DEPTH": 3, "log": 7, "kernel.wake": 12}

# Each line of text and its slot, from RFC 9669's tables.
ENCODED = [
    ("mov %r0, 1", "b7 00 00 00 01 00 00 00"),
    ("mov r0, r1", "bf 10 00 00 00 00 00 00"),
    ("mov32 %r1, 0xffffffff", "b4 01 00 00 ff ff ff ff"),
    ("add %r1, -1", "07 01 00 00 ff ff ff ff"),
    ("neg32 %r4", "84 04 00 00 00 00 00 00"),
    ("swap32 %r4", "d7 04 00 00 20 00 00 00"),
    ("movsx832 %r1, %r2", "bc 21 08 00 00 00 00 00"),
    ("ldxdw %r1, [%r2+8]", "79 21 08 00 00 00 00 00"),
    ("ldxb %r1, [ r2 - 1 ]", "71 21 ff ff 00 00 00 00"),
    ("ldxw %r1, [%r6 + NIC.INT_STATUS]", "61 61 10 00 00 00 00 00"),
    ("ldxw %r1, [%r6 - 4 + NIC.DEPTH*8]", "61 61 14 00 00 00 00 00"),
    ("stxw [%r1-4], %r2", "63 21 fc ff 00 00 00 00"),
    ("stw [%r1], 5", "62 01 00 00 05 00 00 00"),
    ("lddw %r1, 0x1122334455667788", "18 01 00 00 88 77 66 55 00 00 00 00 44 33 22 11"),
    ("lddw %r6, NIC.BASE | 1<<NIC.DEPTH", "18 06 00 00 08 00 00 00 00 00 00 00 00 40 00 00"),
    ("lddw %r6, -1", "18 06 00 00 ff ff ff ff 00 00 00 00 ff ff ff ff"),
    ("lddw %r6, STATE + 8", "18 06 00 00 08 00 00 00 00 00 00 00 00 00 00 02"),
    ("jeq %r1, 0, +2", "15 01 02 00 00 00 00 00"),
    ("jne32 %r1, %r2, -1", "5e 21 ff ff 00 00 00 00"),
    ("ja -1", "05 00 ff ff 00 00 00 00"),
    ("ja32 -1", "06 00 00 00 ff ff ff ff"),
    ("gotol +0", "06 00 00 00 00 00 00 00"),
    ("lock add [%r1], %r2", "db 21 00 00 00 00 00 00"),
    ("lock fetch_add32 [%r1+4], %r2", "c3 21 04 00 01 00 00 00"),
    ("lock fetch add32 [%r1+4], %r2", "c3 21 04 00 01 00 00 00"),
    ("lock xchg [%r1], %r2", "db 21 00 00 e1 00 00 00"),
    ("lock cmpxchg [%r1], %r2", "db 21 00 00 f1 00 00 00"),
    ("call 5", "85 00 00 00 05 00 00 00"),
    ("call kernel.wake", "85 00 00 00 0c 00 00 00"),
    ("call local -2", "85 10 00 00 fe ff ff ff"),
    ("exit", "95 00 00 00 00 00 00 00"),
    ("callx %r3", "8d 03 00 00 00 00 00 00"),
    ("here: lddw %r1, here", "18 01 00 00 00 00 00 00 00 00 00 00 00 00 00 04"),
    ("lddw %r1, 8 + here\nhere: exit", "18 01 00 00 18 00 00 00 00 00 00 00 00 00 00 04 95 00 00 00 00 00 00 00"),
    ("mov %r0, (1 + 2) * 3 - 1 << 2 | 0b1", "b7 00 00 00 21 00 00 00"),
    ("mov %r0, -(2 - 5)", "b7 00 00 00 03 00 00 00"),
    ("mov %r0, 007", "b7 00 00 00 07 00 00 00"),
]


@pytest.mark.parametrize(("text", "slots"), ENCODED)
def test_encoded(text: str, slots: str) -> None:
    assert encode(assemble(text, symbols=SYMBOLS).instructions).hex(" ") == slots


def test_labels_entries_names_state_and_comments() -> None:
    program = assemble(
        """
        # a comment; and more
        .equ STEP, 4
        .equ COUNTER, STATE + STEP * 2      ; a name from names
        .byte 1, 0xff, -1
        .state 5
        .quad 0x1122334455667788
        .entry interrupt
        .entry also
        lddw %r1, COUNTER
        again: ldxw %r2, [%r1+STEP]   # label and instruction
        jeq %r2, 0, exit
        ja again
        .entry start
        out: other:
        call local again
        exit
        """,
        source="drivers/nic.asm",
    )
    assert program.entries == {"interrupt": 0, "also": 0, "start": 5}
    assert program.state.hex() == "01ffff0000000000" + "8877665544332211"
    assert program.name == "nic"
    assert program.lines[0] == SourceLine("drivers/nic.asm", 10)
    assert program.where(5) == "drivers/nic.asm:16: pc 5"
    jeq, ja, call = program.instructions[3:6]
    assert (jeq.offset, ja.offset, call.imm) == (2, -3, -4)
    assert program.instructions[0].imm + (program.instructions[1].imm << 32) == STATE_BASE + 8


def test_without_an_entry_main_is_the_first_instruction() -> None:
    assert assemble("exit").entries == {"main": 0}


def test_exit_is_a_label_unless_defined() -> None:
    assert assemble("ja exit\nmov %r0, 1\nexit\nexit").instructions[0].offset == 1
    assert assemble("ja exit\nexit\nexit: mov %r0, 1\nexit").instructions[0].offset == 1


def random_instruction(generator: random.Random) -> list[Instruction]:
    row = generator.choice(TABLE)
    fields = dict(row.fixed)
    second: list[Instruction] = []
    for operand in row.operands:
        if operand in (Operand.DST, Operand.AT_DST):
            fields["dst"] = generator.randrange(11)
        if operand in (Operand.SRC, Operand.AT_SRC):
            fields["src"] = generator.randrange(11)
        if operand in (Operand.AT_DST, Operand.AT_SRC, Operand.TARGET):
            fields["offset"] = generator.choice((-32768, -3, -1, 0, 1, 2, 5, 32767))
        if operand in (Operand.IMMEDIATE, Operand.WIDE, Operand.FAR_TARGET, Operand.FUNCTION):
            fields["imm"] = generator.choice((-(1 << 31), -2, -1, 0, 1, 3, 80, (1 << 31) - 1))
        if operand is Operand.SERVICE:
            fields["imm"] = generator.randrange(1 << 31)
        if operand is Operand.WIDE:
            second.append(Instruction(0, imm=generator.choice((-(1 << 31), -1, 0, 1, TEXT_BASE >> 32))))
    return [Instruction(row.opcode, **fields), *second]


def test_a_table_of_functions_in_the_state() -> None:
    program = assemble(".byte 7\n.state 7\n.quad twice, one + 8, -1\none: exit\ntwice: exit\n")
    assert struct.unpack("<8xQQQ", program.state) == (TEXT_BASE + 8, TEXT_BASE + 8, (1 << 64) - 1)


def test_function_addresses_and_odd_entries_in_text() -> None:
    program = Program(
        instructions=assemble("lddw %r1, f\nlddw %r2, 0x400000000000038\ncallx %r1\nexit\nf: exit").instructions,
        entries={"xdp/in; #1": 0, 'a "quoted" name': 6, "tc@egress-1*": 5, "é\u2028": 0},
    )
    text = disassemble(program)
    assert text == (
        '.entry "xdp/in; #1"\n.entry "\\u00e9\\u2028"\n    lddw %r1, L6\n    lddw %r2, 0x400000000000038\n'
        '    callx %r1\n.entry tc@egress-1*\n    exit\n.entry "a \\"quoted\\" name"\nL6:\n    exit\n'
    )
    assert assemble(text) == program


def test_an_entry_that_is_no_instruction_has_no_text() -> None:
    program = Program(instructions=assemble("lddw %r1, 5\nexit").instructions, entries={"odd": 1})
    with pytest.raises(InstructionError, match=r"^program: entry odd: pc 1 is no instruction; point it at one$"):
        disassemble(program)


@pytest.mark.parametrize("seed", range(20))
def test_the_round_trip_is_exact(seed: int) -> None:
    generator = random.Random(seed)
    code: list[Instruction] = []
    starts: list[int] = []
    while len(code) < 200:
        starts.append(len(code))
        code += random_instruction(generator)
    program = Program(
        instructions=tuple(code),
        entries={f"entry_{index}": generator.choice(starts) for index in range(5)},
        state=generator.choice((b"", bytes(7), b"\0\1\2", generator.randbytes(9) + bytes(20))),
    )
    text = disassemble(program)
    assert assemble(text) == program
    assert disassemble(assemble(text)) == text


ERRORS = [
    ("moov %r0, 1", "moov: unknown instruction; 108 are known; did you mean mov?"),
    ("zzzzzz", "zzzzzz: unknown instruction; 108 are known; see nimble/isa.py for the table"),
    ("mov %r0", "mov: 1 operands; it takes 2; write mov %r1, 1"),
    ("exit 1", "exit: 1 operands; it takes 0; write exit"),
    ("lock add [%r1]", "lock add: 1 operands; it takes 2; write lock add [%r1+8], %r2"),
    ("lock sub [%r1], %r2", "lock sub: unknown instruction; 108 are known; did you mean"),
    ("mov %r11, 1", "register: %r11; registers are %r0..%r10; name one of them"),
    ("mov 5, 1", "register: 5; registers are %r0..%r10; name one of them"),
    ("mov %r0, %r11", "register: %r11; registers are %r0..%r10; name one of them"),
    ("mov %r0, %x", "register: %x; registers are %r0..%r10; name one of them"),
    ("mov %r0, ", "nothing: a number or a name is missing; write one"),
    ("mov %r0, 0x100000000", "immediate: 4294967296 is out of range -2147483648..4294967295; use a value that fits"),
    ("mov %r0, -2147483649", "immediate: -2147483649 is out of range -2147483648..4294967295; use a value"),
    ("lddw %r0, 1 << 63 << 1", "1 << 63 << 1: 0x10000000000000000 does not fit 64 bits; make it smaller"),
    ("lddw %r0, -0x8000000000000001", "immediate: -9223372036854775809 is out of range -9223372036854775808.."),
    ("ldxw %r0, [%r1+32768]", "offset: 32768 is out of range -32768..32767; use a value that fits"),
    ("ldxw %r0, %r1", "address: %r1; an address is a register and an offset; write [%r1+8]"),
    ("ldxw %r0, [%r1+]", "+: a number or a name is missing; write one"),
    ("ldxw %r0, [%r1 8]", "address: [%r1 8]; an address is a register and an offset; write [%r1+8]"),
    ("ja nowhere", "label: nowhere: is not defined; write nowhere: before an instruction"),
    ("ja lop\nloop: exit", "label: lop: is not defined; did you mean loop?"),
    ("ja +40000", "jump to +40000: 40000 slots; -32768..32767 fit; use gotol, which reaches further"),
    ("mov %r0, NIC.BAES", "NIC.BAES: unknown name; did you mean NIC.BASE?"),
    ("mov %r0, qqq", "qqq: unknown name; define it with .equ or pass it in symbols"),
    ("mov %r0, 1 +", "1 +: a number or a name is missing; write one"),
    ("mov %r0, (1", "(1: a parenthesis is not closed; add )"),
    ("mov %r0, 1 2", "1 2: '2' does not continue an expression; use + - * << |"),
    ("mov %r0, 1 / 2", "1 / 2: '/ 2' is no number, name or one of + - * << | ( )"),
    ("mov %r0, 12ab", "12ab: '12ab' is no number, name or one of"),
    ("mov %r0, 1 << 64", "1 << 64: shift by 64 is out of range 0..63; shift less"),
    ("mov %r0, " + "(" * 50 + "1" + ")" * 50, "nested deeper than 32; simplify it"),
    ("mov %r0, " + "9" * 5000, "does not fit 64 bits; make it smaller"),
    ("call f\nf: exit", "call f: is a label, not a service; write call local f"),
    ("call -1", "service: -1 is out of range 0..2147483647; use a value that fits"),
    ("ldabsw 4", "ldabsw: unknown instruction"),
    ("ldabs %r1, 4", "ldabs: legacy packet access is deprecated by RFC 9669; load from a window with ldx"),
    (".entry\nexit", ".entry: 'nothing' is not one name; write .entry NAME"),
    ('.entry "a\nexit', '.entry: "a is no JSON string; write .entry NAME or .entry "NAME"'),
    ('.entry ""\nexit', '.entry: "" is no JSON string; write .entry NAME or .entry "NAME"'),
    (".entry a b\nexit", ".entry: 'a b' is not one name; write .entry NAME"),
    ("exit\n.entry late", ".entry late: no instruction follows; put it before one"),
    (".entry a\n.entry a\nexit", "entry a: is defined twice; each name stands once; rename one"),
    ("a: exit\na: exit", "label a: is defined twice; each name stands once; rename one"),
    (".equ A", ".equ: 'A' is not a name and a value; write .equ NAME, value"),
    (".equ r1, 5", ".equ: r1 is taken; registers and given symbols keep their meaning; choose another name"),
    (".equ STATE, 5", ".equ: STATE is taken; registers and given symbols keep their meaning"),
    (".equ log, 5", ".equ: log is taken; registers and given symbols keep their meaning"),
    (".equ A, 1\n.equ A, 2", "name A: is defined twice; each name stands once; rename one"),
    (".state 1048577", ".state: 1048577 is out of range 0..1048576; use a value that fits"),
    (".state -1", ".state: -1 is out of range 0..1048576; use a value that fits"),
    (".state 1048576\n.byte 1", "state: 1048577 is out of range 0..1048576; use a value that fits"),
    (".byte 256\nexit", "value: 256 is out of range -128..255; use a value that fits"),
    (".word 1", ".word: unknown directive; known are .entry, .equ, .state, .byte, .quad; use one of them"),
    ("", "the text has no instruction; a program needs one or more; end it with exit"),
]


@pytest.mark.parametrize(("text", "error"), ERRORS, ids=lambda text: text[:30])
def test_each_error_names_line_value_bound_and_remedy(text: str, error: str) -> None:
    with pytest.raises(AssemblyError) as caught:
        assemble(text, symbols=SYMBOLS, source="x.asm")
    place, _, rest = str(caught.value).partition(": ")
    assert error in rest
    assert place in ("x.asm:1", "x.asm:2")


def test_an_error_names_its_own_line() -> None:
    with pytest.raises(AssemblyError, match=r"^x\.asm:3: label: b: is not defined"):
        assemble("exit\n\nja b\nexit", source="x.asm")


def test_damaged_text_is_never_a_bare_error() -> None:
    """Random edits of a good text either assemble or are refused with a place."""
    good = ".state 8\n.equ A, 1<<4\nlddw %r1, STATE+A\nl: ldxw %r0, [%r1+4]\nlock add [%r1], %r0\n"
    good += "jeq %r0, (A|2), l\nexit\n"
    generator = random.Random(1)
    refused = 0
    for _ in range(2000):
        text = list(good)
        for _ in range(generator.randint(1, 4)):
            text[generator.randrange(len(text))] = generator.choice("%r[]()+-*|<,:;#. \n09xA\0é٣")
        try:
            assemble("".join(text), source="x.asm")
        except AssemblyError as error:
            refused += 1
            assert str(error).startswith("x.asm:")  # noqa: PT017 - both ends are allowed
    assert refused > 1000
