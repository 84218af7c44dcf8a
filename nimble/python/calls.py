"""Calls: conversions, the language's own functions, the source's functions, and services."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Protocol

from nimble.python.arithmetic import Arithmetic
from nimble.python.declarations import Builtin, Signature, Table
from nimble.python.ir import BARRIER, Function, quoted
from nimble.python.places import LocalPlace, MemoryPlace, RegisterPlace, insert
from nimble.python.resolve import Group, Resolver
from nimble.python.scope import Scope
from nimble.python.types import (
    BOOL,
    U64,
    Array,
    Boolean,
    Constant,
    Integer,
    Operand,
    Pointer,
    Scalar,
    Struct,
    Value,
    Void,
)

_ATOMICS = {"atomic_add": "add", "atomic_and": "and", "atomic_or": "or", "atomic_xor": "xor", "atomic_exchange": "xchg"}
_ATOMIC_CPUS = ("v3", "v4")
_DECLARATION_ONLY = ("state", "device", "parameter", "manifest", "entry", "service", "noinline", "struct", "array")


class Compiler(Protocol):
    """What calls need of the compiler of expressions."""

    def value(self, node: ast.expr, wanted: Scalar | None = None) -> Operand: ...
    def typed(self, node: ast.expr, kind: Scalar, what: str) -> Value: ...


class Edge:
    """Values to and from the 64-bit registers in which they cross into services and out of entries."""

    def __init__(self, arithmetic: Arithmetic, function: Function) -> None:
        self._arithmetic = arithmetic
        self._function = function

    def widen(self, value: Value) -> Value:
        """A register that holds ``value``, extended by its own sign."""
        return self._arithmetic.convert(value, U64)

    def narrow(self, word: str, kind: Scalar) -> Value:
        """A register's 64 bits as a value of ``kind``, which has as many of them as it needs."""
        whole = Value(U64, word)
        if isinstance(kind, Boolean):
            return Value(BOOL, self._function.make(f"icmp ne i64 {word}, 0"))
        if isinstance(kind, Pointer):
            return self._arithmetic.pointer(whole, kind)
        return self._arithmetic.convert(whole, kind)


class Calls:
    """Compiles the calls of one function."""

    def __init__(self, scope: Scope, arithmetic: Arithmetic, resolver: Resolver, expressions: Compiler) -> None:
        self._scope = scope
        self._function = scope.function
        self._arithmetic = arithmetic
        self._resolver = resolver
        self._expressions = expressions
        self._edge = Edge(arithmetic, scope.function)
        self._builtins: dict[str, Callable[[ast.Call], Operand | None]] = {
            "bool": lambda node: arithmetic.truth(self._argument(node), node),
            "len": self._length,
            "min": lambda node: self._extreme(node, "<="),
            "max": lambda node: self._extreme(node, ">="),
            "barrier": self._barrier,
            "byte_swap": self._byte_swap,
            "address_of": self._address_of,
            "offset_of": self._offset_of,
            "size_of": self._size_of,
            "local": self._local,
            "atomic_compare_exchange": self._compare_exchange,
            **dict.fromkeys(_ATOMICS, self._atomic),
        }

    def call(self, node: ast.Call) -> Operand | None:
        """The result of a call, or None if it has none."""
        if node.keywords and not (isinstance(node.func, ast.Attribute) and node.func.attr == "write"):
            self._scope.fail(node, f"{ast.unparse(node)}: arguments are given by position; leave the names out")
        match node.func:
            case ast.Name(id=name):
                return self._named(node, name)
            case ast.Subscript():
                return self._pointer(node, node.func)
            case ast.Attribute(attr="write"):
                self._write(node, node.func.value)
                return None
        self._scope.fail(node, f"{ast.unparse(node.func)}: is no function; call functions and services by name")

    def _named(self, node: ast.Call, name: str) -> Operand | None:
        declared = None if self._scope.is_local(name) else self._scope.declarations.names.get(name)
        match declared:
            case Integer():
                return self._arithmetic.convert(self._argument(node), declared)
            case Signature():
                return self._function_call(node, declared)
            case Builtin(name=builtin) if builtin in self._builtins:
                return self._builtins[builtin](node)
            case Builtin(name=builtin) if builtin in _DECLARATION_ONLY:
                self._scope.fail(node, f"{name}(..): stands at the top of the source only; move it there")
            case None if not self._scope.is_local(name):
                self._scope.unknown(node, name)
        self._scope.fail(node, f"{name}: is no function; call functions and services by name")

    def _arguments(self, node: ast.Call, count: int, form: str) -> list[ast.expr]:
        if len(node.args) != count:
            self._scope.fail(node, f"{ast.unparse(node)}: takes {count} arguments, not {len(node.args)}; write {form}")
        return node.args

    def _argument(self, node: ast.Call) -> Operand:
        (one,) = self._arguments(node, 1, f"{ast.unparse(node.func)}(x)")
        return self._expressions.value(one)

    # Functions and services

    def _function_call(self, node: ast.Call, called: Signature) -> Operand | None:
        names = ", ".join(parameter.name for parameter in called.parameters)
        arguments = self._arguments(node, len(called.parameters), f"{called.name}({names})")
        values = [
            self._expressions.typed(argument, parameter.type, f"{called.name}: argument {parameter.name}")
            for argument, parameter in zip(arguments, called.parameters, strict=True)
        ]
        self._function.line = node.lineno
        if called.kind == "service":
            values = [self._edge.widen(value) for value in values]
        texts = ", ".join(f"{value.type.ir} {value.text}" for value in values)
        if called.kind == "service":
            word = self._function.make(f"call i64 {quoted(called.symbol)}({texts})")
            return None if isinstance(called.result, Void) else self._edge.narrow(word, called.result)
        call = f"call {called.result.ir} {quoted(called.symbol)}({texts})"
        if isinstance(called.result, Void):
            self._function.do(call)
            return None
        return Value(called.result, self._function.make(call))

    # Devices

    def _write(self, node: ast.Call, target: ast.expr) -> None:
        """``nic.NODE_ID.write(NID=.., LOCKED=1)``: one access; fields that are not named are zero."""
        place = self._resolver.place(target)
        if not isinstance(place, RegisterPlace) or node.args:
            self._scope.fail(
                node, f"{ast.unparse(node)}: write(..) takes a register's fields by name; assign other places"
            )
        word = "0"
        for keyword in node.keywords:
            name = keyword.arg or "**"
            if name not in place.fields:
                known = ", ".join(place.fields) or "none"
                self._scope.fail(node, f"{place.name}.{name}: there is no such field; its fields are: {known}")
            bits, what = place.fields[name], f"{place.name}.{name}"
            value = self._expressions.value(keyword.value)
            if isinstance(value, Constant) and not 0 <= value.value < 1 << bits.width:
                self._scope.fail(node, f"{what}: {value} does not fit {bits.width} bits; give less")
            part = insert(self._function, self._arithmetic.convert(value, U64), bits)
            word = self._function.make(f"or i64 {word}, {part}")
        place.store(self._function, self._arithmetic.convert(Value(U64, word), place.type))

    # The language's own functions

    def _pointer(self, node: ast.Call, func: ast.Subscript) -> Value:
        kind = self._scope.annotations.scalar(func)
        if not isinstance(kind, Pointer):
            self._scope.fail(node, f"{ast.unparse(func)}: is no function; call functions and services by name")
        (argument,) = self._arguments(node, 1, f"{kind}(address)")
        address = self._expressions.value(argument)
        if isinstance(address, Value) and isinstance(address.type, Pointer):
            return Value(kind, address.text)
        return self._arithmetic.pointer(self._arithmetic.coerce(address, U64, node, "the address"), kind)

    def _length(self, node: ast.Call) -> Constant:
        (one,) = self._arguments(node, 1, "len(table)")
        declared = self._scope.declarations.names.get(one.id) if isinstance(one, ast.Name) else None
        if isinstance(declared, Table):
            return Constant(len(declared.values))
        kind = getattr(declared, "type", None)
        if not isinstance(kind, Array):
            self._scope.fail(node, f"{ast.unparse(node)}: only arrays of state and constant tuples have a length")
        return Constant(kind.length)

    def _extreme(self, node: ast.Call, sign: str) -> Operand:
        one, other = (
            self._expressions.value(part) for part in self._arguments(node, 2, f"{ast.unparse(node.func)}(a, b)")
        )
        if isinstance(one, Constant) and isinstance(other, Constant):
            return Constant((min if sign == "<=" else max)(one.value, other.value))
        left, right = self._arithmetic.unify(one, other, node, ast.unparse(node))
        return self._arithmetic.select(self._arithmetic.compare(sign, left, right, node).text, left, right)

    def _barrier(self, node: ast.Call) -> None:
        self._arguments(node, 0, "barrier()")
        self._function.do(BARRIER)

    def _byte_swap(self, node: ast.Call) -> Value:
        value = self._argument(node)
        if not isinstance(value, Value) or not isinstance(value.type, Integer) or value.type.bits == 8:
            self._scope.fail(
                node, f"{ast.unparse(node)}: bytes of u16, u32 and u64 are swapped; convert, as in u32(..)"
            )
        kind = Integer(value.type.bits, value.type.signed)
        return Value(kind, self._function.make(f"call {kind.ir} @llvm.bswap.{kind.ir}({kind.ir} {value.text})"))

    def _address_of(self, node: ast.Call) -> Value:
        (one,) = self._arguments(node, 1, "address_of(place)")
        place = self._resolver.place(one)
        if isinstance(place, RegisterPlace):
            return Value(Pointer(Integer(place.bits, False)), place.address(self._function))
        if isinstance(place.type, Pointer) and isinstance(place.type.target, Struct) and isinstance(place, LocalPlace):
            return place.load(self._function)  # what it refers to
        if not isinstance(place, MemoryPlace):
            self._scope.fail(node, f"{ast.unparse(node)}: has no address; only state, elements and whole members have")
        address = place.address(self._function)
        kind = place.type if isinstance(place.memory, Struct | Array) else Pointer(place.memory)
        assert isinstance(kind, Pointer)
        return Value(kind, address)

    def _offset_of(self, node: ast.Call) -> Operand:
        (one,) = self._arguments(node, 1, "offset_of(device.REGISTER)")
        found = self._resolver.find(one)
        root = one
        while isinstance(root, ast.Attribute | ast.Subscript):
            root = root.value
        base = self._resolver.find(root)
        if not isinstance(base, Group) or not isinstance(found, Group | RegisterPlace):
            self._scope.fail(node, f"{ast.unparse(node)}: only registers of a device have an offset; name one")
        place = found.address if isinstance(found, Group) else self._resolver.operand(found)
        address = self._arithmetic.binary("+", place, Constant(found.offset), node)
        return self._arithmetic.binary("-", address, base.address, node)

    def _size_of(self, node: ast.Call) -> Constant:
        (one,) = self._arguments(node, 1, "size_of(T)")
        return Constant(self._scope.annotations.memory(one).size)

    def _local(self, node: ast.Call) -> Value:
        (one,) = self._arguments(node, 1, "local(array(u64, 8))")
        kind = self._scope.annotations.memory(one)
        if not isinstance(kind, Struct | Array):
            self._scope.fail(node, f"{ast.unparse(node)}: local(..) makes arrays and structs; write x: {kind} = 0")
        return Value(Pointer(kind if isinstance(kind, Struct) else kind.element), self._scope.storage(node, kind))

    # Atomics

    def _target(self, node: ast.Call) -> tuple[Value, Integer]:
        if self._scope.cpu not in _ATOMIC_CPUS:
            self._scope.fail(
                node, f"{ast.unparse(node)}: atomics need cpu v3 or v4, not {self._scope.cpu}; compile for one"
            )
        place = self._expressions.value(node.args[0])
        if isinstance(place, Value) and isinstance(place.type, Pointer):
            target = place.type.target
            if isinstance(target, Integer) and target.bits in (32, 64):
                return place, target
        text = "the place is a pointer to 32 or 64 bits; write address_of(..) or array + index"
        self._scope.fail(node, f"{ast.unparse(node)}: {text}")

    def _atomic(self, node: ast.Call) -> Value:
        assert isinstance(node.func, ast.Name)
        declared = self._scope.declarations.names[node.func.id]
        assert isinstance(declared, Builtin)
        self._arguments(node, 2, f"{declared.name}(place, value)")
        place, kind = self._target(node)
        value = self._expressions.typed(node.args[1], kind, f"{declared.name}: value")
        verb = _ATOMICS[declared.name]
        self._function.line = node.lineno
        text = f"atomicrmw {verb} ptr {place.text}, {kind.ir} {value.text} seq_cst, align {kind.size}"
        return Value(kind, self._between_barriers(text))

    def _compare_exchange(self, node: ast.Call) -> Value:
        self._arguments(node, 3, "atomic_compare_exchange(place, expected, value)")
        place, kind = self._target(node)
        expected = self._expressions.typed(node.args[1], kind, "atomic_compare_exchange: expected")
        value = self._expressions.typed(node.args[2], kind, "atomic_compare_exchange: value")
        self._function.line = node.lineno
        text = f"cmpxchg ptr {place.text}, {kind.ir} {expected.text}, {kind.ir} {value.text} seq_cst seq_cst"
        pair = self._between_barriers(f"{text}, align {kind.size}")
        return Value(kind, self._function.make(f"extractvalue {{ {kind.ir}, i1 }} {pair}, 0"))

    def _between_barriers(self, text: str) -> str:
        """LLVM keeps an atomic's place among other accesses, but may still drop a store that a later one repeats."""
        self._function.do(BARRIER)
        made = self._function.make(text)
        self._function.do(BARRIER)
        return made
