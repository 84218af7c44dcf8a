"""LLVM IR as text -> machine code in this process, cached by content.

The key is the text itself with the version of LLVM and the processor: the same text gives the same code.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Mapping
from functools import cache

import llvmlite.binding as llvm

from nimble import objects
from nimble.llvm import builder, parse, run, version

_SPEED = 2  # as -O2: level 3 gained nothing measurable on the benchmark programs and compiles longer

_lock = threading.Lock()
_names = iter(range(1 << 62))  # a library needs a name; two with the same text need two


class Code:
    """Linked functions: addresses by name. The machine code lives as long as this object."""

    def __init__(self, library: object, addresses: Mapping[str, int]) -> None:
        self._library = library
        self.addresses = addresses


def compile_ir(text: str, functions: Iterable[str], *, optimise: bool) -> Code:
    """The machine code of a module. ``optimise`` runs LLVM's passes before code generation.

    Callable from any Python thread; LLVM works without the interpreter's lock.
    """
    names = tuple(functions)
    machine, linker = _backend()
    key = hashlib.sha256("\0".join((_host(), str(optimise), text)).encode()).hexdigest()
    image = objects.find(key)
    if image is None:
        image = _compile(machine, text, optimise)
        objects.keep(key, image)
    with _lock:
        parts = llvm.JITLibraryBuilder().add_object_img(image).add_current_process()
        for name in names:
            parts.export_symbol(name)
        library = parts.link(linker, f"nimble{next(_names)}")
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
    return f"{version()} {llvm.get_default_triple()} {llvm.get_host_cpu_name()} {features}"


def _compile(machine: llvm.TargetMachine, text: str, optimise: bool) -> bytes:
    module = parse(text)
    if optimise:
        passes = builder(machine, _SPEED)
        run(passes.getModulePassManager(), module, passes)
    return bytes(machine.emit_object(module))
