"""Calls from one extension to another, under one shared budget.

The entries that an extension exports become metered services of those that name it in ``Manifest.calls``. A callee is
bound when its caller is inserted, so it was there before: calls cannot go in a circle. It runs with its own windows,
its own trust and its own budget, sees nothing of its caller but five arguments, and what it executes is taken off the
caller's budget. The call is refused, by a fault of the caller, while less than the callee's own budget is left: nobody
stops another's extension by starving it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from nimble.engine.outcome import Outcome, Spend
from nimble.extension import RETURNED, Extension, Manifest, Trust
from nimble.services import Service, ServiceFault, Services
from nimble.verifier import InsertionRefused

# IDs of exported entries: from here on, in the order of ``Manifest.calls`` and of each callee's exports.
CALL_ID_BASE = 1 << 30
CHAIN_LIMIT = 8  # extensions inside one another; each level takes some of the host's own stack

Run = Callable[[Extension, str, Sequence[int], int, Spend], Outcome]


class _Caller:
    """A running call that may call others: how time passes for it, and what others have used of its budget."""

    __slots__ = ("spend", "used")

    def __init__(self, spend: Spend) -> None:
        self.spend = spend
        self.used = 0


_caller: ContextVar[_Caller] = ContextVar("caller")  # of this greenlet


@contextmanager
def calling(spend: Spend) -> Iterator[_Caller]:
    """While this lasts, calls of other extensions in this greenlet spend time with ``spend``."""
    caller = _Caller(spend)
    token = _caller.set(caller)
    try:
        yield caller
    finally:
        _caller.reset(token)


def find_callees(manifest: Manifest, inserted: Mapping[str, Extension]) -> tuple[Extension, ...]:
    """The extensions that a manifest wants to call, from those that are ``inserted``, by the names it gives them.

    Raises InsertionRefused when one is not there, exports nothing, is not trusted while its caller is, or when the
    chain of calls becomes too long.
    """
    found = []
    for name in manifest.calls:
        callee = inserted.get(name)
        if callee is None or not callee.usable:
            known = ", ".join(other for other, extension in inserted.items() if extension.usable) or "none"
            text = "insert it first; extensions that would call each other in a circle cannot be inserted"
            raise InsertionRefused(f"{manifest.name}: calls: {name} is not inserted; inserted are: {known}; {text}")
        _check_callee(manifest, name, callee)
        found.append(callee)
    return tuple(found)


def chain(callees: Sequence[Extension]) -> int:
    """How many extensions can be inside one another below and with one that has these callees."""
    return 1 + max((callee.chain for callee in callees), default=0)


def with_calls(manifest: Manifest, services: Services, callees: Sequence[Extension], run: Run) -> Services:
    """``services`` and a metered one, ``call_NAME_ENTRY``, for every exported entry of the callees.

    In NAME and ENTRY, what may not stand in an identifier becomes ``_``. ``run`` makes a call. Raises InsertionRefused
    when a name or an ID is taken.
    """
    exported = (
        (name, callee, entry) for name, callee in _named(manifest, callees) for entry in callee.manifest.exports
    )
    calls = [
        Service(
            CALL_ID_BASE + index,
            f"call_{_identifier(name)}_{_identifier(entry)}",
            _call(callee, entry, run),
            f"Runs {entry} of {name} with r1..r5; its r0 comes back.",
            metered=True,
        )
        for index, (name, callee, entry) in enumerate(exported)
    ]
    try:
        return Services((*services, *calls))
    except ValueError as error:
        raise InsertionRefused(f"{manifest.name}: calls: {error}; rename one of them") from None


def _named(manifest: Manifest, callees: Sequence[Extension]) -> Iterator[tuple[str, Extension]]:
    return zip(manifest.calls, callees, strict=True)


def _identifier(name: str) -> str:
    return re.sub(r"\W", "_", name, flags=re.ASCII)


def _check_callee(manifest: Manifest, name: str, callee: Extension) -> None:
    if not callee.manifest.exports:
        raise InsertionRefused(
            f"{manifest.name}: calls: {name} exports no entry; name those that others may call in its exports"
        )
    if manifest.trust is Trust.TRUSTED and callee.manifest.trust is not Trust.TRUSTED:
        raise InsertionRefused(
            f"{manifest.name}: calls: {name} is untrusted, and its fault would stop this trusted extension; call "
            "trusted ones only"
        )
    if callee.chain >= CHAIN_LIMIT:
        raise InsertionRefused(
            f"{manifest.name}: calls: {name} heads a chain of {callee.chain} extensions; at most {CHAIN_LIMIT} call "
            "one another; make it shorter"
        )


def _call(callee: Extension, entry: str, run: Run) -> Callable[..., tuple[int, int]]:
    name, budget = callee.name, callee.manifest.budget

    def call(left: int, *arguments: int) -> tuple[int, int]:
        if callee.stopped is not None:
            raise ServiceFault(f"call of {name}: it was stopped: {callee.stopped.reason}")
        if callee.removed:
            raise ServiceFault(f"call of {name}: it was removed; insert it and then its callers again")
        if left < budget:
            text = f"{left} instructions are left, it may need {budget}; raise the budget of its caller or call earlier"
            raise ServiceFault(f"call of {name}: {text}")
        caller = _caller.get()
        with calling(caller.spend) as inside:
            outcome = run(callee, entry, arguments, budget, caller.spend)
        if outcome.status is not RETURNED:
            raise ServiceFault(f"call of {name}: it was stopped: {outcome.reason}")
        used = outcome.instructions + inside.used
        caller.used += used
        return outcome.r0, used

    return call
