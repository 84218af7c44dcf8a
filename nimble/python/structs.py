"""Classes that describe memory: ``@struct``, with natural alignment or with offsets from a table of constants."""

from __future__ import annotations

import ast

from nimble.python.annotations import Annotations
from nimble.python.constants import Known
from nimble.python.declarations import Fail
from nimble.python.errors import did_you_mean
from nimble.python.types import Bits, Boolean, Integer, Member, Memory, Struct

_WORD_BYTES = 8
_WHOLE = (8, 16, 32, 64)
_LIMIT_BYTES = 1 << 20


class Structs:
    """Fills structs from their classes. ``known`` holds the tables that layouts come from."""

    def __init__(self, annotations: Annotations, known: dict[str, Known], fail: Fail) -> None:
        self._annotations = annotations
        self._known = known
        self._fail = fail

    def fill(self, made: Struct, node: ast.ClassDef, layout: str) -> None:
        """The members of ``made``; ``layout`` names a table, or nothing for natural alignment."""
        for statement in self._body(node):
            name, kind = self._member(made, statement)
            if layout:
                made.members[name] = self._placed(statement, layout, name, kind)
            else:
                offset = made.size + -made.size % kind.align
                made.members[name] = Member(kind, offset)
                made.size = offset + kind.size
            made.align = max(made.align, kind.align)
        if not made.members:
            self._fail(node, f"{made.name}: has no members; write one as `name: u64`")
        if layout:
            made.size, made.align = self._table(node, f"{layout}.BYTES"), _WORD_BYTES
        made.size += -made.size % made.align
        if not 1 <= made.size <= _LIMIT_BYTES:
            self._fail(node, f"{made.name}: {made.size} bytes; 1..{_LIMIT_BYTES} are allowed; make it smaller")

    def _body(self, node: ast.ClassDef) -> list[ast.AnnAssign]:
        found = []
        for statement in node.body:
            if isinstance(statement, ast.Expr | ast.Pass):
                continue  # its docstring
            if not isinstance(statement, ast.AnnAssign) or statement.value is not None:
                self._fail(statement, f"{node.name}: a struct has members only, without values; write `name: u64`")
            found.append(statement)
        return found

    def _member(self, made: Struct, statement: ast.AnnAssign) -> tuple[str, Memory]:
        if not isinstance(statement.target, ast.Name):
            self._fail(statement, f"{made.name}: {ast.unparse(statement.target)}: is no member's name; write one")
        name = statement.target.id
        if name in made.members:
            self._fail(statement, f"{made.name}.{name}: stands twice; each member has its own name; rename one")
        kind = self._annotations.memory(statement.annotation)
        if isinstance(kind, Struct) and not kind.members:
            self._fail(statement, f"{made.name}.{name}: {kind} is not complete here; define it above or use Pointer")
        return name, kind

    def _placed(self, node: ast.AnnAssign, layout: str, name: str, kind: Memory) -> Member:
        """A member where the table says: a whole integer if it is one, else bits of a 64-bit word."""
        symbol = f"{layout}.{name.upper()}"
        offset = self._table(node, symbol)
        if not isinstance(kind, Integer):
            if isinstance(kind, Boolean) or offset % kind.align:
                self._fail(node, f"{name}: {kind} cannot stand in a layout at byte {offset}; use an integer type")
            return Member(kind, offset)
        lsb, width = self._part(f"{symbol}_LSB", 0), self._part(f"{symbol}_WIDTH", kind.bits)
        if width > kind.bits:
            self._fail(node, f"{name}: {kind} is too narrow for the {width} bits of {symbol}; use a wider type")
        if width in _WHOLE and lsb % width == 0 and (offset + lsb // 8) % (width // 8) == 0 and width == kind.bits:
            return Member(kind, offset + lsb // 8)
        if kind.signed or offset % _WORD_BYTES or lsb + width > 64:
            self._fail(node, f"{name}: {width} bits from bit {lsb} of a word are unsigned; use u{kind.bits}")
        return Member(kind, offset, Bits(lsb, width))

    def _part(self, symbol: str, default: int) -> int:
        value = self._known.get(symbol, default)
        return default if isinstance(value, tuple) else value

    def _table(self, node: ast.stmt, symbol: str) -> int:
        value = self._known.get(symbol)
        if not isinstance(value, int) or value < 0:
            remedy = did_you_mean(symbol, self._known, "pass the layout's table in constants")
            self._fail(node, f"{symbol}: the layout has no such name; {remedy}")
        return value
