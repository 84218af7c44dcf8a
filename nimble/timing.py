"""What each operation of threaded code costs on the modeled core.

The cost of an operation is its own work, the dispatch of the next one, and, for an access to memory that nothing has
proved and whose code is not trusted, the check. All in hundredths of a core cycle, because dispatch is a machine
instruction or two. The parts are added, as if the core overlapped nothing of one operation with the next: each
operation is entered through a register that the one before it has left in memory.

Ref: Riesen & Ferreira, HotOS 2009: subroutine and direct threading, and two versions of each subroutine, with and
without checks. Latencies: uops.info, Alder Lake-P; Intel 64 and IA-32 Architectures Optimization Reference Manual.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Le

from nimble.engine.runs import Costs
from nimble.isa import MEMORY, TABLE, Group, Operation

HUNDRED = 100
Hundredths = Annotated[int, Ge(0), Le(1_000_000)]
Threading = Literal["direct", "subroutine"]

# Of the ``threaded`` engine, machine instructions between the work of one operation and that of the next: the address
# of the next subroutine is loaded, the place in the code moves on, and a jump goes there. Counted by nimble.bench.
DISPATCH_INSTRUCTIONS = 3
# What a core sustains on code like this, whose every few instructions end in an indirect jump.
INSTRUCTIONS_PER_CYCLE = 2


@dataclass(frozen=True, kw_only=True)
class OperationCosts:
    """The parts of an operation's cost, in hundredths of a core cycle."""

    alu: Hundredths = 100
    """Additions, logic, shifts, moves, swaps of bytes, constants: one cycle (uops.info: ADD, latency 1)."""

    multiply: Hundredths = 300
    """uops.info: IMUL, latency 3."""

    divide: Hundredths = 1800
    """Quotient or remainder of 64 bits. uops.info: DIV R64, latency 14 to 18."""

    load: Hundredths = 500
    """From the first-level cache: 5 cycles (Intel's manual)."""

    store: Hundredths = 100
    """Into the store buffer: one per cycle and more (Intel's manual)."""

    atomic: Hundredths = 1900
    """Of a line that is in the cache. uops.info: LOCK CMPXCHG M64, one per 19 cycles."""

    branch: Hundredths = 100
    """A compare and a predicted jump, which the core fuses (Intel's manual)."""

    call: Hundredths = 600
    """Of a local function: return address and five registers are stored, four are cleared; about two per cycle."""

    service: Hundredths = 300
    """Out of threaded code and back: a call and a return of the core, and the arguments' moves. What the service does
    comes on top."""

    exit: Hundredths = 300
    """Six loads, two per cycle."""

    check: Hundredths = 200
    """Compare of address and bound, both ways: subtract, add, compare and jump, two per cycle."""

    direct: Hundredths = HUNDRED * DISPATCH_INSTRUCTIONS // INSTRUCTIONS_PER_CYCLE
    """Dispatch in direct-threaded code: see DISPATCH_INSTRUCTIONS, which is measured."""

    subroutine: Hundredths = 200
    """Dispatch in subroutine-threaded code: a call and a return, two taken branches at one per cycle (Intel's
    manual)."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """The costs of all operations under one form of threading."""

    threading: Threading = "direct"
    operations: OperationCosts = OperationCosts()

    def costs(self) -> Costs:
        """Of each operation in hundredths of a core cycle, with and without its access check."""
        unchecked = {row: self._work(row) + self._dispatch for row in TABLE}
        checked = {row: cost + self._check(row) for row, cost in unchecked.items()}
        return Costs(checked, unchecked)

    @property
    def _dispatch(self) -> int:
        return self.operations.direct if self.threading == "direct" else self.operations.subroutine

    def _check(self, row: Operation) -> int:
        return self.operations.check if row.group in MEMORY else 0

    def _work(self, row: Operation) -> int:
        costs = self.operations
        match row.group:
            case Group.ARITHMETIC if row.name == "mul":
                return costs.multiply
            case Group.ARITHMETIC if row.name in ("div", "sdiv", "mod", "smod"):
                return costs.divide
            case Group.ARITHMETIC | Group.SWAP | Group.WIDE:
                return costs.alu
            case Group.LOAD:
                return costs.load
            case Group.STORE:
                return costs.store
            case Group.ATOMIC:
                return costs.atomic
            case Group.JUMP | Group.BRANCH:
                return costs.branch
            case Group.CALL_LOCAL | Group.CALL_REGISTER:  # through a register mostly functions are called
                return costs.call
            case Group.CALL_SERVICE:
                return costs.service
            case Group.EXIT:
                return costs.exit
