"""What arithmetic does to values: one function for each operation, from two values to one that holds every result.

Ref: RFC 9669, section 4.1. A 32-bit operation cuts its operands and its result to 32 bits, and so clears the upper
half; shifts use the low bits of their count; division by zero gives 0, and modulo by zero the dividend.
"""

from __future__ import annotations

from collections.abc import Callable
from math import gcd

from nimble.isa import TABLE, Group, Operation
from nimble.verifier.values import ANY, HALF, MASK, RING, Value, arc, constant, signed_bounds, unsigned_bounds, up_to

Transfer = Callable[[Value, Value], Value]

MASK32 = (1 << 32) - 1
HALF32 = 1 << 31
_WORD = up_to(MASK32)


def add(a: Value, b: Value) -> Value:
    low, high, frame = a[0] + b[0], a[1] + b[1], a[3] + b[3]
    if frame > 1:
        return ANY
    step = a[2] if not b[2] else b[2] if not a[2] else gcd(a[2], b[2])
    if low < RING and high - low + step <= MASK:
        return low, high, step, frame
    return arc(low, high, step, frame)


def sub(a: Value, b: Value) -> Value:
    frame = a[3] - b[3]
    if frame < 0:
        return ANY
    return arc(a[0] - b[1], a[1] - b[0], gcd(a[2], b[2]), frame)


def mul(a: Value, b: Value) -> Value:
    if not a[2]:
        a, b = b, a
    if a[3] or b[3]:
        return ANY
    if not b[2]:
        return _times(a, b[0] if b[0] < HALF else b[0] - RING)
    if a[1] > MASK or b[1] > MASK:
        return ANY
    return arc(a[0] * b[0], a[1] * b[1], 1)


def _times(a: Value, factor: int) -> Value:
    if factor == 0:
        return constant(0)
    low, high, step, _ = a
    if factor < 0:
        low, high = high, low
    return arc(low * factor, high * factor, step * abs(factor))


def div(a: Value, b: Value) -> Value:
    if a[3] or b[3]:
        return ANY
    low, high = unsigned_bounds(a)
    if b[2]:  # a zero among the divisors gives 0, which is the lower bound
        return _range(0, high // max(unsigned_bounds(b)[0], 1))
    divisor = b[0]
    if not divisor:
        return constant(0)
    exact = a[1] <= MASK and not low % divisor and not a[2] % divisor
    first, last = low // divisor, high // divisor
    return (first, last, a[2] // divisor, 0) if exact else _range(first, last)


def mod(a: Value, b: Value) -> Value:
    if a[3] or b[3]:
        return ANY
    high = unsigned_bounds(a)[1]
    least, most = unsigned_bounds(b)
    if high < least:
        return a
    if b[2] or not least:
        return _range(0, high) if not least else _range(0, min(high, most - 1))
    # Numbers of one step from each other keep it modulo the divisor, as far as both share it.
    step = gcd(a[2], least, RING) if a[1] > MASK else gcd(a[2], least)
    rest = a[0] % step
    return arc(rest, least - step + rest, step if step < least else 0)


def _where_not_negative(unsigned: Transfer) -> Transfer:
    """Signed division is the unsigned one where neither operand is negative."""

    def divide(a: Value, b: Value) -> Value:
        return unsigned(a, b) if a[1] < HALF and b[1] < HALF else ANY

    return divide


def _range(low: int, high: int) -> Value:
    return low, high, 1 if low < high else 0, 0


def and_(a: Value, b: Value) -> Value:
    if not a[2]:
        a, b = b, a
    if a[3] or b[3]:
        return ANY
    if not b[2]:
        return _masked(a, b[0])
    if a[1] > MASK and b[1] > MASK:
        return ANY
    return _range(0, min(a[1] if a[1] <= MASK else MASK, b[1] if b[1] <= MASK else MASK))


def _masked(a: Value, mask: int) -> Value:
    low, high, step, _ = a
    if not step:
        return constant(low & mask)
    lowest = mask & -mask
    if not mask:
        return constant(0)
    if mask + lowest == RING:  # rounds down
        low, high = low - low % lowest, high - high % lowest
        return arc(low, high, (step if step % lowest == 0 else lowest) if low < high else 0)
    if lowest == 1 and not mask & (mask + 1):  # keeps the lowest bits
        if low & ~mask == high & ~mask:
            return low & mask, high & mask, step, 0
        step = gcd(step, mask + 1)
        rest = low % step
        return (rest, mask + 1 - step + rest, step, 0) if step <= mask else constant(rest)
    most = min(mask, unsigned_bounds(a)[1])
    return _stepped(most - most % lowest, lowest)


def _stepped(most: int, step: int) -> Value:
    return (0, most, step, 0) if most else constant(0)


def or_(a: Value, b: Value) -> Value:
    if not a[2] and not b[2] and not a[3] and not b[3]:
        return constant(a[0] | b[0])
    return _disjoint(a, b, max(a[0], b[0]))


def xor(a: Value, b: Value) -> Value:
    if not a[2]:
        a, b = b, a
    if not a[3] and not b[3] and not b[2]:
        if not a[2]:
            return constant(a[0] ^ b[0])
        if b[0] == MASK:
            return arc(MASK - a[1], MASK - a[0], a[2])
    return _disjoint(a, b, 0)


def _disjoint(a: Value, b: Value, least: int) -> Value:
    """``or`` and ``xor``: a sum, where one has no bits but those that the other never has; else bounded by its bits."""
    if a[3] or b[3] or a[1] > MASK or b[1] > MASK:
        return ANY
    for one, other in ((a, b), (b, a)):
        unit = gcd(one[0], one[2])
        if other[1] < unit & -unit:
            return add(one, other)
    return _range(least, (1 << (a[1] | b[1]).bit_length()) - 1)


def lsh(a: Value, b: Value) -> Value:
    return _shift_left(a, b, 63)


def _shift_left(a: Value, b: Value, most: int) -> Value:
    if a[3] or b[3]:
        return ANY
    if not b[2]:
        return _times(a, 1 << (b[0] & most))
    if a[1] > MASK or b[1] > most:
        return ANY
    step = gcd(a[0], a[2]) << b[0]
    low, high = a[0] << b[0], a[1] << b[1]
    return arc(low, high, step) if low < high else constant(low)


def rsh(a: Value, b: Value) -> Value:
    return _shift_right(a, b, 63)


def _shift_right(a: Value, b: Value, most: int) -> Value:
    if a[3] or b[3]:
        return ANY
    low, high = unsigned_bounds(a)
    if not b[2]:
        count = b[0] & most
        unit = (1 << count) - 1
        if a[1] <= MASK and not (low | a[2]) & unit:
            return low >> count, high >> count, a[2] >> count, 0
        return _range(low >> count, high >> count)
    return _range(low >> b[1], high >> b[0]) if b[1] <= most else _range(0, high)


def arsh(a: Value, b: Value) -> Value:
    if a[1] < HALF:
        return rsh(a, b)
    if a[3] or b[3] or b[2]:
        return ANY
    return _arithmetic_shift(a, signed_bounds(a), b[0] & 63)


def _arithmetic_shift(a: Value, bounds: tuple[int, int], count: int) -> Value:
    low, high = bounds
    unit = (1 << count) - 1
    exact = (high - low) == a[1] - a[0] and not (a[0] | a[2]) & unit
    first, last = low >> count, high >> count
    return arc(first, last, a[2] >> count if exact else 1 if first < last else 0)


def mov(a: Value, b: Value) -> Value:
    return b


def neg(a: Value, b: Value) -> Value:
    return sub(constant(0), a)


def _sign_extended(bits: int) -> Transfer:
    half = 1 << bits - 1

    def extend(a: Value, b: Value) -> Value:
        if b[3]:
            b = ANY
        if not b[2]:
            return constant(((b[0] & 2 * half - 1) ^ half) - half)
        low, high = signed_bounds(b)
        if -half <= low and high < half:
            return b
        low, high, step, _ = _masked(b, 2 * half - 1)
        if high < half:
            return low, high, step, 0
        if low >= half:
            return arc(low - 2 * half, high - 2 * half, step)
        return arc(-half, half - 1, 1)

    return extend


def cut32(a: Value) -> Value:
    """The lower 32 bits."""
    if a[1] <= MASK32:
        return _WORD if a[3] else a
    return _WORD if a[3] else _masked(a, MASK32)


def _narrow(transfer: Transfer) -> Transfer:
    """The 32-bit form of an operation whose result depends on nothing but the numbers in the lower halves."""

    def narrow(a: Value, b: Value) -> Value:
        return cut32(transfer(cut32(a), cut32(b)))

    return narrow


def _narrow_sum(transfer: Transfer) -> Transfer:
    """The same, for an operation that gives anything where one operand is anything."""

    def narrow(a: Value, b: Value) -> Value:
        if (a[2] == 1 and a[1] - a[0] >= MASK32) or (b[2] == 1 and b[1] - b[0] >= MASK32):
            return _WORD
        return cut32(transfer(cut32(a), cut32(b)))

    return narrow


def _arsh32(a: Value, b: Value) -> Value:
    a, b = cut32(a), cut32(b)
    if b[2]:
        return _WORD
    if a[1] < HALF32:
        return _shift_right(a, b, 31)
    low, high = (a[0] - 2 * HALF32, a[1] - 2 * HALF32) if a[0] >= HALF32 else (-HALF32, HALF32 - 1)
    return cut32(_arithmetic_shift(a, (low, high), b[0] & 31))


def _divide32(unsigned: Transfer) -> Transfer:
    def divide(a: Value, b: Value) -> Value:
        a, b = cut32(a), cut32(b)
        return unsigned(a, b) if a[1] < HALF32 and b[1] < HALF32 else _WORD

    return divide


def _swap(bits: int, *, reverses: bool) -> Transfer:
    mask = (1 << bits) - 1

    def swap(a: Value, b: Value) -> Value:
        if not a[3] and not a[2] and reverses:
            return constant(int.from_bytes((a[0] & mask).to_bytes(bits // 8, "little"), "big"))
        if reverses:
            return up_to(mask)
        return a if bits == 64 else up_to(mask) if a[3] else _masked(a, mask)

    return swap


_WIDE: dict[str, Transfer] = {
    "add": add, "sub": sub, "mul": mul, "div": div, "mod": mod, "sdiv": _where_not_negative(div),
    "smod": _where_not_negative(mod), "and": and_, "or": or_, "xor": xor, "lsh": lsh, "rsh": rsh, "arsh": arsh,
    "mov": mov, "neg": neg, "movsx8": _sign_extended(8), "movsx16": _sign_extended(16), "movsx32": _sign_extended(32),
}  # fmt: skip
_OWN_32: dict[str, Transfer] = {
    "add": _narrow_sum(add),
    "sub": _narrow_sum(sub),
    "xor": _narrow_sum(xor),
    "sdiv": _divide32(div),
    "smod": _divide32(mod),
    "arsh": _arsh32,
    "lsh": _narrow(lambda a, b: _shift_left(a, b, 31)),
    "rsh": _narrow(lambda a, b: _shift_right(a, b, 31)),
}


def _transfer(row: Operation) -> Transfer:
    if row.group is Group.SWAP:
        return _swap(row.bits, reverses=row.name != "le")
    if row.bits == 64:
        return _WIDE[row.name]
    return _OWN_32.get(row.name) or _narrow(_WIDE[row.name])


# By row of the table: (destination, operand) -> destination. Immediates are operands, cut to the width.
TRANSFERS: dict[Operation, Transfer] = {
    row: _transfer(row) for row in TABLE if row.group in (Group.ARITHMETIC, Group.SWAP)
}
