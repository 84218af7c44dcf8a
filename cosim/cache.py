"""Entries of a cache on disk, files or folders: each is made once, however many want it, and is whole or not there."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cosim.errors import UserError


def make_once(target: Path, make: Callable[[Path], None], progress: Callable[[str], None]) -> None:
    """`make` gets a path to write to, which becomes `target` if it returns; it is not called if `target` is there, and
    waits for other processes that are making it. UserError if the folder of `target` cannot be written."""
    if target.exists():
        return
    with alone(target, progress), _scratch(target) as folder:
        if not target.exists():
            made = folder / "made"
            make(made)
            made.rename(target)


@contextmanager
def alone(target: Path, progress: Callable[[str], None]) -> Iterator[None]:
    """While this goes on, no other process is here with this `target`. A lock ends with the process that holds it."""
    path = target.with_name(f".{target.name}.lock")
    lock = _locked(path, progress)
    try:
        yield
    finally:
        path.unlink()
        os.close(lock)


def lend_objects(kept: Path, folder: Path) -> None:
    """Copies compiled objects of Verilator's library to `folder`: newer than their sources, make leaves them alone."""
    for path in sorted(kept.glob("*.o")):
        shutil.copy(path, folder)


def keep_objects(folder: Path, kept: Path) -> None:
    """Adds those objects of Verilator's library in `folder` that `kept` does not have: models need different ones."""
    for path in sorted(folder.glob("verilated*.o")):
        target = kept / path.name
        if not target.exists():
            with _scratch(target) as scratch:
                Path(shutil.copy(path, scratch)).rename(target)


@contextmanager
def _scratch(target: Path) -> Iterator[Path]:
    """A folder beside `target`, for a while."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as failure:
        raise _unwritable(target, failure) from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _locked(path: Path, progress: Callable[[str], None]) -> int:
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(path, os.O_CREAT | os.O_RDWR)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                progress("waiting for another run, which builds the same")
                fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as failure:
            raise _unwritable(path, failure) from None
        # Whoever held it has removed the file, and somebody else may have made and locked a new one since.
        if _is_at(path, lock):
            return lock
        os.close(lock)


def _is_at(path: Path, file: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file))
    except FileNotFoundError:
        return False


def _unwritable(target: Path, failure: OSError) -> UserError:
    return UserError(f"{target.parent}: cannot be written: {failure.strerror}; choose another --build-dir")
