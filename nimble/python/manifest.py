"""``manifest(..)`` at the top of a source: what the extension asks for, as the object carries it."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Collection, Mapping
from typing import Any

from nimble.python.constants import Folder
from nimble.python.declarations import Fail
from nimble.python.errors import did_you_mean

_RIGHTS = ("read", "write", "read-write")
_TRUST = ("trusted", "untrusted")
_KEYS = ("name", "trust", "budget", "attach", "windows", "calls", "shared_state")


def encode(manifest: Mapping[str, Any]) -> bytes:
    """The bytes of the object's section: JSON, which is YAML too."""
    return json.dumps(manifest, indent=1).encode()


class ManifestReader:
    """Reads one call of ``manifest``; ``entries`` are the program's."""

    def __init__(self, folder: Folder, entries: Collection[str], fail: Fail) -> None:
        self._folder = folder
        self._entries = entries
        self._fail = fail

    def read(self, call: ast.Call) -> dict[str, Any]:
        """The manifest's keys and values."""
        readers: dict[str, Callable[[ast.expr], Any]] = {
            "name": self._text,
            "trust": lambda node: self._one_of(node, "trust", _TRUST),
            "budget": self._budget,
            "attach": self._attach,
            "windows": self._windows,
            "calls": lambda node: [self._text(one) for one in self._items(node, "calls")],
            "shared_state": lambda node: bool(self._folder.integer(node)),
        }
        if call.args:
            self._fail(call.args[0], f"manifest: {ast.unparse(call.args[0])}: has no name; write name=..")
        made = {}
        for keyword in call.keywords:
            key = keyword.arg or "**"
            if key not in readers:
                remedy = did_you_mean(key, _KEYS, f"known are {', '.join(_KEYS)}")
                self._fail(keyword.value, f"manifest: {key}: is no key of a manifest; {remedy}")
            made[key] = readers[key](keyword.value)
        if "name" not in made:
            self._fail(call, 'manifest: name: is missing; write name="..."')
        return made

    def _text(self, node: ast.expr) -> str:
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str) or not node.value:
            self._fail(node, f"manifest: {ast.unparse(node)}: is no text; write it in quotes")
        return node.value

    def _one_of(self, node: ast.expr, key: str, known: Collection[str]) -> str:
        value = self._text(node)
        if value not in known:
            self._fail(node, f"manifest: {key}: {value}: is not one of {', '.join(known)}; use one of them")
        return value

    def _budget(self, node: ast.expr) -> int:
        value = self._folder.integer(node)
        if value < 1:
            self._fail(node, f"manifest: budget: {value}; must be 1 or more; give instructions per call")
        return value

    def _items(self, node: ast.expr, key: str) -> list[ast.expr]:
        if not isinstance(node, ast.Tuple | ast.List):
            self._fail(node, f"manifest: {key}: {ast.unparse(node)}: is no tuple; write (.., ..)")
        return node.elts

    def _pairs(self, node: ast.expr, key: str) -> list[tuple[str, ast.expr]]:
        if not isinstance(node, ast.Dict) or None in node.keys:
            self._fail(node, f"manifest: {key}: {ast.unparse(node)}: is no dict; write {{'name': ..}}")
        return [(self._text(one), value) for one, value in zip(node.keys, node.values, strict=True) if one is not None]

    def _attach(self, node: ast.expr) -> list[dict[str, Any]]:
        made = []
        for event, value in self._pairs(node, "attach"):
            priority = 0
            if isinstance(value, ast.Tuple) and len(value.elts) == 2:
                priority = self._folder.integer(value.elts[1])
                value = value.elts[0]
            name = value.id if isinstance(value, ast.Name) else self._text(value)
            if name not in self._entries:
                remedy = did_you_mean(name, self._entries, "mark its function with @entry")
                self._fail(value, f"manifest: attach: {event}: {name} is no entry; {remedy}")
            made.append({"event": event, "entry": name, "priority": priority})
        return made

    def _windows(self, node: ast.expr) -> list[dict[str, str]]:
        return [
            {"name": name, "rights": self._one_of(value, f"windows: {name}", _RIGHTS)}
            for name, value in self._pairs(node, "windows")
        ]
