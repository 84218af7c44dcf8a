"""The table of superoperators, what of a program they cover, and that each does what its parts do."""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from itertools import combinations, pairwise
from types import FrameType

import pytest

from nimble.access import READ_WRITE, AddressSpace, Memory, Window
from nimble.assembler import assemble
from nimble.engine import closures
from nimble.engine.outcome import no_time
from nimble.engine.runs import ONE_EACH, Placed, place
from nimble.engine.superoperators import FUSIBLE, SUPEROPERATORS, Superoperator, cover, label
from nimble.isa import TABLE, Group, Instruction, Operand, Operation
from nimble.program import Program
from nimble.services import Services
from nimble.verifier import Facts
from tests.nimble.engines import each_engine, thread_of

BASE = 0x1000
MOVES = (Group.JUMP, Group.BRANCH, Group.CALL_LOCAL, Group.EXIT)


def places_of(program: Program) -> dict[int, Placed]:
    return place(program, Facts(), ONE_EACH, checked=True)


def sequence(*labels: str) -> Superoperator:
    rows = {label(row): row for row in TABLE}
    return tuple(rows[text] for text in labels)


def test_labels_are_unique() -> None:
    assert len({label(row) for row in TABLE}) == len(TABLE)
    assert {"mov r", "mov i", "ldxdw", "lock add", "call local", "jne32 i"} <= {label(row) for row in TABLE}


@pytest.mark.parametrize("found", SUPEROPERATORS, ids=lambda found: "; ".join(map(label, found)))
def test_a_superoperator_is_short_and_moves_control_only_at_its_end(found: Superoperator) -> None:
    assert 2 <= len(found) <= 4
    assert all(row.group in FUSIBLE for row in found)
    assert not any(row.group in MOVES for row in found[:-1])
    assert SUPEROPERATORS.count(found) == 1


COVERED = [  # text, sequences, by pc the instructions done there
    ("mov %r1, %r2\nadd %r1, %r2\nexit", [("mov r", "add r")], {0: 2, 1: 1, 2: 1}),
    ("mov %r1, %r2\nadd %r1, %r2\nexit", [("mov r", "add r", "exit"), ("add r", "exit")], {0: 3, 1: 2, 2: 1}),
    ("mov %r1, 1\nadd %r1, 2\nexit", [("mov r", "add r")], {0: 1, 1: 1, 2: 1}),
    ("add %r1, 1\nadd %r1, 2\nadd %r1, 3\nexit", [("add i", "add i")], {0: 1, 1: 2, 2: 1, 3: 1}),
    ("lddw %r1, 5\nadd %r1, %r2\nexit", [("lddw", "add r")], {0: 2, 2: 1, 3: 1}),
    # The longest first step would leave two more; two pairs take two in all.
    (
        "mov %r1, 1\nadd %r1, 1\nsub %r1, 1\nxor %r1, 1\nexit",
        [("mov i", "add i", "sub i"), ("mov i", "add i"), ("sub i", "xor i", "exit")],
        {0: 2, 1: 1, 2: 3, 3: 1, 4: 1},
    ),
    # A run ends at a branch, taken or not.
    ("jeq %r1, 0, +0\nmov %r0, 1\nexit", [("jeq i", "mov i")], {0: 1, 1: 1, 2: 1}),
    ("call 1\nmov %r0, 1\nexit", [("mov i", "exit")], {0: 1, 1: 2, 2: 1}),
]


@pytest.mark.parametrize(("text", "sequences", "lengths"), COVERED)
def test_cover(text: str, sequences: list[tuple[str, ...]], lengths: dict[int, int]) -> None:
    assert cover(places_of(assemble(text)), [sequence(*labels) for labels in sequences]) == lengths


def test_without_superoperators_each_step_does_one() -> None:
    assert set(cover(places_of(assemble("mov %r1, %r2\nadd %r1, %r2\nexit")), []).values()) == {1}


def fewest(rows: Sequence[Operation], sequences: Sequence[Superoperator]) -> int:
    """The steps that a run takes at best, by trying every way to cut it."""
    cuts = range(1, len(rows))
    for count in range(len(rows)):
        for chosen in combinations(cuts, count):
            bounds = (0, *chosen, len(rows))
            pieces = [tuple(rows[low:high]) for low, high in pairwise(bounds)]
            if all(len(piece) == 1 or piece in sequences for piece in pieces):
                return len(pieces)
    raise AssertionError("single steps always do")


@pytest.mark.parametrize("seed", range(30))
def test_a_run_takes_the_fewest_steps(seed: int) -> None:
    chance = random.Random(seed)
    rows = sequence("mov r", "add r", "add i", "ldxdw")
    sequences = [tuple(chance.choices(rows, k=chance.randint(2, 4))) for _ in range(6)]
    code = [*chance.choices(rows, k=10), *sequence("exit")]
    program = Program(instructions=tuple(Instruction(row.opcode) for row in code), entries={"main": 0})
    lengths = cover(places_of(program), sequences)
    for begin in range(len(code)):
        at = steps = 0
        while begin + at < len(code):
            at += lengths[begin + at]
            steps += 1
        assert steps == fewest(code[begin:], sequences)


def instances(found: Superoperator, chance: random.Random) -> Program:
    """The sequence with operands that meet: r1..r3 point to memory, immediates are of both signs."""
    code: list[Instruction] = []
    for row in found:
        fields = {"dst": chance.choice((1, 2, 3, 4)), "src": chance.choice((1, 2, 3, 4))}
        fields["imm"] = chance.choice((-(1 << 31), -8, -1, 0, 1, 3, 8, 31, (1 << 31) - 1))
        fields["offset"] = chance.choice((-8, -4, 0, 1, 4, 8))
        if {Operand.TARGET, Operand.FUNCTION} & set(row.operands):
            fields["offset"] = fields["imm"] = 0
        if Operand.TARGET in row.operands:
            fields["offset"] = 1
            fields["imm"] = chance.choice((0, 1, -1))
        kept = {name: value for name, value in fields.items() if name in row.uses} | dict(row.fixed)
        code.append(Instruction(row.opcode, **kept))
        if row.group is Group.WIDE:
            code.append(Instruction(0, imm=chance.choice((0, -1))))
    code += [Instruction(0xBF, dst=0, src=4), Instruction(0x0F, dst=0, src=3), Instruction(0x95)]
    return Program(instructions=tuple(code), entries={"main": 0})


@each_engine
@pytest.mark.parametrize("found", SUPEROPERATORS, ids=lambda found: "; ".join(map(label, found)))
def test_a_superoperator_does_what_its_parts_do(found: Superoperator, engine: str) -> None:
    """Against closures with one instruction a step, at every budget, twice with windows remembered."""
    chance = random.Random("; ".join(map(label, found)))
    for _ in range(4 if engine == "closures" else 1):
        program = instances(found, chance)
        seen = []
        for fused in (False, True):
            memory = bytearray(random.Random(7).randbytes(64))
            windows = [Window("memory", BASE, 64, READ_WRITE, Memory(memory))]
            if fused:
                thread = thread_of(program, engine, windows=windows)
            else:
                space = AddressSpace(windows)
                thread = closures.translate(
                    program, space=space, services=Services(), checked=True, facts=Facts(), superoperators=()
                )
            args = (BASE + 16, BASE + 32, BASE + 40, 16)
            ends = [thread.run("main", args, budget=budget % 9, spend=no_time) for budget in range(18)]
            seen.append((ends, bytes(memory)))
        assert seen[0] == seen[1], program


def test_a_run_really_takes_the_steps_that_are_covered() -> None:
    """Two turns of mov; add | sub; jne, the second entered by a jump, and mov; exit."""
    text = "again: mov %r2, %r3\nadd %r2, %r4\nsub %r1, 1\njne %r1, 0, again\nmov %r0, 1\nexit"
    steps: list[str] = []

    def watch(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code.co_name == "step":
            steps.append(frame.f_code.co_name)

    for sequences, expected in (((), 10), (SUPEROPERATORS, 5)):
        thread = closures.translate(
            assemble(text),
            space=AddressSpace([]),
            services=Services(),
            checked=True,
            facts=Facts(),
            superoperators=sequences,
        )
        steps.clear()
        before = sys.getprofile()
        sys.setprofile(watch)
        try:
            outcome = thread.run("main", (2,), budget=99, spend=no_time)
        finally:
            sys.setprofile(before)
        assert (outcome.instructions, len(steps)) == (10, expected)
