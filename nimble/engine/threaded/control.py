"""Subroutines that move control: jumps, branches, calls and returns; and the slots that are no instruction."""

from __future__ import annotations

from nimble.access import FRAME_BYTES, TEXT_BASE
from nimble.engine import context as layout
from nimble.engine.lowering import Block, condition
from nimble.engine.reach import LOWEST_FRAME, STACK_TOP
from nimble.engine.threaded.slots import (
    DST,
    IMMEDIATE,
    ask_python,
    content,
    define,
    fall_through,
    go,
    register,
    source_of,
    stop,
    tail,
    take,
)
from nimble.isa import SLOT_BYTES as TEXT_SLOT_BYTES
from nimble.isa import Group, Operation

_BY_IMMEDIATE, _BY_REGISTER = "immediate", "register"
_R1, _R5, _R6 = 8, 40, 48
_FOUR = range(0, 32, 8)  # registers one by one: a wide load of what was just stored in parts waits for it


def _branch(block: Block, row: Operation, code: str) -> None:
    taken, fall = block.name("taken"), block.name("fall")
    a = content(block, register(block, code, DST))
    block(f"br i1 {condition(block, row, a, source_of(block, row, code))}, label {taken}, label {fall}")
    block.label(taken)
    take(block, code)
    block.label(fall)
    fall_through(block, code)


def _jump(block: Block, row: Operation, code: str) -> None:
    take(block, code)


def _call_local(block: Block, row: Operation, code: str) -> None:
    _push(block, code)
    take(block, code)


def _call_service(block: Block, row: Operation, code: str) -> None:
    tail(block, "@serve", code, "%left", "%cost")


def _serve(service: str) -> Block:
    """A call of a service, given by the immediate or by the destination register."""
    block = Block()
    resume, over = block.name("resume"), block.name("over")
    if service == _BY_IMMEDIATE:
        number = block.load("%code", IMMEDIATE)
    else:
        number = content(block, register(block, "%code", DST))
    ask_python(block, number, "0", resume, over)
    block.label(over)
    stop(block, layout.STOPPED)
    block.label(resume)
    _scratch(block)
    fall_through(block, "%code", block.load("%context", layout.LEFT))  # a metered service used some
    return block


def _too_deep() -> Block:
    """A call that would need one frame too many: Python words the fault."""
    block, over = Block(), "%over"
    ask_python(block, "0", "1", over, over)
    block.label(over)
    stop(block, layout.STOPPED)
    return block


def _call_register(block: Block, row: Operation, code: str) -> None:
    """Where the text has a function at the register's value, call it; else it may be a service."""
    function, service, begins = (block.name(name) for name in ("function", "service", "begins"))
    value = content(block, register(block, code, DST))
    at = block.let(f"sub i64 {value}, {TEXT_BASE}")
    # Rotated, an address that is no multiple of a slot becomes a huge number.
    slot = block.let(f"call i64 @llvm.fshr.i64(i64 {at}, i64 {at}, i64 {TEXT_SLOT_BYTES.bit_length() - 1})")
    inside = block.let(f"icmp ult i64 {slot}, {block.load('%context', layout.SLOTS)}")
    block(f"br i1 {inside}, label {begins}, label {service}")
    block.label(begins)
    text = block.load("%context", layout.TEXT, "ptr")
    target = block.load(text, block.let(f"shl i64 {slot}, 3"), "ptr")
    block(f"br i1 {block.let(f'icmp ne ptr {target}, null')}, label {function}, label {service}")
    block.label(function)
    _push(block, code)
    go(block, target, "%left", "%cost")
    block.label(service)
    tail(block, "@serve_register", code, "%left", "%cost")


def _push(block: Block, code: str) -> None:
    """A new frame: keep where to return to and r6..r9; the callee's are 0."""
    deeper, too_deep = block.name("deeper"), block.name("too_deep")
    r10 = block.load("%context", layout.R10)
    block(f"br i1 {block.let(f'icmp eq i64 {r10}, {LOWEST_FRAME}')}, label {too_deep}, label {deeper}, !prof !0")
    block.label(too_deep)
    tail(block, "@too_deep", code, "%left", "%cost")
    block.label(deeper)
    frame = block.load("%context", layout.FRAME, "ptr")
    block(f"store ptr {code}, ptr {frame}")
    for saved in _FOUR:
        block.store(block.load("%context", _R6 + saved), frame, 8 + saved)
    _zero(block, _R6)
    block.store(block.byte(frame, layout.FRAME_RECORD), "%context", layout.FRAME, "ptr")
    block.store(block.let(f"sub i64 {r10}, {FRAME_BYTES}"), "%context", layout.R10)


def _exit(block: Block, row: Operation, code: str) -> None:
    done, pop = block.name("done"), block.name("pop")
    r10 = block.load("%context", layout.R10)
    block(f"br i1 {block.let(f'icmp eq i64 {r10}, {STACK_TOP}')}, label {done}, label {pop}")
    block.label(done)
    block.store("%left", "%context", layout.LEFT)
    block.store("%cost", "%context", layout.COST)
    stop(block, layout.RETURNED)
    block.label(pop)
    frame = block.byte(block.load("%context", layout.FRAME, "ptr"), -layout.FRAME_RECORD)
    caller = block.let(f"load ptr, ptr {frame}")
    for saved in _FOUR:
        block.store(block.load(frame, 8 + saved), "%context", _R6 + saved)
    block.store(frame, "%context", layout.FRAME, "ptr")
    block.store(block.let(f"add i64 {r10}, {FRAME_BYTES}"), "%context", layout.R10)
    _scratch(block)
    fall_through(block, caller)


def _scratch(block: Block) -> None:
    """After a call r1..r5 are nothing."""
    _zero(block, _R1)
    block.store("0", "%context", _R5)


def _zero(block: Block, first: int) -> None:
    """Four registers."""
    for offset in _FOUR:
        block.store("0", "%context", first + offset)


CONTROL = {
    Group.JUMP: _jump,
    Group.BRANCH: _branch,
    Group.CALL_LOCAL: _call_local,
    Group.CALL_REGISTER: _call_register,
    Group.CALL_SERVICE: _call_service,
    Group.EXIT: _exit,
}


def land_slot() -> Block:
    """The slot before a function's first: charges its run, and takes no time itself."""
    block = Block()
    take(block, "%code")
    return block


def stop_slot() -> Block:
    """The slot behind the last instruction that a budget allowed; its immediate is the pc of the next."""
    block = Block()
    block.store("%left", "%context", layout.LEFT)
    block.store("%cost", "%context", layout.COST)
    block.store(block.load("%code", IMMEDIATE), "%context", layout.PC)
    stop(block, layout.EXHAUSTED)
    return block


def shared() -> list[str]:
    """The functions that these subroutines leave calls to."""
    served = {"serve": _serve(_BY_IMMEDIATE), "serve_register": _serve(_BY_REGISTER), "too_deep": _too_deep()}
    return [define(name, block) for name, block in served.items()]
