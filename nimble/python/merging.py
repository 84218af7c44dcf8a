"""Which functions become part of their callers in any case, however little else is optimised."""

from __future__ import annotations

import ast
from collections import Counter

from nimble.python.declarations import Builtin, Declarations

_SMALL_NODES = 40  # of the syntax tree; about three statements


def merged(declarations: Declarations) -> frozenset[str]:
    """Functions with one caller and small ones, unless they call themselves, keep a frame, or ask not to be merged."""
    functions = {one.name: one for one in declarations.functions if one.kind != "service"}
    called = {name: _names(one.node) & functions.keys() for name, one in functions.items()}
    calls = Counter(name for one in functions.values() for name in _calls(one.node))
    found = set()
    for name, one in functions.items():
        callers = calls[name] + (one.kind == "entry")
        small = sum(1 for _ in ast.walk(one.node)) <= _SMALL_NODES
        if (callers <= 1 or small) and not one.noinline and not has_storage(declarations, one.node):
            found.add(name)
    return frozenset(name for name in found if name not in _reached(called, name))


def has_storage(declarations: Declarations, node: ast.FunctionDef) -> bool:
    """Whether it has arrays on the stack: then it keeps a frame of its own."""
    return any(declarations.names.get(name) == Builtin("local") for name in _names(node))


def _calls(node: ast.FunctionDef) -> list[str]:
    return [one.func.id for one in ast.walk(node) if isinstance(one, ast.Call) and isinstance(one.func, ast.Name)]


def _names(node: ast.FunctionDef) -> set[str]:
    return set(_calls(node))


def _reached(called: dict[str, set[str]], start: str) -> set[str]:
    """All that a function calls, directly or not."""
    found: set[str] = set()
    todo = [start]
    while todo:
        new = called[todo.pop()] - found
        found |= new
        todo += new
    return found
