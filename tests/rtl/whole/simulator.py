"""NICs in RTL, verilated, with memories, register buses and an ideal fabric in C++ (nodes.cpp), driven from Python.

Python wakes for commands and packets, never for cycles. What is judged on every run: the rules of AXI4 and of streams,
and that nothing is answered that was not asked.
"""

import ctypes
import enum
import hashlib
import os
import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

from amaranth.back import verilog

from cosim.cache import alone
from cosim.toolchain import find_verilator
from rtl.machine import without_collection
from rtl.nic.nic import Nic
from rtl.nic.parameters import NicParameters

HARNESS = Path(__file__).with_name("nodes.cpp")
RTL = Path(__file__).parents[3] / "rtl"
CACHE = Path(__file__).parents[3] / "build" / "nic"
OKAY, SLVERR = 0, 2
_SIGNATURES = {
    "machine_new": (ctypes.c_void_p, [ctypes.c_uint32, ctypes.c_void_p]),
    "machine_free": (None, [ctypes.c_void_p]),
    "machine_set": (None, [ctypes.c_void_p, ctypes.c_void_p]),
    "machine_manual": (None, [ctypes.c_void_p, ctypes.c_int]),
    "node_silence": (None, [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int]),
    "machine_trace": (None, [ctypes.c_void_p, ctypes.c_int]),
    "machine_touches": (ctypes.c_uint32, [ctypes.c_void_p, ctypes.c_void_p]),
    "machine_run": (ctypes.c_uint64, [ctypes.c_void_p, ctypes.c_uint64, ctypes.c_int]),
    "machine_cycle": (ctypes.c_uint64, [ctypes.c_void_p]),
    "machine_held": (None, [ctypes.c_void_p, ctypes.c_void_p]),
    "machine_complaint": (ctypes.c_char_p, [ctypes.c_void_p]),
    "node_memory": (ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_uint32]),
    "node_bad": (ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_uint32]),
    "node_reset": (None, [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_int]),
    "node_interrupts": (ctypes.c_uint64, [ctypes.c_void_p, ctypes.c_uint32]),
    "node_quiescent": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_uint32]),
    "node_access": (
        None,
        [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_int, ctypes.c_int, ctypes.c_uint64, ctypes.c_int],
    ),
    "node_result": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_void_p]),
    "node_inject": (None, [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32]),
    "machine_packets": (ctypes.c_uint32, [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]),
    "machine_forget": (None, [ctypes.c_void_p]),
}


class Settings(ctypes.Structure):
    """See nodes.cpp. Latencies and transit in cycles; stalls are chances in 256 of each channel in each cycle, loss
    is that of each packet. Memory that is `mirrored` is seen a second time, ending where all addresses end."""

    _fields_ = [
        ("seed", ctypes.c_uint64),
        ("memory_bytes", ctypes.c_uint32),
        ("read_latency", ctypes.c_uint32),
        ("write_latency", ctypes.c_uint32),
        ("memory_stall", ctypes.c_uint32),
        ("fabric_stall", ctypes.c_uint32),
        ("bus_stall", ctypes.c_uint32),
        ("transit", ctypes.c_uint32),
        ("loss", ctypes.c_uint32),
        ("mirrored", ctypes.c_uint32),
    ]

    def __init__(
        self, *, seed: int = 1, memory_bytes: int = 1 << 20, read_latency: int = 20, write_latency: int = 10,
        memory_stall: int = 0, fabric_stall: int = 0, bus_stall: int = 0, transit: int = 1, loss: int = 0,
        mirrored: bool = False,
    ) -> None:  # fmt: skip
        stalls = (memory_stall, fabric_stall, bus_stall)
        super().__init__(seed, memory_bytes, read_latency, write_latency, *stalls, transit, loss, mirrored)


class _Log(ctypes.Structure):
    _fields_ = [
        ("node", ctypes.c_uint32),
        ("response", ctypes.c_uint32),
        ("received", ctypes.c_uint32),
        ("flits", ctypes.c_uint32),
        ("first_cycle", ctypes.c_uint64),
        ("last_cycle", ctypes.c_uint64),
    ]


class _Touch(ctypes.Structure):
    _fields_ = [
        ("cycle", ctypes.c_uint64),
        ("node", ctypes.c_uint32),
        ("touched", ctypes.c_uint32),
        ("value", ctypes.c_uint64),
    ]


class Touched(enum.IntEnum):
    """A handshake at a node's register bus or memory; see nodes.cpp."""

    BUS_WRITE = 0
    BUS_ANSWER = 1
    READ_ADDRESS = 2
    READ_DATA = 3
    WRITE_ADDRESS = 4
    WRITE_DATA = 5
    WRITE_ANSWER = 6


class Channel(enum.IntEnum):
    """Where whoever listens may make the other side wait; see nodes.cpp."""

    MEMORY_AW = 0
    MEMORY_W = 1
    MEMORY_B = 2
    MEMORY_AR = 3
    MEMORY_R = 4
    BUS_AW = 5
    BUS_W = 6
    BUS_B = 7
    BUS_AR = 8
    BUS_R = 9
    O_REQUESTS = 10
    O_RESPONSES = 11
    I_REQUESTS = 12
    I_RESPONSES = 13


@dataclass(frozen=True, kw_only=True)
class Touch:
    """`value` is an address, whether a beat is its burst's last one, or a response."""

    cycle: int
    node: int
    touched: Touched
    value: int


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A packet that left `node` or, if `received`, was taken by it; cycles of its first and last flit."""

    node: int
    response: bool
    received: bool
    flits: tuple[int, ...]
    first_cycle: int
    last_cycle: int


@cache
def library(parameters: NicParameters) -> ctypes.CDLL:
    """The compiled NIC with these parameters; made once and kept by the contents of all that it is made of.

    Even its Verilog takes seconds to make, so what became of the same sources is noted."""
    CACHE.mkdir(parents=True, exist_ok=True)
    note = CACHE / f"{_digest(repr(parameters).encode(), *_rtl_sources())}.made"
    with alone(note, lambda text: None):
        target = CACHE / note.read_text() if note.exists() else None
        if target is None or not target.exists():
            target = _made(parameters)
            note.write_text(str(target.relative_to(CACHE)))
    made = ctypes.CDLL(str(target))
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(made, name)
        function.restype, function.argtypes = result, arguments
    return made


def _rtl_sources() -> Iterator[bytes]:
    for distribution in ("amaranth", "systemrdl-compiler"):
        yield version(distribution).encode()
    for pattern in ("*.py", "*.rdl"):
        for path in sorted(RTL.rglob(pattern)):
            yield path.read_bytes()


def _digest(*parts: bytes) -> str:
    """Of these, of the harness and of the compiler."""
    return hashlib.sha256(b"\0".join([*parts, HARNESS.read_bytes(), find_verilator().version.encode()])).hexdigest()[
        :24
    ]


def _made(parameters: NicParameters) -> Path:
    with without_collection():
        source = verilog.convert(Nic(parameters), name="nic", emit_src=False, strip_internal_attrs=True)
    target = CACHE / _digest(source.encode()) / "nodes.so"
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=CACHE) as name:
            folder = Path(name)
            (folder / "nic.v").write_text(source)
            _compile(folder, parameters.datapath_bits)
            target.parent.mkdir(exist_ok=True)
            os.replace(folder / "nodes.so", target)
    return target


def _compile(folder: Path, datapath_bits: int) -> None:
    tool = find_verilator()
    environment = {**os.environ, **tool.environment}
    optimisation = ["OPT_FAST=-O1", "OPT_SLOW=-O0", "OPT_GLOBAL=-O0"]  # little time is spent in Verilator's library
    # Verilator spells two underscores in a way of its own.
    harness = re.sub(r"\b(bus|memory|[io]_requests|[io]_responses)__(?=[a-z])", r"\1___05F", HARNESS.read_text())
    (folder / HARNESS.name).write_text(harness)
    flags = ["-fPIC", "-std=c++20", f"-DDATAPATH_BITS={datapath_bits}"]
    include = tool.environment["VERILATOR_ROOT"] + "/include"
    steps: list[list[str | Path]] = [
        [tool.program, "--cc", "--top-module", "nic", "-Wno-lint", "-O3", "--x-assign", "fast",
         "-CFLAGS", " ".join(flags), "-Mdir", ".", "nic.v"],
        ["make", f"-j{os.cpu_count() or 1}", "-f", "Vnic.mk", *tool.make_variables, *optimisation, "libVnic.a",
         "libverilated.a"],
        ["g++", "-O2", "-shared", *flags, "-I.", f"-I{include}", f"-I{include}/vltstd", "-o", "nodes.so", "nodes.cpp",
         "libVnic.a", "libverilated.a", "-pthread"],
    ]  # fmt: skip
    for step in steps:
        done = subprocess.run(step, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{step[0]}: {done.stdout[-3000:]}{done.stderr[-3000:]}"


class Simulator:
    """`nodes` NICs, numbered from 0, with NIDs of the same numbers once `boot` has named them."""

    def __init__(self, parameters: NicParameters, settings: Settings, *, nodes: int | None = None) -> None:
        self.parameters = parameters
        self.nodes = nodes or parameters.nodes
        self.map = parameters.registers
        self.settings = settings
        self._library = library(parameters)
        self._unwanted = [0] * self.nodes  # answers of the register bus that nobody waits for
        self._machine = self._library.machine_new(self.nodes, ctypes.byref(settings))
        size = settings.memory_bytes
        self.memory = [self._view(self._library.node_memory(self._machine, node), size) for node in range(self.nodes)]
        words = size // parameters.datapath_bytes
        self.bad = [self._view(self._library.node_bad(self._machine, node), words) for node in range(self.nodes)]

    @staticmethod
    def _view(address: int, length_bytes: int) -> memoryview:
        return memoryview((ctypes.c_uint8 * length_bytes).from_address(address)).cast("B")

    def close(self) -> None:
        """Free the machine; `memory` must not be used any more."""
        self._library.machine_free(self._machine)

    def change(self, settings: Settings) -> None:
        """New latencies and stalls from now on; the size of the memories stays."""
        self._library.machine_set(self._machine, ctypes.byref(settings))

    def manual(self, on: bool = True) -> None:
        """Packets that leave go nowhere; the test injects what arrives."""
        self._library.machine_manual(self._machine, on)

    def silence(self, node: int, on: bool = True) -> None:
        """What leaves the node is lost, as if it had stopped; it still takes what arrives."""
        self._library.node_silence(self._machine, node, on)

    @property
    def cycle(self) -> int:
        return int(self._library.machine_cycle(self._machine))

    def run(self, cycles: int) -> None:
        """So many cycles. AssertionError if a rule was broken."""
        self._library.machine_run(self._machine, cycles, 0)
        self._judge()

    def settle(self, *, limit: int = 1_000_000) -> int:
        """Until nothing is on its way; the cycles that it took. AssertionError if `limit` cycles are not enough."""
        done = self._library.machine_run(self._machine, limit, 1)
        self._judge()
        assert done < limit, f"still busy after {limit} cycles: quiescent is {self.quiescent()}"
        return int(done)

    def _judge(self) -> None:
        complaint = self._library.machine_complaint(self._machine).decode()
        assert not complaint, complaint

    def quiescent(self) -> list[bool]:
        return [bool(self._library.node_quiescent(self._machine, node)) for node in range(self.nodes)]

    def reset(self, node: int, *, cycles: int = 4, powered: bool = True) -> None:
        """Resets a node in the middle of whatever it does, while the others go on.

        Memory and CPUs are reset with the NIC: what one has asked the other for is never answered. What memory has
        taken stays, and so do the memories inside the NIC, if it is `powered`. A packet of which a part has left ends
        there; what is left of one that has arrived in part arrives after the reset."""
        self._library.node_reset(self._machine, node, cycles, powered)
        self._unwanted[node] = 0
        self.run(cycles)

    def interrupts(self, node: int) -> int:
        """A bit for each line."""
        return int(self._library.node_interrupts(self._machine, node))

    def trace(self, on: bool = True) -> None:
        """Keep all handshakes at buses and memories from now on, or no more."""
        self._library.machine_trace(self._machine, on)

    def touches(self) -> list[Touch]:
        """The handshakes since tracing was begun, in their order."""
        kept = ctypes.POINTER(_Touch)()
        count = self._library.machine_touches(self._machine, ctypes.byref(kept))
        return [
            Touch(cycle=kept[i].cycle, node=kept[i].node, touched=Touched(kept[i].touched), value=kept[i].value)
            for i in range(count)
        ]

    def held(self) -> Counter[Channel]:
        """In how many cycles each channel was made to wait, all nodes together."""
        counts = (ctypes.c_uint64 * len(Channel))()
        self._library.machine_held(self._machine, counts)
        return Counter({channel: counts[channel] for channel in Channel})

    # ---- registers ----

    def write(
        self, node: int, path: str | int, value: int, *, privileged: bool = True, strobe: int = 0xFF, wait: bool = True
    ) -> int:
        """Response of a register write; 0 at once if not to `wait`ed for."""
        if wait:
            return self._access(node, path, True, value, privileged, strobe)[0]
        self._post(node, path, True, value)
        return OKAY

    def read(self, node: int, path: str | int, *, privileged: bool = True) -> tuple[int, int]:
        """(response, value) of a register read."""
        return self._access(node, path, False, 0, privileged, 0)

    def poll(self, node: int, path: str | int) -> None:
        """An unprivileged read whose value nobody waits for."""
        self._post(node, path, False, 0)

    def value(self, node: int, path: str) -> int:
        response, value = self.read(node, path)
        assert response == OKAY, f"{path} answered {response}"
        return value

    def configure(self, node: int, path: str, **fields: int) -> None:
        """Write a register by its fields, with privilege."""
        register = self.map.register(path)
        value = sum(number << register.field(name).lsb for name, number in fields.items())
        response = self.write(node, path, value)
        assert response == OKAY, f"{path}: {value:#x} answered {response}"

    def _post(self, node: int, path: str | int, write: bool, value: int) -> None:
        address = path if isinstance(path, int) else self.map.address(path)
        self._library.node_access(self._machine, node, address, write, 0, value, 0xFF)
        self._unwanted[node] += 1

    def _access(
        self, node: int, path: str | int, write: bool, value: int, privileged: bool, strobe: int
    ) -> tuple[int, int]:
        address = path if isinstance(path, int) else self.map.address(path)
        response, data = ctypes.c_int(), ctypes.c_uint64()
        self._library.node_access(self._machine, node, address, write, privileged, value, strobe)
        for _ in range(10_000):
            self.run(1)
            if self._library.node_result(self._machine, node, ctypes.byref(response), ctypes.byref(data)):
                if not self._unwanted[node]:
                    return response.value, data.value
                self._unwanted[node] -= 1
        raise AssertionError(f"node {node}: register {path} does not answer")

    # ---- packets ----

    def inject(self, node: int, flits: list[int], *, response: bool = False) -> None:
        """A packet arrives at a node."""
        size = self.parameters.datapath_bytes
        text = b"".join(flit.to_bytes(size, "little") for flit in flits)
        self._library.node_inject(self._machine, node, response, text, len(flits))

    def packets(self) -> list[Seen]:
        """All packets seen since the last call, in the order of their last flits."""
        log, text = ctypes.POINTER(_Log)(), ctypes.POINTER(ctypes.c_uint8)()
        count = self._library.machine_packets(self._machine, ctypes.byref(log), ctypes.byref(text))
        seen = list(self._seen(log, text, count))
        self.forget()
        return seen

    def forget(self) -> None:
        """Forget the packets seen so far."""
        self._library.machine_forget(self._machine)

    def _seen(
        self, log: "ctypes._Pointer[_Log]", text: "ctypes._Pointer[ctypes.c_uint8]", count: int
    ) -> Iterator[Seen]:
        size = self.parameters.datapath_bytes
        position = 0
        for index in range(count):
            entry = log[index]
            raw = bytes(text[position : position + entry.flits * size])
            position += entry.flits * size
            yield Seen(
                node=entry.node,
                response=bool(entry.response),
                received=bool(entry.received),
                flits=tuple(int.from_bytes(raw[i : i + size], "little") for i in range(0, len(raw), size)),
                first_cycle=entry.first_cycle,
                last_cycle=entry.last_cycle,
            )
