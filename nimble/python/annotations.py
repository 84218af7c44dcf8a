"""Annotations to types."""

from __future__ import annotations

import ast

from nimble.python.constants import Folder
from nimble.python.declarations import Builtin, Declarations, Fail, as_scalar, remedy_for
from nimble.python.types import BOOL, VOID, Array, Boolean, Integer, Memory, Pointer, Result, Scalar, Struct

_KNOWN = "u8..u64, i8..i64, bool, Pointer[T] and structs are types"
_REFUSED = {
    "int": "says no width",
    "float": "there are no floats, scale to integers",
    "str": "strings are not known, use numbers",
    "bytes": "strings are not known, use a pointer to u8",
    "list": "lists are not known, use a pointer or state(array(..))",
    "dict": "dicts are not known, use a struct",
}


class Annotations:
    """Reads types by the names that a source has."""

    def __init__(self, declarations: Declarations, folder: Folder, fail: Fail) -> None:
        self._names = declarations.names
        self._folder = folder
        self._fail = fail

    def result(self, node: ast.expr | None, function: ast.FunctionDef) -> Result:
        """The type that a function returns."""
        if node is None:
            text = f"{function.name}: its result has no annotation; write -> u64, or -> None if it returns nothing"
            self._fail(function, text)
        if isinstance(node, ast.Constant) and node.value is None:
            return VOID
        return self.scalar(node)

    def scalar(self, node: ast.expr) -> Scalar:
        """The type of a variable; a struct's name stands for a pointer to one."""
        kind = self.memory(node)
        if isinstance(kind, Array):
            self._fail(node, f"{ast.unparse(node)}: an array is no variable; use state(..), local(..) or Pointer[..]")
        return as_scalar(kind)

    def memory(self, node: ast.expr) -> Memory:
        """The type of what lies in memory."""
        match node:
            case ast.Constant(value=str() as text):
                return self.memory(self._parse(node, text))
            case ast.Name():
                return self._named(node)
            case ast.Subscript(value=ast.Name(id=name)) if self._names.get(name) == Builtin("Pointer"):
                target = self.memory(node.slice)
                return Pointer(target.element if isinstance(target, Array) else target)
            case ast.Subscript(value=ast.Name(id=name)) if self._names.get(name) == Builtin("Array"):
                return self._array(node, node.slice.elts if isinstance(node.slice, ast.Tuple) else [])
            case ast.Call(func=ast.Name(id=name), keywords=[]) if self._names.get(name) == Builtin("array"):
                return self._array(node, node.args)
        self._fail(node, f"{ast.unparse(node)}: is no type; {_KNOWN}")

    def _parse(self, node: ast.Constant, text: str) -> ast.expr:
        try:
            parsed = ast.parse(text, mode="eval").body
        except (SyntaxError, ValueError):
            self._fail(node, f"{text!r}: is no type; {_KNOWN}")
        for inner in ast.walk(parsed):
            ast.copy_location(inner, node)
        return parsed

    def _named(self, node: ast.Name) -> Memory:
        declared = self._names.get(node.id)
        if isinstance(declared, Integer | Struct):
            return declared
        if declared == Builtin("bool"):
            return BOOL
        if node.id in _REFUSED:
            self._fail(node, f"{node.id}: {_REFUSED[node.id]}; {_KNOWN}")
        if declared in (Builtin("Pointer"), Builtin("Array")):
            form = "Pointer[u64]" if declared == Builtin("Pointer") else "Array[u64, Literal[16]]"
            self._fail(node, f"{node.id}: does not say of what; write {form}")
        known = [name for name, one in self._names.items() if isinstance(one, Integer | Struct)]
        remedy = remedy_for(node.id, [*known, "bool"], _KNOWN)
        self._fail(node, f"{node.id}: is no type; {remedy}")

    def _array(self, node: ast.expr, parts: list[ast.expr]) -> Array:
        if len(parts) != 2:
            self._fail(node, f"{ast.unparse(node)}: an array has an element type and a length; write array(u64, 16)")
        kind, length = self.memory(parts[0]), self._length(parts[1])
        if isinstance(kind, Array | Boolean):
            self._fail(node, f"{ast.unparse(node)}: elements are integers, pointers or structs; use one of them")
        if not 1 <= length <= 1 << 32:
            self._fail(node, f"{ast.unparse(node)}: {length} elements; an array has 1 or more; change the length")
        return Array(kind, length)

    def _length(self, node: ast.expr) -> int:
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "Literal":
            node = node.slice
        return self._folder.integer(node)
