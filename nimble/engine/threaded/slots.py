"""A slot of threaded code: what lies where in it, and what every subroutine does with one.

A slot holds the subroutine's address in bytes 0..7 and then the operands. Registers are given as byte offsets in the
context.
"""

from __future__ import annotations

from nimble.engine import context as layout
from nimble.engine import paths
from nimble.engine.context import SLOT_BYTES
from nimble.engine.lowering import Block, by_register
from nimble.isa import TABLE, Operation

# Operands in a slot.
DST, SRC, IMMEDIATE = 8, 12, 16
OFFSET, CELL_BASE, CELL_LIMIT, CELL_BIAS = 24, 32, 40, 48
TAKEN, TAKEN_LENGTH, TAKEN_COST, NEXT_LENGTH, NEXT_COST = 24, 32, 40, 48, 56

# Forms of an operation on memory: remembering a window, or proved to lie in plain memory or on the stack.
SITE, WINDOW, ON_STACK = "", "_window", "_stack"
LAND, STOP = "land", "stop"  # slots that are no instruction: where a function begins, where a budget ends
INDEX = {row: index for index, row in enumerate(TABLE)}  # for the names of subroutines


def define(name: str, block: Block) -> str:
    """A function that slots and others reach by tail calls."""
    parameters = "ptr noalias %context, ptr noalias %code, i64 %left, i64 %cost"
    # Wider vectors would cost the processor a change of mode on the way out of the subroutine.
    return f'define tailcc void @{name}({parameters}) nounwind "prefer-vector-width"="128" {{\n{block.text()}\n}}\n'


def go(block: Block, code: str, left: str, cost: str) -> None:
    """To the subroutine of the slot at ``code``."""
    tail(block, block.let(f"load ptr, ptr {code}"), code, left, cost)


def tail(block: Block, function: str, code: str, left: str, cost: str) -> None:
    """Rare ways, too, are left to functions by a tail call: a subroutine that returns from one would need a frame."""
    block(f"musttail call tailcc void {function}(ptr %context, ptr {code}, i64 {left}, i64 {cost})")
    block("ret void")


def land(block: Block, target: str, length: str, price: str, left: str = "%left") -> None:
    """Charge the run that begins at ``target`` and go there; stop if the budget does not allow it."""
    after = block.let(f"sub i64 {left}, {length}")
    short, enough = block.name("short"), block.name("enough")
    block(f"br i1 {block.let(f'icmp slt i64 {after}, 0')}, label {short}, label {enough}, !prof !0")
    block.label(enough)
    go(block, target, after, block.let(f"add i64 %cost, {price}"))
    block.label(short)
    tail(block, "@short", target, left, "%cost")


def take(block: Block, code: str, left: str = "%left") -> None:
    """Land where the slot's jump, branch or call leads."""
    target = block.load(code, TAKEN, "ptr")
    land(block, target, block.load(code, TAKEN_LENGTH), block.load(code, TAKEN_COST), left)


def fall_through(block: Block, code: str, left: str = "%left") -> None:
    """Land on the slot behind this one."""
    target = block.byte(code, SLOT_BYTES)
    land(block, target, block.load(code, NEXT_LENGTH), block.load(code, NEXT_COST), left)


def register(block: Block, code: str, operand: int) -> str:
    """Where the register of an operand lies."""
    offset = block.load(code, operand, "i32")
    return block.byte("%context", block.let(f"zext i32 {offset} to i64"))


def content(block: Block, pointer: str) -> str:
    """Of the register that lies there."""
    return block.let(f"load i64, ptr {pointer}")


def source_of(block: Block, row: Operation, code: str) -> str:
    """The second operand: a register's content or the immediate."""
    return content(block, register(block, code, SRC)) if by_register(row) else block.load(code, IMMEDIATE)


def ask_python(block: Block, address: str, value: str, resume: str, over: str) -> None:
    """Let Python do it, and go on at ``resume``, or at ``over`` if that ended the run."""
    place = block.let("ptrtoint ptr %code to i64")
    stopped = paths.general(block, "%left", "%cost", place, address, value)
    block(f"br i1 {stopped}, label {over}, label {resume}, !prof !0")


def stop(block: Block, status: int) -> None:
    """Leave the thread."""
    block.store(str(status), "%context", layout.STATUS)
    block("ret void")
