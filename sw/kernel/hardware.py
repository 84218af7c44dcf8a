"""What the kernel needs of the machine it runs on. The co-simulation implements it over RTL; tests over plain objects.

Times are picoseconds since power-on, costs are core cycles, addresses are physical.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import numpy as np
import numpy.typing as npt


class Interrupt(Enum):
    """Why a core was interrupted."""

    DEVICE = "device"  # level: stays until the device's driver has served it
    SIGNAL = "signal"  # another core, or the machine's management network, called `Core.signal`


class BusError(Exception):
    """A device access was answered with an error (`response` is AXI's xRESP: 2 SLVERR, 3 DECERR)."""

    def __init__(self, *, address: int, write: bool, response: int) -> None:
        self.address = address
        self.write = write
        self.response = response
        kind = "write" if write else "read"
        name = {2: "SLVERR", 3: "DECERR"}.get(response, f"response {response}")
        super().__init__(f"{kind} of {address:#x} was refused by the hardware: {name}")


class TraceKind(Enum):
    """What a trace record shows; the value is its category in the timeline."""

    PROCESS = "process"
    EXTENSION = "extension"
    INTERRUPT = "interrupt"
    SWITCH = "context switch"
    TRAP = "trap"
    MMIO = "mmio"
    PACKET = "packet"


class Core(Protocol):
    """One CPU core. Only code that runs on this core (in one of its greenlets) calls these methods, `signal` excepted.

    A core runs ahead of the hardware: `spend` only adds to a debt, `settle` lets simulated time catch up. Every method
    that touches a device or waits settles first. While a debt is being paid, and inside `idle`, an interrupt calls
    `on_interrupt` at its exact time if `interrupts_enabled`; what was left of the debt is paid afterwards. The handler
    runs with `interrupts_enabled` False and may switch to another greenlet of the same core before it returns.
    """

    node: int
    index: int
    interrupts_enabled: bool
    on_interrupt: Callable[[Interrupt], None]

    @property
    def now_ps(self) -> int:
        """The core's own time: simulated time and the debt."""
        ...

    def spend(self, cycles: int) -> None:
        """Add core cycles to the debt."""
        ...

    def settle(self) -> None:
        """Pay the debt: afterwards everything that the hardware did until `now_ps` is visible."""
        ...

    def load(self, address: int, *, privileged: bool) -> int:
        """Read 64 bits of a device register. Raises BusError."""
        ...

    def store(self, address: int, value: int, *, privileged: bool) -> None:
        """Write 64 bits to a device register. Raises BusError."""
        ...

    def idle(self, until_ps: int | None = None) -> None:
        """Do nothing until an interrupt has been handled, or until `until_ps`."""
        ...

    def signal(self, delay_ps: int = 0) -> None:
        """Raise Interrupt.SIGNAL on this core `delay_ps` from the caller's simulated time; callable from anywhere."""
        ...


@dataclass(frozen=True, kw_only=True)
class Device:
    """A row of the machine's device table. The first register of every device holds its ID (bits 15..0) and version
    (bits 31..16). It has an interrupt line to each core. Devices count time in cycles of `clock_period_ps` since
    power-on."""

    name: str
    base: int
    length_bytes: int
    clock_period_ps: int


class Trace(Protocol):
    """Takes spans of the timeline."""

    def record(
        self, kind: TraceKind, node: int, core: int, start_ps: int, end_ps: int, name: str, value: int = 0
    ) -> None:
        """A span on the track of a core; `value` is kind-specific (instructions, address, PID)."""
        ...


class Node(Protocol):
    """One node of the machine: cores, memory and devices."""

    @property
    def nid(self) -> int: ...

    @property
    def memory(self) -> npt.NDArray[np.uint8]:
        """All of the node's memory, physical addresses 0..len-1, shared with its devices."""
        ...

    @property
    def cores(self) -> Sequence[Core]: ...

    @property
    def devices(self) -> Sequence[Device]: ...

    @property
    def trace(self) -> Trace: ...
