"""Subroutines that access memory: in the window that the slot remembers, in a proved one, or elsewhere."""

from __future__ import annotations

from nimble.access import RIGHTS
from nimble.engine import context as layout
from nimble.engine.context import SLOT_BYTES, limit_offset
from nimble.engine.lowering import Block, changed, cut, fetched_into, widen
from nimble.engine.threaded.slots import (
    CELL_BASE,
    CELL_BIAS,
    CELL_LIMIT,
    DST,
    INDEX,
    OFFSET,
    ON_STACK,
    SRC,
    WINDOW,
    ask_python,
    content,
    define,
    go,
    register,
    source_of,
    stop,
    tail,
)
from nimble.isa import Group, Operation


def _address(block: Block, row: Operation, code: str) -> str:
    pointer = content(block, register(block, code, SRC if row.group is Group.LOAD else DST))
    return block.let(f"add i64 {pointer}, {block.load(code, OFFSET)}")


def access(block: Block, row: Operation, form: str, code: str) -> None:
    """One load, store or atomic."""
    address = _address(block, row, code)
    if form == WINDOW:
        bias = block.load(code, CELL_BIAS)
    elif form == ON_STACK:
        bias = block.load("%context", layout.STACK_BIAS)
    else:
        fast, slow = block.name("fast"), block.name("slow")
        at = block.let(f"sub i64 {address}, {block.load(code, CELL_BASE)}")
        inside = block.let(f"icmp ult i64 {at}, {block.load(code, CELL_LIMIT)}")
        if row.group is Group.ATOMIC:
            inside = block.let(f"and i1 {inside}, {_natural(block, row, address)}")
        block(f"br i1 {inside}, label {fast}, label {slow}, !prof !1")
        block.label(slow)
        tail(block, f"@{_slow_name(row)}", code, "%left", "%cost")
        block.label(fast)
        bias = block.load(code, CELL_BIAS)
    _touch(block, row, code, block.let(f"add i64 {address}, {bias}"))


def _natural(block: Block, row: Operation, address: str) -> str:
    low = block.let(f"and i64 {address}, {row.bits // 8 - 1}")
    return block.let(f"icmp eq i64 {low}, 0")


def _touch(block: Block, row: Operation, code: str, host: str) -> None:
    """The access itself, at a host address."""
    kind, at = f"i{row.bits}", block.let(f"inttoptr i64 {host} to ptr")
    if row.group is Group.STORE:
        block(f"store {kind} {cut(block, source_of(block, row, code), row.bits)}, ptr {at}, align 1")
        return
    old = block.let(f"load {kind}, ptr {at}, align 1")
    if row.group is Group.ATOMIC:
        source = cut(block, source_of(block, row, code), row.bits)
        r0 = cut(block, block.load("%context", 0), row.bits)
        block(f"store {kind} {changed(block, row, old, source, r0)}, ptr {at}, align 1")
    _deliver(block, row, code, widen(block, old, row.bits, signed=row.name == "load_signed"))


def _deliver(block: Block, row: Operation, code: str, found: str) -> None:
    """What was found in memory, into its register."""
    if row.group is Group.LOAD:
        block(f"store i64 {found}, ptr {register(block, code, DST)}")
    elif fetched_into(row, 1) == 0:
        block.store(found, "%context", 0)
    elif fetched_into(row, 1) is not None:
        block(f"store i64 {found}, ptr {register(block, code, SRC)}")


def _slow_name(row: Operation) -> str:
    return f"slow_{INDEX[row]}"


def elsewhere(row: Operation) -> str:
    """Where an access goes that its slot's window does not hold: another window, the stack, or Python."""
    block = Block()
    stack, search, refill, python, resume, over = (
        block.name(name) for name in ("stack", "search", "refill", "python", "resume", "over")
    )
    address, width = _address(block, row, "%code"), row.bits // 8
    if row.group is Group.ATOMIC:
        aligned = block.name("aligned")
        block(f"br i1 {_natural(block, row, address)}, label {aligned}, label {python}")
        block.label(aligned)
    r10 = block.load("%context", layout.R10)
    on_stack = block.let(f"call i64 @stack(ptr %context, i64 {address}, i64 {width}, i64 {r10})")
    block(f"br i1 {block.let(f'icmp ne i64 {on_stack}, 0')}, label {stack}, label {search}")
    block.label(stack)
    _touch(block, row, "%code", on_stack)
    go(block, block.byte("%code", SLOT_BYTES), "%left", "%cost")
    block.label(search)
    limit = limit_offset(RIGHTS[row.group], width)
    window = block.let(f"call ptr @window(ptr %context, i64 {address}, i64 {limit})")
    block(f"br i1 {block.let(f'icmp ne ptr {window}, null')}, label {refill}, label {python}")
    block.label(refill)
    bias = block.load(window, layout.BIAS)
    block.store(block.load(window, layout.BASE), "%code", CELL_BASE)
    block.store(block.load(window, limit), "%code", CELL_LIMIT)
    block.store(bias, "%code", CELL_BIAS)
    _touch(block, row, "%code", block.let(f"add i64 {address}, {bias}"))
    go(block, block.byte("%code", SLOT_BYTES), "%left", "%cost")
    block.label(python)
    value = "0" if row.group is Group.LOAD else source_of(block, row, "%code")
    ask_python(block, address, value, resume, over)
    block.label(resume)
    if row.group is not Group.STORE:
        _deliver(block, row, "%code", block.load("%context", layout.RESULT))
    go(block, block.byte("%code", SLOT_BYTES), "%left", "%cost")
    block.label(over)
    stop(block, layout.STOPPED)
    return define(_slow_name(row), block)
