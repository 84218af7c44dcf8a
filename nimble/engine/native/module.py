"""A program as a module of LLVM IR, for the ``native`` engine."""

from __future__ import annotations

from collections.abc import Mapping

from nimble.engine import context as layout
from nimble.engine import paths
from nimble.engine.context import WORD
from nimble.engine.lowering import DECLARATIONS, Block
from nimble.engine.native.memory import Windows
from nimble.engine.native.meter import ARGUMENTS, CONTEXT, CONVENTION, Meter
from nimble.engine.native.turns import QuickFunction
from nimble.engine.reach import STACK_TOP
from nimble.engine.task import Task
from nimble.flow import functions

# Functions that share code have copies of it, and a call through a register is a call of every function: what a few
# thousand slots multiply to would keep LLVM for hours. So many lines take it about half a minute.
_MOST_LINES = 1 << 17
ENTER = "enter"  # and the pc: functions of the context; see `context.ENTER`


def module(task: Task, *, seen: Mapping[int, int]) -> str:
    """The IR of all functions of a program and of the functions that enter them. ``seen``: see ``native.translate``.

    Raises InsertionRefused when it becomes too long to be compiled.
    """
    program, space = task.program, task.space
    begins = sorted(functions(program))
    windows = Windows(space, checked=task.checked, seen=seen)
    meter = Meter(task.costs.flat())
    parts, room = [DECLARATIONS, paths.SEARCH, meter.definitions()], _MOST_LINES
    for pc in begins:
        parts.append(QuickFunction(program, task.placed, windows, meter, begins).text(pc, room))
        room -= parts[-1].count("\n")
    parts += [_enter(pc, meter) for pc in sorted(set(program.entries.values()))]
    parts.append('!0 = !{!"branch_weights", i32 1, i32 2000}\n!1 = !{!"branch_weights", i32 2000, i32 1}\n!2 = !{}\n')
    table_bytes = max(len(space.windows), 1) * layout.ENTRY_BYTES
    parts.append(f"!3 = !{{i64 {table_bytes}}}\n!4 = !{{i64 {layout.ALIGNMENT}}}\n")
    return "\n".join(parts)


def _enter(pc: int, meter: Meter) -> str:
    """From C's calling convention into a function. Arguments are in the context, and are cleaned behind the run."""
    block = Block()
    budget = block.load("%context", layout.BUDGET)
    block.store(budget, "%context", layout.OWN_BUDGET)
    registers = ["0", *(block.load("%context", WORD * register) for register in ARGUMENTS[1:]), str(STACK_TOP)]
    arguments = ", ".join(f"i64 {value}" for value in (*[budget, "0"][: len(meter.names)], *registers))
    result = block.let(f"call {CONVENTION} {meter.result} @f{pc}(ptr %context, {arguments})")
    left = block.let(f"extractvalue {meter.result} {result}, 1")
    over, returned = block.name("over"), block.name("returned")
    block(f"br i1 {block.let(f'icmp slt i64 {left}, 0')}, label {over}, label {returned}, !prof !0")
    block.label(over)
    status = block.load("%context", layout.STATUS)
    block(f"ret i64 {block.let(f'sub i64 0, {status}')}")
    block.label(returned)
    counted = block.let(f"extractvalue {meter.result} {result}, 2") if "cost" in meter.names else ""
    block.store(block.let(f"extractvalue {meter.result} {result}, 0"), "%context", 0)
    block.store(left, "%context", layout.LEFT)
    block.store(meter.cost(block, left, counted), "%context", layout.COST)
    block("call void @clean(ptr %context)")
    block(f"ret i64 {left}")
    return f"define i64 @{ENTER}{pc}({CONTEXT}) {{\n{block.text()}\n}}\n"
