"""What only compiled code can get wrong: memory that moves or ends, exceptions through it, caches, guesses."""

from __future__ import annotations

import ctypes
import gc
import mmap
import operator
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType

import greenlet
import pytest

from nimble import objects
from nimble.access import READ_WRITE, STACK_BASE, AddressSpace, Memory, Registers, Right, Window
from nimble.assembler import assemble
from nimble.engine import NATIVE_SLOTS, closures, jit, native, threaded
from nimble.engine.outcome import Status, no_time
from nimble.engine.task import Task
from nimble.isa import TABLE
from nimble.services import Service, Services
from nimble.verifier import Facts, InsertionRefused

ENGINES = pytest.mark.parametrize("engine", [threaded, native], ids=["threaded", "native"])
ADD = """
define i64 @add(i64 %a, i64 %b) {{
  %sum = add i64 %a, %b
  %more = add i64 %sum, {number}
  ret i64 %more
}}
"""


def thread_of(
    engine: ModuleType, text: str, *windows: Window, services: Services | None = None, checked: bool = True
) -> threaded.ThreadedThread | native.NativeThread:
    space = AddressSpace(windows)
    thread: threaded.ThreadedThread | native.NativeThread
    thread = engine.translate(assemble(text), space=space, services=services or Services(), checked=checked)
    return thread


def plain(base: int, data: bytearray, rights: Right = READ_WRITE, widths: tuple[int, ...] = (1, 2, 4, 8)) -> Window:
    return Window(f"at {base:x}", base, len(data), rights, Memory(data), widths)


@ENGINES
def test_one_access_may_meet_any_window_and_the_stack_in_turn(engine: ModuleType) -> None:
    text = """
        stdw [%r10-8], 0x77
        mov %r6, %r10
        sub %r6, 8
        jne %r1, 0, load
        mov %r1, %r6
    load:
        ldxdw %r0, [%r1]
        exit
    """
    first, second = bytearray(b"\x11" + bytes(7)), bytearray(b"\x22" + bytes(7))
    thread = thread_of(engine, text, plain(0x1000, first), plain(0x2000, second))
    for address, found in ((0x1000, 0x11), (0x2000, 0x22), (0, 0x77), (0x1000, 0x11), (0, 0x77), (0x2000, 0x22)):
        assert thread.run("main", (address,), budget=99, spend=no_time).r0 == found
    refused = thread.run("main", (0x1001,), budget=99, spend=no_time)
    assert (refused.status, refused.instructions) == (Status.FAULT, 5)
    assert "8-byte read at 0x1001: no window holds it; the nearest is at 1000 0x1000..0x1008" in refused.reason


@ENGINES
def test_a_remembered_window_grants_what_its_rights_and_widths_say(engine: ModuleType) -> None:
    """Each access is first made where it is allowed, so that a window is remembered."""
    text = "ldxw %r3, [%r1]\nstxw [%r2], %r3\nmov %r0, 0\nexit"
    readable, writable, narrow = (bytearray(8) for _ in range(3))
    thread = thread_of(
        engine, text,
        plain(0x1000, readable, Right.READ), plain(0x2000, writable, Right.WRITE),
        plain(0x3000, narrow, READ_WRITE, (1, 8)),
    )  # fmt: skip
    assert thread.run("main", (0x1000, 0x2000), budget=9, spend=no_time).status is Status.RETURNED
    for arguments, words in (
        ((0x1000, 0x1004), "4-byte write at 0x1004: at 1000 0x1000..0x1008 grants read; ask for the right"),
        ((0x2000, 0x2000), "4-byte read at 0x2000: at 2000 0x2000..0x2008 grants write; ask for the right"),
        ((0x1000, 0x3000), "4-byte write at 0x3000: at 3000 0x3000..0x3008 takes widths 1, 8; use one of them"),
        ((0x1005, 0x2000), "4-byte read at 0x1005: no window holds it"),
        ((0x0FFF, 0x2000), "4-byte read at 0xfff: no window holds it"),
        (((1 << 64) - 2, 0x2000), "4-byte read at 0xfffffffffffffffe: no window holds it"),
    ):
        assert words in thread.run("main", arguments, budget=9, spend=no_time).reason


@ENGINES
def test_an_atomic_out_of_line_is_refused_where_it_would_fit(engine: ModuleType) -> None:
    thread = thread_of(engine, "mov %r0, 1\nlock fetch_add [%r1], %r0\nexit", plain(0x1000, bytearray(32)))
    assert thread.run("main", (0x1008,), budget=9, spend=no_time).r0 == 0
    assert "atomics are naturally aligned" in thread.run("main", (0x1004,), budget=9, spend=no_time).reason


@ENGINES
def test_an_unchecked_thread_sees_the_whole_stack_and_a_checked_one_its_own_frames(engine: ModuleType) -> None:
    text = "ldxdw %r0, [%r1]\nexit"
    low = STACK_BASE + 8
    assert thread_of(engine, text, checked=False).run("main", (low,), budget=9, spend=no_time).r0 == 0
    reason = thread_of(engine, text).run("main", (low,), budget=9, spend=no_time).reason
    assert "8-byte read at 0x100000000000008: the stack is 0x100000000000e00..0x100000000001000" in reason


@ENGINES
def test_no_run_sees_what_another_left_on_the_stack_or_in_registers(engine: ModuleType) -> None:
    write = ".entry write\nstxdw [%r10-8], %r1\nmov %r2, %r10\nstxdw [%r2-16], %r1\nldxb %r0, [%r3]\nexit\n"
    read = ".entry read\nldxdw %r0, [%r10-8]\nldxdw %r6, [%r10-16]\nor %r0, %r6\nor %r0, %r5\nexit\n"
    thread = thread_of(engine, write + read, plain(0x1000, bytearray(1)))
    for place in (0x1000, 0):  # returns, faults
        thread.run("write", (5, 0, place, 6, 7), budget=9, spend=no_time)
        assert thread.run("read", (), budget=9, spend=no_time).r0 == 0


@ENGINES
def test_any_exception_of_a_service_comes_out_and_the_thread_goes_on(engine: ModuleType) -> None:
    class Odd(BaseException):
        pass

    def serve(number: int, *others: int) -> int:
        if number:
            raise Odd(number)
        return 9

    services = Services([Service(1, "serve", serve, "raises")])
    text = "call local f\nexit\nf: call 1\nexit"
    thread = thread_of(engine, text, services=services)
    for number in (3, 4):
        with pytest.raises(Odd, match=str(number)):
            thread.run("main", (number,), budget=9, spend=no_time)
        assert thread.run("main", (0,), budget=9, spend=no_time).r0 == 9


@ENGINES
def test_a_greenlet_that_is_killed_inside_compiled_code_unwinds(engine: ModuleType) -> None:
    main = greenlet.getcurrent()
    seen: list[str] = []

    def read(offset: int, width: int) -> int:
        try:
            main.switch()
        finally:
            seen.append("unwound")
        return 0

    window = Window("device", 0x1000, 8, READ_WRITE, Registers(read, lambda *_: None))
    thread = thread_of(engine, "call local f\nexit\nf: ldxdw %r0, [%r1]\nexit", window)
    core = greenlet.greenlet(lambda: thread.run("main", (0x1000,), budget=9, spend=no_time))
    core.switch()
    core.throw(greenlet.GreenletExit)
    assert core.dead
    assert seen == ["unwound"]


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A shell lets what it starts in the background ignore interrupts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@ENGINES
@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_while_compiled_code_runs_is_not_lost(engine: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its handler raises when Python is next called: before the first line of what should have written."""
    written: list[tuple[int, ...]] = []
    window = Window("device", 0x1000, 8, READ_WRITE, Registers(lambda *_: 0, lambda *what: written.append(what)))
    thread = thread_of(engine, "stw [%r1], 7\nstw [%r1], 8\nmov %r0, 0\nexit", window)
    (enter, code), told = thread._entries["main"], list[object]()
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    interrupt = ctypes.pythonapi.PyErr_SetInterrupt
    # Called one after the other without a line of Python in between.
    thread._entries["main"] = lambda context: [*map(operator.call, (interrupt, partial(enter, context)))][1], code
    with pytest.raises(KeyboardInterrupt):
        thread.run("main", (0x1000,), budget=9, spend=no_time)
    assert (written, len(told)) == ([], 1)
    thread._entries["main"] = enter, code
    assert thread.run("main", (0x1000,), budget=9, spend=no_time).instructions == 4
    assert written == [(0, 4, 7), (0, 4, 8)]


@ENGINES
def test_memory_is_let_go_with_its_thread(engine: ModuleType) -> None:
    pages = mmap.mmap(-1, 4096)
    thread = thread_of(engine, "stb [%r1], 7\nmov %r0, 0\nexit", Window("pages", 0, 4096, READ_WRITE, Memory(pages)))
    thread.run("main", (9,), budget=9, spend=no_time)
    assert pages[9] == 7
    with pytest.raises(BufferError):
        pages.close()  # else the thread could write where nothing is any more
    del thread
    gc.collect()
    pages.close()


@ENGINES
def test_a_budget_may_be_larger_than_a_machine_word(engine: ModuleType) -> None:
    outcome = thread_of(engine, "mov %r0, 1\nexit").run("main", (), budget=1 << 70, spend=no_time)
    assert (outcome.status, outcome.instructions) == (Status.RETURNED, 2)


@ENGINES
def test_a_run_begins_at_entries_only(engine: ModuleType) -> None:
    """What was proved of a local function holds for the arguments that its callers give it."""
    thread = thread_of(engine, "call local f\nexit\nf: mov %r0, 3\nexit")
    for entry in ("f", 2):
        with pytest.raises(ValueError, match=f"entry: {entry} is unknown; known are main; name one of them"):
            thread.run(entry, (), budget=9, spend=no_time)  # type: ignore[arg-type]


def test_native_takes_programs_of_a_bounded_size() -> None:
    text = "mov %r0, 0\n" * NATIVE_SLOTS + "exit"
    with pytest.raises(InsertionRefused, match=r"<text>: 4097 slots; native takes 4096; use threaded"):
        thread_of(native, text)


def test_native_takes_a_guess_where_accesses_were_seen_to_fall() -> None:
    text = "ldxdw %r0, [%r1]\nexit"
    windows = plain(0x1000, bytearray(8)), plain(0x2000, bytearray(b"\x05" + bytes(7)))
    slots = thread_of(threaded, text, *windows)
    assert isinstance(slots, threaded.ThreadedThread)
    assert slots.seen() == {}
    slots.run("main", (0x2000,), budget=9, spend=no_time)
    assert slots.seen() == {0: 0x2000}
    thread = native.translate(
        assemble(text), space=AddressSpace(windows), services=Services(), checked=True, seen=slots.seen()
    )
    assert [thread.run("main", (base,), budget=9, spend=no_time).r0 for base in (0x1000, 0x2000)] == [0, 5]


def test_a_landing_is_found_in_linear_time() -> None:
    """Jumps into a long straight line from everywhere: each place must be translated once, not once per jump."""
    count = 2000
    lines = [f"jeq %r1, {number}, l{number}" for number in range(count)]
    lines += [f"l{number}: add %r0, 1" for number in range(count)]
    program = assemble("\n".join(["mov %r0, 0", *lines, "exit"]))
    task = Task(program, space=AddressSpace(()), services=Services(), checked=True, facts=Facts())
    text = native.module(task, seen={})
    assert len(text) < 1500 * count


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture(autouse=True)
def _forget_the_folder() -> object:
    yield
    objects.keep_in(None)


def test_objects_are_kept_by_content_and_mended_when_damaged(folder: Path) -> None:
    objects.keep_in(folder)
    text = ADD.format(number=1)
    jit.compile_ir(text, ["add"], optimise=True)
    (kept,) = folder.iterdir()
    whole = kept.read_bytes()
    jit.compile_ir(ADD.format(number=2), ["add"], optimise=True)
    assert len(list(folder.iterdir())) == 2
    for damage in (b"", whole[:40], whole[:-1] + b"x"):
        kept.write_bytes(damage)
        assert objects.find(kept.name) == whole[32:]  # this process has it
        objects._kept.clear()
        assert objects.find(kept.name) is None
        jit.compile_ir(text, ["add"], optimise=True)
        assert kept.read_bytes() == whole


def test_a_folder_that_cannot_be_written_costs_nothing_but_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    objects.keep_in(tmp_path / "file" / "cache")
    assert jit.compile_ir(ADD.format(number=3), ["add"], optimise=True).addresses["add"]


def test_another_process_reads_what_was_kept(folder: Path) -> None:
    objects.keep_in(folder)
    script = f"""
import sys
from pathlib import Path
from nimble import objects
from nimble.engine import jit
objects.keep_in(Path({str(folder)!r}))
jit._compile = lambda *_: sys.exit("compiled again")
jit.compile_ir({ADD.format(number=4)!r}, ["add"], optimise=False)
"""
    jit.compile_ir(ADD.format(number=4), ["add"], optimise=False)
    subprocess.run([sys.executable, "-c", script], check=True)


def test_every_operation_has_a_subroutine_that_ends_in_a_jump() -> None:
    """A call or a return on the way would make the machine's stack grow with the length of a run."""
    from nimble.engine.threaded import subroutines

    text, names = subroutines.module(())
    bodies = [part.split(".Lfunc_end")[0] for part in jit.assembly(text).split("\nop_")[1:]]
    assert len(bodies) == len([name for name in names if name.startswith("op_")]) >= len(TABLE)
    assert [body for body in bodies if "\tcall" in body] == []


def interleaved(engine: ModuleType, kill: Callable[[int], bool]) -> list[int]:
    """Runs of one thread, each suspended at another depth; some are killed there, in the order in which they began."""
    main = greenlet.getcurrent()

    def serve(value: int, *others: int) -> int:
        main.switch()
        return value + 1

    text = """
        mov %r6, %r1
        jeq %r1, 0, end
        sub %r1, 1
        call local deeper
        add %r0, %r6
        exit
    deeper:
        mov %r6, %r1
        call 1
        mov %r7, %r0
        jeq %r6, 0, end
        mov %r1, %r6
        sub %r1, 1
        call local deeper
        add %r0, %r7
        exit
    end:
        mov %r0, 0
        exit
    """
    thread = thread_of(engine, text, services=Services([Service(1, "serve", serve, "switches")]))
    results: list[int] = []
    cores = [
        greenlet.greenlet(lambda n=number: results.append(thread.run("main", (n,), budget=999, spend=no_time).r0))
        for number in range(1, 7)
    ]
    turn = 0
    while any(not core.dead for core in cores):
        for index, core in enumerate(cores):
            if not core.dead and turn > 2 and kill(index):
                core.throw(greenlet.GreenletExit)
            elif not core.dead:
                core.switch()
        turn += 1
    return results


@ENGINES
def test_runs_interleave_at_any_depth(engine: ModuleType) -> None:
    expected = [n + sum(value + 1 for value in range(n)) - 1 for n in range(1, 7)]
    assert interleaved(engine, lambda index: False) == expected == interleaved(closures, lambda index: False)
    assert interleaved(engine, lambda index: index % 2 == 1) == interleaved(closures, lambda index: index % 2 == 1)
