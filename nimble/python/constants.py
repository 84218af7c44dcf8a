"""What is known when a source is compiled: numbers, tuples of them, and arithmetic on both as Python does it."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import NoReturn

from nimble.python.errors import GIVE

Known = int | tuple[int, ...]  # bool is an int

# A constant may pass through values that fit no type, but not through enormous ones.
LIMIT_BITS = 128

OPERATORS: dict[type[ast.operator], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.LShift: "<<",
    ast.RShift: ">>",
    ast.BitAnd: "&",
    ast.BitOr: "|",
    ast.BitXor: "^",
}
COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}
_APPLY: dict[str, Callable[[int, int], int]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "//": lambda a, b: a // b,
    "%": lambda a, b: a % b,
    "<<": lambda a, b: a << b,
    ">>": lambda a, b: a >> b,
    "&": lambda a, b: a & b,
    "|": lambda a, b: a | b,
    "^": lambda a, b: a ^ b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


class FoldError(ValueError):
    """Constant arithmetic that has no result; the text says why and what to do."""


def apply(sign: str, left: int, right: int) -> int:
    """``left sign right``. Raises FoldError."""
    if sign in ("//", "%") and right == 0:
        raise FoldError(f"{left} {sign} 0: division by zero; divide by something else")
    if sign in ("<<", ">>") and not 0 <= right < LIMIT_BITS:
        raise FoldError(f"shift by {right}: is out of range 0..{LIMIT_BITS - 1}; shift by less")
    value = _APPLY[sign](int(left), int(right))
    if value.bit_length() > LIMIT_BITS:
        raise FoldError(f"{sign}: a constant of more than {LIMIT_BITS} bits; make it smaller")
    return value


def dotted(node: ast.expr) -> str:
    """``a.b.c`` for such a chain of attributes, and nothing for any other expression."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        base = dotted(node.value)
        return f"{base}.{node.attr}" if base else ""
    return ""


class Folder:
    """Evaluates the constant expressions at the top of a module. ``fail`` raises the error for a node."""

    def __init__(self, names: Mapping[str, Known], fail: Callable[[ast.AST, str], NoReturn]) -> None:
        self._names = names
        self._fail = fail

    def integer(self, node: ast.expr) -> int:
        """The value of an expression that must be an integer."""
        value = self.known(node)
        if isinstance(value, tuple):
            self._fail(node, f"{ast.unparse(node)}: is a tuple; a number is needed; take one of its elements")
        return value

    def known(self, node: ast.expr) -> Known:
        """The value of an expression."""
        try:
            return self._visit(node)
        except FoldError as error:
            self._fail(node, str(error))

    def _visit(self, node: ast.expr) -> Known:
        match node:
            case ast.Constant(value=(bool() | int()) as number):
                return number
            case ast.Name() | ast.Attribute():
                return self._name(node)
            case ast.Tuple(elts=elements):
                return tuple(self.integer(element) for element in elements)
            case ast.BinOp(op=operator) if type(operator) in OPERATORS:
                sign = OPERATORS[type(operator)]
                return apply(sign, self.integer(node.left), self.integer(node.right))
            case ast.Compare(ops=[operator], comparators=[right]) if type(operator) in COMPARISONS:
                return bool(apply(COMPARISONS[type(operator)], self.integer(node.left), self.integer(right)))
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() | ast.Invert() | ast.Not()):
                return negated(node.op, self.integer(node.operand))
            case ast.IfExp():
                return self._visit(node.body if self.integer(node.test) else node.orelse)
            case ast.Subscript():
                return self._element(node)
            case ast.Call(func=ast.Name(id="len"), args=[argument], keywords=[]):
                value = self._visit(argument)
                if isinstance(value, tuple):
                    return len(value)
            case ast.Call(func=ast.Name(id="min" | "max" as name), args=[left, right], keywords=[]):
                return (min if name == "min" else max)(self.integer(left), self.integer(right))
        self._fail(node, f"{ast.unparse(node)}: is no constant; write numbers, constants and operators on them")

    def _name(self, node: ast.expr) -> Known:
        name = dotted(node)
        if name not in self._names:
            self._fail(node, f"{ast.unparse(node)}: is no constant here; define it above, or {GIVE}")
        return self._names[name]

    def _element(self, node: ast.Subscript) -> int:
        values, index = self._visit(node.value), self.integer(node.slice)
        if not isinstance(values, tuple) or not -len(values) <= index < len(values):
            self._fail(node, f"{ast.unparse(node)}: there is no such element; index a tuple within its length")
        return values[index]


def negated(operator: ast.unaryop, value: int) -> int:
    """A unary operator on a constant."""
    match operator:
        case ast.USub():
            return -value
        case ast.Invert():
            return ~value
        case ast.Not():
            return not value
        case _:
            return value
