"""The readable engine: direct threaded code in Python, one closure per instruction.

Translated once, at insertion; then each step returns the next. Steps that touch memory come in a checked form (rights
and widths of windows are asked) and an unchecked one (only what holds the address is asked). Both remember the window
of plain memory that they hit last: while accesses stay in it, neither form asks again. That is sound because the
windows of a space never change.

This file translates; ``operations`` has the forms of what works on registers, ``memory`` on windows, ``calls`` of what
calls and returns; ``steps`` makes closures of forms and fuses them, ``run`` has the loop that follows them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Unpack, cast

from nimble.engine.closures.calls import CALL, EXIT, call_register, call_service, no_frame
from nimble.engine.closures.memory import Site, access, atomic
from nimble.engine.closures.operations import JUMP, WIDE, compute, swap
from nimble.engine.closures.run import RegisterFile, Step, Thread, price_of, prices_behind
from nimble.engine.closures.steps import Form, alone, fused, link
from nimble.engine.reach import Reach
from nimble.engine.runs import Placed
from nimble.engine.superoperators import SUPEROPERATORS, Superoperator, cover
from nimble.engine.task import Given, Task
from nimble.flow import address_of, functions
from nimble.isa import Group, wide_immediate
from nimble.program import Program
from nimble.services import Service

__all__ = ["Thread", "translate"]


def translate(
    program: Program,
    *,
    superoperators: Iterable[Superoperator] = SUPEROPERATORS,
    landings: Landings | None = None,
    **given: Unpack[Given],
) -> Thread:
    """A thread that runs ``program``. Raises InsertionRefused, as ``verifier.verify`` does.

    ``landings``, if given, are counted.
    """
    return _Translation(Task(program, **given)).thread(superoperators, landings)


@dataclass
class Landings:
    """How often runs were begun at each pc, and where the last one was."""

    times: Counter[int] = field(default_factory=Counter)
    last: int = -1


class _Translation:
    """The steps of one program while they are made."""

    def __init__(self, task: Task) -> None:
        self._program = task.program
        self._places = task.placed
        self._services = task.services
        self._reach = Reach(task.space, checked=task.checked)
        self._proved_reach = Reach(task.space, checked=False)  # rights and widths of a proved access were asked already
        self._behind = prices_behind(task.placed)
        self._begins: dict[int, tuple[Step, int]] = {}  # functions by address, for calls through a register
        self._forms: dict[int, Form] = {}
        self._steps = {pc: self._step(placed) for pc, placed in task.placed.items()}

    def thread(self, superoperators: Iterable[Superoperator], landings: Landings | None) -> Thread:
        """Link the steps: within a run to the heads of its steps, one of several instructions where there is any."""
        places, program = self._places, self._program
        heads = {pc: self._head(pc, length) for pc, length in cover(places, superoperators).items()}
        landed = heads if landings is None else {pc: _counted(step, pc, landings) for pc, step in heads.items()}
        for pc in functions(program):
            self._begins[address_of(pc)] = landed[pc], price_of(places[pc])
        for pc, step in self._steps.items():
            reached = landed if places[pc].length == 1 else heads
            targets: dict[str, Any] = {}
            for name, to in (("following", pc + places[pc].row.slots), ("taken", places[pc].target)):
                if to is not None and to in places:
                    targets |= {name: reached[to], f"{name}_price": price_of(places[to])}
            link(step, **targets)

        return Thread(program, places, self._steps, landed)

    def _head(self, pc: int, length: int) -> Step:
        """The step of ``length`` instructions from ``pc``."""
        if length == 1:
            return self._steps[pc]
        parts = []
        for _ in range(length):
            parts.append((self._steps[pc], self._forms[pc]))
            pc += self._places[pc].row.slots
        return fused(parts)

    def _step(self, placed: Placed) -> Step:
        row, instruction = placed.row, placed.instruction
        match row.group:
            case Group.ARITHMETIC | Group.BRANCH:
                form, imm = compute(row, instruction)
                return self._alone(placed.pc, form, d=instruction.dst, s=instruction.src, imm=imm)
            case Group.WIDE:
                value = wide_immediate(instruction, self._program.instructions[placed.pc + 1])
                return self._alone(placed.pc, WIDE, d=instruction.dst, imm=value)
            case Group.JUMP:
                return self._alone(placed.pc, JUMP)
            case Group.LOAD | Group.STORE:
                step, self._forms[placed.pc] = access(row, instruction, self._site(placed))
                return step
            case Group.ATOMIC:
                return atomic(row, instruction, self._site(placed))
            case Group.SWAP:
                return swap(row, instruction)
            case Group.CALL_LOCAL:
                self._forms[placed.pc] = CALL
                return alone(CALL, no_frame)
            case Group.CALL_REGISTER:
                return call_register(instruction.dst, self._begins, self._services)
            case Group.CALL_SERVICE:
                return call_service(cast(Service, self._services.get(instruction.imm)))  # verified to be there
            case Group.EXIT:
                # One step for each, though all do the same: a thread knows its place by the step.
                return self._alone(placed.pc, EXIT)

    def _alone(self, pc: int, form: Form, **values: int) -> Step:
        self._forms[pc] = form
        return alone(form, None, **values)

    def _site(self, placed: Placed) -> Site:
        reach = self._reach if placed.proved is None else self._proved_reach
        return Site(reach, placed.proved, self._behind[placed.pc])


def _counted(head: Step, pc: int, landings: Landings) -> Step:
    """A step that counts a landing, and then does nothing but go on."""

    def step(r: RegisterFile) -> Step:
        landings.times[pc] += 1
        landings.last = pc
        return head

    return step
