"""What is paid around the instructions: insertion, the call of an extension, compilation."""

from __future__ import annotations

from collections.abc import Iterator
from ctypes import c_void_p
from dataclasses import dataclass
from functools import partial
from itertools import count

from nimble.access import READ_WRITE, AddressSpace, Memory, Window
from nimble.assembler import assemble
from nimble.bench.cases import SERVICES
from nimble.bench.times import Effort, Times, each, take_turns
from nimble.engine import load_engine
from nimble.engine.context import ENTER
from nimble.engine.jit import compile_ir
from nimble.engine.outcome import no_time
from nimble.engine.runs import ONE_EACH
from nimble.extension import Attachment, Extension, Manifest, Trust, WindowWish
from nimble.host import Host
from nimble.program import Program
from nimble.verifier import verify

INSTRUCTIONS = 100  # of the extension that is inserted
_BUDGET = 1_000_000
_BASE = 1 << 20
_WINDOW_BYTES = 4096
_EVENT = "event"
_EMPTY = "mov %r0, 0\nexit"
_PIECES = 12
_numbers = count(1)  # no two programs are the same, or their machine code would come from the cache


@dataclass(frozen=True)
class Insertion:
    """Of one engine, a fresh program each time: ``ready`` is all that ``Host.insert`` does, in nanoseconds."""

    verify: Times
    translate: Times
    ready: Times


@dataclass(frozen=True)
class Calls:
    """An empty extension called by ``Thread.run`` and through ``Host.raise_event``, in nanoseconds."""

    run: Times
    event: Times


def insertion(engine: str, effort: Effort) -> Insertion:
    """Insert an extension of INSTRUCTIONS into a host whose engine is warm."""
    host, made = Host(engine=engine), _programs()
    _insert(host, next(made))
    rounds = effort.rounds
    translate, space = load_engine(engine), AddressSpace((_window(),))
    fresh = [next(made) for _ in range(rounds)]
    facts = [verify(one, SERVICES, space) for one in fresh]

    def translated(index: int) -> None:
        one, known = fresh[index], facts[index]
        translate(one, space=space, services=SERVICES, checked=True, costs=ONE_EACH, facts=known)

    others = [next(made) for _ in range(rounds)]
    return Insertion(
        each([partial(verify, next(made), SERVICES, space) for _ in range(rounds)]),
        each([partial(translated, index) for index in range(rounds)]),
        each([partial(_insert, host, one) for one in others]),
    )


def calls(engine: str, effort: Effort) -> Calls:
    """Call an empty extension again and again."""
    host = Host(engine=engine)
    extension = _insert(host, assemble(_EMPTY))
    assert extension.thread is not None
    entry = next(iter(extension.program.entries))
    run, event = extension.thread.run, host.raise_event

    def by_thread(repetitions: int) -> None:
        for _ in range(repetitions):
            run(entry, (_BASE, 0), budget=_BUDGET, spend=no_time)

    def by_event(repetitions: int) -> None:
        for _ in range(repetitions):
            event(_EVENT, (_BASE, 0), spend=no_time)

    taken = take_turns({"run": by_thread, "event": by_event}, effort)
    return Calls(taken["run"], taken["event"])


def native_call(effort: Effort) -> Times:
    """What a call of an empty native function costs Python: the least that a call of an extension can take."""
    code = compile_ir("define i64 @nothing(ptr %context) {\n  ret i64 0\n}\n", ("nothing",), optimise=False)
    function, context = ENTER(code.addresses["nothing"]), c_void_p()

    def run(repetitions: int) -> None:
        for _ in range(repetitions):
            function(context)

    return take_turns({"": run}, effort)[""]


def _insert(host: Host, program: Program) -> Extension:
    (entry,) = program.entries
    manifest = Manifest(
        name=f"extension{next(_numbers)}",
        trust=Trust.UNTRUSTED,
        attach=(Attachment(_EVENT, entry),),
        budget=_BUDGET,
        windows=(WindowWish("window", READ_WRITE),),
    )
    return host.insert(program, manifest, windows=(_window(),), services=SERVICES)


def _window() -> Window:
    return Window("window", _BASE, _WINDOW_BYTES, READ_WRITE, Memory(bytearray(_WINDOW_BYTES)))


def _programs() -> Iterator[Program]:
    """Programs of INSTRUCTIONS that count events in a table by the fields of a record at r1, each another one."""
    while True:
        number = next(_numbers)
        lines = ["mov %r0, 0", "mov %r6, %r1"]
        for piece in range(_PIECES):
            lines += [
                f"ldxdw %r3, [%r6+{8 * piece}]",
                f"add %r3, {number}",
                "and %r3, 0xf8",
                "mov %r4, %r6",
                "add %r4, %r3",
                f"ldxw %r5, [%r4+{0x100 * (piece + 1)}]",
                f"jgt %r5, {number + piece}, skip{piece}",
                f"stxw [%r4+{0x100 * (piece + 1)}], %r3",
                f"skip{piece}:",
            ]
        lines += ["add %r0, 1", "exit"]
        program = assemble("\n".join(lines))
        assert len(program.starts) == INSTRUCTIONS
        yield Program(instructions=program.instructions, entries=program.entries)
