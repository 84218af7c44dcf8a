"""The report: keys and their order, checks, and a table that is legible wherever it is shown."""

import io
import json
import re
from collections.abc import Callable

import pytest
from rich.console import Console

from cosim import report
from cosim.scenario import Scenario, from_source
from cosim.yaml_source import parse

SCENARIO = """\
name: base
machine: {nodes: 2}
jobs:
  - {name: one, jid: 1, app: random_access, placement: [{node: 0, core: 0}]}
expect:
"""


def section(**changes: float) -> dict:
    values = {
        "updates": 4096,
        "updates_per_s": 1_234_567.8,
        "ns_per_update": 810.04,
        "errors": 0,
        "reference_mismatches": 0,
        "context_switches": 2048,
        "interrupts": 1024,
        "extension_calls": 0,
        "extension_instructions": 123_456_789,
        "messages": 2048,
    }
    return values | changes


def usage(**changes: int) -> dict:
    return dict.fromkeys(("calls", "instructions", "faults", "budget_stops", "time_ps", "worst_ps"), 0) | changes


REFUSALS = ("crc", "malformed", "destination", "job", "sequence", "handle", "aborted")


def counter(*nodes: int) -> dict:
    return {"total": sum(nodes), "unit": "packets", "description": "Packets.", "nodes": list(nodes)}


def result(**changes: object) -> dict:
    values = {
        "cycles": 3_000_000,
        "node_cycles": [1_500_000, 600_000],
        "simulated_ps": 12_345_678_901,
        "status": "finished",
        "wall_s": 2.5,
        "zebra": {"stripes": 7},
        "violations": [{"reason": "ACCESS_REFUSED"}] * 12,
        "counters": {
            "nic.packets_sent": counter(1, 8191),
            "nic.responses_sent": counter(10, 7),
            **{f"nic.packet_{reason}": counter(0, 0) for reason in REFUSALS},
            "nic.packet_job": counter(4, 1),
            "nic.packet_sequence": counter(2, 0),
        },
        "extensions": [
            {"nic.driver": usage(calls=10, instructions=320, time_ps=5_000_000, worst_ps=700_000)},
            {
                "nic.driver": usage(calls=5, instructions=150, time_ps=2_000_000, worst_ps=1_234_500),
                "updates_extension.0.random_access": usage(calls=1, instructions=64, budget_stops=1, worst_ps=900),
            },
        ],
        "jobs": {"one": {"state": "finished", "jid": 1}},
        "forgery": {"attempts": 12, "delivered": 0},
        "random_access": {"process": section(), "extension": section(updates_per_s=2.5e6, ns_per_update=400.0)},
    }
    return values | changes


def scenario(*expected: str) -> Scenario:
    text = SCENARIO + "".join(f"  {line}\n" for line in expected)
    return from_source(parse(text if expected else text.removesuffix("expect:\n"), "f.yaml"))


def assembled(*expected: str, **changes: object) -> report.Report:
    return report.assemble(scenario(*expected), result(**changes))


def test_keys_come_in_a_stable_order():
    keys = [
        "scenario", "simulator", "status", "reason", "simulated_ps", "cycles", "node_cycles", "wall_s", "random_access",
        "forgery", "zebra", "jobs", "counters", "extensions", "violations", "trace_dropped", "checks",
    ]  # fmt: skip
    assert list(assembled()) == keys
    assert list(json.loads(report.text(assembled()))) == keys


def test_a_report_names_what_was_run():
    found = assembled()
    assert found["scenario"]["name"] == "base"
    assert found["scenario"]["machine"]["clock_mhz"] == 250
    assert (found["simulator"], "simulator" in found["scenario"]) == ("verilator", False)


def test_a_run_without_a_word_has_an_empty_report():
    found = report.assemble(scenario(), {"status": "interrupted", "reason": "r"})
    assert found["status"] == "interrupted"
    assert (found["simulated_ps"], found["cycles"], found["wall_s"]) == (0, 0, 0.0)
    assert found["node_cycles"] == []
    assert (found["jobs"], found["counters"], found["violations"], found["checks"]) == ({}, {}, [], [])


CHECKS = [  # expectation, what the failed check says (None: it passes)
    ("random_access.process.errors: 0", None),
    ("random_access.process.errors: 1", "0; expected 1"),
    ("random_access.process.errors: false", "0; expected False"),
    ("random_access.process.errors: 0.0", None),
    ("random_access.process.ns_per_update: {min: 810, max: 811}", None),
    ("random_access.process.ns_per_update: {min: 811, max: 812}", "810.04; expected 811..812"),
    ("random_access.process.ns_per_update: {min: 811}", "810.04; expected at least 811"),
    ("random_access.process.ns_per_update: {max: 810}", "810.04; expected at most 810"),
    ("forgery.attempts: {min: 12, max: 12}", None),
    ("jobs.one.state: finished", None),
    ("jobs.one.state: failed", "finished; expected failed"),
    ("jobs.one.state: {min: 1}", "finished; expected at least 1"),
    ("counters.nic.packets_sent.total: 8192", None),
    ("counters.nic.packets_sent.nodes.1: 8191", None),
    ("violations.11.reason: ACCESS_REFUSED", None),
    ("extensions.0.nic.driver.calls: 10", None),
    ("extensions.1.updates_extension.0.random_access.budget_stops: 0", "1; expected 0"),
    ("forgery.deliverd: 0", "'deliverd' is not in the report (there is delivered); expected 0"),
    ("random_access.thread.errors: 0", "'thread' is not in the report (there is process, extension); expected 0"),
    ("violations.12.reason: x", "'12' is not in the report; expected x"),
    ("random_access.process.errors.deep: 0", "'deep' is not in the report; expected 0"),
]


@pytest.mark.parametrize(("expected", "said"), CHECKS, ids=[row[0] for row in CHECKS])
def test_checks(expected, said):
    found = assembled(expected)
    path = expected.partition(":")[0]
    assert report.failures(found) == ([] if said is None else [f"expect: {path}: {said}"])
    assert found["status"] == ("passed" if said is None else "failed")
    assert [(check["path"], check["passed"]) for check in found["checks"]] == [(path, said is None)]


def test_a_failed_job_fails_the_run_unless_that_is_expected():
    jobs = {"one": {"state": "failed", "reason": "page fault"}}
    assert report.failures(assembled(jobs=jobs)) == ["job one: failed: page fault"]
    assert assembled(jobs=jobs)["status"] == "failed"
    assert assembled("jobs.one.state: failed", jobs=jobs)["status"] == "passed"


@pytest.mark.parametrize("status", ["failed", "crashed", "interrupted"])
def test_a_run_that_did_not_end_is_not_checked(status):
    found = assembled("random_access.process.errors: 1", status=status, reason="why")
    assert (found["status"], found["checks"]) == (status, [])
    assert report.failures(found) == ["why"]


# ---- the table ----


def shown(found: report.Report, **console: object) -> str:
    stream = io.StringIO()
    settings: dict = {"width": 40, "force_terminal": False, "highlight": False, **console}
    Console(file=stream, **settings).print(report.table(found))
    return stream.getvalue()


def test_the_table_in_forty_columns():
    lines = shown(assembled()).splitlines()
    assert [line.split("  ") for line in lines if "\u2500" in line] == [["\u2500" * 40]]
    assert [" ".join(line.split()) for line in lines if line.strip() and "\u2500" not in line] == [
        "process extension",
        "updates 4,096 4,096",
        "updates/s 1,234,568 2,500,000",
        "ns per update 810.0 400.0",
        "messages 2,048 2,048",
        "interrupts 1,024 1,024",
        "context switches 2,048 2,048",
        "extension calls 0 0",
        "ext. instructions 123.5 M 123.5 M",
        "wrong entries 0 0",
        "verification passed passed",
        "packets 8,209",
        "packets refused 7",
        "forged attempts 12",
        "forged delivered 0",
        "violations logged 12",
        "node clocks on 35.0 %",
        "simulated time 12.35 ms",
        "wall time 2.5 s",
        "cycles/wall second 1,200,000",
        "result passed",
    ]
    assert max(map(len, lines)) == 40
    assert "\x1b" not in shown(assembled())


def huge(value: float) -> Callable[..., dict]:
    return lambda **_: dict.fromkeys(section(), value)


@pytest.mark.parametrize("value", [0, 999.95, 9_999_999, 10**7, 9_999_949_999, 10**10, 2**63, 1e-9, 123456.7])
def test_no_number_breaks_the_table(value):
    compared = {"process": huge(value)(), "extension": huge(value)()}
    text = shown(assembled(random_access=compared, cycles=int(value), wall_s=1e-6))
    assert max(map(len, text.splitlines())) <= 40
    assert "\u2026" not in text


def test_the_table_without_unicode_or_with_colour(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")

    class Plain(io.StringIO):
        encoding = "ascii"

    stream = Plain()
    Console(file=stream, width=40).print(report.table(assembled()))
    assert stream.getvalue().isascii()
    coloured = shown(assembled(), force_terminal=True, color_system="standard")
    assert re.search("\x1b\\[32m +passed", coloured)


def test_the_table_of_extensions():
    """Calls and instructions of all nodes, and the worst call of any; a long name takes lines."""
    stream = io.StringIO()
    found = report.extensions(assembled())
    assert found is not None
    # Whatever terminal the tests run in: a dumb one has 80 columns.
    Console(file=stream, width=40, force_terminal=True, color_system="standard", _environ={}).print(found)
    lines = [re.sub("\x1b\\[[0-9;]*m", "", line) for line in stream.getvalue().splitlines()]
    assert max(map(len, lines)) <= 40
    rows = [line.split() for line in lines if "\u2500" not in line]
    assert rows[:2] == [["extension", "calls", "instr.", "worst", "ns"], ["nic.driver", "15", "470", "1,234"]]
    assert rows[2][-3:] == ["1", "64", "0.9"]
    assert "".join(row[0] for row in rows[2:] if row) == "updates_extension.0.random_access"
    assert "\x1b[1;31m" in next(line for line in stream.getvalue().splitlines() if "64" in line)
    assert "\x1b[1;31m" not in next(line for line in stream.getvalue().splitlines() if "470" in line)


def test_without_extensions_there_is_no_table_of_them():
    assert report.extensions(assembled(extensions=[])) is None
    assert report.extensions(assembled(extensions=[{}, {}])) is None


def test_the_check_of_portals_has_rows():
    for failed, wanted in ((0, "32"), (2, "1;31")):
        found = assembled(portals_check={"checks": 830, "failed": failed})
        rows = [" ".join(line.split()) for line in shown(found).splitlines()]
        assert {"Portals checks 830", f"Portals failures {failed}"} <= set(rows)
        coloured = shown(found, force_terminal=True, color_system="standard", _environ={})
        assert re.search(f"Portals failures.*\x1b\\[{wanted}m +{failed}", coloured)
    assert "Portals" not in shown(assembled())


def test_contexts_that_stayed_busy_have_a_row():
    for nodes, rows in (((0, 0), []), ((0, 2), ["contexts stuck 2"])):
        counters = result()["counters"] | {"kernel.stuck_contexts": counter(*nodes)}
        found = assembled(counters=counters)
        assert [" ".join(line.split()) for line in shown(found).splitlines() if "stuck" in line] == rows


def test_what_went_wrong_stands_out():
    wrong = {"process": section(errors=3, reference_mismatches=1), "extension": section()}
    text = shown(assembled(random_access=wrong, forgery={"attempts": 12, "delivered": 1}, status="failed", reason="r"))
    assert [
        " ".join(line.split()) for line in text.splitlines() if line.startswith(("veri", "forged d", "result"))
    ] == [
        "verification failed passed",
        "forged delivered 1",
        "result failed",
    ]


def test_a_partial_report_has_a_table():
    text = " ".join(shown(report.assemble(scenario(), {"status": "interrupted", "reason": "r"})).split())
    assert "interrupted" in text
    for unknown in ("packets", "packets refused", "node clocks on", "cycles/wall second"):
        assert f"{unknown} -" in text
