"""What comes of a verification: a refusal, or what is known of the program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nimble.access import Window


class InsertionRefused(ValueError):  # noqa: N818 - says what happened
    """A program or manifest that must not run; the text says where, what and how to mend it."""


@dataclass(frozen=True)
class Facts:
    """What was proved of an accepted program. ``proved``: the window (``access.STACK`` for the stack) in which every
    access of the instruction at that pc lies, with the right and the width that it needs."""

    proved: Mapping[int, Window] = field(default_factory=dict)
