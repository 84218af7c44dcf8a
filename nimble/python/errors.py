"""The one error of the compiler."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

GIVE = "give it a value: constants=, or nimble compile --define"  # the remedy for a name that should be a number


class PythonError(ValueError):
    """What is outside the subset or wrong in it: ``file:line: thing: what is wrong; remedy``."""


def did_you_mean(name: str, known: Iterable[str], otherwise: str) -> str:
    """The remedy for an unknown name: the nearest known one, or ``otherwise``."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {close[0]}?" if close else otherwise
