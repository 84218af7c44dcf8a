"""A source in the Python subset to an eBPF object or a program."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Mapping
from pathlib import Path, PurePath

from nimble.access import FRAME_BYTES
from nimble.elf import load
from nimble.program import Program
from nimble.python import backend
from nimble.python.arithmetic import Arithmetic
from nimble.python.calls import Edge
from nimble.python.declarations import Declarations, Signature
from nimble.python.devices import Device
from nimble.python.errors import PythonError
from nimble.python.ir import Module, escaped, quoted
from nimble.python.manifest import encode
from nimble.python.merging import has_storage, merged
from nimble.python.module import ModuleReader
from nimble.python.places import LocalPlace
from nimble.python.resolve import table_symbol
from nimble.python.scope import STATE_SYMBOL, Scope
from nimble.python.statements import Statements
from nimble.python.types import Value, Void

SOURCE_LIMIT_BYTES = 1 << 20
_STATE_ALIGNMENT = 16
_CACHED = 64
_cache: dict[tuple[object, ...], bytes] = {}


def compile_source(
    text: str,
    *,
    source: str,
    constants: Mapping[str, int] = {},
    devices: Mapping[str, Device] = {},
    cpu: str = "v4",
) -> bytes:
    """The object (ELF) for an extension written in the subset; the same bytes for the same input.

    ``source`` is the file's name for errors and debug lines. ``constants`` gives values to names that the source
    imports, declares with ``parameter()`` or takes layouts from; ``devices`` are those it may name; ``cpu`` is LLVM's
    name for the instructions to use, v1 to v4. Raises PythonError.
    """
    key = (text, source, cpu, tuple(sorted(constants.items())), tuple(sorted(map(_key_of, devices.items()))))
    if key not in _cache:
        made = _compile(text, source, constants, devices, cpu)
        while len(_cache) >= _CACHED:
            del _cache[next(iter(_cache))]
        _cache[key] = made
    return _cache[key]


def compile_file(
    path: str | Path, *, constants: Mapping[str, int] = {}, devices: Mapping[str, Device] = {}, cpu: str = "v4"
) -> bytes:
    """Like ``compile_source``, of a file in UTF-8."""
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise PythonError(f"{path}: {error.strerror}; give a file that can be read") from None
    except UnicodeDecodeError as error:
        raise PythonError(f"{path}: byte {error.start} is no UTF-8 text; save it as UTF-8") from None
    return compile_source(text, source=str(path), constants=constants, devices=devices, cpu=cpu)


def compile_program(
    source: str | Path,
    services: Mapping[str, int],
    *,
    text: str | None = None,
    constants: Mapping[str, int] = {},
    devices: Mapping[str, Device] = {},
    cpu: str = "v4",
) -> Program:
    """The program for the file ``source`` (or for ``text``, which is called so), with its services' IDs by name.

    Raises PythonError, and ObjectError for a service that is not in ``services``.
    """
    if text is None:
        data = compile_file(source, constants=constants, devices=devices, cpu=cpu)
    else:
        data = compile_source(text, source=str(source), constants=constants, devices=devices, cpu=cpu)
    return load(data, name=PurePath(source).stem, symbols=services)


def _key_of(item: tuple[str, Device]) -> tuple[object, ...]:
    name, device = item
    return name, device.base, device.bits, tuple(sorted(device.symbols.items()))


def _compile(text: str, source: str, constants: Mapping[str, int], devices: Mapping[str, Device], cpu: str) -> bytes:
    if cpu not in backend.CPUS:
        raise PythonError(f"{source}:1: cpu {cpu}: is not one of {', '.join(backend.CPUS)}; use one of them")
    try:
        reader = ModuleReader(source, constants, devices)
        declarations = reader.read(_parse(text, source))
        module = _module(declarations, reader, cpu)
    except RecursionError:
        raise PythonError(f"{source}:1: an expression is nested too deeply; split it into several") from None
    data = backend.emit(module.text(), cpu)
    _check_frames(declarations, data)
    return data


def _parse(text: str, source: str) -> ast.Module:
    if len(text) > SOURCE_LIMIT_BYTES:
        size = f"{len(text)} characters; at most {SOURCE_LIMIT_BYTES} are read"
        raise PythonError(f"{source}:1: {size}; split the source")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(
                text, source, "exec", dont_inherit=True
            )  # for what the parser alone lets pass: break outside a loop
            return ast.parse(text, filename=source)
    except SyntaxError as error:
        raise PythonError(f"{source}:{error.lineno or 1}: is not Python ({error.msg}); mend it") from None
    except (ValueError, MemoryError) as error:
        raise PythonError(f"{source}:1: is not Python ({error}); mend it") from None


def _module(declarations: Declarations, reader: ModuleReader, cpu: str) -> Module:
    module = Module(declarations.source)
    _declare_data(declarations, module)
    inside = merged(declarations)
    for signature in declarations.functions:
        if signature.kind == "service":
            parameters = ", ".join(["i64"] * len(signature.parameters))
            module.declare(f'declare i64 {quoted(signature.symbol)}({parameters}) nounwind "no-builtins"')
        else:
            _function(declarations, reader, module, signature, cpu, signature.name in inside)
        if signature.kind == "entry":
            _entry(reader, module, signature, cpu)
    return module


def _declare_data(declarations: Declarations, module: Module) -> None:
    """State as one block, so that its layout is the source's order; each variable is a symbol in it."""
    state = bytes(declarations.state)
    if state:
        section, first = (".data", escaped(state)) if any(state) else (".bss", "zeroinitializer")
        kind = f"[{len(state)} x i8]"
        block = quoted(STATE_SYMBOL)
        module.declare(f'{block} = global {kind} {first}, section "{section}", align {_STATE_ALIGNMENT}')
        for variable in declarations.variables:
            place = f"getelementptr (i8, ptr {block}, i64 {variable.offset})"
            module.declare(f"{quoted(variable.name)} = alias [{variable.type.size} x i8], ptr {place}")
    for table in declarations.tables:
        if table.element is not None and table.values:
            ir = table.element.ir
            values = ", ".join(f"{ir} {value}" for value in table.values)
            module.declare(f"{quoted(table_symbol(table))} = internal constant [{len(table.values)} x {ir}] [{values}]")
    if declarations.manifest is not None:
        content = encode(declarations.manifest)
        kind = f"[{len(content)} x i8]"
        module.declare(f'@nimble.manifest = constant {kind} {escaped(content)}, section ".nimble"')
    for bits in (16, 32, 64):
        module.declare(f"declare i{bits} @llvm.bswap.i{bits}(i{bits})")


def _function(
    declarations: Declarations, reader: ModuleReader, module: Module, signature: Signature, cpu: str, inside: bool
) -> None:
    """The function's own code; ``inside``: it becomes part of its callers in any case."""
    node = signature.node
    apart = signature.noinline or has_storage(declarations, node)
    function = module.function(
        signature.symbol,
        signature.result.ir,
        [parameter.type.ir for parameter in signature.parameters],
        node.lineno,
        public=False,
        inline="alwaysinline" if inside else "noinline" if apart else "",
    )
    scope = Scope(declarations, reader.annotations, signature, function, cpu)
    for index, parameter in enumerate(signature.parameters):
        local = scope.define(node, parameter.name, parameter.type)
        LocalPlace(local, parameter.name).store(function, Value(parameter.type, f"%{index}"))
        scope.give(parameter.name)
    Statements(scope).body(node.body)
    if isinstance(signature.result, Void):
        function.do("ret void")
        return
    if scope.assigned is not None:
        scope.fail(node, f"{signature.name}: can end without a result; return {signature.result} on every way")
    function.do(f"ret {signature.result.ir} zeroinitializer")  # never reached


def _entry(reader: ModuleReader, module: Module, signature: Signature, cpu: str) -> None:
    """What the outside calls: registers in, a register out."""
    line = signature.node.lineno
    parameters = ["i64"] * len(signature.parameters)
    function = module.function(signature.name, "i64", parameters, line, public=True, inline="")
    edge = Edge(Arithmetic(function, cpu, reader.fail), function)
    values = [edge.narrow(f"%{index}", one.type) for index, one in enumerate(signature.parameters)]
    texts = ", ".join(f"{value.type.ir} {value.text}" for value in values)
    call = f"call {signature.result.ir} {quoted(signature.symbol)}({texts})"
    if isinstance(signature.result, Void):
        function.do(call)
        function.do("ret i64 0")
    else:
        word = edge.widen(Value(signature.result, function.make(call)))
        function.do(f"ret i64 {word.text}")


def _check_frames(declarations: Declarations, data: bytes) -> None:
    lines = {one.name: one.node.lineno for one in declarations.functions}
    for frame in backend.frames(data):
        if frame.size > FRAME_BYTES:
            name = frame.function.removesuffix(".body")
            raise PythonError(
                f"{declarations.source}:{lines.get(name, 1)}: {name}: needs {frame.size} bytes of stack; a function "
                f"has {FRAME_BYTES}; keep fewer values at once, or move them to state(..)"
            )
