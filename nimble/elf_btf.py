"""Map definitions in BTF type information; everything else in it is ignored.

Ref: Linux, Documentation/bpf/btf.rst. A map is a variable of section ``.maps`` whose type is a struct; a number N among
its members is a pointer to an array of N elements, a type is a pointer to it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

ARRAY_MAP = 2  # BPF_MAP_TYPE_ARRAY
_MAGIC = 0xEB9F
_HEADER = struct.Struct("<HBBIIIII")
_TYPE = struct.Struct("<III")
_INT, _PTR, _ARRAY, _STRUCT, _UNION, _ENUM = 1, 2, 3, 4, 5, 6
_TYPEDEF, _VOLATILE, _CONST, _RESTRICT, _VAR, _DATASEC, _FLOAT, _TYPE_TAG, _ENUM64 = 8, 9, 10, 11, 14, 15, 16, 18, 19
_ALIASES = (_TYPEDEF, _VOLATILE, _CONST, _RESTRICT, _TYPE_TAG)
_SIZED = (_INT, _STRUCT, _UNION, _ENUM, _FLOAT, _ENUM64)
# Bytes behind the common part of a type: of its own, and of each of its parts.
_EXTRA = dict.fromkeys(range(1, 20), (0, 0)) | {
    _INT: (4, 0),
    _ARRAY: (12, 0),
    _STRUCT: (0, 12),
    _UNION: (0, 12),
    _ENUM: (0, 8),
    13: (0, 8),  # FUNC_PROTO
    _VAR: (4, 0),
    _DATASEC: (0, 12),
    17: (4, 0),  # DECL_TAG
    _ENUM64: (0, 12),
}
_DEPTH_LIMIT = 32


class BtfError(ValueError):
    """Type information that is damaged; ``offset`` counts bytes from its first one."""

    def __init__(self, offset: int, text: str) -> None:
        super().__init__(f"{text}; it is damaged; build it again, or without -g")
        self.offset = offset


@dataclass(frozen=True)
class MapDefinition:
    """``kind`` is Linux's number of the map's type; ``cells`` of ``cell_bytes`` each, 0 if it does not say."""

    kind: int
    cells: int
    cell_bytes: int


@dataclass(frozen=True)
class _Type:
    name: int
    kind: int
    parts: int
    size_or_type: int
    at: int  # of what is behind the common part


class _Types:
    """The types of one section, by number from 1."""

    def __init__(self, data: bytes) -> None:
        if len(data) < _HEADER.size:
            raise BtfError(0, f"{len(data)} bytes; its header has {_HEADER.size}")
        magic, _, _, header, types_at, types_bytes, strings_at, strings_bytes = _HEADER.unpack_from(data)
        begin, strings = header + types_at, header + strings_at
        if magic != _MAGIC or begin + types_bytes > len(data) or strings + strings_bytes > len(data):
            raise BtfError(0, f"header 0x{magic:x}, types to {begin + types_bytes}, strings to {strings}")
        self._data = data
        self._strings = data[strings : strings + strings_bytes]
        self.all = [_Type(0, 0, 0, 0, 0)]
        at, end = begin, begin + types_bytes
        while at + _TYPE.size <= end:
            name, information, size_or_type = _TYPE.unpack_from(data, at)
            kind, parts = information >> 24 & 0x1F, information & 0xFFFF
            if kind not in _EXTRA:
                raise BtfError(at, f"type of kind {kind}; 1..19 are known")
            self.all.append(_Type(name, kind, parts, size_or_type, at + _TYPE.size))
            own, each = _EXTRA[kind]
            at += _TYPE.size + own + each * parts
        if at > end:
            raise BtfError(end, "the last type is cut off")

    def name(self, offset: int) -> str:
        return self._strings[offset:].split(b"\0", 1)[0].decode("utf-8", "replace")

    def words(self, kind: _Type, part: int = 0, count: int = 3) -> tuple[int, ...]:
        """``count`` 32-bit words of one of a type's parts."""
        return struct.unpack_from(f"<{count}I", self._data, kind.at + 4 * count * part)

    def resolve(self, number: int) -> _Type:
        """The type behind its aliases."""
        for _ in range(_DEPTH_LIMIT):
            if number >= len(self.all):
                raise BtfError(0, f"type {number}; there are {len(self.all) - 1}")
            found = self.all[number]
            if found.kind not in _ALIASES:
                return found
            number = found.size_or_type
        raise BtfError(0, f"type {number} is an alias of aliases without end")

    def pointed(self, number: int) -> _Type:
        pointer = self.resolve(number)
        if pointer.kind != _PTR:
            raise BtfError(pointer.at, "a member of a map definition is no pointer")
        return self.resolve(pointer.size_or_type)

    def number(self, type_number: int) -> int:
        """The number that a member of this type stands for."""
        array = self.pointed(type_number)
        if array.kind != _ARRAY:
            raise BtfError(array.at, "a number of a map definition is no pointer to an array")
        return self.words(array)[2]

    def size(self, kind: _Type, depth: int = 0) -> int:
        if kind.kind in _SIZED:
            return kind.size_or_type
        if kind.kind == _PTR:
            return 8
        if kind.kind == _ARRAY and depth < _DEPTH_LIMIT:
            element, _, count = self.words(kind)
            return count * self.size(self.resolve(element), depth + 1)
        raise BtfError(kind.at, f"a type of kind {kind.kind} has no size")


def map_definitions(data: bytes, section: str) -> dict[str, MapDefinition]:
    """The maps that ``section`` defines, by name. Raises BtfError."""
    types = _Types(data)
    found = {}
    for kind in types.all:
        if kind.kind != _DATASEC or types.name(kind.name) != section:
            continue
        for part in range(kind.parts):
            variable = types.resolve(types.words(kind, part)[0])
            if variable.kind != _VAR:
                raise BtfError(kind.at, f"section {section} holds a type of kind {variable.kind}")
            definition = types.resolve(variable.size_or_type)
            if definition.kind == _STRUCT:
                found[types.name(variable.name)] = _definition(types, definition)
    return found


def _definition(types: _Types, kind: _Type) -> MapDefinition:
    members = {}
    for part in range(kind.parts):
        name, member, _ = types.words(kind, part)
        members[types.name(name)] = member
    numbers = {name: types.number(members[name]) for name in ("type", "max_entries", "value_size") if name in members}
    size = types.size(types.pointed(members["value"])) if "value" in members else numbers.get("value_size", 0)
    return MapDefinition(numbers.get("type", 0), numbers.get("max_entries", 0), size)
