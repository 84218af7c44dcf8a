"""What the tables of tests/ promise has been seen: judged when the whole suite has run, which fails otherwise."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.formal import report as proofs

THEOREM = "formal: "
STEP = "portals_check: "
STEPS_RUN_IN = "tests/cosim/test_whole_path.py::test_all_that_portals_has_does_what_it_must"
# By table: what is said of a test that failed, and of one that did not run.
TABLES = {
    "threats.yaml": ("a threat stands open", "give the threat another test"),
    "semantics.yaml": ("something is not as Portals says", "give the semantics another test"),
}
# Options that leave tests out, or look at what is left instead of running it.
_SELECTING = ("keyword", "markexpr", "deselect", "ignore", "ignore_glob", "lf", "stepwise", "collectonly")


def rows(root: Path, table: str) -> list[dict[str, Any]]:
    """The rows of a table."""
    return list(yaml.safe_load((root / "tests" / table).read_text()))


def run_in(evidence: str) -> str:
    """The test that shows it, or the theorem."""
    return STEPS_RUN_IN if evidence.startswith(STEP) else evidence


class Evidence:
    """A plugin for the process that sees all reports. Under pytest-xdist that is the one which runs no test."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._passed: set[str] = set()
        self._failed: set[str] = set()
        self._skipped: dict[str, str] = {}
        self._lines: dict[str, list[str]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        function = report.nodeid.partition("[")[0]
        if report.failed:
            self._failed.add(function)
        elif report.skipped and isinstance(report.longrepr, tuple | list):
            self._skipped[function] = report.longrepr[-1]
        elif report.passed and report.when == "call":
            self._passed.add(function)

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Fails the run if a row of a table has lost what shows it."""
        stopped = session.shouldstop or session.shouldfail
        if stopped or exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) or not self._is_whole():
            return
        for table, (failed, not_run) in TABLES.items():
            shown_by = [name for row in rows(self._config.rootpath, table) for name in row.get("shown_by", ())]
            named = list(dict.fromkeys(map(run_in, shown_by)))
            told, unproved = self._unseen_proofs(named)
            wrong = [*self._unseen_tests(named, failed, not_run), *unproved]
            told += [f"{name}: {self._skipped[name]}" for name in named if name in self._skipped]
            self._lines[f"tests/{table}"] = [*told, *wrong]
            if wrong:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for title, lines in self._lines.items():
            if lines:
                terminalreporter.section(title)
            for line in lines:
                terminalreporter.write_line(line)

    def _is_whole(self) -> bool:
        """Whether all tests were asked for."""
        left_out = [name for name in _SELECTING if getattr(self._config.option, name, None)]
        return self._config.args_source is pytest.Config.ArgsSource.TESTPATHS and not left_out

    def _unseen_tests(self, named: Iterable[str], failed: str, not_run: str) -> Iterator[str]:
        for name in named:
            if name in self._failed:
                yield f"{name}: has failed; {failed}"
            elif not name.startswith(THEOREM) and name not in self._passed and name not in self._skipped:
                yield f"{name}: has not run; {not_run}"

    def _unseen_proofs(self, named: Iterable[str]) -> tuple[list[str], list[str]]:
        """What is to be told of proofs, and those that are missing."""
        theorems = [name for name in named if name.startswith(THEOREM)]
        proved = proofs.proved(self._config.rootpath)
        if theorems and proved is None:
            return ["proofs are taken on trust: these sources were not proved yet, which `make formal` does"], []
        return [], [
            f"{name}: was not proved of these sources; see `make formal`"
            for name in theorems
            if name.removeprefix(THEOREM) not in (proved or ())
        ]
