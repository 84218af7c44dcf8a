"""What the models refuse, as text: place, value, bound and remedy, in the words of the file instead of the models'.

Bounds, known keys and remedies come from the models' JSON Schema, so that nothing is declared twice.
"""

import difflib
import re
from collections.abc import Iterable
from typing import Any

from pydantic_core import ErrorDetails

from cosim.yaml_source import Path_, Problem, Source, dotted, shown

_MISSING = {"missing", "missing_argument", "missing_keyword_only_argument", "union_tag_not_found"}
_UNKNOWN = {"extra_forbidden", "unexpected_keyword_argument"}
_KEY = "[key]"  # how pydantic marks an error in a key instead of its value
_YAML_1_1_TRUTH = re.compile(r"(?i)yes|no|on|off|y|n|true|false")


def problems(errors: list[ErrorDetails], schema: dict[str, Any], source: Source) -> list[Problem]:
    """One line for each refusal that is not the consequence of another one."""
    return [
        _problem(error, schema, source)
        for error in errors
        if error["loc"] not in source.broken and not (error["type"] == "too_short" and _refused_inside(error, errors))
    ]


def _refused_inside(error: ErrorDetails, errors: list[ErrorDetails]) -> bool:
    """A list whose items were all refused counts as empty."""
    depth = len(error["loc"])
    return any(len(other["loc"]) > depth and other["loc"][:depth] == error["loc"] for other in errors)


def _problem(error: ErrorDetails, schema: dict[str, Any], source: Source) -> Problem:
    """One line for one refusal of the models."""
    path, here = _locate(error["loc"], schema)
    kind, value = error["type"], error.get("input")
    if kind in _MISSING:
        if kind == "union_tag_not_found":
            path, here = (*path, "app"), {"description": f"one of {', '.join(_tags(here))}"}
        text = f"missing; add '{path[-1]}: ...' ({_meaning(here)})"
        return Problem(source.position(path[:-1], key=True), f"{dotted(path)}: {text}")
    if kind in _UNKNOWN:
        _, parent = _locate(error["loc"][:-1], schema)
        return Problem(
            source.position(path, key=True), f"{dotted(path)}: unknown key; {_nearest(path[-1], _keys(parent))}"
        )
    if kind == "union_tag_invalid":
        path, tags = (*path, "app"), _tags(here)
        text = f"{shown(_tag_of(value))} is not an application; {_nearest(_tag_of(value), tags)}"
        return Problem(source.position(path), f"{dotted(path)}: {text}")
    is_key = bool(error["loc"]) and error["loc"][-1] == _KEY
    return Problem(source.position(path, key=is_key), f"{dotted(path)}: {_refusal(error, here, value)}")


def _refusal(error: ErrorDetails, here: dict[str, Any], value: Any) -> str:
    kind = error["type"]
    if kind.startswith(("greater_than", "less_than")):
        if ".." not in _bounds(here):
            return f"{shown(value)} is out of range; write {_expected(here)}"
        return f"{shown(value)} is out of range {_bounds(here)}; {_meaning(here)}"
    if kind in ("literal_error", "enum"):
        remedy = f"write {_expected(here)}" if here.get("type") == "integer" else _nearest(value, _choices(here))
        return f"{shown(value)} is not allowed here; {remedy}"
    if kind == "string_pattern_mismatch" and error["loc"][-1] == _KEY:
        return "not a path in report.json; write the keys that lead there with dots between them"
    if kind == "string_pattern_mismatch":
        return f"{shown(value)} does not fit; {_meaning(here)}"
    if kind in ("too_short", "too_long"):
        low, high = here.get("minItems", 0), here.get("maxItems", "any number")
        return f"a list of {len(value)} is out of range {low}..{high}; {_meaning(here)}"
    if kind == "value_error":
        return str(error.get("ctx", {}).get("error", error["msg"]))
    if kind.endswith("_type") or kind in ("int_from_float", "finite_number"):
        return f"{_found(value)}; write {_expected(here)}{_hint(value, here)}"
    return error["msg"]


def _locate(loc: Iterable[str | int], schema: dict[str, Any]) -> tuple[Path_, dict[str, Any]]:
    """The path in the file and the JSON Schema of the value that pydantic's `loc` names."""
    path: Path_ = ()
    here = _resolved(schema, schema)
    for step in loc:
        mapping = here.get("discriminator", {}).get("mapping", {})
        if step in mapping:
            here = _resolved({"$ref": mapping[step]}, schema)
        elif step != _KEY:
            path = (*path, step)
            here = _resolved(_child(here, step), schema)
    return path, here


def _child(here: dict[str, Any], step: str | int) -> dict[str, Any]:
    if isinstance(step, int):
        return dict(here.get("items", {}))
    return dict(here.get("properties", {}).get(step, {}))


def _resolved(node: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """`node` with the definition that it refers to; what stands beside the reference wins."""
    if "$ref" not in node:
        return node
    definition = schema["$defs"][node["$ref"].rpartition("/")[2]]
    return {**definition, **{key: value for key, value in node.items() if key != "$ref"}}


def _keys(here: dict[str, Any]) -> list[str]:
    return list(here.get("properties", {}))


def _tags(here: dict[str, Any]) -> list[str]:
    return list(here.get("discriminator", {}).get("mapping", {}))


def _tag_of(value: Any) -> Any:
    return value.get("app") if isinstance(value, dict) else value


def _choices(here: dict[str, Any]) -> list[str]:
    return [str(choice) for choice in here.get("enum", [here["const"]] if "const" in here else [])]


def _nearest(word: object, known: list[str]) -> str:
    """The remedy for a word that is not among the known ones."""
    near = difflib.get_close_matches(str(word), known, n=1, cutoff=0.6)
    everything = ", ".join(known)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"write one of: {everything}" if known else "remove it"


def _bounds(here: dict[str, Any]) -> str:
    """The range of a number, empty if it has none."""
    low, high = here.get("minimum"), here.get("maximum")
    if high is None:
        return "" if low is None else f"{low} or more"
    return f"up to {high}" if low is None else f"{low}..{high}"


def _meaning(here: dict[str, Any]) -> str:
    """The first sentence of what the schema says about a value, or else what may be written."""
    text = " ".join(str(here.get("description", "")).split())
    sentence = text.partition(". ")[0].rstrip(".")
    if sentence[1:2].islower() or sentence[1:2] == " ":  # no acronym
        sentence = sentence[0].lower() + sentence[1:]
    return sentence or f"write {_expected(here)}"


def _expected(here: dict[str, Any]) -> str:
    """What may be written here."""
    kind = here.get("type")
    if _choices(here):
        return "one of: " + ", ".join(_choices(here))
    if kind in ("integer", "number"):
        noun, bounds = "an integer" if kind == "integer" else "a number", _bounds(here)
        return f"{noun} in {bounds}" if ".." in bounds else f"{noun}, {bounds}" if bounds else noun
    if kind == "object" and _keys(here):
        return "a mapping with keys such as " + ", ".join(_keys(here)[:6])
    if kind == "array" and "description" in here:
        return f"a list: {_meaning(here)}"
    names = {"boolean": "true or false", "string": "text", "array": "a list"}
    return names.get(str(kind), "a mapping")


def _found(value: Any) -> str:
    kinds = {bool: "a truth value", int: "an integer", float: "a floating-point number", str: "text"}
    if value is None:
        return "has no value"
    kind = kinds.get(type(value))
    return f"{shown(value)} is {kind}" if kind else f"{shown(value)} does not fit"


def _hint(value: Any, here: dict[str, Any]) -> str:
    """What the writer probably meant."""
    kind = here.get("type")
    if kind in ("integer", "number"):
        if isinstance(value, float) and value == int(value):
            return f": {int(value)}"
        if isinstance(value, str) and re.fullmatch(r"[-+]?[0-9]+", value):
            return f": {int(value)} without quotes"
        if isinstance(value, str) and re.fullmatch(r"[-+]?[0-9][0-9_]*", value):
            return f": {int(value)} without underscores"
        if isinstance(value, str) and re.fullmatch(r"[0-9]+(:[0-5]?[0-9])+", value):
            return "; times with colons are not numbers"
    if kind == "boolean" and isinstance(value, str) and _YAML_1_1_TRUTH.fullmatch(value):
        return f": {str(value.lower() in ('yes', 'on', 'y', 'true')).lower()}, without quotes"
    if kind == "string" and not isinstance(value, dict | list | None.__class__):
        return f": '{shown(value)}' with quotes"
    return ""
