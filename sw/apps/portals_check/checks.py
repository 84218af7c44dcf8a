"""What a rank has compared, and what was not as it must be."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from rtl.portals import EventKind, Fail

_NAMES = {"kind": {kind.value: kind.name for kind in EventKind}, "fail": {fail.value: fail.name for fail in Fail}}


class Checks:
    """Counts comparisons by step; each that failed leaves a line. None of them ends anything."""

    def __init__(self) -> None:
        self.made: dict[str, int] = {}
        self.failures: list[str] = []
        self._step = ""
        self._role = ""

    def begin(self, step: str, role: str) -> None:
        """What comes belongs to a step, and to its target or its initiator."""
        self._step, self._role = step, role
        self.made.setdefault(step, 0)

    def equal(self, what: str, found: object, expected: object) -> None:
        """One value."""
        self._note(what, "" if found == expected else f"{found}; expected {expected}")

    def fields(self, what: str, found: Mapping[str, int], expected: Mapping[str, int]) -> None:
        """All fields of an event at once; those that differ are told."""
        differing = [
            f"{name} {_named(name, found[name])}, expected {_named(name, value)}"
            for name, value in expected.items()
            if found[name] != value
        ]
        self._note(what, "; ".join(differing))

    def memory(self, what: str, found: npt.NDArray[np.uint8], expected: npt.NDArray[np.uint8]) -> None:
        """All bytes of a piece of memory at once; the first one that differs is told."""
        (wrong,) = np.nonzero(found != expected)
        text = ""
        if len(wrong):
            place = wrong[0]
            text = f"{len(wrong)} bytes differ; {found[place]:#04x} at offset {place}, expected {expected[place]:#04x}"
        self._note(what, text)

    def fail(self, what: str, text: str) -> None:
        """What should have been compared did not come to be."""
        self._note(what, text)

    def _note(self, what: str, failure: str) -> None:
        self.made[self._step] += 1
        if failure:
            self.failures.append(f"{self._step}, {self._role}: {what}: {failure}")


def _named(field: str, value: int) -> str:
    return _NAMES.get(field, {}).get(value, str(value))
