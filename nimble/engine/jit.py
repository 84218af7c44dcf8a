"""LLVM IR as text -> machine code in this process, cached by content.

The key is the text itself with the version of LLVM and the processor: the same text gives the same code. ``keep_in``
names a folder that keeps objects from one process to the next; without it they are kept while the process lives.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

import llvmlite.binding as llvm

_DIGEST_BYTES = 32
_SPEED = 2  # as -O2: level 3 gained nothing measurable on the benchmark programs and compiles longer

_objects: dict[str, bytes] = {}
_folder: Path | None = None
_lock = threading.Lock()
_names = iter(range(1 << 62))  # a library needs a name; two with the same text need two


class Code:
    """Linked functions: addresses by name. The machine code lives as long as this object."""

    def __init__(self, library: object, addresses: Mapping[str, int]) -> None:
        self._library = library
        self.addresses = addresses


def keep_in(folder: Path | None) -> None:
    """Keep compiled objects in ``folder``, which is made when needed; None: nowhere."""
    global _folder
    _folder = folder


def compile_ir(text: str, functions: Iterable[str], *, optimise: bool) -> Code:
    """The machine code of a module. ``optimise`` runs LLVM's passes before code generation.

    Callable from any Python thread; LLVM works without the interpreter's lock.
    """
    names = tuple(functions)
    machine, linker = _backend()
    key = hashlib.sha256("\0".join((_host(), str(optimise), text)).encode()).hexdigest()
    image = _objects.get(key) or _read(key)
    if image is None:
        image = _compile(machine, text, optimise)
        _write(key, image)
    _objects[key] = image
    with _lock:
        builder = llvm.JITLibraryBuilder().add_object_img(image).add_current_process()
        for name in names:
            builder.export_symbol(name)
        library = builder.link(linker, f"nimble{next(_names)}")
    return Code(library, {name: library[name] for name in names})


def assembly(text: str) -> str:
    """The machine's assembly of a module that needs no optimising, to count its instructions."""
    machine, _ = _backend()
    return str(machine.emit_assembly(llvm.parse_assembly(text)))


@cache
def _backend() -> tuple[llvm.TargetMachine, object]:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple()

    def machine() -> llvm.TargetMachine:
        features = llvm.get_host_cpu_features().flatten()
        return target.create_target_machine(
            cpu=llvm.get_host_cpu_name(), features=features, opt=_SPEED, reloc="pic", codemodel="small", jit=True
        )

    return machine(), llvm.create_lljit_compiler(machine())  # the linker takes its own over


@cache
def _host() -> str:
    """What else decides the machine code."""
    features = llvm.get_host_cpu_features().flatten()
    return f"{llvm.llvm_version_info} {llvm.get_default_triple()} {llvm.get_host_cpu_name()} {features}"


def _compile(machine: llvm.TargetMachine, text: str, optimise: bool) -> bytes:
    module = llvm.parse_assembly(text)
    if optimise:
        options = llvm.create_pipeline_tuning_options(speed_level=_SPEED)
        builder = llvm.create_pass_builder(machine, options)
        builder.getModulePassManager().run(module, builder)
    return bytes(machine.emit_object(module))


def _read(key: str) -> bytes | None:
    """What an earlier process kept, unless it is damaged."""
    if _folder is None:
        return None
    try:
        data = (_folder / key).read_bytes()
    except OSError:
        return None
    image = data[_DIGEST_BYTES:]
    return image if hashlib.sha256(image).digest() == data[:_DIGEST_BYTES] else None


def _write(key: str, image: bytes) -> None:
    """Whole or not at all: others may read at the same time. A cache that cannot be written is no error."""
    if _folder is None:
        return
    try:
        _folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=_folder)
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(image).digest() + image)
        Path(name).replace(_folder / key)
    except OSError:
        return
