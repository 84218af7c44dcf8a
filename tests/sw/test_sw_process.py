"""What a process may touch, what it is told when it may not, and how it ends."""

from functools import partial

import pytest
from fake_machine import FakeMachine
from sw_jobs import job

from nimble.access import Right
from sw.apps.application import Job
from sw.kernel.contexts import ContextHandle, ContextRequest, WindowRequest
from sw.kernel.hardware import BusError
from sw.kernel.memory import PageFault, smartmap
from sw.kernel.process import Process
from sw.kernel.traps import TrapError

SMALL = ContextRequest(commands_log2=1, events_log2=2)


def refusal(action: object, *arguments: object) -> str:
    with pytest.raises((PageFault, BusError, TrapError)) as caught:
        action(*arguments)  # type: ignore[operator]
    return str(caught.value)


def test_registers_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def main(process: Process, job: Job) -> list[str]:
        handle = process.calls.open_context(SMALL)
        va = process.calls.allocate(8)
        process.view(va, 4096)[:] = 7
        assert process.load(handle.page_va + 0x20) == 1 << 32 | handle.pid << 16  # own identity: job 1, node 0
        return [
            refusal(process.load, 0),
            refusal(process.store, handle.page_va - 0x10000, 1),
            refusal(process.store, handle.page_va + 0x10000, 1),
            refusal(process.load, va),
            refusal(process.view, handle.page_va, 8),
            refusal(process.view, handle.events_va, 8),
            refusal(process.view, va + 4096, 8),
            refusal(process.view, smartmap(7, va), 8),
            refusal(process.store, handle.page_va + 0x8, 1),
            refusal(process.store, handle.page_va + 0x0, 3),
            refusal(process.load, handle.page_va + 0x40),
            refusal(process.view, handle.counters_va, 16),
            refusal(process.calls.allocate, 1 << 40),
        ]

    machine = FakeMachine(nodes=1)
    system = machine.run(job(monkeypatch, main))
    assert system.results()["job"][0] == [
        "page fault: read of 8 bytes at 0x0: not mapped",
        "page fault: write of 8 bytes at 0x0: not mapped",
        "page fault: write of 8 bytes at 0x20000: not mapped",
        "page fault: read of 8 bytes at 0x21000: process memory has no registers; use view",
        "page fault: read-write of 8 bytes at 0x10000: device registers are not memory; use load and store",
        "page fault: read-write of 8 bytes at 0x3000: the mapping allows read only",
        "page fault: read-write of 8 bytes at 0x22000: not mapped",
        "page fault: read-write of 8 bytes at 0x40000021000: slot 7 holds no process of this job",
        "write of 0xc0010008 was refused by the hardware: SLVERR",
        "write of 0xc0010000 was refused by the hardware: SLVERR",
        "read of 0xc0010040 was refused by the hardware: SLVERR",
        "page fault: read-write of 16 bytes at 0x5000: the mapping allows read only",
        "allocate: job.0: 1099511627776 bytes; 1073152 of 8388608 bytes are in use and no free range is that long; "
        "ask for less, or give the node more memory",
    ]  # fmt: skip
    counters = {name: row["total"] for name, row in system.results()["counters"].items()}
    assert counters["kernel.page_faults"] == 9
    assert counters["kernel.bus_errors"] == 3
    assert counters["nic.access_refused"] == 3
    violations = system.results()["violations"]
    assert violations == [
        {
            "nid": 0, "time_ps": violation["time_ps"], "subject": "access", "reason": "ACCESS_REFUSED", "context": 0,
            "detail": address, "jid": 1, "process": "job.0", "src_nid": None, "src_pid": None,
        }
        for violation, address in zip(violations, (0xC001_0008, 0xC001_0000, 0xC001_0040), strict=True)
    ]  # fmt: skip
    assert counters["kernel.violations"] == 3


def test_requests_that_the_kernel_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    def main(process: Process, job: Job) -> list[str]:
        calls = process.calls
        va = calls.allocate(4096)
        handle = calls.open_context(SMALL)
        window = WindowRequest(va=va, length_bytes=64, local_read=True)

        def request(**change: object) -> ContextRequest:
            return ContextRequest(**{"commands_log2": 0, "events_log2": 2, **change})  # type: ignore[arg-type]

        foreign = ContextHandle(**{**vars(handle), "index": 3})
        texts = [
            refusal(calls.open_context, request(commands_log2=16)),
            refusal(calls.open_context, request(events_log2=1)),
            refusal(calls.open_context, request(moderation_count=1 << 16)),
            refusal(calls.open_context, request(moderation_us=1 << 25)),
            refusal(calls.open_context, request(windows=(window,) * 5)),
            refusal(calls.open_context, request(windows=(WindowRequest(va=va, length_bytes=64),))),
            refusal(calls.open_context, request(windows=(WindowRequest(va=va + 4, length_bytes=64, local_read=True),))),
            *(
                refusal(
                    calls.open_context, request(windows=(WindowRequest(va=va, length_bytes=8192, **{right: True}),))
                )
                for right in ("local_read", "local_write", "remote_read", "remote_write")
            ),
            refusal(
                calls.open_context,
                request(windows=(WindowRequest(va=handle.counters_va, length_bytes=64, local_write=True),)),
            ),
            refusal(
                calls.open_context,
                request(windows=(WindowRequest(va=handle.events_va, length_bytes=64, local_read=True),)),
            ),
            refusal(calls.wait_event, foreign),
            refusal(partial(calls.moderate, count=1, duration_us=1), foreign),
            refusal(partial(calls.moderate, count=1 << 16, duration_us=1), handle),
            refusal(partial(calls.moderate, count=1, duration_us=1 << 25), handle),
            refusal(calls.extension_state, 1),
            refusal(calls.remove_extension, 9),
        ]
        for _ in range(3):
            calls.open_context(SMALL)
        return [*texts, refusal(calls.open_context, SMALL)]

    system = FakeMachine(nodes=1).run(job(monkeypatch, main))
    assert system.results()["job"][0] == [
        "open_context: commands_log2: 16 is out of range 0..15; ask for what the NIC can do",
        "open_context: events_log2: 1 is out of range 2..15; ask for what the NIC can do",
        "open_context: moderation_count: 65536 is out of range 0..65535; ask for what the NIC can do",
        "open_context: moderation_us: 33554432 is out of range 0..17179869; ask for what the NIC can do",
        "open_context: windows: 5; a context of this NIC has 4; join some",
        "open_context: window 0x1000+0x40: needs a right, and multiples of 8 bytes; mend the request",
        "open_context: window 0x1004+0x40: needs a right, and multiples of 8 bytes; mend the request",
        "open_context: page fault: read of 8192 bytes at 0x1000: not mapped",
        "open_context: page fault: write of 8192 bytes at 0x1000: not mapped",
        "open_context: page fault: read of 8192 bytes at 0x1000: not mapped",
        "open_context: page fault: write of 8192 bytes at 0x1000: not mapped",
        "open_context: page fault: write of 64 bytes at 0x7000: the mapping allows read only",
        "open_context: window 0x5000: is ring memory; windows lie in process memory",
        "wait_event: context 3: is not one of job 1; open it first",
        "moderate: context 3: is not one of job 1; open it first",
        "moderate: moderation_count: 65536 is out of range 0..65535; ask for what the NIC can do",
        "moderate: moderation_us: 33554432 is out of range 0..17179869; ask for what the NIC can do",
        "extension_state: extension 1: is not one of job 1; insert it first",
        "remove_extension: extension 9: is not one of job 1; insert it first",
        "open_context: NIC contexts: all 4 of node 0 are in use; build the NIC with more",
    ]


def test_processes_of_a_job_share_memory_and_others_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, object] = {}

    def main(process: Process, job: Job) -> None:
        va = process.calls.allocate(64)
        process.view(va, 64)[0] = 100 + job.rank
        places = process.calls.fence((process.slot, va))
        slot, other_va = places[1 - job.rank]
        seen[f"rank {job.rank}"] = int(process.view(smartmap(slot, other_va), 64, Right.READ)[0])
        process.view(smartmap(slot, other_va), 64)[1 + job.rank] = 5
        process.calls.fence()
        seen["place"] = places[0]
        process.compute(400_000_000)
        process.settle()

    def stranger(process: Process, job: Job) -> None:
        process.compute(200_000_000)
        process.settle()
        slot, va = seen["place"]  # type: ignore[misc]
        seen["stranger"] = refusal(process.view, smartmap(slot, va), 8)

    machine = FakeMachine(nodes=1, cores=3)
    machine.run(
        job(monkeypatch, main, placement=((0, 0), (0, 1))),
        job(monkeypatch, stranger, name="b", jid=2, placement=((0, 2),)),
    )
    assert (seen["rank 0"], seen["rank 1"]) == (101, 100)
    assert "holds no process of this job" in str(seen["stranger"])


def test_contexts_of_a_process_have_pids_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def main(process: Process, job: Job) -> list[int]:
        return [process.pid, *(process.calls.open_context(SMALL).pid for _ in range(3))]

    own, *contexts = FakeMachine(nodes=1).run(job(monkeypatch, main)).results()["job"][0]
    assert contexts[0] == own
    assert len({own, *contexts}) == 3
