"""Memory of closed contexts: it is given away when the device has said that it does not touch it any more."""

import fake_nic
import pytest
from fake_machine import FakeMachine
from sw_jobs import job

from sw.apps.application import Job
from sw.kernel import network
from sw.kernel.contexts import ContextRequest
from sw.kernel.memory import PhysicalMemory
from sw.kernel.process import Process


def two_contexts(process: Process, job: Job) -> None:
    for _ in range(2):
        process.calls.open_context(ContextRequest(commands_log2=2, events_log2=3))


def test_memory_is_given_away_when_the_device_is_done_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeMachine(nodes=1, cores=1)
    nic, core = fake.nics[0], fake.node_list[0].cores[0]
    freed, free_of = [], PhysicalMemory.free_of

    def judged(memory: PhysicalMemory, jid: int) -> None:
        freed.append(nic.busy)
        free_of(memory, jid)

    monkeypatch.setattr(PhysicalMemory, "free_of", judged)
    jobs = [job(monkeypatch, two_contexts), job(monkeypatch, two_contexts, name="next", jid=2, after=("job",))]
    assert set(fake.run(*jobs).job_states().values()) == {"finished"}
    assert freed == [False, False]
    controls = [nic.base + nic.registers.address(f"CONTEXT[{number}].CONTROL") for number in (0, 1)]
    seen = [(kind, address) for kind, address, *_ in core.accesses if address in controls]
    opened = [("store", address) for address in controls]
    closed = [*opened, *(("load", address) for address in controls for _ in range(fake_nic.BUSY_READS + 1))]
    assert seen == 2 * (opened + closed)


def test_what_a_device_may_still_touch_is_given_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "DRAIN_READS", fake_nic.BUSY_READS + 1)
    fake = FakeMachine(nodes=1)
    fake.nics[0].stuck.add(0)
    seen = []

    def two_contexts(process: Process, job: Job) -> list[int]:
        opened = [process.calls.open_context(ContextRequest(commands_log2=2, events_log2=3)).index for _ in range(2)]
        seen.append([region for region in process.kernel.memory.regions if region.owner == process.jid])
        return opened

    jobs = [job(monkeypatch, two_contexts), job(monkeypatch, two_contexts, name="next", jid=2, after=("job",))]
    system = fake.run(*jobs)
    results = system.results()
    assert (results["job"], results["next"]) == ([[0, 1]], [[1, 2]])
    first, second = seen
    assert all(one.end <= other.base or other.end <= one.base for one in first for other in second)
    assert [region for region in system.kernels[0].memory.regions if region.owner] == first
    assert results["counters"]["kernel.stuck_contexts"]["total"] == 1
    assert {result["state"] for result in results["jobs"].values()} == {"finished"}
