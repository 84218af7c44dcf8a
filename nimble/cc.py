"""C to objects, by a clang on PATH or by the one in ``ziglang``."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path

from nimble.header import NAME

CPUS = ("v1", "v2", "v3", "v4")
TIMEOUT_S = 120
_CLANG = re.compile(r"clang(?:-(\d+))?\Z")
_OLDEST = 12
# Jump tables need an instruction that RFC 9669 does not have.
_FLAGS = (
    *("-O2", "-g", "-ffreestanding", "-fno-jump-tables", "-fno-stack-protector", "-Wall"),
    *("-fno-unwind-tables", "-fno-asynchronous-unwind-tables", "-fdebug-compilation-dir=."),
)
_ERROR = re.compile(r".*?: (?:fatal )?error: .*")


class CompileError(ValueError):
    """C that the compiler refuses, with its first complaint; or no compiler."""


def compile_c(
    path: Path,
    *,
    include: str = "",
    cpu: str = "v4",
    defines: Mapping[str, int] = {},
    warn: Callable[[str], None] | None = None,
) -> bytes:
    """The object of one C file, with line numbers. The same text gives the same bytes.

    ``include`` is what ``#include "nimble.h"`` finds. ``warn`` is told each line of the compiler's warnings. Raises
    CompileError.
    """
    if cpu not in CPUS:
        raise CompileError(f"cpu: {cpu} is not one of {', '.join(CPUS)}; choose one of them")
    if not path.is_file():
        raise CompileError(f"{path}: is no file that can be read; give a C source")
    with tempfile.TemporaryDirectory(prefix="nimble-cc-") as place:
        (Path(place) / NAME).write_text(include, encoding="utf-8")
        made = Path(place) / "made.o"
        macros = [f"-D{name}={value}" for name, value in defines.items()]
        flags = [*_FLAGS, *macros, f"-I{place}", f"-fdebug-prefix-map={place}=."]
        ran = _run([*compiler(cpu), f"-mcpu={cpu}", *flags, "-c", str(path), "-o", str(made)], place)
        messages = ran.stderr.decode("utf-8", "replace").replace(f"{place}/", "").splitlines()
        if ran.returncode or not made.is_file():
            raise CompileError(_first_error(path, messages))
        if warn is not None:
            for message in messages:
                warn(message)
        return made.read_bytes()


@cache
def compiler(cpu: str) -> tuple[str, ...]:
    """The command of the newest compiler that makes eBPF for this ``-mcpu``. Raises CompileError."""
    tried = []
    for command in _candidates():
        if _works(command, cpu):
            return command
        tried.append(Path(command[0]).name if len(command) == 2 else "ziglang")
    found = f"{', '.join(tried)} cannot make eBPF for -mcpu={cpu}" if tried else "there is none"
    raise CompileError(f"C compiler: {found}; pip install 'nimble-cosim[c]', or put a newer clang on PATH")


def _candidates() -> Iterator[tuple[str, ...]]:
    """By version, the newest first; a plain ``clang`` before the others of unknown age, and ziglang last."""
    found: dict[str, tuple[int, str]] = {}
    for folder in os.get_exec_path():
        try:
            names = os.listdir(folder or ".")
        except OSError:
            continue
        for name in names:
            match = _CLANG.match(name)
            if match and name not in found:
                found[name] = int(match.group(1) or _version(os.path.join(folder, name))), os.path.join(folder, name)
    for version, path in sorted(found.values(), reverse=True):
        if version >= _OLDEST:
            yield path, "--target=bpfel"
    if importlib.util.find_spec("ziglang") is not None:
        yield sys.executable, "-m", "ziglang", "cc", "-target", "bpfel-freestanding", "-fno-sanitize=undefined"


def _version(path: str) -> int:
    ran = _run([path, "-dumpversion"], None)
    text = ran.stdout.decode("utf-8", "replace").split(".")[0]
    return int(text) if text.isdigit() else 0


def _works(command: tuple[str, ...], cpu: str) -> bool:
    with tempfile.TemporaryDirectory(prefix="nimble-cc-") as place:
        source, made = Path(place) / "empty.c", Path(place) / "empty.o"
        source.write_text("int f(void) { return 1; }\n", encoding="utf-8")
        ran = _run([*command, f"-mcpu={cpu}", "-O2", "-c", str(source), "-o", str(made)], place)
        return ran.returncode == 0 and made.is_file()


def _run(command: list[str], place: str | None) -> subprocess.CompletedProcess[bytes]:
    environment = dict(os.environ)
    if place is not None:
        environment["ZIG_LOCAL_CACHE_DIR"] = place
    try:
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        raise CompileError(
            f"{command[0]}: took longer than {TIMEOUT_S} s and was stopped; simplify the source"
        ) from None
    except OSError as error:
        return subprocess.CompletedProcess(command, 127, b"", str(error).encode())


def _first_error(path: Path, messages: list[str]) -> str:
    errors = [message for message in messages if _ERROR.match(message)]
    if not errors:
        return f"{path}: the compiler failed: {messages[-1] if messages else 'it says nothing'}; see its manual"
    return errors[0] + (f" (and {len(errors) - 1} more)" if len(errors) > 1 else "")
