"""Programs that must not be inserted: each refusal names the instruction, its line, the bound and the remedy."""

from __future__ import annotations

import random

import pytest

from nimble.access import AddressSpace
from nimble.assembler import assemble
from nimble.engine.closures import translate
from nimble.isa import Instruction
from nimble.program import INSTRUCTION_LIMIT, STATE_LIMIT_BYTES, Program
from nimble.services import Service, Services
from nimble.verifier import InsertionRefused, verify

SERVICES = Services([Service(3, "log", lambda *_: 0, "nothing"), Service(9, "wake", lambda *_: 0, "nothing")])
EXIT = Instruction(0x95)

TEXTS = [
    ("mov %r10, 1\nexit", "x.asm:1: pc 0: mov %r10, 1: writes r10; the frame pointer is read-only; copy it to"),
    ("add32 %r10, %r1\nexit", "x.asm:1: pc 0: add32 %r10, %r1: writes r10"),
    ("be16 %r10\nexit", "x.asm:1: pc 0: be16 %r10: writes r10"),
    ("exit\nldxw %r10, [%r1]\nexit", "x.asm:2: pc 1: ldxw %r10, [%r1]: writes r10"),
    ("lddw %r10, 5\nexit", "x.asm:1: pc 0: lddw %r10, 0x5: writes r10"),
    ("lock fetch_add [%r1], %r10\nexit", "x.asm:1: pc 0: lock fetch_add [%r1], %r10: writes r10"),
    ("lock xchg32 [%r1], %r10\nexit", "x.asm:1: pc 0: lock xchg32 [%r1], %r10: writes r10"),
    ("mov %r0, 1", "x.asm:1: pc 0: mov %r0, 1: the code ends behind it; a run would fall off; add exit"),
    ("jeq %r0, 0, -1", "x.asm:1: pc 0: jeq %r0, 0, -1: the code ends behind it"),
    ("exit\ncall 3", "x.asm:2: pc 1: call 3: the code ends behind it"),
    ("lddw %r0, 1\nlddw %r1, 1", "x.asm:2: pc 2: lddw %r1, 0x1: the code ends behind it"),
    ("ja +1\nexit", "x.asm:1: pc 0: ja +1: target pc 2 is outside 0..1; jump inside the program"),
    ("gotol -2\nexit", "x.asm:1: pc 0: gotol -2: target pc -1 is outside 0..1; jump inside the program"),
    ("jne %r1, 0, +1\nlddw %r0, 1\nexit", "jne %r1, 0, +1: target pc 2 is the second slot of lddw; jump to an"),
    ("call local +1\nlddw %r0, 1\nexit", "call local +1: target pc 2 is the second slot of lddw"),
    ("call local +5\nexit", "call local +5: target pc 6 is outside 0..1"),
    ("call 4\nexit", "x.asm:1: pc 0: call 4: unknown service 4; known are: 3 log, 9 wake; call one of them"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "error"), TEXTS)
def test_refused_texts(text: str, error: str) -> None:
    program = assemble(text, source="x.asm")
    with pytest.raises(InsertionRefused) as caught:
        verify(program, SERVICES)
    assert error in str(caught.value)


SLOTS = [
    ((EXIT, Instruction(0xFF), EXIT), {}, "p: pc 1: opcode 0xff: is none of RFC 9669's"),
    ((Instruction(0x18, 1),), {}, "p: pc 0: lddw: its second slot is cut off; the code ends here; add it"),
    ((Instruction(0x18, 1), EXIT), {}, "p: pc 0: lddw: its second slot holds more than imm"),
    ((Instruction(0x18, 1, 4), Instruction(0), EXIT), {}, "p: pc 0: lddw: src: 4 is not one of 0"),
    ((Instruction(0xBF, 11, 0), EXIT), {}, "p: pc 0: mov %r11, %r0: register r11; r0..r10 exist; use one of them"),
    ((Instruction(0xBF, 0, 15), EXIT), {}, "p: pc 0: mov %r0, %r15: register r15; r0..r10 exist"),
    ((Instruction(0x7B, 12, 0), EXIT), {}, "p: pc 0: stxdw [%r12], %r0: register r12"),
    ((EXIT,), {"main": 1}, "p: entry main: pc 1 is no instruction; point it at one"),
    ((Instruction(0x18, 1), Instruction(0), EXIT), {"main": 1}, "p: entry main: pc 1 is no instruction"),
    ((EXIT,), None, "p: no entry point; a program needs one or more; name one with .entry"),
]


@pytest.mark.parametrize(("slots", "entries", "error"), SLOTS)
def test_refused_slots(slots: tuple[Instruction, ...], entries: dict[str, int] | None, error: str) -> None:
    program = Program(instructions=slots, entries={} if entries is None else entries or {"main": 0}, name="p")
    with pytest.raises(InsertionRefused) as caught:
        translate(program, space=AddressSpace([]), services=SERVICES, checked=True)
    assert str(caught.value).startswith(error)


def test_known_services_are_none() -> None:
    with pytest.raises(InsertionRefused, match="known are: none"):
        verify(assemble("call 4\nexit"), Services())


def test_random_slots_are_refused_or_run_to_an_outcome() -> None:
    """Whatever is accepted runs in both forms without a Python error, within its budget."""
    generator = random.Random(2)
    opcodes = [0x07, 0x0F, 0x18, 0x61, 0x63, 0x72, 0x85, 0x05, 0x15, 0x1D, 0xB7, 0xBF, 0xDB, 0xC3, 0x91, 0x95, 0x8D]
    ran = 0
    for _ in range(3000):
        slots = [
            Instruction(
                generator.choice(opcodes),
                generator.choice((0, 1, 2, 10)),
                generator.choice((0, 0, 1, 10)),
                generator.choice((0, 0, 0, 1, -1, -8)),
                generator.choice((0, 0, 1, 3, -1, 0xF1)),
            )
            for _ in range(generator.randint(1, 4))
        ]
        program = Program(instructions=(Instruction(0xB7), *slots, EXIT), entries={"main": 0})
        for checked in (True, False):
            try:
                thread = translate(program, space=AddressSpace([]), services=SERVICES, checked=checked)
            except InsertionRefused:
                continue
            ran += 1
            assert thread.run("main", (1, 2), budget=50, spend=lambda instructions: None).instructions <= 50
    assert ran > 300


def test_programs_have_limits() -> None:
    with pytest.raises(ValueError, match=f"p: 0 slots of code; 1..{INSTRUCTION_LIMIT} are allowed; split it"):
        Program(instructions=(), entries={}, name="p")
    with pytest.raises(ValueError, match=f"at most {STATE_LIMIT_BYTES} are allowed; ask for a window"):
        Program(instructions=(EXIT,), entries={}, state=bytes(STATE_LIMIT_BYTES + 1))


def test_services_are_unique_and_numbered() -> None:
    log = Service(3, "log", lambda *_: 0, "nothing")
    assert Services([log]).symbols() == {"log": 3}
    assert Services([log]).get("log") is Services([log]).get(3) is log
    with pytest.raises(ValueError, match=r"service log \(4\): log \(3\) is there already"):
        Services([log, Service(4, "log", lambda *_: 0, "nothing")])
    with pytest.raises(ValueError, match=r"service wake \(3\): log \(3\) is there already"):
        Services([log, Service(3, "wake", lambda *_: 0, "nothing")])
    with pytest.raises(ValueError, match=r"service far: id: 2147483648 is out of range 0\.\.2147483647"):
        Service(1 << 31, "far", lambda *_: 0, "nothing")
