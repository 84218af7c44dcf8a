"""From a scenario to a simulator's model, built once and cached by content.

The cache has three parts, so that an edited comment costs an elaboration but no compilation:

    verilog/KEY.v      by the sources of `rtl`, the parameters and Amaranth's version
    models/KEY/        by the Verilog, the harness, the flags and the versions of the tools
    runtime/KEY/       Verilator's run-time library compiled with these flags: most of a small model's build time

Every entry is made under a name of its own and renamed when it is whole: an interrupted build leaves nothing behind
that counts. Of several that want the same entry at the same time one makes it and the others wait (cosim/cache.py).
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cocotb_tools.config

from cosim import cache as entries
from cosim import toolchain
from cosim.errors import UserError
from cosim.scenario import Scenario
from cosim.store import Layout
from rtl.fabric.parameters import FabricParameters
from rtl.nic.parameters import NicParameters

HDL = Path(__file__).parent / "hdl"
RTL = Path(__file__).parent.parent / "rtl"
BOARD = ("board.sv", "station.sv", "clock_gate.sv", "host_memory.sv", "axi_rules.sv", "packet_monitor.sv")
HARNESS = ("top.sv", "core_port.sv", *BOARD)
TOP = "top"
_MOST_FLAT_NODES = 2

Progress = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Model:
    """A built model: `command` runs it, with `environment` beside the caller's.

    Built for waves it takes the arguments +waves=FILE, +waves_from=PS and +waves_to=PS; FILE ends in `waves_suffix`.
    """

    command: list[str]
    environment: dict[str, str]
    waves_suffix: str


def build(scenario: Scenario, *, progress: Progress, waves: bool = False, cache: Path = Path("build")) -> Model:
    """The model of the scenario's machine, from the cache if it is there. UserError if a tool is missing or fails."""
    verilog = elaborate(rtl_parameters(scenario), cache=cache, progress=progress)
    return build_model(
        verilog, harness_parameters(scenario), simulator=scenario.simulator, waves=waves, cache=cache,
        progress=progress, hierarchical=is_hierarchical(scenario) and not waves,  # which do not look into such modules
    )  # fmt: skip


def build_model(
    verilog: Path, harness: Mapping[str, int], *, simulator: str, waves: bool, cache: Path, progress: Progress,
    hierarchical: bool = False,
) -> Model:  # fmt: skip
    """A model of the Verilog modules `tile` and `fabric` in hdl/top.sv with the parameters `harness`."""
    if simulator == "icarus":
        return _icarus(verilog, harness, waves, cache, progress)
    return _verilator(verilog, harness, waves, cache, progress, hierarchical)


def is_hierarchical(scenario: Scenario) -> bool:
    """Whether Verilator compiles one station for all nodes, which gives it less to optimise across."""
    return scenario.machine.nodes > _MOST_FLAT_NODES


def rtl_parameters(scenario: Scenario) -> dict[str, Any]:
    """What the RTL depends on, as values that JSON has, too; see `rtl.machine.MachineParameters`."""
    machine = scenario.machine
    return {"cores": machine.node.cores, "nic": machine.nic_parameters, "fabric": machine.fabric_parameters}


def store_layout(scenario: Scenario) -> Layout:
    """The store of the scenario's machine."""
    node = scenario.machine.node
    return Layout(nodes=scenario.machine.nodes, cores=node.cores, memory_bytes=node.memory_mib << 20)


def harness_parameters(scenario: Scenario) -> dict[str, int]:
    """Parameters of hdl/top.sv."""
    return {
        **store_layout(scenario).parameters(),
        "PERIOD_PS": scenario.machine.clock_period_ps,
        "READ_LATENCY": scenario.machine.memory.read_latency_cycles,
        "WRITE_LATENCY": scenario.machine.memory.write_latency_cycles,
    }


def elaborate(parameters: Mapping[str, Any], *, cache: Path, progress: Progress) -> Path:
    """The Verilog file of the machine with these parameters."""
    sources = sorted(path for path in RTL.rglob("*") if path.suffix in (".py", ".rdl"))
    text = json.dumps(parameters, sort_keys=True)
    key = _key(text, version("amaranth"), version("systemrdl-compiler"), *(path.read_bytes() for path in sources))
    target = cache / "verilog" / f"{key}.v"

    def convert(path: Path) -> None:
        progress("elaborating the machine's RTL")
        # Here and not at the top: Amaranth takes longer to import than a cached model takes to be found.
        from rtl.machine import MachineParameters, verilog
        from rtl.node import NodeParameters

        node = NodeParameters(cores=parameters["cores"], nic=NicParameters(**parameters["nic"]))
        path.write_text(verilog(MachineParameters(node=node, fabric=FabricParameters(**parameters["fabric"]))))

    entries.make_once(target, convert, progress)
    return target


def _key(*parts: str | bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()[:20]


def _run(
    command: Sequence[str | Path], *, log: Path, cwd: Path, environment: Mapping[str, str], step: Progress
) -> None:  # fmt: skip
    """Run a build step; every line of its output goes to `log` and to `step`. UserError with the log's end if it
    fails."""
    with (
        log.open("a") as file,
        subprocess.Popen(
            command, cwd=cwd, env=os.environ | environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace",
        ) as process,
    ):  # fmt: skip
        assert process.stdout is not None
        try:
            for line in process.stdout:
                file.write(line)
                step(line)
            status = process.wait()
        except BaseException:
            process.kill()
            raise
    if status:
        kept = Path(tempfile.mkstemp(prefix="nimble-build-", suffix=".log")[1])
        shutil.copy(log, kept)
        wrong = [line for line in log.read_text().splitlines() if "error" in line.lower()] or ["no message"]
        raise UserError(f"{Path(command[0]).name}: failed with status {status}: {wrong[0].strip()}; see {kept}")


def _quiet(_: str) -> None:
    pass


# ---- Verilator ----

_VERILATOR_FLAGS = (
    "--cc", "--exe", "-O3", "--x-assign", "0", "--x-initial", "0", "--prefix", "Vtop", "-o", "model",
    # Amaranth's Verilog is generated: style warnings about it help nobody.
    "-Wno-lint", "-Wno-fatal", "-Wno-UNOPTFLAT",
    # A compiler takes more than twice as long for a function that is ten times as long, and may use all processors.
    "--output-split", "10000", "--output-split-cfuncs", "2000",
)  # fmt: skip
_TIMING = ("--timing", "--no-sched-zero-delay")
_COMPILER_FLAGS = "-std=c++20 -fcoroutines"
_OPTIMISATION = ("OPT_GLOBAL=-O2", "OPT_SLOW=-O0")  # of Verilator's library and of what runs once


def _verilator(
    verilog: Path, parameters: Mapping[str, int], waves: bool, cache: Path, progress: Progress, hierarchical: bool
) -> Model:
    trace = (("--trace-fst",) if toolchain.has_lz4() else ("--trace-vcd",)) if waves else ()
    sources = [HDL / name for name in ("main.cpp", "store.cpp", "public.vlt", *HARNESS)]
    program = verilate(
        TOP,
        [verilog, *sources],
        flags=(*_TIMING, *trace),
        cocotb=True,
        parameters=parameters,
        cache=cache,
        progress=progress,
        hierarchical=hierarchical,
    )
    suffix = "" if not waves else ".fst" if "--trace-fst" in trace else ".vcd"
    return Model(command=[str(program)], environment=cocotb_environment(TOP, verilator=True), waves_suffix=suffix)


def verilate(
    top: str, sources: Sequence[Path], *, flags: Sequence[str] = (), cocotb: bool, parameters: Mapping[str, int],
    cache: Path, progress: Progress, hierarchical: bool = False, short: bool = False,
) -> Path:  # fmt: skip
    """The program that Verilator makes of Verilog, C++ and control files; with `cocotb` it has VPI and loads cocotb,
    if `hierarchical` all nodes share one compiled station. A `short` run ends before a faster one is even compiled."""
    tool = toolchain.find_verilator()
    compiler = toolchain.output_of(toolchain.require("g++"), "--version")
    flags = (*_VERILATOR_FLAGS, *flags)
    if hierarchical:
        flags += ("--hierarchical",)
        sources = (*sources, HDL / "hierarchy.vlt")
    if cocotb:
        libraries = cocotb_tools.config.libs_dir
        flags += ("--vpi", "-LDFLAGS", f"-Wl,-rpath,{libraries} -L{libraries} -lcocotbvpi_verilator")
    traces = (flag for flag in flags if flag.startswith("--trace"))  # nothing else makes a difference to the library
    runtime = cache / "runtime" / _key(*traces, tool.version, compiler, _COMPILER_FLAGS, *_OPTIMISATION)
    flags += (
        "--top-module",
        top,
        "-CFLAGS",
        _COMPILER_FLAGS,
        *(f"-G{name}={value}" for name, value in parameters.items()),
    )
    contents = (path.read_bytes() for path in (*sources, HDL / "store.svh"))
    # A large model is limited by its code's size, so that -O2 is no faster than -O1, but takes longer to compile.
    optimisation = ("OPT_FAST=-O0" if short else "OPT_FAST=-O1", *_OPTIMISATION)
    target = cache / "models" / _key(*flags, *optimisation, tool.version, compiler, version("cocotb"), *contents)

    def compile_model(directory: Path) -> None:
        toolchain.require("make")
        toolchain.require("perl")
        directory.mkdir()
        files = [path.resolve() for path in sources]
        command: list[str | Path] = [tool.program, *flags, "-Mdir", ".", f"-I{HDL}", *files]
        progress(f"verilating the {top} module")
        log = directory / "build.log"
        _run(command, log=log, cwd=directory, environment=tool.environment, step=_quiet)
        variables = (*tool.make_variables, *optimisation)
        _compile(directory, log, tool.environment, runtime, progress, hierarchical, variables)

    entries.make_once(target, compile_model, progress)
    return (target / "model").resolve()


def _dry_run(make: Sequence[str], directory: Path, environment: Mapping[str, str]) -> str:
    """What make would do; nothing if it cannot say."""
    command = [*make, "--dry-run"]
    found = subprocess.run(command, cwd=directory, env=os.environ | environment, capture_output=True, text=True)
    return found.stdout


def _compile(
    directory: Path, log: Path, environment: Mapping[str, str], runtime: Path, progress: Progress,
    hierarchical: bool, variables: Sequence[str],
) -> None:  # fmt: skip
    """Compile the generated C++ in `directory`; the run-time library's objects come from or go to `runtime`. Of a
    hierarchical model more is generated on the way, so that nobody knows how much is left."""
    make = ["make", "-f", "Vtop_hier.mk" if hierarchical else "Vtop.mk", *variables]
    entries.lend_objects(runtime, directory)
    progress("compiling the model")
    compiles = " -c "
    total = 0 if hierarchical else _dry_run(make, directory, environment).count(compiles)
    compiled = 0

    def step(line: str) -> None:
        nonlocal compiled
        if compiles in line:
            compiled += 1
            progress(f"compiling the model ({compiled} of {total})" if total else f"compiling the model ({compiled})")

    _run([*make, f"-j{os.cpu_count() or 1}"], log=log, cwd=directory, environment=environment, step=step)
    entries.keep_objects(directory, runtime)
    for path in directory.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in ("model", "build.log"):
            path.unlink()


# ---- Icarus Verilog ----


def _icarus(verilog: Path, parameters: Mapping[str, int], waves: bool, cache: Path, progress: Progress) -> Model:
    program = toolchain.require("iverilog")
    sources = [HDL / name for name in HARNESS]
    flags = ("-g2012", "-s", TOP, *(f"-P{TOP}.{name}={value}" for name, value in parameters.items()))
    flags += ("-DNIMBLE_WAVES",) if waves else ()
    contents = (path.read_bytes() for path in (*sources, HDL / "store.cpp", HDL / "store.svh", verilog))
    simulator = toolchain.output_of(program, "-V").splitlines()[0]
    target = cache / "models" / _key(*flags, simulator, *contents)

    def compile_model(directory: Path) -> None:
        directory.mkdir()
        log = directory / "build.log"
        progress("compiling the machine for Icarus Verilog")
        _compile_vpi(directory, log)
        # Loaded at compile time too, since only the module tells how wide its functions are; but the model must not
        # look for it in the folder that it is run from.
        here = ("-L.", "-mstore", f"-I{HDL}", "-o", "model.vvp")
        command: list[str | Path] = [program, *flags, *here, verilog.resolve(), *sources]
        _run(command, log=log, cwd=directory, environment={}, step=_quiet)
        compiled = directory / "model.vvp"
        compiled.write_text(compiled.read_text().replace(':vpi_module "./store.vpi";\n', ""))

    entries.make_once(target, compile_model, progress)
    run = [
        str(toolchain.require("vvp")), "-m", cocotb_tools.config.lib_entry("vpi", "icarus"),
        "-m", str((target / "store.vpi").resolve()), str((target / "model.vvp").resolve()),
        "-fst" if waves else "-none",
    ]  # fmt: skip
    environment = cocotb_environment(TOP, verilator=False)
    return Model(command=run, environment=environment, waves_suffix=".fst" if waves else "")


def _compile_vpi(directory: Path, log: Path) -> None:
    """hdl/store.cpp as a VPI module."""
    flags = toolchain.output_of(toolchain.require("iverilog-vpi"), "--cflags").split()
    includes = [flag for flag in flags if flag.startswith("-I")]
    command: list[str | Path] = [
        toolchain.require("g++"), "-O2", "-fPIC", "-shared", "-DNIMBLE_VPI", *includes, HDL / "store.cpp",
        "-o", "store.vpi",
    ]  # fmt: skip
    _run(command, log=log, cwd=directory, environment={}, step=_quiet)


def cocotb_environment(top: str, *, verilator: bool) -> dict[str, str]:
    """What cocotb's library reads when the simulator loads it (cocotb documentation, "Environment Variables")."""
    return {
        "PYGPI_PYTHON_BIN": sys.executable,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "GPI_USERS": f"{toolchain.libpython()};{cocotb_tools.config.pygpi_entry_point()}",
        "COCOTB_TOPLEVEL": top,
        "TOPLEVEL_LANG": "verilog",
        "COCOTB_TEST_MODULES": "cosim.testbench",
        "COCOTB_RANDOM_SEED": "1",  # otherwise the clock's
        "COCOTB_REWRITE_ASSERTION_FILES": "",  # otherwise pytest takes part in every import: a second at each start
    } | ({"COCOTB_TRUST_INERTIAL_WRITES": "1"} if verilator else {})
