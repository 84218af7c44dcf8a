"""LLVM's language to an eBPF object, through llvmlite's BPF target.

LLVM ends the process where its BPF back end cannot go on. Optimised code is therefore looked through before code is
made of it: what the back end cannot express (integers wider than 64 bits, calls of C's library, too many arguments)
sends the module back to be optimised less, until nothing of the kind is left.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

from elftools.elf.elffile import ELFFile

from nimble import objects
from nimble.isa import ARGUMENTS, FRAME_POINTER, Group, Instruction, decode, operation_of

CPUS = ("v1", "v2", "v3", "v4")
_OPTIMISE = 2
# Only so that too large a frame does not end the process: it is measured and refused here.
_FRAME_LIMIT_OPTION = "-bpf-stack-size=1073741824"

_INTRINSICS = (
    r"(ctpop|ctlz|cttz|bswap|bitreverse|umin|umax|smin|smax|abs|fshl|fshr|ucmp|scmp|assume|lifetime\.\w+"
    r"|[us](add|sub)\.(sat|with\.overflow)|experimental\.noalias\.scope\.decl)\b"
)
# In the text of a module: wide integers, vectors, other intrinsics, and traps.
_INEXPRESSIBLE = re.compile(
    r"""(?<![\w@%".$-])i(6[5-9]|[7-9]\d|\d{3,})\b | <\d+\ x\  | @llvm\.(?!"""
    + _INTRINSICS
    + r""") | ^\s+unreachable""",
    re.MULTILINE | re.VERBOSE,
)
_METADATA = re.compile(r"^(!|source_filename).*$", re.MULTILINE)


_ACCESSES = (Group.LOAD, Group.STORE, Group.ATOMIC)


class Frame(NamedTuple):
    """The stack that a function uses in bytes."""

    function: str
    size: int


@cache
def _llvm() -> Any:
    import llvmlite.binding as llvm  # here, because reading it takes longer than most programs that need no compiler

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    llvm.set_option("nimble", _FRAME_LIMIT_OPTION)
    return llvm


def emit(text: str, cpu: str) -> bytes:
    """The object for a module that the front end wrote, kept by content."""
    from nimble.llvm import version

    key = hashlib.sha256("\0".join(("eBPF", version(), cpu, text)).encode()).hexdigest()
    made = objects.find(key)
    if made is None:
        made = _emit(text, cpu)
        objects.keep(key, made)
    return made


def _emit(text: str, cpu: str) -> bytes:
    from nimble.llvm import builder, parse, run

    llvm = _llvm()
    target = llvm.Target.from_triple("bpf").create_target_machine(cpu=cpu, opt=_OPTIMISE)
    for passes in (_all, _some, _few):
        module = parse(text)
        module.verify()
        pass_builder = builder(target, _OPTIMISE)
        run(passes(llvm, pass_builder), module, pass_builder)
        if _expressible(module):
            break
    else:
        raise AssertionError("the front end wrote what eBPF cannot express")
    emitted: bytes = target.emit_object(module)
    return emitted


def _expressible(module: Any) -> bool:
    if any(len(list(function.arguments)) > ARGUMENTS for function in module.functions):
        return False
    return not _INEXPRESSIBLE.search(_METADATA.sub("", str(module)))


def _all(llvm: Any, builder: Any) -> Any:
    return builder.getModulePassManager()


def _some(llvm: Any, builder: Any) -> Any:
    """No pass that sums loops up in one expression, for which they take integers of twice the width."""
    manager = llvm.create_new_module_pass_manager()
    _add(manager, "always_inliner", "global_dead_code_eliminate")
    _add(manager, "sroa", "simplify_cfg", "instruction_combine", "new_gvn", "dead_store_elimination", "simplify_cfg")
    return manager


def _few(llvm: Any, builder: Any) -> Any:
    """No pass that recognises anything: what was written is what is made."""
    manager = llvm.create_new_module_pass_manager()
    _add(manager, "always_inliner", "global_dead_code_eliminate", "sroa", "simplify_cfg", "dead_code_elimination")
    return manager


def _add(manager: Any, *names: str) -> None:
    for name in names:
        add: Callable[[], None] = getattr(manager, f"add_{name}_pass")
        add()


def frames(data: bytes) -> Iterator[Frame]:
    """The stack that each function of an object uses, spilled registers included."""
    elf = ELFFile(io.BytesIO(data))
    symbols = elf.get_section_by_name(".symtab")
    for symbol in symbols.iter_symbols():
        if symbol.entry.st_info.type != "STT_FUNC":
            continue
        code = elf.get_section(symbol.entry.st_shndx).data()
        start = symbol.entry.st_value
        slots = decode(code[start : start + symbol.entry.st_size])
        yield Frame(symbol.name, max(_depths(slots), default=0))


def _depths(slots: tuple[Instruction, ...]) -> Iterator[int]:
    """How far below the frame pointer each use of it reaches: direct accesses, and copies that are moved down."""
    pc = 0
    while pc < len(slots):
        slot = slots[pc]
        operation = operation_of(slot)
        pc += operation.slots
        base = slot.src if operation.group is Group.LOAD else slot.dst
        if operation.group in _ACCESSES and base == FRAME_POINTER:
            yield -slot.offset
        elif operation.name == "mov" and slot.src == FRAME_POINTER and pc < len(slots):
            following = slots[pc]
            if operation_of(following).name == "add" and following.dst == slot.dst:
                yield -following.imm
