"""CRC-32 over flits, one flit per cycle.

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
def _rows(datapath_bits: int) -> tuple[int, ...]:
    """For each bit of the register after a flit, which bits of the flit it is the sum of (modulo 2).

    The register before the flit is added to the flit's first 32 bits, so it needs no sums of its own.
    """
    rows = [0] * CRC_WIDTH
    for bit in range(datapath_bits):
        register = 1 << bit
        for _ in range(datapath_bits):
            register = (register >> 1) ^ (POLYNOMIAL if register & 1 else 0)
        for row in range(CRC_WIDTH):
            rows[row] |= (register >> row & 1) << bit
    return tuple(rows)


def _after_flit(register: Value, flit: Value) -> Value:
    mixed = flit ^ register
    return Cat(*((mixed & C(row, len(flit))).xor() for row in _rows(len(flit))))


class Crc32(wiring.Component):
    """`value` is the CRC of the flits taken since `clear`: it changes in the cycle after `valid` or `clear`."""

    def __init__(self, datapath_bits: int) -> None:
        super().__init__(
            {
                "clear": In(1),
                "valid": In(1),
                "flit": In(datapath_bits),
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
            m.d.sync += register.eq(_after_flit(register, self.flit))
        return m
