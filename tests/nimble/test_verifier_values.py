"""Values hold every number that they should: each operation and condition, on random values and numbers out of them.

The reference computes with Python's signed integers, one number at a time, and knows nothing of arcs.
"""

from __future__ import annotations

import operator
import random
from collections.abc import Callable

import pytest

from nimble.isa import TABLE, Group, Operation
from nimble.verifier import values
from nimble.verifier.arithmetic import TRANSFERS
from nimble.verifier.branches import REFINEMENTS
from nimble.verifier.values import ANY, MASK, RING, Value

NOTABLE = [0, 1, 7, 8, 63, 64, 255, 4096, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, (1 << 63) - 1, 1 << 63, MASK]
WRAPPED: Value = (RING - 8, RING + 8, 1, 0)
TRIES = 400


def holds(value: Value, number: int) -> bool:
    low, high, step, _ = value
    distance = (number - low) % RING
    return distance <= high - low and (distance % step == 0 if step else distance == 0)


def well_formed(value: Value) -> bool:
    low, high, step, frame = value
    if not 0 <= low < RING or not 0 <= high - low <= MASK or frame not in (0, 1) or step < 0:
        return False
    return low == high if step == 0 else low < high and (high - low) % step == 0


def random_number(generator: random.Random) -> int:
    near = generator.choice(NOTABLE) + generator.randint(-3, 3)
    return generator.choice((near, generator.getrandbits(64), generator.randint(0, 100))) & MASK


def random_value(generator: random.Random) -> Value:
    """Constants, short and long arcs of all kinds of steps, arcs that cross either pole, rings of multiples."""
    low = random_number(generator)
    kind = generator.randrange(6)
    if kind == 0:
        return low, low, 0, 0
    if kind == 1:
        return ANY
    if kind == 2:
        step = 1 << generator.randint(0, 12)
        return low % step, low % step + RING - step, step, 0
    step = generator.choice((1, 1, 2, 3, 8, 24, 1 << generator.randint(0, 40)))
    count = generator.choice((1, 2, 10, generator.randint(1, 1 << generator.randint(1, 60))))
    count = min(count, (MASK - step) // step)
    return low, low + step * count, step, 0


def some_of(value: Value, generator: random.Random) -> list[int]:
    low, high, step, _ = value
    most = (high - low) // step if step else 0
    places = {0, most, most // 2, min(1, most), max(most - 1, 0), generator.randint(0, most)}
    if high > MASK:
        places |= {(RING - low) // step, max((RING - low) // step - 1, 0)}
    return [(low + place * step) % RING for place in places if place <= most]


def signed(number: int, bits: int) -> int:
    number &= (1 << bits) - 1
    return number - (1 << bits) if number >> bits - 1 else number


def unsigned(number: int, bits: int) -> int:
    return number & (1 << bits) - 1


def toward_zero(a: int, b: int) -> int:
    return (abs(a) // abs(b)) * (1 if (a < 0) == (b < 0) else -1)


REFERENCE: dict[str, Callable[[int, int, int], int]] = {
    "add": lambda a, b, n: a + b,
    "sub": lambda a, b, n: a - b,
    "mul": lambda a, b, n: a * b,
    "div": lambda a, b, n: unsigned(a, n) // unsigned(b, n) if unsigned(b, n) else 0,
    "mod": lambda a, b, n: unsigned(a, n) % unsigned(b, n) if unsigned(b, n) else a,
    "sdiv": lambda a, b, n: toward_zero(signed(a, n), signed(b, n)) if signed(b, n) else 0,
    "smod": lambda a, b, n: (
        signed(a, n) - signed(b, n) * toward_zero(signed(a, n), signed(b, n)) if signed(b, n) else a
    ),
    "or": lambda a, b, n: a | b,
    "and": lambda a, b, n: a & b,
    "xor": lambda a, b, n: a ^ b,
    "lsh": lambda a, b, n: a << b % n,
    "rsh": lambda a, b, n: unsigned(a, n) >> b % n,
    "arsh": lambda a, b, n: signed(a, n) >> b % n,
    "neg": lambda a, b, n: -a,
    "mov": lambda a, b, n: b,
    "movsx8": lambda a, b, n: signed(b, 8),
    "movsx16": lambda a, b, n: signed(b, 16),
    "movsx32": lambda a, b, n: signed(b, 32),
    "le": lambda a, b, n: a,
    "be": lambda a, b, n: int(f"{unsigned(a, n):0{n // 4}x}"[::-1], 16),
    "bswap": lambda a, b, n: int(f"{unsigned(a, n):0{n // 4}x}"[::-1], 16),
}


def nibbles_swapped(number: int) -> int:
    return (number & 0x0F0F0F0F0F0F0F0F) << 4 | (number & 0xF0F0F0F0F0F0F0F0) >> 4


def computed(row: Operation, a: int, b: int) -> int:
    result = unsigned(REFERENCE[row.name](a, b, row.bits), row.bits)
    return nibbles_swapped(result) if row.name in ("be", "bswap") else result  # reversed digits are swapped nibbles


CONDITIONS = {
    "jeq": (operator.eq, unsigned), "jne": (operator.ne, unsigned), "jset": (operator.and_, unsigned),
    "jgt": (operator.gt, unsigned), "jge": (operator.ge, unsigned), "jlt": (operator.lt, unsigned),
    "jle": (operator.le, unsigned), "jsgt": (operator.gt, signed), "jsge": (operator.ge, signed),
    "jslt": (operator.lt, signed), "jsle": (operator.le, signed),
}  # fmt: skip


def rows(group: Group) -> list[Operation]:
    return [row for row in TABLE if row.group is group]


@pytest.mark.parametrize(
    "row", rows(Group.ARITHMETIC) + rows(Group.SWAP), ids=lambda row: f"{row.mnemonic}-{row.opcode:x}"
)
def test_results_hold_all_results(row: Operation) -> None:
    generator = random.Random(row.opcode)
    for _ in range(TRIES):
        a, b = random_value(generator), random_value(generator)
        result = TRANSFERS[row](a, b)
        assert well_formed(result), (a, b, result)
        for x in some_of(a, generator):
            for y in some_of(b, generator):
                assert holds(result, computed(row, x, y)), (a, b, result, hex(x), hex(y))


@pytest.mark.parametrize("row", rows(Group.BRANCH), ids=lambda row: f"{row.mnemonic}-{row.opcode:x}")
def test_conditions_leave_what_they_let_through(row: Operation) -> None:
    generator = random.Random(row.opcode)
    relation, read = CONDITIONS[row.name]
    for _ in range(TRIES):
        a, b = random_value(generator), random_value(generator)
        ways = REFINEMENTS[row](a, b)
        for pair in ways:
            assert pair is None or (well_formed(pair[0]) and well_formed(pair[1])), (a, b, pair)
        for x in some_of(a, generator):
            for y in some_of(b, generator):
                way = ways[0 if relation(read(x, row.bits), read(y, row.bits)) else 1]
                assert way is not None, (a, b, hex(x), hex(y))
                assert holds(way[0], x), (a, b, way, hex(x), hex(y))
                assert holds(way[1], y), (a, b, way, hex(x), hex(y))


def test_joins_and_widened_values_hold_both() -> None:
    generator = random.Random(1)
    bounds = sorted(NOTABLE)
    for _ in range(20 * TRIES):
        a, b = random_value(generator), random_value(generator)
        both = values.join(a, b)
        assert well_formed(both)
        for value in (both, values.widen(a, both, bounds), values.join(b, a)):
            assert well_formed(value), (a, b, both, value)
            for x in some_of(a, generator) + some_of(b, generator):
                assert holds(value, x), (a, b, value, hex(x))


def test_shifted_values_and_bounds() -> None:
    generator = random.Random(2)
    for _ in range(10 * TRIES):
        a, distance = random_value(generator), generator.choice((-(1 << 15), -8, 0, 8, (1 << 15) - 1))
        moved = values.shifted(a, distance)
        assert well_formed(moved)
        for x in some_of(a, generator):
            assert holds(moved, x + distance)
            low, high = values.signed_bounds(a)
            assert low <= signed(x, 64) <= high
            low, high = values.unsigned_bounds(a)
            assert low <= x <= high


@pytest.mark.parametrize(
    ("a", "b", "joined"),
    [
        ((0, 0, 0, 0), (24, 24, 0, 0), (0, 24, 24, 0)),
        ((0, 24, 24, 0), (48, 48, 0, 0), (0, 48, 24, 0)),
        ((0, 8, 8, 0), (4, 4, 0, 0), (0, 8, 4, 0)),
        ((0, 8, 1, 0), (RING - 8, RING - 1, 1, 0), WRAPPED),
        ((RING - 8, RING - 8, 0, 1), (RING - 16, RING - 16, 0, 1), (RING - 16, RING - 8, 8, 1)),
        ((RING - 8, RING - 8, 0, 1), (8, 8, 0, 0), ANY),
        ((0, RING - 2, 2, 0), (1, 1, 0, 0), (0, RING - 2, 1, 0)),
        ((0, RING - 8, 8, 0), (16, 16, 0, 0), (0, RING - 8, 8, 0)),
    ],
)
def test_joins_are_small(a: Value, b: Value, joined: Value) -> None:
    assert values.join(a, b) == joined
    assert values.join(b, a) == joined


BY_NAME = {row.mnemonic: TRANSFERS[row] for row in TRANSFERS}


@pytest.mark.parametrize(
    ("mnemonic", "a", "b", "result"),
    [
        ("and", ANY, (511, 511, 0, 0), (0, 511, 1, 0)),
        ("and", ANY, (0xF8, 0xF8, 0, 0), (0, 0xF8, 8, 0)),
        ("and", ANY, (RING - 8, RING - 8, 0, 0), (0, RING - 8, 8, 0)),
        ("and", (0, 20, 4, 0), (7, 7, 0, 0), (0, 4, 4, 0)),
        ("and", (1, 3, 1, 0), (RING - 8, RING - 8, 0, 0), (0, 0, 0, 0)),
        ("lsh", (0, 511, 1, 0), (3, 3, 0, 0), (0, 4088, 8, 0)),
        ("lsh32", (0, 5, 1, 0), (35, 35, 0, 0), (0, 40, 8, 0)),
        ("mul", (0, 63, 1, 0), (48, 48, 0, 0), (0, 3024, 48, 0)),
        ("mul", (1, 3, 1, 0), (RING - 2, RING - 2, 0, 0), (RING - 6, RING - 2, 2, 0)),
        ("add", (0, 3024, 48, 0), (16, 16, 0, 0), (16, 3040, 48, 0)),
        ("sub", WRAPPED, (8, 8, 0, 0), (RING - 16, RING, 1, 0)),
        ("or", (0, 56, 8, 0), (4, 4, 0, 0), (4, 60, 8, 0)),
        ("rsh", ANY, (61, 61, 0, 0), (0, 7, 1, 0)),
        ("rsh", (0, 64, 16, 0), (3, 3, 0, 0), (0, 8, 2, 0)),
        ("arsh", (0, 10 << 32, 1 << 32, 0), (32, 32, 0, 0), (0, 10, 1, 0)),
        ("arsh", (RING - 16, RING + 16, 8, 0), (3, 3, 0, 0), (RING - 2, RING + 2, 1, 0)),
        ("mod", ANY, (10, 10, 0, 0), (0, 9, 1, 0)),
        ("mod", (0, 1000, 8, 0), (24, 24, 0, 0), (0, 16, 8, 0)),
        ("mov32", ANY, ANY, (0, (1 << 32) - 1, 1, 0)),
        ("add32", ((1 << 32) - 1, (1 << 32) - 1, 0, 0), (1, 1, 0, 0), (0, 0, 0, 0)),
        ("movsx864", ANY, ANY, (RING - 128, RING + 127, 1, 0)),
        ("movsx3264", ANY, (0, 99, 1, 0), (0, 99, 1, 0)),
        ("le16", ANY, ANY, (0, 65535, 1, 0)),
        ("bswap32", (0x11223344,) * 2 + (0, 0), ANY, (0x44332211,) * 2 + (0, 0)),
    ],
)  # fmt: skip
def test_results_are_small(mnemonic: str, a: Value, b: Value, result: Value) -> None:
    assert BY_NAME[mnemonic](a, b) == result


@pytest.mark.parametrize(
    ("mnemonic", "a", "b", "taken", "other"),
    [
        ("jlt", ANY, (10, 10, 0, 0), (0, 9, 1, 0), (10, MASK, 1, 0)),
        ("jlt", (0, RING - 8, 8, 0), (20, 20, 0, 0), (0, 16, 8, 0), (24, RING - 8, 8, 0)),
        ("jge", (0, 9, 1, 0), (10, 10, 0, 0), None, (0, 9, 1, 0)),
        ("jsgt", ANY, (9, 9, 0, 0), (10, (1 << 63) - 1, 1, 0), (1 << 63, RING + 9, 1, 0)),
        ("jslt", WRAPPED, (0, 0, 0, 0), (RING - 8, RING - 1, 1, 0), (0, 8, 1, 0)),
        ("jslt32", (0, 100, 1, 0), (10, 10, 0, 0), (0, 9, 1, 0), (10, 100, 1, 0)),
        ("jlt32", ANY, (10, 10, 0, 0), ANY, ANY),
        ("jeq", ANY, (7, 7, 0, 0), (7, 7, 0, 0), ANY),
        ("jne", (0, 80, 8, 0), (80, 80, 0, 0), (0, 72, 8, 0), (80, 80, 0, 0)),
        ("jset", ANY, (7, 7, 0, 0), (1, MASK, 1, 0), (0, RING - 8, 8, 0)),
        ("jset", ANY, (RING - 64, RING - 64, 0, 0), (1, MASK, 1, 0), (0, 63, 1, 0)),
        ("jset", (0, 8, 1, 0), (7, 7, 0, 0), (1, 8, 1, 0), (0, 8, 8, 0)),
    ],
)
def test_conditions_narrow(mnemonic: str, a: Value, b: Value, taken: Value | None, other: Value | None) -> None:
    row = next(row for row in REFINEMENTS if row.mnemonic == mnemonic)
    ways = REFINEMENTS[row](a, b)
    assert tuple(way and way[0] for way in ways) == (taken, other)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (ANY, "any number"),
        ((4096, 4096, 0, 0), "0x1000"),
        ((0, 56, 8, 0), "0x0..0x38 step 8"),
        ((1, 3, 1, 0), "0x1..0x3"),
        ((0, RING - 8, 8, 0), "a multiple of 8"),
        ((4, RING - 4, 8, 0), "a multiple of 8, plus 4"),
        ((RING - 8, RING - 8, 0, 1), "r10-8"),
        ((RING - 16, RING - 8, 8, 1), "r10-16..r10-8 step 8"),
        ((0, MASK, 1, 1), "r10 plus anything"),
        ((0, RING - 8, 8, 1), "r10 plus a multiple of 8"),
    ],
)
def test_values_have_words(value: Value, text: str) -> None:
    assert values.text(value) == text
