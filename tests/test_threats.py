"""Every threat has a countermeasure, and every countermeasure a test or a theorem that exists."""

import ast
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.formal.catalogue import catalogue

ROOT = Path(__file__).parents[1]
THREATS: list[dict[str, Any]] = yaml.safe_load((ROOT / "tests" / "threats.yaml").read_text())
THEOREM = "formal: "


@cache
def _tests_in(path: Path) -> frozenset[str]:
    """The test functions that pytest collects from a file."""
    if not path.is_file() or not path.name.startswith("test_"):
        return frozenset()
    body = ast.parse(path.read_text()).body
    return frozenset(node.name for node in body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"))


def _exists(evidence: str) -> bool:
    if evidence.startswith(THEOREM):
        return evidence.removeprefix(THEOREM) in catalogue()
    path, separator, function = evidence.partition("::")
    return bool(separator) and function in _tests_in(ROOT / path)


@pytest.mark.parametrize("row", THREATS, ids=lambda row: row["threat"])
def test_what_stands_against_a_threat_is_shown(row: dict[str, Any]) -> None:
    assert set(row) == {"threat", "way_in", "countermeasure", "shown_by"}
    assert all(row.values())
    assert [evidence for evidence in row["shown_by"] if not _exists(evidence)] == []


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
    ],
)
def test_evidence_that_is_not_there_is_found_out(evidence: str) -> None:
    assert not _exists(evidence)


def test_all_properties_of_the_nic_stand_against_some_threat() -> None:
    named = {evidence.removeprefix(THEOREM) for row in THREATS for evidence in row["shown_by"]}
    assert {theorem.number for name, theorem in catalogue().items() if name in named} == {1, 2, 3, 4, 5}
