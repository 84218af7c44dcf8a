"""``manifest(..)`` at the top of a source: what the extension asks for, as the object carries it."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Collection, Mapping
from typing import Any

from nimble.manifest import ManifestError, parse
from nimble.python.constants import Folder
from nimble.python.declarations import Fail
from nimble.python.errors import did_you_mean


def encode(manifest: Mapping[str, Any]) -> bytes:
    """The bytes of the object's section: JSON, which is YAML too."""
    return json.dumps(manifest, indent=1).encode()


class ManifestReader:
    """Reads one call of ``manifest``; ``entries`` are the program's."""

    def __init__(self, folder: Folder, entries: Collection[str], fail: Fail) -> None:
        self._folder = folder
        self._entries = entries
        self._fail = fail
        self._readers: dict[str, Callable[[ast.expr], Any]] = {
            "name": self._text,
            "trust": self._text,
            "budget": self._folder.integer,
            "attach": self._attach,
            "windows": self._windows,
            "calls": lambda node: [self._text(one) for one in self._items(node, "calls")],
            "exports": lambda node: [self._entry(one, "exports") for one in self._items(node, "exports")],
            "shared_state": lambda node: bool(self._folder.integer(node)),
            "resumes": lambda node: bool(self._folder.integer(node)),
        }

    def read(self, call: ast.Call) -> dict[str, Any]:
        """The manifest's keys and values, which ``nimble.manifest`` accepts."""
        if call.args:
            self._fail(call.args[0], f"manifest: {ast.unparse(call.args[0])}: has no name; write name=..")
        made = {}
        for keyword in call.keywords:
            key = keyword.arg or "**"
            if key not in self._readers:
                remedy = did_you_mean(key, self._readers, f"known are {', '.join(self._readers)}")
                self._fail(keyword.value, f"manifest: {key}: is no key of a manifest; {remedy}")
            made[key] = self._readers[key](keyword.value)
        try:
            parse(encode(made).decode(), source="")
        except ManifestError as error:
            self._fail(call, f"manifest: {str(error).partition(': ')[2]}")
        return made

    def _text(self, node: ast.expr) -> str:
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            self._fail(node, f"manifest: {ast.unparse(node)}: is no text; write it in quotes")
        return node.value

    def _entry(self, node: ast.expr, key: str) -> str:
        name = node.id if isinstance(node, ast.Name) else self._text(node)
        if name not in self._entries:
            remedy = did_you_mean(name, self._entries, "mark its function with @entry")
            self._fail(node, f"manifest: {key}: {name} is no entry; {remedy}")
        return name

    def _items(self, node: ast.expr, key: str) -> list[ast.expr]:
        if not isinstance(node, ast.Tuple | ast.List):
            self._fail(node, f"manifest: {key}: {ast.unparse(node)}: is no tuple; write (.., ..)")
        return node.elts

    def _pairs(self, node: ast.expr, key: str) -> list[tuple[str, ast.expr]]:
        if not isinstance(node, ast.Dict) or None in node.keys:
            self._fail(node, f"manifest: {key}: {ast.unparse(node)}: is no dict; write {{'name': ..}}")
        return [(self._text(one), value) for one, value in zip(node.keys, node.values, strict=True) if one is not None]

    def _attach(self, node: ast.expr) -> list[dict[str, Any]]:
        """``{event: entry}`` or ``{event: (entry, priority)}``."""
        made = []
        for event, value in self._pairs(node, "attach"):
            priority = 0
            if isinstance(value, ast.Tuple) and len(value.elts) == 2:
                priority = self._folder.integer(value.elts[1])
                value = value.elts[0]
            made.append({"event": event, "entry": self._entry(value, f"attach: {event}"), "priority": priority})
        return made

    def _windows(self, node: ast.expr) -> list[dict[str, str]]:
        return [{"name": name, "rights": self._text(value)} for name, value in self._pairs(node, "windows")]
