"""Entries of the cache: made once by whoever comes first, in whatever process, and never half."""

import subprocess
import sys
from pathlib import Path

import pytest

from cosim import cache
from cosim.errors import UserError

ROOT = Path(__file__).parents[2]
# Says when it waits and when it makes; makes as soon as it is told to.
BUILDER = """
import sys
from pathlib import Path
from cosim.cache import make_once

def say(text):
    print(text, flush=True)

def make(path):
    say("makes")
    sys.stdin.readline()
    path.write_text(sys.argv[2])

make_once(Path(sys.argv[1]), make, say)
say("done")
"""


def builder(target: Path, text: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", BUILDER, str(target), text],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def says(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def quiet(_: str) -> None:
    pass


def test_who_comes_second_waits_and_takes_what_the_first_one_made(tmp_path: Path) -> None:
    target = tmp_path / "entry"
    with builder(target, "first") as first:
        assert says(first) == "makes"
        with builder(target, "second") as second:
            assert says(second) == "waiting for another run, which builds the same"
            first.communicate("\n")
            assert second.communicate("")[0] == "done\n"
    assert target.read_text() == "first"
    assert list(tmp_path.iterdir()) == [target]


def test_who_is_killed_leaves_its_work_to_who_waits(tmp_path: Path) -> None:
    target = tmp_path / "entry"
    with builder(target, "first") as first:
        assert says(first) == "makes"
        with builder(target, "second") as second:
            assert says(second) == "waiting for another run, which builds the same"
            first.kill()
            assert second.communicate("\n")[0] == "makes\ndone\n"
    assert target.read_text() == "second"


def test_different_entries_do_not_wait_for_each_other(tmp_path: Path) -> None:
    with builder(tmp_path / "one", "1") as one:
        assert says(one) == "makes"
        cache.make_once(tmp_path / "two", lambda path: path.mkdir(), quiet)
        one.communicate("\n")


def test_what_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        path.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.make_once(tmp_path / "entry", fail, quiet)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/models: cannot be written: .*; choose another --build-dir"):
        cache.make_once(tmp_path / "file" / "models" / "entry", Path.mkdir, quiet)


def test_objects_are_kept_one_by_one(tmp_path: Path) -> None:
    """A model that needs more of the library adds what is missing and leaves what is there."""
    kept = tmp_path / "kept"
    for number, names in enumerate([("verilated.o", "model.o"), ("verilated.o", "verilated_timing.o")]):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name in names:
            (folder / name).write_text(str(number))
        cache.keep_objects(folder, kept)
    assert {path.name: path.read_text() for path in kept.iterdir()} == {"verilated.o": "0", "verilated_timing.o": "1"}
    cache.lend_objects(kept, tmp_path)
    assert sorted(path.name for path in tmp_path.glob("*.o")) == ["verilated.o", "verilated_timing.o"]
