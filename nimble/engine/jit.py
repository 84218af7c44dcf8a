"""LLVM IR as text -> machine code in this process, cached by content.

The key is the text itself with the version of LLVM and the processor: the same text gives the same code.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Mapping
from functools import cache

import llvmlite.binding as llvm

from nimble.engine import objects

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
    # A context of its own: what LLVM keeps in the global one stays for good.
    module = llvm.parse_assembly(text, llvm.create_context())
    if optimise:
        builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=_SPEED))
        passes = builder.getModulePassManager()
        passes.run(module, builder)
        # llvmlite 0.50 would keep the 60 KB of each: another base of their class hides the right _dispose.
        llvm.NewPassManager._dispose(passes)
        passes.detach()
    return bytes(machine.emit_object(module))
