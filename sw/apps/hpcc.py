"""The random stream of HPCC RandomAccess, and the table that must come of it.

Ref: HPC Challenge benchmark, RandomAccess: value k of the stream is x**k modulo x**64 + x**2 + x + 1 over GF(2), as the
bits of a word; the sequence repeats after PERIOD values.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

POLYNOMIAL = 7
PERIOD = 1317624576693539401
UPDATES_PER_WORD = 4
_MASK = (1 << 64) - 1
_TOP = 1 << 63


def following(value: int) -> int:
    """The next value of the stream: times x."""
    return value << 1 & _MASK ^ (POLYNOMIAL if value & _TOP else 0)


def starts(index: int) -> int:
    """Value `index` of the stream (value 0 is 1), found in O(log index) steps (the benchmark's HPCC_starts)."""
    index %= PERIOD
    squares = []  # x**(2 i): what bit i of a value becomes when the value is squared
    power = 1
    for _ in range(64):
        squares.append(power)
        power = following(following(power))
    value = 1
    for bit in reversed(range(index.bit_length())):
        square = 0
        for position in range(value.bit_length()):
            if value >> position & 1:
                square ^= squares[position]
        value = following(square) if index >> bit & 1 else square
    return value


def stream(first: int, count: int) -> Iterator[int]:
    """The updates `first` .. `first + count - 1` of the benchmark; update k is value k + 1 of the stream."""
    value = starts(first)
    for _ in range(count):
        value = value << 1 & _MASK ^ (POLYNOMIAL if value & _TOP else 0)
        yield value


def reference(log2_words: int) -> npt.NDArray[np.uint64]:
    """The whole table after all updates, computed by one process in numpy.

    Written differently from `stream` on purpose: the values are made by doubling (the second half of a block is the
    first times the power of x that ends it), not one after the other.
    """
    values = np.array([2], dtype=np.uint64)
    while len(values) < UPDATES_PER_WORD << log2_words:
        values = np.concatenate([values, _times(values, values[-1:])])
    table = np.arange(1 << log2_words, dtype=np.uint64)
    np.bitwise_xor.at(table, values & np.uint64(len(table) - 1), values)
    return table


def _times(values: npt.NDArray[np.uint64], factor: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Each value times one factor, bit by bit of the values: multiplication is linear."""
    product = np.zeros_like(values)
    for bit in range(64):
        product ^= np.where(values >> np.uint64(bit) & np.uint64(1), factor, np.uint64(0))
        factor = _times_x(factor)
    return product


def _times_x(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    return values << np.uint64(1) ^ np.where(values >> np.uint64(63), np.uint64(POLYNOMIAL), np.uint64(0))
