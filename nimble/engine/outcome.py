"""How a run ended, and why it was refused: the same, to the word, for every engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import NamedTuple, NoReturn

from nimble.access import CALL_DEPTH
from nimble.faults import Fault
from nimble.isa import ARGUMENTS

# Called with the cost of the instructions executed since the last call, so that the caller can let their time pass.
Spend = Callable[[int], None]


def no_time(cost: int) -> None:
    """A Spend for runs whose time nobody counts."""


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


def too_deep() -> Fault:
    """Of a call for which there is no frame left."""
    return Fault(f"call depth: more than {CALL_DEPTH} frames; call less deeply")


def nothing_to_call(value: int) -> Fault:
    """Of a call through a register with this value."""
    return Fault(f"call of 0x{value:x}: is neither a function's address nor a service; load one of them")


def exhausted(budget: int) -> Fault:
    """Of a run that would execute more than ``budget`` instructions."""
    return Fault(f"the budget of {budget} instructions is exhausted; raise it or do less per call")


def refuse_run(entry: str, entries: Iterable[str], args: Sequence[int], budget: int) -> NoReturn:
    """Raises ValueError for a run that cannot begin: an unknown entry, too many arguments or a negative budget."""
    if entry not in entries:
        raise ValueError(f"entry: {entry} is unknown; known are {', '.join(entries)}; name one of them")
    raise ValueError(f"run: {len(args)} arguments, budget {budget}; at most {ARGUMENTS}, 0 or more are allowed")
