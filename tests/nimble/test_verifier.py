"""Programs that must not be inserted: each refusal names the instruction, its line, the bound and the remedy."""

from __future__ import annotations

import random

import pytest

from nimble.access import TEXT_BASE, AddressSpace
from nimble.assembler import assemble
from nimble.engine.closures import translate
from nimble.engine.outcome import no_time
from nimble.isa import Instruction
from nimble.program import INSTRUCTION_LIMIT, STATE_LIMIT_BYTES, Program
from nimble.services import Argument, Service, Services
from nimble.verifier import InsertionRefused, verify

WAKE = Service(9, "wake", lambda *_: 0, "nothing", (Argument("process", 15), Argument("signal", 63)))
SERVICES = Services([Service(3, "log", lambda *_: 0, "nothing"), WAKE])
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
    ("callx %r2", "x.asm:1: pc 0: callx %r2: the code ends behind it"),
    ("call 4\nexit", "x.asm:1: pc 0: call 4: unknown service 4; known are: 3 log, 9 wake; call one of them"),
]  # fmt: skip


# Of the whole program. "f" is a function behind the code that calls it.
UNREACHABLE = "no entry and no function leads here; remove it or call it"
WRITE_FIRST = "which is not written on every path to here; write it first"
CALLED = "which is not written on every path to here; calls leave it unwritten; write it first"
DEEP = "".join(f"call local +1\nexit\nstdw [%r10-8], {level}\n" for level in range(8))
FLOWS = [
    ("exit\nmov %r0, 1\nexit", f"x.asm:2: pc 1: mov %r0, 1: {UNREACHABLE}"),
    ("ja +1\nlddw %r0, 1\nexit", "ja +1: target pc 2 is the second slot"),
    ("ja +2\nlddw %r0, 1\nexit", f"x.asm:2: pc 1: lddw %r0, 0x1: {UNREACHABLE}"),
    ("exit\nf: call local f\nexit", f"x.asm:2: pc 1: call local -1: {UNREACHABLE}"),
    (f"exit\nlddw %r1, {TEXT_BASE + 24}\nexit", f"x.asm:2: pc 1: lddw %r1, 0x400000000000018: {UNREACHABLE}"),
    ("mov %r0, %r6\nexit", f"x.asm:1: pc 0: mov %r0, %r6: reads r6, {WRITE_FIRST}"),
    ("add %r0, 1\nexit", f"x.asm:1: pc 0: add %r0, 1: reads r0, {WRITE_FIRST}"),
    ("neg32 %r9\nexit", f"neg32 %r9: reads r9, {WRITE_FIRST}"),
    ("be16 %r9\nexit", f"be16 %r9: reads r9, {WRITE_FIRST}"),
    ("jeq %r6, 0, +0\nexit", f"jeq %r6, 0, +0: reads r6, {WRITE_FIRST}"),
    ("jeq %r1, %r6, +0\nexit", f"jeq %r1, %r6, +0: reads r6, {WRITE_FIRST}"),
    ("ldxb %r0, [%r6]\nexit", f"ldxb %r0, [%r6]: reads r6, {WRITE_FIRST}"),
    ("stb [%r6], 1\nexit", f"stb [%r6], 1: reads r6, {WRITE_FIRST}"),
    ("stxb [%r1], %r6\nexit", f"stxb [%r1], %r6: reads r6, {WRITE_FIRST}"),
    ("lock xchg [%r1], %r6\nexit", f"lock xchg [%r1], %r6: reads r6, {WRITE_FIRST}"),
    ("lock cmpxchg [%r1], %r2\nexit", f"lock cmpxchg [%r1], %r2: reads r0, {WRITE_FIRST}"),
    ("callx %r7\nexit", f"callx %r7: reads r7, {WRITE_FIRST}"),
    ("jeq %r1, 0, +1\nmov %r6, 1\nmov %r0, %r6\nexit", f"x.asm:3: pc 2: mov %r0, %r6: reads r6, {WRITE_FIRST}"),
    ("ja test\nl: mov %r0, %r6\nmov %r6, 1\ntest: jne %r1, 0, l\nexit",
     f"x.asm:2: pc 1: mov %r0, %r6: reads r6, {WRITE_FIRST}"),
    ("call 3\nmov %r0, %r2\nexit", f"x.asm:2: pc 1: mov %r0, %r2: reads r2, {CALLED}"),
    ("call local f\nmov %r0, %r5\nexit\nf: exit", f"x.asm:2: pc 1: mov %r0, %r5: reads r5, {CALLED}"),
    ("mov %r7, 3\ncallx %r7\nmov %r0, %r1\nexit", f"x.asm:3: pc 2: mov %r0, %r1: reads r1, {CALLED}"),
    ("mov %r1, 1\nmov %r2, 1\ncall 9\ncall 9\nexit", f"x.asm:4: pc 3: call 9: reads r1, {CALLED}"),
    ("call local f\nmov %r6, %r0\nexit\nf: exit", f"x.asm:2: pc 1: mov %r6, %r0: reads r0, {WRITE_FIRST}"),
    ("call local f\nmov %r6, %r0\nexit\nf: jeq %r1, 0, +1\nmov %r0, 1\nexit",
     f"x.asm:2: pc 1: mov %r6, %r0: reads r0, {WRITE_FIRST}"),
    ("call local f\nmov %r6, %r0\nexit\nf: call local g\nexit\ng: exit",
     f"x.asm:2: pc 1: mov %r6, %r0: reads r0, {WRITE_FIRST}"),
    ("mov %r6, 1\ncall local f\nexit\nf: mov %r0, %r6\nexit", f"x.asm:4: pc 3: mov %r0, %r6: reads r6, {WRITE_FIRST}"),
    ("call local f\ncall local f\nexit\nf: mov %r0, %r4\nexit", f"x.asm:4: pc 3: mov %r0, %r4: reads r4, {CALLED}"),
    ("stdw [%r10], 1\nexit",
     "x.asm:1: pc 0: stdw [%r10], 1: 8 bytes at r10+0 leave the stack; it is r10-512..r10-1 here; use less"),
    ("ldxh %r0, [%r10-1]\nexit", "2 bytes at r10-1 leave the stack; it is r10-512..r10-1 here; use less of it"),
    ("lock add [%r10-513], %r1\nexit", "8 bytes at r10-513 leave the stack; it is r10-512..r10-1 here; use less of it"),
    ("mov %r2, %r10\nadd %r2, -512\nldxb %r0, [%r2-1]\nexit",
     "x.asm:3: pc 2: ldxb %r0, [%r2-1]: 1 bytes at r10-513 leave"),
    ("mov %r1, %r10\ncall local f\nexit\nf: stb [%r1], 1\nexit",
     "stb [%r1], 1: 1 bytes at r10+512 leave the stack; it is r10-512..r10+511"),
    (f"{DEEP}exit", "x.asm:1: pc 0: call local +1: calls from here on need 9 frames; there are 8; call less deeply"),
    ("mov %r1, 16\nmov %r2, 0\ncall 9\nexit",
     "x.asm:3: pc 2: call 9: r1, process of service wake, is 0x10; at most 0xf is allowed; give less"),
    ("and %r2, 7\nor %r2, 64\nmov %r1, 0\ncall 9\nexit",
     "call 9: r2, signal of service wake, is 0x40 or more; at most 0x3f is allowed"),
]  # fmt: skip


ACCEPTED = [
    ("a run's result begins as 0", "exit"),
    ("arguments", "mov %r0, %r1\nadd %r0, %r5\nadd %r0, %r10\nexit"),
    ("written on both paths", "jeq %r1, 0, +2\nmov %r6, 1\nja +1\nmov %r6, 2\nmov %r0, %r6\nexit"),
    ("kept by calls", "mov %r6, 1\ncall 3\nmov %r0, %r6\nexit"),
    ("the result of a service", "call 3\nmov %r6, %r0\nexit"),
    ("the result of a function", "call local f\nmov %r6, %r0\nexit\nf: mov %r0, 1\nexit"),
    ("a function without a result", "call local f\nmov %r0, 0\nexit\nf: stb [%r10-1], 1\nexit"),
    ("a result by recursion",
     "call local f\nmov %r6, %r0\nexit\nf: jeq %r1, 0, +2\ncall local f\nexit\nmov %r0, 1\nexit"),
    ("a result by register", "mov %r7, 3\ncallx %r7\nmov %r6, %r0\nexit"),
    ("a function by its address", f"lddw %r7, {TEXT_BASE + 32}\ncallx %r7\nexit\nmov %r0, %r5\nexit"),
    ("an address that is no instruction's", f"lddw %r7, {TEXT_BASE + 8}\nexit"),
    ("an address behind the code", f"lddw %r7, {TEXT_BASE + 800}\nexit"),
    ("one function leads into another", "call local f\ncall local g\nexit\nf: mov %r2, 1\ng: mov %r0, 1\nexit"),
    ("two entries share an end", ".entry a\nmov %r6, 1\nja end\n.entry b\nmov %r6, 2\nend: mov %r0, %r6\nexit"),
    ("stack that was never written", "ldxdw %r0, [%r10-512]\nexit"),
    ("a place in the stack that is not known", "and %r1, 1023\nmov %r2, %r10\nsub %r2, %r1\nldxb %r0, [%r2]\nexit"),
    ("eight frames", f"{DEEP.removesuffix(DEEP[-len(DEEP) // 8 :])}exit"),
    ("recursion", "f: call local f\nexit"),
    ("recursion in a circle of many",
     "".join(f"f{level}: call local f{(level + 1) % 12}\nexit\n" for level in range(12))),
    ("arguments at their most", "mov %r1, 15\nmov %r2, 63\ncall 9\nexit"),
    ("arguments that may be too much", "mov %r6, %r2\ncall 9\nexit"),
]  # fmt: skip


@pytest.mark.parametrize("text", [row[1] for row in ACCEPTED], ids=[row[0] for row in ACCEPTED])
def test_accepted(text: str) -> None:
    verify(assemble(text), SERVICES)


@pytest.mark.parametrize(("text", "error"), [*TEXTS, *FLOWS])
def test_refused_texts(text: str, error: str) -> None:
    program = assemble(text, source="x.asm")
    with pytest.raises(InsertionRefused) as caught:
        verify(program, SERVICES)
    assert error in str(caught.value)


SLOTS = [
    ((EXIT, Instruction(0xFF), EXIT), {}, "p: pc 1: opcode 0xff: is none of RFC 9669's"),
    ((Instruction(0x8D, 11), EXIT), {}, "p: pc 0: callx %r11: register r11; r0..r10 exist; use one of them"),
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
            assert thread.run("main", (1, 2), budget=50, spend=no_time).instructions <= 50
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


def test_a_function_may_be_named_by_the_state_alone() -> None:
    text = """
        .quad twice
        lddw %r6, STATE
        ldxdw %r3, [%r6]
        callx %r3
        exit
    twice:
        mov %r0, %r1
        add %r0, %r1
        exit
    """
    program = assemble(text)
    verify(program, Services())
    with pytest.raises(InsertionRefused, match=r"no entry and no function leads here"):
        verify(assemble(text.replace(".quad twice", ".state 8")), Services())
