"""What a long run of random traffic must reach, and that the command says what it has missed. Nothing is simulated."""

import sys
from collections import Counter
from types import SimpleNamespace

import pytest

from rtl.packets import DATAPATH_BITS
from tests.rtl.whole import command
from tests.rtl.whole.coverage import GROUPS, HOLES, Coverage


class Reaching:
    """Stands for a campaign: one phase reaches all bins but holes and those of `left_out`."""

    left_out: tuple[str, ...] = ()
    beyond: tuple[str, ...] = ()

    def __init__(self, _parameters: object, _seed: int, coverage: Coverage) -> None:
        self.coverage = coverage
        self.phases: Counter[str] = Counter()
        self.board = SimpleNamespace(simulator=SimpleNamespace(cycle=0))

    def phase(self) -> None:
        self.phases["all"] += 1
        for group, bins in GROUPS.items():
            for labels in bins - set(HOLES.get(group, {})):
                if labels != self.left_out:
                    self.coverage.hit(group, *labels)
        if self.beyond:
            self.coverage.hit("stalls", *self.beyond)

    def close(self) -> None:
        pass


@pytest.fixture
def fuzz(monkeypatch: pytest.MonkeyPatch) -> type[Reaching]:
    monkeypatch.setattr(command, "library", lambda parameters: None)
    monkeypatch.setattr(command, "Campaign", Reaching)
    # As many phases as it takes for each kind to have had one, in no time.
    monkeypatch.setattr(command, "time", SimpleNamespace(monotonic=iter(range(1_000_000)).__next__))
    monkeypatch.setattr(Reaching, "left_out", ())
    monkeypatch.setattr(Reaching, "beyond", ())
    return Reaching


def _main(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["fuzz-nic", "--phases", "1", "--seconds", "100", *arguments])
    return command.main()


def test_a_run_that_reaches_everything_is_good(fuzz: type[Reaching], monkeypatch: pytest.MonkeyPatch) -> None:
    assert _main(monkeypatch, "--require") == 0


def test_what_a_required_run_misses_is_named(
    fuzz: type[Reaching], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = min(GROUPS["atomics"])
    monkeypatch.setattr(fuzz, "left_out", labels)
    monkeypatch.setattr(fuzz, "beyond", ("nobody", "knew"))
    assert _main(monkeypatch) == 0
    assert "fuzz-nic: " not in capsys.readouterr().out
    assert _main(monkeypatch, "--require") == 1
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("fuzz-nic: ")]
    assert said == [
        f"fuzz-nic: {bits} bits: {what}"
        for bits in DATAPATH_BITS
        for what in (f"atomics: {' '.join(labels)}: not reached", "stalls: nobody knew: not foreseen")
    ]


def test_a_reason_excuses_a_bin(fuzz: type[Reaching], monkeypatch: pytest.MonkeyPatch) -> None:
    labels = min(GROUPS["atomics"])
    monkeypatch.setattr(fuzz, "left_out", labels)
    monkeypatch.setattr("tests.rtl.whole.coverage.HOLES", {**HOLES, "atomics": {labels: "it is an example"}})
    assert _main(monkeypatch, "--require") == 0


@pytest.mark.parametrize(
    ("arguments", "required"),
    [
        ([], False),
        (["--seconds", f"{command.LONG_SECONDS}"], True),
        (["--seconds", f"{command.LONG_SECONDS}", "--shape", "usual"], False),
        (["--seconds", f"{command.LONG_SECONDS}", "--datapath", "64"], False),
        (["--seconds", f"{command.LONG_SECONDS}", "--no-require"], False),
        (["--shape", "usual", "--require"], True),
    ],
)
def test_long_runs_of_everything_must_reach_everything(
    arguments: list[str], required: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["fuzz-nic", *arguments])
    assert command._is_required(command._options()) is required
