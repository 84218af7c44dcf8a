"""Statements, and which names have a value where."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import NamedTuple

from nimble.python.constants import OPERATORS
from nimble.python.declarations import Builtin, Table, Variable
from nimble.python.expressions import REFUSED, Expressions
from nimble.python.places import LocalPlace, Place
from nimble.python.scope import Scope
from nimble.python.types import I64, U64, Array, Constant, Integer, Operand, Scalar, Struct, Value, Void

_REFUSED: dict[type[ast.AST], str] = {
    ast.Try: "exceptions are not known; a fault stops the extension; test before",
    ast.TryStar: "exceptions are not known; a fault stops the extension; test before",
    ast.Raise: "exceptions are not known; return a number that says what happened",
    ast.With: "with is not known; write the calls",
    ast.Assert: "assert is not known; test with if, and return",
    ast.Delete: "del is not known; variables end with their function",
    ast.FunctionDef: "functions stand at the top of the source; move it there",
    ast.AsyncFunctionDef: "async is not known; services and registers wait by themselves",
    ast.ClassDef: "classes stand at the top of the source; move it there",
    ast.Import: "imports stand at the top of the source; move it there",
    ast.ImportFrom: "imports stand at the top of the source; move it there",
    ast.Match: "match is not known; write if and elif",
    ast.Nonlocal: "nonlocal is not known; pass it as an argument",
}


class _Loop(NamedTuple):
    """Where break and continue go, and what was assigned where break was."""

    following: str
    done: str
    breaks: list[set[str]]


class Statements:
    """Compiles the body of one function."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._function = scope.function
        self._expressions = Expressions(scope)
        self._loops: list[_Loop] = []

    def body(self, statements: Sequence[ast.stmt]) -> None:
        """The statements, in order."""
        for statement in statements:
            self._function.line = statement.lineno
            self._statement(statement)

    def _statement(self, statement: ast.stmt) -> None:
        match statement:
            case ast.Pass() | ast.Expr(value=ast.Constant(value=str())):
                pass
            case ast.Global():
                self._global(statement)
            case ast.Assign():
                self._assign(statement)
            case ast.AnnAssign():
                self._annotated(statement)
            case ast.AugAssign():
                self._augmented(statement)
            case ast.Expr(value=ast.Call() as call):
                self._expressions.maybe(call)
            case ast.If():
                self._if(statement)
            case ast.While():
                self._while(statement)
            case ast.For():
                self._for(statement)
            case ast.Break() | ast.Continue():
                self._leave(statement)
            case ast.Return():
                self._return(statement)
            case _:
                self._refuse(statement)

    def _refuse(self, statement: ast.stmt) -> None:
        if isinstance(statement, ast.Expr) and type(statement.value) in REFUSED:
            self._expressions.value(statement.value)
        text = _REFUSED.get(type(statement), "does nothing here; assign it, return it or leave it out")
        self._scope.fail(statement, f"{ast.unparse(statement).splitlines()[0].rstrip(':')}: {text}")

    def _global(self, statement: ast.Global) -> None:
        for name in statement.names:
            declared = self._scope.declarations.names.get(name)
            if not isinstance(declared, Variable):
                self._scope.fail(statement, f"global {name}: is no variable of state; declare {name} = state(u64)")

    # Assignment

    def _assign(self, statement: ast.Assign) -> None:
        for target in statement.targets:
            if isinstance(target, ast.Tuple):
                if len(statement.targets) > 1:
                    self._scope.fail(statement, "a, b = .. = ..: is not known; write one assignment a line")
                return self._assign_many(statement, target)
        wanted = self._type_of(statement.targets[0])
        value = self._expressions.value(statement.value, wanted)
        for target in statement.targets:
            self._store(target, value, statement.value)
        return None

    def _assign_many(self, statement: ast.Assign, target: ast.Tuple) -> None:
        """``a, b = b, a``: all values first."""
        values = statement.value
        if not isinstance(values, ast.Tuple) or len(values.elts) != len(target.elts):
            text = f"{ast.unparse(statement)}: there must be as many values as names; write them one by one"
            self._scope.fail(statement, text)
        pairs = list(zip(target.elts, values.elts, strict=True))
        found = [self._expressions.value(value, self._type_of(one)) for one, value in pairs]
        for (one, node), value in zip(pairs, found, strict=True):
            self._store(one, value, node)

    def _type_of(self, target: ast.expr) -> Scalar | None:
        """What a variable is known to be, for constants that are assigned to it."""
        if not isinstance(target, ast.Name):
            return None
        if target.id in self._scope.locals:
            return self._scope.locals[target.id].type
        declared = self._scope.declarations.names.get(target.id)
        return declared.type if isinstance(declared, Variable) and isinstance(declared.type, Integer) else None

    def _store(self, target: ast.expr, value: Operand, node: ast.expr) -> None:
        if isinstance(target, ast.Name) and self._scope.is_local(target.id):
            return self._store_local(target, value, node)
        place = self._whole(target)
        place.store(self._function, self._fitting(place.type, value, node, ast.unparse(target)))
        return None

    def _store_local(self, target: ast.Name, value: Operand, node: ast.expr) -> None:
        known = self._scope.locals.get(target.id)
        self._scope.check_free(target, target.id)
        if known is None and isinstance(value, Constant):
            text = f"{target.id}: its first assignment gives no type"
            self._scope.fail(target, f"{text}; write {target.id}: u64 = {ast.unparse(node)}")
        if known is not None:
            kind: Scalar = known.type
        else:
            assert isinstance(value, Value)
            kind = value.type
        local = self._scope.define(target, target.id, kind)
        fitting = self._fitting(kind, value, node, target.id)
        LocalPlace(local, target.id).store(self._function, fitting)
        self._scope.give(target.id)

    def _fitting(self, kind: Scalar, value: Operand, node: ast.expr, what: str) -> Value:
        return self._expressions.arithmetic.coerce(value, kind, node, what)

    def _whole(self, target: ast.expr) -> Place:
        """A place that takes a value: no array, no struct."""
        if not isinstance(target, ast.Name | ast.Attribute | ast.Subscript):
            self._scope.fail(target, f"{ast.unparse(target)}: cannot be assigned; name a variable, member or element")
        place = self._expressions.resolver.place(target)
        if isinstance(getattr(place, "memory", None), Struct | Array):
            self._scope.fail(target, f"{ast.unparse(target)}: is no single value; assign its members or elements")
        return place

    def _annotated(self, statement: ast.AnnAssign) -> None:
        target = statement.target
        if not isinstance(target, ast.Name) or not self._scope.is_local(target.id):
            self._scope.fail(statement, f"{ast.unparse(target)}: has its type already; leave the annotation out")
        kind = self._scope.annotations.scalar(statement.annotation)
        if statement.value is None:
            self._scope.define(target, target.id, kind)
            return
        value = self._expressions.typed(statement.value, kind, target.id)
        LocalPlace(self._scope.define(target, target.id, kind), target.id).store(self._function, value)
        self._scope.give(target.id)

    def _augmented(self, statement: ast.AugAssign) -> None:
        sign = OPERATORS.get(type(statement.op))
        if sign is None:
            text = "only + - * // % << >> & | ^ are known"
            self._scope.fail(statement, f"{ast.unparse(statement)}: {text}; write // for /, and multiply for **")
        place = self._whole(statement.target)
        value = self._expressions.arithmetic.binary(
            sign, place.load(self._function), self._expressions.value(statement.value), statement
        )
        what = ast.unparse(statement.target)
        place.store(self._function, self._fitting(place.type, value, statement.value, what))

    # Control

    def _if(self, statement: ast.If) -> None:
        function, scope = self._function, self._scope
        yes, no, done = (function.label() for _ in range(3))
        self._expressions.condition(statement.test, yes, no)
        before = _copy(scope.assigned)
        function.begin(yes)
        self.body(statement.body)
        function.jump(done)
        after_body, scope.assigned = scope.assigned, before
        function.begin(no)
        self.body(statement.orelse)
        function.jump(done)
        function.begin(done)
        scope.assigned = _both(after_body, scope.assigned)

    def _while(self, statement: ast.While) -> None:
        if statement.orelse:
            self._scope.fail(statement.orelse[0], "else of a loop: is not known; set a variable before break")
        function, scope = self._function, self._scope
        test, body, done = (function.label() for _ in range(3))
        function.jump(test)
        function.begin(test)
        self._expressions.condition(statement.test, body, done)
        forever = isinstance(statement.test, ast.Constant) and bool(statement.test.value)
        ended = None if forever else _copy(scope.assigned)
        function.begin(body)
        breaks = self._loop_body(statement.body, test, done)
        function.jump(test)
        function.begin(done)
        for assigned in breaks:
            ended = _both(ended, assigned)
        scope.assigned = ended

    def _loop_body(self, statements: Sequence[ast.stmt], following: str, done: str) -> list[set[str]]:
        loop = _Loop(following, done, [])
        self._loops.append(loop)
        self.body(statements)
        self._loops.pop()
        return loop.breaks

    def _leave(self, statement: ast.Break | ast.Continue) -> None:
        loop = self._loops[-1]
        if isinstance(statement, ast.Break) and self._scope.assigned is not None:
            loop.breaks.append(set(self._scope.assigned))
        self._end(f"br label %{loop.done if isinstance(statement, ast.Break) else loop.following}")

    def _end(self, instruction: str) -> None:
        """Control does not come here any more; what follows in the source is compiled all the same."""
        self._function.do(instruction)
        self._function.begin(self._function.label())
        self._scope.assigned = None

    def _return(self, statement: ast.Return) -> None:
        result, name = self._scope.signature.result, self._scope.signature.name
        if isinstance(result, Void):
            if statement.value is not None and not _is_none(statement.value):
                self._scope.fail(statement, f"{name}: returns a value, but is -> None; change its annotation")
            return self._end("ret void")
        if statement.value is None:
            self._scope.fail(statement, f"{name}: returns no value, but is -> {result}; return one")
        value = self._expressions.typed(statement.value, result, f"{name}: its result")
        self._function.line = statement.lineno
        return self._end(f"ret {result.ir} {value.text}")

    # Loops over numbers

    def _for(self, statement: ast.For) -> None:
        if statement.orelse:
            self._scope.fail(statement.orelse[0], "else of a loop: is not known; set a variable before break")
        if not isinstance(statement.target, ast.Name) or not self._scope.is_local(statement.target.id):
            self._scope.fail(statement, f"for {ast.unparse(statement.target)}: the variable is one local name; use one")
        match statement.iter:
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if self._is_range(name):
                return self._for_range(statement, statement.target, args)
            case ast.Name(id=name) if isinstance(self._scope.declarations.names.get(name), Table):
                return self._for_table(statement, statement.target, name)
        text = f"for .. in {ast.unparse(statement.iter)}: only range(..) and constant tuples are known"
        self._scope.fail(statement, f"{text}; write for i in range(n)")

    def _is_range(self, name: str) -> bool:
        return not self._scope.is_local(name) and self._scope.declarations.names.get(name) == Builtin("range")

    def _for_range(self, statement: ast.For, target: ast.Name, args: list[ast.expr]) -> None:
        if not 1 <= len(args) <= 3:
            self._scope.fail(statement, f"{ast.unparse(statement.iter)}: range takes 1 to 3 numbers; write range(n)")
        parts = [self._expressions.value(argument) for argument in args]
        step = parts.pop() if len(parts) == 3 else Constant(1)
        if not isinstance(step, Constant) or not step.value:
            text = "the step is a constant other than 0; use while for anything else"
            self._scope.fail(statement, f"{ast.unparse(statement.iter)}: {text}")
        start, stop = parts if len(parts) == 2 else (Constant(0), parts[0])
        kind = self._counter_type(statement, target, start, stop, step)
        coerce, what = self._expressions.arithmetic.coerce, ast.unparse(statement.iter)
        first = coerce(start, kind, statement, what)
        end = coerce(stop, kind, statement, what)
        local = self._scope.define(target, target.id, kind)
        self._count(statement, LocalPlace(local, target.id), first, end, step.value)

    def _counter_type(
        self, statement: ast.For, target: ast.Name, start: Operand, stop: Operand, step: Constant
    ) -> Integer:
        known = self._type_of(target)
        if known is None and isinstance(start, Constant) and isinstance(stop, Constant):
            known = I64 if min(start.value, stop.value) < 0 else U64
        what = ast.unparse(statement.iter)
        kind = known or self._expressions.arithmetic.common(start, stop, statement, what)
        if not isinstance(kind, Integer):
            self._scope.fail(statement, f"{what}: counts {kind}; range counts integers; convert with u64(..)")
        if abs(step.value) > kind.high:
            self._scope.fail(statement, f"{what}: the step {step} does not fit {kind}; use a smaller one")
        return Integer(kind.bits, kind.signed)

    def _count(self, statement: ast.For, place: LocalPlace, first: Value, end: Value, step: int) -> None:
        """A hidden counter runs, so that neither the body's assignments nor the type's end disturb it."""
        function, kind = self._function, place.type
        assert isinstance(kind, Integer)
        counter = function.storage(kind.ir, kind.align)
        body, following, advance, done = (function.label() for _ in range(4))
        function.do(f"store {kind.ir} {first.text}, ptr {counter}")
        order = ("s" if kind.signed else "u") + ("lt" if step > 0 else "gt")
        function.branch(function.make(f"icmp {order} {kind.ir} {first.text}, {end.text}"), body, done)
        function.begin(body)
        before = _copy(self._scope.assigned)
        place.store(function, Value(kind, function.make(f"load {kind.ir}, ptr {counter}")))
        self._scope.give(place.name)
        breaks = self._loop_body(statement.body, following, done)
        function.jump(following)
        function.begin(following)
        function.line = statement.lineno
        now = function.make(f"load {kind.ir}, ptr {counter}")
        ahead, behind = (end.text, now) if step > 0 else (now, end.text)
        left = function.make(f"sub {kind.ir} {ahead}, {behind}")
        function.branch(function.make(f"icmp ugt {kind.ir} {left}, {abs(step)}"), advance, done)
        function.begin(advance)
        function.do(f"store {kind.ir} {function.make(f'add {kind.ir} {now}, {step}')}, ptr {counter}")
        function.jump(body)
        function.begin(done)
        self._scope.assigned = before
        for assigned in breaks:
            self._scope.assigned = _both(self._scope.assigned, assigned)

    def _for_table(self, statement: ast.For, target: ast.Name, name: str) -> None:
        """Over a constant tuple: the body once, with an index that is hidden."""
        hidden = f"{target.id} of {name}"
        index = ast.copy_location(ast.Name(hidden, ast.Load()), statement)
        element = ast.copy_location(ast.Subscript(statement.iter, index, ast.Load()), statement)
        assign = ast.copy_location(ast.Assign([target], element), statement)
        self._scope.own(hidden)
        table = self._scope.declarations.names[name]
        assert isinstance(table, Table)
        place = LocalPlace(self._scope.define(statement, hidden, U64), hidden)
        whole = ast.copy_location(ast.For(target, statement.iter, [assign, *statement.body], []), statement)
        self._count(whole, place, Value(U64, "0"), Value(U64, str(len(table.values))), 1)


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _copy(assigned: set[str] | None) -> set[str] | None:
    return None if assigned is None else set(assigned)


def _both(one: set[str] | None, other: set[str] | None) -> set[str] | None:
    if one is None or other is None:
        return one if other is None else other
    return one & other
