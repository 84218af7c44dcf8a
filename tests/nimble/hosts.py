"""Extensions, a watch and a device for the tests of the host."""

from __future__ import annotations

import greenlet

from nimble.access import READ_WRITE, Memory, Registers, Right, Window
from nimble.assembler import assemble
from nimble.engine.outcome import Outcome
from nimble.extension import Attachment, Extension, Manifest, Trust, WindowWish
from nimble.host import Host, Watch
from nimble.services import Services

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
RAM = Window("ram", 0x1000, 8, READ_WRITE, Memory(bytearray(8)))


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
