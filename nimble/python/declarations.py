"""What the top of a source declares, once it was read."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn

from nimble.python.constants import Known
from nimble.python.devices import Device
from nimble.python.errors import did_you_mean
from nimble.python.types import INTEGERS, Array, Integer, Memory, Pointer, Result, Scalar, Struct

Fail = Callable[[ast.AST, str], NoReturn]


class Builtin(NamedTuple):
    """A name of the language that is no type."""

    name: str


class Variable(NamedTuple):
    """A variable of state, ``offset`` bytes from the state's begin."""

    name: str
    type: Memory
    offset: int


class Table(NamedTuple):
    """A constant tuple; with an ``element`` type it also stands in memory."""

    name: str
    values: tuple[int, ...]
    element: Integer | None


class Parameter(NamedTuple):
    """One parameter of a function."""

    name: str
    type: Scalar


@dataclass(frozen=True, kw_only=True)
class Signature:
    """A function: ``kind`` is entry, local or service."""

    name: str
    kind: str
    node: ast.FunctionDef
    parameters: tuple[Parameter, ...]
    result: Result
    noinline: bool

    @property
    def symbol(self) -> str:
        """What it is called in the object; an entry's own name is that of the wrapper that the outside calls."""
        return self.name if self.kind == "service" else f"{self.name}.body"


Name = Builtin | Variable | Table | Signature | Device | Integer | Struct


@dataclass
class Declarations:
    """A source after its top was read. ``known`` holds constants, dotted names included."""

    source: str
    names: dict[str, Name] = field(default_factory=dict)
    known: dict[str, Known] = field(default_factory=dict)
    functions: list[Signature] = field(default_factory=list)
    variables: list[Variable] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    state: bytearray = field(default_factory=bytearray)
    manifest: Mapping[str, Any] | None = None


BUILTINS = (
    "Array",
    "Pointer",
    "address_of",
    "array",
    "atomic_add",
    "atomic_and",
    "atomic_compare_exchange",
    "atomic_exchange",
    "atomic_or",
    "atomic_xor",
    "barrier",
    "byte_swap",
    "device",
    "entry",
    "local",
    "manifest",
    "noinline",
    "offset_of",
    "parameter",
    "service",
    "size_of",
    "state",
    "struct",
)
IMPORTABLE: dict[str, Name] = {**INTEGERS, **{name: Builtin(name) for name in BUILTINS}}
ALWAYS: dict[str, Name] = {name: Builtin(name) for name in ("bool", "len", "max", "min", "range", "tuple")}


def remedy_for(name: str, known: Iterable[str], otherwise: str) -> str:
    """The remedy for a name that means nothing in a source where ``known`` ones do."""
    if name in IMPORTABLE:
        return f"write from nimble.python import {name}"
    if name not in ALWAYS and hasattr(builtins, name):
        return f"it is Python's own, of which only {', '.join(ALWAYS)} are known; write it out, or call a service"
    return did_you_mean(name, known, otherwise)


def as_scalar(kind: Memory) -> Scalar:
    """The type of an expression of this type: structs and arrays are seen through a pointer."""
    if isinstance(kind, Struct):
        return Pointer(kind)
    return Pointer(kind.element) if isinstance(kind, Array) else kind
