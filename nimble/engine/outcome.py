"""How a run ended: the same for every engine."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

# Called with the cost of the instructions executed since the last call, so that the caller can let their time pass.
Spend = Callable[[int], None]


class Status(Enum):
    """Why a run stopped."""

    RETURNED = "returned"
    FAULT = "fault"
    BUDGET = "budget exhausted"


class Outcome(NamedTuple):
    """The end of one run. (A named tuple: one is made per call, and a frozen dataclass takes three times as long.)

    ``instructions`` counts every instruction executed, a faulting one included. Of a run that did not return, ``pc`` is
    the instruction that faulted or the one that the budget no longer allowed, and ``registers`` are r0..r10 before it;
    of one that did, -1 and nothing. ``reason`` is empty when it returned.
    """

    status: Status
    r0: int
    instructions: int
    pc: int
    reason: str
    registers: tuple[int, ...] = ()
