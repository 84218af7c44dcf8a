"""Application-inserted extensions: what they are granted and charged, and what happens when they go wrong."""

from collections.abc import Callable
from dataclasses import fields, replace

import pytest
from fake_machine import FakeMachine
from sw_jobs import job, listening, send

from nimble.access import READ_WRITE, Right
from nimble.assembler import assemble
from nimble.extension import Attachment, Manifest, Trust, WindowWish
from nimble.timing import OperationCosts
from sw.apps.application import Job
from sw.kernel.contexts import ContextRequest
from sw.kernel.costs import CpuCosts
from sw.kernel.extensions import Grant
from sw.kernel.process import Process
from sw.kernel.traps import TrapError
from sw.portals.endpoint import Endpoint

REQUEST = ContextRequest(commands_log2=3, events_log2=4, interrupt=True)
COUNT = "lddw %r1, STATE\nldxdw %r2, [%r1]\nadd %r2, 1\nstxdw [%r1], %r2\nmov %r0, 0\nexit\n.state 8"


def manifest(endpoint: Endpoint, **change: object) -> Manifest:
    attach = (Attachment(endpoint.handle.event, "main"),)
    asked = {"name": "test", "trust": Trust.UNTRUSTED, "attach": attach, "budget": 100}
    return Manifest(**{**asked, **change})  # type: ignore[arg-type]


def run(monkeypatch: pytest.MonkeyPatch, main: Callable[[Process, Endpoint], object], **options: object) -> object:
    def body(process: Process, job: Job) -> object:
        return main(process, listening(process, REQUEST))

    system = FakeMachine(nodes=1).run(job(monkeypatch, body), **options)  # type: ignore[arg-type]
    jobs = system.results()["jobs"]
    assert jobs["job"]["state"] == "finished", jobs
    return system.results()["job"][0]


def rest(process: Process) -> None:
    process.compute(40_000)
    process.settle()


def test_events_run_it_and_it_is_charged(monkeypatch: pytest.MonkeyPatch) -> None:
    """6 instructions per event; nobody is woken."""

    def main(process: Process, endpoint: Endpoint) -> list[int]:
        number = process.calls.insert_extension(assemble(COUNT), manifest(endpoint), ())
        before = process.calls.counters()
        for _ in range(3):
            send(endpoint, 0, endpoint.handle.pid)
            rest(process)
        after = process.calls.counters()
        state = process.calls.extension_state(number)
        assert state.stopped is None
        process.calls.remove_extension(number)
        send(endpoint, 0, endpoint.handle.pid)
        rest(process)
        removed = process.calls.counters()
        names = (
            "extension.calls",
            "extension.instructions",
            "kernel.interrupts",
            "kernel.wake_ups",
            "kernel.context_switches",
        )
        return [
            int.from_bytes(state.memory, "little"),
            *(after[name] - before[name] for name in names),
            removed["extension.calls"] - after["extension.calls"],
        ]

    assert run(monkeypatch, main) == [3, 3, 18, 3, 0, 0, 0]


def only(**costs: int) -> OperationCosts:
    """Operations of which nothing costs but this."""
    return OperationCosts(**{**dict.fromkeys((field.name for field in fields(OperationCosts)), 0), **costs})


# What COUNT executes more than a bare return: lddw, ldxdw, add, stxdw; in core cycles.
PARTS = [
    (CpuCosts(operations=only()), 0),
    (CpuCosts(operations=only(alu=100)), 2),
    (CpuCosts(operations=only(load=500)), 5),
    (CpuCosts(operations=only(store=300)), 3),
    (CpuCosts(operations=only(multiply=900, divide=900, branch=900, atomic=900, subroutine=900)), 0),
    (CpuCosts(operations=only(direct=150)), 6),
    (CpuCosts(operations=only(subroutine=250), threading="subroutine"), 10),
]


@pytest.mark.parametrize(("costs", "expected"), PARTS)
def test_its_time_is_the_interrupted_processs(monkeypatch: pytest.MonkeyPatch, costs: CpuCosts, expected: int) -> None:
    times = [time_of(monkeypatch, text, costs) for text in ("mov %r0, 0\nexit\n.state 8", COUNT)]
    assert times[1] - times[0] == expected * 500


@pytest.mark.parametrize("cycles", [0, 1, 70])
def test_a_call_has_a_price(monkeypatch: pytest.MonkeyPatch, cycles: int) -> None:
    """Of the driver once, of the extension once."""
    free, paid = (time_of(monkeypatch, COUNT, CpuCosts(operations=only(), extension_call=n)) for n in (0, cycles))
    assert paid - free == 2 * cycles * 500


def time_of(monkeypatch: pytest.MonkeyPatch, text: str, costs: CpuCosts) -> int:
    """Picoseconds of a process's million cycles that one event interrupts."""

    def main(process: Process, endpoint: Endpoint) -> int:
        process.calls.insert_extension(assemble(text), manifest(endpoint), ())
        send(endpoint, 0, endpoint.handle.pid)
        start_ps = process.now_ps
        process.compute(1_000_000)
        process.settle()
        return process.now_ps - start_ps

    time_ps = run(monkeypatch, main, costs=costs)
    assert isinstance(time_ps, int)
    return time_ps


BAD = {
    "fault": "lddw %r1, 0x5000000\nldxdw %r2, [%r1]\nexit",
    "budget": "ja -1",
}


@pytest.mark.parametrize("kind", BAD)
def test_one_that_goes_wrong_is_taken_out_and_nothing_is_lost(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """The event that it was stopped over wakes the sleeper, and so do all later ones."""

    def main(process: Process, endpoint: Endpoint) -> object:
        number = process.calls.insert_extension(assemble(BAD[kind]), manifest(endpoint), ())
        got = []
        for value in (1, 2, 3):
            send(endpoint, 0, endpoint.handle.pid, value)
            got.append(endpoint.wait().header_data)
        stopped = process.calls.extension_state(number).stopped
        return [got, stopped, process.calls.counters()["extension.stops"], process.calls.counters()["extension.calls"]]

    got, stopped, stops, calls = run(monkeypatch, main)  # type: ignore[misc]
    assert got == [1, 2, 3]
    assert (stops, calls) == (1, 1)
    expected = {
        "fault": "<text>:2: pc 2: ldxdw %r2, [%r1]: 8-byte read at 0x5000000: no window is granted; ask for one",
        "budget": "the budget of 100 instructions is exhausted; raise it or do less per call",
    }
    assert expected[kind] in stopped


def test_grants_are_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the context's page the extension has one register; its neighbours are as far away as anything else."""

    def main(process: Process, endpoint: Endpoint) -> list[str | None]:
        page = endpoint.handle.page_va
        memory = process.calls.allocate(64)
        grants = (
            Grant(name="head", va=page + 0x10, length_bytes=8, rights=Right.WRITE),
            Grant(name="memory", va=memory + 8, length_bytes=8, rights=READ_WRITE),
        )
        asked = manifest(endpoint, windows=tuple(WindowWish(grant.name, grant.rights) for grant in grants))
        stops = []
        for text in (
            f"lddw %r1, {page + 0x10}\nstdw [%r1], 0\nmov %r0, 0\nexit",
            f"lddw %r1, {memory + 8}\nstdw [%r1], 5\nexit",
            f"lddw %r1, {page + 0x10}\nldxdw %r2, [%r1]\nexit",
            f"lddw %r1, {page + 0x10}\nstw [%r1], 0\nexit",
            f"lddw %r1, {page + 0x08}\nstdw [%r1], 0\nexit",
            f"lddw %r1, {page + 0x18}\nstdw [%r1], 0\nexit",
            f"lddw %r1, {memory}\nstdw [%r1], 5\nexit",
            f"lddw %r1, {memory + 16}\nstb [%r1], 5\nexit",
            f"lddw %r1, {page + 0x10}\nstdw [%r1], 100\nexit",
        ):
            number = process.calls.insert_extension(assemble(text), asked, grants)
            send(endpoint, 0, endpoint.handle.pid)
            rest(process)
            stopped = process.calls.extension_state(number).stopped
            stops.append(stopped.split(": ", 2)[2] if stopped else None)
            process.calls.remove_extension(number)
        assert int(process.view(memory, 64)[1]) == 5
        return stops

    head, memory = "head 0x10010..0x10018", "memory 0x21008..0x21010"
    nearest = "no window holds it; the nearest is"
    remedy = "ask for a window or mend the address"
    assert run(monkeypatch, main) == [
        None,
        None,
        f"ldxdw %r2, [%r1]: 8-byte read at 0x10010: {head} grants write; ask for the right",
        f"stw [%r1], 0: 4-byte write at 0x10010: {head} takes widths 8; use one of them",
        f"stdw [%r1], 0: 8-byte write at 0x10008: {nearest} {head}; {remedy}",
        f"stdw [%r1], 0: 8-byte write at 0x10018: {nearest} {head}; {remedy}",
        f"stdw [%r1], 5: 8-byte write at 0x21000: {nearest} {memory}; {remedy}",
        f"stb [%r1], 5: 1-byte write at 0x21010: {nearest} {memory}; {remedy}",
        # Unprivileged, and judged by the hardware like the process's own store.
        "stdw [%r1], 100: 8-byte write at 0xc0010010: write of 0xc0010010 was refused by the hardware: SLVERR",
    ]


def test_what_is_not_inserted(monkeypatch: pytest.MonkeyPatch) -> None:
    def main(process: Process, endpoint: Endpoint) -> list[str]:
        good = assemble("exit")
        grant = Grant(name="w", va=endpoint.handle.events_va, length_bytes=64, rights=READ_WRITE)
        attempts = (
            (good, manifest(endpoint, trust=Trust.TRUSTED), ()),
            (good, manifest(endpoint, attach=(Attachment("nic.interrupt", "main"),)), ()),
            (good, manifest(endpoint, attach=(Attachment(endpoint.handle.event, "other"),)), ()),
            (good, manifest(endpoint), (grant,)),
            (good, manifest(endpoint, windows=(WindowWish("table", Right.READ),)), ()),
            (assemble("call 1\nexit"), manifest(endpoint), ()),
            (good, manifest(endpoint, budget=(1 << 22) + 1), ()),
            (good, manifest(endpoint, name="n" * 199), ()),
            (good, manifest(endpoint, calls=("nic.driver",)), ()),
            (good, manifest(endpoint, calls=("inner",)), ()),
            (good, manifest(endpoint, windows=(WindowWish("w", READ_WRITE),)), (replace(grant, rights=Right.READ),)),
        )
        texts = []
        for program, wanted, grants in attempts:
            with pytest.raises(TrapError) as caught:
                process.calls.insert_extension(program, wanted, grants)
            texts.append(str(caught.value).removeprefix("insert_extension: "))
        assert process.calls.insert_extension(good, manifest(endpoint), ())
        with pytest.raises(TrapError) as caught:
            process.calls.insert_extension(good, manifest(endpoint), ())
        return [*texts, str(caught.value)]

    texts = run(monkeypatch, main)
    assert isinstance(texts, list)
    assert texts[0] == "test: trust: trusted; applications insert untrusted ones"
    assert texts[1] == "test: event nic.interrupt: is not one of job 1; there are nic.context0; open the context first"
    assert "entry other is unknown; known are main" in texts[2]
    assert texts[3] == "page fault: read-write of 64 bytes at 0x3000: the mapping allows read only"
    assert "window table: is not granted" in texts[4]
    assert "unknown service 1; known are: none" in texts[5]
    assert texts[6:] == [
        "test: budget: 4194305; an application's extension has at most 4194304 instructions per call; do less per call",
        f"manifest: name: 'job.0.{'n' * 199}' is no name; write a letter or '_', then at most 199 letters, digits, "
        "'_', '.' or '-'",
        "job.0.test: calls: nic.driver exports no entry; name those that others may call in its exports",
        "job.0.test: calls: inner is not inserted; inserted are: nic.driver; insert it first; extensions that would "
        "call each other in a circle cannot be inserted",
        "job.0.test: window w: asks for read-write; granted is read; ask for less or grant more",
        "insert_extension: job.0.test: is inserted already; names are unique; remove it or rename this",
    ]
