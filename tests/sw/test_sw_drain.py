"""Memory of closed contexts: it is given away when the device has said that it does not touch it any more."""

import fake_nic
import pytest
from fake_machine import FakeMachine
from sw_jobs import job

from sw.apps.application import Job
from sw.kernel import network
from sw.kernel.contexts import ContextRequest
from sw.kernel.errors import KernelPanic
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


def test_a_device_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "DRAIN_READS", fake_nic.BUSY_READS)
    with pytest.raises(KernelPanic) as caught:
        FakeMachine(nodes=1).run(job(monkeypatch, two_contexts))
    assert str(caught.value) == (
        "node 0: driver nic: context 0: is still busy after 3 reads; memory or a link does not answer, reset the node"
    )
