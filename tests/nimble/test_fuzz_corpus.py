"""The fuzzer's corpus on all engines, a short fuzz, and the fuzzer itself: it must find what is wrong on purpose."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from nimble.access import STACK, STATE_BASE, TEXT_BASE, AddressSpace
from nimble.assembler import assemble
from nimble.engine.native.loops import loop_at
from nimble.engine.native.turns import QuickFunction
from nimble.engine.runs import ONE_EACH, Placed, place
from nimble.isa import TABLE, encode
from nimble.verifier import Facts, InsertionRefused, verify
from tests.fuzz import lockstep
from tests.fuzz.__main__ import main
from tests.fuzz.case import FLAT, READ, Area, Backing, Call, Case
from tests.fuzz.driver import Plan, Summary, forms_of, reduced
from tests.fuzz.driver import run as drive
from tests.fuzz.lockstep import ENGINES, Form, Tally, engine, examine, expectations
from tests.fuzz.programs import KINDS, case_of
from tests.fuzz.reference import Prices, Reference, Result, arithmetic, slots_of, swap, taken
from tests.fuzz.saboteurs import SABOTEURS
from tests.fuzz.shrink import shrink
from tests.fuzz.world import World

HERE = Path(__file__).parent
CORPUS = sorted((HERE / "corpus").glob("*.json"))
LINES = [
    line.split() for line in (HERE / "operations.txt").read_text().splitlines() if line and not line.startswith("#")
]
ONES = Prices([1] * 256, [1] * 256)
TOP = STACK.end
DEVICE, READ_ONLY = 0x1000, 0x2000


def case_with(text: str, *args: int, budget: int = 100, **rest: Any) -> Case:
    program = assemble(text)
    return Case(
        code=encode(program.instructions),
        entries=dict(program.entries),
        calls=(Call("main", args, budget),),
        backings=(Backing("device", 8), Backing("memory", 16)),
        areas=(Area("device", 0, DEVICE, 8, widths=(4,)), Area("constants", 1, READ_ONLY, 16, READ)),
        state=16,
        **rest,
    )


def interpreted(case: Case, *, checked: bool = True) -> tuple[Result, World]:
    world = World(case)
    (result,) = world.perform(Reference(case, world, checked=checked, prices=ONES, proved={}))
    return result, world


@pytest.mark.parametrize("line", LINES, ids=" ".join)
def test_the_reference_on_worked_answers(line: list[str]) -> None:
    mnemonic, before, operand, answer = line
    form = f"{mnemonic} %r1" if operand == "-" else f"{mnemonic} %r1, %r2"
    a, b = int(before, 16), 0 if operand == "-" else int(operand, 16)
    jumps = answer in ("yes", "no")
    (op, _, _, off, imm), *_ = slots_of(encode(assemble(f"{form}{', +0' if jumps else ''}\nexit").instructions))
    if jumps:
        assert taken(op, a, b) is (answer == "yes")
    else:
        assert f"{swap(op, imm, a) if op >> 4 == 0xD else arithmetic(op, off, a, b):x}" == answer


# Worked by hand: text, then status, instructions, pc, r0..r10 by number (those that are not 0), start of the state.
FRAMES = "mov %r6, 6\nmov %r2, 2\ncall local f\nexit\nf: mov %r0, %r2\nadd %r0, %r6\nmov %r6, 9\nexit"
CASES = [
    ("a frame", FRAMES, 9, "returned", 8, -1, {}, ""),
    ("budget in a frame", FRAMES, 6, "budget exhausted", 6, 7, {0: 2, 2: 2, 6: 9, 10: TOP - 512}, ""),
    ("after a frame", FRAMES, 7, "budget exhausted", 7, 3, {0: 2, 6: 6, 10: TOP}, ""),
    ("depth", "call local -1\nexit", 99, "fault", 8, 0, {10: TOP - 7 * 512}, ""),
    ("no budget", "exit", 0, "budget exhausted", 0, 0, {10: TOP}, ""),
    ("lddw", "lddw %r1, 0x8000000000000001\nldxb %r0, [%r1]\nexit", 9, "fault", 2, 2, {1: (1 << 63) + 1, 10: TOP}, ""),
    ("gotol", "gotol +1\nmov %r0, 1\nldxb %r3, [%r0]\nexit", 9, "fault", 2, 2, {10: TOP}, ""),
    (
        "atomics",
        f"lddw %r1, {STATE_BASE}\nstdw [%r1], -1\nstw [%r1+8], 5\nmov %r2, 3\nlock fetch_add32 [%r1+4], %r2\n"
        "mov %r0, 5\nmov32 %r3, 7\nlock cmpxchg32 [%r1+8], %r3\nlock xchg [%r1], %r3\nstxb [%r0], %r0\nexit",
        99,
        "fault",
        10,
        10,
        {0: 5, 1: STATE_BASE, 2: 0xFFFF_FFFF, 3: 0x0000_0002_FFFF_FFFF, 10: TOP},
        "0700000000000000 07",
    ),
    (
        "call of an address",
        f"lddw %r1, {TEXT_BASE + 32}\ncallx %r1\nexit\nmov %r0, %r1\nstxb [%r10-513], %r0\nexit",
        99,
        "fault",
        4,
        5,
        {0: TEXT_BASE + 32, 1: TEXT_BASE + 32, 10: TOP - 512},
        "",
    ),
    ("call of nothing", "mov %r6, 99\ncallx %r6\nexit", 9, "fault", 2, 1, {6: 99, 10: TOP}, ""),
    (
        "rights",
        f"mov %r1, {READ_ONLY}\nldxb %r0, [%r1]\nstb [%r1], 1\nexit",
        9,
        "fault",
        3,
        2,
        {1: READ_ONLY, 10: TOP},
        "",
    ),
    ("device width", f"mov %r1, {DEVICE}\nldxb %r2, [%r1]\nexit", 9, "fault", 2, 1, {1: DEVICE, 10: TOP}, ""),
]


@pytest.mark.parametrize(("text", "budget", "status", "count", "pc", "registers", "state"), [row[1:] for row in CASES])
def test_the_reference_on_worked_runs(
    text: str, budget: int, status: str, count: int, pc: int, registers: dict[int, int], state: str
) -> None:
    case = case_with(text, budget=budget)
    result, world = interpreted(case)
    assert (result.status, result.instructions, result.pc) == (status, count, pc)
    assert {n: value for n, value in enumerate(result.registers) if value} == registers
    assert bytes(world.buffers[-1]).startswith(bytes.fromhex(state))


def test_the_reference_pays_before_what_others_see() -> None:
    case = case_with(f"mov %r1, {DEVICE}\nstw [%r1+4], 7\nmov %r2, 1\ncall 1\nexit", seed=1)
    result, world = interpreted(case)
    assert result.status == "returned"
    assert world.log == [
        (0, "spend", 2, b""),
        (0, "write", 0, 4, 4, 7),
        (0, "spend", 2, b""),
        (0, "serve", 1, None, DEVICE, 1, 0, 0, 0),
        (0, "spend", 1, b""),
    ]


def told(case: Case, engines: Sequence[str], tally: Tally) -> list[str]:
    return [str(difference) for difference in examine(case, {name: engine(name) for name in engines}, tally)]


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_corpus(path: Path) -> None:
    """``expected`` is null where the verifier refuses the program."""
    case, expected = Case.from_json(path.read_text())
    assert Case.from_json(case.to_json(expected)) == (case, expected)
    tally = Tally()
    assert told(case, ENGINES, tally) == []
    assert bool(tally.refused) == (expected is None)
    assert expected is None or expectations(case) == expected


def test_a_short_fuzz_finds_nothing_and_misses_no_operation() -> None:
    tally = Tally()
    for number in range(500):
        assert told(case_of(2, number), ENGINES[: 3 if number % 50 == 0 else 2], tally) == [], number
    assert tally.programs == 500
    assert tally.refused < 150
    assert min(tally.statuses.values()) > 20
    assert set(tally.statuses) == {"returned", "fault", "budget exhausted", "trouble"}
    assert len(tally.executed) > 0.97 * len(TABLE)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_makes_the_same_case(kind: str) -> None:
    assert [case_of(5, number, kind) for number in range(20)] == [case_of(5, number, kind) for number in range(20)]
    assert case_of(5, 0, kind) != case_of(6, 0, kind)


def quick_loops(case: Case) -> bool:
    """Whether ``native`` runs a loop of the program without questions."""
    world = World(case)
    try:
        facts = verify(case.program, world.services(), AddressSpace(world.windows()))
    except InsertionRefused:
        return False
    placed = place(case.program, facts, ONE_EACH, checked=True)
    targets = {one.target for one in placed.values() if one.target is not None}
    return any(loop_at(placed, pc, targets - {pc}) for pc in targets)


def test_programs_of_loops_have_them_and_differ_in_nothing() -> None:
    assert sum(quick_loops(case_of(2, number, "loops")) for number in range(100)) > 50
    engines = {name: engine(name) for name in ENGINES}
    for number in range(24):
        assert examine(case_of(2, number, "loops"), engines, Tally(), forms_of(number, "loops")) == [], number


def test_turns_that_cost_nothing_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    charge = QuickFunction._charge

    def for_nothing(function: QuickFunction, first: Placed, turns: str) -> None:
        charge(function, first._replace(cost=0), turns)

    monkeypatch.setattr(QuickFunction, "_charge", for_nothing)
    native = {"native": engine("native")}
    cases = (case_of(2, number, "loops") for number in range(60))
    found = (examine(case, native, Tally(), [Form(True, True)]) for case in cases if not case.seed & FLAT)
    difference = next(iter(filter(None, found)))[0]
    assert difference.kind == "native: event"


@pytest.mark.parametrize("name", SABOTEURS)
def test_what_is_wrong_on_purpose_is_found(name: str) -> None:
    wrong = {name: engine(f"tests.fuzz.saboteurs:{name}")}
    for number in range(400):
        differences = examine(case_of(3, number), wrong, Tally())
        if differences:
            assert str(differences[0]).startswith(f"{name}, ")
            return
    pytest.fail(f"{name} was not found in 400 programs")


def test_engines_that_word_a_fault_otherwise_differ() -> None:
    engines = {name: engine(name) for name in ("closures", "tests.fuzz.saboteurs:words_it_otherwise")}
    differences = examine(case_with("ldxb %r0, [%r1]\nexit"), engines, Tally())
    assert {(found.engine, found.what) for found in differences} == {
        ("tests.fuzz.saboteurs:words_it_otherwise", "reasons")
    }


def test_a_proof_that_does_not_hold_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lockstep, "verify", lambda program, services, space: Facts({0: STACK}))
    (difference,) = examine(case_with("ldxb %r0, [%r1]\nexit"), {}, Tally(), [Form(True, True)])
    assert str(difference) == (
        "verifier, checked, with facts: proof: expected to hold, found pc 0: 1-byte read at 0x0 was proved to lie in "
        "stack"
    )


def test_a_verifier_that_breaks_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: object) -> Facts:
        raise KeyError("r11")

    monkeypatch.setattr(lockstep, "verify", breaks)
    (difference,) = examine(case_with("exit"), {}, Tally())
    assert str(difference) == "verifier: verdict: expected acceptance or refusal, found KeyError('r11')"


def test_a_difference_is_made_small() -> None:
    wrong = {"wrong": engine("tests.fuzz.saboteurs:arsh_fills_with_zeros")}

    def shows(case: Case) -> bool:
        return bool(examine(case, wrong, Tally()))

    number = next(number for number in range(400) if shows(case_of(3, number)))
    small = shrink(case_of(3, number), shows)
    assert shows(small)
    assert len(small.code) // 8 <= 6
    assert len(small.calls) == 1


def with_bswap64(seed: int, programs: int) -> list[int]:
    """The numbers of accepted programs that two saboteurs stumble over."""
    return [
        number
        for number in range(programs)
        if any(slot[0] == 0xD7 and slot[4] == 64 for slot in slots_of(case_of(seed, number).code))
        and not refused(case_of(seed, number))
    ]


def refused(case: Case) -> bool:
    tally = Tally()
    examine(case, {}, tally)
    return bool(tally.refused)


def plan_with(saboteur: str, **rest: Any) -> Plan:
    engines = ("closures", f"tests.fuzz.saboteurs:{saboteur}")
    return Plan(**{"programs": 60, "seed": 4, "engines": engines, "native_every": 1, "workers": 2} | rest)


def test_a_worker_that_dies_is_told_and_its_work_goes_on() -> None:
    plan = plan_with("dies")
    deadly = with_bswap64(plan.seed, plan.programs)
    assert 0 < len(deadly) < 20
    summary = drive(plan, lambda summary: None)
    assert [found.number for found in summary.found] == deadly
    assert all(found.died and found.kind == "SIGABRT" for found in summary.found)
    assert len(reduced(plan, summary.found[0]).code) // 8 <= 3


def test_a_worker_that_hangs_is_told() -> None:
    first = with_bswap64(4, 60)[0]
    plan = plan_with("hangs", programs=first + 1, workers=1, patience_seconds=0.5)
    (found,) = drive(plan, lambda summary: None).found
    assert (found.number, found.kind) == (first, "SIGKILL, of a program that did not end")


def test_an_interrupt_ends_early_with_what_was_seen() -> None:
    interrupts = iter([KeyboardInterrupt])

    def progress(summary: Summary) -> None:
        if summary.tally.programs and (interrupt := next(interrupts, None)):
            raise interrupt

    summary = drive(Plan(programs=100_000, seed=4, engines=("closures",), native_every=1, workers=1), progress)
    assert 0 < summary.tally.programs < 100_000
    assert summary.found == []


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["fuzz", *arguments])
    return main()


def test_the_command_tells_what_it_found_and_keeps_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    options = ["--programs", "12", "--seed", "4", "--workers", "1", "--corpus", str(tmp_path)]
    assert command(monkeypatch, *options, "--engines", "closures") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("engines: closures; seed 4; ")
    assert lines[1].startswith("programs: 12; ")
    assert "  exit: 1 of 1" in lines
    assert any(line.startswith("  branch: ") and "; never: " in line for line in lines)
    assert lines[-1] == "differences: 0 programs"
    assert list(tmp_path.iterdir()) == []
    assert command(monkeypatch, *options, "--engines", "tests.fuzz.saboteurs:ignores_costs") == 1
    lines = capsys.readouterr().out.splitlines()
    kept = sorted(tmp_path.iterdir())
    assert any(line.startswith("- tests.fuzz.saboteurs:ignores_costs: event: ") for line in lines)
    assert {line.removeprefix("  made small: ") for line in lines if "made small" in line} == {*map(str, kept)}
    for path in kept:
        case, expected = Case.from_json(path.read_text())
        assert expected == expectations(case)
        assert len(case.code) // 8 <= 3


def test_the_command_refuses_what_is_not_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, "--engines", "closure") == 2
    assert capsys.readouterr().out == (
        "fuzz: engine closure: No module named 'nimble.engine.closure'; name some of closures, threaded, native\n"
    )
    with pytest.raises(SystemExit):
        command(monkeypatch, "--programs", "0")
    assert "argument --programs: 0 is less than 1; give 1 or more" in capsys.readouterr().err
