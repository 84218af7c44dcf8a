"""The arithmetic of atomic operations on one 64-bit word of memory."""

from amaranth import C, Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.portals import AtomicOperation, AtomicType

_HALF = 32
_WIDE = (AtomicType.INT64, AtomicType.UINT64)
_SIGNED = (AtomicType.INT32, AtomicType.INT64)


class Alu(wiring.Component):
    """One datum of 64 bits, or two of 32 bits side by side. Combinational; an unknown operation leaves memory alone."""

    def __init__(self) -> None:
        super().__init__(
            {
                "operation": In(8),
                "type": In(8),
                "memory": In(64),
                "datum": In(64),
                "operand": In(64),
                "result": Out(64),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        wide = Signal()
        operand = Signal(64)
        m.d.comb += [
            wide.eq(self.type.matches(*_WIDE)),
            operand.eq(Mux(wide, self.operand, self.operand[:_HALF].replicate(2))),
        ]
        less = self._compare(m, wide)
        takes_datum = Mux(self.operation == AtomicOperation.MIN, ~less, less)
        equal = self._equal(m, wide, operand)
        with m.Switch(self.operation):
            with m.Case(AtomicOperation.SUM):
                m.d.comb += self.result.eq(self._sum(m, wide))
            with m.Case(AtomicOperation.MIN, AtomicOperation.MAX):
                m.d.comb += self.result.eq(self._choose(takes_datum))
            with m.Case(AtomicOperation.AND):
                m.d.comb += self.result.eq(self.memory & self.datum)
            with m.Case(AtomicOperation.OR):
                m.d.comb += self.result.eq(self.memory | self.datum)
            with m.Case(AtomicOperation.XOR):
                m.d.comb += self.result.eq(self.memory ^ self.datum)
            with m.Case(AtomicOperation.SWAP):
                m.d.comb += self.result.eq(self.datum)
            with m.Case(AtomicOperation.CSWAP):
                m.d.comb += self.result.eq(self._choose(equal))
            with m.Case(AtomicOperation.MSWAP):
                m.d.comb += self.result.eq((self.memory & ~operand) | (self.datum & operand))
            with m.Default():
                m.d.comb += self.result.eq(self.memory)
        return m

    def _choose(self, takes_datum: Value) -> Value:
        """Of each half the datum if its bit of `takes_datum` is set, else what memory has."""
        return Cat(
            Mux(takes_datum[half], self.datum.word_select(half, _HALF), self.memory.word_select(half, _HALF))
            for half in range(2)
        )

    def _sum(self, m: Module, wide: Value) -> Value:
        """The carry passes from half to half only inside a wide datum."""
        low = Signal(_HALF + 1)
        m.d.comb += low.eq(self.memory[:_HALF] + self.datum[:_HALF])
        high = self.memory[_HALF:] + self.datum[_HALF:] + (low[_HALF] & wide)
        return Cat(low[:_HALF], high[:_HALF])

    def _compare(self, m: Module, wide: Value) -> Value:
        """A bit for each half: whether memory's datum is less. Signed data: inverting the sign bits gives the order."""
        signed = self.type.matches(*_SIGNED)
        signs = Cat(C(0, _HALF - 1), signed & ~wide, C(0, _HALF - 1), signed)
        memory = Signal(64)
        datum = Signal(64)
        less = Signal(2)
        m.d.comb += [memory.eq(self.memory ^ signs), datum.eq(self.datum ^ signs)]
        m.d.comb += [
            less[half].eq(memory.word_select(half, _HALF) < datum.word_select(half, _HALF)) for half in range(2)
        ]
        of_both = less[1] | ((memory[_HALF:] == datum[_HALF:]) & less[0])
        return Mux(wide, of_both.replicate(2), less)

    def _equal(self, m: Module, wide: Value, operand: Value) -> Value:
        """A bit for each half: whether memory's datum equals the operand."""
        equal = Signal(2)
        m.d.comb += [
            equal[half].eq(self.memory.word_select(half, _HALF) == operand.word_select(half, _HALF))
            for half in range(2)
        ]
        return Mux(wide, equal.all().replicate(2), equal)
