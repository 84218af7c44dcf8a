"""YAML text -> plain values that remember where they stand in the file.

PyYAML parses and composes; scalars are then read by the rules of YAML 1.2's core schema (`on`, `1_000`, `1:30` and
`2026-01-01` are text) instead of PyYAML's YAML 1.1, and what the two would read differently as a number (`010`) is
refused. Anchors, aliases and merge keys (`<<`) work; their expansion is bounded.

Ref: YAML 1.2.2, section 10.3 (core schema).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from cosim.errors import UserError

MAX_FILE_BYTES = 1 << 20
MAX_VALUES = 100_000  # after aliases are expanded
MAX_DEPTH = 32
MAX_DIGITS = 40
MAX_PROBLEMS = 100

Path_ = tuple[str | int, ...]  # keys and list indices that lead to a value

_TAG = "tag:yaml.org,2002:"
_PLAIN = "plain"  # the tag of an unquoted scalar that has no explicit one
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")
_SCALARS: list[tuple[str, re.Pattern[str], Callable[[str], Any]]] = [
    ("null", re.compile(r"(?:~|null|Null|NULL|)"), lambda text: None),
    ("bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)"), lambda text: text.lower() == "true"),
    (
        "int",
        re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"),
        lambda text: int(text, 10 if text[1:2] not in "ox" else 0),
    ),
    ("float", re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"), float),
    ("float", re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"), lambda text: float(text.replace(".", "", 1))),
]


@dataclass(frozen=True, order=True)
class Position:
    """Line and column, both from 1."""

    line: int
    column: int


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong in a file."""

    position: Position
    text: str


class SourceError(UserError):
    """A file that cannot be used: one line per problem, in the order of the file."""

    def __init__(self, file: str, problems: list[Problem]) -> None:
        self.problems = sorted(set(problems))
        lines = [f"{file}:{p.position.line}:{p.position.column}: {p.text}" for p in self.problems[:MAX_PROBLEMS]]
        if len(self.problems) > MAX_PROBLEMS:
            lines.append(f"{file}: {len(self.problems) - MAX_PROBLEMS} more problems are not shown")
        super().__init__("\n".join(lines))


@dataclass
class Source:
    """What a file says. `problems` holds what was wrong with the YAML itself; the values at those places are None."""

    file: str
    value: Any = None
    values_at: dict[Path_, Position] = field(default_factory=dict)
    keys_at: dict[Path_, Position] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    broken: set[Path_] = field(default_factory=set)

    def position(self, path: Path_, *, key: bool = False) -> Position:
        """Where the value at `path` (or its key) stands; of the nearest enclosing value if there is none."""
        if key and path in self.keys_at:
            return self.keys_at[path]
        while path not in self.values_at and path:
            path = path[:-1]
        return self.values_at.get(path, Position(1, 1))


def dotted(path: Path_) -> str:
    """`path` as the messages write it: jobs[0].placement[1].node."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def shown(value: object) -> str:
    """A value as the messages write it."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= 48 else text[:44] + "..." + text[-1]


def read(path: Path) -> Source:
    """The values of a YAML file. SourceError or UserError if it cannot be read or is not one YAML document."""
    return parse(_text(path), str(path))


def parse(text: str, file: str) -> Source:
    """The values of YAML text; `file` is the name for messages. SourceError if it is not one YAML document."""
    source = Source(file)
    try:
        root = _composed(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        position = Position(mark.line + 1, mark.column + 1) if mark else Position(1, 1)
        what = " ".join(part for part in (error.context, error.problem) if part)
        raise SourceError(file, [Problem(position, f"not valid YAML: {what}")]) from None
    except yaml.reader.ReaderError as error:
        before = text[: error.position].split("\n")
        position = Position(len(before), len(before[-1]) + 1)
        what = f"not valid YAML: the character {_code(error.character)} is not allowed; remove it"
        raise SourceError(file, [Problem(position, what)]) from None
    if root is not None:
        _Reader(source).read(root)
    return source


def _text(path: Path) -> str:
    """The text of a file, whose size and encoding are checked."""
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; give the path of a scenario, such as configs/quickstart.yaml") from None
    except IsADirectoryError:
        raise UserError(f"{path}: a directory, not a file; give the path of a scenario in it") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UserError(f"{path}: cannot be read: {reason}; check the path and its permissions") from None
    if len(data) > MAX_FILE_BYTES:
        raise UserError(f"{path}: larger than {MAX_FILE_BYTES} bytes, the most a scenario may have; make it smaller")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line_start = data.rfind(b"\n", 0, error.start) + 1
        position = Position(data.count(b"\n", 0, error.start) + 1, error.start - line_start + 1)
        what = f"byte {data[error.start]:#04x} is not UTF-8; save the file as UTF-8 text"
        raise SourceError(str(path), [Problem(position, what)]) from None


def _code(character: object) -> str:
    """A character or byte as U+XXXX."""
    return f"U+{ord(character) if isinstance(character, str) else int(str(character)):04X}"


class _Loader(yaml.SafeLoader):
    """Composes nodes, not deeper than MAX_DEPTH."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            mark = self.peek_event().start_mark
            raise yaml.composer.ComposerError(
                None, None, f"nested more than {MAX_DEPTH} levels deep; make it flatter", mark
            )
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def resolve(self, kind: type[yaml.Node], value: str | None, implicit: Any) -> str:
        """The tag of a node without an explicit one; plain scalars are left to `_Reader`."""
        if kind is yaml.ScalarNode:
            return _PLAIN if implicit[0] else _TAG + "str"
        return str(super().resolve(kind, value, implicit))


def _composed(text: str) -> yaml.Node | None:
    loader = _Loader(text)
    try:
        return loader.get_single_node()
    finally:
        loader.dispose()


class _TooManyValuesError(Exception):
    """More values than a file may expand to."""


class _Reader:
    """Reads composed nodes into `source`."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.count = 0
        self.open: set[int] = set()  # nodes being read: an alias to one of them never ends

    def read(self, root: yaml.Node) -> None:
        try:
            self.source.value = self._value(root, ())
        except _TooManyValuesError:
            what = f"the aliases expand to more than {MAX_VALUES} values; use fewer"
            raise SourceError(self.source.file, [Problem(_position(root), what)]) from None

    def _problem(self, node: yaml.Node, path: Path_, text: str) -> None:
        self.source.problems.append(Problem(_position(node), f"{dotted(path)}: {text}" if path else text))
        self.source.broken.add(path)

    def _value(self, node: yaml.Node, path: Path_) -> Any:
        self.count += 1
        if self.count > MAX_VALUES:
            raise _TooManyValuesError
        self.source.values_at[path] = _position(node)
        if id(node) in self.open or len(path) > MAX_DEPTH:
            return self._problem(node, path, "an alias refers to a value that contains it; write the value out")
        self.open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
                return self._mapping(node, path)
            if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
                return [self._value(item, (*path, i)) for i, item in enumerate(node.value)]
            if isinstance(node, yaml.ScalarNode):
                return self._scalar(node, path)
            tag = node.tag.removeprefix(_TAG)
            return self._problem(node, path, f"the tag {tag!r} is not allowed here; remove it")
        finally:
            self.open.discard(id(node))

    def _mapping(self, node: yaml.MappingNode, path: Path_) -> dict[str, Any]:
        result: dict[str, Any] = {}
        merged: list[yaml.Node] = []
        for key_node, value_node in node.value:
            if isinstance(key_node, yaml.ScalarNode) and key_node.value == "<<" and key_node.style is None:
                merged.append(value_node)
                continue
            key = self._scalar(key_node, path) if isinstance(key_node, yaml.ScalarNode) else key_node.value
            if not isinstance(key, str):
                self._problem(key_node, path, f"the key {shown(key)} is not text; put it in quotes or rename it")
            elif key in result:
                first = self.source.keys_at[(*path, key)].line
                self._problem(key_node, (*path, key), f"given twice; the first is in line {first}; remove one")
                self.source.broken.discard((*path, key))
            else:
                self.source.keys_at[(*path, key)] = _position(key_node)
                result[key] = self._value(value_node, (*path, key))
        for value_node in merged:
            self._merge(value_node, path, result)
        return result

    def _merge(self, node: yaml.Node, path: Path_, result: dict[str, Any]) -> None:
        """Add what `<<: *name` or `<<: [*a, *b]` brings; keys that are there already win."""
        for item in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if not isinstance(item, yaml.MappingNode) or id(item) in self.open:
                self._problem(item, path, "'<<' merges mappings only; refer to one by its alias")
                continue
            for key_node, value_node in item.value:
                key = key_node.value
                if isinstance(key, str) and key not in result:
                    self.source.keys_at[(*path, key)] = _position(key_node)
                    result[key] = self._value(value_node, (*path, key))

    def _scalar(self, node: yaml.ScalarNode, path: Path_) -> Any:
        """A scalar by the core schema; an explicit tag must agree with what is written."""
        text, wanted = node.value, node.tag.removeprefix(_TAG)
        if not _encodable(text):
            return self._problem(node, path, "holds half of a surrogate pair; write the whole character")
        if wanted == _PLAIN:
            return self._plain(node, path)
        if wanted == "str":
            return text
        for name, pattern, convert in _SCALARS:
            if name == wanted and pattern.fullmatch(text) and len(text) <= MAX_DIGITS:
                return convert(text)
        return self._problem(node, path, f"the tag {wanted!r} does not fit {shown(text)}; remove it")

    def _plain(self, node: yaml.ScalarNode, path: Path_) -> Any:
        text = node.value
        for _, pattern, convert in _SCALARS:
            if not pattern.fullmatch(text):
                continue
            if _LEADING_ZERO.fullmatch(text):
                decimal = int(text)
                what = f"{text} is octal to some and decimal to others; write {decimal}, or quote it if it is text"
                return self._problem(node, path, what)
            if len(text) > MAX_DIGITS:
                return self._problem(node, path, f"a number of {len(text)} characters; write at most {MAX_DIGITS}")
            value = convert(text)
            if isinstance(value, float) and not abs(value) < float("inf"):
                return self._problem(node, path, f"{text} is not a finite number; write one")
            return value
        return text


def _encodable(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _position(node: yaml.Node) -> Position:
    return Position(node.start_mark.line + 1, node.start_mark.column + 1)
