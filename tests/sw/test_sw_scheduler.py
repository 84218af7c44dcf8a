"""The scheduler: who runs when, and what it costs, to the cycle."""

from typing import Any

import pytest
from fake_machine import FakeMachine
from sw_jobs import job, listening, send

from sw.apps.application import Job
from sw.kernel.contexts import ContextRequest
from sw.kernel.costs import CpuCosts
from sw.kernel.hardware import TraceKind
from sw.kernel.process import Process

SIMPLE = ContextRequest(commands_log2=2, events_log2=3, interrupt=True)


def test_a_process_keeps_the_core_until_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The quantum is infinite: a helper that is ready does not run while its parent computes."""
    order: list[str] = []

    def main(process: Process, job: Job) -> None:
        process.calls.spawn("helper", lambda helper: order.append("helper"))
        for _ in range(100):
            process.compute(1_000_000)
            process.settle()
        order.append("main")
        process.calls.yield_core()
        order.append("main again")

    FakeMachine(nodes=1).run(job(monkeypatch, main))
    assert order == ["main", "helper", "main again"]


def test_the_ready_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def helper(name: str) -> Any:
        def run(process: Process) -> None:
            for _ in range(3):
                order.append(name)
                process.calls.yield_core()

        return run

    def main(process: Process, job: Job) -> None:
        for name in "abc":
            process.calls.spawn(name, helper(name))
        for _ in range(5):
            process.calls.yield_core()

    FakeMachine(nodes=1).run(job(monkeypatch, main))
    assert order == list("abc" * 3)


def test_costs_of_traps_and_context_switches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes that yield to each other: 2 switches and 2 traps a turn, and nothing else."""
    costs = CpuCosts(trap=10, context_switch=1000)
    times: list[int] = []
    counts: list[dict[str, int]] = []

    def helper(process: Process) -> None:
        while True:
            process.calls.yield_core()

    def main(process: Process, job: Job) -> None:
        process.calls.spawn("helper", helper)
        process.calls.yield_core()
        counts.append(process.calls.counters())
        times.append(process.now_ps)
        for _ in range(10):
            process.calls.yield_core()
        times.append(process.now_ps)
        counts.append(process.calls.counters())

    FakeMachine(nodes=1, core_mhz=1000).run(job(monkeypatch, main), costs=costs)
    assert times[1] - times[0] == 10 * (2 * 10 + 2 * 1000) * 1000
    assert counts[1]["kernel.context_switches"] - counts[0]["kernel.context_switches"] == 20
    assert counts[1]["kernel.traps"] - counts[0]["kernel.traps"] == 21


@pytest.mark.parametrize("interrupt_entry", [0, 3000])
def test_a_message_preempts_for_the_process_that_waits_for_it(
    monkeypatch: pytest.MonkeyPatch, interrupt_entry: int
) -> None:
    """Node 1's main computes; its helper sleeps; a message wakes the helper at once, then main goes on."""
    log: list[tuple[str, int]] = []

    def receive(process: Process) -> None:
        endpoint = listening(process, SIMPLE)
        log.append(("pid", endpoint.handle.pid))
        for _ in range(2):
            event = endpoint.wait()
            log.append((f"helper got {event.header_data}", process.now_ps))

    def main(process: Process, job: Job) -> None:
        if job.rank == 1:
            process.calls.spawn("receiver", receive)
            process.calls.yield_core()
            process.calls.fence(log[0][1])
            start_ps = process.now_ps
            process.compute(2_000_000)  # 1 ms
            process.settle()
            log.append(("main computed", process.now_ps - start_ps))
            return
        _, pid = process.calls.fence(None)
        endpoint = listening(process, SIMPLE)
        for number in range(2):
            process.compute(400_000)  # 0.2 ms
            send(endpoint, 1, pid, number)

    costs = CpuCosts(interrupt_entry=interrupt_entry)
    machine = FakeMachine()
    machine.run(job(monkeypatch, main, placement=((0, 0), (1, 0))), costs=costs)
    assert [name for name, _ in log] == ["pid", "helper got 0", "helper got 1", "main computed"]
    computed_ps = log[-1][1]
    # Main's own 2 M cycles, and beside them each time: an interrupt, a switch there, the helper's work, a switch back.
    apart = interrupt_entry + costs.interrupt_exit + 2 * costs.context_switch
    assert computed_ps >= 1_000_000_000 + 2 * apart * 500
    assert computed_ps < 1_000_000_000 + 2 * (apart + 4000) * 500
    assert log[1][1] < log[2][1] < log[0][1] * 0 + 10**12


def test_spans_of_a_core_nest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing on a core's track begins inside one span and ends outside it."""

    def main(process: Process, job: Job) -> None:
        endpoint = listening(process, SIMPLE)
        pids = process.calls.fence(endpoint.handle.pid)
        other = 1 - job.rank
        for number in range(5):
            process.compute(10_000 * (job.rank + 1))
            send(endpoint, other, pids[other], number)
        for _ in range(5):
            endpoint.wait()
        process.calls.fence()

    machine = FakeMachine()
    machine.run(job(monkeypatch, main, placement=((0, 0), (1, 0))))
    assert {span[0] for span in machine.trace.spans} >= {
        TraceKind.PROCESS, TraceKind.EXTENSION, TraceKind.INTERRUPT, TraceKind.SWITCH, TraceKind.TRAP
    }  # fmt: skip
    for node in (0, 1):
        spans = [
            (s[3], s[4]) for s in machine.trace.spans if s[1] == node and s[2] == 0 and s[0] is not TraceKind.PROCESS
        ]
        for start, end in spans:
            for other_start, other_end in spans:
                assert not start < other_start < end < other_end


# ---- waiting until a time ----


def test_who_waits_until_a_time_is_woken_then_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of a free core, within a trap and a context switch; both processes of it."""
    late: list[int] = []

    def sleeper(due_us: int) -> Any:
        def run(process: Process) -> None:
            endpoint = listening(process, SIMPLE)
            due_ps = process.now_ps + due_us * 1_000_000
            assert endpoint.wait_until(due_ps) is None
            late.append(process.now_ps - due_ps)

        return run

    def main(process: Process, job: Job) -> None:
        process.calls.spawn("helper", sleeper(50))
        sleeper(100)(process)

    FakeMachine(nodes=1).run(job(monkeypatch, main))
    assert len(late) == 2
    assert all(0 <= ps < 10_000_000 for ps in late)


def test_an_event_ends_the_wait_before_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def main(process: Process, job: Job) -> list[object]:
        endpoint = listening(process, SIMPLE)
        found: list[object] = []
        for number in range(3):
            due_ps = process.now_ps + 50_000_000
            send(endpoint, 0, endpoint.handle.pid, number)
            event = endpoint.wait_until(due_ps)
            found.append((event.header_data if event else None, process.now_ps < due_ps))
        due_ps = process.now_ps + 50_000_000
        found.append((endpoint.wait_until(due_ps), process.now_ps >= due_ps))
        return found

    machine = FakeMachine(nodes=1)
    assert machine.run(job(monkeypatch, main)).results()["job"][0] == [(0, True), (1, True), (2, True), (None, True)]


def test_a_busy_core_wakes_who_is_due_when_it_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def helper(process: Process) -> None:
        endpoint = listening(process, SIMPLE)
        assert endpoint.wait_until(process.now_ps + 10_000_000) is None
        order.append("helper")

    def main(process: Process, job: Job) -> None:
        process.calls.spawn("helper", helper)
        process.calls.yield_core()
        process.compute(200_000)  # 100 us
        process.settle()
        order.append("main")
        process.calls.yield_core()

    FakeMachine(nodes=1).run(job(monkeypatch, main))
    assert order == ["main", "helper"]


def test_a_job_ends_though_one_of_its_processes_waits_until_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def helper(process: Process) -> None:
        listening(process, SIMPLE).wait_until(process.now_ps + 10**12)

    def main(process: Process, job: Job) -> None:
        process.calls.spawn("helper", helper)
        process.calls.yield_core()

    machine = FakeMachine(nodes=1)
    results = machine.run(job(monkeypatch, main)).results()
    assert results["jobs"]["job"]["state"] == "finished"
    assert machine.hub.now_ps < 10**12
