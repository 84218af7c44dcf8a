"""Reads the top of a source: imports, constants, enums, structs, state, devices, signatures and the manifest."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import NoReturn

from nimble.isa import ARGUMENTS
from nimble.python.annotations import Annotations
from nimble.python.constants import Folder, Known, dotted
from nimble.python.declarations import ALWAYS, IMPORTABLE, Builtin, Declarations, Name, Parameter, Signature, Table
from nimble.python.devices import Device
from nimble.python.errors import GIVE, PythonError, did_you_mean
from nimble.python.manifest import ManifestReader
from nimble.python.state import State
from nimble.python.structs import Structs
from nimble.python.types import Integer, Struct

_ROOM = "nimble.python"
_HARMLESS = ("__future__", "typing", "enum")
_ENUMS = ("Enum", "IntEnum", "IntFlag", "enum.Enum", "enum.IntEnum", "enum.IntFlag")
_DECORATORS = ("entry", "service", "noinline")
_ONE_BY_ONE = f"from {_ROOM} import entry, u64"
_TOP = "imports, constants, enums, structs, state, devices, functions and manifest(..) stand there"


class ModuleReader:
    """Reads one source. ``constants`` and ``devices`` are what the compiler was given. Raises PythonError."""

    def __init__(self, source: str, constants: Mapping[str, int], devices: Mapping[str, Device]) -> None:
        self._given = constants
        self._devices = devices
        self._made = Declarations(source, names=dict(ALWAYS), known=dict(constants))
        self._folder = Folder(self._made.known, self.fail)
        self.annotations = Annotations(self._made, self._folder, self.fail)
        self._structs = Structs(self.annotations, self._made.known, self.fail)
        self._state = State(self._made, self.annotations, self._folder, self.fail)
        self._manifest: ast.Call | None = None

    def fail(self, node: ast.AST, text: str) -> NoReturn:
        raise PythonError(f"{self._made.source}:{getattr(node, 'lineno', 1)}: {text}")

    def read(self, tree: ast.Module) -> Declarations:
        """All that the source declares."""
        for statement in tree.body:
            if isinstance(statement, ast.ImportFrom):
                self._import_from(statement)
        classes = [statement for statement in tree.body if isinstance(statement, ast.ClassDef)]
        for statement in classes:
            if statement.decorator_list:
                self._declare(statement, statement.name, Struct(statement.name))
        for statement in tree.body:
            self._statement(statement)
        entries = [one.name for one in self._made.functions if one.kind == "entry"]
        if not entries:
            self.fail(tree, "the source has no entry point; mark a function with @entry")
        if self._manifest is not None:
            self._made.manifest = ManifestReader(self._folder, entries, self.fail).read(self._manifest)
        return self._made

    def _declare(self, node: ast.AST, name: str, what: Name) -> None:
        if (name in self._made.names and name not in ALWAYS) or name in self._made.known:
            self.fail(node, f"{name}: is defined already; each name stands once; rename one")
        self._made.names[name] = what

    def _statement(self, statement: ast.stmt) -> None:
        match statement:
            case ast.ImportFrom() | ast.Pass() | ast.Expr(value=ast.Constant()):
                pass
            case ast.Import():
                self._import(statement)
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                self._assign(statement, name, None, value)
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                self._assign(statement, name, statement.annotation, value)
            case ast.ClassDef():
                self._class(statement)
            case ast.FunctionDef():
                self._function(statement)
            case ast.Expr(value=ast.Call(func=ast.Name(id=name)) as call) if self._is(name, "manifest"):
                if self._manifest is not None:
                    self.fail(statement, "manifest: stands twice; a source has one; remove one")
                self._manifest = call
            case ast.AsyncFunctionDef(name=name):
                self.fail(
                    statement, f"async {name}: is not known; services and registers wait by themselves; write def"
                )
            case _:
                if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
                    self._check_imported(statement.value.func)
                text = ast.unparse(statement).splitlines()[0].rstrip(":")
                self.fail(statement, f"{text}: has no place at the top of an extension; {_TOP}")

    def _is(self, name: str, builtin: str) -> bool:
        return self._made.names.get(name) == Builtin(builtin)

    # Imports

    def _import(self, node: ast.Import) -> None:
        for alias in node.names:
            if alias.name == _ROOM:
                self.fail(node, f"import {_ROOM}: names are imported one by one; write {_ONE_BY_ONE}")
            if alias.name not in _HARMLESS:
                self._refuse_import(node, alias.name, alias.asname or alias.name)

    def _import_from(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            name = alias.asname or alias.name
            if node.module == _ROOM and not node.level:
                if alias.name == "*":
                    self.fail(node, f"import *: names are imported one by one; write {_ONE_BY_ONE}")
                if alias.name not in IMPORTABLE:
                    remedy = did_you_mean(alias.name, IMPORTABLE, f"known are {', '.join(IMPORTABLE)}")
                    self.fail(node, f"{alias.name}: is not in {_ROOM}; {remedy}")
                self._declare(node, name, IMPORTABLE[alias.name])
            elif node.module not in _HARMLESS and not self._is_given(name):
                self._refuse_import(node, node.module or ".", name)

    def _is_given(self, name: str) -> bool:
        return any(given == name or given.startswith(f"{name}.") for given in self._given)

    def _check_imported(self, node: ast.expr) -> None:
        """Refuse a name of the language, or a call of one, that the source does not import."""
        name = node.func if isinstance(node, ast.Call) else node
        if isinstance(name, ast.Name) and name.id in IMPORTABLE and name.id not in self._made.names:
            self.fail(node, f"{name.id}: is not imported; write from {_ROOM} import {name.id}")

    def _refuse_import(self, node: ast.AST, module: str, name: str) -> NoReturn:
        text = f"an extension imports from {_ROOM}, and names whose values the compiler is given"
        self.fail(node, f"import of {module}: {text}; write it out, or, if {name} is a number, {GIVE}")

    # Constants, state, devices

    def _assign(self, node: ast.stmt, name: str, annotation: ast.expr | None, value: ast.expr) -> None:
        if isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
            if self._is(value.func.id, "state"):
                variable = self._state.add(name, value)
                self._made.variables.append(variable)
                return self._declare(node, name, variable)
            if self._is(value.func.id, "device"):
                return self._device(node, name, value)
            if self._is(value.func.id, "parameter"):
                return self._parameter(node, name, value)
            self._check_imported(value.func)
        if name in self._given:
            self.fail(node, f"{name}: is defined here and given in constants; write {name} = parameter(..)")
        known = self._folder.known(value)
        kind = self._constant_type(annotation)
        self._check_range(node, name, kind, known)
        if isinstance(known, tuple):
            table = Table(name, known, kind)
            self._made.tables.append(table)
            self._declare(node, name, table)
        self._know(node, name, known)
        return None

    def _know(self, node: ast.AST, name: str, value: Known) -> None:
        declared = self._made.names.get(name)
        if name in self._made.known or (declared is not None and not isinstance(declared, Table)):
            self.fail(node, f"{name}: is defined already; each name stands once; rename one")
        self._made.known[name] = value

    def _constant_type(self, annotation: ast.expr | None) -> Integer | None:
        """The integer type in ``u64``, ``tuple[u64, ...]`` or nothing (also for Final and the like)."""
        if isinstance(annotation, ast.Subscript) and isinstance(annotation.slice, ast.Tuple):
            annotation = annotation.slice.elts[0] if annotation.slice.elts else None
        declared = self._made.names.get(annotation.id) if isinstance(annotation, ast.Name) else None
        return declared if isinstance(declared, Integer) else None

    def _check_range(self, node: ast.AST, name: str, kind: Integer | None, known: Known) -> None:
        for value in known if isinstance(known, tuple) else (known,):
            if kind is not None and not kind.low <= value <= kind.high:
                self.fail(node, f"{name}: {value} does not fit {kind}; {kind.low}..{kind.high} do; use a wider type")

    def _parameter(self, node: ast.AST, name: str, call: ast.Call) -> None:
        if len(call.args) > 1 or call.keywords:
            self.fail(node, f"{name}: parameter(..) takes a default or nothing; write parameter(16)")
        if name in self._given:
            return
        if not call.args:
            self.fail(node, f"{name}: this parameter has no value; write a default here, or {GIVE}")
        self._know(node, name, self._folder.integer(call.args[0]))

    def _device(self, node: ast.AST, name: str, call: ast.Call) -> None:
        key = call.args[0].value if len(call.args) == 1 and isinstance(call.args[0], ast.Constant) else None
        if not isinstance(key, str) or call.keywords:
            self.fail(node, f'{name}: device(..) takes the device\'s name; write device("nic")')
        if key not in self._devices:
            remedy = did_you_mean(
                key, self._devices, f"say where it is: devices=, or nimble compile --device {key}=ADDRESS"
            )
            self.fail(node, f"device {key}: the compiler was not told of it; {remedy}")
        device = self._devices[key]
        self._declare(node, name, device)
        for symbol, value in device.constants():
            self._made.known[f"{name}.{symbol}"] = value

    # Classes

    def _class(self, node: ast.ClassDef) -> None:
        if not node.decorator_list and any(dotted(base) in _ENUMS for base in node.bases):
            return self._enum(node)
        made = self._made.names.get(node.name)
        if not isinstance(made, Struct) or len(node.decorator_list) != 1 or node.bases:
            self.fail(node, f"class {node.name}: is neither an IntEnum nor a struct; mark it with @struct")
        return self._structs.fill(made, node, self._layout(node.decorator_list[0]))

    def _layout(self, decorator: ast.expr) -> str:
        match decorator:
            case ast.Name(id=name) if self._is(name, "struct"):
                return ""
            case ast.Call(func=ast.Name(id=name), args=[ast.Constant(value=str() as layout)], keywords=[]) if self._is(
                name, "struct"
            ):
                return layout
        self._check_imported(decorator)
        self.fail(decorator, f'@{ast.unparse(decorator)}: is unknown; a class is marked @struct or @struct("LAYOUT")')

    def _enum(self, node: ast.ClassDef) -> None:
        for statement in node.body:
            match statement:
                case ast.Expr(value=ast.Constant()):
                    pass
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    self._know(statement, f"{node.name}.{name}", self._folder.integer(value))
                case _:
                    self.fail(statement, f"{node.name}: an enum has members with numbers only; write NAME = 1")

    # Functions

    def _function(self, node: ast.FunctionDef) -> None:
        marks = list(self._marks(node))
        kind = next((mark for mark in marks if mark != "noinline"), "local")
        parameters = tuple(self._parameters(node))
        result = self.annotations.result(node.returns, node)
        made = Signature(
            name=node.name, kind=kind, node=node, parameters=parameters, result=result, noinline="noinline" in marks
        )
        if kind == "service" and not _is_empty(node):
            self.fail(node, f"{node.name}: a service has no body; write `...` or `raise NotImplementedError`")
        self._declare(node, node.name, made)
        self._made.functions.append(made)

    def _marks(self, node: ast.FunctionDef) -> Iterator[str]:
        for decorator in node.decorator_list:
            declared = self._made.names.get(decorator.id) if isinstance(decorator, ast.Name) else None
            if not isinstance(declared, Builtin) or declared.name not in _DECORATORS:
                self._check_imported(decorator)
                text = f"@{ast.unparse(decorator)}: is unknown; functions are marked @entry, @service or @noinline"
                self.fail(decorator, text)
            yield declared.name

    def _parameters(self, node: ast.FunctionDef) -> Iterator[Parameter]:
        given = node.args
        if given.vararg or given.kwarg or given.kwonlyargs or given.defaults:
            self.fail(node, f"{node.name}: parameters are plain names; remove *, ** and default values")
        names = [*given.posonlyargs, *given.args]
        if len(names) > ARGUMENTS:
            self.fail(node, f"{node.name}: {len(names)} parameters; at most {ARGUMENTS} are passed; use a struct")
        for one in names:
            if one.annotation is None:
                self.fail(node, f"{node.name}: parameter {one.arg}: has no annotation; write {one.arg}: u64")
            yield Parameter(one.arg, self.annotations.scalar(one.annotation))


def _is_empty(node: ast.FunctionDef) -> bool:
    """Whether a body only stands there because Python wants one (and a type checker no empty one)."""
    for one in node.body:
        match one:
            case ast.Pass() | ast.Expr(value=ast.Constant()) | ast.Raise(exc=ast.Name(id="NotImplementedError")):
                pass
            case _:
                return False
    return True
