"""How a run ended: the same for every engine."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

# Called with the instructions executed since the last call, so that the caller can let their time pass.
Spend = Callable[[int], None]


class Status(Enum):
    """Why a run stopped."""

    RETURNED = "returned"
    FAULT = "fault"
    BUDGET = "budget exhausted"


class Outcome(NamedTuple):
    """The end of one run. (A named tuple: one is made per call, and a frozen dataclass takes three times as long.)

    ``instructions`` counts every instruction executed, a faulting one included. ``pc`` is the ``exit`` that returned,
    the instruction that faulted, or the one that the budget no longer allowed. ``reason`` is empty when it returned.
    """

    status: Status
    r0: int
    instructions: int
    pc: int
    reason: str
