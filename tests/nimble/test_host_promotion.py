"""Hot extensions are compiled beside the run and swapped in; nobody can tell but by the clock."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import greenlet
import pytest

from nimble import promotion
from nimble.access import Registers, Right, Window
from nimble.assembler import assemble
from nimble.engine import ENGINES, Thread
from nimble.engine.outcome import Outcome, Spend, Status, no_time
from nimble.extension import Extension, Manifest, Trust, WindowWish
from nimble.host import Host
from nimble.services import Services

COUNT = ".state 8\nlddw %r1, STATE\nldxdw %r0, [%r1]\nadd %r0, 1\nstxdw [%r1], %r0\nexit"
PATIENCE_S = 60


@dataclass
class Compiler:
    """Stands for ``native``: compiles when it is let, with the engine ``threaded``, and notes what it was given."""

    error: Exception | None = None
    begun: list[str] = field(default_factory=list)
    given: list[dict[str, Any]] = field(default_factory=list)
    may_end: threading.Event = field(default_factory=threading.Event)
    ran: int = 0

    def translate(self, program: Any, **given: Any) -> Thread:
        self.begun.append(program.name)
        self.given.append(given)
        assert self.may_end.wait(PATIENCE_S)
        if self.error is not None:
            raise self.error
        slow = ENGINES["threaded"]()(program, **{key: value for key, value in given.items() if key != "seen"})
        compiler = self

        class Compiled:
            def run(self, entry: str, args: Any, *, budget: int, spend: Spend) -> Outcome:
                compiler.ran += 1
                return slow.run(entry, args, budget=budget, spend=spend)

        return Compiled()

    def finish(self) -> None:
        """Let what is being compiled be done."""
        self.may_end.set()
        wait_for_compiler()


def wait_for_compiler() -> None:
    latest = promotion._worker()._latest
    if latest is not None:
        latest.exception(PATIENCE_S)


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> Iterator[Compiler]:
    made = Compiler()
    monkeypatch.setitem(ENGINES, "native", lambda: made.translate)
    monkeypatch.setattr(promotion, "HOT_INSTRUCTIONS", 2)  # COUNT has 6 slots
    yield made
    made.finish()


def insert(host: Host, name: str = "hot", text: str = COUNT, window: Window | None = None) -> Extension:
    wishes = (WindowWish(window.name, window.rights),) if window else ()
    asked = Manifest(name=name, trust=Trust.UNTRUSTED, attach=(), budget=100, windows=wishes)
    program = assemble(text, source=f"{name}.asm")
    return host.insert(program, asked, windows=(window,) if window else (), services=Services())


def calls(host: Host, extension: Extension, number: int) -> list[int]:
    return [host.call(extension, "main", (0x1000,), spend=no_time).r0 for _ in range(number)]


def test_it_is_swapped_in_when_it_is_compiled(compiler: Compiler) -> None:
    """Five instructions a call: with the third it has executed 12, with the fourth compiling begins."""
    host = Host(engine="threaded")
    extension = insert(host)
    first = extension.thread
    assert calls(host, extension, 3) == [1, 2, 3]
    assert compiler.begun == []
    assert calls(host, extension, 4) == [4, 5, 6, 7]
    assert extension.thread is first
    compiler.finish()
    assert calls(host, extension, 5) == [8, 9, 10, 11, 12]
    assert (compiler.begun, compiler.ran) == (["hot"], 5)
    (given,) = compiler.given
    assert (given["space"], given["facts"], given["checked"]) == (extension.space, extension.facts, True)
    assert extension.usage.instructions == 5 * 12


@pytest.mark.parametrize("engine", ["closures", "native"])
def test_only_threaded_code_is_promoted(compiler: Compiler, engine: str) -> None:
    compiler.may_end.set()
    host = Host(engine=engine)
    assert calls(host, insert(host), 5) == [1, 2, 3, 4, 5]
    assert len(compiler.begun) == (engine == "native")  # its own insertion


def test_a_call_that_runs_goes_on_in_the_old_code(compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promotion, "HOT_INSTRUCTIONS", 1)  # hot after one call
    main = greenlet.getcurrent()

    def wait(offset: int, width: int) -> int:
        main.switch()
        return 7

    device = Window("device", 0x1000, 4, Right.READ, Registers(wait, lambda *_: None), (4,))
    host = Host(engine="threaded")
    extension = insert(host, text="ldxw %r0, [%r1]\n" + "add %r0, 1\n" * 12 + "exit", window=device)
    cores = [greenlet.greenlet(lambda: calls(host, extension, 1)) for _ in range(3)]
    cores[0].switch()
    assert (cores[1].switch(), cores[1].switch()) == ((), [19])
    cores[2].switch()  # hot
    compiler.finish()
    assert (cores[0].switch(), cores[2].switch()) == ([19], [19])
    assert compiler.ran == 0
    last = greenlet.greenlet(lambda: calls(host, extension, 1))
    last.switch()
    assert (compiler.ran, last.switch()) == (1, [19])


def test_one_is_compiled_at_a_time(compiler: Compiler) -> None:
    """A process that ends has at most one compilation to wait for. The other one asks again."""
    host = Host(engine="threaded")
    first, second = insert(host, "first"), insert(host, "second")
    for extension in (first, second):
        calls(host, extension, 5)
    compiler.finish()
    assert compiler.begun == ["first"]
    calls(host, second, 1)
    compiler.finish()
    assert compiler.begun == ["first", "second"]
    calls(host, second, 1)
    assert compiler.ran == 1


def test_what_cannot_be_compiled_stays_as_it_is(compiler: Compiler) -> None:
    compiler.error = MemoryError("no room")
    host = Host(engine="threaded")
    extension = insert(host)
    calls(host, extension, 4)
    compiler.finish()
    text = r"^hot: native cannot compile it \(no room\); it stays in threaded$"
    with pytest.warns(RuntimeWarning, match=text):
        assert calls(host, extension, 1) == [5]
    assert calls(host, extension, 3) == [6, 7, 8]
    assert len(compiler.begun) == 1


def test_one_that_was_removed_is_not_swapped(compiler: Compiler) -> None:
    host = Host(engine="threaded")
    extension = insert(host)
    calls(host, extension, 4)
    host.remove(extension)
    again = insert(host)
    compiler.finish()
    assert calls(host, again, 3) == [1, 2, 3]
    assert (extension.thread, compiler.ran) == (None, 0)


def test_large_programs_are_left_alone(compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promotion, "NATIVE_SLOTS", 5)  # COUNT has 6
    host = Host(engine="threaded")
    calls(host, insert(host), 9)
    assert compiler.begun == []


def test_native_itself_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same calls with and without a swap in the middle: outcomes, memory and counters are equal."""
    text = (
        ".state 64\nlddw %r6, STATE\nmov %r7, 0\nloop: mov %r2, %r7\nmul %r2, %r1\nmov %r3, %r2\nand %r3, 56\n"
        "add %r3, %r6\nlock add [%r3], %r2\nadd %r7, 1\njlt %r7, 40, loop\nldxdw %r0, [%r3]\n"
        "jne %r1, 977, good\nldxdw %r0, [%r2]\ngood: exit"
    )

    def run(hot: int) -> tuple[object, ...]:
        monkeypatch.setattr(promotion, "HOT_INSTRUCTIONS", hot)
        host = Host(engine="threaded")
        extension = insert(host, text=text)
        threads: set[int] = set()
        outcomes = []
        for argument in range(970, 978):
            threads.add(id(extension.thread))
            outcomes.append(host.call(extension, "main", (argument,), spend=no_time, budget=1000))
            wait_for_compiler()
        assert (len(threads) > 1) == (hot == 30)
        return outcomes, bytes(extension.memory), extension.usage

    plain, swapped = run(1 << 60), run(30)
    assert plain == swapped
    assert plain[0][-1].status is Status.FAULT  # type: ignore[index]
