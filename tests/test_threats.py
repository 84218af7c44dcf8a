"""Every threat has a countermeasure, and every countermeasure a test or a theorem that exists and has run."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.evidence import THEOREM, rows
from tests.evidence_exists import exists
from tests.formal import report
from tests.formal.catalogue import catalogue

ROOT = Path(__file__).parents[1]
THREATS = rows(ROOT, "threats.yaml")


@pytest.mark.parametrize("row", THREATS, ids=lambda row: row["threat"])
def test_what_stands_against_a_threat_is_shown(row: dict[str, Any]) -> None:
    assert set(row) == {"threat", "way_in", "countermeasure", "shown_by"}
    assert all(row.values())
    assert [evidence for evidence in row["shown_by"] if not exists(evidence)] == []


def test_no_threat_is_there_twice() -> None:
    assert len({row["threat"] for row in THREATS}) == len(THREATS)


@pytest.mark.parametrize(
    "evidence",
    [
        "formal: trusted.nothing",
        "tests/test_threats.py::test_nothing",
        "tests/test_threats.py",
        "tests/threats.yaml::test_no_threat_is_there_twice",
        "tests/test_nothing.py::test_nothing",
        "portals_check: nothing",
    ],
)
def test_evidence_that_is_not_there_is_found_out(evidence: str) -> None:
    assert not exists(evidence)


def test_all_properties_of_the_nic_stand_against_some_threat() -> None:
    named = {evidence.removeprefix(THEOREM) for row in THREATS for evidence in row["shown_by"]}
    assert {theorem.number for name, theorem in catalogue().items() if name in named} == {1, 2, 3, 4, 5}


# ---- what has run ----

SUITE = """\
import pytest
def test_passes(): pass
@pytest.mark.parametrize("n", [1, 2])
def test_passes_twice(n): pass
@pytest.mark.skip(reason="no such simulator here")
def test_is_skipped(): pass
@pytest.mark.parametrize("n", [pytest.param(1, marks=pytest.mark.skip(reason="not this one")), 2])
def test_is_skipped_in_part(n): pass
def test_other(): pass
"""


def _run(root: Path, evidence: list[str], *arguments: str) -> tuple[int, list[str]]:
    """The status of a run of SUITE with this project's hooks, and what it says of the threats."""
    (root / "tests").mkdir()
    (root / "tests" / "test_suite.py").write_text(SUITE)
    (root / "tests" / "threats.yaml").write_text(yaml.safe_dump([{"shown_by": evidence}]))
    (root / "tests" / "semantics.yaml").write_text("[]")
    (root / "pytest.ini").write_text("[pytest]\ntestpaths = tests\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", *arguments],
        cwd=root, env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": ""}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    _, _, said = done.stdout.partition("= tests/threats.yaml =")
    return done.returncode, [line for line in said.splitlines()[1:] if line and not line.startswith("=")]


UNTRIED = "proofs are taken on trust: these sources were not proved yet, which `make formal` does"
FUNCTION = "tests/test_suite.py::test_"


@pytest.mark.parametrize("arguments", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_what_shows_that_no_threat_is_open_has_run(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    names = ("passes", "passes_twice", "is_skipped", "is_skipped_in_part")
    assert _run(tmp_path, [*(FUNCTION + name for name in names), "formal: a"], *arguments) == (
        0,
        [UNTRIED, f"{FUNCTION}is_skipped: Skipped: no such simulator here",
         f"{FUNCTION}is_skipped_in_part: Skipped: not this one"],
    )  # fmt: skip


@pytest.mark.parametrize("arguments", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_what_has_not_run_fails_the_whole_suite(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    status, said = _run(tmp_path, [f"{FUNCTION}passes", f"{FUNCTION}went", "formal: a"], *arguments)
    assert (status, said) == (1, [UNTRIED, f"{FUNCTION}went: has not run; give the threat another test"])


@pytest.mark.parametrize("arguments", [("-k", "passes"), ("tests",), ("--deselect", f"{FUNCTION}other")])
def test_a_part_of_the_suite_is_not_judged(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert _run(tmp_path, [f"{FUNCTION}went"], *arguments) == (0, [])


def test_what_fails_leaves_a_threat_open(tmp_path: Path) -> None:
    (tmp_path / "tests_more").mkdir()
    (tmp_path / "tests_more" / "test_more.py").write_text("def test_fails(): assert False\n")
    name = "tests_more/test_more.py::test_fails"
    status, said = _run(tmp_path, [name], "-o", "testpaths=tests tests_more")
    assert (status, said[-2]) == (1, f"{name}: has failed; a threat stands open")


@pytest.mark.parametrize(
    ("proved", "status"), [({"a": True, "b": True}, 0), ({"a": True, "b": False}, 1), ({"a": True}, 1)]
)
def test_proofs_are_those_of_the_report(tmp_path: Path, proved: dict[str, bool], status: int) -> None:
    report.write(report.sources(tmp_path), proved, tmp_path, whole=True)
    wrong = ["formal: b: was not proved of these sources; see `make formal`"] if status else []
    assert _run(tmp_path, ["formal: a", "formal: b", f"{FUNCTION}passes"]) == (status, wrong)
