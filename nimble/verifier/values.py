"""What is known of a number: the arc of the ring of 64-bit integers in which it lies, and the step it moves by.

A value is a tuple ``(low, high, step, frame)``: one of ``low, low + step, ... high``, modulo 2**64, plus r10 of the
present frame where ``frame`` is 1. Always ``0 <= low < 2**64``, ``low <= high``, and ``step`` divides ``high - low``
and is 0 where they are equal. An arc may run over 2**64, so one form serves signed and unsigned numbers: -8..8 is
``(2**64 - 8, 2**64 + 8, 1, 0)``. An arc that closes keeps only the power of two in its step, the lowest bits of the
number: ``(0, 2**64 - 8, 8, 0)`` is any multiple of 8.

Plain tuples of integers, because a program is verified while somebody waits for it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from math import gcd

Value = tuple[int, int, int, int]

RING = 1 << 64
MASK = RING - 1
HALF = 1 << 63
ANY: Value = (0, MASK, 1, 0)


def constant(number: int) -> Value:
    """Exactly this number, modulo 2**64."""
    number &= MASK
    return number, number, 0, 0


def up_to(most: int) -> Value:
    """0..``most``, with ``most`` 1 or more."""
    return 0, most, 1, 0


def arc(low: int, high: int, step: int, frame: int = 0) -> Value:
    """The value of those bounds, brought to the form above; ``low`` may be any integer."""
    if high - low + step > MASK and step:
        step &= -step
        if step > MASK:  # nothing is left of it in the ring
            return low & MASK, low & MASK, 0, frame
        low %= step
        return low, low + RING - step, step, frame
    if 0 <= low < RING:
        return low, high, step, frame
    wrapped = low & MASK
    return wrapped, high - low + wrapped, step, frame


def signed_bounds(value: Value) -> tuple[int, int]:
    """The least and the greatest signed number that it may be (its frame set aside)."""
    low, high = value[0], value[1]
    if high < HALF:
        return low, high
    if low >= HALF and high < RING + HALF:
        return low - RING, high - RING
    return -HALF, HALF - 1


def unsigned_bounds(value: Value) -> tuple[int, int]:
    """The least and the greatest unsigned number that it may be (its frame set aside)."""
    return (value[0], value[1]) if value[1] <= MASK else (0, MASK)


def join(one: Value, other: Value) -> Value:
    """The smallest value that holds both."""
    if one == other:
        return one
    if one[3] != other[3]:
        return ANY
    low, high, step, frame = one
    first, last, other_step, _ = other
    distance = first - low
    if not -HALF < distance < HALF or high > MASK or last > MASK:
        sizes = [(max(high, last + turn) - min(low, first + turn), turn) for turn in (0, -RING, RING)]
        turn = min(sizes)[1]
        first, last, distance = first + turn, last + turn, distance + turn
    return arc(min(low, first), max(high, last), gcd(step, other_step, distance), frame)


def widen(old: Value, new: Value, bounds: Sequence[int]) -> Value:
    """A value that holds ``new`` (which holds ``old``), with each bound that moved set to one of the sorted ``bounds``
    beyond it, so that few more moves can follow."""
    low, high, step, frame = new
    if not step or frame != old[3]:
        return new
    turn = 0 if old[0] >= low else RING  # new may begin before 2**64 where old began behind it
    if high > old[1] + turn:
        high = _above(high, bounds)
        high = low + (high - low) // step * step
    if low != old[0]:
        beyond = _below(low, bounds)
        low -= (low - beyond) // step * step
    return arc(low, high, step, frame)


def _above(number: int, bounds: Sequence[int]) -> int:
    base = number & RING
    at = bisect_left(bounds, number - base)
    return bounds[at] + base if at < len(bounds) else base + MASK


def _below(number: int, bounds: Sequence[int]) -> int:
    at = bisect_right(bounds, number) - 1
    return bounds[at] if at >= 0 else 0


def clip(value: Value, low: int, high: int) -> Value | None:
    """What of a value lies in ``low..high`` (0 <= low <= high < 2**64); None if nothing does."""
    found = _within(value, low, high)
    if value[1] < RING:
        return found
    second = _within(value, low + RING, high + RING)
    if found is None or second is None:
        return found or second
    both = join(found, second)
    return both if both[1] - both[0] < value[1] - value[0] else value


def _within(value: Value, low: int, high: int) -> Value | None:
    first, last, step, frame = value
    if not step:
        return value if low <= first <= high else None
    if first < low:
        first += (low - first + step - 1) // step * step
    if last > high:
        last -= (last - high + step - 1) // step * step
    if first > last:
        return None
    return arc(first, last, step if first < last else 0, frame)


def clip_signed(value: Value, low: int, high: int, ring: int = RING) -> Value | None:
    """What of a value lies in the signed numbers ``low..high``; None if nothing does. ``ring``: 2**32 for a value below
    that whose bit 31 is its sign."""
    if low > high:
        return None
    if low >= 0:
        return clip(value, low, high)
    if high < 0:
        return clip(value, low + ring, high + ring)
    negative, positive = clip(value, low + ring, ring - 1), clip(value, 0, high)
    if negative is None or positive is None:
        return negative or positive
    both = join(negative, positive)
    return both if both[1] - both[0] < value[1] - value[0] else value


def differ(value: Value, number: int) -> Value | None:
    """The value without one number, where that is one of its ends; None if nothing is left."""
    low, high, step, frame = value
    if low == number:
        return arc(low + step, high, step if low + step < high else 0, frame) if step else None
    if step and high & MASK == number:
        return low, high - step, step if low < high - step else 0, frame
    return value


def shifted(value: Value, distance: int) -> Value:
    """The value plus a number (any integer)."""
    low, high, step, frame = value
    low += distance
    if 0 <= low < RING:
        return low, high + distance, step, frame
    return arc(low, high + distance, step, frame)


def text(value: Value) -> str:
    """Words for a value: ``0x1000``, ``0x0..0x38 step 8``, ``r10-8``, ``any number``."""
    low, high, step, frame = value
    if high - low + step == RING:
        rest = f", plus {low}" if low else ""
        what = f"a multiple of {step}{rest}" if step > 1 else "anything" if frame else "any number"
        return f"r10 plus {what}" if frame else what
    stepping = f" step {step}" if step > 1 else ""
    if frame:
        low, high = signed_bounds(value)
        return f"r10{low:+d}" + (f"..r10{high:+d}{stepping}" if step else "")
    return f"0x{low:x}" + (f"..0x{high & MASK:x}{stepping}" if step else "")
