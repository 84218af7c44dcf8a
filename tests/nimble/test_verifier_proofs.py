"""Which accesses are proved, and why the others are not: a table of programs, and what people are told of them."""

from __future__ import annotations

import re

import pytest

from nimble.access import STATE_BASE, AddressSpace, Memory, Registers, Right, Window
from nimble.assembler import assemble
from nimble.isa import Group
from nimble.services import Argument, Service, Services
from nimble.verifier import access_report, proofs, verify

BOTH = Right.READ | Right.WRITE
TABLE = Window("table", 0x10000, 4096, BOTH, Memory(bytearray(4096)))
QUEUE = Window("queue", 0x20000, 3072, Right.READ, Memory(bytearray(3072)))
ODD = Window("odd", 0x30001, 64, BOTH, Memory(bytearray(64)))
DEVICE = Window("device", 0x40000, 64, BOTH, Registers(lambda *_: 0, lambda *_: None), widths=(4, 8), origin=4)
STATE = Window("state", STATE_BASE, 256, BOTH, Memory(bytearray(256)))
SPACE = AddressSpace([TABLE, QUEUE, ODD, DEVICE, STATE])
SERVICES = Services(
    [
        Service(1, "random", lambda *_: 0, "a number"),
        Service(2, "wake", lambda *_: 0, "wakes", (Argument("process", 15), Argument("signal", 63))),
    ]
)
BY_INDEX = "lddw %r6, 0x10000\nadd %r6, %r1\n"

# A name, the program, and for each access in its order the window in which it is proved ("-": none).
PROGRAMS = [
    ("a constant address", "lddw %r6, 0x10000\nstdw [%r6+4088], 1\nstdw [%r6+4089], 1\nexit", "table -"),
    ("before and behind", "lddw %r6, 0x10000\nstb [%r6-1], 1\nstb [%r6+4096], 1\nstb [%r6+4095], 1\nexit", "- - table"),
    ("state", f"lddw %r6, {STATE_BASE}\nldxdw %r0, [%r6+248]\nldxdw %r0, [%r6+249]\nexit", "state -"),
    ("no right to write", "lddw %r6, 0x20000\nldxw %r0, [%r6]\nstw [%r6], 1\nlock add [%r6], %r1\nexit", "queue - -"),
    ("a masked index", f"and %r1, 511\nlsh %r1, 3\n{BY_INDEX}ldxdw %r0, [%r6]\nexit", "table"),
    ("a mask too wide", f"and %r1, 1023\nlsh %r1, 3\n{BY_INDEX}ldxdw %r0, [%r6]\nexit", "-"),
    ("masked behind the shift", f"lsh %r1, 3\nand %r1, 4088\n{BY_INDEX}lock xor [%r6], %r1\nexit", "table"),
    ("an atomic that may not be aligned", f"and %r1, 4084\n{BY_INDEX}lock xor [%r6], %r1\nexit", "-"),
    ("a narrow atomic on the same", f"and %r1, 4084\n{BY_INDEX}lock xor32 [%r6], %r1\nexit", "table"),
    ("unaligned loads of memory", f"and %r1, 4087\n{BY_INDEX}ldxdw %r0, [%r6+1]\nexit", "table"),
    ("atomics in a window with an odd base", "lddw %r6, 0x30001\nlock xor32 [%r6+3], %r1\nlock xor32 [%r6], %r1\nexit", "odd -"),
    ("records", "and %r1, 63\nmul %r1, 48\nlddw %r6, 0x20000\nadd %r6, %r1\nldxdw %r0, [%r6+40]\nldxdw %r0, [%r6+41]\nexit", "queue -"),
    ("modulo", f"mod %r1, 512\nmul %r1, 8\n{BY_INDEX}ldxdw %r0, [%r6]\nexit", "table"),
    ("device registers", "lddw %r6, 0x40000\nldxw %r0, [%r6+4]\nldxdw %r0, [%r6+4]\nldxdw %r0, [%r6+8]\nldxb %r0, [%r6]\nexit", "device device - -"),
    ("a 32-bit index", f"mov32 %r1, %r1\njgt32 %r1, 511, exit\nlsh %r1, 3\n{BY_INDEX}ldxdw %r0, [%r6]\nexit", "table"),
    ("a compared index", f"jgt %r1, 4088, exit\n{BY_INDEX}ldxdw %r0, [%r6]\nexit", "table"),
    ("compared one too far", f"jgt %r1, 4089, exit\n{BY_INDEX}ldxdw %r0, [%r6]\nexit", "-"),
    ("compared with its sign only", f"jsgt %r1, 4088, exit\n{BY_INDEX}ldxdw %r0, [%r6]\nexit", "-"),
    ("compared with both signs", f"jsgt %r1, 4088, exit\njslt %r1, 0, exit\n{BY_INDEX}ldxdw %r0, [%r6]\nexit", "table"),
    ("compared in 32 bits, used in 64", f"jgt32 %r1, 4088, exit\n{BY_INDEX}ldxdw %r0, [%r6]\nexit", "-"),
    ("while i < N", f"mov %r1, 0\nnext: jge %r1, 4089, exit\n{BY_INDEX}ldxdw %r0, [%r6]\nadd %r1, 8\nja next\nexit", "table"),
    ("until i == N", f"mov %r1, 0\nnext: {BY_INDEX}stdw [%r6], 1\nadd %r1, 8\njne %r1, 4096, next\nexit", "table"),
    ("down to 0", f"mov %r1, 4096\nnext: {BY_INDEX}stdw [%r6-8], 1\nsub %r1, 8\njne %r1, 0, next\nexit", "table"),
    ("signed and 32 bits", f"mov32 %r1, 0\nnext: {BY_INDEX}stb [%r6], 1\nadd32 %r1, 1\njslt32 %r1, 4096, next\nexit", "table"),
    ("a pointer that moves to its end", "lddw %r6, 0x10000\nlddw %r7, 0x11000\nnext: stdw [%r6], 1\nadd %r6, 8\njne %r6, %r7, next\nexit", "table"),
    ("a step that jumps over the end", f"mov %r1, 0\nnext: {BY_INDEX}stdw [%r6], 1\nadd %r1, 24\njne %r1, 4096, next\nexit", "-"),
    ("nested loops", f"mov %r2, 0\nouter: mov %r1, %r2\nlsh %r1, 6\nmov %r3, 0\ninner: {BY_INDEX}stdw [%r6], 1\nadd %r1, 8\nadd %r3, 1\njlt %r3, 8, inner\nadd %r2, 1\njlt %r2, 63, outer\nexit", "-"),
    ("nested loops with indices of their own", "mov %r2, 0\nouter: mov %r3, 0\ninner: mov %r1, %r2\nlsh %r1, 6\nmov %r4, %r3\nlsh %r4, 3\nor %r1, %r4\n"
     f"{BY_INDEX}stdw [%r6], 1\nadd %r3, 1\njlt %r3, 8, inner\nadd %r2, 1\njlt %r2, 64, outer\nexit", "table"),
    ("two paths", "lddw %r6, 0x10000\njeq %r1, 0, +1\nadd %r6, 8\nstdw [%r6+4080], 1\nstdw [%r6+4088], 1\nexit", "table -"),
    ("two windows", "lddw %r6, 0x10000\njeq %r1, 0, +2\nlddw %r6, 0x20000\nldxw %r0, [%r6]\nexit", "-"),
    ("the stack", "stdw [%r10-512], 1\nldxb %r0, [%r10-1]\nlock add [%r10-8], %r1\nlock add [%r10-12], %r1\nexit", "stack stack stack -"),
    ("an index into the stack", "and %r1, 504\nmov %r6, %r10\nsub %r6, %r1\nldxdw %r0, [%r6-8]\nldxdw %r0, [%r6-9]\nldxdw %r0, [%r6]\nexit", "stack - -"),
    ("spilled", "lddw %r6, 0x10000\nstxdw [%r10-8], %r6\ncall 1\nldxdw %r6, [%r10-8]\nstdw [%r6], 1\nexit", "stack stack table"),
    ("spilled and overwritten", "lddw %r6, 0x10000\nstxdw [%r10-8], %r6\nstb [%r10-3], 1\nldxdw %r6, [%r10-8]\nstdw [%r6], 1\nexit", "stack stack stack -"),
    ("spilled, and a wild store", "lddw %r6, 0x10000\nstxdw [%r10-8], %r6\nstb [%r1], 1\nldxdw %r6, [%r10-8]\nstdw [%r6], 1\nexit", "stack - stack -"),
    ("spilled, and a store to a window", "lddw %r6, 0x10000\nstxdw [%r10-8], %r6\nstb [%r6], 1\nldxdw %r6, [%r10-8]\nstdw [%r6], 1\nexit", "stack table stack table"),
    ("spilled over a quiet call", "lddw %r6, 0x10000\nstxdw [%r10-8], %r6\ncall local f\nldxdw %r6, [%r10-8]\nstdw [%r6], 1\nexit\nf: stdw [%r10-8], 1\nexit", "stack stack table stack"),
    ("spilled over a wild call", "lddw %r6, 0x10000\nstxdw [%r10-8], %r6\ncall local f\nldxdw %r6, [%r10-8]\nstdw [%r6], 1\nexit\nf: stdw [%r1], 1\nexit", "stack stack - -"),
    ("spilled over a call of a wild call", "lddw %r6, 0x10000\nstxdw [%r10-8], %r6\ncall local f\nldxdw %r6, [%r10-8]\nstdw [%r6], 1\nexit\n"
     "f: call local g\nexit\ng: stdw [%r1], 1\nexit", "stack stack - -"),
    ("spilled over a call by register", "lddw %r6, 0x10000\nstxdw [%r10-8], %r6\nmov %r7, 1\ncallx %r7\nldxdw %r6, [%r10-8]\nstdw [%r6], 1\nexit", "stack stack -"),
    ("arguments of a function", "lddw %r1, 0x10000\ncall local f\nlddw %r1, 0x10008\ncall local f\nexit\nf: stdw [%r1+4080], 1\nstdw [%r1+4088], 1\nexit", "table -"),
    ("the frame of a caller", "mov %r1, %r10\nadd %r1, -8\ncall local f\nexit\nf: stdw [%r1], 1\nldxb %r0, [%r10-1]\nexit", "stack stack"),
    ("a function that is also called by register", "lddw %r1, 0x10000\ncall local f\nmov %r2, 1\ncallx %r2\nexit\nf: stdw [%r1], 1\nexit", "-"),
    ("recursion", "lddw %r1, 0x10000\ncall local f\nexit\nf: stdw [%r1], 1\nadd %r1, 8\njgt %r1, 0x10040, +1\ncall local f\nexit", "table"),
    ("a way that is never taken", "mov %r1, 1\njeq %r1, 1, exit\nlddw %r6, 0x10000\nstdw [%r6], 1\nexit", "-"),
]  # fmt: skip


def windows_of(text: str, **more: object) -> list[str]:
    program = assemble(text)
    facts = verify(program, SERVICES, SPACE, **more)
    groups = (Group.LOAD, Group.STORE, Group.ATOMIC)
    pcs = [pc for pc, _, row in program.starts if row.group in groups]
    assert set(facts.proved) <= set(pcs)
    return [facts.proved[pc].name if pc in facts.proved else "-" for pc in pcs]


@pytest.mark.parametrize(("text", "windows"), [row[1:] for row in PROGRAMS], ids=[row[0] for row in PROGRAMS])
def test_what_is_proved(text: str, windows: str) -> None:
    assert windows_of(text) == windows.split()


def test_arguments_that_are_windows() -> None:
    text = "stdw [%r1+4088], 1\nldxw %r0, [%r2]\nldxw %r0, [%r3]\nexit"
    assert windows_of(text) == ["-", "-", "-"]
    assert windows_of(text, arguments={"main": (TABLE, None, QUEUE)}) == ["table", "-", "queue"]
    assert windows_of(text, arguments={"other": (TABLE, TABLE, TABLE)}) == ["-", "-", "-"]


def test_an_entry_that_is_also_called_has_both_arguments() -> None:
    text = "call local +1\nexit\n.entry f\nstdw [%r1], 1\nexit"
    program = ".entry main\n" + text
    assert windows_of(program, arguments={"f": (TABLE,)}) == ["-"]
    assert windows_of(program, arguments={"f": (TABLE,), "main": (TABLE,)}) == ["table"]


def test_without_windows_only_the_stack_is_proved() -> None:
    program = assemble("stdw [%r10-8], 1\nlddw %r6, 0x10000\nstdw [%r6], 1\nexit")
    assert {pc: window.name for pc, window in verify(program, SERVICES).proved.items()} == {0: "stack"}


def test_too_much_work_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    program = assemble("mov %r1, 0\nnext: stdw [%r10-8], 1\nadd %r1, 1\njlt %r1, 10, next\nexit", source="x.asm")
    assert len(verify(program, SERVICES, SPACE).proved) == 1
    monkeypatch.setattr(proofs, "WORK_LIMIT", 6)
    facts = verify(program, SERVICES, SPACE)
    assert facts.proved == {}
    assert access_report(program, SERVICES, SPACE, facts)[0].known.startswith("nothing: the program is too large")


def test_work_is_bounded() -> None:
    """Loops in loops, each of which moves every register, settle after few visits."""
    depth = 40
    lines = [f"mov %r{register}, %r1" for register in (0, 2, 3, 4, 5, 6, 7, 8, 9)]
    lines += [f"l{level}: add %r{level % 10}, %r{(level + 1) % 10}\nxor %r{level % 7}, 5" for level in range(depth)]
    lines += [f"jgt %r{level % 10}, {100 + level}, l{level}" for level in reversed(range(depth))]
    program = assemble("\n".join([*lines, "stdw [%r10-8], 1", "exit"]))
    assert len(verify(program, SERVICES, SPACE).proved) == 1


def test_the_report_tells_people() -> None:
    text = """\
and %r1, 511
lsh %r1, 3
lddw %r6, 0x10000
add %r6, %r1
ldxdw %r0, [%r6]
stw [%r6+4090], 1
ldxdw %r0, [%r10-8]
mov %r7, %r10
sub %r7, %r1
lock add [%r7-8], %r0
ldxw %r0, [%r2]
lddw %r6, 0x20000
stb [%r6], 1
mov %r1, 0
jne %r1, 1, exit
ldxb %r0, [%r6]
exit
"""
    program = assemble(text, source="x.asm")
    facts = verify(program, SERVICES, SPACE)
    lines = [
        (access.where, access.text, access.window.name if access.window else "-", access.known)
        for access in access_report(program, SERVICES, SPACE, facts)
    ]
    assert lines == [
        ("x.asm:5: pc 5", "ldxdw %r0, [%r6]", "table", "8 bytes at 0x10000..0x10ff8 step 8"),
        ("x.asm:6: pc 6", "stw [%r6+4090], 1", "-", "4 bytes at 0x10ffa..0x11ff2 step 8: may lie outside of every window"),
        ("x.asm:7: pc 7", "ldxdw %r0, [%r10-8]", "stack", "8 bytes at r10-8"),
        ("x.asm:10: pc 10", "lock add [%r7-8], %r0", "-", "8 bytes at r10-4096..r10-8 step 8: may leave the stack, or is an atomic that may not be aligned"),
        ("x.asm:11: pc 11", "ldxw %r0, [%r2]", "-", "4 bytes at any: may lie outside of every window"),
        ("x.asm:13: pc 14", "stb [%r6], 1", "-", "1 bytes at 0x20000: in queue 0x20000..0x20c00, which may not allow it: right, width or alignment"),
        ("x.asm:16: pc 17", "ldxb %r0, [%r6]", "-", "no run gets here"),
    ]  # fmt: skip


def test_the_report_has_every_access_once() -> None:
    for _, text, windows in PROGRAMS:
        program = assemble(text)
        report = access_report(program, SERVICES, SPACE, verify(program, SERVICES, SPACE))
        assert [access.window.name if access.window else "-" for access in report] == windows.split()
        assert all(re.match(r"\d bytes at |no run gets here", access.known) for access in report)
