"""Operators on typed values, with Python's results wrapped to the width of their type.

Two operands have one type: a constant takes that of the other, and of two widths the wider one holds. Signed never
meets unsigned. Beyond that:

- ``//`` and ``%`` round down, as in Python; by zero they do not fault: x // 0 is 0 and x % 0 is x (RFC 9669).
- Shifts by the width or more give 0 (or -1, for a negative number shifted right), as in Python; ``>>`` of a signed
  number keeps its sign. The amount is unsigned.
"""

from __future__ import annotations

import ast

from nimble.python.constants import FoldError, apply, negated
from nimble.python.declarations import Fail
from nimble.python.ir import Function
from nimble.python.types import BOOL, I64, U64, Boolean, Constant, Integer, Operand, Pointer, Scalar, Value

_INSTRUCTIONS = {"+": "add", "-": "sub", "*": "mul", "&": "and", "|": "or", "^": "xor"}
_EQUAL = {"==": "eq", "!=": "ne"}
_ORDER = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge"}


class Arithmetic:
    """Writes operators into one function."""

    def __init__(self, function: Function, cpu: str, fail: Fail) -> None:
        self._function = function
        self._cpu = cpu
        self._fail = fail

    # Types

    def coerce(self, operand: Operand, kind: Scalar, node: ast.AST, what: str) -> Value:
        """``operand`` as a value of ``kind``, where that changes no number; ``what`` names it in errors."""
        if isinstance(operand, Constant):
            return self._fit(operand, kind, node, what)
        if operand.type == kind:
            return Value(kind, operand.text)
        if isinstance(operand.type, Integer) and isinstance(kind, Integer):
            if operand.type.signed != kind.signed:
                self._fail(node, f"{what}: is {operand.type}, not {kind}; signs do not mix; write {kind}(..)")
            if operand.type.bits > kind.bits:
                self._fail(node, f"{what}: is {operand.type}, wider than {kind}; write {kind}(..) to cut it")
            return self.convert(operand, kind)
        self._fail(node, f"{what}: is {operand.type}, not {kind}; {_remedy(operand.type, kind)}")

    def _fit(self, constant: Constant, kind: Scalar, node: ast.AST, what: str) -> Value:
        if isinstance(kind, Boolean):
            self._fail(node, f"{what}: is the number {constant}, not bool; write True, False or a comparison")
        if isinstance(kind, Pointer):
            self._fail(node, f"{what}: is the number {constant}, not {kind}; write {kind}(..)")
        if not kind.low <= constant.value <= kind.high:
            text = f"{constant} does not fit {kind}; {kind.low}..{kind.high} do; write {kind}({constant}) to wrap it"
            self._fail(node, f"{what}: {text}")
        return _literal(kind, constant.value)

    def unify(self, left: Operand, right: Operand, node: ast.AST, what: str) -> tuple[Value, Value]:
        """Both as values of one type; at least one is a value."""
        kind = self.common(left, right, node, what)
        return self.coerce(left, kind, node, what), self.coerce(right, kind, node, what)

    def common(self, left: Operand, right: Operand, node: ast.AST, what: str) -> Scalar:
        """The type that both can have; at least one is a value."""
        if isinstance(left, Constant):
            assert isinstance(right, Value)
            return right.type
        if isinstance(right, Constant):
            return left.type
        one, other = left.type, right.type
        if isinstance(one, Integer) and isinstance(other, Integer):
            if one.signed != other.signed:
                text = f"{what}: {one} and {other} do not mix, because no type holds both"
                self._fail(node, f"{text}; convert one, as in {one}(..)")
            return one if one.bits >= other.bits else other
        if one != other:
            self._fail(node, f"{what}: {one} and {other} do not go together; {_remedy(other, one)}")
        return one

    def convert(self, operand: Operand, kind: Integer) -> Value:
        """``operand`` in another integer type: extended by its own sign, or cut. Changes numbers."""
        if isinstance(operand, Constant):
            return _literal(kind, operand.value)
        make, was = self._function.make, operand.type
        if isinstance(was, Pointer):
            address = make(f"ptrtoint ptr {operand.text} to i64")
            return self.convert(Value(U64, address), kind)
        bits = was.bits if isinstance(was, Integer) else 1
        if bits == kind.bits:
            return Value(Integer(kind.bits, kind.signed), operand.text)
        signed = isinstance(was, Integer) and was.signed
        verb = "trunc" if bits > kind.bits else "sext" if signed else "zext"
        return Value(kind, make(f"{verb} {was.ir} {operand.text} to {kind.ir}"))

    def pointer(self, operand: Operand, kind: Pointer) -> Value:
        """The pointer with this address."""
        address = self.convert(operand, U64)
        return Value(kind, self._function.make(f"inttoptr i64 {address.text} to ptr"))

    def truth(self, operand: Operand, node: ast.AST, *, strict: bool = False) -> Value:
        """Whether it is not zero. ``strict``: it has to be bool already."""
        if isinstance(operand, Value) and isinstance(operand.type, Boolean):
            return operand
        if strict:
            text = f"{ast.unparse(node)}: and, or give one of their operands in Python"
            self._fail(node, f"{text}; compare numbers, as in x != 0")
        if isinstance(operand, Constant):
            return Value(BOOL, "true" if operand.value else "false")
        zero = "null" if isinstance(operand.type, Pointer) else "0"
        return Value(BOOL, self._function.make(f"icmp ne {operand.type.ir} {operand.text}, {zero}"))

    # Operators

    def unary(self, operator: ast.unaryop, operand: Operand, node: ast.AST) -> Operand:
        """``-x``, ``~x`` and ``+x``."""
        if isinstance(operand, Constant):
            return Constant(negated(operator, operand.value))
        if not isinstance(operand.type, Integer):
            text = f"{ast.unparse(node)}: is of {operand.type}"
            self._fail(node, f"{text}; the operator takes integers; write u64(..)")
        kind = Integer(operand.type.bits, operand.type.signed)
        match operator:
            case ast.USub():
                return Value(kind, self._function.make(f"sub {kind.ir} 0, {operand.text}"))
            case ast.Invert():
                return Value(kind, self._function.make(f"xor {kind.ir} {operand.text}, -1"))
            case _:
                return Value(kind, operand.text)

    def binary(self, sign: str, left: Operand, right: Operand, node: ast.AST) -> Operand:
        """``left sign right``."""
        if isinstance(left, Constant) and isinstance(right, Constant):
            try:
                return Constant(apply(sign, left.value, right.value))
            except FoldError as error:
                self._fail(node, str(error))
        if isinstance(left, Value) and isinstance(left.type, Pointer):
            return self._move(sign, left, left.type, right, node)
        if sign in ("<<", ">>"):
            return self._shift(sign, left, right, node)
        if _is_flag(left) != _is_flag(right):
            self._fail(node, f"{sign}: is not defined for bool and a number; convert, as in u64(..)")
        one, other = self.unify(left, right, node, sign)
        if isinstance(one.type, Boolean) and sign in ("&", "|", "^"):
            return Value(BOOL, self._function.make(f"{_INSTRUCTIONS[sign]} i1 {one.text}, {other.text}"))
        if not isinstance(one.type, Integer):
            self._fail(node, f"{sign}: is not defined for {one.type}; convert to an integer, as in u64(..)")
        kind = Integer(one.type.bits, one.type.signed)
        if sign in ("//", "%"):
            return self._divide(sign, kind, one.text, other.text, right, node)
        return Value(kind, self._function.make(f"{_INSTRUCTIONS[sign]} {kind.ir} {one.text}, {other.text}"))

    def compare(self, sign: str, left: Operand, right: Operand, node: ast.AST) -> Value:
        """``left sign right`` as a bool."""
        if isinstance(left, Constant) and isinstance(right, Constant):
            return Value(BOOL, "true" if apply(sign, left.value, right.value) else "false")
        if _is_flag(left) != _is_flag(right):
            self._fail(node, f"{sign}: compares bool and a number; write not x, or convert, as in u64(..)")
        one, other = self.unify(left, right, node, sign)
        if sign in _EQUAL:
            word = _EQUAL[sign]
        elif isinstance(one.type, Integer):
            word = ("s" if one.type.signed else "u") + _ORDER[sign]
        else:
            self._fail(node, f"{sign}: {one.type} has no order; compare with == or !=, or convert to an integer")
        return Value(BOOL, self._function.make(f"icmp {word} {one.type.ir} {one.text}, {other.text}"))

    def select(self, condition: str, yes: Value, no: Value) -> Value:
        """One of two values of the same type."""
        ir = yes.type.ir
        return Value(yes.type, self._function.make(f"select i1 {condition}, {ir} {yes.text}, {ir} {no.text}"))

    def scaled(self, index: Operand, size: int, node: ast.AST) -> str:
        """An index times ``size`` bytes, as a 64-bit operand."""
        if isinstance(index, Constant):
            return str(I64.wrap(index.value * size))
        if not isinstance(index.type, Integer):
            self._fail(node, f"index of {index.type}; an index is an integer; write u64(..)")
        wide = self.convert(index, I64 if index.type.signed else U64).text
        return wide if size == 1 else self._function.make(f"mul i64 {wide}, {size}")

    def _move(self, sign: str, left: Value, kind: Pointer, right: Operand, node: ast.AST) -> Value:
        if sign not in ("+", "-") or (isinstance(right, Value) and not isinstance(right.type, Integer)):
            self._fail(node, f"{sign}: a pointer moves by + or - elements only; convert it with u64(..) for more")
        distance = self.scaled(right, kind.target.size, node)
        if sign == "-":
            distance = self._function.make(f"sub i64 0, {distance}")
        return Value(kind, self._function.make(f"getelementptr i8, ptr {left.text}, i64 {distance}"))

    def _shift(self, sign: str, left: Operand, right: Operand, node: ast.AST) -> Value:
        if isinstance(left, Constant):
            assert isinstance(right, Value)
            left = self.coerce(left, right.type, node, sign)
        kind = left.type
        if not isinstance(kind, Integer):
            self._fail(node, f"{sign}: is not defined for {kind}; convert to an integer, as in u64(..)")
        kind = Integer(kind.bits, kind.signed)
        verb = "shl" if sign == "<<" else "ashr" if kind.signed else "lshr"
        make = self._function.make
        lost = f"{kind.bits - 1}" if verb == "ashr" else ""
        if isinstance(right, Constant):
            if right.value < 0:
                self._fail(node, f"{sign} {right}: shifts by a negative number; shift the other way")
            if right.value < kind.bits:
                return Value(kind, make(f"{verb} {kind.ir} {left.text}, {right}"))
            return Value(kind, make(f"ashr {kind.ir} {left.text}, {lost}") if lost else "0")
        if not isinstance(right.type, Integer) or right.type.signed:
            self._fail(node, f"{sign}: the amount is {right.type}; amounts are unsigned; write u64(..)")
        amount = self.convert(right, kind).text
        inside = make(f"icmp ult {right.type.ir} {right.text}, {kind.bits}")
        shifted = Value(kind, make(f"{verb} {kind.ir} {left.text}, {amount}"))
        outside = Value(kind, make(f"ashr {kind.ir} {left.text}, {lost}") if lost else "0")
        return self.select(inside, shifted, outside)

    # Division

    def _divide(self, sign: str, kind: Integer, left: str, right: str, divisor: Operand, node: ast.AST) -> Value:
        if kind.signed and self._cpu != "v4":
            self._fail(node, f"{sign} of {kind}: signed division needs cpu v4, not {self._cpu}; use unsigned numbers")
        if isinstance(divisor, Constant):
            if divisor.value == 0:
                self._fail(node, f"{sign} 0: division by zero; divide by something else")
            return Value(kind, self._quotient(sign, kind, left, right))
        function = self._function
        slot = function.storage(kind.ir, kind.align)
        function.do(f"store {kind.ir} {'0' if sign == '//' else left}, ptr {slot}")
        divide, done = function.label(), function.label()
        function.branch(function.make(f"icmp eq {kind.ir} {right}, 0"), done, divide)
        function.begin(divide)
        function.do(f"store {kind.ir} {self._quotient(sign, kind, left, right)}, ptr {slot}")
        function.jump(done)
        function.begin(done)
        return Value(kind, function.make(f"load {kind.ir}, ptr {slot}"))

    def _quotient(self, sign: str, kind: Integer, left: str, right: str) -> str:
        """Of a divisor that is not zero."""
        make, ir = self._function.make, kind.ir
        if not kind.signed:
            return make(f"{'udiv' if sign == '//' else 'urem'} {ir} {left}, {right}")
        # By -1 the lowest number would overflow: divide by 1 and negate.
        minus = make(f"icmp eq {ir} {right}, -1")
        safe = make(f"select i1 {minus}, {ir} 1, {ir} {right}")
        rest = make(f"srem {ir} {left}, {safe}")
        uneven = make(f"icmp ne {ir} {rest}, 0")
        apart = make(f"icmp slt {ir} {make(f'xor {ir} {rest}, {right}')}, 0")
        down = make(f"and i1 {uneven}, {apart}")
        if sign == "%":
            return make(f"select i1 {down}, {ir} {make(f'add {ir} {rest}, {right}')}, {ir} {rest}")
        negative = make(f"sub {ir} 0, {left}")
        quotient = make(f"select i1 {minus}, {ir} {negative}, {ir} {make(f'sdiv {ir} {left}, {safe}')}")
        return make(f"select i1 {down}, {ir} {make(f'sub {ir} {quotient}, 1')}, {ir} {quotient}")


def _is_flag(operand: Operand) -> bool:
    return isinstance(operand, Value) and isinstance(operand.type, Boolean)


def _literal(kind: Integer, value: int) -> Value:
    return Value(kind, str(Integer(kind.bits, True).wrap(value)))


def _remedy(was: Scalar, wanted: Scalar) -> str:
    if isinstance(wanted, Boolean):
        return "compare it, as in x != 0"
    if isinstance(wanted, Pointer):
        return f"write {wanted}(..)" if was == U64 else "give a pointer of that type"
    return f"write {wanted}(..)"
