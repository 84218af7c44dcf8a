"""How functions of machine code call each other, and what they hand on besides registers."""

from __future__ import annotations

import platform
from collections.abc import Callable

from nimble.engine import context as layout
from nimble.engine.lowering import Block

# Of functions among themselves: more arguments in registers, none to be kept for the caller, where LLVM knows how.
CONVENTION = "preserve_nonecc" if platform.machine() in ("x86_64", "AMD64", "aarch64", "arm64") else "fastcc"
CONTEXT = f"ptr noalias align {layout.ALIGNMENT} dereferenceable({layout.STACK}) %context"
ARGUMENTS = range(6)  # r0..r5


class Meter:
    """What functions hand to each other besides registers: what is left of the budget and, unless every operation has
    the same price, so that instructions tell it, what the run has cost."""

    def __init__(self, flat: int | None) -> None:
        self._flat = flat
        self.names = ("left", "cost") if flat is None else ("left",)
        self.result = f"{{ {', '.join(['i64'] * (1 + len(self.names)))} }}"  # r0 and the meter; left < 0: it is over
        values = ", ".join(["i64 0", "i64 -1", "i64 0"][: 1 + len(self.names)])
        self.over = f"ret {self.result} {{ {values} }}"

    def cost(self, block: Block, left: str, cost: str) -> str:
        """What the run has cost, with what is left of its budget; ``cost`` if it was counted."""
        if self._flat is None:
            return cost
        used = block.let(f"sub i64 {block.load('%context', layout.OWN_BUDGET)}, {left}")
        return block.let(f"mul i64 {used}, {self._flat}")

    def general(self, block: Block, get: Callable[[str], str], place: str, address: str, value: str) -> str:
        """Call Python; whether the run is over."""
        arguments = (*map(get, self.names), place, address, value)
        values = ", ".join(f"i64 {argument}" for argument in arguments)
        over = block.let(f"call i64 @{'ask' if self._flat is not None else 'general'}(ptr %context, {values})")
        return block.let(f"icmp ne i64 {over}, 0")

    def definitions(self) -> str:
        """A way into Python that computes the cost there, not beside every access."""
        if self._flat is None:
            return ""
        block = Block()
        cost = self.cost(block, "%left", "")
        arguments = f"i64 %left, i64 {cost}, i64 %place, i64 %address, i64 %value"
        block(f"ret i64 {block.let(f'call i64 @general(ptr %context, {arguments})')}")
        parameters = "ptr %context, i64 %left, i64 %place, i64 %address, i64 %value"
        return f"define internal i64 @ask({parameters}) noinline cold {{\n{block.text()}\n}}\n"
