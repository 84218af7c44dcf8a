"""Variables of state: their places in the extension's own memory and their first values."""

from __future__ import annotations

import ast

from nimble.program import STATE_LIMIT_BYTES
from nimble.python.annotations import Annotations
from nimble.python.constants import Folder
from nimble.python.declarations import Declarations, Fail, Variable
from nimble.python.errors import did_you_mean
from nimble.python.types import Array, Boolean, Integer, Memory, Struct


class State:
    """Lays variables out in the order of their declaration, each aligned as its type asks."""

    def __init__(self, declarations: Declarations, annotations: Annotations, folder: Folder, fail: Fail) -> None:
        self._declarations = declarations
        self._annotations = annotations
        self._folder = folder
        self._fail = fail

    def add(self, name: str, call: ast.Call) -> Variable:
        """The variable that ``name = state(..)`` declares."""
        if not 1 <= len(call.args) <= 2:
            self._fail(call, f"{name}: state(..) takes a type and perhaps a first value; write state(u64)")
        kind = self._annotations.memory(call.args[0])
        if not kind.size:
            self._fail(call, f"{name}: {kind} is not complete here; define it above")
        image = self._declarations.state
        offset = len(image) + -len(image) % kind.align
        if offset + kind.size > STATE_LIMIT_BYTES:
            text = f"{name}: {kind.size} bytes; the state has {STATE_LIMIT_BYTES} at most; ask for a window"
            self._fail(call, text)
        image += bytes(offset - len(image) + kind.size)
        if len(call.args) == 2:
            self._fill(name, kind, offset, call.args[1])
        for keyword in call.keywords:
            self._fill_member(name, kind, offset, keyword)
        return Variable(name, kind, offset)

    def _fill(self, name: str, kind: Memory, offset: int, node: ast.expr) -> None:
        if isinstance(kind, Integer | Boolean):
            self._store(name, kind, offset, self._folder.integer(node), node)
        elif isinstance(kind, Array) and isinstance(kind.element, Integer):
            self._fill_array(name, kind, kind.element, offset, node)
        else:
            self._fail(node, f"{name}: {kind} takes no first value here; name members, or set it when the program runs")

    def _fill_array(self, name: str, kind: Array, element: Integer, offset: int, node: ast.expr) -> None:
        known = self._folder.known(node)
        values = known if isinstance(known, tuple) else (known,) * kind.length
        if len(values) != kind.length:
            self._fail(node, f"{name}: {len(values)} values for {kind.length} elements; give one number or all")
        for index, value in enumerate(values):
            self._store(name, element, offset + index * element.size, value, node)

    def _fill_member(self, name: str, kind: Memory, offset: int, keyword: ast.keyword) -> None:
        key = keyword.arg or "**"
        if not isinstance(kind, Struct) or key not in kind.members:
            known = kind.members if isinstance(kind, Struct) else ()
            self._fail(keyword.value, f"{name}: {kind} has no {key}; {did_you_mean(key, known, 'leave it out')}")
        member = kind.members[key]
        if member.bits is not None:
            self._fail(keyword.value, f"{name}.{key}: is part of a word; set it when the program runs")
        self._fill(f"{name}.{key}", member.type, offset + member.offset, keyword.value)

    def _store(self, name: str, kind: Integer | Boolean, offset: int, value: int, node: ast.expr) -> None:
        low, high = (kind.low, kind.high) if isinstance(kind, Integer) else (0, 1)
        if not low <= value <= high:
            self._fail(node, f"{name}: {value} does not fit {kind}; {low}..{high} do; use a wider type")
        self._declarations.state[offset : offset + kind.size] = (value % (1 << 8 * kind.size)).to_bytes(
            kind.size, "little"
        )
