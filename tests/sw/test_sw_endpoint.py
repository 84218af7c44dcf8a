"""The user-level library: messages with and without memory, full rings, full queues, and no event lost to a sleep."""

import pytest
from fake_machine import FakeMachine
from sw_jobs import job

from rtl.descriptors import COMMAND, EventKind, Refusal
from sw.apps.application import Job
from sw.kernel.contexts import ContextRequest, WindowRequest
from sw.kernel.process import Process
from sw.portals.endpoint import Endpoint, EndpointError, Part

PLACES = ((0, 0), (1, 0))


def request(events_log2: int = 3, commands_log2: int = 2, **more: object) -> ContextRequest:
    return ContextRequest(commands_log2=commands_log2, events_log2=events_log2, interrupt=True, **more)  # type: ignore[arg-type]


def test_memory_travels_and_the_trusted_word_is_the_hardwares(monkeypatch: pytest.MonkeyPatch) -> None:
    def main(process: Process, job: Job) -> object:
        va = process.calls.allocate(4096)
        memory = process.view(va, 4096)
        windows = (
            WindowRequest(va=va, length_bytes=2048, local_read=True),
            WindowRequest(va=va + 2048, length_bytes=2048, remote_write=True),
        )
        endpoint = Endpoint.open(process, request(windows=windows))
        addresses = process.calls.fence((endpoint.handle.nid, endpoint.handle.pid))
        if job.rank == 1:
            event = endpoint.wait()
            return [vars_of(event), [int(word) for word in memory[256 : 256 + 6]]]
        memory[:4] = [11, 12, 13, 14]
        nid, pid = addresses[1]
        part = Part(window=0, offset=8, length_bytes=20, remote_window=1, remote_offset=16)
        endpoint.put(nid=nid, pid=pid, match_bits=5, header_data=6, part=part, notify=True, user_data=77)
        sent = endpoint.wait()
        return [sent.kind, sent.user_data, sent.match_bits, sent.header_data, sent.length_bytes]

    def vars_of(event: object) -> dict[str, int]:
        return {name: getattr(event, name) for name in event.__slots__}  # type: ignore[attr-defined]

    results = FakeMachine().run(job(monkeypatch, main, jid=9, placement=PLACES)).results()["job"]
    assert results[0] == [EventKind.SENT, 77, 5, 6, 20]
    assert results[1][0] == {
        "kind": EventKind.PUT, "reason": 0, "window": 1, "nid": 0, "pid": 1, "jid": 9, "length_bytes": 20, "offset": 16,
        "match_bits": 5, "header_data": 6, "user_data": 0,
    }  # fmt: skip
    assert results[1][1] == [0, 0, 12, 13, 14, 0]


@pytest.mark.parametrize(("commands_log2", "events_log2"), [(0, 1), (1, 1), (2, 3), (5, 2)])
def test_neither_ring_nor_queue_is_overrun(
    monkeypatch: pytest.MonkeyPatch, commands_log2: int, events_log2: int
) -> None:
    """50 messages to oneself, as fast as the ring takes them, with at most half a queue of events not yet read."""
    limit = max((1 << events_log2) // 2, 1)

    def main(process: Process, job: Job) -> list[int]:
        endpoint = Endpoint.open(process, request(events_log2, commands_log2))
        got: list[int] = []
        for number in range(50):
            while number - len(got) >= limit:
                event = endpoint.poll()
                if event is not None:
                    got.append(event.header_data)
            endpoint.put(nid=0, pid=endpoint.handle.pid, header_data=number)
        while len(got) < 50:
            got.append(endpoint.wait().header_data)
        return got

    machine = FakeMachine(nodes=1)
    system = machine.run(job(monkeypatch, main))
    assert system.results()["job"][0] == list(range(50))
    counters = {name: row["total"] for name, row in system.results()["counters"].items()}
    assert counters["nic.access_refused"] == counters["nic.event_queue_full"] == 0
    told = [
        value for name, at, value, _ in machine.node_list[0].cores[0].accesses if (name, at) == ("store", 0xC0010010)
    ]
    assert told == sorted(set(told))
    assert all(later - earlier <= max(limit, 1) for earlier, later in zip([0, *told], told, strict=False))


def test_a_send_takes_no_trap_and_one_access(monkeypatch: pytest.MonkeyPatch) -> None:
    def main(process: Process, job: Job) -> int:
        endpoint = Endpoint.open(process, request(commands_log2=6))
        before = process.calls.counters()["kernel.traps"]
        first = len(machine.node_list[0].cores[0].accesses)
        for _ in range(10):
            endpoint.put(nid=5, pid=1)
        accesses.extend(machine.node_list[0].cores[0].accesses[first:])
        return process.calls.counters()["kernel.traps"] - before - 1

    accesses: list[tuple[str, int, int, bool]] = []
    machine = FakeMachine(nodes=1)
    assert machine.run(job(monkeypatch, main)).results()["job"] == [0]
    assert accesses == [("store", 0xC001_0000, number + 1, False) for number in range(10)]
    assert machine.fabric.lost == 10


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"operation": 9}, Refusal.COMMAND_MALFORMED),
        ({"length_bytes": 8, "local_window": 0}, Refusal.COMMAND_WINDOW),
        ({"local_offset": 4}, Refusal.COMMAND_MALFORMED),
    ],
)
def test_refused_commands_come_back(monkeypatch: pytest.MonkeyPatch, change: dict[str, int], reason: Refusal) -> None:
    def main(process: Process, job: Job) -> list[int]:
        endpoint = Endpoint.open(process, request())
        endpoint.submit(COMMAND.pack(**{"operation": 1, "user_data": 3, **change}))
        event = endpoint.wait()
        return [event.kind, event.reason, event.user_data]

    assert FakeMachine(nodes=1).run(job(monkeypatch, main)).results()["job"][0] == [EventKind.REFUSED, reason, 3]


def test_errors_of_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    def main(process: Process, job: Job) -> str:
        endpoint = Endpoint.open(process, request())
        with pytest.raises(ValueError, match=r"command.dst_pid: 0x10000 is out of range 0..0xffff"):
            endpoint.put(nid=0, pid=0x10000)
        with pytest.raises(EndpointError) as caught:
            endpoint.submit([1, 2, 3])
        monkeypatch.setattr("sw.portals.endpoint.STALL_LIMIT", 20)
        monkeypatch.setattr(machine.nics[0], "_kick", lambda: None)  # a NIC that is dead
        for _ in range(4):
            endpoint.put(nid=0, pid=1)
        with pytest.raises(EndpointError) as stalled:
            endpoint.put(nid=0, pid=1)
        return f"{caught.value}|{stalled.value}"

    machine = FakeMachine(nodes=1)
    assert machine.run(job(monkeypatch, main)).results()["job"][0].split("|") == [
        "command: 3 words; a command has 8; pack it with COMMAND",
        "context 0: its ring of 4 commands stays full; the NIC takes no command",
    ]


@pytest.mark.parametrize("latency_ps", range(100_000, 6_000_000, 397_000))
def test_no_wake_up_is_lost(monkeypatch: pytest.MonkeyPatch, latency_ps: int) -> None:
    """Ping-pong by sleeping, with latencies that put the message before, into and after the way to sleep."""

    def main(process: Process, job: Job) -> int:
        endpoint = Endpoint.open(process, request())
        pids = process.calls.fence(endpoint.handle.pid)
        other = 1 - job.rank
        for number in range(20):
            if job.rank == 0:
                endpoint.put(nid=other, pid=pids[other], header_data=number)
            assert endpoint.wait().header_data == number
            process.compute(number * 300)
            if job.rank == 1:
                endpoint.put(nid=other, pid=pids[other], header_data=number)
        return 20

    system = FakeMachine(latency_ps=latency_ps).run(job(monkeypatch, main, placement=PLACES), limit_ms=50)
    assert system.results()["job"] == [20, 20]


@pytest.mark.parametrize("delay_cycles", range(0, 12_000, 750))
def test_no_wake_up_is_lost_when_another_core_takes_the_interrupt(
    monkeypatch: pytest.MonkeyPatch, delay_cycles: int
) -> None:
    def main(process: Process, job: Job) -> int:
        endpoint = Endpoint.open(process, request())
        pids = process.calls.fence(endpoint.handle.pid)
        if job.rank == 0:
            process.compute(delay_cycles)
            endpoint.put(nid=0, pid=pids[1], header_data=4)
            return 0
        process.compute(6_000)
        return endpoint.wait().header_data

    system = FakeMachine(nodes=1).run(job(monkeypatch, main, placement=((0, 0), (0, 1))), limit_ms=50)
    assert system.results()["job"] == [0, 4]
