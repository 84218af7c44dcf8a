"""What every engine knows of an instruction: where it leads, what it costs, what was proved, how its run is metered.

A *run* is the straight line from an instruction to the next one that moves control (jump, branch, call, ``exit``),
both included. Whoever lands on an instruction pays for its whole run at once: so metering costs one subtraction per
transfer of control, not one per instruction. A fault in the middle gives back what comes behind it. Where less is left
of the budget than a run takes, the run is certain to stop inside it, and the engine goes on one by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from nimble.access import Window
from nimble.flow import target_of
from nimble.isa import TABLE, Group, Instruction, Operation
from nimble.program import Program
from nimble.verifier import Facts

_ENDS_RUN = (
    Group.JUMP, Group.BRANCH, Group.CALL_LOCAL, Group.CALL_REGISTER, Group.CALL_SERVICE, Group.EXIT,
)  # fmt: skip


class Costs(NamedTuple):
    """What each operation costs in hundredths of a core cycle, with and without its access check."""

    checked: Mapping[Operation, int]
    unchecked: Mapping[Operation, int]

    def flat(self) -> int | None:
        """What every operation costs, checked or not, if all cost the same: then instructions tell the cost."""
        prices = {*self.checked.values(), *self.unchecked.values()}
        return prices.pop() if len(prices) == 1 else None


_ONE = dict.fromkeys(TABLE, 1)
ONE_EACH = Costs(_ONE, _ONE)  # the cost of a run is then the number of its instructions


class Placed(NamedTuple):
    """One instruction in its place. ``length`` and ``cost`` are those of the rest of its run, itself included."""

    pc: int
    instruction: Instruction
    row: Operation
    target: int | None  # where a jump, branch or local call leads
    proved: Window | None  # every access is known to lie in this window, rights and width included
    length: int
    cost: int
    own: int  # its own cost


def place(program: Program, facts: Facts, costs: Costs, *, checked: bool) -> dict[int, Placed]:
    """All instructions by pc. ``checked``: accesses that nothing proves cost their check."""
    placed: dict[int, Placed] = {}
    length = cost = 0
    proofs = facts.proved
    for pc, instruction, row in reversed(program.starts):
        proved = proofs.get(pc)
        own = (costs.checked if checked and proved is None else costs.unchecked)[row]
        target = None
        if row.group in _ENDS_RUN:
            length = cost = 0
            target = target_of(row, instruction, pc)
        length += 1
        cost += own
        placed[pc] = Placed(pc, instruction, row, target, proved, length, cost, own)
    return placed
