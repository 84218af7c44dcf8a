"""C sources to running programs, the header they include, and what is said when they cannot be compiled.

What needs a compiler is skipped where there is none.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nimble import cc, elf, manifest
from nimble.access import AddressSpace, state_window
from nimble.cc import CompileError, compile_c
from nimble.engine.closures import translate
from nimble.engine.outcome import Status, no_time
from nimble.header import HeaderError, header
from nimble.program import SourceLine
from nimble.services import Argument, Service, Services

SERVICES = Services(
    [
        Service(
            7,
            "kernel.wake",
            lambda pid, after, *_: pid * 100 + after,
            "Wakes */\n it.",
            (Argument("pid"), Argument("in-ns")),
        ),
        Service(8, "now", lambda *_: 5, "The time."),
    ]
)
SYMBOLS = {
    "NIC.INT_STATUS": 0x10,
    "NIC.INT_STATUS.X_MASK": 1 << 40,
    "LOW": -3,
    "LEAST": -(1 << 63),
    "MOST": (1 << 64) - 1,
}

SOURCE = """\
#include "nimble.h"
MANIFEST("name: counter\\nbudget: 1000\\n");
_Static_assert(NIC_INT_STATUS == 16 && NIC_INT_STATUS_X_MASK == 1ul << 40, "registers");
_Static_assert(LOW == -3 && MOST == ~0ul && LEAST == 1l << 63, "numbers");
_Static_assert(sizeof(u8) == 1 && sizeof(i16) == 2 && sizeof(u32) == 4 && sizeof(i64) == 8, "types");
static u64 count = EXTRA;

SEC("event/in") u64 event(u64 pid) {
    count += now();
    return kernel_wake(pid, count); /* line 10 */
}
"""


@pytest.fixture
def no_cached_compiler() -> Iterator[None]:
    cc.compiler.cache_clear()
    yield
    cc.compiler.cache_clear()


def needs_compiler() -> None:
    try:
        cc.compiler("v3")
    except CompileError as error:
        pytest.skip(str(error))


def test_the_header() -> None:
    text = header(SYMBOLS, SERVICES)
    assert "#define NIC_INT_STATUS 0x10\n" in text
    assert "#define NIC_INT_STATUS_X_MASK 0x10000000000UL\n" in text
    assert "#define LOW (-3L)\n#define LEAST (-9223372036854775807L - 1)\n#define MOST 0xffffffffffffffffUL\n" in text
    assert '/* Wakes * / it. */\nextern u64 kernel_wake(u64 pid, u64 in_ns) __asm__("kernel.wake");\n' in text
    assert "/* The time. */\nextern u64 now(void);\n" in text


@pytest.mark.parametrize(
    ("names", "error"),
    [
        (("NIC.A_B", "NIC.A.B"), "symbol NIC.A.B: is NIC_A_B in C, as is NIC.A_B; rename one"),
        (("now",), "service now: is now in C, as is now; rename one"),
        (("while",), "symbol while: is 'while' in C, which is no free name; choose another"),
        (("u32",), "symbol u32: is 'u32' in C, which is no free name; choose another"),
        (("8.bits",), "symbol 8.bits: is '8_bits' in C, which is no free name; choose another"),
        (("",), "symbol : is 'nothing' in C, which is no free name; choose another"),
    ],
)
def test_names_that_c_does_not_allow(names: tuple[str, ...], error: str) -> None:
    with pytest.raises(HeaderError) as caught:
        header(dict.fromkeys(names, 1), SERVICES)
    assert str(caught.value) == error


def test_a_number_that_does_not_fit() -> None:
    with pytest.raises(HeaderError, match=r"^symbol A: 18446744073709551616 does not fit 64 bits; make it smaller$"):
        header({"A": 1 << 64}, ())


def test_a_c_extension_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs_compiler()
    monkeypatch.chdir(tmp_path)
    Path("counter.c").write_text(SOURCE)
    warnings: list[str] = []
    data = compile_c(
        Path("counter.c"), include=header(SYMBOLS, SERVICES), cpu="v3", defines={"EXTRA": 37}, warn=warnings.append
    )
    assert not warnings
    assert data == compile_c(Path("counter.c"), include=header(SYMBOLS, SERVICES), cpu="v3", defines={"EXTRA": 37})
    text = elf.manifest_text(data)
    assert text is not None
    assert manifest.parse(text, source="counter.c").budget == 1000
    assert set(elf.services_of(data, name="x")) == {"now", "kernel.wake"}
    program = elf.load(data, name="counter", symbols=SERVICES.symbols())
    assert SourceLine("counter.c", 10) in program.lines.values()
    state = state_window(bytearray(program.state))
    assert state is not None
    space = AddressSpace([state])
    thread = translate(program, space=space, services=SERVICES, checked=True)
    for answer in (542, 547):
        outcome = thread.run("event/in", (5,), budget=100, spend=no_time)
        assert (outcome.status, outcome.r0) == (Status.RETURNED, answer)


def test_warnings_are_told(tmp_path: Path) -> None:
    needs_compiler()
    path = tmp_path / "x.c"
    path.write_text("int f(int x) { int unused; return x; }\n")
    told: list[str] = []
    compile_c(path, cpu="v3", warn=told.append)
    assert any("unused variable 'unused'" in line for line in told)


def test_c_that_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs_compiler()
    monkeypatch.chdir(tmp_path)
    Path("x.c").write_text("int f(int x) { return y + z; }\n")
    with pytest.raises(CompileError) as caught:
        compile_c(Path("x.c"), cpu="v3")
    assert str(caught.value).startswith("x.c:1:23: error: use of undeclared identifier 'y'")
    assert str(caught.value).endswith(" (and 1 more)")


def test_what_is_no_source() -> None:
    with pytest.raises(CompileError, match=r"^nowhere\.c: is no file that can be read; give a C source$"):
        compile_c(Path("nowhere.c"))
    with pytest.raises(CompileError, match=r"^cpu: v5 is not one of v1, v2, v3, v4; choose one of them$"):
        compile_c(Path("nowhere.c"), cpu="v5")


def fake(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.mark.usefixtures("no_cached_compiler")
def test_without_a_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:{tmp_path}/nothing")
    monkeypatch.setitem(sys.modules, "ziglang", None)
    remedy = r"; pip install 'nimble-cosim\[c\]', or put a newer clang on PATH$"
    with pytest.raises(CompileError, match=rf"^C compiler: there is none{remedy}"):
        cc.compiler("v4")
    fake(tmp_path, "clang-14", "exit 1")
    fake(tmp_path, "clang", 'echo "11.2.0"')
    with pytest.raises(CompileError, match=rf"^C compiler: clang-14 cannot make eBPF for -mcpu=v4{remedy}"):
        cc.compiler("v4")


@pytest.mark.usefixtures("no_cached_compiler")
def test_the_newest_that_works_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    works = 'while [ "$1" != -o ]; do shift; done; echo made > "$2"'
    fake(tmp_path, "clang-9", works)
    fake(tmp_path, "clang-15", works)
    fake(tmp_path, "clang-20", "exit 1")
    fake(tmp_path, "clang", f"if [ $1 = -dumpversion ]; then echo 17.0.1; exit; fi; {works}")
    fake(tmp_path, "clang-format-21", "exit 0")
    assert cc.compiler("v4") == (str(tmp_path / "clang"), "--target=bpfel")


@pytest.mark.usefixtures("no_cached_compiler")
def test_a_compiler_that_fails_without_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    fake(
        tmp_path,
        "clang-19",
        'case "$*" in *empty.c*) while [ "$1" != -o ]; do shift; done; echo > "$2";; *) exit 1;; esac',
    )
    source = tmp_path / "x.c"
    source.write_text("")
    with pytest.raises(CompileError, match=r"the compiler failed: it says nothing; see its manual$"):
        compile_c(source)
