"""What a condition tells of the two values that it compares, where it holds and where it does not.

Ref: RFC 9669, section 4.3. Comparisons come down to "less" and "less or equal", signed or unsigned, of 64 or 32 bits.
"""

from __future__ import annotations

from collections.abc import Callable

from nimble.isa import TABLE, Group, Operation
from nimble.verifier.arithmetic import HALF32, MASK32, cut32
from nimble.verifier.values import (
    HALF,
    MASK,
    Value,
    clip,
    clip_signed,
    differ,
    signed_bounds,
    unsigned_bounds,
)

Pair = tuple[Value, Value]
# From the values of both operands to what they are where the jump is taken, and where it is not; None: never.
Refinement = Callable[[Value, Value], tuple[Pair | None, Pair | None]]
_Order = Callable[[Value, Value, int], Pair | None]  # what a + distance <= b tells, for a distance of 0 or 1


def _unsigned(a: Value, b: Value, distance: int) -> Pair | None:
    low, high = unsigned_bounds(a)[0] + distance, unsigned_bounds(b)[1] - distance
    if low > MASK or high < 0:
        return None
    return _both(clip(a, 0, high), clip(b, low, MASK))


def _signed(a: Value, b: Value, distance: int) -> Pair | None:
    low, high = signed_bounds(a)[0] + distance, signed_bounds(b)[1] - distance
    return _both(clip_signed(a, -HALF, high), clip_signed(b, low, HALF - 1))


def _signed32(a: Value, b: Value, distance: int) -> Pair | None:
    low, high = _bounds32(a)[0] + distance, _bounds32(b)[1] - distance
    return _both(clip_signed(a, -HALF32, high, 2 * HALF32), clip_signed(b, low, HALF32 - 1, 2 * HALF32))


def _bounds32(value: Value) -> tuple[int, int]:
    low, high = value[0], value[1]
    if high < HALF32:
        return low, high
    return (low - 2 * HALF32, high - 2 * HALF32) if low >= HALF32 else (-HALF32, HALF32 - 1)


def _both(a: Value | None, b: Value | None) -> Pair | None:
    return None if a is None or b is None else (a, b)


def _swapped(pair: Pair | None) -> Pair | None:
    return pair and (pair[1], pair[0])


def _ordering(order: _Order, *, swaps: bool, distance: int) -> Refinement:
    """``a + distance <= b``, or with swapped operands."""

    def refine(a: Value, b: Value) -> tuple[Pair | None, Pair | None]:
        if a[3] or b[3]:
            return (a, b), (a, b)
        if swaps:
            return _swapped(order(b, a, distance)), order(a, b, 1 - distance)
        return order(a, b, distance), _swapped(order(b, a, 1 - distance))

    return refine


def _equal(a: Value, b: Value) -> tuple[Pair | None, Pair | None]:
    if a[3] != b[3]:
        return (a, b), (a, b)
    same_a = clip(a, b[0], b[1]) if b[1] <= MASK else a
    same_b = clip(b, a[0], a[1]) if a[1] <= MASK else b
    other_a = a if b[2] else differ(a, b[0])
    other_b = b if a[2] else differ(b, a[0])
    return _both(same_a, same_b), _both(other_a, other_b)


def _different(a: Value, b: Value) -> tuple[Pair | None, Pair | None]:
    same, other = _equal(a, b)
    return other, same


def _bits_set(a: Value, b: Value) -> tuple[Pair | None, Pair | None]:
    if a[3] or b[3] or b[2]:
        return (a, b), (a, b)
    mask = b[0]
    if not a[2]:
        return ((a, b), None) if a[0] & mask else (None, (a, b))
    some = differ(a, 0) if mask else None
    return _both(some, b), _both(_bits_clear(a, mask), b)


def _bits_clear(a: Value, mask: int) -> Value | None:
    """A value that has no bit of the mask; exact where the mask is the lowest bits, or all but those."""
    if not mask & (mask + 1):
        return _multiple(a, mask + 1)
    lowest = mask & -mask
    above = a[1] if a[1] <= MASK else MASK
    if mask + lowest > above:  # no bit above the mask can be set
        return clip(a, 0, lowest - 1) if not (mask + lowest) & (mask + lowest - 1) else a
    return a


def _multiple(a: Value, unit: int) -> Value | None:
    low, high, step, _ = a
    if unit % step:
        return a
    low, high = low + -low % unit, high - high % unit
    if low > high:
        return None
    if low > MASK:
        low, high = low - MASK - 1, high - MASK - 1
    return low, high, unit if low < high else 0, 0


def _narrow(refine: Refinement) -> Refinement:
    """The 32-bit form: compares the lower halves, and tells something of a value whose upper half is zero."""

    def narrow(a: Value, b: Value) -> tuple[Pair | None, Pair | None]:
        wide_a = None if a[1] <= MASK32 and not a[3] else a
        wide_b = None if b[1] <= MASK32 and not b[3] else b
        taken, other = refine(cut32(a), cut32(b))
        if wide_a is None and wide_b is None:
            return taken, other
        return (
            taken and (wide_a or taken[0], wide_b or taken[1]),
            other and (wide_a or other[0], wide_b or other[1]),
        )

    return narrow


# Name: whether the operands swap, and the distance. jlt is a + 1 <= b, jge is b + 0 <= a.
_ORDERINGS = {"lt": (False, 1), "le": (False, 0), "gt": (True, 1), "ge": (True, 0)}


_EQUALITIES: dict[str, Refinement] = {"jeq": _equal, "jne": _different, "jset": _bits_set}


def _half_refinement(row: Operation) -> Refinement:
    if row.name in _EQUALITIES:
        return _EQUALITIES[row.name]
    swaps, distance = _ORDERINGS[row.name[-2:]]
    return _ordering(_signed32 if row.name.startswith("js") else _unsigned, swaps=swaps, distance=distance)


# Of the 32-bit rows, for lower halves.
HALF_REFINEMENTS: dict[Operation, Refinement] = {
    row: _half_refinement(row) for row in TABLE if row.group is Group.BRANCH and row.bits == 32
}


def _refinement(row: Operation) -> Refinement:
    if row.bits == 32:
        return _narrow(HALF_REFINEMENTS[row])
    if row.name in _EQUALITIES:
        return _EQUALITIES[row.name]
    swaps, distance = _ORDERINGS[row.name[-2:]]
    return _ordering(_signed if row.name.startswith("js") else _unsigned, swaps=swaps, distance=distance)


REFINEMENTS: dict[Operation, Refinement] = {row: _refinement(row) for row in TABLE if row.group is Group.BRANCH}
