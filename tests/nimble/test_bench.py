"""The benchmark measures what it says, tells differences, and goes on without C."""

import json
import os
import shutil
from types import SimpleNamespace

import pytest
from rich.console import Console

from nimble.bench import bench, bounds, overheads, report
from nimble.bench import times as times_module
from nimble.bench.__main__ import main
from nimble.bench.bench import Measured, Results
from nimble.bench.cases import Case, cases
from nimble.bench.contenders import CHECKED, VARIANTS, C, DifferenceError, Engine, check_equal
from nimble.bench.overheads import Calls, Insertion
from nimble.bench.reference import CReference, NoCompilerError
from nimble.bench.times import QUICK, THOROUGH, Effort, Ratio, Times
from nimble.engine import ENGINES

CASES = {case.name: case for case in cases()}
NEEDS_CC = pytest.mark.skipif(shutil.which("cc") is None, reason="compares with C, and there is no cc")


# ---- differences ----


class Fake:
    """A contender that says and leaves what it is told to."""

    def __init__(self, result, *memories):
        self.placed = SimpleNamespace(memories=memories)
        self._result = result

    def run(self, repetitions):
        return self._result


CASE = Case("example", CASES["md5"].windows)


def test_other_results_are_told():
    found = {("C", ""): Fake(16), ("native", "checked"): Fake(17)}
    with pytest.raises(DifferenceError) as raised:
        check_equal(Case("example"), found)
    assert str(raised.value) == (
        "example: 2 repetitions give 0x11 in native (checked), 0x10 in C; one of them is wrong"
    )


def test_other_memory_is_told():
    found = {("closures", "checked"): Fake(1, b"abc", b"def"), ("native", "unchecked"): Fake(1, b"abc", b"dxf")}
    with pytest.raises(DifferenceError) as raised:
        check_equal(CASE, found)
    text = "byte 1 of message is 0x78 in native (unchecked), 0x65 in closures (checked)"
    assert str(raised.value) == f"example: {text}; one of them is wrong"


def test_a_program_that_does_not_return_is_a_difference():
    case = Case("eviction", CASES["eviction"].windows, (1 << 40,))
    with pytest.raises(DifferenceError) as raised:
        Engine(case, "threaded", CHECKED).run(1)
    assert str(raised.value).startswith("eviction: threaded (checked): did not return: ")
    assert "no window holds it" in str(raised.value)


# ---- times ----


def test_times_tell_median_least_and_ratios_round_by_round():
    mine, others = Times((3.0, 2.0, 8.0)), Times((1.0, 4.0, 2.0))
    assert (mine.median, mine.least) == (3.0, 2.0)
    assert mine.over(others) == Ratio(median=3.0, least=2.0)  # of 3, 0.5 and 4; of 2 and 1


def test_rounds_are_odd_so_that_the_median_is_a_measurement():
    assert all(effort.rounds % 2 for effort in (QUICK, THOROUGH))


def test_contenders_take_turns_with_the_repetitions_that_fill_the_time(monkeypatch):
    now, ran = [0], []
    monkeypatch.setattr(times_module.time, "thread_time_ns", lambda: now[0])

    def contender(name, ns):
        def run(count):
            ran.append((name, count))
            now[0] += ns * count

        return run

    taken = times_module.take_turns({"a": contender("a", 100), "b": contender("b", 7000)}, Effort(3, 1e-3))
    assert taken == {"a": Times((100.0,) * 3), "b": Times((7000.0,) * 3)}
    assert ran[-6:] == [("a", 10_000), ("b", 143)] * 3


# ---- C ----


def test_without_a_compiler_it_says_so():
    with pytest.raises(NoCompilerError) as raised:
        CReference("no-such-compiler")
    assert str(raised.value) == (
        "no-such-compiler: no such C compiler; the columns that compare with C are left out; install one (Debian: apt "
        "install gcc)"
    )


@pytest.fixture
def broken_compiler(monkeypatch, tmp_path):
    compiler = tmp_path / "cc"
    compiler.write_text("#!/bin/sh\necho 'cannot execute cc1' >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path) + os.pathsep + os.environ["PATH"])
    return compiler


def test_a_compiler_that_does_not_work_is_told(broken_compiler):
    with CReference() as reference, pytest.raises(NoCompilerError) as raised:
        reference.yardstick()
    text = "yardstick.c: cannot execute cc1; the columns that compare with C are left out; mend the compiler"
    assert str(raised.value) == f"{broken_compiler}: {text}"


@NEEDS_CC
def test_the_yardstick_adds():
    with CReference() as reference:
        assert reference.yardstick()(32) == 32 * 32


# ---- overheads ----


def test_programs_to_insert_have_100_instructions_and_are_never_the_same():
    made = overheads._programs()
    one, other = next(made), next(made)
    assert len(one.starts) == len(other.starts) == 100
    assert one.instructions != other.instructions


def test_insertion_and_calls_are_measured():
    effort = Effort(3, 1e-5)
    insertion, calls = overheads.insertion("threaded", effort), overheads.calls("threaded", effort)
    measured = (insertion.verify, insertion.translate, insertion.ready, calls.run, calls.event)
    assert [len(one.ns) for one in measured] == [3] * 5
    assert all(one.least > 0 for one in measured)
    assert overheads.native_call(effort).least > 0


# ---- results ----


def times(*ns):
    return Times(tuple(map(float, ns)))


NAMES = [(engine, variant.name) for engine in ENGINES for variant in VARIANTS]


def measured(case, *, c=True):
    """C takes 100 ns for a repetition of 50 instructions; an engine's place in NAMES decides what it takes."""
    taken = {name: times(150 * place, 100 * place, 200 * place) for place, name in enumerate(NAMES, 1)}
    return Measured(
        case, {(C, ""): times(100, 100, 100)} | taken if c else taken, 50.0,
        slots=20, accesses=4, proved=3, compile_ns=10_000,
    )  # fmt: skip


def results(*names, c=True):
    """Of the named cases; of all if none is named."""
    return Results(
        measured=tuple(measured(case, c=c) for name, case in CASES.items() if name in (names or CASES)),
        insertions={name: Insertion(times(1), times(2), times(1_000_000)) for name in ENGINES},
        calls={name: Calls(times(1000), times(1501)) for name in ENGINES},
        native_call=times(250),
        counts={},
        yardstick=times(0.25) if c else None,
    )


def test_bounds_are_judged_by_medians():
    native, threaded, closures, insertion, call = bounds.bounds(results())
    assert NAMES[0] == ("closures", "checked")
    assert (closures.value, closures.verdict) == (pytest.approx(150 / 50 / 0.25), "holds")
    assert (threaded.value, threaded.verdict) == (pytest.approx(5 * 150 / 50 / 0.25), "does not hold")
    assert (native.value, native.verdict) == (pytest.approx(9 * 1.5), "does not hold")
    assert (threaded.most, closures.most) == (pytest.approx(1 / 0.3), pytest.approx(90 / 0.3))
    assert (insertion.value, insertion.verdict) == (1000, "holds")
    assert (call.value, call.verdict) == (1.501, "does not hold")


@pytest.mark.parametrize("given", [results(c=False), results("sieve")], ids=["no C", "one program"])
def test_bounds_without_their_measurements_are_not_judged(given):
    assert [one.verdict for one in bounds.bounds(given)[:3]] == ["not measured"] * 3


def printed(given):
    console = Console(width=200, record=True, file=open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    with console.file:
        report.show(given, console)
        return console.export_text()


def test_the_report_has_every_table():
    text = printed(results())
    for part in ("speed, checked and metered", "checked against unchecked", "insertion of 100 instructions", "bounds"):
        assert part in text
    assert "arithmetic" in text
    assert "3 (2)" in text  # ns per instruction of closures: median and least
    assert "does not hold" in text


def test_the_report_leaves_c_out_when_it_was_not_measured():
    with_c, without = printed(results()), printed(results(c=False))
    assert "of C" in with_c
    assert "of C" not in without
    assert "not measured" in without


def test_json_has_every_figure():
    data = json.loads(json.dumps(report.as_json(results())))
    assert list(data) == [
        "yardstick_ns", "programs", "insertion_ns", "call_ns", "native_call_ns", "native_compile_us_per_instruction",
        "machine_instructions", "bounds",
    ]  # fmt: skip
    program = data["programs"]["md5"]
    assert (program["accesses"], program["proved"]) == (4, 3)
    assert program["runs"][1] == {
        "engine": "closures",
        "variant": "checked",
        "ns_per_repetition": {"median": 150, "least": 100},
        "ns_per_instruction": {"median": 3, "least": 2},
        "over_c": {"median": 1.5, "least": 1},
    }
    assert data["native_compile_us_per_instruction"] == 0.5
    assert data["bounds"][4]["verdict"] == "does not hold"


# ---- the command ----


@pytest.fixture
def quick_overheads(monkeypatch):
    given = results()
    monkeypatch.setattr(overheads, "insertion", lambda engine, effort: given.insertions[engine])
    monkeypatch.setattr(overheads, "calls", lambda engine, effort: given.calls[engine])


@NEEDS_CC
def test_the_command_measures(quick_overheads, capsys):
    assert main(["--quick", "--json", "--program", "arithmetic"]) == 0
    out, err = capsys.readouterr()
    runs = json.loads(out)["programs"]["arithmetic"]["runs"]
    assert [run["engine"] for run in runs] == [C, *(name for name in ENGINES for _ in VARIANTS)]
    assert {run["variant"] for run in runs[1:]} == {variant.name for variant in VARIANTS}
    assert "arithmetic: measuring" in err


def test_the_command_goes_on_without_a_compiler(quick_overheads, broken_compiler, capsys):
    assert main(["--quick", "--program", "arithmetic"]) == 0
    out, err = capsys.readouterr()
    assert "of C" not in out
    assert "yardstick.c: cannot execute cc1; the columns that compare with C are left out" in err


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (DifferenceError("md5: differs"), 1, "md5: differs\n"),
        (KeyboardInterrupt(), 130, "bench-nimble: interrupted; nothing is left behind\n"),
    ],
)
def test_the_command_ends_with_a_line_and_a_status(monkeypatch, capsys, error, status, text):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr("nimble.bench.__main__.measure", fail)
    assert main([]) == status
    assert capsys.readouterr().err == text


def test_unknown_programs_are_refused(capsys):
    with pytest.raises(SystemExit) as raised:
        main(["--program", "md6"])
    assert raised.value.code == 2
    assert "invalid choice: 'md6' (choose from" in capsys.readouterr().err


def test_results_that_differ_end_the_measurement(monkeypatch, quick_overheads, capsys):
    found = {(C, ""): Fake(1), ("native", CHECKED.name): Fake(2)}
    monkeypatch.setattr(bench, "contenders", lambda case, reference: found)
    assert main(["--program", "primes"]) == 1
    assert "primes: 2 repetitions give 0x2 in native (checked), 0x1 in C" in capsys.readouterr().err
