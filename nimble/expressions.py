"""Numbers in assembly text: literals, names, and ``+ - * << | ( )`` over them, with C's precedence."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping

_TOKEN = re.compile(r"\s*(?:(0[xX][0-9a-fA-F]+|0[bB][01]+|\d+(?![\w.]))|([A-Za-z_.][\w.]*)|(<<|[-+*|()]))")
_PRECEDENCE = {"|": 1, "<<": 2, "+": 3, "-": 3, "*": 4}
_UNARY = 5
_BITS = 64
_DEPTH_LIMIT = 32  # nested parentheses and signs; keeps hostile text from exhausting Python's stack


class ExpressionError(ValueError):
    """Text that is no expression; the message names the piece and the remedy."""


def evaluate(text: str, symbols: Mapping[str, int]) -> int:
    """The value of an expression, which may be negative; no step may leave -(2**64 - 1)..2**64 - 1."""
    reader = _Reader(_tokens(text), symbols, text.strip())
    value = reader.expression(0, 0)
    if reader.peek():
        raise ExpressionError(f"{text.strip()}: {reader.peek()!r} does not continue an expression; use + - * << |")
    return value


def _tokens(text: str) -> list[str]:
    found, at, text = [], 0, text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ExpressionError(f"{text.strip()}: {text[at:].strip()!r} is no number, name or one of + - * << | ( )")
        found.append(match.group(match.lastindex or 0))
        at = match.end()
    return found


class _Reader:
    """Precedence climbing over the tokens of one expression."""

    def __init__(self, tokens: list[str], symbols: Mapping[str, int], text: str) -> None:
        self._tokens = tokens
        self._at = 0
        self._symbols = symbols
        self._text = text

    def peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _next(self) -> str:
        token = self.peek()
        self._at += 1
        return token

    def expression(self, least: int, depth: int) -> int:
        value = self._term(depth)
        while _PRECEDENCE.get(self.peek(), 0) > least:
            sign = self._next()
            value = self._apply(sign, value, self.expression(_PRECEDENCE[sign], depth))
        return value

    def _term(self, depth: int) -> int:
        token = self._next()
        if depth > _DEPTH_LIMIT:
            raise ExpressionError(f"{self._text}: nested deeper than {_DEPTH_LIMIT}; simplify it")
        if token == "(":
            value = self.expression(0, depth + 1)
            if self._next() != ")":
                raise ExpressionError(f"{self._text}: a parenthesis is not closed; add )")
            return value
        if token in ("+", "-"):
            value = self.expression(_UNARY, depth + 1)
            return -value if token == "-" else value
        if token[:1].isdigit():
            return self._bounded(_literal(token))
        if not token or token in ("*", "<<", "|", ")"):
            raise ExpressionError(f"{self._text or 'nothing'}: a number or a name is missing; write one")
        return self._name(token)

    def _name(self, name: str) -> int:
        if name in self._symbols:
            return self._symbols[name]
        close = difflib.get_close_matches(name, self._symbols, n=1)
        hint = f"did you mean {close[0]}?" if close else "define it with .equ or pass it in symbols"
        raise ExpressionError(f"{name}: unknown name; {hint}")

    def _apply(self, sign: str, left: int, right: int) -> int:
        if sign == "<<" and not 0 <= right < _BITS:
            raise ExpressionError(f"{self._text}: shift by {right} is out of range 0..{_BITS - 1}; shift less")
        results = {"+": left + right, "-": left - right, "*": left * right, "|": left | right}
        return self._bounded(left << right if sign == "<<" else results[sign])

    def _bounded(self, value: int) -> int:
        if abs(value) >> _BITS:
            raise ExpressionError(f"{self._text}: 0x{value:x} does not fit {_BITS} bits; make it smaller")
        return value


def _literal(token: str) -> int:
    # int(x, 0) would refuse leading zeros, which tables of addresses have.
    base = {"0x": 16, "0b": 2}.get(token[:2].lower())
    return int(token, base) if base else int(token[-40:], 10) if len(token) <= 40 else 1 << _BITS
