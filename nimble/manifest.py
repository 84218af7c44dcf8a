"""Manifests as text: YAML, or JSON, which is a part of it. In a file beside an object or in its section ``.nimble``.

    name: counter
    trust: untrusted                # the default; or trusted
    budget: 1000                    # instructions per call
    attach:
      - {event: nic.interrupt, entry: interrupt, priority: 5}
    windows:
      - {name: nic.context0, rights: read-write}     # or read, or write
    calls: [logger]                 # extensions that it calls
    exports: [total]                # entries that other extensions may call
    shared_state: false
    resumes: false

Only ``name`` and ``budget`` must be there. The text may come from an application: it is bounded before it is read.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any, Literal, NoReturn

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from nimble.access import READ_WRITE, Right
from nimble.extension import Attachment, Manifest, Trust, WindowWish

TEXT_LIMIT = 1 << 16  # characters
_DEPTH_LIMIT = 8
_RIGHTS = {str(rights): rights for rights in (Right.READ, Right.WRITE, READ_WRITE)}
_TYPES = {
    "string_type": "text",
    "int_type": "an integer",
    "bool_type": "true or false",
    "list_type": "a list",
    "model_type": "a mapping",
}


class ManifestError(ValueError):
    """``source:line: key: value; bound; remedy``."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Attach(_Model):
    event: str
    entry: str
    priority: int = 0


class _Window(_Model):
    name: str
    rights: Literal["read", "write", "read-write"]


class _Text(_Model):
    name: str
    trust: Literal["trusted", "untrusted"] = "untrusted"
    budget: int
    attach: list[_Attach] = []
    windows: list[_Window] = []
    calls: list[str] = []
    exports: list[str] = []
    shared_state: bool = False
    resumes: bool = False


def parse(text: str, *, source: str) -> Manifest:
    """The manifest in ``text``; ``source`` names where it comes from. Raises ManifestError."""
    node = _compose(text, source)
    try:
        found = _Text.model_validate(_construct(node, source))
    except ValidationError as error:
        # A key that is unknown explains one that is missing.
        first = min(error.errors(include_url=False), key=lambda each: each["type"] != "extra_forbidden")
        _fail(source, _line(node, first["loc"]), f"{_path(first['loc'])}{_explain(first)}")
    try:
        return Manifest(
            name=found.name,
            trust=Trust(found.trust),
            attach=tuple(Attachment(each.event, each.entry, each.priority) for each in found.attach),
            budget=found.budget,
            windows=tuple(WindowWish(each.name, _RIGHTS[each.rights]) for each in found.windows),
            calls=tuple(found.calls),
            exports=tuple(found.exports),
            shared_state=found.shared_state,
            resumes=found.resumes,
        )
    except ValueError as error:
        raise ManifestError(f"{source}: {error}") from None


def dump(manifest: Manifest) -> str:
    """Text that ``parse`` turns into an equal manifest; what is as if not given is left out."""
    text = _Text(
        name=manifest.name,
        trust=manifest.trust.value,
        budget=manifest.budget,
        attach=[_Attach(event=each.event, entry=each.entry, priority=each.priority) for each in manifest.attach],
        windows=[_Window(name=each.name, rights=str(each.rights)) for each in manifest.windows],  # type: ignore[arg-type]
        calls=list(manifest.calls),
        exports=list(manifest.exports),
        shared_state=manifest.shared_state,
        resumes=manifest.resumes,
    )
    shown = {"trust"}
    values = {
        key: value
        for key, value in text.model_dump().items()
        if key in shown or value != _Text.model_fields[key].default
    }
    return str(yaml.safe_dump(values, sort_keys=False, allow_unicode=True))


def _fail(source: str, line: int, text: str) -> NoReturn:
    raise ManifestError(f"{source}:{line}: {text}")


# Text to values


def _compose(text: str, source: str) -> yaml.Node:
    if len(text) > TEXT_LIMIT:
        _fail(source, 1, f"{len(text)} characters; a manifest has at most {TEXT_LIMIT}; shorten it")
    try:
        _check_events(text, source)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        _fail(source, line, f"is no YAML: {error.problem}; mend it")
    except yaml.YAMLError as error:
        _fail(source, 1, f"is no YAML: {' '.join(str(error).split())}; mend it")
    if not isinstance(node, yaml.MappingNode):
        _fail(source, 1, "is no mapping of keys to values; begin with name: and budget:")
    return node


def _check_events(text: str, source: str) -> None:
    """A few bytes of aliases or brackets can stand for very much: none of the former, few of the latter."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.AliasEvent):
            _fail(source, line, f"*{event.anchor}: aliases are not supported; write the value again")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        if isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _DEPTH_LIMIT:
            _fail(source, line, f"is nested deeper than {_DEPTH_LIMIT}; a manifest needs 3; simplify it")


def _construct(node: yaml.Node, source: str) -> Any:
    line = node.start_mark.line + 1
    if isinstance(node, yaml.CollectionNode) and not node.tag.startswith("tag:yaml.org,2002:"):
        _fail(source, line, f"{node.tag}: tags are not supported; remove it")
    if isinstance(node, yaml.SequenceNode):
        return [_construct(item, source) for item in node.value]
    if isinstance(node, yaml.MappingNode):
        values: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value
            if not isinstance(key_node, yaml.ScalarNode):
                _fail(source, line, "a key is a list or a mapping; keys are words; write one")
            if key in values:
                _fail(source, key_node.start_mark.line + 1, f"{key}: stands twice; each key stands once; remove one")
            values[key] = _construct(value_node, source)
        return values
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_object(node)
    except (yaml.YAMLError, ValueError, OverflowError):
        _fail(source, line, f"{node.value!r}: is no value of a kind that is known; write text in quotes")


# Errors


def _line(node: yaml.Node, location: Sequence[int | str]) -> int:
    """The line of the value at a path, or of what holds it."""
    line = node.start_mark.line + 1
    for step in location:
        if isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            node = node.value[step]
        elif isinstance(node, yaml.MappingNode):
            below = [value for key, value in node.value if key.value == step]
            if not below:
                break
            node = below[0]
        line = node.start_mark.line + 1
    return line


def _path(location: Sequence[int | str]) -> str:
    text = ""
    for step in location:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return f"{text}: " if text else ""


def _explain(error: Any) -> str:
    kind, value = error["type"], repr(error["input"])
    shown = value if len(value) <= 60 else f"{value[:57]}..."
    if kind == "missing":
        return "is missing; add it"
    if kind == "extra_forbidden":
        known = _keys(error["loc"])
        close = difflib.get_close_matches(str(error["loc"][-1]), known, n=1)
        return f"unknown key; known are {', '.join(known)}; " + (f"did you mean {close[0]}?" if close else "remove it")
    if kind == "literal_error":
        expected = str(error["ctx"]["expected"]).replace("'", "").replace(" or ", ", ")
        return f"{shown} is not one of {expected}; choose one of them"
    return f"{shown} is not {_TYPES.get(kind, 'allowed')}; write {_TYPES.get(kind, 'another value')}"


def _keys(location: Sequence[int | str]) -> list[str]:
    model: Any = {"attach": _Attach, "windows": _Window}.get(str(location[0]), _Text) if len(location) > 1 else _Text
    return list(model.model_fields)
