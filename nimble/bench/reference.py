"""The C programs, compiled by the system's compiler and called in this process."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from nimble.bench.cases import PROGRAMS, Case, Placed

COMPILER = "cc"
_FLAGS = ("-O2", "-shared", "-fPIC")

Run = Callable[[int], int]  # repetitions -> what the program gives


class NoCompilerError(Exception):
    """There is no C compiler that works; the text says what is missing and what is left out."""


class CReference:
    """Compiles into a folder of its own, which is gone at the end of the ``with``."""

    def __init__(self, compiler: str = COMPILER) -> None:
        """Raises NoCompilerError."""
        found = shutil.which(compiler)
        if found is None:
            text = "the columns that compare with C are left out; install one (Debian: apt install gcc)"
            raise NoCompilerError(f"{compiler}: no such C compiler; {text}")
        self._compiler = found
        self._folder = tempfile.TemporaryDirectory(prefix="nimble-bench-")

    def __enter__(self) -> CReference:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._folder.cleanup()

    def run(self, case: Case, placed: Placed) -> Run:
        """The case in C, on that memory."""
        function = self._load(case.c_source).run
        function.restype = ctypes.c_uint64
        memories = [(ctypes.c_char * len(memory)).from_buffer(memory) for memory in placed.memories]
        rest = (*memories, *map(ctypes.c_uint64, placed.arguments))
        return lambda repetitions: int(function(ctypes.c_uint64(repetitions), *rest))

    def yardstick(self) -> Run:
        """So many additions, each of which waits for the one before it; a multiple of 16."""
        function = self._load(PROGRAMS / "yardstick.c").run
        function.restype = ctypes.c_uint64
        function.argtypes = [ctypes.c_uint64]
        return lambda additions: int(function(additions))

    def _load(self, source: Path) -> ctypes.CDLL:
        library = Path(self._folder.name) / f"{source.stem}.so"
        if not library.exists():
            command = [self._compiler, *_FLAGS, "-o", str(library), str(source)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                lines = done.stderr.strip().splitlines() or ["no message"]
                text = f"{source.name}: {lines[0]}; the columns that compare with C are left out; mend the compiler"
                raise NoCompilerError(f"{self._compiler}: {text}")
        return ctypes.CDLL(str(library))
