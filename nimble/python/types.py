"""The types of the subset: integers of a width, bool, pointers, structs and arrays; and the two kinds of value.

Sizes, offsets and alignments are in bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

POINTER_BYTES = 8


class Bits(NamedTuple):
    """``width`` bits from bit ``lsb`` up."""

    lsb: int
    width: int


@dataclass(frozen=True)
class Integer:
    """An integer of 8, 16, 32 or 64 bits. ``fields`` names parts of it when it was read from a device's register."""

    bits: int
    signed: bool
    fields: Mapping[str, Bits] = field(default_factory=dict, compare=False)

    def __str__(self) -> str:
        return f"{'i' if self.signed else 'u'}{self.bits}"

    @property
    def ir(self) -> str:
        return f"i{self.bits}"

    @property
    def size(self) -> int:
        return self.bits // 8

    @property
    def align(self) -> int:
        return self.size

    @property
    def low(self) -> int:
        return -(1 << self.bits - 1) if self.signed else 0

    @property
    def high(self) -> int:
        return (1 << self.bits - self.signed) - 1

    def wrap(self, value: int) -> int:
        """``value`` modulo 2**bits, in this type's range."""
        value &= (1 << self.bits) - 1
        return value - (1 << self.bits) if value > self.high else value


@dataclass(frozen=True)
class Boolean:
    """True or False; a byte in memory."""

    ir = "i1"
    size = 1
    align = 1

    def __str__(self) -> str:
        return "bool"


@dataclass(frozen=True)
class Void:
    """What a function without a result returns."""

    ir = "void"

    def __str__(self) -> str:
        return "None"


@dataclass(eq=False)
class Struct:
    """A record in memory; two structs are the same type only if they are the same class of the source."""

    name: str
    members: dict[str, Member] = field(default_factory=dict)
    size: int = 0
    align: int = 1

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Array:
    """``length`` elements side by side."""

    element: Memory
    length: int

    def __str__(self) -> str:
        return f"array({self.element}, {self.length})"

    @property
    def size(self) -> int:
        return self.length * self.element.size

    @property
    def align(self) -> int:
        return self.element.align


@dataclass(frozen=True)
class Pointer:
    """An address of elements of a type, aligned as they are. A struct's own name stands for a pointer to it."""

    target: Memory

    ir = "ptr"
    size = POINTER_BYTES
    align = POINTER_BYTES

    def __str__(self) -> str:
        return f"Pointer[{self.target}]"


Scalar = Integer | Boolean | Pointer
Memory = Scalar | Struct | Array
Result = Scalar | Void


class Member(NamedTuple):
    """A member of a struct: at ``offset``; ``bits`` if it is only part of the 64-bit word there."""

    type: Memory
    offset: int
    bits: Bits | None = None


BOOL = Boolean()
VOID = Void()
INTEGERS = {str(one): one for one in (Integer(bits, signed) for signed in (False, True) for bits in (8, 16, 32, 64))}
U64 = INTEGERS["u64"]
I64 = INTEGERS["i64"]


@dataclass(frozen=True)
class Value:
    """A typed value: ``text`` is its operand in LLVM's language."""

    type: Scalar
    text: str


@dataclass(frozen=True)
class Constant:
    """An integer known now, which takes the type of what it meets."""

    value: int

    def __str__(self) -> str:
        return str(self.value)


Operand = Value | Constant
