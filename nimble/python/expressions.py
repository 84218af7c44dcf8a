"""Expressions to values."""

from __future__ import annotations

import ast

from nimble.python.arithmetic import Arithmetic
from nimble.python.calls import Calls
from nimble.python.constants import COMPARISONS, OPERATORS
from nimble.python.places import MemoryPlace, part_of
from nimble.python.resolve import Resolver
from nimble.python.scope import Scope
from nimble.python.types import BOOL, U64, Constant, Integer, Operand, Scalar, Value

REFUSED: dict[type[ast.AST], str] = {
    ast.Lambda: "lambdas are not known; write a function with def",
    ast.ListComp: "comprehensions are not known; write a for loop",
    ast.SetComp: "comprehensions are not known; write a for loop",
    ast.DictComp: "comprehensions are not known; write a for loop",
    ast.GeneratorExp: "comprehensions are not known; write a for loop",
    ast.JoinedStr: "strings are not known; call a service with numbers",
    ast.Await: "await is not known; services and registers wait by themselves",
    ast.Yield: "yield is not known; return, or call a service",
    ast.YieldFrom: "yield is not known; return, or call a service",
    ast.NamedExpr: ":= is not known; assign in a statement of its own",
    ast.List: "lists are not known; use state(array(..)) or a constant tuple",
    ast.Dict: "dicts are not known; use a struct",
    ast.Set: "sets are not known; use bits of an integer",
    ast.Tuple: "a tuple is no value; constant tuples stand at the top of the source",
    ast.Starred: "* is not known; write the arguments one by one",
}
_OPERATORS = {
    ast.Div: "/ gives a float; write // for whole numbers",
    ast.Pow: "** is not known; multiply, or shift",
    ast.MatMult: "@ is not known; multiply element by element",
}
_COMPARISONS = {
    ast.Is: "is compares objects; write ==",
    ast.IsNot: "is not compares objects; write !=",
    ast.In: "in is not known; compare with each, joined by or",
    ast.NotIn: "in is not known; compare with each, joined by and",
}


class Expressions:
    """Compiles the expressions of one function."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._function = scope.function
        self.arithmetic = Arithmetic(scope.function, scope.cpu, scope.fail)
        self.resolver = Resolver(scope, self.arithmetic, self.value)
        self._calls = Calls(scope, self.arithmetic, self.resolver, self)

    def typed(self, node: ast.expr, kind: Scalar, what: str) -> Value:
        """The expression as a value of ``kind``; ``what`` names it in errors."""
        return self.arithmetic.coerce(self.value(node, kind), kind, node, what)

    def value(self, node: ast.expr, wanted: Scalar | None = None) -> Operand:
        """The expression; ``wanted`` is the type to choose where constants leave it open."""
        result = self.maybe(node, wanted)
        if result is None:
            self._scope.fail(node, f"{ast.unparse(node)}: has no result; call it as a statement")
        return result

    def maybe(self, node: ast.expr, wanted: Scalar | None = None) -> Operand | None:
        """Like ``value``, but None for a call that has no result."""
        if hasattr(node, "lineno"):
            self._function.line = node.lineno
        match node:
            case ast.Constant():
                return self._constant(node)
            case ast.Name() | ast.Attribute() | ast.Subscript():
                return self._place(node)
            case ast.BinOp():
                return self._binary(node, wanted)
            case ast.UnaryOp(op=ast.Not()) | ast.BoolOp():
                return self._boolean(node)
            case ast.UnaryOp():
                return self.arithmetic.unary(node.op, self.value(node.operand), node)
            case ast.Compare():
                return self._compare(node)
            case ast.IfExp():
                return self._choice(node, wanted)
            case ast.Call():
                return self._calls.call(node)
        text = REFUSED.get(type(node), "is not known in an extension; use numbers, names, operators and calls")
        self._scope.fail(node, f"{ast.unparse(node)}: {text}")

    def _constant(self, node: ast.Constant) -> Operand:
        match node.value:
            case bool():
                return Value(BOOL, "true" if node.value else "false")
            case int():
                return Constant(node.value)
            case float() | complex():
                text = "is no integer; there are no floats; scale to integers"
            case str() | bytes():
                text = "strings are not known; use numbers"
            case _:
                text = "is no number; use numbers"
        self._scope.fail(node, f"{ast.unparse(node)}: {text}")

    def _place(self, node: ast.Name | ast.Attribute | ast.Subscript) -> Operand:
        known = self.resolver.constant(node)
        if known is None and isinstance(node, ast.Subscript):
            element = self.resolver.table_element(node)
            known = element.load(self._function) if isinstance(element, MemoryPlace) else element
        if known is not None:
            return known
        if isinstance(node, ast.Attribute):
            part = self._field(node)
            if part is not None:
                return part
        return self.resolver.place(node).load(self._function)

    def _field(self, node: ast.Attribute) -> Value | None:
        """A field of a register, or of a value that was read from one."""
        kind = self._type_of_register(node.value)
        if kind is None:
            return None
        if node.attr not in kind.fields:
            known = ", ".join(kind.fields) or "none"
            self._scope.fail(node, f"{ast.unparse(node)}: the register has no such field; its fields are: {known}")
        value = self.value(node.value)
        assert isinstance(value, Value)
        return part_of(self._function, self.arithmetic, value, kind.fields[node.attr])

    def _type_of_register(self, node: ast.expr) -> Integer | None:
        """The type of an expression that is a register or a variable that holds one's value."""
        if isinstance(node, ast.Name):
            if not self._scope.is_local(node.id):
                return None
            kind = self._scope.lookup(node).type
            return kind if isinstance(kind, Integer) and kind.fields else None
        return self.resolver.register_type(node)

    def _binary(self, node: ast.BinOp, wanted: Scalar | None) -> Operand:
        sign = OPERATORS.get(type(node.op))
        if sign is None:
            self._scope.fail(node, f"{ast.unparse(node)}: {_OPERATORS[type(node.op)]}")
        left = self.value(node.left, wanted)
        beside = left.type if isinstance(left, Value) else wanted
        right = self.value(node.right, U64 if sign in ("<<", ">>") else beside)
        self._function.line = node.lineno
        return self.arithmetic.binary(sign, left, right, node)

    # Truth

    def _boolean(self, node: ast.expr) -> Value:
        """``and``, ``or``, ``not`` as a value."""
        slot = self._function.storage("i1", 1)
        yes, no, done = (self._function.label() for _ in range(3))
        self.condition(node, yes, no, strict=True)
        for label, text in ((yes, "true"), (no, "false")):
            self._function.begin(label)
            self._function.do(f"store i1 {text}, ptr {slot}")
            self._function.jump(done)
        self._function.begin(done)
        return Value(BOOL, self._function.make(f"load i1, ptr {slot}"))

    def condition(self, node: ast.expr, yes: str, no: str, *, strict: bool = False) -> None:
        """Jump to one of two labels. ``strict``: operands of and, or must be bool, because their value is used."""
        match node:
            case ast.BoolOp(op=operator, values=values):
                for part in values[:-1]:
                    following = self._function.label()
                    ways = (following, no) if isinstance(operator, ast.And) else (yes, following)
                    self.condition(part, *ways, strict=strict)
                    self._function.begin(following)
                self.condition(values[-1], yes, no, strict=strict)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                self.condition(operand, no, yes)
            case _:
                truth = self.arithmetic.truth(self.value(node), node, strict=strict)
                self._function.branch(truth.text, yes, no)

    def _compare(self, node: ast.Compare) -> Value:
        for operator in node.ops:
            if type(operator) not in COMPARISONS:
                self._scope.fail(node, f"{ast.unparse(node)}: {_COMPARISONS[type(operator)]}")
        left = self.value(node.left)
        if len(node.ops) == 1:
            right = self.value(node.comparators[0])
            return self.arithmetic.compare(COMPARISONS[type(node.ops[0])], left, right, node)
        return self._chain(node, left)

    def _chain(self, node: ast.Compare, left: Operand) -> Value:
        """``a < b < c``: each operand is evaluated once, and none after the first comparison that fails."""
        slot = self._function.storage("i1", 1)
        done = self._function.label()
        for operator, comparator in zip(node.ops, node.comparators, strict=True):
            right = self.value(comparator)
            result = self.arithmetic.compare(COMPARISONS[type(operator)], left, right, node)
            self._function.do(f"store i1 {result.text}, ptr {slot}")
            following = self._function.label()
            self._function.branch(result.text, following, done)
            self._function.begin(following)
            left = right
        self._function.jump(done)
        self._function.begin(done)
        return Value(BOOL, self._function.make(f"load i1, ptr {slot}"))

    def _choice(self, node: ast.IfExp, wanted: Scalar | None) -> Operand:
        """``a if c else b``: only one of both is evaluated."""
        function = self._function
        yes, no, yes_known, no_known, done = (function.label() for _ in range(5))
        self.condition(node.test, yes, no)
        function.begin(yes)
        one = self.value(node.body, wanted)
        function.jump(yes_known)
        function.begin(no)
        other = self.value(node.orelse, wanted)
        function.jump(no_known)
        what = ast.unparse(node)
        if isinstance(one, Constant) and isinstance(other, Constant):
            if wanted is None:
                self._scope.fail(node, f"{what}: two numbers have no type; write u64({one}) for one of them")
            kind = wanted
        else:
            kind = self.arithmetic.common(one, other, node, what)
        slot = function.storage(kind.ir, kind.align)
        for label, operand in ((yes_known, one), (no_known, other)):
            function.begin(label)
            value = self.arithmetic.coerce(operand, kind, node, what)
            function.do(f"store {kind.ir} {value.text}, ptr {slot}")
            function.jump(done)
        function.begin(done)
        return Value(kind, function.make(f"load {kind.ir}, ptr {slot}"))
