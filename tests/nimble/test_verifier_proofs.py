"""Which accesses are proved, and why the others are not: a table of programs, and what people are told of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nimble.access import READ_WRITE, STATE_BASE, AddressSpace, Memory, Registers, Right, Window
from nimble.assembler import assemble
from nimble.isa import MEMORY
from nimble.services import Argument, Service, Services
from nimble.verifier import access_report, proofs, verify

TABLE = Window("table", 0x10000, 4096, READ_WRITE, Memory(bytearray(4096)))
QUEUE = Window("queue", 0x20000, 3072, Right.READ, Memory(bytearray(3072)))
ODD = Window("odd", 0x30001, 64, READ_WRITE, Memory(bytearray(64)))
DEVICE = Window("device", 0x40000, 64, READ_WRITE, Registers(lambda *_: 0, lambda *_: None), widths=(4, 8), origin=4)
STATE = Window("state", STATE_BASE, 256, READ_WRITE, Memory(bytearray(256)))
SPACE = AddressSpace([TABLE, QUEUE, ODD, DEVICE, STATE])
OUTSIDE = "may lie outside of every window"
OFF_STACK = "may leave the stack, or is an atomic that may not be aligned"
REFUSED = "which may not allow it: right, width or alignment"
SERVICES = Services(
    [
        Service(1, "random", lambda *_: 0, "a number"),
        Service(2, "wake", lambda *_: 0, "wakes", (Argument("process", 15), Argument("signal", 63))),
    ]
)
ANNOTATED = re.compile(r"\[.*# (\w+)")


def read_programs() -> dict[str, str]:
    """The programs of the table by name."""
    texts = (Path(__file__).with_suffix(".txt")).read_text().split("\n== ")[1:]
    return dict(text.split("\n", 1) for text in texts)


PROGRAMS = read_programs()


def windows_of(text: str) -> list[str]:
    program = assemble(text)
    facts = verify(program, SERVICES, SPACE)
    pcs = [pc for pc, _, row in program.starts if row.group in MEMORY]
    assert set(facts.proved) <= set(pcs)
    return [facts.proved[pc].name if pc in facts.proved else "checked" for pc in pcs]


@pytest.mark.parametrize("text", PROGRAMS.values(), ids=PROGRAMS)
def test_what_is_proved(text: str) -> None:
    assert windows_of(text) == ANNOTATED.findall(text)


def test_an_entry_that_is_also_called_has_arguments_of_both() -> None:
    text = ".entry main\nlddw %r1, 0x10000\ncall local +1\nexit\n{}stdw [%r1], 1\nexit"
    assert windows_of(text.format("")) == ["table"]
    assert windows_of(text.format(".entry f\n")) == ["checked"]


def test_without_windows_only_the_stack_is_proved() -> None:
    program = assemble("stdw [%r10-8], 1\nlddw %r6, 0x10000\nstdw [%r6], 1\nexit")
    assert {pc: window.name for pc, window in verify(program, SERVICES).proved.items()} == {0: "stack"}


def test_too_much_work_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    program = assemble("mov %r1, 0\nnext: stdw [%r10-8], 1\nadd %r1, 1\njlt %r1, 10, next\nexit", source="x.asm")
    assert len(verify(program, SERVICES, SPACE).proved) == 1
    monkeypatch.setattr(proofs, "WORK_LIMIT", 30)
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
    told = [
        (access.where, access.text, access.window.name if access.window else "checked", access.known)
        for access in access_report(program, SERVICES, SPACE, facts)
    ]
    assert told == [
        ("x.asm:5: pc 5", "ldxdw %r0, [%r6]", "table", "8 bytes at 0x10000..0x10ff8 step 8"),
        ("x.asm:6: pc 6", "stw [%r6+4090], 1", "checked", f"4 bytes at 0x10ffa..0x11ff2 step 8: {OUTSIDE}"),
        ("x.asm:7: pc 7", "ldxdw %r0, [%r10-8]", "stack", "8 bytes at r10-8"),
        ("x.asm:10: pc 10", "lock add [%r7-8], %r0", "checked", f"8 bytes at r10-4096..r10-8 step 8: {OFF_STACK}"),
        ("x.asm:11: pc 11", "ldxw %r0, [%r2]", "checked", f"4 bytes at any number: {OUTSIDE}"),
        ("x.asm:13: pc 14", "stb [%r6], 1", "checked", f"1 byte at 0x20000: in queue 0x20000..0x20c00, {REFUSED}"),
        ("x.asm:16: pc 17", "ldxb %r0, [%r6]", "checked", "no run gets here"),
    ]


@pytest.mark.parametrize("text", PROGRAMS.values(), ids=PROGRAMS)
def test_the_report_has_every_access_once(text: str) -> None:
    program = assemble(text)
    report = access_report(program, SERVICES, SPACE, verify(program, SERVICES, SPACE))
    assert [access.window.name if access.window else "checked" for access in report] == ANNOTATED.findall(text)
    assert all(re.match(r"\d bytes? at |no run gets here", access.known) for access in report)
