"""The engines that every test of what programs mean runs over, and how those tests make threads.

A thread is made of facts that prove nothing, unless a test says otherwise: engines agree on programs that no verifier
would accept, too.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from nimble.access import AddressSpace, Window
from nimble.assembler import assemble
from nimble.engine import Thread, Translate, closures, native, threaded
from nimble.engine.runs import ONE_EACH, Costs
from nimble.program import Program
from nimble.services import Services
from nimble.verifier import Facts

ENGINES: dict[str, Translate] = {
    "closures": closures.translate,
    "threaded": threaded.translate,
    "native": native.translate,
}
UNPROVED = Facts()

each_engine = pytest.mark.parametrize("engine", ENGINES)
each_form = pytest.mark.parametrize("checked", [True, False], ids=["checked", "unchecked"])


def thread_of(
    program: Program | str,
    engine: str,
    *,
    checked: bool = True,
    windows: Sequence[Window] = (),
    services: Services | None = None,
    costs: Costs = ONE_EACH,
    facts: Facts = UNPROVED,
) -> Thread:
    """A thread of an engine; a program may be given as text."""
    return ENGINES[engine](
        assemble(program) if isinstance(program, str) else program,
        space=AddressSpace(windows),
        services=services or Services(),
        checked=checked,
        costs=costs,
        facts=facts,
    )
