"""Compiled code's way to memory: the search for a window or the stack, and the way back into Python."""

from __future__ import annotations

from nimble.access import FRAME_BYTES, STACK_BASE, STACK_BYTES
from nimble.engine.context import (
    ALWAYS_DIRTY,
    BASE,
    BIAS,
    COST,
    DIRTY,
    DONE,
    ENTRY_BYTES,
    GENERAL,
    LEFT,
    SELF,
    STACK_BIAS,
    STACK_FROM_FRAME,
    WINDOW_COUNT,
    WINDOWS,
)
from nimble.engine.lowering import Block
from nimble.engine.reach import STACK_TOP

SEARCH = f"""
; The window that holds an access, or null. %limit: offset of the limit for its kind and width in an entry.
define internal ptr @window(ptr %context, i64 %address, i64 %limit) noinline {{
entry:
  %tp = getelementptr i8, ptr %context, i64 {WINDOWS}
  %table = load ptr, ptr %tp
  %cp = getelementptr i8, ptr %context, i64 {WINDOW_COUNT}
  %count = load i64, ptr %cp
  br label %next
next:
  %index = phi i64 [ 0, %entry ], [ %following, %other ]
  %more = icmp ult i64 %index, %count
  br i1 %more, label %try, label %none
try:
  %offset = mul i64 %index, {ENTRY_BYTES}
  %window = getelementptr i8, ptr %table, i64 %offset
  %bp = getelementptr i8, ptr %window, i64 {BASE}
  %base = load i64, ptr %bp
  %lp = getelementptr i8, ptr %window, i64 %limit
  %most = load i64, ptr %lp
  %at = sub i64 %address, %base
  %inside = icmp ult i64 %at, %most
  br i1 %inside, label %found, label %other
other:
  %following = add i64 %index, 1
  br label %next
found:
  ret ptr %window
none:
  ret ptr null
}}

; The host address of an access on the stack, or 0.
define internal i64 @stack(ptr %context, i64 %address, i64 %width, i64 %r10) noinline {{
  %fp = getelementptr i8, ptr %context, i64 {STACK_FROM_FRAME}
  %limited = load i64, ptr %fp
  %all = icmp eq i64 %limited, 0
  %frame = sub i64 %r10, {FRAME_BYTES}
  %low = select i1 %all, i64 {STACK_BASE}, i64 %frame
  %last = sub i64 {STACK_TOP}, %width
  %room = sub i64 %last, %low
  %at = sub i64 %address, %low
  %inside = icmp ule i64 %at, %room
  br i1 %inside, label %found, label %none
found:
  %dp = getelementptr i8, ptr %context, i64 {DIRTY}
  store i64 1, ptr %dp
  %sp = getelementptr i8, ptr %context, i64 {STACK_BIAS}
  %bias = load i64, ptr %sp
  %host = add i64 %address, %bias
  ret i64 %host
none:
  ret i64 0
}}

; The host address of an access on the stack or in a window of plain memory, or 0.
define internal i64 @host(ptr %context, i64 %address, i64 %width, i64 %limit, i64 %r10) noinline cold {{
entry:
  %on_stack = call i64 @stack(ptr %context, i64 %address, i64 %width, i64 %r10)
  %elsewhere = icmp eq i64 %on_stack, 0
  br i1 %elsewhere, label %search, label %stack
stack:
  ret i64 %on_stack
search:
  %window = call ptr @window(ptr %context, i64 %address, i64 %limit)
  %none = icmp eq ptr %window, null
  br i1 %none, label %nowhere, label %found
found:
  %bp = getelementptr i8, ptr %window, i64 {BIAS}
  %bias = load i64, ptr %bp
  %host = add i64 %address, %bias
  ret i64 %host
nowhere:
  ret i64 0
}}

; After a run that returned: no run sees what another left.
define internal void @clean(ptr %context) {{
entry:
  %arguments = getelementptr i8, ptr %context, i64 8
  store <4 x i64> zeroinitializer, ptr %arguments, align 8
  %r5 = getelementptr i8, ptr %context, i64 40
  store i64 0, ptr %r5
  %dp = getelementptr i8, ptr %context, i64 {DIRTY}
  %dirty = load i64, ptr %dp
  %none = icmp eq i64 %dirty, 0
  br i1 %none, label %end, label %wipe
wipe:
  %ap = getelementptr i8, ptr %context, i64 {ALWAYS_DIRTY}
  %always = load i64, ptr %ap
  store i64 %always, ptr %dp
  ; By its address as a number, as accesses to it are made: only so LLVM keeps them in order.
  %sp = getelementptr i8, ptr %context, i64 {STACK_BIAS}
  %bias = load i64, ptr %sp
  %low = add i64 %bias, {STACK_BASE}
  %stack = inttoptr i64 %low to ptr
  call void @llvm.memset.p0.i64(ptr %stack, i8 0, i64 {STACK_BYTES}, i1 false)
  br label %end
end:
  ret void
}}

; Back into Python; 1: the run is over.
define internal i64 @general(ptr %context, i64 %left, i64 %cost, i64 %place, i64 %address, i64 %value) noinline {{
  %lp = getelementptr i8, ptr %context, i64 {LEFT}
  store i64 %left, ptr %lp
  %cp = getelementptr i8, ptr %context, i64 {COST}
  store i64 %cost, ptr %cp
  %sp = getelementptr i8, ptr %context, i64 {SELF}
  %self = load i64, ptr %sp
  %gp = getelementptr i8, ptr %context, i64 {GENERAL}
  %python = load ptr, ptr %gp
  %dp = getelementptr i8, ptr %context, i64 {DONE}
  store i64 0, ptr %dp
  call void %python(i64 %self, i64 %place, i64 %address, i64 %value)
  %done = load i64, ptr %dp
  %over = xor i64 %done, 1
  ret i64 %over
}}
"""


def general(block: Block, left: str, cost: str, place: str, address: str, value: str) -> str:
    """Call Python; whether the run is over, as ``i1``."""
    arguments = f"i64 {left}, i64 {cost}, i64 {place}, i64 {address}, i64 {value}"
    over = block.let(f"call i64 @general(ptr %context, {arguments})")
    return block.let(f"icmp ne i64 {over}, 0")
