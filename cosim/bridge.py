"""CPU cores over the simulator: the only place that knows that a register access lets simulated time pass.

A core is a greenlet (several, when its kernel runs processes). What it asks of the machine goes into its mailbox; the
core's port in HDL waits until the operation is due, carries it out on the bus and answers; then the bridge resumes the
greenlet. Python wakes once per operation, however many clock cycles lie between.

Hardware changes at even picoseconds and software acts at odd ones (hdl/core_port.sv), so a core's own times are even.
"""

import struct
from collections.abc import Callable, Sequence
from functools import partial

from greenlet import getcurrent, greenlet

from cosim.signals import Toggle, call_after
from cosim.store import MAILBOX_BYTES, Store
from sw.kernel.hardware import BusError, Interrupt, Trace, TraceKind

_WAIT, _LOAD, _STORE = 0, 1, 2
_INTERRUPTIBLE = 1 << 2
_PRIVILEGED = 1 << 8
_RESPONSE_MASK = 3
_MAILBOX = struct.Struct("<4Q")
_PS_MHZ = 1_000_000  # picoseconds of a cycle at 1 MHz


def _even(time_ps: int) -> int:
    return time_ps + (time_ps & 1)


class Core:
    """hardware.Core over one core port (its number is `port`).

    `_base_ps` is the simulated time of the port's last answer; the debt is counted in cycles from there, so that
    rounding to picoseconds never adds up.
    """

    def __init__(
        self, *, node: int, index: int, core_mhz: int, port: int, store: Store, request: Toggle, cancel: Toggle,
        trace: Trace, start_ps: int, limit_ps: int, on_limit: Callable[[], None],
    ) -> None:  # fmt: skip
        self.node = node
        self.index = index
        self.interrupts_enabled = False
        self.on_interrupt: Callable[[Interrupt], None] = lambda interrupt: None
        self._core_mhz = core_mhz
        self._map = store.map
        self.port = port
        self._mailbox = port * MAILBOX_BYTES
        self._request = request
        self._cancel = cancel
        self._trace = trace
        self._limit_ps = limit_ps
        self._on_limit = on_limit
        self._base_ps = start_ps
        self._debt_cycles = 0
        self._signalled = False
        self._hub = getcurrent()
        self._waiter = self._hub
        self.activity = "not started"

    @property
    def now_ps(self) -> int:
        return self._base_ps + -(-self._debt_cycles * _PS_MHZ // self._core_mhz)

    def spend(self, cycles: int) -> None:
        self._debt_cycles += cycles

    def settle(self) -> None:
        if self._debt_cycles or self._signalled:
            self.activity = "computing"
            self._perform(_WAIT, self.now_ps)

    def load(self, address: int, *, privileged: bool) -> int:
        return self._access(_LOAD, address, 0, privileged)

    def store(self, address: int, value: int, *, privileged: bool) -> None:
        self._access(_STORE, address, value, privileged)

    def idle(self, until_ps: int | None = None) -> None:
        self.activity = "idle"
        self._perform(_WAIT, self._limit_ps if until_ps is None else max(until_ps, self.now_ps), once=True)

    def signal(self, delay_ps: int = 0) -> None:
        # An odd delay from an odd time: like a device's interrupt, it comes at an even time.
        call_after(max(delay_ps, 2) | 1, self._raise_signal)

    def run(self, entry: Callable[[], None]) -> None:
        """Start the core: `entry` runs in a greenlet of its own until it first waits."""
        greenlet(entry, self._hub).switch()

    def resume(self) -> None:
        """The port has answered."""
        self._waiter.switch()

    def _raise_signal(self) -> None:
        self._signalled = True
        self._cancel.flip()

    def _access(self, operation: int, address: int, data: int, privileged: bool) -> int:
        write = operation == _STORE
        self.activity = f"{'store to' if write else 'load from'} {address:#x}"
        response, data, start_ps = self._perform(operation, self.now_ps, address, data, privileged)
        name = "store" if write else "load"
        self._trace.record(TraceKind.MMIO, self.node, self.index, start_ps, self._base_ps, name, address)
        if response:
            raise BusError(address=address, write=write, response=response)
        return data

    def _perform(
        self, operation: int, due_ps: int, address: int = 0, data: int = 0, privileged: bool = False, once: bool = False
    ) -> tuple[int, int, int]:
        """Carry out an operation at `due_ps`. An interrupt on the way is handled and postpones it, or ends it if
        `once`. Returns xRESP, loaded data and when the operation was due."""
        while True:
            due_ps = min(_even(due_ps), self._limit_ps)
            if self._signalled and self.interrupts_enabled:
                interrupted, response = True, 0
            else:
                interrupted, response, data = self._ask(operation, due_ps, address, data, privileged)
            if not interrupted:
                return response, data, due_ps
            rest_ps = max(due_ps - self._base_ps, 0)
            self._handle_interrupt()
            if once:
                return 0, 0, due_ps
            due_ps = self.now_ps + rest_ps

    def _ask(
        self, operation: int, due_ps: int, address: int, data: int, privileged: bool
    ) -> tuple[bool, int, int]:  # fmt: skip
        control = operation | self.interrupts_enabled * _INTERRUPTIBLE | privileged * _PRIVILEGED
        _MAILBOX.pack_into(self._map, self._mailbox, control, due_ps, address, data)
        self._waiter = getcurrent()
        self._request.flip()
        self._hub.switch()
        answer, time_ps, _, loaded = _MAILBOX.unpack_from(self._map, self._mailbox)
        interrupted = bool(answer & _INTERRUPTIBLE)
        # A wait ends when it is due, though its answer comes a little later.
        self._base_ps = due_ps if operation == _WAIT and not interrupted else time_ps
        if self._base_ps >= self._limit_ps:
            self._on_limit()
            self._hub.switch()  # and never come back
        self._debt_cycles = 0
        return interrupted, answer & _RESPONSE_MASK, data if interrupted else loaded

    def _handle_interrupt(self) -> None:
        cause = Interrupt.SIGNAL if self._signalled else Interrupt.DEVICE
        self._signalled = False
        self._debt_cycles = 0
        self.interrupts_enabled = False
        self.on_interrupt(cause)
        self.interrupts_enabled = True


class Bridge:
    """Resumes the cores whose ports have answered, in the order of their numbers.

    `ports_changed` is what a `Watch` of the harness's `done` calls; `housekeeping` runs every few hundred answers.
    `finished` flips once, when `finish` is called: by software, at the time limit, or after an error inside a core.
    """

    HOUSEKEEPING_PERIOD = 256

    def __init__(self, *, finished: Toggle, housekeeping: Callable[[], None]) -> None:
        self.cores: dict[int, Core] = {}  # by port
        self.status = "running"
        self.failure: BaseException | None = None
        self.operations = 0
        self._finished = finished
        self._housekeeping = housekeeping
        self._stop: str | None = None

    def start(self, cores: Sequence[Core], entry: Callable[[Core], None]) -> None:
        """Run `entry(core)` on every core, in order."""
        self.cores = {core.port: core for core in cores}
        for core in cores:
            self._guard(partial(core.run, partial(entry, core)))

    def finish(self, status: str) -> None:
        """End the simulation after this time step; only the first call counts."""
        if self.status == "running":
            self.status = status
            self._finished.flip()

    def request_stop(self, status: str) -> None:
        """Finish as soon as a core is answered; safe to call from a signal handler."""
        self._stop = status

    def ports_changed(self, changed: int) -> None:
        self.operations += 1
        if self._stop is not None:
            self.finish(self._stop)
        if self.operations % self.HOUSEKEEPING_PERIOD == 0:
            self._guard(self._housekeeping)
        while changed and self.status == "running":
            lowest = changed & -changed
            changed ^= lowest
            self._guard(self.cores[lowest.bit_length() - 1].resume)

    def _guard(self, action: Callable[[], None]) -> None:
        # An exception must not escape into the simulator's callback, which would only log it.
        try:
            action()
        except BaseException as failure:  # a core's greenlet may raise anything
            self.failure = failure
            self.finish("failed")
