"""Paying by runs and fusing change nothing: every budget, fault and cost against one instruction at a time."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import greenlet
import pytest

from nimble.access import READ_WRITE, STACK_BASE, STACK_BYTES, TEXT_BASE, Memory, Registers, Window
from nimble.assembler import assemble
from nimble.engine.outcome import Outcome, Status, no_time
from nimble.engine.runs import Costs
from nimble.isa import TABLE, Operand, Operation
from nimble.program import Program
from nimble.services import Service, Services
from tests.nimble.engines import each_engine, each_form, thread_of

BASE = 0x1000
LENT = 3  # instructions that the metered service uses up

COSTS = Costs(
    *({row: random.Random(f"{form} {row.opcode} {row.name}").randrange(1, 900) for row in TABLE} for form in "cu")
)
SERVICES = Services(
    [
        Service(1, "plain", lambda r1, *rest: r1 + 1, "r1 + 1"),
        Service(2, "metered", lambda left, r1, *rest: (left, min(left, LENT)), "what is left", metered=True),
    ]
)


@dataclass
class Walk:
    """A run, one instruction at a time, of the few operations that the programs here have."""

    program: Program
    budget: int
    memory: bytearray
    r: list[int] = field(default_factory=lambda: [0] * 10 + [STACK_BASE + STACK_BYTES])
    frames: list[tuple[int, list[int]]] = field(default_factory=list)
    rows: list[Operation] = field(default_factory=list)
    pc: int = 0

    def run(self) -> Walk:
        starts = {pc: (instruction, row) for pc, instruction, row in self.program.starts}
        while self.budget and self.pc >= 0:
            self.budget -= 1
            instruction, row = starts[self.pc]
            self.rows.append(row)
            r, i = self.r, instruction
            b = r[i.src] if Operand.SRC in row.operands else i.imm
            following = self.pc + row.slots
            match row.mnemonic:
                case "mov":
                    r[i.dst] = b
                case "add":
                    r[i.dst] += b
                case "sub":
                    r[i.dst] -= b
                case "and":
                    r[i.dst] &= b
                case "lddw":
                    r[i.dst] = self.program.instructions[self.pc + 1].imm << 32 | i.imm
                case "ldxb":
                    r[i.dst] = self.memory[r[i.src] + i.offset - BASE]
                case "stxb":
                    self.memory[r[i.dst] + i.offset - BASE] = r[i.src] & 255
                case "ja":
                    following += i.offset
                case "jne":
                    following += i.offset if r[i.dst] != b else 0
                case "call local":
                    self._enter(following, following + i.imm)
                    following += i.imm
                case "callx":
                    address = r[i.dst] - TEXT_BASE
                    if address < 0:
                        self._serve(r[i.dst])
                    else:
                        self._enter(following, address // 8)
                        following = address // 8
                case "call":
                    self._serve(i.imm)
                case "exit" if self.frames:
                    following, r[6:] = self.frames.pop()
                    r[1:6] = [0] * 5
                case "exit":
                    following = -1
                case name:
                    raise AssertionError(name)
            self.pc = following
        return self

    def _enter(self, following: int, target: int) -> None:
        self.frames.append((following, self.r[6:]))
        self.r[6:] = [0, 0, 0, 0, self.r[10] - 512]

    def _serve(self, number: int) -> None:
        if number == 1:
            self.r[0] = self.r[1] + 1
        else:
            self.r[0] = self.budget
            self.budget -= min(self.budget, LENT)
        self.r[1:6] = [0] * 5


PROGRAMS = {
    "loops of fused steps, entered in their middle": """
        mov %r1, 3
        mov %r4, 5
        ja middle
    again:
        mov %r4, %r3            # mov; add, of which a jump takes the second only
    middle:
        add %r4, %r1
        add %r0, %r4            # add; add
        add %r0, 1
        mov %r3, %r0
        and %r3, 7
        add %r1, -1
        jne %r1, 0, again       # add; jne
        exit
    """,
    "memory in fused steps": f"""
        lddw %r1, 0x{BASE:x}
        mov %r6, 3
    again:
        mov %r2, %r1            # mov; add; ldxb
        add %r2, %r6
        ldxb %r3, [%r2]
        add %r3, %r6
        stxb [%r2+4], %r3
        ldxb %r0, [%r1+7]
        add %r0, %r3
        sub %r6, 1
        jne %r6, 0, again
        exit
    """,
    "calls": """
        mov %r6, 2
    again:
        mov %r1, %r6            # mov; add; call local
        add %r1, 2
        call local twice
        add %r6, -1
        jne %r6, 0, again
        lddw %r3, twice
        callx %r3
        mov %r0, %r6            # mov; exit
        exit
    twice:
        mov %r6, 7
        mov %r1, %r6
        call local once
    once:
        add %r0, %r1
        exit
    """,
    "services": """
        mov %r1, 40
        call 1
        mov %r6, %r0
        call 2
        add %r6, %r0
        mov %r1, 2
        callx %r1
        mov %r7, 1
        mov %r1, 1
        callx %r1
        mov %r0, %r6
        exit
    """,
}


@each_engine
@each_form
@pytest.mark.parametrize("text", PROGRAMS.values(), ids=PROGRAMS)
def test_every_budget_is_exact_in_instructions_registers_memory_and_cost(text: str, checked: bool, engine: str) -> None:
    program, memory = assemble(text), bytearray(16)
    windows = [Window("memory", BASE, 16, READ_WRITE, Memory(memory))]
    thread = thread_of(program, engine, checked=checked, windows=windows, services=SERVICES, costs=COSTS)
    prices = COSTS.checked if checked else COSTS.unchecked
    returned = 0
    for budget in range(90):
        memory[:] = bytes(range(16))
        walk = Walk(program, budget, bytearray(memory)).run()
        spent: list[int] = []
        outcome = thread.run("main", (), budget=budget, spend=spent.append)
        assert (outcome.pc, outcome.r0, outcome.instructions) == (walk.pc, walk.r[0], len(walk.rows))
        assert sum(spent) == sum(prices[row] for row in walk.rows)
        assert memory == walk.memory
        if walk.pc >= 0:
            assert (outcome.status, outcome.registers) == (Status.BUDGET, tuple(walk.r))
        else:
            assert (outcome.status, outcome.registers) == (Status.RETURNED, ())
            returned += 1
    assert 0 < returned < 80


def test_the_walk_itself_on_a_worked_answer() -> None:
    """Two turns and a callx enter `twice`, which calls `once` and then falls into it; main returns r6, which is 0."""
    walk = Walk(assemble(PROGRAMS["calls"]), 1000, bytearray()).run()
    names = [row.mnemonic for row in walk.rows]
    assert (names.count("call local"), names.count("callx"), names.count("exit")) == (5, 1, 7)
    assert (walk.pc, walk.r[0]) == (-1, 0)


FAULTS = [  # a sequence that is one step, the pc in it that faults, and r4 and r5 then
    ("mov %r4, %r2\nadd %r4, %r3\nldxb %r5, [%r4]", 2, (0x2003, 5)),
    ("ldxdw %r4, [%r1]\nadd %r4, %r3\nstxdw [%r2], %r4", 2, (0x0706050403020103, 5)),
    ("ldxdw %r4, [%r2]\nadd %r4, %r3\nstxdw [%r1], %r4", 0, (4, 5)),
    ("mov %r5, 9\nldxb %r4, [%r1]\nldxb %r4, [%r2]", 2, (0, 9)),
    ("ldxdw %r5, [%r1+1]\nxor %r5, %r4\nstxdw [%r1], %r5", 0, (4, 5)),
]


@each_engine
@each_form
@pytest.mark.parametrize(("text", "pc", "registers"), FAULTS)
def test_a_fault_inside_a_fused_step_is_where_it_would_be(
    text: str, pc: int, registers: tuple[int, int], checked: bool, engine: str
) -> None:
    memory = bytearray(range(8))
    windows = [Window("memory", BASE, 8, READ_WRITE, Memory(memory))]
    thread = thread_of(f"{text}\nmov %r0, 1\nexit", engine, checked=checked, windows=windows)
    for _ in range(2):  # again with the window remembered
        spent: list[int] = []
        outcome = thread.run("main", (BASE, 0x2000, 3, 4, 5), budget=50, spend=spent.append)
        assert (outcome.status, outcome.pc, outcome.instructions) == (Status.FAULT, pc, pc + 1)
        assert outcome.registers == (0, BASE, 0x2000, 3, *registers, 0, 0, 0, 0, STACK_BASE + STACK_BYTES)
        assert sum(spent) == pc + 1
        assert memory == bytearray(range(8))


@each_engine
def test_runs_interleave_inside_a_fused_step(engine: str) -> None:
    """The load and the store of one fused sequence wait in two runs, while a third has its own memory in both."""
    text = "ldxdw %r4, [%r1]\nadd %r4, %r2\nstxdw [%r1], %r4\nmov %r0, %r4\nexit"
    main = greenlet.getcurrent()
    log: list[tuple[str, int]] = []

    def device(name: str, value: int) -> Registers:
        def read(offset: int, width: int) -> int:
            main.switch()
            return value

        def write(offset: int, width: int, written: int) -> None:
            main.switch()
            log.append((name, written))

        return Registers(read, write)

    private = bytearray((70).to_bytes(8, "little"))
    windows = [
        Window("a", 0x1000, 8, READ_WRITE, device("a", 100)),
        Window("b", 0x2000, 8, READ_WRITE, device("b", 200)),
        Window("private", 0x3000, 8, READ_WRITE, Memory(private)),
    ]
    thread = thread_of(text, engine, windows=windows)
    outcomes: dict[int, Outcome] = {}
    spent: dict[int, list[int]] = {base: [] for base in (0x1000, 0x2000, 0x3000)}

    def core(base: int, second: int) -> None:
        outcomes[base] = thread.run("main", (base, second), budget=9, spend=spent[base].append)

    cores = [greenlet.greenlet(core) for _ in range(2)]
    cores[0].switch(0x1000, 1)
    cores[1].switch(0x2000, 2)
    turns = 0
    while not all(core.dead for core in cores):
        core_of_memory = greenlet.greenlet(core)
        core_of_memory.switch(0x3000, 3)
        for waiting in cores:
            if not waiting.dead:
                waiting.switch()
        turns += 1
    assert turns == 2
    assert log == [("a", 101), ("b", 202)]
    assert (outcomes[0x1000].r0, outcomes[0x2000].r0, outcomes[0x3000].r0) == (101, 202, 76)
    assert spent == {0x1000: [1, 2, 2], 0x2000: [1, 2, 2], 0x3000: [5, 5]}


@each_engine
def test_what_a_spend_raises_ends_the_run_and_the_next_is_clean(engine: str) -> None:
    window = Window("shared", BASE, 8, READ_WRITE, Memory(bytearray(8), shared=True))
    thread = thread_of("mov %r0, 5\nldxb %r2, [%r1]\nadd %r0, %r2\nexit", engine, windows=[window])

    def leave(cost: int) -> None:
        raise KeyError("gone")

    with pytest.raises(KeyError, match="gone"):
        thread.run("main", (BASE,), budget=9, spend=leave)
    spent: list[int] = []
    assert thread.run("main", (BASE,), budget=9, spend=spent.append).r0 == 5
    assert spent == [2, 2]


@each_engine
@pytest.mark.parametrize("budget", [0, 1, 5, 9])
def test_a_metered_service_sees_and_uses_what_is_left(budget: int, engine: str) -> None:
    """It is told what is left behind its call, and what it takes is neither executed nor left afterwards."""
    seen: list[int] = []

    def take(left: int, *arguments: int) -> tuple[int, int]:
        seen.append(left)
        return 0, left // 2

    services = Services([Service(1, "take", take, "takes half", metered=True)])
    outcome = thread_of("call 1\n" * 3 + "exit", engine, services=services).run(
        "main", (), budget=budget, spend=no_time
    )
    expected: dict[int, tuple[list[int], int, Callable[[Outcome], bool]]] = {
        0: ([], 0, lambda end: end.pc == 0),
        1: ([0], 1, lambda end: end.pc == 1),
        5: ([4, 1, 0], 3, lambda end: end.pc == 3),
        9: ([8, 3, 1], 4, lambda end: end.status is Status.RETURNED),
    }
    lefts, executed, ends = expected[budget]
    assert (seen, outcome.instructions) == (lefts, executed)
    assert ends(outcome)


@each_engine
def test_a_metered_service_uses_no_more_than_there_is(engine: str) -> None:
    services = Services([Service(1, "glutton", lambda left, *rest: (0, left + 7), "takes all", metered=True)])
    spent: list[int] = []
    text = "mov %r6, 1\ncall 1\n" + "mov %r6, 2\n" * 20 + "exit"
    thread = thread_of(text, engine, services=services)
    outcome = thread.run("main", (), budget=50, spend=spent.append)
    assert (outcome.status, outcome.pc, outcome.instructions, outcome.registers[6]) == (Status.BUDGET, 2, 2, 1)
    assert spent == [2]
