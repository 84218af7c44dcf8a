"""The commands about extensions, as a user types them: what they print, write and refuse, each in one line."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest

from cosim.cli import main
from nimble import cc, elf
from nimble.assembler import assemble
from nimble.cli import exec_main
from nimble.manifest import parse
from nimble.program import SourceLine

OBJECTS = Path(__file__).parent / "objects"
COUNTER = """\
.quad 5
.entry main
lddw %r1, STATE
ldxdw %r0, [%r1]
add %r0, STEP
stxdw [%r1], %r0
.entry other
mov %r0, NIC.INT_STATUS
exit
"""
MANIFEST = """\
name: counter
budget: 100
attach: [{event: nic.interrupt, entry: main, priority: 3}]
windows: [{name: table, rights: read-write}, {name: events, rights: read}]
calls: [logger]
exports: [other]
"""
BAD = "name: counter\nbudget: 100\nattach: [{event: e, entry: nowhere}]\n"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("counter.asm").write_text(COUNTER)
    Path("one.asm").write_text("mov %r0, 7\ncall 5\nexit\n")
    Path("bad.asm").write_text("moov %r0, 1\n")
    Path("unwritten.asm").write_text("mov %r0, %r6\nexit\n")
    Path("binary.asm").write_bytes(b"exit\n\xff\xfe")
    Path("counter.yaml").write_text(MANIFEST)
    Path("bad.yaml").write_text(BAD)
    Path("x.hex").write_text("b7 00 00 00 01 00 00 00\n9500000000000000")
    Path("odd.hex").write_text("b7 0")
    Path("word.hex").write_text("b7 xy")
    Path("short.hex").write_text("b700")
    Path("empty.hex").write_text("")
    Path("legacy.hex").write_text("2000000000000000")
    Path("x.txt").write_text("exit")
    Path("bad.c").write_text("int f( { }")
    Path("bad.py").write_text("def f(:\n")
    for name in ("sections-g.o", "hash_map-g.o", "common-c.o", "map-g.o"):
        shutil.copy(OBJECTS / name, name)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    status = main(arguments)
    captured = capsys.readouterr()
    assert (status, captured.err) == (0, "")
    return captured.out.splitlines()


def test_asm_and_dis(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("asm", "counter.asm", "-o", "counter.o", "--define", "STEP=0x10", "--manifest", "counter.yaml")
    assert run(capsys, *arguments) == ["counter.o: 6 instructions, 8 bytes of state"]
    data = Path("counter.o").read_bytes()
    text = run(capsys, "dis", "counter.o")
    read = elf.load(data, name="counter.o")
    assert assemble("\n".join(text)) == read
    assert read.entries == {"main": 0, "other": 5}
    assert read.where(4) == "counter.asm:6: pc 4"
    found = elf.manifest_text(data)
    assert found is not None
    assert parse(found, source="x") == parse(MANIFEST, source="x")


def test_hex_there_and_back(capsys: pytest.CaptureFixture[str]) -> None:
    lines = run(capsys, "asm", "one.asm", "--hex")
    assert lines == ["b7 00 00 00 07 00 00 00", "85 00 00 00 05 00 00 00", "95 00 00 00 00 00 00 00"]
    Path("one.hex").write_text("\n".join(lines))
    assert run(capsys, "dis", "one.hex") == [".entry main", "    mov %r0, 7", "    call 5", "    exit"]


def test_dis_says_which_numbers_are_made_up(capsys: pytest.CaptureFixture[str]) -> None:
    first = "# call 1: wake; a number made up here, give the true one with --service wake=ID"
    lines = run(capsys, "dis", "sections-g.o")
    assert lines[0] == first
    assert "    call 1" in lines
    lines = run(capsys, "dis", "sections-g.o", "--service", "wake=6")
    assert lines[0].startswith(".byte")
    assert "    call 6" in lines


def test_verify(capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "asm", "counter.asm", "-o", "counter.o", "--define", "STEP=1", "--manifest", "counter.yaml")
    assert run(capsys, "verify", "counter.o", "--window", "table:0x1000:64:rw") == [
        "counter.o: accepted: 6 instructions, 8 bytes of state",
        "entries: main (pc 0), other (pc 5)",
        "services: none",
        "manifest: counter, untrusted, budget 100",
        "  nic.interrupt -> main (priority 3)",
        "  window table: read-write",
        "  window events: read; not given here with --window, so nothing is proved there",
        "  calls: logger",
        "  exports: other",
        "accesses: 2: 2 proved, 0 checked while it runs",
        "  counter.asm:4: pc 2: ldxdw %r0, [%r1]",
        "    proved: 8 bytes at 0x200000000000000",
        "    in state 0x200000000000000..0x200000000000008",
        "  counter.asm:6: pc 4: stxdw [%r1], %r0",
        "    proved: 8 bytes at 0x200000000000000",
        "    in state 0x200000000000000..0x200000000000008",
    ]


@pytest.mark.parametrize(
    ("window", "verdict"),
    [
        ("all:0x1000:8:r", "proved: 8 bytes at 0x1000"),
        ("all:4096:0x8:rw", "proved: 8 bytes at 0x1000"),
        ("all:0x1000:8:r:device", "proved: 8 bytes at 0x1000"),
        ("all:0xffc:16:r", "proved: 8 bytes at 0x1000"),
        ("all:0x1000:8:w", "checked: 8 bytes at 0x1000: in all 0x1000..0x1008, which may not allow it"),
        ("all:0x1000:7:r", "checked: 8 bytes at 0x1000: may lie outside of every window"),
        ("all:0x2000:1073741824:r", "checked: 8 bytes at 0x1000: may lie outside of every window"),
    ],
)
def test_windows_of_the_command_line(window: str, verdict: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("read.asm").write_text("mov %r1, 0x1000\nldxdw %r0, [%r1]\nexit\n")
    run(capsys, "asm", "read.asm", "-o", "read.o")
    lines = run(capsys, "verify", "read.o", "--window", window)
    assert lines[5].strip().startswith(verdict)


def test_the_header(capsys: pytest.CaptureFixture[str]) -> None:
    lines = run(capsys, "header")
    assert any(line.startswith("#define NIC_INT_STATUS 0x") for line in lines)


def test_python_is_compiled(capsys: pytest.CaptureFixture[str]) -> None:
    Path("double.py").write_text(
        "from nimble.python import entry, u64\n\n\n@entry\ndef main(x: u64) -> u64:\n    return x * 2\n"
    )
    assert run(capsys, "compile", "double.py", "-o", "double.o")[0].startswith("double.o: ")
    program = elf.load(Path("double.o").read_bytes(), name="double")
    assert program.entries == {"main": 0}
    assert SourceLine("double.py", 6) in program.lines.values()


def test_c_is_compiled(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        cc.compiler("v3")
    except cc.CompileError as error:
        pytest.skip(str(error))
    Path("status.c").write_text('#include "nimble.h"\nu64 status(u64 x) { return x + NIC_INT_STATUS * MORE; }\n')
    arguments = ("compile", "status.c", "-o", "status.o", "--cpu", "v3", "--define", "MORE=0")
    assert run(capsys, *arguments) == ["status.o: 2 instructions, 0 bytes of state"]


# Refusals


REFUSED = [
    (["asm", "nowhere.asm", "--hex"], "nowhere.asm: No such file or directory; give a file that can be read"),
    (["asm", ".", "--hex"], ".: Is a directory; give a file that can be read"),
    (["asm", "binary.asm", "--hex"], "binary.asm: byte 5 is no UTF-8 text; give a text or an object"),
    (["asm", "bad.asm", "--hex"], "bad.asm:1: moov: unknown instruction; 108 are known; did you mean mov?"),
    (["asm", "counter.asm", "--hex"], "counter.asm:5: STEP: unknown name; "),
    (["asm", "counter.asm", "--hex", "--define", "STEP=1"],
     "counter.asm: has 8 bytes of state, which hex has no place for; use -o"),
    (["asm", "unwritten.asm", "--hex"], "unwritten.asm:1: pc 0: mov %r0, %r6: "),
    (["asm", "one.asm", "-o", "no/where.o"], "no/where.o: No such file or directory; give a place that can be written"),
    (["asm", "one.asm", "-o", "x.o", "--manifest", "bad.yaml"],
     "counter: attach e: entry nowhere is unknown; known are main; name one of them"),
    (["asm", "one.asm", "-o", "x.o", "--manifest", "x.hex"], "x.hex:1: is no mapping of keys to values; begin with"),
    (["asm", "one.asm", "-o", "x.o", "--manifest", "none"], "none: No such file or directory; give a file that can"),
    (["dis", "odd.hex"], "odd.hex: 3 digits; a byte has two; add or remove one"),
    (["dis", "word.hex"], "word.hex: 'x' behind 2 digits is no hexadecimal digit; write bytes such as b7 00"),
    (["dis", "short.hex"], "code: 2 bytes is no multiple of 8; the last slot is cut off"),
    (["dis", "empty.hex"], "empty: 0 slots of code; 1..1048576 are allowed; split it"),
    (["dis", "legacy.hex"], "legacy: pc 0: opcode 0x20: legacy packet access is deprecated by RFC 9669; load from a"),
    (["dis", "common-c.o"], "common-c.o: offset 0x0: total: is a common symbol, which has no place yet; give it a"),
    (["verify", "hash_map-g.o"], "hash_map-g.o: offset 0x70: map table: type 1; only arrays (2) are supported"),
    (["verify", "x.hex"], "x.hex: offset 0x0: magic: 62372030; an ELF object begins with 7f454c46; give one"),
    (["verify", "map-g.o", "--manifest", "bad.yaml"], "counter: attach e: entry nowhere is unknown; known are map; "),
    (["verify", "map-g.o", "--window", "a:0:0:r"], "--window a: 0 bytes; 1..1073741824 are allowed; change the length"),
    (["verify", "map-g.o", "--window", "a:0:0x40000001:r"], "--window a: 1073741825 bytes; 1..1073741824 are allowed"),
    (["verify", "map-g.o", "--window", "a:-1:8:r"], "--window a: window a 0x-1..0x7: must have a byte or more and lie"),
    (["verify", "map-g.o", "--window", "a:0:8:r", "--window", "b:4:8:r"], "--window: windows a 0x0..0x8 and b 0x4"),
    (["verify", "sections-g.o", "--service", "a=1", "--service", "b=1"],
     "--service: service b (1): a (1) is there already; choose another number or name"),
    (["verify", "sections-g.o", "--service", "a=-1"], "--service: service a: id: -1 is out of range 0..2147483647"),
    (["compile", "x.txt", "-o", "x.o"], "x.txt: is neither .py nor .c; assembly is for `nimble asm`; give one of them"),
    (["compile", "none.c", "-o", "x.o"], "none.c: is no file that can be read; give a C source"),
    (["compile", "none.py", "-o", "x.o"], "none.py: No such file or directory; give a file that can be read"),
    (["compile", "bad.py", "-o", "x.o"], "bad.py:1"),
    (["compile", "bad.py", "-o", "x.o", "--device", "gpu=0x1000"],
     "--device gpu: has no register map; there are: nic; name one of them"),
    (["compile", "bad.py", "-o", "x.o", "--device", "nic=-1"], "--device nic: base: -1 is out of range 0..2**64-1; "),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "said"), REFUSED)
def test_refused_in_one_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith(said)


def test_c_that_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        cc.compiler("v4")
    except cc.CompileError as error:
        pytest.skip(str(error))
    assert main(["compile", "bad.c", "-o", "x.o"]) == 2
    assert capsys.readouterr().err.startswith("bad.c:1:8: error: ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["asm", "one.asm"], "nimble asm: one of the arguments -o/--output --hex is required; see `nimble asm --help`"),
        (["asm", "a", "--hex", "--define", "x"], "nimble asm: argument --define: invalid NAME=number value: 'x'; see "),
        (["asm", "a", "--hex", "--define", "=1"], "nimble asm: argument --define: invalid NAME=number value: '=1'; "),
        (
            ["verify", "a", "--window", "a:1:2"],
            "nimble verify: argument --window: invalid NAME:BASE:LENGTH:RIGHTS value",
        ),
        (["verify", "a", "--window", "a:1:2:x"], "nimble verify: argument --window: invalid NAME:BASE:LENGTH:RIGHTS"),
        (["verify", "a", "--window", "a:1:2:r:x"], "nimble verify: argument --window: invalid NAME:BASE:LENGTH:RIGHTS"),
        (["compile", "x.c"], "nimble compile: the following arguments are required: -o/--output; see "),
        (["compile", "x.c", "-o", "x.o", "--cpu", "v9"], "nimble compile: argument --cpu: invalid choice: 'v9'"),
        (["exec", "--engine", "fast"], "nimble exec: argument --engine: invalid choice: 'fast' (choose from "),
        (["exec", "--budget", "-1"], "nimble exec: argument --budget: invalid count value: '-1'; see "),
    ],
)
def test_wrong_options(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(said)


# exec

SUM = "71 10 00 00 00 00 00 00  71 12 01 00 00 00 00 00  0f 20 00 00 00 00 00 00  95 00 00 00 00 00 00 00\n"  # 2 bytes
LENGTH = "bf 20 00 00 00 00 00 00 95 00 00 00 00 00 00 00"  # r0 = r2


def execute(program: str, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.stdin", io.StringIO(program))
    return exec_main(arguments)


@pytest.mark.parametrize("engine", ["closures", "threaded", "native"])
@pytest.mark.parametrize("form", ["", " --unchecked"])
def test_the_plugin_protocol(
    engine: str, form: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Memory is one argument with two blanks between its bytes; all options are another one."""
    assert execute(SUM, monkeypatch, "aa  bb  ", f"--engine {engine}{form}") == 0
    assert capsys.readouterr().out == "165\n"


@pytest.mark.parametrize(
    ("program", "arguments", "result"),
    [
        (LENGTH, ("01  02  03  ", ""), "3"),
        (LENGTH, ("", ""), "0"),
        (LENGTH, (), "0"),
        (LENGTH, ("010203",), "3"),
        ("", ("--program", LENGTH, "0102"), "2"),
        ("b700 0000 ffff ffff 9500000000000000", (), "ffffffffffffffff"),
        ("b701000007000000 8500000005000000 9500000000000000", (), "7"),
        ("b701000007000000 b702000005000000 8d02000000000000 9500000000000000", (), "7"),
        ("b701000007000000 8500000005000000 9500000000000000", ("--service printk=5",), "0"),
        ("b701000007000000 8500000009000000 9500000000000000", ("--service echo=9",), "0"),
    ],
)
def test_exec(
    program: str,
    arguments: tuple[str, ...],
    result: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert execute(program, monkeypatch, *arguments, "--engine closures") == 0
    assert capsys.readouterr().out == f"{result}\n"


def test_exec_of_an_object(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    data = Path("map-g.o").read_bytes().hex(" ")
    assert execute(data, monkeypatch, "", "--elf --engine closures") == 0
    assert capsys.readouterr().out == "b\n"  # 0 * 1000 + 1 * 10 + 1
    assert execute("", monkeypatch, "--object", "map-g.o") == 0
    assert capsys.readouterr().out == "b\n"
    assert execute("", monkeypatch, "--object", "absent.o") == 2
    assert capsys.readouterr().err == "absent.o: No such file or directory; give a file that can be read\n"
    data = Path("sections-g.o").read_bytes().hex()
    assert execute(data, monkeypatch, "--elf", "--entry", "note", "--service", "wake=6") == 0
    assert capsys.readouterr().out == "1\n"


LOOP = "0500ffff00000000 9500000000000000"


@pytest.mark.parametrize(
    ("program", "arguments", "status", "said"),
    [
        (LENGTH, ("--service a=1 --service a=2",), 2, "--service: service a (2): a (1) is there already; choose"),
        ("", (), 2, "program: 0 slots of code; 1..1048576 are allowed; split it"),
        ("b7", (), 2, "code: 1 bytes is no multiple of 8; the last slot is cut off"),
        ("b7 0g", (), 2, "program: 'g' behind 3 digits is no hexadecimal digit; write bytes such as b7 00"),
        (LENGTH, ("0 1 2",), 2, "MEMORY: 3 digits; a byte has two; add or remove one"),
        (LENGTH, ("--elf",), 2, "program: offset 0x0: magic: bf200000; an ELF object begins with 7f454c46; give one"),
        (LENGTH, ("--entry", "start"), 2, "--entry: start is unknown; known are main; name one of them"),
        ("0f600000000000009500000000000000", (), 2, "program: pc 0: add %r0, %r6: "),
        ("8500000006000000 9500000000000000", (), 2, "program: pc 0: call 6: unknown service 6; known are: 5 echo"),
        (SUM, ("aa",), 1, "program: pc 1: ldxb %r2, [%r1+1]: 1-byte read at 0x100000001: no window holds it"),
        (SUM, (), 1, "program: pc 0: ldxb %r0, [%r1]: 1-byte read at 0x0: no window is granted; ask for one"),
        ("b7000000000000001500feff00000000 9500000000000000", ("--budget", "100"), 1,
         "program: pc 0: mov %r0, 0: the budget of 100 instructions is exhausted; raise it or do less per call"),
    ],
)  # fmt: skip
def test_exec_refuses(
    program: str,
    arguments: tuple[str, ...],
    status: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert execute(program, monkeypatch, *arguments, "--engine closures") == status
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith(said)


def test_exec_of_more_than_an_engine_takes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    program = "b700000000000000" * 4096 + "9500000000000000"
    assert execute(program, monkeypatch, "--engine native") == 2
    assert capsys.readouterr() == ("", "program: 4097 slots; native takes 4096; use threaded\n")
    assert execute(program, monkeypatch, "--engine threaded") == 0


def test_an_object_of_many_entries(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute("", monkeypatch, "--object", "map-g.o") == 0
    assert capsys.readouterr().out == "b\n"
    assert execute("", monkeypatch, "--object", "absent.o") == 2
    assert capsys.readouterr().err == "absent.o: No such file or directory; give a file that can be read\n"
    data = Path("sections-g.o").read_bytes().hex()
    assert execute(data, monkeypatch, "--elf --service wake=6") == 2
    known = "event/in, helpers, event, note, start"
    assert capsys.readouterr().err == f"program: has the entries {known}; none is main; choose one with --entry\n"


def test_wrong_options_of_the_plugin(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        execute("", monkeypatch, "", "--engine fast")
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("nimble-exec: argument --engine: invalid choice: 'fast'")


def test_profile_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "asm", "counter.asm", "-o", "counter.o", "--define", "STEP=1")
    assert main(["profile", "counter.o", "--entry", "other"]) == 0
    assert capsys.readouterr().out.startswith("returned: 2 instructions, ")
