"""Windows, state and removal: what an extension has of memory, and how long."""

from __future__ import annotations

import gc
from mmap import mmap

import greenlet
import pytest

from nimble.access import READ_WRITE, Memory, Right, Window
from nimble.engine.outcome import Outcome, Status, no_time
from nimble.extension import Trust, WindowWish
from nimble.host import Host, HostError
from nimble.verifier import InsertionRefused
from tests.nimble.hosts import COUNTER, LOAD_TWICE, RAM, Clock, Device, count, insert, manifest, on

# ---- windows and state ----


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
