"""Insert, attach, call, fault, remove: what the kernel may rely on."""

from __future__ import annotations

import gc
from mmap import mmap

import greenlet
import pytest

from nimble.access import READ_WRITE, STATE_BASE, Memory, Registers, Right, Window
from nimble.assembler import assemble
from nimble.engine.outcome import Outcome, Status, no_time
from nimble.extension import Attachment, Extension, Manifest, Trust, Usage, WindowWish
from nimble.host import Host, HostError, Watch
from nimble.services import Service, ServiceFault, Services
from nimble.verifier import InsertionRefused

COUNTER = """
    .state 8
    .quad 0x10
    .equ TOTAL, STATE + 8
    .entry message
    lddw %r2, TOTAL
    lock fetch_add [%r2], %r1
    mov %r0, %r1
    exit
    .entry spin
    ja -1
    .entry wild
    ldxb %r0, [%r1]
    exit
"""
LOAD_TWICE = "ldxw %r0, [%r1]\nldxw %r0, [%r0]\nexit"  # a fault, if the first gives 7


def on(event: str, entry: str = "message", priority: int = 0) -> Attachment:
    return Attachment(event, entry, priority)


def manifest(name: str = "counter", **changes: object) -> Manifest:
    fields = {"trust": Trust.UNTRUSTED, "attach": (on("message"),), "budget": 100}
    return Manifest(name=name, **{**fields, **changes})  # type: ignore[arg-type]


def insert(host: Host, asked: Manifest, text: str = COUNTER, *windows: Window) -> Extension:
    return host.insert(assemble(text, source="counter.asm"), asked, windows=windows, services=Services())


def handler(host: Host, name: str, r0: int, *, priority: int = 0, event: str = "message") -> Extension:
    """One that counts in its state how often it ran, and answers ``r0``."""
    text = f".state 8\nlddw %r1, STATE\nmov %r2, 1\nlock add [%r1], %r2\nlddw %r0, {r0}\nexit"
    return insert(host, manifest(name, attach=(on(event, "main", priority),)), text)


def count(extension: Extension) -> int:
    assert extension.state is not None
    return extension.state.backing.load(0, 8)


class Clock(Watch):
    """Every look at it takes 10 ps; remembers what it is told."""

    def __init__(self) -> None:
        self.now_ps = 0
        self.told: list[tuple[object, ...]] = []

    def spend(self, cost: int) -> None:
        self.now_ps += 1000 * cost

    def begins(self, extension: Extension) -> int:
        self.told.append(("begins", extension.name))
        self.now_ps += 10
        return self.now_ps

    def ended(self, extension: Extension, outcome: Outcome, began_ps: int) -> int:
        self.told.append(("ended", extension.name, outcome.instructions, self.now_ps - began_ps))
        self.now_ps += 10
        return self.now_ps

    def stopped(self, extension: Extension, outcome: Outcome) -> None:
        self.told.append(("stopped", extension, outcome))


class Device:
    """Registers whose reads switch to whoever began the greenlet; they read 7."""

    def __init__(self) -> None:
        main = greenlet.getcurrent()

        def wait(offset: int, width: int) -> int:
            main.switch()
            return 7

        self.window = Window("device", 0x1000, 4, Right.READ, Registers(wait, lambda *_: None), (4,))
        self.wishes = (WindowWish("device", Right.READ),)


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


# ---- windows and state ----


RAM = Window("ram", 0x1000, 8, READ_WRITE, Memory(bytearray(8)))


@pytest.mark.parametrize(
    ("trust", "asked", "text", "status"),
    [
        (Trust.UNTRUSTED, Right.READ, "ldxb %r0, [%r1]\nexit", Status.RETURNED),
        (Trust.UNTRUSTED, Right.READ, "stb [%r1], 1\nexit", Status.FAULT),
        (Trust.UNTRUSTED, Right.WRITE, "stb [%r1], 1\nexit", Status.RETURNED),
        (Trust.UNTRUSTED, Right.WRITE, "ldxb %r0, [%r1]\nexit", Status.FAULT),
        (Trust.UNTRUSTED, None, "ldxb %r0, [%r1]\nexit", Status.FAULT),
        (Trust.TRUSTED, Right.READ, "stb [%r1], 1\nexit", Status.RETURNED),  # unchecked: rights are not asked
        (Trust.TRUSTED, None, "ldxb %r0, [%r1]\nexit", Status.FAULT),
    ],
)
def test_it_has_the_windows_and_rights_that_it_asked_for_and_no_more(
    trust: Trust, asked: Right | None, text: str, status: Status
) -> None:
    host = Host()
    wishes = (WindowWish("ram", asked),) if asked else ()
    extension = insert(host, manifest(trust=trust, attach=(), windows=wishes), text, RAM)
    assert [(window.name, window.rights) for window in extension.space.windows] == [(w.name, w.rights) for w in wishes]
    assert host.call(extension, "main", (0x1000,), spend=no_time).status is status


def test_each_insertion_has_its_own_state() -> None:
    host = Host()
    first, second = insert(host, manifest("a")), insert(host, manifest("b", attach=()))
    host.call(first, "message", (5,), spend=no_time)
    assert host.call(second, "message", (1,), spend=no_time).r0 == 0x10


@pytest.mark.parametrize(
    ("keep", "dropped", "resumes", "total"),
    [(True, False, True, 15), (True, False, False, 10), (False, False, True, 10), (True, True, True, 10)],
)
def test_state_is_kept_if_both_sides_say_so(keep: bool, dropped: bool, resumes: bool, total: int) -> None:
    host = Host()
    text = ".state 0\n.quad 10\nlddw %r2, STATE\nldxdw %r0, [%r2]\nadd %r0, %r1\nstxdw [%r2], %r0\nexit"
    old = insert(host, manifest(attach=()), text)
    assert host.call(old, "main", (5,), spend=no_time).r0 == 15
    host.remove(old, keep_state=keep)
    if dropped:
        host.drop_state("counter")
    new = insert(host, manifest(attach=(), resumes=resumes), text)
    assert host.call(new, "main", (0,), spend=no_time).r0 == total
    host.remove(new)
    again = insert(host, manifest(attach=(), resumes=True), text)  # it was given once, and not kept again
    assert host.call(again, "main", (0,), spend=no_time).r0 == 10


def test_kept_state_has_the_size_that_is_asked_for() -> None:
    host = Host()
    host.remove(insert(host, manifest(attach=())), keep_state=True)
    with pytest.raises(InsertionRefused) as caught:
        insert(host, manifest(attach=(), resumes=True), ".state 8\nmov %r0, 0\nexit")
    assert str(caught.value) == (
        "counter: resumes: 16 bytes of state were kept, the program has 8; give it as many, or insert it without "
        "resumes"
    )
    assert insert(host, manifest(attach=(), resumes=True)).memory[8:] == b"\x10\0\0\0\0\0\0\0"


# ---- removal ----


@pytest.mark.parametrize("then", ["returns", "faults"])
def test_removed_while_it_runs_it_finishes_and_nothing_begins(then: str) -> None:
    clock, device = Clock(), Device()
    host = Host(watch=clock)
    text = "ldxw %r0, [%r1]\nexit" if then == "returns" else LOAD_TWICE
    extension = insert(host, manifest(attach=(on("message", "main"),), windows=device.wishes), text, device.window)
    outcomes: list[Outcome] = []
    core = greenlet.greenlet(lambda: outcomes.append(host.call(extension, "main", (0x1000,), spend=no_time)))
    core.switch()
    host.remove(extension)
    host.remove(extension)
    assert (extension.running, extension.thread is None) == (1, False)
    assert host.raise_event("message", (0x1000,), spend=no_time) is None
    with pytest.raises(HostError, match="counter: was removed; insert it again to use it"):
        host.call(extension, "main", (0x1000,), spend=no_time)
    with pytest.raises(HostError, match="counter: was removed"):
        host.attach("message", extension, "main")
    again = insert(host, manifest(), COUNTER)
    core.switch()
    assert outcomes[0].r0 == 7
    assert (extension.running, extension.thread, extension.usage.calls) == (0, None, 1)
    assert ("stopped" in [told[0] for told in clock.told]) == (then == "faults")
    assert host.attached("message") == (again,)
    assert dict(host.extensions) == {"counter": again}


def test_memory_is_let_go_with_the_last_call_and_not_before() -> None:
    """A map of memory cannot be closed while anybody has a view of it."""
    host, device, memory = Host(), Device(), mmap(-1, 4096)
    window = Window("ram", 0x2000, 4096, READ_WRITE, Memory(memory))
    asked = manifest(attach=(), windows=(*device.wishes, WindowWish("ram", READ_WRITE)))
    text = "ldxw %r3, [%r1]\nstxdw [%r2], %r3\nldxdw %r0, [%r2]\nexit"
    extension = insert(host, asked, text, device.window, window)
    del window
    cores = [
        greenlet.greenlet(lambda: host.call(extension, "main", (0x1000, 0x2000), spend=no_time).r0) for _ in range(2)
    ]
    for core in cores:
        core.switch()
    host.remove(extension)
    assert cores[0].switch() == 7
    gc.collect()
    with pytest.raises(BufferError):
        memory.close()
    assert (extension.running, extension.thread is None, bytes(memory[:2])) == (1, False, b"\7\0")
    assert cores[1].switch() == 7
    gc.collect()
    memory.close()


def test_state_is_kept_with_what_a_call_that_still_runs_writes() -> None:
    host, device = Host(), Device()
    text = ".state 8\nlddw %r2, STATE\nldxdw %r0, [%r2]\nldxw %r3, [%r1]\nstxdw [%r2], %r3\nexit"
    old = insert(host, manifest(attach=(), windows=device.wishes), text, device.window)
    core = greenlet.greenlet(lambda: host.call(old, "main", (0x1000,), spend=no_time))
    core.switch()
    host.remove(old, keep_state=True)
    new = insert(host, manifest(attach=(), windows=device.wishes, resumes=True), text, device.window)
    core.switch()
    assert count(new) == 7


def test_two_cores_that_fault_tell_once() -> None:
    clock, device = Clock(), Device()
    host = Host(watch=clock)
    extension = insert(host, manifest(attach=(), windows=device.wishes), LOAD_TWICE, device.window)
    cores = [greenlet.greenlet(lambda: host.call(extension, "main", (0x1000,), spend=no_time)) for _ in range(2)]
    for core in cores * 2:
        core.switch()
    stops = [told for told in clock.told if told[0] == "stopped"]
    assert (extension.usage.faults, stops) == (2, [("stopped", extension, extension.stopped)])


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
