"""The user-level library: messages with and without memory, full rings, full queues, and no event lost to a sleep."""

import pytest
from fake_machine import FakeMachine
from sw_jobs import job, listening, send

from rtl.portals import COMMAND, EventKind, Fail, Operation, Refusal
from sw.apps.application import Job
from sw.kernel.contexts import ContextRequest
from sw.kernel.process import Process
from sw.portals.endpoint import Endpoint, EndpointError

PLACES = ((0, 0), (1, 0))


def request(events_log2: int = 3, commands_log2: int = 2, **more: object) -> ContextRequest:
    return ContextRequest(commands_log2=commands_log2, events_log2=events_log2, interrupt=True, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(("commands_log2", "events_log2"), [(0, 3), (1, 4), (2, 3), (5, 2)])
def test_neither_ring_nor_queue_is_overrun(
    monkeypatch: pytest.MonkeyPatch, commands_log2: int, events_log2: int
) -> None:
    """50 messages to oneself, as fast as the ring takes them, with at most a quarter of a queue of events not yet read:
    half of it may be read and not told, and commands need places, too."""
    half = (1 << events_log2) // 2
    limit = half // 2

    def main(process: Process, job: Job) -> list[int]:
        endpoint = listening(process, request(events_log2, commands_log2))
        got: list[int] = []
        for number in range(50):
            while number - len(got) >= limit:
                event = endpoint.poll()
                if event is not None:
                    got.append(event.header_data)
            send(endpoint, 0, endpoint.handle.pid, number)
        while len(got) < 50:
            got.append(endpoint.wait().header_data)
        return got

    machine = FakeMachine(nodes=1)
    system = machine.run(job(monkeypatch, main))
    assert system.results()["job"][0] == list(range(50))
    counters = {name: row["total"] for name, row in system.results()["counters"].items()}
    assert counters["nic.access_refused"] == 0
    assert counters["nic.messages_delivered"] == 50
    told = [
        value for name, at, value, _ in machine.node_list[0].cores[0].accesses if (name, at) == ("store", 0xC0010010)
    ]
    assert told == sorted(set(told))
    assert all(later - earlier <= half for earlier, later in zip([0, *told], told, strict=False))


def test_a_send_takes_no_trap_and_one_access(monkeypatch: pytest.MonkeyPatch) -> None:
    def main(process: Process, job: Job) -> int:
        endpoint = Endpoint.open(process, request(commands_log2=6))
        before = process.calls.counters()["kernel.traps"]
        first = len(machine.node_list[0].cores[0].accesses)
        for _ in range(10):
            send(endpoint, 1, 1)
        accesses.extend(machine.node_list[0].cores[0].accesses[first:])
        return process.calls.counters()["kernel.traps"] - before - 1

    accesses: list[tuple[str, int, int, bool]] = []
    machine = FakeMachine(nodes=2)
    assert machine.run(job(monkeypatch, main)).results()["job"] == [0]
    assert accesses == [("store", 0xC001_0000, number + 1, False) for number in range(10)]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"operation": 9}, Refusal.COMMAND_MALFORMED),
        ({"length_bytes": 8, "local_window": 0}, Refusal.COMMAND_WINDOW),
        ({"dst_nid": 1}, Refusal.COMMAND_MALFORMED),
        ({"ct_send": 1, "counter": 16}, Refusal.COMMAND_ENTRY),
    ],
)
def test_refused_commands_come_back(monkeypatch: pytest.MonkeyPatch, change: dict[str, int], reason: Refusal) -> None:
    def main(process: Process, job: Job) -> list[object]:
        endpoint = Endpoint.open(process, request())
        endpoint.submit(COMMAND.pack(**{"operation": Operation.PUT, "user_data": 3, **change}))
        event = endpoint.wait()
        return [event.kind, event.fail, event.failure, event.user_data, endpoint.complete()]

    results = FakeMachine(nodes=1).run(job(monkeypatch, main)).results()["job"][0]
    assert results == [EventKind.REFUSED, reason, reason.name, 3, 1]


def test_a_ring_is_handed_over_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    def main(process: Process, job: Job) -> list[object]:
        endpoint = listening(process, request())
        for number in range(4):
            send(endpoint, 0, endpoint.handle.pid, number)
        commands = process.view(endpoint.handle.commands_va, 4 * 64)
        return [bool(commands.any()), endpoint.hand_over_ring(), bool(commands.any())]

    assert FakeMachine(nodes=1).run(job(monkeypatch, main)).results()["job"][0] == [True, 6, False]


def test_nobody_waits_for_what_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    def main(process: Process, job: Job) -> str:
        endpoint = Endpoint.open(process, ContextRequest(commands_log2=2, events_log2=2))
        with pytest.raises(EndpointError) as caught:
            endpoint.wait()
        return str(caught.value)

    text = "context 0: was opened without interrupt, and nothing would wake who waits; poll it"
    assert FakeMachine(nodes=1).run(job(monkeypatch, main)).results()["job"] == [text]


@pytest.mark.parametrize("polling", [False, True])
def test_an_event_that_memory_refused_is_missed(monkeypatch: pytest.MonkeyPatch, polling: bool) -> None:
    """Its number is used up, and the next one is seen by nobody who waits for it."""

    def main(process: Process, job: Job) -> str:
        endpoint = listening(process, request())
        send(endpoint, 0, endpoint.handle.pid)
        assert endpoint.wait().fail == Fail.OK
        model = machine.nics[0].model
        queue = model.contexts[endpoint.handle.index].settings.event_base
        model.memory.faulty.append(range(queue + 64, queue + 128))
        send(endpoint, 0, endpoint.handle.pid)
        with pytest.raises(EndpointError) as caught:
            poll_for_ever(endpoint) if polling else endpoint.wait()
        return str(caught.value)

    def poll_for_ever(endpoint: Endpoint) -> None:
        while True:
            endpoint.poll()

    machine = FakeMachine(nodes=1)
    text = "context 0: event 1 was lost, memory refused it; 2 were written; open another context"
    assert machine.run(job(monkeypatch, main)).results()["job"] == [text]


def test_errors_of_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    def main(process: Process, job: Job) -> str:
        endpoint = Endpoint.open(process, request())
        with pytest.raises(ValueError, match=r"command.dst_pid: 0x10000 is out of range 0..0xffff"):
            send(endpoint, 0, 0x10000)
        with pytest.raises(EndpointError) as caught:
            endpoint.submit([1, 2, 3])
        monkeypatch.setattr("sw.portals.endpoint.STALL_LIMIT", 20)
        monkeypatch.setattr(machine.nics[0], "_kick", lambda: None)  # a NIC that is dead
        for _ in range(4):
            send(endpoint, 0, 1)
        with pytest.raises(EndpointError) as stalled:
            send(endpoint, 0, 1)
        return f"{caught.value}|{stalled.value}"

    machine = FakeMachine(nodes=1)
    assert machine.run(job(monkeypatch, main)).results()["job"][0].split("|") == [
        "command: 3 words; a command has 8; pack it with COMMAND",
        "context 0: its ring of 4 commands stays full; the NIC takes no command, or waits for room in the event queue: "
        "read events",
    ]


@pytest.mark.parametrize("latency_ps", range(100_000, 6_000_000, 397_000))
def test_no_wake_up_is_lost(monkeypatch: pytest.MonkeyPatch, latency_ps: int) -> None:
    """Ping-pong by sleeping, with latencies that put the message before, into and after the way to sleep."""

    def main(process: Process, job: Job) -> int:
        endpoint = listening(process, request())
        pids = process.calls.fence(endpoint.handle.pid)
        other = 1 - job.rank
        for number in range(20):
            if job.rank == 0:
                send(endpoint, other, pids[other], number)
            assert endpoint.wait().header_data == number
            process.compute(number * 300)
            if job.rank == 1:
                send(endpoint, other, pids[other], number)
        return 20

    system = FakeMachine(latency_ps=latency_ps).run(job(monkeypatch, main, placement=PLACES), limit_ms=50)
    assert system.results()["job"] == [20, 20]


@pytest.mark.parametrize("delay_cycles", range(0, 12_000, 750))
def test_no_wake_up_is_lost_when_another_core_takes_the_interrupt(
    monkeypatch: pytest.MonkeyPatch, delay_cycles: int
) -> None:
    """Rank 1 waits for an event of rank 0's context, which interrupts core 0."""

    def main(process: Process, job: Job) -> int:
        endpoint = listening(process, request())
        theirs, _ = process.calls.fence(endpoint.handle)
        if job.rank == 0:
            process.compute(delay_cycles)
            send(endpoint, 0, theirs.pid, 4)
            process.compute(20_000)
        else:
            process.compute(6_000)
            process.calls.wait_event(theirs)
        process.calls.fence()
        return endpoint.wait().header_data if job.rank == 0 else 1

    system = FakeMachine(nodes=1).run(job(monkeypatch, main, placement=((0, 0), (0, 1))), limit_ms=50)
    assert system.results()["job"] == [4, 1]


@pytest.mark.parametrize("core", [0, 1])
def test_events_take_the_time_of_the_core_that_opened_the_context(monkeypatch: pytest.MonkeyPatch, core: int) -> None:
    """Beside a job that computes, another one's three contexts are told of every event."""
    machine = FakeMachine(nodes=1)
    cycles, over = 1_000_000, []

    def compute(process: Process, job: Job) -> int:
        start_ps = process.now_ps
        process.compute(cycles)
        process.settle()
        over.append(process.now_ps)
        return process.now_ps - start_ps

    def flood(process: Process, job: Job) -> int:
        endpoints = [listening(process, request()) for _ in range(3)]
        told = 0
        while not over:
            for endpoint in endpoints:
                send(endpoint, 0, endpoint.handle.pid)
            told += sum(endpoint.wait() is not None for endpoint in endpoints)
        return told

    jobs = [
        job(monkeypatch, compute, name="worker", jid=1, placement=[(0, core)]),
        job(monkeypatch, flood, name="flood", jid=2, placement=[(0, 1 - core)]),
    ]
    results = machine.run(*jobs, limit_ms=50).results()
    assert results["flood"][0] > 100
    assert results["worker"] == [cycles * 500]
