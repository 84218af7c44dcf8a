"""Places: what can stand left of ``=``. Local variables, memory, parts of words, and device registers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nimble.python.arithmetic import Arithmetic
from nimble.python.ir import BARRIER, Function
from nimble.python.scope import Local
from nimble.python.types import BOOL, U64, Array, Bits, Boolean, Integer, Memory, Pointer, Scalar, Struct, Value


@dataclass(frozen=True)
class LocalPlace:
    """A local variable."""

    local: Local
    name: str

    @property
    def type(self) -> Scalar:
        return self.local.type

    def load(self, function: Function) -> Value:
        return Value(self.type, function.make(f"load {self.type.ir}, ptr {self.local.address}"))

    def store(self, function: Function, value: Value) -> None:
        function.do(f"store {self.type.ir} {value.text}, ptr {self.local.address}")


@dataclass(frozen=True)
class MemoryPlace:
    """Something in memory at ``offset`` bytes from ``base``."""

    memory: Memory
    base: str
    offset: str = "0"

    @property
    def type(self) -> Scalar:
        """The type of what is loaded from it; structs and arrays are seen through a pointer."""
        if isinstance(self.memory, Struct):
            return Pointer(self.memory)
        return Pointer(self.memory.element) if isinstance(self.memory, Array) else self.memory

    def address(self, function: Function) -> str:
        """Its address."""
        if self.offset == "0":
            return self.base
        return function.make(f"getelementptr i8, ptr {self.base}, i64 {self.offset}")

    def load(self, function: Function) -> Value:
        address = self.address(function)
        if isinstance(self.memory, Struct | Array):
            return Value(self.type, address)
        if isinstance(self.memory, Boolean):
            byte = function.make(f"load i8, ptr {address}")
            return Value(BOOL, function.make(f"icmp ne i8 {byte}, 0"))
        text = function.make(f"load {self.memory.ir}, ptr {address}, align {self.memory.align}")
        return Value(self.memory, text)

    def store(self, function: Function, value: Value) -> None:
        address = self.address(function)
        if isinstance(value.type, Boolean):
            byte = function.make(f"zext i1 {value.text} to i8")
            function.do(f"store i8 {byte}, ptr {address}")
        else:
            function.do(f"store {value.type.ir} {value.text}, ptr {address}, align {value.type.align}")


@dataclass(frozen=True)
class BitsPlace:
    """Bits of a 64-bit word in memory; a store leaves the others as they are."""

    type: Integer
    word: MemoryPlace
    bits: Bits

    def load(self, function: Function) -> Value:
        return extract(function, self.word.load(function).text, self.bits, self.type)

    def store(self, function: Function, value: Value) -> None:
        mask = ((1 << self.bits.width) - 1) << self.bits.lsb
        rest = function.make(f"and i64 {self.word.load(function).text}, {~mask}")
        self.word.store(function, Value(U64, function.make(f"or i64 {rest}, {insert(function, value, self.bits)}")))


@dataclass(frozen=True)
class RegisterPlace:
    """A device's register: each load and store is one access, in the order of the source, and a barrier for memory."""

    name: str
    bits: int
    base: str
    offset: int
    fields: Mapping[str, Bits]

    @property
    def type(self) -> Integer:
        return Integer(self.bits, False, self.fields)

    def address(self, function: Function) -> str:
        """Its address, as an offset from a base that the registers of one element share."""
        base = function.make(f"inttoptr i64 {self.base} to ptr")
        return function.make(f"getelementptr i8, ptr {base}, i64 {self.offset}") if self.offset else base

    def load(self, function: Function) -> Value:
        function.do(BARRIER)
        at = self.address(function)
        value = function.make(f"load volatile {self.type.ir}, ptr {at}, align {self.bits // 8}")
        function.do(BARRIER)
        return Value(self.type, value)

    def store(self, function: Function, value: Value) -> None:
        function.do(BARRIER)
        at = self.address(function)
        function.do(f"store volatile {self.type.ir} {value.text}, ptr {at}, align {self.bits // 8}")
        function.do(BARRIER)


Place = LocalPlace | MemoryPlace | BitsPlace | RegisterPlace


def extract(function: Function, word: str, bits: Bits, kind: Integer) -> Value:
    """A part of a word of 64 bits as an integer of ``kind``."""
    shifted = function.make(f"lshr i64 {word}, {bits.lsb}")
    masked = function.make(f"and i64 {shifted}, {U64.wrap((1 << bits.width) - 1)}")
    return Value(kind, function.make(f"trunc i64 {masked} to {kind.ir}") if kind.bits < 64 else masked)


def insert(function: Function, value: Value, bits: Bits) -> str:
    """A word of 64 bits with the lowest bits of ``value`` in their place and zeros elsewhere."""
    wide = value.text
    if value.type.ir != "i64":
        wide = function.make(f"zext {value.type.ir} {wide} to i64")
    masked = function.make(f"and i64 {wide}, {(1 << bits.width) - 1}")
    return function.make(f"shl i64 {masked}, {bits.lsb}")


def part_of(function: Function, arithmetic: Arithmetic, value: Value, bits: Bits) -> Value:
    """A field of a value that was read from a register, as u64."""
    return extract(function, arithmetic.convert(value, U64).text, bits, U64)
