"""Extensions beside one another, over removal and over the end of their job; what the results say of them."""

from collections.abc import Callable

import pytest
from fake_machine import FakeMachine
from sw_jobs import job, listening, send

from nimble.access import READ_WRITE, Right
from nimble.assembler import assemble
from nimble.engine import ENGINES
from nimble.extension import Attachment, Manifest, Trust, WindowWish
from sw.apps.application import Job
from sw.apps.random_access import RandomAccessParameters
from sw.kernel.contexts import ContextRequest
from sw.kernel.extensions import Grant
from sw.kernel.process import Process
from sw.kernel.traps import TrapError
from sw.machine import JobSpec, System
from sw.portals.endpoint import Endpoint

REQUEST = ContextRequest(commands_log2=3, events_log2=4, interrupt=True)
COUNT = ".state 8\nlddw %r1, STATE\nldxdw %r2, [%r1]\nadd %r2, 1\nstxdw [%r1], %r2\nmov %r0, {}\nexit"
ADDER = (
    ".state 8\n.entry add\nmov %r3, %r1\nlddw %r1, STATE\nldxdw %r2, [%r1]\nadd %r2, %r3\nstxdw [%r1], %r2\n"
    "mov %r0, 5\nexit"
)
EXIT = "mov %r0, 0\nexit"


def manifest(endpoint: Endpoint | None, name: str, *, priority: int = 0, **change: object) -> Manifest:
    attach = (Attachment(endpoint.handle.event, "main", priority),) if endpoint else ()
    asked = {"name": name, "trust": Trust.UNTRUSTED, "attach": attach, "budget": 100}
    return Manifest(**{**asked, **change})  # type: ignore[arg-type]


def on_endpoint(main: Callable[[Process, Endpoint], object]) -> Callable[[Process, Job], object]:
    return lambda process, job: main(process, listening(process, REQUEST))


def run(monkeypatch: pytest.MonkeyPatch, main: Callable[[Process, Endpoint], object]) -> tuple[System, object]:
    system = FakeMachine(nodes=1).run(job(monkeypatch, on_endpoint(main)))
    results = system.results()
    assert results["jobs"]["job"]["state"] == "finished", results["jobs"]
    return system, results["job"][0]


def rest(process: Process) -> None:
    process.compute(40_000)
    process.settle()


def count(process: Process, number: int) -> int:
    return int.from_bytes(process.calls.extension_state(number).memory[:8], "little")


# What the handlers answer, by priority; how often each ran for one event; whether the default handler woke somebody.
CHAINS = [
    ([(0, 0), (0, 0)], [1, 0], False),
    ([(0, 0), (1, 0)], [0, 1], False),
    ([(0, 0), (1, 1)], [1, 1], False),
    ([(0, 1), (1, 1)], [1, 1], True),
    ([(0, 1)], [1], True),
]


@pytest.mark.parametrize(("chain", "ran", "woken"), CHAINS)
def test_an_event_that_is_passed_on_comes_to_the_next_and_at_last_to_the_process(
    monkeypatch: pytest.MonkeyPatch, chain: list[tuple[int, int]], ran: list[int], woken: bool
) -> None:
    def main(process: Process, endpoint: Endpoint) -> object:
        numbers = [
            process.calls.insert_extension(
                assemble(COUNT.format(r0)), manifest(endpoint, f"e{index}", priority=priority), ()
            )
            for index, (priority, r0) in enumerate(chain)
        ]
        send(endpoint, 0, endpoint.handle.pid, 7)
        if woken:
            assert endpoint.wait().header_data == 7
        else:
            rest(process)
        return [count(process, number) for number in numbers]

    assert run(monkeypatch, main)[1] == ran


def test_extensions_of_a_process_call_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the names that the process gave them; a system extension is there too, but exports nothing."""

    def main(process: Process, endpoint: Endpoint) -> object:
        calls = process.calls
        adder = assemble(ADDER)
        inner = calls.insert_extension(adder, manifest(None, "adder", exports=("add",), budget=20), ())
        asked = manifest(endpoint, "outer", calls=("adder",))
        symbols = calls.extension_services(asked)
        assert list(symbols) == ["call_adder_add"]
        outer = assemble(
            "mov %r1, 30\ncall call_adder_add\nmov %r1, 4\ncall call_adder_add\nmov %r0, 0\nexit", symbols=symbols
        )
        calls.insert_extension(outer, asked, ())
        send(endpoint, 0, endpoint.handle.pid)
        rest(process)
        before = count(process, inner)
        calls.remove_extension(inner)
        send(endpoint, 0, endpoint.handle.pid, 9)
        got = [endpoint.wait().header_data for _ in range(2)]  # nobody took the first one out of the queue
        return [before, got, calls.counters()["extension.calls"]]

    system, found = run(monkeypatch, main)
    assert found == [34, [0, 9], 4]
    usage = system.results()["extensions"][0]
    assert list(usage) == ["nic.driver", "job.0.adder", "job.0.outer"]
    assert {key: usage["job.0.adder"][key] for key in ("calls", "instructions", "faults")} == {
        "calls": 2, "instructions": 14, "faults": 0,
    }  # fmt: skip
    assert {key: usage["job.0.outer"][key] for key in ("calls", "instructions", "faults")} == {
        "calls": 2, "instructions": 8, "faults": 1,
    }  # fmt: skip
    assert usage["job.0.outer"]["time_ps"] > usage["job.0.adder"]["time_ps"] > 0


def test_one_process_does_not_see_anothers_extensions(monkeypatch: pytest.MonkeyPatch) -> None:
    def main(process: Process, job: Job) -> object:
        if job.rank == 0:
            process.calls.insert_extension(assemble(EXIT), manifest(None, "own", exports=("main",)), ())
        process.calls.fence()
        try:
            process.calls.extension_services(manifest(None, "new", calls=("own",)))
        except TrapError as error:
            return str(error)
        return "found"

    system = FakeMachine(nodes=1).run(job(monkeypatch, main, placement=((0, 0), (0, 1))))
    assert system.results()["job"] == [
        "found",
        "extension_services: new: calls: own is not inserted; inserted are: nic.driver; insert it first; extensions "
        "that would call each other in a circle cannot be inserted",
    ]


def test_state_is_kept_until_the_job_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    def main(process: Process, endpoint: Endpoint) -> object:
        calls, found = process.calls, []
        for resumes, keep in ((True, True), (True, True), (False, True), (True, False), (True, True)):
            number = calls.insert_extension(
                assemble(COUNT.format(0)), manifest(endpoint, "counter", resumes=resumes), ()
            )
            send(endpoint, 0, endpoint.handle.pid)
            rest(process)
            found.append(count(process, number))
            calls.remove_extension(number, keep_state=keep)
        return found

    system, found = run(monkeypatch, main)
    assert found == [1, 2, 1, 2, 1]
    assert system.results()["extensions"][0]["job.0.counter"]["calls"] == 5
    assert not system.kernels[0].extensions._host._kept  # the job has ended


# ---- the end of a job ----


@pytest.mark.parametrize("kind", ["returns", "fails"])
@pytest.mark.parametrize("removed", [False, True], ids=["inserted", "removed before"])
def test_memory_is_not_given_away_while_another_core_is_inside_the_extension(
    monkeypatch: pytest.MonkeyPatch, kind: str, removed: bool
) -> None:
    """An extension handles the events of rank 1's context on core 1; it is in the middle of a thousand stores to a
    register when the rank on core 0 ends, and with it the job."""
    machine = FakeMachine(nodes=1)
    freed: list[tuple[int, int]] = []

    def main(process: Process, job: Job) -> object:
        endpoint = listening(process, REQUEST)
        _, theirs = process.calls.fence(endpoint.handle)
        if job.rank == 1:
            return None
        calls, register = process.calls, endpoint.handle.page_va + 0x10
        memory = calls.allocate(64)
        grants = (
            Grant(name="register", va=register, length_bytes=8, rights=Right.WRITE),
            Grant(name="memory", va=memory, length_bytes=64, rights=READ_WRITE),
        )
        wishes = tuple(WindowWish(grant.name, grant.rights) for grant in grants)
        text = (
            f"lddw %r1, {register}\nmov %r2, 1000\nlddw %r3, {memory}\nagain: stdw [%r1], 0\nstxdw [%r3], %r2\n"
            f"sub %r2, 1\njne %r2, 0, again\n{EXIT}"
        )
        asked = manifest(None, "long", attach=(Attachment(theirs.event, "main"),), windows=wishes, budget=10_000)
        number = calls.insert_extension(assemble(text), asked, grants)
        extension = process.kernel.extensions.owned(number, process.jid)
        physical, free_of = process.kernel.memory, process.kernel.memory.free_of

        def record(jid: int) -> None:
            freed.append((extension.running, extension.usage.calls))
            free_of(jid)

        monkeypatch.setattr(physical, "free_of", record)
        send(endpoint, 0, theirs.pid)
        while not extension.running:
            rest(process)
        if removed:
            calls.remove_extension(number)
        assert (extension.running, extension.usage.calls) == (1, 0)
        if kind == "fails":
            raise RuntimeError("on purpose")
        return None

    system = machine.run(job(monkeypatch, main, placement=[(0, 0), (0, 1)]))
    assert system.job_states() == {"job": "finished" if kind == "returns" else "failed"}
    assert freed == [(0, 1)]
    usage = system.results()["extensions"][0]["job.0.long"]
    assert (usage["calls"], usage["instructions"], usage["faults"]) == (1, 4005, 0)
    assert list(system.kernels[0].extensions._host.extensions) == ["nic.driver"]
    # A thousand stores of 80 ns at least.
    assert usage["worst_ps"] == usage["time_ps"] > 80_000_000


def test_what_an_extension_stores_on_another_core_is_seen_at_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts to 10,000 on core 1 before it stores into memory that a process on core 0 looks at."""

    def main(process: Process, job: Job) -> object:
        endpoint = listening(process, REQUEST)
        _, theirs = process.calls.fence(endpoint.handle)
        if job.rank == 1:
            return None
        memory = process.calls.allocate(64)
        grants = (Grant(name="memory", va=memory, length_bytes=64, rights=READ_WRITE),)
        text = f"mov %r2, 10000\nagain: sub %r2, 1\njne %r2, 0, again\nlddw %r3, {memory}\nstdw [%r3], 7\n{EXIT}"
        wishes = (WindowWish("memory", READ_WRITE),)
        attach = (Attachment(theirs.event, "main"),)
        process.calls.insert_extension(
            assemble(text), manifest(None, "late", attach=attach, windows=wishes, budget=50_000), grants
        )
        sent_ps = process.now_ps
        send(endpoint, 0, theirs.pid)
        while not process.view(memory, 8)[0]:
            process.compute(100)
            process.settle()
        return process.now_ps - sent_ps

    machine = FakeMachine(nodes=1)
    results = machine.run(job(monkeypatch, main, placement=[(0, 0), (0, 1)])).results()
    took_ps = results["extensions"][0]["job.0.late"]["time_ps"]
    assert took_ps > 1_000_000 > machine.latency_ps
    assert results["job"][0] > took_ps


def test_an_extension_is_called_on_the_core_that_opened_its_context_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Core 0 was interrupted for a context that has become rank 1's before its turn came."""

    def main(process: Process, job: Job) -> object:
        endpoint = listening(process, REQUEST)
        number = process.calls.insert_extension(assemble(COUNT.format(0)), manifest(endpoint, "e"), ())
        _, theirs = process.calls.fence(endpoint.handle.index)
        network = process.kernel.require_network()
        if job.rank == 0:
            network.context_event(theirs)
        process.calls.fence()
        called = [count(process, number)]
        if job.rank == 1:
            network.context_event(theirs)
        return [*called, count(process, number)]

    results = FakeMachine(nodes=1).run(job(monkeypatch, main, placement=[(0, 0), (0, 1)])).results()
    assert results["job"] == [[0, 0], [0, 1]]


def test_extensions_of_a_killed_job_go_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """One rank fails, the other is killed in its sleep; what both inserted is gone, and another job's stays."""

    def doomed(process: Process, job: Job) -> object:
        endpoint = listening(process, REQUEST)
        process.calls.insert_extension(assemble(COUNT.format(0)), manifest(endpoint, "e"), ())
        process.calls.fence()
        if job.rank == 0:
            raise RuntimeError("on purpose")
        return endpoint.wait()

    def bystander(process: Process, endpoint: Endpoint) -> object:
        process.calls.insert_extension(assemble(COUNT.format(0)), manifest(endpoint, "e"), ())
        while len(process.kernel.extensions._host.usage) < 4:
            rest(process)
        seen = set()
        for _ in range(40):
            rest(process)
            seen.add(tuple(process.kernel.extensions._host.extensions))
        return [sorted(names) for names in seen if "job.0.e" not in names]

    jobs = [
        job(monkeypatch, doomed, placement=((0, 0), (0, 1))),
        job(monkeypatch, on_endpoint(bystander), name="other", jid=2, placement=((0, 2),)),
    ]
    system = FakeMachine(nodes=1, cores=3).run(*jobs)
    assert system.job_states() == {"job": "failed", "other": "finished"}
    assert ["nic.driver", "other.0.e"] in system.results()["other"][0]


# ---- engines ----


def test_results_and_times_are_the_same_on_every_engine() -> None:
    """RandomAccess on two nodes with an extension: everything that the results say, and the whole timeline."""

    def outcome(engine: str) -> tuple[object, ...]:
        machine = FakeMachine()
        spec = JobSpec(
            name="updates",
            jid=1,
            app="random_access",
            placement=((0, 0), (1, 0)),
            parameters=RandomAccessParameters(log2_table_words=6, handler="extension"),
        )
        system = machine.run(spec, engine=engine)
        return system.results(), machine.trace.spans

    first, *others = (outcome(engine) for engine in ENGINES)
    assert first[0]["random_access"]["extension"]["errors"] == 0  # type: ignore[index]
    assert others == [first] * (len(ENGINES) - 1)


def test_an_engine_that_is_unknown_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="engine: 'jit' is unknown; known are closures, threaded, native; choose one"):
        FakeMachine().run(job(monkeypatch, lambda process, job: None), engine="jit")
