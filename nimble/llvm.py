"""What compiling to machine code and compiling to eBPF need of LLVM alike."""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm


def version() -> str:
    """Of LLVM, because another one makes other code of the same text."""
    return ".".join(map(str, llvm.llvm_version_info))


def parse(text: str) -> Any:
    """A module in a context of its own: what LLVM keeps in the global one stays for good."""
    return llvm.parse_assembly(text, llvm.create_context())


def builder(target: Any, level: int) -> Any:
    """For passes as ``-O<level>`` has them."""
    return llvm.create_pass_builder(target, llvm.create_pipeline_tuning_options(speed_level=level))


def run(passes: Any, module: Any, pass_builder: Any) -> None:
    """Run a pass manager on a module, once, and let it go.

    llvmlite 0.50 would keep the 60 KB of each: another base of their class hides the right ``_dispose``.
    """
    passes.run(module, pass_builder)
    llvm.NewPassManager._dispose(passes)
    passes.detach()
