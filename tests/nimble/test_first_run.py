"""A new user's first runs: what is printed, what is said of mistakes, and how a run is ended."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

from cosim.cli import main
from nimble import cc
from nimble.cli import exec_main
from tests.nimble.first_extensions import ABOVE, NIC, TICK, C, compile_sources, ran, refused, write_sources


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    write_sources()
    compile_sources(capsys)


# What works


@pytest.mark.parametrize("engine", ["closures", "threaded", "native"])
@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (("above.o", "6400000000000000", "6500000000000000"), "1"),
        (("above.o", "--window", "message:0x1000:64:read", "--arg", "0x1000", "--arg", "64"), "0"),
        (("histogram.o", "01000000 05000000 11000000 07000000"), "8a4"),  # 2 * 1000 + 2 * 100 + 12
        (("tick.o", "--service", "wake=7", "--window", NIC, "--arg", "9"), "9"),
        (("tick.o", "--service", "wake=7", "--window", NIC, "--arg", "-1"), "ffffffffffffffff"),
    ],
)
def test_run(engine: str, arguments: tuple[str, ...], printed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ran(capsys, "exec", "--engine", engine, "--object", *arguments) == f"{printed}\n"


def test_registers_are_proved(capsys: pytest.CaptureFixture[str]) -> None:
    lines = ran(capsys, "verify", "tick.o", "--window", NIC).splitlines()
    assert "  window nic: read-write" in lines
    assert "accesses: 4: 4 proved, 0 checked while it runs" in lines


@pytest.mark.parametrize("columns", ["40", "200"])
def test_a_profile_of_any_width(
    columns: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an extension that calls a service and reads a device; no sequence is cut off."""
    monkeypatch.setenv("COLUMNS", columns)
    first, heading, *rows, last = ran(capsys, "profile", "tick.o", "--window", NIC, "--arg", "1").splitlines()
    assert first.startswith("returned: ")
    assert heading.split() == ["sequence", "times", "saves", "%", "time", "%"]
    assert any(row.count("; ") == 2 and row.endswith("new") for row in rows)
    assert last.startswith("saves: dispatches less")


def test_c(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        cc.compiler("v4")
    except cc.CompileError as error:
        pytest.skip(str(error))
    Path("largest.c").write_text(C)
    ran(capsys, "compile", "largest.c", "-o", "largest.o")
    memory = "0500000000000000 0900000000000000 0700000000000000"
    assert ran(capsys, "exec", "--object", "largest.o", memory) == "9\n"


@pytest.mark.parametrize(
    "data",
    [
        ABOVE.replace("\n", "\r\n").encode(),
        b"\xef\xbb\xbf" + ABOVE.encode(),
        ABOVE.replace("    ", "\t").encode(),
        ABOVE.replace("#", "").replace("total = state(u64)", "total = state(u64)  # größer").encode(),
    ],
    ids=["CRLF", "byte order mark", "tabs", "UTF-8"],
)
def test_texts_of_other_editors(data: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    Path("other.py").write_bytes(data)
    ran(capsys, "compile", "other.py", "-o", "other.o")
    assert ran(capsys, "exec", "--object", "other.o", "6500000000000000") == "1\n"
    assert "other.py:14: pc " in ran(capsys, "verify", "other.o")


def test_assembly_of_other_editors(capsys: pytest.CaptureFixture[str]) -> None:
    Path("double.asm").write_bytes(b"\xef\xbb\xbf.entry main\r\n\tldxdw %r0, [%r1]\r\n\tadd %r0, %r0\r\n\texit\r\n")
    ran(capsys, "asm", "double.asm", "-o", "double.o")
    assert ran(capsys, "exec", "--object", "double.o", "2a00000000000000") == "54\n"


# Mistakes with a run


RUNS = [
    (2, ("tick.o",), "tick.o: service wake: is unknown here; known are echo; give it a number, as in --service wake=1"),
    (2, ("tick.o", "--service", "wake"), "nimble exec: argument --service: invalid NAME=number value: 'wake'; see "),
    (1, ("tick.o", "--service", "wake=7"), "tick.py:16: pc 2: ldxdw %r3, [%r2]: 8-byte read at 0xc0000018: no window "),
    (2, ("tick.o", "--service", "wake=7", "--window", NIC.replace("nic", "nik")),
     "--window nik: tick asks for no such window; it asks for: nic; name one of them, or add it to the manifest"),
    (2, ("tick.o", "--service", "wake=7", "--window", NIC.replace("-write", "")),
     "--window nic: tick asks for read-write, and read is given; ask for less or give more"),
    (2, ("above.o", "--window", "message:0x1000:16"),
     "nimble exec: argument --window: invalid NAME:BASE:LENGTH:RIGHTS value: 'message:0x1000:16'; see "),
    (2, ("above.o", "--window", "message:0x1000:0:r"), "--window message: 0 bytes; 1..1073741824 are allowed; change"),
    (2, ("above.o", "--window", "message:0x1000:16:r", "--window", "message:0x1000:16:r"), "--window: windows "),
    (2, ("above.o", "00", "--window", "message:0x100000000:8:r"), "--window: windows memory 0x100000000..0x10000000"),
    (2, ("above.o", "00", "--arg", "1"), "--arg: MEMORY is given, too, and is r1 and r2; leave one of them out"),
    (2, ("above.o", *("--arg", "1") * 6), "--arg: 6 are given; r1..r5 take 5; leave some out"),
    (2, ("above.o", "--arg", "1e3"), "nimble exec: argument --arg: invalid 64-bit number value: '1e3'; see "),
    (2, ("above.o", "--arg", str(1 << 64)), "nimble exec: argument --arg: invalid 64-bit number value: '184467440737"),
    (2, ("above.o", "640"), "MEMORY: 3 digits; a byte has two; add or remove one"),
    (2, ("above.o", "64zz"), "MEMORY: 'z' behind 2 digits is no hexadecimal digit; write bytes such as b7 00"),
    (2, ("above.o", "--entry", "cuont"), "--entry: cuont is unknown; known are count; name one of them"),
    (1, ("above.o", "00" * 16, "--budget", "7"), "above.py:14: pc 17: jgt %r4, 100, -13: the budget of 7 "),
    (1, ("above.o", "--arg", "0", "--arg", "8"), "above.py:14: pc 15: ldxdw %r4, [%r1]: 8-byte read at 0x0: no "),
    (1, ("forever.o", "--budget", "1000"),
     "forever.py:8: pc 4: add %r1, 1: the budget of 1000 instructions is exhausted; raise it or do less per call"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "arguments", "said"), RUNS, ids=[" ".join(row[1]) for row in RUNS])
def test_a_mistake_with_a_run(
    status: int, arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused(capsys, "exec", "--object", *arguments, status=status).startswith(said)


def test_an_index_that_is_out_of_range(capsys: pytest.CaptureFixture[str]) -> None:
    """Behind the last variable of state no window is; a function without any is told how to get memory."""
    Path("index.py").write_text(
        "from nimble.python import Pointer, array, entry, state, u64\n\nbins = state(array(u64, 16))\n\n\n"
        "@entry\ndef main(a: u64) -> u64:\n    return bins[a]\n"
    )
    ran(capsys, "compile", "index.py", "-o", "index.o")
    assert ran(capsys, "exec", "--object", "index.o", "--arg", "15") == "0\n"
    said = "index.py:8: pc 4: ldxdw %r0, [%r2]: 8-byte read at 0x200000000000080: no window holds it; the nearest is"
    assert refused(capsys, "exec", "--object", "index.o", "--arg", "16", status=1).startswith(said)
    Path("null.py").write_text(
        "from nimble.python import Pointer, entry, u64\n\n\n"
        "@entry\ndef main(a: Pointer[u64]) -> u64:\n    return a[0]\n"
    )
    ran(capsys, "compile", "null.py", "-o", "null.o")
    assert refused(capsys, "exec", "--object", "null.o", status=1) == (
        "null.py:6: pc 0: ldxdw %r0, [%r1]: 8-byte read at 0x0: no window is granted; ask for one, as MEMORY or with "
        "--window"
    )


@pytest.mark.parametrize("command", [("exec", "--object"), ("profile",)])
def test_a_budget_in_the_manifest_holds(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """Unless another one is given."""
    Path("above.py").write_text(ABOVE.replace("10_000", "3"))
    ran(capsys, "compile", "above.py", "-o", "above.o")
    main([*command, "above.o"])
    captured = capsys.readouterr()
    assert "the budget of 3 instructions is exhausted; raise it or do less per call" in captured.out + captured.err
    assert "exhausted" not in ran(capsys, *command, "above.o", "--budget", "100")


@pytest.mark.parametrize("window", ["mesage:0x1000:64:r", "message:0x1000:64:w"])
@pytest.mark.parametrize("command", ["verify", "profile"])
def test_only_what_the_manifest_asks_for_is_granted(
    command: str, window: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, command, "above.o", "--window", window)
    assert said.startswith(f"--window {window.split(':')[0]}: above asks for ")


def test_more_rights_than_asked_for_prove_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """The extension writes to a window that its manifest wants to read."""
    Path("tick.py").write_text(TICK.replace("read-write", "read"))
    ran(capsys, "compile", "tick.py", "-o", "tick.o", "--device", "nic=0xC0000000")
    text = ran(capsys, "verify", "tick.o", "--window", NIC)
    assert "accesses: 4: 3 proved, 1 checked while it runs" in text
    assert "checked: 8 bytes at 0xc0000018: in nic 0xc0000000..0xc0001000, which may not allow it" in text


@pytest.mark.parametrize("stream", [io.StringIO("\x7fELF"), io.TextIOWrapper(io.BytesIO(b"\x7fELF\xff"), "utf-8")])
def test_an_object_on_stdin(
    stream: io.TextIOBase, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", stream)
    assert exec_main([]) == 2
    assert capsys.readouterr().err == "program: stdin holds bytes, not hex; give an object as --object FILE\n"


# The process


MAIN = "import sys; from cosim.cli import main; sys.exit(main())"


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


def run_into(stdout: IO[bytes] | int, *arguments: str) -> tuple[int, bytes]:
    """The status of a command whose output goes there, and what it says on stderr."""
    command = [sys.executable, "-c", MAIN, *arguments]
    done = subprocess.run(command, env=environment(), stdout=stdout, stderr=subprocess.PIPE, timeout=60, check=False)
    return done.returncode, done.stderr


@pytest.mark.parametrize("command", [("verify",), ("profile",), ("exec", "--object")])
def test_a_reader_that_has_gone(command: tuple[str, ...]) -> None:
    """As in `nimble verify above.o | head -1`, but certain to come too late."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        assert run_into(writing, *command, "above.o") == (0, b"")
    finally:
        os.close(writing)


def test_an_output_that_is_full() -> None:
    with Path("/dev/full").open("wb") as full:
        assert run_into(full, "verify", "above.o") == (2, b"nimble: the output: No space left on device; free some\n")


def test_an_output_that_is_closed() -> None:
    """As in `nimble verify above.o >&-`."""
    command = [sys.executable, "-c", MAIN, "verify", "above.o"]
    shell = ["sh", "-c", 'exec "$@" >&-', "sh", *command]
    done = subprocess.run(shell, env=environment(), stderr=subprocess.PIPE, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


TELLING = """
import os, signal, sys
from nimble import execution
from cosim.cli import main

signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell in the background leaves out
load = execution.load_engine


class Telling:
    def __init__(self, thread):
        self.thread = thread

    def run(self, *given, **more):
        os.write(int(sys.argv.pop()), b".")
        return self.thread.run(*given, **more)


execution.load_engine = lambda name: lambda *given, **more: Telling(load(name)(*given, **more))
sys.exit(main(sys.argv[1:-1]))
"""


@pytest.mark.parametrize("engine", ["threaded", "native"])
def test_ctrl_c_ends_a_long_run(engine: str) -> None:
    """Compiled code looks at nothing before its budget of 10^12 instructions ends, which takes minutes."""
    reading, writing = os.pipe()
    arguments = ["exec", "--object", "forever.o", "--budget", str(10**12), "--engine", engine]
    command = [sys.executable, "-c", TELLING, *arguments, str(writing)]
    with subprocess.Popen(
        command, pass_fds=[writing], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    ) as child:
        os.close(writing)
        try:
            assert os.read(reading, 1) == b"."
            child.send_signal(signal.SIGINT)
            assert child.communicate(timeout=20) == (b"", b"")
            assert child.returncode == -signal.SIGINT
        finally:
            child.kill()
            os.close(reading)


def test_ctrl_c_means_what_it_meant_after_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        ran(capsys, "exec", "--object", "above.o")
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
