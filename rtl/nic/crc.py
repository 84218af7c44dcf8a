"""CRC-32 over 64-bit words, one word per cycle.

Ref: IEEE 802.3, clause 3.2.9, in the bit order of its reflected form: polynomial 0xEDB88320, initial value and final
inversion all ones, bytes in little-endian order.
"""

from functools import cache

from amaranth import C, Cat, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

POLYNOMIAL = 0xEDB88320
CRC_WIDTH = 32
ALL_ONES = (1 << CRC_WIDTH) - 1


@cache
def _columns() -> tuple[int, ...]:
    """What each of 64 input bits alone leaves in the register after 64 shifts.

    The register before the word is added to the word's low half first, so it needs no columns of its own.
    """
    columns = []
    for bit in range(64):
        register = 1 << bit
        for _ in range(64):
            register = (register >> 1) ^ (POLYNOMIAL if register & 1 else 0)
        columns.append(register)
    return tuple(columns)


def _after_word(register: Value, word: Value) -> Value:
    """The register after `word`: a sum modulo 2 of the columns of the bits that are set."""
    mixed = word ^ register
    rows = [sum(1 << bit for bit, column in enumerate(_columns()) if column >> row & 1) for row in range(CRC_WIDTH)]
    return Cat(*((mixed & C(row, 64)).xor() for row in rows))


class Crc32(wiring.Component):
    """`value` is the CRC of the words taken since `clear`: it changes in the cycle after `valid` or `clear`."""

    def __init__(self) -> None:
        super().__init__(
            {
                "clear": In(1),
                "valid": In(1),
                "word": In(64),
                "value": Out(CRC_WIDTH),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        register = Signal(CRC_WIDTH, init=ALL_ONES)
        m.d.comb += self.value.eq(~register)
        with m.If(self.clear):
            m.d.sync += register.eq(ALL_ONES)
        with m.Elif(self.valid):
            m.d.sync += register.eq(_after_word(register, self.word))
        return m
