"""What Portals' own tests ask is asked of this NIC, too, over its RTL; or NIC.md says that the NIC has it not."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.evidence import STEP, rows
from tests.evidence_exists import exists

ROOT = Path(__file__).parents[1]
SEMANTICS = rows(ROOT, "semantics.yaml")
NIC = " ".join((ROOT / "rtl" / "nic" / "NIC.md").read_text(encoding="utf-8").split())
MISSING = NIC.partition("What Portals 4 has and this NIC has not: ")[2].partition(". ")[0]
OVER_RTL = (STEP, "tests/rtl/test_nic_whole", "tests/cosim/test_whole_path.py")


@pytest.mark.parametrize("row", SEMANTICS, ids=lambda row: row["semantics"])
def test_what_portals_tests_ask_is_asked_of_the_nic(row: dict[str, Any]) -> None:
    assert set(row) in ({"semantics", "portals", "shown_by"}, {"semantics", "portals", "missing"})
    assert all(row.values())
    if "missing" in row:
        assert row["missing"] in MISSING
        return
    assert [evidence for evidence in row["shown_by"] if not exists(evidence)] == []
    assert any(evidence.startswith(OVER_RTL) for evidence in row["shown_by"])


def test_nothing_is_there_twice() -> None:
    names = Counter(name for row in SEMANTICS for name in (row["semantics"], *row["portals"]))
    assert [name for name, times in names.items() if times > 1] == []


@pytest.mark.parametrize("word", ["user IDs", "PTL_PT_ONLY_USE_ONCE", "PTL_PT_ONLY_TRUNCATE", "event queue"])
def test_what_no_test_of_portals_asks_and_the_nic_has_not_is_said(word: str) -> None:
    assert word in MISSING
