"""What the verifier knows holds: random programs are run, and every access that was proved is looked at, and every
register wherever a block begins.

A run is stopped after each number of instructions, which shows the registers that the next one finds.
"""

from __future__ import annotations

import random
from collections import Counter

from nimble.access import FRAME_BYTES, READ_WRITE, STACK, AddressSpace, Memory, Registers, Right, Window
from nimble.assembler import assemble
from nimble.engine.closures import translate
from nimble.engine.outcome import Status, no_time
from nimble.isa import Group
from nimble.program import Program
from nimble.services import Argument, Service, Services
from nimble.verifier import Facts, InsertionRefused, verify
from nimble.verifier.graph import Graph
from nimble.verifier.proofs import Proofs
from nimble.verifier.values import Value

SERVICES = Services([Service(1, "twice", lambda r1, *_: 2 * r1, "2 * r1", (Argument("number"),))])
NUMBERS = [0, 1, 2, 7, 8, 15, 16, 63, 64, 100, 255, 256, 511, 512, 4095, (1 << 31) - 1, 1 << 31, -1, -8, -512]
ARGUMENTS = [*NUMBERS, 0x10000, 0x20003, 1 << 56, (1 << 32) + 3, (1 << 32) + 64]
MOST_INSTRUCTIONS = 120


def windows() -> tuple[AddressSpace, list[bytearray]]:
    """Memory that ends at no round number, memory that begins at none, memory to read, and part of a device."""
    buffers = [bytearray(1000), bytearray(300), bytearray(64)]
    device = Registers(lambda offset, width: offset * 0x0101, lambda offset, width, value: None)
    return AddressSpace(
        [
            Window("table", 0x10000, 1000, READ_WRITE, Memory(buffers[0])),
            Window("odd", 0x20003, 200, READ_WRITE, Memory(buffers[1]), widths=(1, 2, 8), origin=50),
            Window("read", 0x30000, 64, Right.READ, Memory(buffers[2])),
            Window("device", 0x40000, 64, READ_WRITE, device, widths=(4, 8), origin=4),
        ]
    ), buffers


class Writer:
    """Random text that is mostly accepted: registers are written first, loops count, indices are often masked."""

    def __init__(self, generator: random.Random) -> None:
        self._random = generator
        self._spills = generator.choice((0.05, 0.7))  # how likely a statement is about the frame
        self._lines: list[str] = []
        self._labels = 0
        self._functions: list[str] = []

    def program(self) -> str:
        self._lines = [f"mov %r{register}, %r{self._random.randint(1, 5)}" for register in (0, 6, 7, 8, 9)]
        self._lines.append(f"lddw %r{self._register()}, {self._pointer()}")
        self._body(self._random.randint(3, 9) + int(8 * self._spills), depth=0)
        self._lines += ["mov %r0, 0", "exit"]
        for name in self._functions:
            self._lines += [f"{name}:", *[f"mov %r{register}, %r1" for register in (0, 6, 7, 8, 9)]]
            for _ in range(self._random.randint(1, 4)):
                self._plain()
            if self._random.random() < 0.3:
                self._lines.append("stxdw [%r1], %r7")
            self._lines.append("exit")
        return "\n".join(self._lines)

    def _register(self) -> int:
        return self._random.randrange(10)

    def _pointer(self) -> str:
        base = self._random.choice((0x10000, 0x10000, 0x20003, 0x30000, 0x40000))
        return str(base + self._random.choice((0, 0, 8, 56, 190)))

    def _label(self) -> str:
        self._labels += 1
        return f"l{self._labels}"

    def _body(self, count: int, depth: int) -> None:
        for _ in range(count):
            kind = self._random.random()
            if self._random.random() < self._spills:
                self._spill(self._register())
            elif kind < 0.12 and depth < 2:
                self._loop(depth)
            elif kind < 0.25 and depth < 3:
                label = self._label()
                self._branch(label)
                self._body(self._random.randint(1, 3), depth + 1)
                self._lines.append(f"{label}:")
            elif kind < 0.29:
                self._call()
            elif kind < 0.36:
                self._halve()
            else:
                self._plain()
            if self._random.random() < 0.3:
                self._lines.append("ja +0")  # a block begins behind it

    def _branch(self, label: str) -> None:
        name = self._random.choice(("jeq", "jne", "jset", "jgt", "jge", "jlt", "jle", "jsgt", "jsge", "jslt", "jsle"))
        width = self._random.choice(("", "", "32"))
        self._lines.append(f"{name}{width} %r{self._register()}, {self._operand()}, {label}")

    def _halve(self) -> None:
        """Compare a lower half, and look at it behind that, changed or not."""
        register, label = self._register(), self._label()
        self._lines.append(f"mov %r{register}, %r{self._random.randint(6, 9)}")
        name = self._random.choice(("jlt", "jge", "jsgt", "jslt", "jne", "jset"))
        self._lines.append(f"{name}32 %r{register}, {self._operand()}, {label}")
        kind = self._random.random()
        if kind < 0.3:
            self._plain()
        elif kind < 0.4:
            self._call()
        name = self._random.choice(("mov32", "movsx3264", "add32", "add"))
        self._lines += [f"{name} %r{register}, %r{register}", "ja +0", f"{label}:"]

    def _operand(self) -> str:
        if self._random.random() < 0.4:
            return f"%r{self._register()}"
        return str(self._random.choice(NUMBERS))

    def _loop(self, depth: int) -> None:
        label, counter = self._label(), self._register()
        start, step, count = (
            self._random.choice((0, 1, 8)),
            self._random.choice((1, 1, 3, 8, 24)),
            self._random.randint(1, 6),
        )
        down = self._random.random() < 0.3
        limit = start if down else start + step * count
        self._lines.append(f"mov %r{counter}, {start + step * count if down else start}")
        companion = (counter + 1) % 10
        along, moved = self._random.random() < 0.6, self._random.choice((1, 8, 8, 20, -8))
        if along:
            first = self._random.choice((self._pointer(), "0", "64", "999"))
            self._lines.append(f"lddw %r{companion}, {first}")
        self._lines.append(f"{label}:")
        self._body(self._random.randint(1, 3), depth + 1)
        if self._random.random() < 0.6:
            self._use(counter)
        if along:
            self._access(companion)
            self._lines.append(f"add %r{companion}, {moved}")
        copied = self._random.random() < 0.2  # compare what the counter was before
        if copied:
            self._lines.append(f"mov %r{(counter + 2) % 10}, %r{counter}")
        self._lines.append(f"{'sub' if down else 'add'} %r{counter}, {step}")
        counter = (counter + 2) % 10 if copied else counter
        name = self._random.choice(("jne", "jsgt", "jgt") if down else ("jne", "jlt", "jslt", "jle", "jlt32", "jslt32"))
        self._lines.append(f"{name} %r{counter}, {limit}, {label}")

    def _use(self, index: int) -> None:
        """An access to a table by an index."""
        pointer = self._register()
        self._lines.append(f"lddw %r{pointer}, {self._pointer()}")
        self._lines.append(f"add %r{pointer}, %r{index}")
        self._access(pointer)

    def _call(self) -> None:
        if self._random.random() < 0.5:
            self._lines.append("call 1")
        else:
            if len(self._functions) < 2:
                self._functions.append(f"f{len(self._functions)}")
            if self._random.random() < 0.5:
                self._lines += ["mov %r1, %r10", f"add %r1, {self._random.choice((-8, -16))}"]
            self._lines.append(f"call local {self._random.choice(self._functions)}")
        self._lines += [f"mov %r{register}, %r{self._random.randint(6, 9)}" for register in range(6)]

    def _plain(self) -> None:
        register, kind = self._register(), self._random.random()
        if kind < 0.12:
            self._lines.append(f"lddw %r{register}, {self._pointer()}")
        elif kind < 0.24:
            self._lines.append(f"and %r{register}, {self._random.choice((7, 15, 56, 63, 255, 248, 511, -8))}")
            if self._random.random() < 0.6:
                self._use(register)
        elif kind < 0.32:
            self._lines.append(f"mov %r{register}, %r10")
            self._lines.append(f"add %r{register}, {self._random.choice((-8, -16, -64, -500, -512))}")
        elif kind < 0.38:
            self._lines += [f"mov %r{register}, {self._random.choice(NUMBERS)}"]
            self._arithmetic(register)
        elif kind < 0.6:
            self._access(register)
        else:
            self._arithmetic(register)

    def _spill(self, register: int) -> None:
        """Store a constant in the frame, or overwrite one in one of many ways, or load one."""
        at, kind, pointer = self._random.choice((-8, -16)), self._random.random(), (register + 1) % 10
        if kind < 0.4:
            self._lines += [f"mov %r{register}, {self._random.choice(NUMBERS)}", f"stxdw [%r10{at}], %r{register}"]
        elif kind < 0.5:
            self._lines.append(
                f"{self._random.choice(('stb', 'stw', 'sth', 'stdw'))} [%r10{at - 4 + self._random.choice((0, 8))}], 9"
            )
        elif kind < 0.65:  # by a pointer whose offset is known, or is one of some, or whose making is lost
            self._lines += [f"mov %r{pointer}, %r10", f"and %r{register}, {self._random.choice((8, 24))}"]
            self._lines += [self._random.choice((f"sub %r{pointer}, %r{register}", f"mul %r{pointer}, 1"))]
            self._lines.append(f"stdw [%r{pointer}-8], 11")
        else:
            self._lines += [f"ldxdw %r{register}, [%r10{at}]", "ja +0"]

    def _arithmetic(self, register: int) -> None:
        names = (
            "add",
            "add",
            "sub",
            "mul",
            "div",
            "mod",
            "and",
            "or",
            "xor",
            "lsh",
            "rsh",
            "arsh",
            "mov",
            "sdiv",
            "smod",
        )
        name = self._random.choice(names) + self._random.choice(("", "", "32"))
        operand = str(self._random.randint(0, 40)) if "sh" in name and self._random.random() < 0.7 else self._operand()
        if self._random.random() < 0.12:
            name = self._random.choice(("movsx832", "movsx1632", "movsx864", "movsx1664", "movsx3264"))
            operand = f"%r{self._register()}"
        self._lines.append(f"{name} %r{register}, {operand}")

    def _access(self, pointer: int) -> None:
        other, size = self._register(), self._random.choice(("b", "h", "w", "w", "dw", "dw"))
        place = f"[%r{pointer}{self._random.choice((0, 0, 0, 4, 8, 1, 56, -8)):+d}]"
        self._lines.append(
            self._random.choice(
                (
                    f"ldx{size} %r{other}, {place}",
                    f"ldx{size} %r{other}, {place}",
                    f"stx{size} {place}, %r{other}",
                    f"st{size} {place}, 5",
                    f"lock fetch_add{self._random.choice(('', '32'))} {place}, %r{other}",
                    f"lock cmpxchg {place}, %r{other}",
                    f"ldxs{size} %r{other}, {place}" if size != "dw" else f"lock xor {place}, %r{other}",
                )
            )
        )


def accesses(program: Program) -> dict[int, tuple[int, int, int, Group]]:
    """By pc: base register, offset, width in bytes, group."""
    return {
        pc: (
            instruction.src if row.group is Group.LOAD else instruction.dst,
            instruction.offset,
            row.bits // 8,
            row.group,
        )
        for pc, instruction, row in program.starts
        if row.group in (Group.LOAD, Group.STORE, Group.ATOMIC)
    }


def known_at_blocks(program: Program) -> dict[int, tuple[list[Value], dict[int, Value]]]:
    """By pc at which a block begins: what is known there of r0..r9, and of lower halves by register."""
    graph = Graph(program)
    found = Proofs(graph, SERVICES)._states
    return {
        graph.code[graph.blocks[number].start][0]: (
            registers[:10],
            {place: value for place, (_, _, value) in slots.items() if place >= 0},
        )
        for number, (registers, slots) in found.items()
    }


NOTHING: tuple[list[Value], dict[int, Value]] = ([], {})


def holds(value: Value, number: int, frame_pointer: int) -> bool:
    low, high, step, frame = value
    distance = (number - frame * frame_pointer - low) % (1 << 64)
    return distance <= high - low and distance % (step or 1) == 0


def check_runs(
    program: Program, facts: Facts, space: AddressSpace, buffers: list[bytearray], args: list[int]
) -> Counter:
    """Run it in steps; how often each proved access was looked at."""
    known = known_at_blocks(program)
    thread = translate(program, space=space, services=SERVICES, checked=True)
    images = [bytes(buffer) for buffer in buffers]
    found = accesses(program)
    seen: Counter = Counter()
    for budget in range(MOST_INSTRUCTIONS):
        for buffer, image in zip(buffers, images, strict=True):
            buffer[:] = image
        outcome = thread.run("main", args, budget=budget, spend=no_time)
        if outcome.status is not Status.BUDGET:
            assert outcome.pc not in facts.proved, outcome.reason
            break
        values, halves = known.get(outcome.pc, NOTHING)
        for register, value in enumerate(values):
            assert holds(value, outcome.registers[register], outcome.registers[10]), (outcome.reason, register, value)
        for register, value in halves.items():
            assert holds(value, outcome.registers[register] % (1 << 32), 0), (outcome.reason, register, value)
        if outcome.pc in facts.proved:
            register, offset, width, group = found[outcome.pc]
            address = (outcome.registers[register] + offset) % (1 << 64)
            window = facts.proved[outcome.pc]
            low = outcome.registers[10] - FRAME_BYTES if window is STACK else window.base
            assert low <= address <= window.end - width, outcome.reason
            if window is not STACK:
                right = {Group.LOAD: Right.READ, Group.STORE: Right.WRITE, Group.ATOMIC: READ_WRITE}[group]
                assert space.checked(address, width, right) is window
            assert group is not Group.ATOMIC or (address % width == 0 and window.backing.atomic)
            seen[window.name] += 1
    return seen


def explore(seed: int, programs: int) -> tuple[int, int, int, Counter]:
    """Random programs that were accepted, their accesses, those that were proved, and how often they were looked at."""
    generator = random.Random(seed)
    seen: Counter = Counter()
    accepted = total = proved = 0
    for _ in range(programs):
        program = assemble(Writer(generator).program())
        space, buffers = windows()
        for buffer in buffers:
            buffer[:] = generator.choice((bytes(len(buffer)), generator.randbytes(len(buffer))))
        try:
            facts = verify(program, SERVICES, space)
        except InsertionRefused:
            continue
        accepted += 1
        total += len(accesses(program))
        proved += len(facts.proved)
        for _ in range(2):
            args = [generator.choice((*ARGUMENTS, generator.getrandbits(64))) for _ in range(5)]
            seen += check_runs(program, facts, space, buffers, args)
    return accepted, total, proved, seen


def test_what_is_proved_holds() -> None:
    accepted, total, proved, seen = explore(3, 800)
    assert accepted > 700
    assert proved > total // 3
    assert set(seen) == {"table", "odd", "read", "device", "stack"}
    assert seen.total() > 3000
