"""Which room may import which: dependencies point down."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("rtl", "nimble", "sw", "cosim")
MAY_IMPORT = {
    "rtl": {"rtl"},
    "nimble": {"nimble"},
    "sw": {"sw", "nimble", "rtl"},  # of rtl only modules that import no Amaranth
    "cosim": {"cosim", "sw", "nimble", "rtl"},
}
FILES = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


def imported(path: Path) -> Iterator[str]:
    """Full names of the modules that a file imports anywhere, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(ROOT).parent.parts
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *([node.module] if node.module else [])))
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def file_of(module: str) -> Path | None:
    """The file of one of our modules."""
    path = ROOT.joinpath(*module.split("."))
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((candidate for candidate in candidates if candidate.exists()), None)


def needs_amaranth(module: str, seen: set[str]) -> bool:
    """Whether importing a module of ours imports Amaranth, directly or through others of ours."""
    if module in seen:
        return False
    seen.add(module)
    parents = [module.rpartition(".")[0]] if "." in module else []
    path = file_of(module)
    names = [*parents, *(imported(path) if path else ())]
    return any(name.partition(".")[0] == "amaranth" for name in names) or any(
        needs_amaranth(name, seen) for name in names if name.partition(".")[0] in ROOMS
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_imports_only_what_it_may(path):
    room = path.relative_to(ROOT).parts[0]
    rooms = {name.partition(".")[0] for name in imported(path)} & set(ROOMS)
    assert rooms <= MAY_IMPORT[room]


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if path.relative_to(ROOT).parts[0] == "sw"],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_software_imports_only_the_contracts_of_the_hardware(path):
    assert [name for name in imported(path) if name.startswith("rtl") and needs_amaranth(name, set())] == []


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.name == "__init__.py"], ids=lambda path: str(path.relative_to(ROOT))
)
def test_every_room_says_what_it_is_for(path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), "say what the room is for"


GOLDEN = sorted((ROOT / "tests" / "golden").rglob("*.py"))
DECLARATIONS = ("rtl.nic.parameters", "rtl.packets", "rtl.portals", "rtl.records")


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.name)
def test_the_golden_model_knows_only_declarations_of_the_hardware(path):
    for name in imported(path):
        room = name.partition(".")[0]
        assert room not in ROOMS or any(name == module or name.startswith(f"{module}.") for module in DECLARATIONS)
        assert room != "amaranth"


@pytest.mark.parametrize("path", sorted((ROOT / "rtl").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_hardware_is_made_with_what_the_golden_model_computes(path):
    functions = {f"rtl.packets.{name}" for name in ("crc32", "is_response", "pack", "packet_flits", "unpack")}
    assert functions.isdisjoint(imported(path))


def test_the_walk_sees_all_ways_to_import(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "sw" / "inner").mkdir(parents=True)
    path = tmp_path / "sw" / "inner" / "a.py"
    path.write_text("import cosim.x\nfrom rtl import csr\ndef f():\n    from . import b\n    from ..c import d\n")
    assert list(imported(path)) == [
        "cosim.x", "rtl", "rtl.csr", "sw.inner", "sw.inner.b", "sw.c", "sw.c.d",
    ]  # fmt: skip


@pytest.mark.parametrize(("module", "answer"), [("rtl.csr", True), ("rtl.axi", True), ("rtl.packets", False)])
def test_amaranth_is_found_behind_modules_that_use_it(module, answer):
    assert needs_amaranth(module, set()) is answer
