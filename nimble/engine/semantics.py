"""What arithmetic and conditions mean, one line each.

Ref: RFC 9669, tables 4 and 8 and section 4.2. ``{a}`` is the destination, ``{b}`` the source (register or immediate);
values are unsigned, of the operation's width. SIGN, MASK and SHIFT are that width's sign bit, all its bits, and the
bits of a shift count. Python's integers do not wrap, so a result that may leave the width is cut by ``MASK``.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import NamedTuple


class Result(Enum):
    """Where the result of operands of the operation's width may lie."""

    INSIDE = auto()  # in the width
    ABOVE = auto()  # rarely more than the width holds
    BELOW = auto()  # rarely less than 0
    ANYWHERE = auto()


class Meaning(NamedTuple):
    """An expression for the new destination.

    ``exact``: upper bits of the operands must be cut off first (otherwise they cannot reach the lower bits of the
    result).
    """

    expression: str
    exact: bool = False
    result: Result = Result.ANYWHERE


ARITHMETIC = {
    "add": Meaning("{a} + {b}", result=Result.ABOVE),
    "sub": Meaning("{a} - {b}", result=Result.BELOW),
    "mul": Meaning("{a} * {b}", result=Result.ABOVE),
    "div": Meaning("{a} // {b} if {b} else 0", exact=True, result=Result.INSIDE),
    "sdiv": Meaning("signed_quotient({a}, {b}, SIGN)", exact=True),
    "or": Meaning("{a} | {b}", result=Result.INSIDE),
    "and": Meaning("{a} & {b}", result=Result.INSIDE),
    "lsh": Meaning("{a} << ({b} & SHIFT)", result=Result.ABOVE),
    "rsh": Meaning("{a} >> ({b} & SHIFT)", exact=True, result=Result.INSIDE),
    "neg": Meaning("-{a}"),
    "mod": Meaning("{a} % {b} if {b} else {a}", exact=True, result=Result.INSIDE),
    "smod": Meaning("signed_remainder({a}, {b}, SIGN)", exact=True),
    "xor": Meaning("{a} ^ {b}", result=Result.INSIDE),
    "mov": Meaning("{b}", result=Result.INSIDE),
    "arsh": Meaning("({a} ^ SIGN) - SIGN >> ({b} & SHIFT)", exact=True),
    "movsx8": Meaning("({b} & 0xFF ^ 0x80) - 0x80"),
    "movsx16": Meaning("({b} & 0xFFFF ^ 0x8000) - 0x8000"),
    "movsx32": Meaning("({b} & 0xFFFF_FFFF ^ 0x8000_0000) - 0x8000_0000"),
}

# Flipping both sign bits turns a signed comparison into an unsigned one.
BRANCHES = {
    "jeq": "{a} == {b}",
    "jne": "{a} != {b}",
    "jset": "{a} & {b}",
    "jgt": "{a} > {b}",
    "jge": "{a} >= {b}",
    "jlt": "{a} < {b}",
    "jle": "{a} <= {b}",
    "jsgt": "({a} ^ SIGN) > ({b} ^ SIGN)",
    "jsge": "({a} ^ SIGN) >= ({b} ^ SIGN)",
    "jslt": "({a} ^ SIGN) < ({b} ^ SIGN)",
    "jsle": "({a} ^ SIGN) <= ({b} ^ SIGN)",
}


def signed_quotient(a: int, b: int, sign: int) -> int:
    """Truncated towards zero; 0 for a zero divisor. The one overflow (MIN / -1) wraps to MIN when it is cut."""
    dividend, divisor = (a ^ sign) - sign, (b ^ sign) - sign
    if not divisor:
        return 0
    quotient = abs(dividend) // abs(divisor)
    return quotient if (dividend < 0) == (divisor < 0) else -quotient


def signed_remainder(a: int, b: int, sign: int) -> int:
    """``a - b * trunc(a / b)``: takes the dividend's sign; the dividend itself for a zero divisor."""
    dividend, divisor = (a ^ sign) - sign, (b ^ sign) - sign
    return dividend - divisor * signed_quotient(a, b, sign)


# The new value in memory, cut to the width by the store, from the old one, the source and r0 (both cut to the width).
ATOMICS: dict[str, Callable[[int, int, int], int]] = {
    "add": lambda old, source, r0: old + source,
    "or": lambda old, source, r0: old | source,
    "and": lambda old, source, r0: old & source,
    "xor": lambda old, source, r0: old ^ source,
    "xchg": lambda old, source, r0: source,
    "cmpxchg": lambda old, source, r0: source if old == r0 else old,
}
