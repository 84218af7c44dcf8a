"""What a profile counts and says is saved, by hand; and its command."""

from __future__ import annotations

import argparse
import json
from itertools import pairwise
from pathlib import Path

import pytest

from nimble import elf_writer
from nimble.access import AddressSpace
from nimble.assembler import assemble
from nimble.cli import CommandError
from nimble.engine.outcome import Status
from nimble.engine.profile import DispatchTime, Frequency, Profile, measure_dispatch, profile
from nimble.engine.superoperators import SUPEROPERATORS, label
from nimble.profile_command import add_arguments, main
from nimble.services import Services

LOOP = """
    mov %r0, 0              # 0
    mov %r1, 3              # 1
again:
    mul %r2, 3              # 2
    div %r2, 3              # 3
    sub %r1, 1              # 4
    jne %r1, 0, again       # 5
    exit                    # 6
"""
TRACE = [0, 1, *[2, 3, 4, 5] * 3, 6]


def profile_of(text: str, *, budget: int = 100, longest: int = 2) -> Profile:
    space, services = AddressSpace([]), Services()
    return profile(
        assemble(text), "main", (1, 1), space=space, services=services, checked=True, budget=budget, longest=longest
    )


def by_text(found: Profile) -> dict[str, Frequency]:
    return {each.text: each for each in found.sequences}


def test_a_loop_by_hand() -> None:
    """The first run has mov, mov before a turn; a turn is mul, div and one step for sub and jne; then exit."""
    known = {"; ".join(map(label, sequence)) for sequence in SUPEROPERATORS}
    assert "sub i; jne i" in known
    assert not known & {"mov i; mov i", "mov i; mul i", "mul i; div i", "div i; sub i"}
    found = profile_of(LOOP)
    assert (found.outcome.status, found.outcome.instructions) == (Status.RETURNED, len(TRACE))
    assert found.dispatches == 2 + 3 * 3 + 1
    told = {text: (each.times, each.known, each.saves) for text, each in by_text(found).items()}
    assert told == {
        "mov i; mov i": (1, False, 1),
        "mov i; mul i": (1, False, 1),
        "mul i; div i": (3, False, 3),
        "div i; sub i": (3, False, 0),
        "sub i; jne i": (3, True, 3),
    }
    assert [each.saves for each in found.sequences] == [3, 3, 1, 1, 0]


def test_what_is_saved_is_told_of_what_there_is_without_it() -> None:
    found = profile_of(LOOP)
    pairs = by_text(found)
    assert found.percent(pairs["mul i; div i"]) == pytest.approx(100 * 3 / 12)
    assert found.percent(pairs["sub i; jne i"]) == pytest.approx(100 * 3 / 15)
    half = DispatchTime(dispatch_ns=20, instruction_ns=40)
    assert found.time_percent(pairs["mul i; div i"], half) == pytest.approx(100 * 1.5 / (15 * 0.5 + 12 * 0.5))


@pytest.mark.parametrize("budget", range(len(TRACE) + 1))
def test_a_run_that_its_budget_ends_is_counted_as_far_as_it_went(budget: int) -> None:
    found = profile_of(LOOP, budget=budget)
    pairs = list(pairwise(TRACE[:budget]))
    times = {text: each.times for text, each in by_text(found).items()}
    for pc, text in ((0, "mov i; mov i"), (1, "mov i; mul i"), (2, "mul i; div i"), (4, "sub i; jne i")):
        assert times.get(text, 0) == pairs.count((pc, pc + 1))


@pytest.mark.parametrize("budget", [100, 5])
def test_a_run_that_faults_is_counted_as_far_as_it_went(budget: int) -> None:
    """Whether its last run was paid in full, or executed one by one since too little was left."""
    text = "mov %r0, 1\nmul %r0, 3\nja +0\nmul %r0, 3\nldxb %r2, [%r0]\nmul %r0, 3\ndiv %r0, 3\nexit"
    found = profile_of(text, budget=budget, longest=3)
    assert (found.outcome.status, found.outcome.pc, found.outcome.instructions) == (Status.FAULT, 4, 5)
    executed = {each.text for each in found.sequences if each.times}
    assert executed == {"mov i; mul i", "mul i; ja", "mov i; mul i; ja", "mul i; ldxb"}


def test_a_dispatch_is_measured() -> None:
    measured = measure_dispatch()
    assert measured.instruction_ns > 0
    assert measured.dispatch_ns >= 0


def run(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert main(parser.parse_args(words)) == 0
    return capsys.readouterr().out


def written(folder: Path, text: str) -> str:
    path = folder / "loop.o"
    path.write_bytes(elf_writer.write(assemble(text)))
    return str(path)


def test_the_command_prints_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "ldxdw %r6, [%r1]\nmul %r6, 3\ndiv %r6, %r2\nlddw %r3, STATE\nldxb %r4, [%r3]\ncall 7\nadd %r0, %r6\nexit"
    path = written(tmp_path, ".state 8\n" + text)
    told = json.loads(run(capsys, path, "--arg", "0x1000", "--arg", "2", "--window", "m:0x1000:8:rw", "--json"))
    assert (told["status"], told["instructions"]) == ("returned", 8)
    assert {"sequence", "times", "superoperator", "saves_dispatches", "saves_percent", "saves_time_percent"} == set(
        told["sequences"][0]
    )
    assert {"mul i; div r": 1, "lddw; ldxb": 1}.items() <= {
        each["sequence"]: each["times"] for each in told["sequences"]
    }.items()


def test_the_command_prints_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = run(capsys, written(tmp_path, LOOP), "--longest", "2", "--top", "2")
    assert "returned: 15 instructions, 12 dispatches of closures" in " ".join(told.split())
    lines = [line.split() for line in told.splitlines()]
    assert ["mul", "i;", "div", "i", "3", "3", "25.0"] in [line[:7] for line in lines]
    assert ["sub", "i;", "jne", "i", "3", "3", "20.0"] in [line[:7] for line in lines]
    assert not any(line[:2] == ["mov", "i;"] for line in lines)
    stopped = run(capsys, written(tmp_path, LOOP), "--budget", "4")
    assert "the budget of 4 instructions is exhausted" in " ".join(stopped.split())


REFUSED = [
    (["--entry", "other"], "--entry: other is unknown; known are main; name one of them"),
    (["--arg", "1"] * 6, "--arg: 6 are given; r1..r5 take 5; leave some out"),
    (["--window", "a:0:8:r", "--window", "b:4:8:r"], "--window: windows a 0x0..0x8 and b 0x4..0xc overlap"),
]


@pytest.mark.parametrize(("words", "message"), REFUSED)
def test_the_command_refuses(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CommandError) as refusal:
        run(capsys, written(tmp_path, LOOP), *words)
    assert message in str(refusal.value)


def test_the_command_refuses_what_is_no_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CommandError, match=r"absent\.o: No such file or directory; give a file that can be read"):
        run(capsys, str(tmp_path / "absent.o"))
    (tmp_path / "text.o").write_text("mov r0, 1")
    with pytest.raises(CommandError, match="text"):
        run(capsys, str(tmp_path / "text.o"))
    two = written(tmp_path, ".entry a\nmov %r0, 1\nexit\n.entry b\nmov %r0, 1\nexit")
    with pytest.raises(CommandError, match="has the entries a, b; none is main; choose one with --entry"):
        run(capsys, two)


@pytest.mark.parametrize("window", ["m", "m:0:8:x", "m:0:8:r:9", "m:zero:8:r"])
def test_a_window_is_written_in_one_way(window: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(capsys, "loop.o", "--window", window)
    assert f"argument --window: invalid NAME:BASE:LENGTH:RIGHTS value: '{window}'" in capsys.readouterr().err
