"""Programs that are small and would take an engine without end: refused by ``native``, run by ``threaded``."""

from __future__ import annotations

import pytest

from nimble.access import TEXT_BASE, AddressSpace
from nimble.assembler import assemble
from nimble.engine import native, threaded
from nimble.program import Program
from nimble.services import Services
from nimble.verifier import InsertionRefused

COUNT = 300
FUNCTIONS = "mov %r0, 1\n" + "".join(
    f"lddw %r6, {TEXT_BASE + 8 * pc}\n" for pc in range(4 * COUNT, 5 * COUNT)
)  # 2 * COUNT slots, and the names of COUNT functions


def filled(text: str, slots: int) -> str:
    """With instructions behind it that are no function yet, up to so many slots."""
    return text + "mov %r0, 1\n" * (slots - 2 * COUNT - 1 - text.count("callx"))


# Each of 300 calls may call each of 300 functions; each of 300 functions runs through those behind it.
CALLS = filled(FUNCTIONS + "callx %r6\n" * COUNT, 4 * COUNT - 1) + "exit\n" * (COUNT + 1)
TAILS = filled(FUNCTIONS, 4 * COUNT - 1) + "exit\n" + "mov %r0, 1\n" * 4 * COUNT + "exit\n"


@pytest.mark.parametrize("text", [CALLS, TAILS], ids=["calls", "tails"])
def test_code_that_multiplies_is_left_to_threaded(text: str) -> None:
    program = Program(instructions=assemble(text).instructions, entries={"main": 0}, name="many")
    services, space = Services(), AddressSpace(())
    thread = threaded.translate(program, space=space, services=services, checked=True)
    assert thread.run("main", (), budget=9999, spend=lambda cost: None).r0 == 1
    refused = "^many: its functions and calls multiply to more than native compiles; use threaded$"
    with pytest.raises(InsertionRefused, match=refused):
        native.translate(program, space=space, services=services, checked=True)
