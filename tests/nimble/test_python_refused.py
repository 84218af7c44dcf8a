"""What is outside the subset is refused with file, line, what it is and the remedy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from test_python_memory import NIC

from nimble.python import Device, DeviceError, PythonError, compile_file, compile_source
from tests.nimble.python_sources import IMPORT, IMPORT_LINES

TOP = """
import enum
handled = state(u64)
table = state(array(u64, 4))
small = state(array(u16, 4))
SIZE = 4
TABLE: tuple[u64, ...] = (1, 2)
PLAIN = (1, 2)
class Kind(enum.IntEnum):
    PUT = 1
@struct
class Inner:
    x: u64
@struct
class Node:
    sequence: u32
    inner: Inner
node = state(Node)
nic = device("nic")
@service
def wake(pid: u64) -> u64: ...
def g(x: u64, y: u32) -> u64:
    return x
def nothing(x: u64) -> None:
    return
@entry
def f(a: u64, b: u32) -> u64:
"""
ENTRY = "@entry\ndef f() -> u64:\n    return 1\n"
CONSTANTS = {
    "GIVEN": 3,
    **{"EV.BYTES": 8, "EV.X": 0, "EV.X_LSB": 0, "EV.X_WIDTH": 12, "EV.Y": 0, "EV.Y_LSB": 4, "EV.Y_WIDTH": 12},
}


class Case(NamedTuple):
    """A source, the line that is at fault, counted from 1 in the file, and what is said."""

    text: str
    line: int
    message: str


def read_cases() -> Iterator[Case]:
    before = {"f": IMPORT + TOP, "top": IMPORT, "whole": IMPORT}
    kind, lines = "", []
    for line in (Path(__file__).parent / "python_refused.txt").read_text().splitlines():
        if line.startswith("== "):
            kind, lines = line[3:], []
        elif line.startswith("-- "):
            number, _, message = line[3:].partition(": ")
            indent = "    " if kind == "f" else ""
            text = before[kind] + "".join(f"{indent}{one}\n" for one in lines) + (ENTRY if kind == "top" else "")
            yield Case(text, before[kind].count("\n") + int(number), message)
        else:
            lines.append(line)


CASES = list(read_cases())


def refusal(text: str, **options: object) -> str:
    with pytest.raises(PythonError) as caught:
        compile_source(text, source="t.py", devices=NIC, constants=CONSTANTS, **options)  # type: ignore[arg-type]
    return str(caught.value)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.message)
def test_refused(case: Case) -> None:
    assert refusal(case.text) == f"t.py:{case.line}: {case.message}"


def test_no_source() -> None:
    assert len(CASES) > 200
    assert refusal("") == "t.py:1: the source has no entry point; mark a function with @entry"
    assert refusal("x\0 = 1") == "t.py:1: is not Python (source code string cannot contain null bytes); mend it"
    assert refusal(f"x = {'9' * 5000}\n").startswith("t.py:1: is not Python (Exceeds the limit")


@pytest.mark.parametrize(
    ("text", "cpu", "message"),
    [
        ("return u64(i32(a) // 3)", "v3", "// of i32: signed division needs cpu v4, not v3; use unsigned numbers"),
        (
            "return atomic_add(table, a)",
            "v2",
            "atomic_add(table, a): atomics need cpu v3 or v4, not v2; compile for one",
        ),
    ],
)
def test_what_a_cpu_does_not_have(text: str, cpu: str, message: str) -> None:
    assert refusal(f"{IMPORT}{TOP}    {text}\n", cpu=cpu).split(": ", 1)[1] == message


def test_the_cpu_itself() -> None:
    assert refusal(IMPORT + ENTRY, cpu="v5") == "t.py:1: cpu v5: is not one of v1, v2, v3, v4; use one of them"


def test_more_values_at_once_than_a_frame_holds() -> None:
    """LLVM puts them on the stack; the process would end if it were left to complain."""
    names = range(60)
    body = "".join(f"    v{n} = (a ^ {n * 77}) * (a + {n})\n" for n in names)
    body += "    for i in range(3):\n" + "".join(f"        v{n} += v{(n + 1) % 60} ^ i\n" for n in names)
    text = f"{IMPORT}@entry\ndef f(a: u64) -> u64:\n{body}    return {' ^ '.join(f'v{n}' for n in names)}\n"
    message = refusal(text)
    assert message.startswith(f"t.py:{IMPORT_LINES + 2}: f: needs ")
    assert message.endswith("bytes of stack; a function has 512; keep fewer values at once, or move them to state(..)")


def test_local_arrays_of_merged_functions_do_not_add_up() -> None:
    parts = "".join(
        f"def p{n}(a: u64) -> u64:\n    x = local(array(u64, 60))\n    x[a & 3] = a\n    return x[1]\n"
        for n in range(3)
    )
    text = f"{IMPORT}{parts}@entry\ndef f(a: u64) -> u64:\n    return p0(a) + p1(a) + p2(a)\n"
    assert compile_source(text, source="t.py")


def test_sizes_and_depths() -> None:
    assert refusal("#" * (1 << 20) + "\n") == "t.py:1: 1048577 characters; at most 1048576 are read; split the source"
    text = f"{IMPORT}@entry\ndef f(a: u64) -> u64:\n    return {'+'.join(['a'] * 3000)}\n"
    assert refusal(text) == "t.py:1: an expression is nested too deeply; split it into several"


def test_files(tmp_path: Path) -> None:
    (tmp_path / "latin.py").write_bytes(b"# \xe9\n")
    wrong = {
        "nowhere.py": "No such file or directory; give a file that can be read",
        "latin.py": "byte 2 is no UTF-8 text; save it as UTF-8",
    }
    for name, said in wrong.items():
        with pytest.raises(PythonError) as caught:
            compile_file(tmp_path / name)
        assert str(caught.value) == f"{tmp_path / name}: {said}"
    (tmp_path / "good.py").write_text(IMPORT + ENTRY)
    assert compile_file(tmp_path / "good.py")[:4] == b"\x7fELF"


@pytest.mark.parametrize(
    ("base", "symbols", "bits", "message"),
    [
        (-1, {"A.B": 0}, 64, "base: -1 is out of range 0..2**64-1; give the address"),
        (0, {}, 64, "symbols: begin with nothing; one block's name is needed; split them"),
        (0, {"A.B": 0, "C.D": 0}, 64, "symbols: begin with A, C; one block's name is needed; split them"),
        (0, {"A.B": 0}, 12, "bits: 12 is not one of 8, 16, 32, 64; give the registers' width"),
    ],
)
def test_devices(base: int, symbols: dict[str, int], bits: int, message: str) -> None:
    with pytest.raises(DeviceError) as caught:
        Device(base, symbols, bits)
    assert str(caught.value) == message
