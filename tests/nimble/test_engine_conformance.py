"""Every operation against hand-worked answers, on each engine, checked and unchecked."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from nimble.access import READ_WRITE, Memory, Window
from nimble.assembler import assemble
from nimble.engine.outcome import Outcome, Status, no_time
from nimble.isa import BY_MNEMONIC, TABLE, Operand
from nimble.program import Program
from nimble.services import Service, ServiceFault, Services
from tests.nimble.engines import each_engine, each_form, thread_of

HERE = Path(__file__).parent
BASE = 0x1000


def refuse(r1: int, r2: int, r3: int, r4: int, r5: int) -> int:
    raise ServiceFault(f"refused {r1}")


SERVICES = Services(
    [
        Service(1, "mix", lambda r1, r2, r3, r4, r5: r1 * 2 + r5, "r1 * 2 + r5"),
        Service(2, "refuse", refuse, "always a fault"),
    ]
)


@dataclass
class Case:
    name: str
    asm: str
    memory: bytes = b""
    after: bytes | None = None
    r0: int | None = None
    fault: str | None = None


@dataclass
class Blocks:
    """The lines of one case under each of its headings."""

    name: str
    lines: dict[str, list[str]] = field(default_factory=dict)

    def case(self) -> Case:
        text = {heading: "\n".join(lines).strip() for heading, lines in self.lines.items()}
        assert set(text) <= {"asm", "memory", "after", "r0", "fault"}, self.name
        assert ("r0" in text) != ("fault" in text), self.name
        return Case(
            self.name,
            text["asm"],
            bytes.fromhex(text.get("memory", "")),
            bytes.fromhex(text["after"]) if "after" in text else None,
            int(text["r0"], 16) if "r0" in text else None,
            text.get("fault"),
        )


def read_cases() -> list[Case]:
    cases: list[Blocks] = []
    heading = ""
    for line in (HERE / "conformance.txt").read_text().splitlines():
        if line.startswith("== "):
            cases.append(Blocks(line[3:]))
            heading = ""
        elif line.startswith("-- "):
            heading = line[3:]
            cases[-1].lines[heading] = []
        elif heading:
            cases[-1].lines[heading].append(line)
    return [blocks.case() for blocks in cases]


CASES = read_cases()
LINES = [
    line.split() for line in (HERE / "operations.txt").read_text().splitlines() if line and not line.startswith("#")
]


def run(
    program: Program, engine: str, *, checked: bool, args: tuple[int, ...] = (), memory: bytearray | None = None
) -> Outcome:
    windows = [Window("memory", BASE, len(memory), READ_WRITE, Memory(memory))] if memory else []
    thread = thread_of(program, engine, checked=checked, windows=windows, services=SERVICES)
    return thread.run("main", args, budget=1000, spend=no_time)


@each_engine
@each_form
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case, checked: bool, engine: str) -> None:
    memory = bytearray(case.memory)
    outcome = run(assemble(case.asm), engine, checked=checked, args=(BASE, len(memory)), memory=memory)
    if case.fault is None:
        assert (outcome.status, outcome.reason) == (Status.RETURNED, "")
        assert f"{outcome.r0:x}" == f"{case.r0:x}"
    else:
        assert outcome.status is Status.FAULT
        assert case.fault in outcome.reason
    assert memory.hex(" ") == (case.memory if case.after is None else case.after).hex(" ")


def operation_texts(mnemonic: str, operand: str) -> list[str]:
    """The forms in which a line of operations.txt can be written: destination r1, operand r2 or an immediate."""
    rows = BY_MNEMONIC[mnemonic]
    texts = []
    for row in rows:
        if operand == "-":
            texts.append(f"{mnemonic} %r1")
        elif Operand.SRC in row.operands:
            texts.append(f"{mnemonic} %r1, %r2")
        elif mnemonic.endswith("32") and int(operand, 16) < 1 << 32:
            texts.append(f"{mnemonic} %r1, 0x{operand}")
        elif not mnemonic.endswith("32") and -(1 << 31) <= signed(int(operand, 16)) < 1 << 31:
            texts.append(f"{mnemonic} %r1, {signed(int(operand, 16))}")
    return texts


def signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def operation_program(text: str, answer: str) -> Program:
    if answer in ("yes", "no"):
        return assemble(f"{text}, taken\nmov %r0, 0\nexit\ntaken: mov %r0, 1\nexit")
    return assemble(f"{text}\nmov %r0, %r1\nexit")


@each_engine
@each_form
@pytest.mark.parametrize("line", LINES, ids=" ".join)
def test_operation(line: list[str], checked: bool, engine: str) -> None:
    mnemonic, before, operand, answer = line
    texts = operation_texts(mnemonic, operand)
    assert texts
    args = (int(before, 16), 0 if operand == "-" else int(operand, 16))
    for text in texts:
        outcome = run(operation_program(text, answer), engine, checked=checked, args=args)
        assert outcome.status is Status.RETURNED
        assert f"{outcome.r0:x}" == {"yes": "1", "no": "0"}.get(answer, answer), text


def test_every_operation_of_the_table_has_an_answer() -> None:
    programs = [assemble(case.asm) for case in CASES]
    for mnemonic, _, operand, answer in LINES:
        programs += [operation_program(text, answer) for text in operation_texts(mnemonic, operand)]
    exercised = {operation for program in programs for _, _, operation in program.starts}
    assert [operation.mnemonic for operation in TABLE if operation not in exercised] == []
    assert len(TABLE) == 158


def test_each_condition_is_seen_both_taken_and_not() -> None:
    seen = {(line[0], line[3]) for line in LINES if line[3] in ("yes", "no")}
    branches = {mnemonic for mnemonic, _ in seen}
    assert seen == {(mnemonic, answer) for mnemonic in branches for answer in ("yes", "no")}
    assert len(branches) == 22
