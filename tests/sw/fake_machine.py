"""A machine in plain Python, so that the software can be tested in milliseconds: cores as greenlets over a heap of
events.

Implements `sw.kernel.hardware`; the NIC is `fake_nic`.
"""

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from fake_nic import CLOCK_PERIOD_PS, Fabric, FakeNic
from greenlet import GreenletExit, getcurrent, greenlet

from nimble.engine import DEFAULT_ENGINE
from rtl.devices import DEVICES
from rtl.nic.parameters import NicParameters
from sw import machine
from sw.kernel.costs import CpuCosts
from sw.kernel.hardware import BusError, Device, Interrupt, TraceKind

COSTS = CpuCosts()
ACCESS_PS = 40_000  # from a core to a device's register, and back again


class Hub:
    """Simulated time and what is due."""

    def __init__(self) -> None:
        self.now_ps = 0
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._sequence = itertools.count()

    def at(self, time_ps: int, action: Callable[[], None]) -> None:
        heapq.heappush(self._due, (max(time_ps, self.now_ps), next(self._sequence), action))

    def run(self, limit_ps: int, until: Callable[[], bool]) -> None:
        while self._due and not until():
            self.now_ps, _, action = heapq.heappop(self._due)
            assert self.now_ps <= limit_ps, f"still running at {limit_ps} ps"
            action()


class FakeCore:
    def __init__(self, hub: Hub, node: int, index: int, mhz: int) -> None:
        self.node = node
        self.index = index
        self.interrupts_enabled = False
        self.on_interrupt: Callable[[Interrupt], None] = lambda cause: None
        self.nic: FakeNic | None = None
        self.accesses: list[tuple[str, int, int, bool]] = []  # operation, address, value, privileged
        self.instructions_per_settle: list[int] = []
        self._hub = hub
        self._home = getcurrent()
        self._period_ps = 1_000_000 // mhz
        self._debt = 0
        self._signalled = False
        self._waiter: greenlet | None = None
        self._token = 0

    @property
    def now_ps(self) -> int:
        return self._hub.now_ps + self._debt * self._period_ps

    def spend(self, cycles: int) -> None:
        assert cycles >= 0
        self._debt += cycles

    def settle(self) -> None:
        if self._debt or self._signalled:
            self._wait(self.now_ps)

    def load(self, address: int, *, privileged: bool) -> int:
        value = self._access(address, privileged, lambda: self._target(address, False).load(address, privileged))
        self.accesses.append(("load", address, value, privileged))
        return value

    def store(self, address: int, value: int, *, privileged: bool) -> None:
        self.accesses.append(("store", address, value, privileged))
        self._access(address, privileged, lambda: self._target(address, True).store(address, value, privileged))

    def idle(self, until_ps: int | None = None) -> None:
        assert self.interrupts_enabled, "idle without interrupts never ends"
        self._wait(1 << 62 if until_ps is None else until_ps, once=True)

    def signal(self, delay_ps: int = 0) -> None:
        def arrive() -> None:
            self._signalled = True
            self.poke()

        self._hub.at(self._hub.now_ps + delay_ps, arrive)

    def poke(self) -> None:
        """Something may interrupt."""
        if self._waiter is not None and self.interrupts_enabled and self._cause() is not None:
            self._resume_at(self._hub.now_ps)

    def _target(self, address: int, write: bool) -> FakeNic:
        if self.nic is None or not self.nic.base <= address < self.nic.base + self.nic.length:
            raise BusError(address=address, write=write, response=3)
        return self.nic

    def _access(self, address: int, privileged: bool, act: Callable[[], int]) -> int:
        self._wait(self.now_ps)
        self._sleep(self._hub.now_ps + ACCESS_PS)
        try:
            return act()
        finally:
            self._sleep(self._hub.now_ps + ACCESS_PS)

    def _cause(self) -> Interrupt | None:
        if self._signalled:
            return Interrupt.SIGNAL
        if self.nic is not None and self.nic.pending(self.index):
            return Interrupt.DEVICE
        return None

    def _wait(self, due_ps: int, *, once: bool = False) -> None:
        self._debt = 0
        while True:
            cause = self._cause() if self.interrupts_enabled else None
            if cause is not None:
                rest_ps = max(due_ps - self._hub.now_ps, 0)
                self._handle(cause)
                if once:
                    return
                due_ps, self._debt = self.now_ps + rest_ps, 0
            elif self._hub.now_ps >= due_ps:
                return
            else:
                self._sleep(due_ps, interruptible=True)

    def _handle(self, cause: Interrupt) -> None:
        if cause is Interrupt.SIGNAL:
            self._signalled = False
        self.interrupts_enabled = False
        self.on_interrupt(cause)
        self.interrupts_enabled = True

    def _sleep(self, until_ps: int, *, interruptible: bool = False) -> None:
        self._waiter = getcurrent() if interruptible else None
        sleeper = getcurrent()
        self._sleeper = sleeper
        self._resume_at(until_ps)
        self._home.switch()

    def _resume_at(self, time_ps: int) -> None:
        self._token += 1
        token, sleeper = self._token, self._sleeper

        def resume() -> None:
            if token == self._token:
                self._waiter = None
                sleeper.switch()

        self._hub.at(time_ps, resume)


class Trace:
    """Keeps all spans: (kind, node, core, start, end, name, value)."""

    def __init__(self) -> None:
        self.spans: list[tuple[TraceKind, int, int, int, int, str, int]] = []

    def record(
        self, kind: TraceKind, node: int, core: int, start_ps: int, end_ps: int, name: str, value: int = 0
    ) -> None:
        assert start_ps <= end_ps
        self.spans.append((kind, node, core, start_ps, end_ps, name, value))


@dataclass(frozen=True, kw_only=True)
class FakeNode:
    nid: int
    memory: np.ndarray
    cores: list[FakeCore]
    devices: list[Device]
    trace: Trace


@dataclass(kw_only=True)
class FakeMachine:
    """Nodes with NICs on one fabric, and the software on them."""

    nodes: int = 2
    cores: int = 2
    core_mhz: int = 2000
    contexts: int = 4
    windows: int = 4
    memory_mib: int = 8
    latency_ps: int = 500_000
    hub: Hub = field(default_factory=Hub)
    trace: Trace = field(default_factory=Trace)
    finished: int = 0

    def __post_init__(self) -> None:
        row = DEVICES[0]
        device = Device(name=row.name, base=row.base, length_bytes=row.length_bytes, clock_period_ps=CLOCK_PERIOD_PS)
        parameters = NicParameters(
            contexts=self.contexts, windows=self.windows, nodes=self.nodes, interrupt_lines=self.cores
        )
        self.fabric = Fabric(self.hub, self.latency_ps)
        self.node_list: list[FakeNode] = []
        for nid in range(self.nodes):
            memory = np.zeros(self.memory_mib << 20, dtype=np.uint8)
            cores = [FakeCore(self.hub, nid, index, self.core_mhz) for index in range(self.cores)]
            nic = FakeNic(
                nid=nid, hub=self.hub, fabric=self.fabric, parameters=parameters, memory=memory, base=row.base,
                length=row.length_bytes, on_interrupt=[core.poke for core in cores],
            )  # fmt: skip
            self.fabric.attach(nic)
            for core in cores:
                core.nic = nic
            self.node_list.append(FakeNode(nid=nid, memory=memory, cores=cores, devices=[device], trace=self.trace))

    @property
    def nics(self) -> list[FakeNic]:
        return self.fabric.nics

    def start(
        self,
        *jobs: machine.JobSpec,
        costs: CpuCosts = COSTS,
        drivers: tuple[str, ...] = ("nic",),
        engine: str = DEFAULT_ENGINE,
        response_timeout_us: int = 0,
        interrupt_interval_us: int = 0,
    ) -> machine.System:
        """Boot; nothing has run yet but the first instructions."""

        def on_finished() -> None:
            self.finished += 1

        self.system = machine.start(
            self.node_list, core_mhz=self.core_mhz, costs=costs, jobs=jobs, drivers=drivers, engine=engine, seed=1,
            on_finished=on_finished, response_timeout_us=response_timeout_us,
            interrupt_interval_us=interrupt_interval_us,
        )  # fmt: skip
        self._cores = [greenlet(partial(self.system.core_main, core)) for node in self.node_list for core in node.cores]
        for core in self._cores:
            core.switch()
        return self.system

    def run(self, *jobs: machine.JobSpec, limit_ms: int = 1000, **options: object) -> machine.System:
        """Boot and run until all jobs have ended."""
        system = self.start(*jobs, **options)  # type: ignore[arg-type]
        self.hub.run(limit_ms * 1_000_000_000, lambda: self.finished > 0)
        assert system.finished, f"nothing is due any more, but the jobs are {system.job_states()}"
        for core in self._cores:  # a greenlet that is suspended for ever keeps the machine's memory for ever
            core.throw(GreenletExit)
        return system
