"""The subroutines of the ``threaded`` engine, in LLVM IR: one per operation and form.

A subroutine takes the context, its slot and the meter (``left``: instructions that the budget still allows; ``cost`` so
far) in machine registers, and ends with a tail call to the subroutine of the next slot.
"""

from __future__ import annotations

from collections.abc import Sequence

from nimble.engine import context as layout
from nimble.engine import paths
from nimble.engine.context import SLOT_BYTES
from nimble.engine.lowering import DECLARATIONS, Block, compute
from nimble.engine.reach import STACK_TOP
from nimble.engine.threaded.control import CONTROL, land_slot, shared, stop_slot
from nimble.engine.threaded.memory import access, elsewhere
from nimble.engine.threaded.slots import (
    DST,
    INDEX,
    LAND,
    ON_STACK,
    SITE,
    STOP,
    WINDOW,
    content,
    define,
    go,
    register,
    source_of,
)
from nimble.isa import MEMORY, TABLE, Group, Operation

ENTER, RESUME = "enter", "resume"


def name_of(rows: Sequence[Operation], forms: Sequence[str]) -> str:
    """The name of the subroutine for one operation, or for several in one."""
    return "op" + "".join(f"_{INDEX[row]}{form}" for row, form in zip(rows, forms, strict=True))


def module(sequences: Sequence[tuple[Sequence[Operation], Sequence[str]]]) -> tuple[str, list[str]]:
    """The IR of all subroutines: of each operation in each form, and of ``sequences`` (rows and forms) that are one.

    Also the names of those that slots and Python use.
    """
    functions = {LAND: land_slot(), STOP: stop_slot()}
    for row in TABLE:
        for form in (SITE, WINDOW, ON_STACK) if row.group in MEMORY else (SITE,):
            functions[name_of((row,), (form,))] = subroutine((row,), (form,))
    for rows, forms in sequences:
        functions[name_of(rows, forms)] = subroutine(rows, forms)
    slow = [elsewhere(row) for row in TABLE if row.group in MEMORY]
    text = [DECLARATIONS, paths.SEARCH, _SHORT, _ENTER, *slow, *shared()]
    text += [define(name, block) for name, block in functions.items()]
    return "\n".join(text), [ENTER, RESUME, *functions]


def subroutine(rows: Sequence[Operation], forms: Sequence[str]) -> Block:
    """One operation, or several in one: operands are those of consecutive slots."""
    block, code = Block(), "%code"
    for row, form in zip(rows, forms, strict=True):
        if row.group in (Group.ARITHMETIC, Group.SWAP, Group.WIDE):
            _compute(block, row, code)
        elif row.group in MEMORY:
            access(block, row, form, code)
        else:
            CONTROL[row.group](block, row, code)
            return block
        code = block.byte(code, SLOT_BYTES * row.slots)
    go(block, code, "%left", "%cost")
    return block


def _compute(block: Block, row: Operation, code: str) -> None:
    destination = register(block, code, DST)
    if row.group is Group.WIDE or row.name == "mov" or row.name.startswith("movsx"):
        a = "0"
    else:
        a = content(block, destination)
    b = "0" if row.name == "neg" or row.group is Group.SWAP else source_of(block, row, code)
    result = b if row.group is Group.WIDE else compute(block, row, a, b)
    block(f"store i64 {result}, ptr {destination}")


_SHORT = f"""
define internal tailcc void @short(ptr %context, ptr %code, i64 %left, i64 %cost) noinline cold {{
  %lp = getelementptr i8, ptr %context, i64 {layout.LEFT}
  store i64 %left, ptr %lp
  %cp = getelementptr i8, ptr %context, i64 {layout.COST}
  store i64 %cost, ptr %cp
  %bp = getelementptr i8, ptr %context, i64 {layout.CODE}
  %base = load i64, ptr %bp
  %place = ptrtoint ptr %code to i64
  %bytes = sub i64 %place, %base
  %pc = udiv i64 %bytes, {SLOT_BYTES}
  %pp = getelementptr i8, ptr %context, i64 {layout.PC}
  store i64 %pc, ptr %pp
  %sp = getelementptr i8, ptr %context, i64 {layout.STATUS}
  store i64 {layout.SHORT}, ptr %sp
  ret void
}}
"""

# From C's calling convention into the thread; registers are clean before, arguments and stack after.
_ENTER = f"""
define i64 @{ENTER}(ptr noalias %context) {{
  %ep = getelementptr i8, ptr %context, i64 {layout.ENTERED}
  %code = load ptr, ptr %ep
  %bp = getelementptr i8, ptr %context, i64 {layout.BUDGET}
  %budget = load i64, ptr %bp
  store i64 0, ptr %context
  %r6 = getelementptr i8, ptr %context, i64 {6 * layout.WORD}
  store <4 x i64> zeroinitializer, ptr %r6, align 8
  %r10 = getelementptr i8, ptr %context, i64 {layout.R10}
  store i64 {STACK_TOP}, ptr %r10
  %frames = getelementptr i8, ptr %context, i64 {layout.FRAMES}
  %fp = getelementptr i8, ptr %context, i64 {layout.FRAME}
  store ptr %frames, ptr %fp
  %first = load ptr, ptr %code
  call tailcc void %first(ptr %context, ptr %code, i64 %budget, i64 0)
  %sp = getelementptr i8, ptr %context, i64 {layout.STATUS}
  %status = load i64, ptr %sp
  %returned = icmp eq i64 %status, {layout.RETURNED}
  br i1 %returned, label %clean, label %stopped
clean:
  call void @clean(ptr %context)
  %lp = getelementptr i8, ptr %context, i64 {layout.LEFT}
  %left = load i64, ptr %lp
  ret i64 %left
stopped:
  %negative = sub i64 0, %status
  ret i64 %negative
}}

; Registers and frames stay as they are.
define i64 @{RESUME}(ptr noalias %context, ptr noalias %code, i64 %left, i64 %cost) {{
  %first = load ptr, ptr %code
  call tailcc void %first(ptr %context, ptr %code, i64 %left, i64 %cost)
  %sp = getelementptr i8, ptr %context, i64 {layout.STATUS}
  %status = load i64, ptr %sp
  ret i64 %status
}}
!0 = !{{!"branch_weights", i32 1, i32 2000}}
!1 = !{{!"branch_weights", i32 2000, i32 1}}
"""
