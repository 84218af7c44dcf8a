"""Jobs: order, failure, cleaning up, and that a run is the same every time."""

import json

import pytest
from fake_machine import FakeMachine
from sw_jobs import job, listening

from nimble.access import Right
from sw import machine
from sw.apps.application import Job
from sw.kernel.contexts import ContextRequest
from sw.kernel.errors import KernelPanic
from sw.kernel.process import Process

REQUEST = ContextRequest(commands_log2=2, events_log2=2, interrupt=True)


def sleep_forever(process: Process, job: Job) -> None:
    listening(process, REQUEST).wait()


def spin_forever(process: Process, job: Job) -> None:
    while True:
        process.compute(1000)
        process.settle()


def test_jobs_start_after_others_and_reuse_what_they_had(monkeypatch: pytest.MonkeyPatch) -> None:
    places: dict[str, tuple[int, int, int]] = {}

    def main(process: Process, job: Job) -> None:
        va = process.calls.allocate(1 << 22)  # half of the node: two at a time do not fit with the kernel
        handle = process.calls.open_context(REQUEST)
        places[job.name] = handle.index, handle.pid, process.space.find(va, 8, Right.READ)[0]
        order.append(job.name)

    order: list[str] = []
    specs = [
        job(monkeypatch, main, name="c", jid=3, after=("a", "b")),
        job(monkeypatch, main, name="b", jid=2, after=("a",)),
        job(monkeypatch, main, name="a", jid=1),
    ]
    system = FakeMachine(nodes=1).run(*specs)
    assert order == ["a", "b", "c"]
    assert {(index, base) for index, _, base in places.values()} == {(0, places["a"][2])}
    jobs = system.results()["jobs"]
    assert jobs["a"]["ended_ps"] <= jobs["b"]["started_ps"] <= jobs["b"]["ended_ps"] <= jobs["c"]["started_ps"]


@pytest.mark.parametrize("others", [sleep_forever, spin_forever])
@pytest.mark.parametrize("stage", ["start", "fence", "running"])
def test_a_crash_ends_its_job_and_nothing_else(monkeypatch: pytest.MonkeyPatch, others: object, stage: str) -> None:
    def crashing(process: Process, job: Job) -> None:
        if job.rank == 0:
            if stage == "running":
                process.calls.fence()
                process.compute(100_000)
            raise ZeroDivisionError("by design")
        if stage != "start":
            process.calls.fence()
        others(process, job)  # type: ignore[operator]

    def sound(process: Process, job: Job) -> str:
        process.compute(4_000_000)
        process.settle()
        return "done"

    fake = FakeMachine()
    system = fake.run(
        job(monkeypatch, crashing, name="bad", jid=1, placement=((0, 0), (1, 0), (1, 1))),
        job(monkeypatch, sound, name="good", jid=2, placement=((0, 1),)),
        job(monkeypatch, sound, name="next", jid=3, placement=((1, 1),), after=("bad",)),
    )
    results = system.results()
    assert results["jobs"]["bad"]["state"] == "failed"
    reason = results["jobs"]["bad"]["reason"]
    assert reason.startswith("bad.0 (node 0, PID 1): ZeroDivisionError: by design (test_sw_launcher.py:")
    assert results["good"] == ["done"]
    assert results["next"] == ["done"]
    assert "bad" not in results
    assert results["counters"]["kernel.process_failures"]["nodes"] == [1, 0]
    assert all(context is None for kernel in system.kernels for context in kernel.network.contexts)  # type: ignore[union-attr]
    assert all(region.owner is None for kernel in system.kernels for region in kernel.memory.regions)
    assert all(not kernel.processes_of(jid) for kernel in system.kernels for jid in (1, 2, 3))
    assert fake.finished == 1


def test_a_page_fault_that_nobody_catches(monkeypatch: pytest.MonkeyPatch) -> None:
    system = FakeMachine(nodes=1).run(job(monkeypatch, lambda process, job: process.load(0x123450)))
    assert system.results()["jobs"]["job"]["reason"].startswith(
        "job.0 (node 0, PID 1): PageFault: page fault: read of 8 bytes at 0x123450: not mapped ("
    )


def test_a_helper_that_crashes_takes_its_job_along(monkeypatch: pytest.MonkeyPatch) -> None:
    def helper(process: Process) -> None:
        raise KeyError("lost")

    def main(process: Process, job: Job) -> None:
        process.calls.spawn("helper", helper)
        process.calls.yield_core()
        spin_forever(process, job)

    system = FakeMachine(nodes=1).run(job(monkeypatch, main))
    assert system.results()["jobs"]["job"]["reason"].startswith("job.0.helper (node 0, PID 2): KeyError: 'lost'")


def test_an_application_cannot_swallow_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def main(process: Process, job: Job) -> None:
        if job.rank == 0:
            raise ValueError("first")
        try:
            spin_forever(process, job)
        except Exception:
            spin_forever(process, job)

    system = FakeMachine().run(job(monkeypatch, main, placement=((0, 0), (1, 0))))
    assert "ValueError: first" in system.results()["jobs"]["job"]["reason"]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"placement": ((2, 0),)}, "job job: node 2 core 0 does not exist; choose another place"),
        ({"placement": ((0, 2),)}, "job job: node 0 core 2 does not exist; choose another place"),
        ({"after": ("x",)}, "job job: after: 'x' is no job; there are job"),
    ],
)
def test_jobs_that_cannot_run_here(monkeypatch: pytest.MonkeyPatch, change: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match="job job") as caught:
        FakeMachine().start(job(monkeypatch, spin_forever, **change))  # type: ignore[arg-type]
    assert str(caught.value) == text


def test_drivers_and_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="drivers: 'pim' is unknown; known are nic; name one of them"):
        FakeMachine().start(job(monkeypatch, spin_forever), drivers=("pim",))
    fake = FakeMachine(nodes=1)
    nic = fake.nics[0]
    nic._values[nic.registers.address("ID")] = 0x1_0000 | 0x7777
    with pytest.raises(KernelPanic) as caught:
        fake.run(job(monkeypatch, spin_forever))
    assert str(caught.value) == (
        "node 0: driver nic: no device has ID 0x4e49; the table has nic 0x7777; take the driver out of kernel.drivers"
    )
    fake = FakeMachine(nodes=1)
    fake.nics[0].set("NODE_ID", locked=1, nid=9)
    with pytest.raises(
        KernelPanic, match=r"node 0: driver nic: init: nic_driver\.py.*write of 0xc0000010 was refused by the hardware"
    ):
        fake.run(job(monkeypatch, spin_forever))


def test_the_kernel_sets_how_long_requests_wait_and_how_often_contexts_interrupt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake = FakeMachine()
    fake.run(job(monkeypatch, lambda process, job: job.rank), response_timeout_us=10_000, interrupt_interval_us=7)
    assert [nic.get("RESPONSE_TIMEOUT", "cycles") for nic in fake.nics] == [2_500_000] * 2  # of 4 ns
    assert [nic.get("INTERRUPT_INTERVAL", "cycles") for nic in fake.nics] == [1_750] * 2


def test_without_a_driver_there_is_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    system = FakeMachine(nodes=1).run(job(monkeypatch, sleep_forever), drivers=())
    reason = system.results()["jobs"]["job"]["reason"]
    assert "TrapError: open_context: no NIC has a driver; add nic to kernel.drivers" in reason


def test_a_job_that_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    def main(process: Process, job: Job) -> None:
        for _ in range(300):
            process.calls.spawn("helper", lambda helper: listening(helper, REQUEST).wait())

    system = FakeMachine(nodes=1).run(job(monkeypatch, main))
    assert "SMARTMAP slots: all 255 are in use; end some processes" in system.results()["jobs"]["job"]["reason"]


def test_results_are_plain_and_name_their_counters(monkeypatch: pytest.MonkeyPatch) -> None:
    system = FakeMachine().run(job(monkeypatch, lambda process, job: job.rank, placement=((1, 0), (0, 0))))
    results = json.loads(json.dumps(system.results()))
    assert results["job"] == [0, 1]
    assert system.job_states() == {"job": "finished"}
    assert results["jobs"]["job"].keys() == {"state", "jid", "app", "started_ps", "ended_ps"}
    for name, row in results["counters"].items():
        assert name.split(".")[0] in ("kernel", "extension", "nic")
        assert row["description"]
        assert row["unit"]
        assert row["total"] == sum(row["nodes"])
    assert "nic.packets_sent" in results["counters"]


def test_two_jobs_that_report_the_same_thing_are_told_apart() -> None:
    sections: dict[str, object] = {}
    machine._merge(sections, {"ra": {"process": {"errors": 0}}}, "first")
    machine._merge(sections, {"ra": {"extension": {"errors": 1}}}, "second")
    machine._merge(sections, {"ra": {"process": {"errors": 2}}, "list": [1]}, "third")
    machine._merge(sections, {"list": [2]}, "fourth")
    assert sections == {
        "ra": {"process": {"errors": 0}, "extension": {"errors": 1}, "process@third": {"errors": 2}},
        "list": [1],
        "list@fourth": [2],
    }
