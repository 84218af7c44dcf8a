"""What tests/threats.yaml promises has been seen: judged when the whole suite has run, which fails otherwise."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.formal import report as proofs

THEOREM = "formal: "
# Options that leave tests out, or look at what is left instead of running it.
_SELECTING = ("keyword", "markexpr", "deselect", "ignore", "ignore_glob", "lf", "stepwise", "collectonly")


def threats(root: Path) -> list[dict[str, Any]]:
    """The rows of the table."""
    return list(yaml.safe_load((root / "tests" / "threats.yaml").read_text()))


class Evidence:
    """A plugin for the process that sees all reports. Under pytest-xdist that is the one which runs no test."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._passed: set[str] = set()
        self._failed: set[str] = set()
        self._skipped: dict[str, str] = {}
        self._lines: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        function = report.nodeid.partition("[")[0]
        if report.failed:
            self._failed.add(function)
        elif report.skipped and isinstance(report.longrepr, tuple | list):
            self._skipped[function] = report.longrepr[-1]
        elif report.passed and report.when == "call":
            self._passed.add(function)

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Fails the run if a threat has lost what stands against it."""
        stopped = session.shouldstop or session.shouldfail
        if stopped or exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) or not self._is_whole():
            return
        named = dict.fromkeys(name for row in threats(self._config.rootpath) for name in row["shown_by"])
        wrong = [*self._unseen_tests(named), *self._unseen_proofs(named)]
        self._lines += [f"{name}: {self._skipped[name]}" for name in named if name in self._skipped]
        self._lines += wrong
        if wrong:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._lines:
            terminalreporter.section("tests/threats.yaml")
        for line in self._lines:
            terminalreporter.write_line(line)

    def _is_whole(self) -> bool:
        """Whether all tests were asked for."""
        left_out = [name for name in _SELECTING if getattr(self._config.option, name, None)]
        return self._config.args_source is pytest.Config.ArgsSource.TESTPATHS and not left_out

    def _unseen_tests(self, named: dict[str, None]) -> Iterator[str]:
        for name in named:
            if name in self._failed:
                yield f"{name}: has failed; a threat stands open"
            elif not name.startswith(THEOREM) and name not in self._passed and name not in self._skipped:
                yield f"{name}: has not run; give the threat another test"

    def _unseen_proofs(self, named: dict[str, None]) -> Iterator[str]:
        proved = proofs.proved(self._config.rootpath)
        if proved is None:
            self._lines.append("proofs are taken on trust: these sources were not proved yet, which `make formal` does")
            return
        for name in named:
            if name.startswith(THEOREM) and name.removeprefix(THEOREM) not in proved:
                yield f"{name}: was not proved of these sources; see `make formal`"
