"""Steps that call functions and services, and return.

A call leaves a record on the run's list of frames: the one below it, the step to return to, what landing there costs,
and r6..r10 of the caller.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn, cast

from nimble.access import FRAME_BYTES, STACK_BASE
from nimble.engine.closures.run import FRAMES, INSTRUCTION, LENT, METER, RegisterFile, Step, settle, short
from nimble.engine.closures.steps import Form, alone, landing
from nimble.engine.outcome import nothing_to_call, too_deep
from nimble.isa import FRAME_POINTER, MASK64
from nimble.services import Service, Services

# The callee sees r0..r5, and no other register of its caller.
CALL = Form(
    (
        f"top = r[{FRAME_POINTER}] - {FRAME_BYTES}",
        f"if top == {STACK_BASE}:",
        "    return {miss}",
        f"r[{FRAMES}] = r[{FRAMES}], {{following}}, {{following_price}}, r[6], r[7], r[8], r[9], r[{FRAME_POINTER}]",
        "r[6] = r[7] = r[8] = r[9] = 0",
        f"r[{FRAME_POINTER}] = top",
        *landing("taken"),
    ),
    moves=True,
)
EXIT = Form(
    (
        f"frame = r[{FRAMES}]",
        "if frame is None:",
        "    return None",
        f"r[{FRAMES}], back, price, r[6], r[7], r[8], r[9], r[{FRAME_POINTER}] = frame",
        "r[1] = r[2] = r[3] = r[4] = r[5] = 0",
        f"r[{METER}] = left = r[{METER}] - price",
        "if left < 0:",
        "    return short(r, back)",
        "return back",
    ),
    moves=True,
)


def no_frame(r: RegisterFile) -> NoReturn:
    """The general way of a call: there is no frame left."""
    raise too_deep()


def call_service(service: Service) -> Step:
    """The step of a call by ID."""
    following, following_price = cast(Step, None), 0

    def step(r: RegisterFile) -> Step | None:
        _serve(r, service)
        return _land(r, following, following_price)

    return step


def call_register(register: int, begins: Mapping[int, tuple[Step, int]], services: Services) -> Step:
    """The step of a call of whatever a register names: a service's ID, or the address of one of ``begins``.

    ``begins`` are functions by address: their first step, and what landing on it costs.
    """
    following, following_price = cast(Step, None), 0
    calls: dict[int, Step] = {}  # of the functions that were called from here

    def step(r: RegisterFile) -> Step | None:
        call = calls.get(r[register])
        if call is not None:
            return cast(Step, call(r))
        if r[register] in begins:
            taken, price = begins[r[register]]
            prices = {"taken_price": price, "following_price": following_price}
            call = calls[r[register]] = alone(CALL, no_frame, taken=taken, following=following, **prices)
            return cast(Step, call(r))
        service = services.get(r[register])
        if service is None:
            raise nothing_to_call(r[register])
        _serve(r, service)
        return _land(r, following, following_price)

    return step


def _serve(r: RegisterFile, service: Service) -> None:
    """Call a service; r1..r5 are 0 afterwards. What it used of the budget was not executed by this run."""
    function: Any = service.function
    settle(r, 0)
    if service.metered:
        result, used = function(r[METER] // INSTRUCTION, *r[1:6])
        r[METER] -= used * INSTRUCTION
        r[LENT] += used
    else:
        result = function(*r[1:6])
    r[0] = result & MASK64
    r[1] = r[2] = r[3] = r[4] = r[5] = 0


def _land(r: RegisterFile, step: Step, price: int) -> Step | None:
    """Pay for the run that begins at ``step``."""
    r[METER] -= price
    return step if r[METER] >= 0 else short(r, step)
