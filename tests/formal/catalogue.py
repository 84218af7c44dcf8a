"""All theorems, by name."""

from tests.formal import (
    admission,
    bursts,
    deadlines,
    delivery,
    drain,
    joints,
    matching,
    memory,
    origin,
    places,
    quiescent,
    quiescent_fabric,
    quiescent_packets,
    registers,
    replies,
    reports,
    responses,
    trusted,
    windows,
)
from tests.formal.theorems import THEOREMS, Theorem

ROOMS = (
    trusted,
    origin,
    replies,
    registers,
    windows,
    memory,
    bursts,
    drain,
    deadlines,
    admission,
    delivery,
    matching,
    reports,
    places,
    responses,
    joints,
    quiescent,
    quiescent_fabric,
    quiescent_packets,
)


def catalogue() -> dict[str, Theorem]:
    """In the order of the properties."""
    return dict(sorted(THEOREMS.items(), key=lambda entry: entry[1].number))
