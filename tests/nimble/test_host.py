"""Insert, attach, call, fault, remove: what the kernel may rely on."""

from __future__ import annotations

import greenlet
import pytest

from nimble.access import READ_WRITE, STATE_BASE, Memory, Right, Window
from nimble.assembler import assemble
from nimble.engine.outcome import Outcome, Status, no_time
from nimble.extension import Manifest, Usage, WindowWish
from nimble.host import Host, HostError
from nimble.services import Service, ServiceFault, Services
from nimble.verifier import InsertionRefused
from tests.nimble.hosts import COUNTER, RAM, Clock, Device, count, handler, insert, manifest, on

# ---- events ----


def test_an_event_runs_what_the_manifest_attached() -> None:
    host = Host()
    assert host.raise_event("message", (5,), spend=no_time) is None
    extension = insert(host, manifest())
    assert host.attached("message") == (extension,)
    assert dict(host.extensions) == {"counter": extension}
    spent: list[int] = []
    assert host.raise_event("message", (5,), spend=spent.append) == Outcome(Status.RETURNED, 0x10, 4, -1, "")
    assert host.raise_event("message", (7,), spend=spent.append) == Outcome(Status.RETURNED, 0x15, 4, -1, "")
    assert spent == [4, 4]
    assert extension.state is not None
    assert (extension.state.base, extension.state.backing.load(8, 8)) == (STATE_BASE, 0x1C)
    assert extension.usage == Usage(calls=2, instructions=8)
    host.detach("message", extension)
    assert host.attached("message") == ()
    assert host.raise_event("message", (5,), spend=no_time) is None
    host.detach("message", extension)


# What r0 the handlers leave, by priority and in the order of insertion; who runs; which r0 the event is handled with.
CHAINS = [
    ([(0, 0)], [1], 0),
    ([(0, 1)], [1], None),
    ([(0, 0), (0, 0)], [1, 0], 0),
    ([(0, 1), (0, 0)], [1, 1], 0),
    ([(0, 1), (0, 1)], [1, 1], None),
    ([(0, 0), (5, 0)], [0, 1], 0),
    ([(0, 2), (5, 1), (9, 1)], [1, 1, 1], 2),
    ([(-5, 0), (0, 1), (-4, 3)], [0, 1, 1], 3),
    ([(0, (1 << 64) - 1), (0, 0)], [1, 0], (1 << 64) - 1),
    ([(0, (1 << 32) + 1), (0, 0)], [1, 0], (1 << 32) + 1),
]


@pytest.mark.parametrize(("chain", "ran", "r0"), CHAINS)
def test_handlers_are_asked_in_turn_until_one_handles_it(
    chain: list[tuple[int, int]], ran: list[int], r0: int | None
) -> None:
    host = Host()
    handlers = [handler(host, f"h{i}", answer, priority=priority) for i, (priority, answer) in enumerate(chain)]
    outcome = host.raise_event("message", (), spend=no_time)
    assert (outcome and outcome.r0) == r0
    assert [count(extension) for extension in handlers] == ran


def test_ties_go_by_insertion_however_they_were_attached() -> None:
    host = Host()
    first, second = handler(host, "first", 1, event="x"), handler(host, "second", 1, event="x")
    high = handler(host, "high", 1, priority=3)
    host.attach("message", second, "main")
    host.attach("message", first, "main")
    assert host.attached("message") == (high, first, second)
    host.detach("message", first)
    assert host.attached("message") == (high, second)


def test_the_next_one_takes_what_the_first_was_stopped_over() -> None:
    clock = Clock()
    host = Host(watch=clock)
    for name, entry in (("wild", "wild"), ("spin", "spin")):
        insert(host, manifest(name, attach=(on("message", entry, 5), on("other"))))
    last = handler(host, "last", 0)
    outcome = host.raise_event("message", (0,), spend=clock.spend)
    assert outcome is not None
    assert (outcome.r0, count(last)) == (0, 1)
    assert host.attached("message") == (last,)
    assert host.attached("other") == ()
    assert [told[1] for told in clock.told if told[0] == "begins"] == ["wild", "spin", "last"]


def test_one_that_goes_while_the_event_is_asked_around_is_not_run() -> None:
    """The first handler waits in a device; meanwhile the others are detached, removed, and one comes."""
    host, device = Host(), Device()
    first = manifest("first", attach=(on("message", "main", 9),), windows=device.wishes)
    insert(host, first, "ldxw %r0, [%r1]\nmov %r0, 1\nexit", device.window)
    gone = [handler(host, name, 0) for name in ("detached", "removed")]
    stays = handler(host, "stays", 0)
    outcomes: list[Outcome | None] = []
    core = greenlet.greenlet(lambda: outcomes.append(host.raise_event("message", (0x1000,), spend=no_time)))
    core.switch()
    host.detach("message", gone[0])
    host.remove(gone[1])
    late = handler(host, "late", 0, priority=5)
    core.switch()
    assert outcomes[0] is not None
    assert (outcomes[0].r0, count(stays), count(late), gone[0].usage.calls, gone[1].usage.calls) == (0, 1, 0, 0, 0)


def test_attach_is_checked() -> None:
    host = Host()
    first = insert(host, manifest("first"))
    host.attach("message", first, "message")  # the same again
    assert host.attached("message") == (first,)
    for entry, priority in (("spin", 0), ("message", 1)):
        with pytest.raises(HostError) as caught:
            host.attach("message", first, entry, priority)
        assert str(caught.value) == (
            "event message: first is attached with message, priority 0; an extension has one entry for an event; "
            "detach it first"
        )
    with pytest.raises(HostError, match="first: entry go is unknown; known are message, spin, wild"):
        host.attach("timer", first, "go")
    with pytest.raises(HostError, match=r"first: attach timer: priority: 5000 is no integer in -1000\.\.1000; write"):
        host.attach("timer", first, "spin", 5000)
    assert host.attached("timer") == ()


# ---- faults, budgets, counters ----


@pytest.mark.parametrize(
    ("entry", "status", "usage"),
    [
        ("wild", Status.FAULT, Usage(calls=1, instructions=1, faults=1, time_ps=1010, worst_ps=1010)),
        ("spin", Status.BUDGET, Usage(calls=1, instructions=100, budget_stops=1, time_ps=100_010, worst_ps=100_010)),
    ],
)
def test_a_fault_or_an_empty_budget_detaches(entry: str, status: Status, usage: Usage) -> None:
    clock = Clock()
    host = Host(watch=clock)
    other = insert(host, manifest("other", attach=(on("timer"),)))
    extension = insert(host, manifest(attach=(on("message", entry), on("trap"))))
    assert host.raise_event("message", (0,), spend=clock.spend) is None
    assert extension.stopped is not None
    assert extension.stopped.status is status
    assert clock.told == [
        ("begins", "counter"),
        ("ended", "counter", usage.instructions, 1000 * usage.instructions),
        ("stopped", extension, extension.stopped),
    ]
    assert extension.usage == usage
    assert [host.attached(event) for event in ("message", "trap", "timer")] == [(), (), (other,)]
    with pytest.raises(HostError, match=r"counter: was stopped .*; insert it again to use it"):
        host.call(extension, "message", (), spend=no_time)
    with pytest.raises(HostError, match="counter: was stopped"):
        host.attach("message", extension, "message")
    host.remove(extension)
    assert insert(host, manifest()).stopped is None


def test_counters_are_of_the_name_and_outlast_removal() -> None:
    clock = Clock()
    host = Host(watch=clock)
    for argument in (1, 2):
        extension = insert(host, manifest())
        host.raise_event("message", (argument,), spend=clock.spend)
        host.remove(extension)
    insert(host, manifest("other", attach=()))
    assert dict(host.usage) == {
        "counter": Usage(calls=2, instructions=8, time_ps=8020, worst_ps=4010),
        "other": Usage(),
    }


def test_an_exception_ends_the_run_and_not_the_extension() -> None:
    class Panic(BaseException):
        pass

    def panic(cost: int) -> None:
        raise Panic

    host = Host()
    extension = insert(host, manifest(shared_state=True))
    with pytest.raises(Panic):
        host.raise_event("message", (5,), spend=panic)
    assert (extension.running, extension.usage, extension.stopped) == (0, Usage(), None)
    assert host.raise_event("message", (5,), spend=no_time) is not None


def test_a_service_that_refuses_stops_the_extension() -> None:
    def refuse(*args: int) -> int:
        raise ServiceFault("wake: process 77 is not yours; wake your own")

    services = Services([Service(1, "wake", refuse, "refuses")])
    host = Host()
    program = assemble("call wake\nexit", symbols=services.symbols(), source="a.asm")
    extension = host.insert(program, manifest(attach=()), windows=(), services=services)
    outcome = host.call(extension, "main", (), spend=no_time)
    assert outcome.reason == "a.asm:1: pc 0: call 1: wake: process 77 is not yours; wake your own"
    assert extension.stopped == outcome


def test_a_call_may_have_less_budget() -> None:
    host = Host()
    extension = insert(host, manifest())
    assert host.call(extension, "message", (1,), spend=no_time, budget=4).status is Status.RETURNED
    assert host.call(extension, "message", (1,), spend=no_time, budget=3).status is Status.BUDGET


def test_shared_state_is_paid_for() -> None:
    spent: list[int] = []
    host = Host()
    insert(host, manifest(shared_state=True))
    host.raise_event("message", (5,), spend=spent.append)
    assert spent == [2, 2]


def test_an_engine_is_known_or_refused() -> None:
    with pytest.raises(ValueError, match=r"^engine: 'jit' is unknown; known are .*closures.*; choose one of them$"):
        Host(engine="jit")


# ---- what is refused ----


NIC = Window("nic", 0x1000, 8, Right.READ, Memory(bytearray(8)))
WISHES = (WindowWish("nic", Right.READ), WindowWish("pim", Right.READ))
REFUSED = [
    (
        manifest(windows=WISHES),
        COUNTER,
        (NIC,),
        "counter: window pim: is not granted; granted are: nic; grant it",
    ),
    (manifest(windows=WISHES[:1]), COUNTER, (), "counter: window nic: is not granted; granted are: none; grant it"),
    (
        manifest(windows=WISHES[:1]),
        COUNTER,
        (NIC, NIC),
        "counter: window nic: is granted more than once; name them apart; granted are: nic; grant it",
    ),
    (
        manifest(windows=(WindowWish("nic", READ_WRITE),)),
        COUNTER,
        (NIC,),
        "counter: window nic: asks for read-write; granted is read; ask for less or grant more",
    ),
    (
        manifest(windows=(WindowWish("nic", Right.READ), WindowWish("ram", Right.READ))),
        COUNTER,
        (NIC, RAM),
        "counter: windows nic 0x1000..0x1008 and ram 0x1000..0x1008 overlap",
    ),
    (manifest(attach=(on("x", "go"),)), COUNTER, (), "counter: attach x: entry go is unknown; known are message, spin"),
    (manifest(exports=("go",)), COUNTER, (), "counter: exports: entry go is unknown; known are message, spin, wild;"),
    (manifest(attach=()), "mov %r10, 1\nexit", (), "counter.asm:1: pc 0: mov %r10, 1: "),
    (manifest("first"), COUNTER, (), "first: is inserted already; names are unique; remove it or rename this"),
]


@pytest.mark.parametrize(("asked", "text", "windows", "error"), REFUSED, ids=[row[3][:40] for row in REFUSED])
def test_a_refused_insertion_changes_nothing(
    asked: Manifest, text: str, windows: tuple[Window, ...], error: str
) -> None:
    host = Host()
    first = insert(host, manifest("first", attach=(on("taken"),)))
    with pytest.raises(InsertionRefused) as caught:
        insert(host, asked, text, *windows)
    assert str(caught.value).startswith(error)
    assert dict(host.extensions) == {"first": first}
    assert list(host.usage) == ["first"]
    assert host.attached("message") == ()
