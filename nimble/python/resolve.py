"""Names, attributes and subscripts to places: ``journal.handled``, ``table[i]``, ``nic.CONTEXT[i].CONTROL``."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass

from nimble.python.arithmetic import Arithmetic
from nimble.python.constants import dotted
from nimble.python.declarations import Table, Variable
from nimble.python.devices import Device
from nimble.python.errors import did_you_mean
from nimble.python.ir import quoted
from nimble.python.places import BitsPlace, LocalPlace, MemoryPlace, Place, RegisterPlace
from nimble.python.scope import STATE_SYMBOL, Scope
from nimble.python.types import U64, Array, Constant, Integer, Operand, Pointer, Struct, Value


@dataclass(frozen=True)
class Group:
    """A device or a part of it that is no single register, ``offset`` bytes behind ``address``.

    ``indexed``: an array's element, or no array at all.
    """

    device: Device
    name: str
    path: str
    address: Operand
    offset: int
    indexed: bool


Found = Place | Group


class Resolver:
    """Finds places in one function. ``value`` compiles an expression."""

    def __init__(self, scope: Scope, arithmetic: Arithmetic, value: Callable[[ast.expr], Operand]) -> None:
        self._scope = scope
        self._arithmetic = arithmetic
        self._value = value

    def constant(self, node: ast.expr) -> Constant | Value | None:
        """The constant that a name or a chain of attributes stands for."""
        name = dotted(node)
        if self._scope.is_local(name.partition(".")[0]):
            return None
        known = self._scope.declarations.known.get(name)
        if isinstance(known, bool):
            return self._arithmetic.truth(Constant(known), node)
        return None if known is None or isinstance(known, tuple) else Constant(known)

    def place(self, node: ast.expr) -> Place:
        """What can be loaded and stored."""
        found = self.find(node)
        if isinstance(found, Group):
            below = ", ".join(found.device.members(found.path)) or "nothing"
            remedy = f"index it, as in {found.name}[0]" if not found.indexed else f"name one of {below}"
            self._scope.fail(node, f"{found.name}: is no single register; {remedy}")
        return found

    def find(self, node: ast.expr) -> Found:
        """A place, or a part of a device."""
        match node:
            case ast.Name():
                return self._name(node)
            case ast.Attribute():
                return self._attribute(node)
            case ast.Subscript():
                return self._subscript(node)
        self._scope.fail(node, f"{ast.unparse(node)}: is no place in memory; name a variable, member or element")

    def _name(self, node: ast.Name) -> Found:
        if self._scope.is_local(node.id):
            return LocalPlace(self._scope.lookup(node), node.id)
        declared = self._scope.declarations.names.get(node.id)
        if isinstance(declared, Variable):
            return MemoryPlace(declared.type, quoted(STATE_SYMBOL), str(declared.offset))
        if isinstance(declared, Device):
            return Group(declared, node.id, "", Constant(declared.base), 0, True)
        if isinstance(declared, Table):
            self._scope.fail(node, f"{node.id}: is a tuple; take an element, as in {node.id}[0]")
        if declared is None:
            self._scope.unknown(node, node.id)
        self._scope.fail(node, f"{node.id}: is no value; call it or use it as an annotation")

    def _root_is_device(self, node: ast.expr) -> bool:
        while isinstance(node, ast.Attribute | ast.Subscript):
            node = node.value
        if not isinstance(node, ast.Name) or self._scope.is_local(node.id):
            return False
        return isinstance(self._scope.declarations.names.get(node.id), Device)

    def register_type(self, node: ast.expr) -> Integer | None:
        """The type of a register's value, if the expression names a register; evaluates nothing."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute | ast.Subscript):
            if isinstance(node, ast.Attribute):
                parts.insert(0, node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or self._scope.is_local(node.id):
            return None
        device, path = self._scope.declarations.names.get(node.id), ".".join(parts)
        if not isinstance(device, Device) or path not in device.plain or device.members(path):
            return None
        return Integer(device.bits, False, device.fields(path))

    # Attributes

    def _attribute(self, node: ast.Attribute) -> Found:
        if self._root_is_device(node):
            found = self.find(node.value)
            if isinstance(found, Group):
                return self._below(node, found)
        self._check_member_of_enum(node)
        base = self._value(node.value)
        if isinstance(base, Value) and isinstance(base.type, Integer) and base.type.fields:
            text = f"{ast.unparse(node)}: is a field of a register; fields are read only; write the whole register"
            self._scope.fail(node, text)
        if (
            not isinstance(base, Value)
            or not isinstance(base.type, Pointer)
            or not isinstance(base.type.target, Struct)
        ):
            kind = base.type if isinstance(base, Value) else "a number"
            self._scope.fail(node, f"{ast.unparse(node)}: {kind} has no members; only structs and devices have")
        return self._member(node, base.text, base.type.target)

    def _check_member_of_enum(self, node: ast.Attribute) -> None:
        name = dotted(node)
        root = name.partition(".")[0]
        known = self._scope.declarations.known
        if not self._scope.is_local(root) and root not in self._scope.declarations.names and root not in known:
            members = [one for one in known if one.startswith(f"{root}.")]
            if members:
                remedy = did_you_mean(name, members, f"known are {', '.join(members)}")
                self._scope.fail(node, f"{name}: unknown name; {remedy}")

    def _member(self, node: ast.Attribute, base: str, made: Struct) -> Place:
        member = made.members.get(node.attr)
        if member is None:
            known = ", ".join(made.members)
            remedy = did_you_mean(node.attr, made.members, f"it has {known}")
            self._scope.fail(node, f"{made}.{node.attr}: there is no such member; {remedy}")
        if member.bits is not None:
            assert isinstance(member.type, Integer)
            return BitsPlace(member.type, MemoryPlace(U64, base, str(member.offset)), member.bits)
        return MemoryPlace(member.type, base, str(member.offset))

    def _below(self, node: ast.Attribute, group: Group) -> Found:
        path = f"{group.path}.{node.attr}" if group.path else node.attr
        name = f"{group.name}.{node.attr}"
        device = group.device
        if not group.indexed:
            self._scope.fail(node, f"{group.name}: is an array; index it, as in {group.name}[0].{node.attr}")
        if path not in device.plain:
            members = device.members(group.path)
            remedy = did_you_mean(node.attr, members, f"it has {', '.join(members)}")
            self._scope.fail(node, f"{name}: there is no such register; {remedy}")
        offset = group.offset + device.plain[path]
        below = Group(device, name, path, group.address, offset, device.stride(path) is None)
        return below if device.stride(path) is not None or device.members(path) else self._register(below)

    def _register(self, group: Group) -> RegisterPlace:
        address, offset = group.address, group.offset
        if isinstance(address, Constant):
            address, offset = Constant(address.value + offset), 0
        text = self._arithmetic.convert(address, U64).text
        fields = group.device.fields(group.path) if group.path else {}
        return RegisterPlace(group.name, group.device.bits, text, offset, fields)

    def operand(self, place: RegisterPlace) -> Operand:
        """The base of a register's address."""
        known = place.base.lstrip("-").isdigit()
        return Constant(U64.wrap(int(place.base))) if known else Value(U64, place.base)

    # Subscripts

    def _subscript(self, node: ast.Subscript) -> Found:
        if isinstance(node.slice, ast.Slice):
            self._scope.fail(node, f"{ast.unparse(node)}: slices are not known; use one element at a time")
        if self._root_is_device(node):
            found = self.find(node.value)
            if isinstance(found, Group):
                return self._element(node, found)
        table = self._table(node.value)
        if table is not None:
            self._scope.fail(node, f"{table.name}: is a constant tuple; use state(array(..)) for what changes")
        length = self._length(node.value)
        base, index = self._value(node.value), self._value(node.slice)
        if not isinstance(base, Value) or not isinstance(base.type, Pointer):
            kind = base.type if isinstance(base, Value) else "a number"
            self._scope.fail(node, f"{ast.unparse(node)}: {kind} has no elements; index an array or a pointer")
        if isinstance(index, Constant) and length is not None and not 0 <= index.value < length:
            text = f"{ast.unparse(node)}: element {index} is out of range 0..{length - 1}; use one in range"
            self._scope.fail(node, text)
        offset = self._arithmetic.scaled(index, base.type.target.size, node)
        return MemoryPlace(base.type.target, base.text, offset)

    def _length(self, node: ast.expr) -> int | None:
        """How many elements an array has that a name or a member stands for."""
        if isinstance(node, ast.Name) and not self._scope.is_local(node.id):
            declared = self._scope.declarations.names.get(node.id)
            if isinstance(declared, Variable) and isinstance(declared.type, Array):
                return declared.type.length
        return None

    def _element(self, node: ast.Subscript, group: Group) -> Found:
        """An array's element; of the device itself the register at that byte offset."""
        index = self._wide(self._value(node.slice), node)
        stride = 1 if not group.path else group.device.stride(group.path)
        if stride is None or (group.path and group.indexed):
            self._scope.fail(node, f"{group.name}: is no array; name a register below it")
        binary = self._arithmetic.binary
        distance = binary("*", index, Constant(stride), node)
        address, offset = group.address, group.offset
        if isinstance(address, Constant):
            address, offset = Constant(address.value + offset), 0
        found = Group(group.device, f"{group.name}[..]", group.path, binary("+", address, distance, node), offset, True)
        return found if group.path and group.device.members(group.path) else self._register(found)

    def _wide(self, index: Operand, node: ast.expr) -> Operand:
        if isinstance(index, Constant):
            if index.value < 0:
                self._scope.fail(node, f"{ast.unparse(node)}: index {index} is negative; count from 0")
            return index
        return self._arithmetic.coerce(index, U64, node, f"index of {ast.unparse(node)}")

    def _table(self, node: ast.expr) -> Table | None:
        if not isinstance(node, ast.Name) or self._scope.is_local(node.id):
            return None
        declared = self._scope.declarations.names.get(node.id)
        return declared if isinstance(declared, Table) else None

    def table_element(self, node: ast.Subscript) -> Constant | MemoryPlace | None:
        """An element of a constant tuple: the number itself, if its index is constant too."""
        table = self._table(node.value)
        if table is None:
            return None
        index = self._value(node.slice)
        if isinstance(index, Constant):
            if not -len(table.values) <= index.value < len(table.values):
                text = f"element {index} is out of range 0..{len(table.values) - 1}; use one in range"
                self._scope.fail(node, f"{ast.unparse(node)}: {text}")
            return Constant(table.values[index.value])
        if table.element is None:
            text = f"{table.name}: has no element type, which an index that is no constant needs"
            self._scope.fail(node, f"{text}; write {table.name}: tuple[u64, ...] = ..")
        offset = self._arithmetic.scaled(index, table.element.size, node)
        return MemoryPlace(table.element, quoted(table_symbol(table)), offset)


def table_symbol(table: Table) -> str:
    """What a constant tuple is called in the object."""
    return f"nimble.table.{table.name}"
