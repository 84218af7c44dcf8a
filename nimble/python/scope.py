"""One function while it is compiled: its names, what is assigned where, and its place in the source."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import NamedTuple, NoReturn

from nimble.access import FRAME_BYTES
from nimble.python.annotations import Annotations
from nimble.python.declarations import Builtin, Declarations, Signature, Variable, remedy_for
from nimble.python.errors import GIVE, PythonError
from nimble.python.ir import Function
from nimble.python.types import Memory, Scalar

STATE_SYMBOL = "nimble.state"


class Local(NamedTuple):
    """A local variable: its type, and where it lies until LLVM finds it a register."""

    type: Scalar
    address: str


class Scope:
    """``assigned``: the local names that have a value on every way that leads here; None where no way does."""

    def __init__(
        self, declarations: Declarations, annotations: Annotations, signature: Signature, function: Function, cpu: str
    ) -> None:
        self.declarations = declarations
        self.annotations = annotations
        self.signature = signature
        self.function = function
        self.cpu = cpu
        self.locals: dict[str, Local] = {}
        self.assigned: set[str] | None = set()
        self.declared_global = {
            name for node in ast.walk(signature.node) if isinstance(node, ast.Global) for name in node.names
        }
        self._own = {parameter.name for parameter in signature.parameters} | {
            node.id
            for node in ast.walk(signature.node)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id not in self.declared_global
        }
        self._storage_bytes = 0

    def fail(self, node: ast.AST, text: str) -> NoReturn:
        line = getattr(node, "lineno", self.signature.node.lineno)
        raise PythonError(f"{self.declarations.source}:{line}: {text}")

    def give(self, name: str) -> None:
        """The local variable has a value from here on."""
        if self.assigned is not None:
            self.assigned.add(name)

    def own(self, name: str) -> None:
        """Make a name local that the source does not have."""
        self._own.add(name)

    def is_local(self, name: str) -> bool:
        """Whether Python would take the name for a local variable of this function."""
        return name in self._own

    def lookup(self, node: ast.Name) -> Local:
        """A local variable that has a value here."""
        self.check_free(node, node.id)
        if (self.assigned is not None and node.id not in self.assigned) or node.id not in self.locals:
            text = f"{node.id}: may be used before it is assigned"
            self.fail(node, f"{text}; give it a value on every way that leads here")
        return self.locals[node.id]

    def define(self, node: ast.AST, name: str, kind: Scalar) -> Local:
        """The local variable of that name, made now if it is new; its type never changes."""
        self.check_free(node, name)
        if name not in self.locals:
            self.locals[name] = Local(kind, self.function.storage(kind.ir, kind.align))
        elif self.locals[name].type != kind:
            text = f"{name}: is {self.locals[name].type} above and {kind} here"
            self.fail(node, f"{text}; a variable keeps its type; use another name")
        return self.locals[name]

    def check_free(self, node: ast.AST, name: str) -> None:
        """Refuse a local variable that is called like something else at the top of the source."""
        declared = self.declarations.names.get(name)
        if isinstance(declared, Variable):
            self.fail(node, f"{name}: is state; write `global {name}` in {self.signature.name} to assign it")
        if name in self.declarations.known:
            text = f"{name}: is a constant of the source; use another name, or declare {name} = state(u64) there"
            self.fail(node, f"{text} for what changes")
        if not isinstance(declared, Signature | Builtin | None):
            self.fail(node, f"{name}: is defined at the top of the source; use another name for the variable")

    def storage(self, node: ast.AST, kind: Memory) -> str:
        """Zeroed stack memory for an array or struct; its address."""
        words = -(-kind.size // 8)
        self._storage_bytes += words * 8
        if self._storage_bytes > FRAME_BYTES:
            text = f"{self.signature.name}: {self._storage_bytes} bytes of local arrays and structs"
            self.fail(node, f"{text}; a function has {FRAME_BYTES} bytes of stack; use state(..)")
        address = self.function.storage(f"[{words} x i64]", 8)
        for word in range(words):
            at = self.function.make(f"getelementptr i8, ptr {address}, i64 {8 * word}")
            self.function.do(f"store i64 0, ptr {at}, align 8")
        return address

    def unknown(self, node: ast.AST, name: str) -> NoReturn:
        """Refuse a name that nothing declares."""
        known: Iterable[str] = [*self.locals, *self.declarations.names, *self.declarations.known]
        remedy = remedy_for(name, known, f"assign it, declare it at the top, or {GIVE}")
        self.fail(node, f"{name}: unknown name; {remedy}")
