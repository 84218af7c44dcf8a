"""The readable engine: direct threaded code in Python, one closure per instruction.

Translated once, at insertion; then each step returns the next. Steps that touch memory come in a checked form (rights
and widths of windows are asked) and an unchecked one (only what holds the address is asked). Both remember the window
of plain memory that they hit last: while accesses stay in it, neither form asks again. That is sound because the
windows of a space never change.

This file translates, and holds the steps that move control; ``operations`` has those on registers, ``memory`` those on
windows, ``run`` the loop that follows them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, cast

from nimble.access import CALL_DEPTH, FRAME_BYTES, AddressSpace
from nimble.disassembler import instruction_text
from nimble.engine.memory import atomic, load, store
from nimble.engine.operations import compute, swap, wide
from nimble.engine.outcome import Outcome, Spend, Status
from nimble.engine.reach import Reach
from nimble.engine.run import MASK64, RUN, RegisterFile, Returned, Step, Thread, settle
from nimble.faults import Fault
from nimble.flow import address_of, functions, target_of
from nimble.isa import FRAME_POINTER, Group, Instruction, Operation
from nimble.program import Program
from nimble.services import Service, Services
from nimble.verifier import verify

__all__ = ["Outcome", "Spend", "Status", "Thread", "translate"]


_SCRATCHED = (0,) * 5  # what a call leaves in r1..r5


def translate(program: Program, *, space: AddressSpace, services: Services, checked: bool) -> Thread:
    """A thread that runs ``program`` in ``space``. Raises InsertionRefused, as ``verifier.verify`` does.

    The extension's own state is a window of ``space`` like any other.
    """
    verify(program, services)
    reach = Reach(space, checked=checked)
    found = program.starts
    steps: dict[int, Step] = {}
    begins: dict[int, Step] = {}
    for pc, instruction, row in found:
        second = program.instructions[pc + row.slots - 1]
        steps[pc] = _step(row, instruction, second, reach, services, begins)
    begins.update((address_of(pc), steps[pc]) for pc in functions(program))
    for pc, instruction, row in found:
        target = target_of(row, instruction, pc)
        _link(steps[pc], following=steps.get(pc + row.slots), taken=None if target is None else steps[target])
    return Thread(
        steps, program.entries, lambda pc, why: f"{program.where(pc)}: {instruction_text(program, pc)}: {why}"
    )


def _link(step: Step, **targets: Step | None) -> None:
    """Fill in the cells of a step that say which steps it leads to."""
    function = cast(FunctionType, step)
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        if name in targets:
            cell.cell_contents = targets[name]


def _step(
    row: Operation,
    instruction: Instruction,
    second: Instruction,
    reach: Reach,
    services: Services,
    begins: Mapping[int, Step],
) -> Step:
    match row.group:
        case Group.ARITHMETIC | Group.BRANCH:
            return compute(row, instruction)
        case Group.SWAP:
            return swap(row, instruction)
        case Group.WIDE:
            return wide(instruction, second)
        case Group.LOAD:
            return load(row, instruction, reach)
        case Group.STORE:
            return store(row, instruction, reach)
        case Group.ATOMIC:
            return atomic(row, instruction, reach)
        case Group.JUMP:
            return _jump()
        case Group.CALL_LOCAL:
            return _call_local()
        case Group.CALL_REGISTER:
            return _call_register(instruction, begins, services)
        case Group.CALL_SERVICE:
            return _call_service(cast(Service, services.get(instruction.imm)))  # verified to be there
        case Group.EXIT:
            return _exit()


def _jump() -> Step:
    taken: Step | None = None

    def step(r: RegisterFile) -> Step | None:
        return taken

    return step


def _call_service(service: Service) -> Step:
    following: Step | None = None

    def step(r: RegisterFile) -> Step | None:
        _serve(r, service)
        return following

    return step


def _serve(r: RegisterFile, service: Service) -> None:
    """Call a service; r1..r5 are nothing afterwards."""
    function: Callable[..., Any] = service.function
    run = r[RUN]
    settle(run)
    if service.metered:
        result, used = function(run.left(), *r[1:6])
        run.use_up(used)
    else:
        result = function(*r[1:6])
    r[0] = result & MASK64
    r[1:6] = _SCRATCHED


def _call_local() -> Step:
    following: Step | None = None
    taken: Step | None = None

    def step(r: RegisterFile) -> Step | None:
        _enter(r, following)
        return taken

    return step


def _enter(r: RegisterFile, following: Step | None) -> None:
    """A new frame: the callee sees r1..r5, and no other register of its caller."""
    frames = r[RUN].frames
    if len(frames) == CALL_DEPTH - 1:
        raise Fault(f"call depth: more than {CALL_DEPTH} frames; call less deeply")
    frames.append((following, [*_SCRATCHED, *r[6:11]]))
    r[6:11] = (0, 0, 0, 0, r[FRAME_POINTER] - FRAME_BYTES)


def _call_register(instruction: Instruction, begins: Mapping[int, Step], services: Services) -> Step:
    """A call of whatever the register names: a function's address or a service's ID."""
    d = instruction.dst
    following: Step | None = None

    def step(r: RegisterFile) -> Step | None:
        function = begins.get(r[d])
        if function is not None:
            _enter(r, following)
            return function
        service = services.get(r[d])
        if service is None:
            raise Fault(f"call of 0x{r[d]:x}: is neither a function's address nor a service; load one of them")
        _serve(r, service)
        return following

    return step


def _exit() -> Step:
    """A closure of its own for each ``exit``, though all do the same: a thread knows its place by the step."""

    def step(r: RegisterFile) -> Step:
        frames = r[RUN].frames
        if not frames:
            raise Returned
        following, r[1:11] = frames.pop()
        return cast(Step, following)

    return step
