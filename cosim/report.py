"""The report of a run: report.json with stable keys in a stable order, the checks of `expect`, and two tables."""

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from cosim.scenario import Expectation, Scenario
from rtl.portals import Refusal

Report = dict[str, Any]

_FIRST = (
    "scenario", "simulator", "status", "reason", "simulated_ps", "cycles", "node_cycles", "wall_s", "random_access",
    "portals_check", "forgery",
)  # fmt: skip
_LAST = ("jobs", "counters", "extensions", "violations", "trace_dropped", "checks")
_EMPTY: Report = {
    "reason": "",
    "simulated_ps": 0,
    "cycles": 0,
    "node_cycles": [],
    "wall_s": 0.0,
    "jobs": {},
    "counters": {},
    "extensions": [],
    "violations": [],
    "trace_dropped": 0,
}


def assemble(scenario: Scenario, result: Mapping[str, Any]) -> Report:
    """The report of what the simulator's process handed over (see `cosim.handover`), `checks` included.

    `status` becomes "passed" or "failed" if the run came to its end; a run that did not is not checked.
    """
    settings = json.loads(scenario.canonical())
    simulator = settings.pop("simulator")
    found = {**_EMPTY, **result, "scenario": settings, "simulator": simulator, "checks": []}
    if found["status"] == "finished":
        found["checks"] = [_check(path, expected, found) for path, expected in scenario.expect.items()]
        found["status"] = "failed" if any(_failures(found)) else "passed"
    middle = sorted(found.keys() - {*_FIRST, *_LAST})
    return {key: found[key] for key in (*_FIRST, *middle, *_LAST) if key in found}


def text(report: Report) -> str:
    """The bytes of report.json."""
    return json.dumps(report, indent=2) + "\n"


def failures(report: Report) -> list[str]:
    """One line for each thing that failed: the run itself, a job, a check."""
    return [*([report["reason"]] if report["reason"] else []), *_failures(report)]


def _failures(report: Report) -> Iterator[str]:
    checked = {check["path"] for check in report["checks"]}
    for name, job in report["jobs"].items():
        if job.get("state") == "failed" and f"jobs.{name}.state" not in checked:
            yield f"job {name}: failed: {job.get('reason', 'no reason given')}"
    for check in report["checks"]:
        if not check["passed"]:
            yield f"expect: {check['path']}: {check['found']}; expected {check['expected']}"


def _check(path: str, expected: Expectation, report: Report) -> dict[str, Any]:
    wanted = _wanted(expected)
    try:
        found = _lookup(report, path.split("."))
    except KeyError as error:
        return {"path": path, "expected": wanted, "found": error.args[0], "passed": False}
    return {"path": path, "expected": wanted, "found": found, "passed": _fits(found, expected)}


def _fits(found: Any, expected: Expectation) -> bool:
    if expected.equals is not None:
        return isinstance(found, bool) == isinstance(expected.equals, bool) and found == expected.equals
    if isinstance(found, bool) or not isinstance(found, int | float):
        return False
    return (expected.min is None or found >= expected.min) and (expected.max is None or found <= expected.max)


def _wanted(expected: Expectation) -> Any:
    if expected.equals is not None:
        return expected.equals
    if expected.max is None:
        return f"at least {expected.min}"
    return f"at most {expected.max}" if expected.min is None else f"{expected.min}..{expected.max}"


def _lookup(value: Any, steps: list[str]) -> Any:
    """The value at a dotted path, whose keys may themselves contain dots. KeyError says what is there instead."""
    if not steps:
        return value
    if isinstance(value, list) and steps[0].isdigit() and int(steps[0]) < len(value):
        return _lookup(value[int(steps[0])], steps[1:])
    known = value if isinstance(value, dict) else {}
    for length in range(len(steps), 0, -1):
        key = ".".join(steps[:length])
        if key in known:
            return _lookup(known[key], steps[length:])
    near = difflib.get_close_matches(steps[0], known, n=1) or list(known)[:8]
    raise KeyError(f"{steps[0]!r} is not in the report" + (f" (there is {', '.join(near)})" if near else ""))


_PACKET_REFUSALS = [f"nic.{reason.name.lower()}" for reason in Refusal if reason.name.startswith("PACKET_")]
_COMPARED = {
    "updates": "updates",
    "updates_per_s": "updates/s",
    "ns_per_update": "ns per update",
    "messages": "messages",
    "interrupts": "interrupts",
    "context_switches": "context switches",
    "extension_calls": "extension calls",
    "extension_instructions": "ext. instructions",
}


def table(report: Report) -> Table:
    """What a reader wants to know first, in 40 columns: the ways of handling messages side by side, then the run."""
    compared = report.get("random_access", {})
    result = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 0, 0, 1))
    result.add_column("", no_wrap=True)
    for name in compared or ["run"]:
        result.add_column(name, justify="right", no_wrap=True)
    blank = [""] * max(0, len(compared) - 1)
    for key, label in _COMPARED.items():
        if any(key in section for section in compared.values()):
            result.add_row(label, *(_number(section.get(key)) for section in compared.values()))
    if compared:
        result.add_row("wrong entries", *(_number(_wrong(section)) for section in compared.values()))
        result.add_row("verification", *map(_verification, compared.values()), end_section=True)
    for label, value in _whole_run(report):
        result.add_row(label, *blank, value)
    return result


def extensions(report: Report) -> Table | None:
    """What each extension did on all nodes together, in 40 columns and more; None if there was none. One that was
    stopped stands out."""
    totals: dict[str, dict[str, int]] = {}
    for node in report["extensions"]:
        for name, usage in node.items():
            total = totals.setdefault(name, dict.fromkeys(usage, 0))
            for key, value in usage.items():
                total[key] = max(total[key], value) if key == "worst_ps" else total[key] + value
    if not totals:
        return None
    result = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 0, 0, 1))
    result.add_column("extension", overflow="fold", min_width=9)
    for label in ("calls", "instr.", "worst ns"):
        result.add_column(label, justify="right", no_wrap=True)
    for name, usage in totals.items():
        good = not (usage["faults"] or usage["budget_stops"])
        figures = (_number(usage["calls"]), _number(usage["instructions"]), _number(usage["worst_ps"] / 1000))
        result.add_row(Text(name) if good else _judged(name, good), *figures)
    return result


def _whole_run(report: Report) -> Iterator[tuple[str, str | Text]]:
    cycles, wall_s = report["cycles"], report["wall_s"]
    yield "packets", _number(_total(report, "nic.packets_sent", "nic.responses_sent"))
    yield "packets refused", _number(_total(report, *_PACKET_REFUSALS))
    if "portals_check" in report:
        check = report["portals_check"]
        yield "Portals checks", _number(check.get("checks"))
        yield "Portals failures", _judged(_number(check.get("failed")), check.get("failed") == 0)
    if "forgery" in report:
        forgery = report["forgery"]
        yield "forged attempts", _number(forgery.get("attempts"))
        yield "forged delivered", _judged(_number(forgery.get("delivered")), forgery.get("delivered") == 0)
    if stuck := _total(report, "kernel.stuck_contexts"):
        yield "contexts stuck", _judged(_number(stuck), good=False)
    yield "violations logged", _number(len(report["violations"]))
    yield "node clocks on", _share(report["node_cycles"], cycles)
    yield "simulated time", f"{report['simulated_ps'] / 1e9:,.4g} ms"
    yield "wall time", f"{wall_s:,.3g} s"
    yield "cycles/wall second", _number(cycles / wall_s if wall_s else None)
    yield "result", _judged(report["status"], report["status"] == "passed")


def _total(report: Report, *names: str) -> int | None:
    """Sum of counters of all nodes; None if one of them is not known."""
    counters = [report["counters"].get(name) for name in names]
    return None if None in counters else sum(counter["total"] for counter in counters)


def _share(node_cycles: Sequence[int], cycles: int) -> str:
    """Of the cycles in which the machine's clock ran, those in which a node's own did, on average."""
    return f"{100 * sum(node_cycles) / (len(node_cycles) * cycles):.1f} %" if node_cycles and cycles else "-"


def _wrong(section: Mapping[str, Any]) -> int | None:
    """Table entries that the verification or the independent reference found wrong."""
    return section["errors"] + section.get("reference_mismatches", 0) if "errors" in section else None


def _verification(section: Mapping[str, Any]) -> Text:
    wrong = _wrong(section)
    return Text("-") if wrong is None else _judged("failed" if wrong else "passed", not wrong)


def _judged(text: str, good: bool) -> Text:
    return Text(text, style="green" if good else "bold red")


def _number(value: float | None) -> str:
    """At most 9 characters."""
    if value is None:
        return "-"
    if isinstance(value, float) and abs(value) < 1000:
        return f"{value:.1f}"
    for limit, divisor, unit in ((9_999_999.5, 1, ""), (9.9999e9, 1e6, " M"), (9.9999e12, 1e9, " G")):
        if abs(value) < limit:
            return f"{value:,.0f}" if divisor == 1 else f"{value / divisor:,.1f}{unit}"
    return f"{value:.2e}"
