"""Loops in which nothing can happen for a number of turns, written without checks and meter for so many turns."""

from __future__ import annotations

from nimble.engine.lowering import condition
from nimble.engine.native.function import Function
from nimble.engine.native.loops import Loop, Moving, loop_at
from nimble.engine.runs import Placed

_WORTH = 4  # turns below which a loop is not entered without checks


class QuickFunction(Function):
    """A function with a quick way through its simple loops."""

    def _pay(self, pc: int) -> None:
        loop = loop_at(self._placed, pc, self._labelled - {pc})
        if loop is not None:
            self._turns(loop)
        super()._pay(pc)

    def _turns(self, loop: Loop) -> None:
        """Run the turns of a loop in which nothing can happen; fall through to the ordinary landing for few of them."""
        block, first, branch = self._block, loop.body[0], loop.body[-1]
        pc = first.pc
        count = block.let(f"udiv i64 {self._get('left')}, {first.length}")
        for access in loop.accesses:
            turns, self._origins[access.placed.pc] = self._reachable(access)
            count = block.let(f"call i64 @llvm.umin.i64(i64 {count}, i64 {turns})")
        block.lines.insert(0, f"  %turns{pc} = alloca i64")
        block(f"store i64 {count}, ptr %turns{pc}")
        worth = block.let(f"icmp uge i64 {count}, {_WORTH}")
        block(f"br i1 {worth}, label %turn{pc}, label %checked{pc}")
        block.label(f"%turn{pc}")
        for placed in loop.body[:-1]:
            self._straight(placed)
        test = condition(block, branch.row, self._value(branch.instruction.dst), self._source(branch))
        turns = block.let(f"sub i64 {self._get(f'turns{pc}')}, 1")
        block(f"store i64 {turns}, ptr %turns{pc}")
        block(f"br i1 {test}, label %again{pc}, label %through{pc}")
        block.label(f"%again{pc}")
        block(f"br i1 {block.let(f'icmp ne i64 {turns}, 0')}, label %turn{pc}, label %ended{pc}")
        block.label(f"%ended{pc}")
        self._charge(first, count)
        block(f"br label %checked{pc}")
        block.label(f"%through{pc}")
        self._charge(first, block.let(f"sub i64 {count}, {turns}"))
        block(f"br label {self._land(branch.pc + 1)}")
        block.label(f"%checked{pc}")
        self._origins.clear()

    def _charge(self, first: Placed, turns: str) -> None:
        block = self._block
        used = block.let(f"mul i64 {turns}, {first.length}")
        self._set("left", block.let(f"sub i64 {self._get('left')}, {used}"))
        if "cost" in self._meter.names:
            price = block.let(f"mul i64 {turns}, {first.cost}")
            self._set("cost", block.let(f"add i64 {self._get('cost')}, {price}"))

    def _reachable(self, access: Moving) -> tuple[str, tuple[str, str]]:
        """For how many turns an access stays in the window that it begins in, that window's memory and its base."""
        block = self._block
        turns, host, base = "0", "null", "0"
        address = self._address(access.placed, access.before)
        for window in self._windows.likely(access.placed):
            limit = window.length - access.placed.row.bits // 8 + 1
            at = block.let(f"sub i64 {address}, {window.base}")
            inside = block.let(f"icmp ult i64 {at}, {limit}")
            if access.step == 0:
                here = "-1"
            else:
                room = at if access.step < 0 else block.let(f"sub i64 {limit - 1}, {at}")
                here = block.let(f"add i64 {block.let(f'udiv i64 {room}, {abs(access.step)}')}, 1")
            turns = block.let(f"select i1 {inside}, i64 {here}, i64 {turns}")
            host = block.let(f"select i1 {inside}, ptr {self._host(window)}, ptr {host}")
            base = block.let(f"select i1 {inside}, i64 {window.base}, i64 {base}")
        return turns, (host, base)
