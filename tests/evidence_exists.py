"""Whether what the tables of tests/ name as evidence is there at all."""

import ast
from functools import cache
from pathlib import Path

from sw.apps.portals_check.application import STEPS
from tests.evidence import STEP, THEOREM
from tests.formal.catalogue import catalogue

ROOT = Path(__file__).parents[1]


@cache
def _tests_in(path: Path) -> frozenset[str]:
    """The test functions that pytest collects from a file."""
    if not path.is_file() or not path.name.startswith("test_"):
        return frozenset()
    body = ast.parse(path.read_text()).body
    return frozenset(node.name for node in body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"))


def exists(evidence: str) -> bool:
    """A test (file::function), a theorem (formal: name) or a step of `portals_check` (portals_check: name)."""
    if evidence.startswith(THEOREM):
        return evidence.removeprefix(THEOREM) in catalogue()
    if evidence.startswith(STEP):
        return evidence.removeprefix(STEP) in {step.name for step in STEPS}
    path, separator, function = evidence.partition("::")
    return bool(separator) and function in _tests_in(ROOT / path)
