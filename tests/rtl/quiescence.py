"""What a design's `quiescent` is judged by: the registers that a clock edge must leave as they are."""

from typing import Any


def registers_of(fragment: Any) -> list[Any]:
    """All signals that the clock changes, in an elaborated `fragment` and below."""
    found = {}
    for statement in fragment.statements.get("sync", ()):
        found.update((id(signal), signal) for signal in statement._lhs_signals())
    for child, *_ in fragment.subfragments:
        found.update((id(signal), signal) for signal in registers_of(child))
    return list(found.values())
