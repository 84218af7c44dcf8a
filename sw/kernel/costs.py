"""What the kernel's and the library's steps cost, in core cycles. Defaults are for a core of 2 GHz.

The scenario embeds this very dataclass; the bounds in its annotations are checked there.
"""

from dataclasses import dataclass, field
from typing import Annotated

from annotated_types import Ge, Le

from nimble.timing import OperationCosts, Threading, Timing

Cycles = Annotated[int, Ge(0), Le(100_000_000)]


@dataclass(frozen=True, kw_only=True)
class CpuCosts:
    """Core cycles of everything that software does besides running an application's own code."""

    trap: Annotated[int, Ge(1), Le(100_000_000)] = 150
    """A system call, in and out. Soares & Stumm, FlexSC (OSDI 2010): 150 cycles for SYSCALL and SYSRET."""

    interrupt_entry: Cycles = 3000
    """From the interrupt to the kernel's handler. With `interrupt_exit` the 2 us that an interrupt costs a 2 GHz host
    of SeaStar (Brightwell et al., IEEE Micro 26(3), 2006); three quarters of it are taken to lie before the handler."""

    interrupt_exit: Cycles = 1000
    """From the handler back to what was interrupted. See `interrupt_entry`."""

    context_switch: Cycles = 7600
    """From one process to another. Li, Ding & Shen, Quantifying the cost of context switch (ExpCS 2007): 3.8 us on a
    2 GHz Xeon, refilled caches not included."""

    extension_call: Cycles = 40
    """Finding the extension of an event and entering its thread: a table look-up and an indirect call."""

    threading: Threading = "direct"
    """How the instructions of extensions are strung together: `direct`, each subroutine jumps to the next one; or
    `subroutine`, a list of calls."""

    operations: OperationCosts = field(default_factory=OperationCosts)
    """What each kind of instruction of an extension costs, in hundredths of a cycle."""

    memory_update: Cycles = 200
    """Read, modify and write of a random word of DRAM: 100 ns, the latency of a 2 GHz Opteron's memory."""

    command: Cycles = 40
    """Writing a 64-byte command into a ring: eight stores and the arithmetic of the index."""

    event: Cycles = 60
    """Reading a 64-byte event that a device wrote: a line from the last cache level."""

    poll: Cycles = 100
    """A look at an event queue that is empty, and a PAUSE (10 to 140 cycles, Intel's optimization manual)."""

    process_load: Cycles = 20_000
    """Making a process: address space, stack, first mappings; 10 us, without the transfer of its image."""

    @property
    def timing(self) -> Timing:
        """The costs of extensions' instructions."""
        return Timing(threading=self.threading, operations=self.operations)
