"""A new user's mistakes in the source and the files of a first extension, and what each is answered with."""

from __future__ import annotations

from pathlib import Path

import pytest

from nimble.cli import CommandError
from nimble.commands import _write
from tests.nimble.first_extensions import ABOVE, TICK, compile_sources, refused, write_sources


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_sources()


# Mistakes in a source: what ABOVE says, what the user writes instead, and the answer


MISTAKES = [
    ("words: Pointer[u64]", "words", "above.py:10: count: parameter words: has no annotation; write words: u64"),
    (") -> u64:", "):", "above.py:10: count: its result has no annotation; write -> u64, or -> None if it returns"),
    ("length: u64", "length: int", "above.py:10: int: says no width; u8..u64, i8..i64, bool, Pointer[T] and structs"),
    ("length: u64", "length: float", "above.py:10: float: there are no floats, scale to integers; u8..u64, "),
    ("length: u64", "length: str", "above.py:10: str: strings are not known, use numbers; u8..u64, "),
    ("Pointer[u64], ", "list, ", "above.py:10: list: lists are not known, use a pointer or state(array(..)); u8..u64"),
    ("Pointer[u64], ", "Pointer, ", "above.py:10: Pointer: does not say of what; write Pointer[u64]"),
    ("return above", "return 0.5", "above.py:17: 0.5: is no integer; there are no floats; scale to integers"),
    ("return above", "return above / 2", "above.py:17: above / 2: / gives a float; write // for whole numbers"),
    ("return above", "return 'above'", "above.py:17: 'above': strings are not known; use numbers"),
    ("return above", "print(above)",
     "above.py:17: print: unknown name; it is Python's own, of which only bool, len, max, min, range, tuple are known; "
     "write it out, or call a service"),
    ("above: u64 = 0", "above = []", "above.py:12: []: lists are not known; use state(array(..)) or a constant tuple"),
    ("above: u64 = 0", "above = 0", "above.py:12: above: its first assignment gives no type; write above: u64 = 0"),
    ("@entry\n", "", "above.py:1: the source has no entry point; mark a function with @entry"),
    ("@entry\n", "@entry()\n", "above.py:9: @entry(): is unknown; functions are marked @entry, @service or @noinline"),
    ("Pointer, entry, ", "Pointer, ", "above.py:9: entry: is not imported; write from nimble.python import entry"),
    ("Pointer, entry, ", "entry, ", "above.py:10: Pointer[u64]: is no type; u8..u64, i8..i64, bool, Pointer[T] and"),
    ("manifest, state,", "state,", "above.py:3: manifest: is not imported; write from nimble.python import manifest"),
    ("manifest, state,", "manifest,", "above.py:6: state: is not imported; write from nimble.python import state"),
    (", state, u64", ", state", "above.py:6: u64: is no type; write from nimble.python import u64"),
    ("from nimble.python import", "import nimble.python #",
     "above.py:1: import nimble.python: names are imported one by one; write from nimble.python import entry, u64"),
    ("Pointer, entry, manifest, state, u64", "*",
     "above.py:1: import *: names are imported one by one; write from nimble.python import entry, u64"),
    ("LIMIT = 100", "import math",
     "above.py:5: import of math: an extension imports from nimble.python, and names whose values the compiler is given"
     "; write it out, or, if math is a number, give it a value: constants=, or nimble compile --define"),
    ("LIMIT = 100", "", "above.py:14: LIMIT: unknown name; assign it, declare it at the top, or give it a value: "),
    ("    global total\n", "", "above.py:15: total: is state; write `global total` in count to assign it"),
    ("state(u64)", "0", "above.py:11: global total: is no variable of state; declare total = state(u64)"),
    ("    global total\n    above: u64 = 0\n", "    LIMIT += 1\n",
     "above.py:11: LIMIT: is a constant of the source; use another name, or declare LIMIT = state(u64) there for what"),
    ("for i in range(length // 8)", "for word in words",
     "above.py:13: for .. in words: only range(..) and constant tuples are known; write for i in range(n)"),
    ("words[i]", "words[0:i]", "above.py:14: words[0:i]: slices are not known; use one element at a time"),
    ("def count", "async def count", "above.py:10: async count: is not known; services and registers wait by"),
    ('"count"}', '"cuont"}', "above.py:3: manifest: attach: message: cuont is no entry; did you mean count?"),
    ('"read"}', '"reed"}',
     "above.py:3: manifest: windows[0].rights: 'reed' is not one of read, write, read-write; choose one of them"),
    ("budget=10_000", "bugdet=10", "above.py:3: manifest: bugdet: is no key of a manifest; did you mean budget?"),
    ("budget=10_000, ", "", "above.py:3: manifest: budget: is missing; add it"),
    ("budget=10_000", "budget=0", "above.py:3: manifest: above: budget: 0; must be 1 or more, and at most 115292150"),
    ('name="above"', '"above"', "above.py:3: manifest: 'above': has no name; write name=.."),
    ("    above: u64", "\tabove: u64", "above.py:12: is not Python (inconsistent use of tabs and spaces in"),
    ("LIMIT = 100", 'nic = device("nic")', "above.py:5: device: is not imported; write from nimble.python import"),
]  # fmt: skip


@pytest.mark.parametrize(("right", "wrong", "said"), MISTAKES, ids=[f"{row[1]!r}: {row[2]}" for row in MISTAKES])
def test_a_mistake_in_a_source(right: str, wrong: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert right in ABOVE
    Path("above.py").write_text(ABOVE.replace(right, wrong, 1))
    Path("kept.o").write_text("what was there")
    assert refused(capsys, "compile", "above.py", "-o", "kept.o").startswith(said)
    assert Path("kept.o").read_text() == "what was there"


DEVICES = [
    ("", (), "tick.py:5: device nic: the compiler was not told of it; say where it is: devices=, or nimble compile "
             "--device nic=ADDRESS"),
    ("", ("--device", "nic"), "nimble compile: argument --device: invalid NAME=number value: 'nic'; see "),
    ("", ("--device", "nik=5"), "--device nik: has no register map; there are: nic; name one of them"),
    ("INT_STATUZ", ("--device", "nic=5"), "tick.py:16: nic.INT_STATUZ: there is no such register; did you mean INT_S"),
]  # fmt: skip


@pytest.mark.parametrize(("register", "options", "said"), DEVICES)
def test_a_mistake_with_a_device(
    register: str, options: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("tick.py").write_text(TICK.replace("INT_STATUS", register or "INT_STATUS"))
    assert refused(capsys, "compile", "tick.py", "-o", "x.o", *options).startswith(said)


# Mistakes with files


def test_other_bytes_than_text(capsys: pytest.CaptureFixture[str]) -> None:
    for data, said in (
        (b"# \xe9\n", "odd.py: byte 2 is no UTF-8 text; save it as UTF-8"),
        (ABOVE.encode("utf-16"), "odd.py: byte 0 is no UTF-8 text; save it as UTF-8"),
        (b"a\0b", "odd.py:1: is not Python (source code string cannot contain null bytes); mend it"),
        (b"#" * 1048577, "odd.py:1: 1048577 characters; at most 1048576 are read; split the source"),
        (b"", "odd.py:1: the source has no entry point; mark a function with @entry"),
    ):
        Path("odd.py").write_bytes(data)
        assert refused(capsys, "compile", "odd.py", "-o", "odd.o") == said
    assert not Path("odd.o").exists()


FILES = [
    (("compile", "above.txt", "-o", "x.o"), "above.txt: is neither .py nor .c; assembly is for `nimble asm`; give one"),
    (("compile", "none.py", "-o", "x.o"), "none.py: No such file or directory; give a file that can be read"),
    (("compile", "folder.py", "-o", "x.o"), "folder.py: Is a directory; give a file that can be read"),
    (("compile", "above.py", "above.o"), "nimble compile: the following arguments are required: -o/--output; see "),
    (("compile", "above.py", "-o", "folder.py"), "folder.py: Is a directory; give a place that can be written"),
    (("compile", "above.py", "-o", "no/x.o"), "no/x.o: No such file or directory; give a place that can be written"),
    (("compile", "above.py", "-o", "/dev/full"), "/dev/full: No space left on device; give a place that can be"),
    (("compile", "above.py", "-o", "above.py"), "above.py: is the source itself; give another name for the object"),
    (("asm", "one.asm", "-o", "one.asm"), "one.asm: is the source itself; give another name for the object"),
    (("verify", "above.py"), "above.py: is a source, no object; make one of it: nimble compile above.py -o above.o"),
    (("profile", "above.py"), "above.py: is a source, no object; make one of it: nimble compile above.py -o above.o"),
    (("dis", "above.py"), "above.py: is a source, no object; make one of it: nimble compile above.py -o above.o"),
    (("exec", "--object", "one.asm"), "one.asm: is a source, no object; make one of it: nimble asm one.asm -o one.o"),
    (("exec", "above.o"), "MEMORY: above.o is no hex; name an object as --object above.o"),
    (("exec", "--object", "cut.o"), "cut.o: offset 0x3a: section headers: "),
    (("verify", "cut.o"), "cut.o: offset 0x3a: section headers: "),
    (("profile", "cut.o"), "cut.o: offset 0x3a: section headers: "),
    (("exec", "--object", "host.o"), "host.o: offset 0x12: machine: EM_X86_64; only 64-bit little-endian EM_BPF"),
    (("profile", "host.o"), "host.o: offset 0x12: machine: EM_X86_64; only 64-bit little-endian EM_BPF is read; build"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "said"), FILES, ids=[" ".join(row[0]) for row in FILES])
def test_a_mistake_with_a_file(arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    compile_sources(capsys)
    Path("folder.py").mkdir()
    Path("one.asm").write_text("mov %r0, 1\nexit\n")
    whole = Path("above.o").read_bytes()
    Path("cut.o").write_bytes(whole[:200])
    Path("host.o").write_bytes(whole[:18] + b"\x3e\0" + whole[20:])
    before = {path.name: path.read_bytes() for path in Path().glob("*.*") if path.is_file()}
    assert refused(capsys, *arguments).startswith(said)
    assert {path.name: path.read_bytes() for path in Path().glob("*.*") if path.is_file()} == before


def test_an_output_is_written_whole_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("old.o").write_text("old")
    Path("link.o").symlink_to("old.o")
    _write(Path("link.o"), b"new", Path("above.py"))
    assert (Path("old.o").read_text(), Path("link.o").is_symlink()) == ("new", True)

    def full(path: Path, data: bytes) -> None:
        path.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(CommandError, match=r"^old\.o: No space left on device; give a place that can be written$"):
        _write(Path("old.o"), b"newer", Path("above.py"))
    assert Path("old.o").read_text() == "new"
    assert not list(Path().glob(".nimble*"))
