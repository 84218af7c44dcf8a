"""Insert, attach, call, fault, remove: what the kernel may rely on."""

from __future__ import annotations

import greenlet
import pytest

from nimble.access import STATE_BASE, Memory, Registers, Right, Window
from nimble.assembler import assemble
from nimble.engine.outcome import Outcome, Status
from nimble.extension import Attachment, Extension, Manifest, Trust, WindowWish
from nimble.host import Host, HostError
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


def silent(instructions: int) -> None:
    """A spend that lets no time pass."""


def manifest(name: str = "counter", **changes: object) -> Manifest:
    fields: dict[str, object] = {"trust": Trust.UNTRUSTED, "attach": (Attachment("message", "message"),), "budget": 100}
    return Manifest(name=name, **{**fields, **changes})  # type: ignore[arg-type]


def insert(host: Host, asked: Manifest, text: str = COUNTER, *windows: Window) -> Extension:
    return host.insert(assemble(text, source="counter.asm"), asked, windows=windows, services=Services())


def test_an_event_runs_what_the_manifest_attached() -> None:
    host = Host()
    assert host.raise_event("message", (5,), spend=silent) is None
    extension = insert(host, manifest())
    assert host.attached("message") is extension
    assert host.extensions == (extension,)
    spent: list[int] = []
    assert host.raise_event("message", (5,), spend=spent.append) == Outcome(Status.RETURNED, 0x10, 4, -1, "")
    assert host.raise_event("message", (7,), spend=spent.append) == Outcome(Status.RETURNED, 0x15, 4, -1, "")
    assert spent == [4, 4]
    assert extension.state is not None
    assert (extension.state.base, extension.state.backing.load(8, 8)) == (STATE_BASE, 0x1C)
    assert (extension.calls, extension.instructions, extension.faults, extension.budget_stops) == (2, 8, 0, 0)
    host.detach("message")
    assert host.attached("message") is None
    host.detach("message")


def test_shared_state_is_paid_for() -> None:
    spent: list[int] = []
    host = Host()
    insert(host, manifest(shared_state=True))
    host.raise_event("message", (5,), spend=spent.append)
    assert spent == [2, 2]


def test_each_insertion_has_its_own_state() -> None:
    host = Host()
    first, second = insert(host, manifest("a")), insert(host, manifest("b", attach=()))
    host.call(first, "message", (5,), spend=silent)
    assert host.call(second, "message", (1,), spend=silent).r0 == 0x10


@pytest.mark.parametrize(
    ("entry", "status", "counters"),
    [("wild", Status.FAULT, (1, 1, 0)), ("spin", Status.BUDGET, (100, 0, 1))],
)
def test_a_fault_or_an_empty_budget_detaches(entry: str, status: Status, counters: tuple[int, int, int]) -> None:
    told: list[tuple[Extension, Outcome]] = []
    host = Host(lambda extension, outcome: told.append((extension, outcome)))
    other = insert(host, manifest("other", attach=(Attachment("timer", "message"),)))
    extension = insert(host, manifest(attach=(Attachment("message", entry), Attachment("trap", "message"))))
    outcome = host.raise_event("message", (0,), spend=silent)
    assert outcome is not None
    assert outcome.status is status
    assert told == [(extension, outcome)]
    assert extension.stopped == outcome
    assert (extension.instructions, extension.faults, extension.budget_stops) == counters
    assert [host.attached(event) for event in ("message", "trap", "timer")] == [None, None, other]
    assert host.raise_event("message", (0,), spend=silent) is None
    with pytest.raises(HostError, match=r"counter: was stopped .*; insert it again to use it"):
        host.call(extension, "message", (), spend=silent)
    with pytest.raises(HostError, match="counter: was stopped"):
        host.attach("message", extension, "message")
    host.remove(extension)
    assert insert(host, manifest()).stopped is None


def test_a_service_that_refuses_stops_the_extension() -> None:
    def refuse(*args: int) -> int:
        raise ServiceFault("wake: process 77 is not yours; wake your own")

    services = Services([Service(1, "wake", refuse, "refuses")])
    host = Host()
    program = assemble("call wake\nexit", symbols=services.symbols(), source="a.asm")
    extension = host.insert(program, manifest(attach=()), windows=(), services=services)
    outcome = host.call(extension, "main", (), spend=silent)
    assert outcome.reason == "a.asm:1: pc 0: call 1: wake: process 77 is not yours; wake your own"
    assert extension.stopped == outcome


def test_a_call_may_have_less_budget() -> None:
    host = Host()
    extension = insert(host, manifest())
    assert host.call(extension, "message", (1,), spend=silent, budget=4).status is Status.RETURNED
    assert host.call(extension, "message", (1,), spend=silent, budget=3).status is Status.BUDGET


def test_trust_selects_the_form() -> None:
    read_only = Window("ram", 0x1000, 8, Right.READ, Memory(bytearray(8)))
    for trust, status in ((Trust.TRUSTED, Status.RETURNED), (Trust.UNTRUSTED, Status.FAULT)):
        host = Host()
        extension = insert(host, manifest(trust=trust, attach=()), "stb [%r1], 1\nexit", read_only)
        assert host.call(extension, "main", (0x1000,), spend=silent).status is status


def test_an_extension_calls_another_through_a_service() -> None:
    host = Host()
    inner = insert(host, manifest("inner", attach=()))
    services = Services(
        [Service(1, "inner", lambda r1, *_: host.call(inner, "message", (r1,), spend=silent).r0, "calls inner")]
    )
    program = assemble("call 1\nadd %r0, 1\nexit")
    outer = host.insert(program, manifest("outer", attach=()), windows=(), services=services)
    assert host.call(outer, "main", (5,), spend=silent).r0 == 0x11


@pytest.mark.parametrize("then", ["returns", "faults"])
def test_removed_while_it_runs_it_finishes_and_nothing_begins(then: str) -> None:
    main = greenlet.getcurrent()
    told: list[Extension] = []

    def wait(offset: int, width: int) -> int:
        main.switch()
        return 7

    host = Host(lambda extension, outcome: told.append(extension))
    device = Window("device", 0x1000, 4, Right.READ, Registers(wait, lambda *_: None), (4,))
    text = "ldxw %r0, [%r1]\nexit" if then == "returns" else "ldxw %r0, [%r1]\nldxw %r0, [%r0]\nexit"
    extension = insert(host, manifest(attach=(Attachment("message", "main"),)), text, device)
    outcomes: list[Outcome | None] = []
    core = greenlet.greenlet(lambda: outcomes.append(host.raise_event("message", (0x1000,), spend=silent)))
    core.switch()
    host.remove(extension)
    host.remove(extension)
    assert host.raise_event("message", (0x1000,), spend=silent) is None
    with pytest.raises(HostError, match="counter: was removed; insert it again to use it"):
        host.call(extension, "main", (0x1000,), spend=silent)
    again = insert(host, manifest(), COUNTER)
    core.switch()
    assert outcomes[0] is not None
    assert outcomes[0].r0 == 7
    assert extension.calls == 1
    assert (told == [extension]) == (then == "faults")
    assert host.attached("message") is again
    assert host.extensions == (again,)


def test_two_cores_that_fault_tell_once() -> None:
    main = greenlet.getcurrent()
    told: list[Outcome] = []

    def wait(offset: int, width: int) -> int:
        main.switch()
        return 7

    host = Host(lambda extension, outcome: told.append(outcome))
    device = Window("device", 0x1000, 4, Right.READ, Registers(wait, lambda *_: None), (4,))
    extension = insert(host, manifest(attach=()), "ldxw %r0, [%r1]\nldxw %r0, [%r0]\nexit", device)
    cores = [greenlet.greenlet(lambda: host.call(extension, "main", (0x1000,), spend=silent)) for _ in range(2)]
    for core in cores * 2:
        core.switch()
    assert (extension.faults, len(told), extension.stopped) == (2, 1, told[0])


NIC = Window("nic", 0x1000, 8, Right.READ, Memory(bytearray(8)))
REFUSED = [
    (manifest(windows=(WindowWish("nic", Right.READ), WindowWish("pim", Right.READ))), COUNTER, (NIC,), "counter: window pim: is not granted; granted are: nic; grant"),
    (manifest(windows=(WindowWish("nic", Right.READ),)), COUNTER, (), "counter: window nic: is not granted; granted are: none; grant it"),
    (manifest(attach=(Attachment("x", "go"),)), COUNTER, (), "counter: attach x: entry go is unknown; known are message, spin"),
    (manifest(), COUNTER, (NIC, NIC), "counter: windows nic 0x1000..0x1008 and nic 0x1000..0x1008 overlap"),
    (manifest(attach=()), "mov %r10, 1\nexit", (), "counter.asm:1: pc 0: mov %r10, 1: writes r10"),
    (manifest("first"), COUNTER, (), "first: is inserted already; names are unique; remove it or rename this"),
    (manifest(attach=(Attachment("taken", "message"),)), COUNTER, (), "counter: attach taken: first is attached; detach it"),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "text", "windows", "error"), REFUSED, ids=lambda value: str(value)[:40])
def test_a_refused_insertion_changes_nothing(
    asked: Manifest, text: str, windows: tuple[Window, ...], error: str
) -> None:
    host = Host()
    first = insert(host, manifest("first", attach=(Attachment("taken", "message"),)))
    with pytest.raises(InsertionRefused) as caught:
        insert(host, asked, text, *windows)
    assert str(caught.value).startswith(error)
    assert host.extensions == (first,)
    assert host.attached("message") is None


def test_attach_is_checked() -> None:
    host = Host()
    first, second = insert(host, manifest("first")), insert(host, manifest("second", attach=()))
    host.attach("message", first, "message")  # the same again
    with pytest.raises(HostError, match="event message: first is attached; an event has one extension; detach it"):
        host.attach("message", second, "message")
    with pytest.raises(HostError, match="event message: first is attached"):
        host.attach("message", first, "spin")
    with pytest.raises(HostError, match="second: entry go is unknown; known are message, spin, wild"):
        host.attach("timer", second, "go")


def test_manifests_are_checked() -> None:
    with pytest.raises(ValueError, match="counter: budget: 0; must be 1 or more"):
        manifest(budget=0)
    with pytest.raises(ValueError, match="counter: attach: x is named twice; an event has one entry; remove one"):
        manifest(attach=(Attachment("x", "message"), Attachment("x", "spin")))
