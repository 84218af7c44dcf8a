"""A program as blocks: straight lines of instructions, and where control goes behind each.

A block ends behind an instruction that moves control (a service call does not), or before one that something leads to.
Functions are no more than places where a call may arrive: code of one may lead into that of another, as tail merging
makes it, and then must hold for both.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise

from nimble.access import TEXT_BASE
from nimble.flow import slot_at, slots_in_state, target_of
from nimble.isa import SLOT_BYTES, wide_immediate
from nimble.program import Program, Start
from nimble.verifier.rows import BRANCH, CALL, CALLX, CONSTANT, EXIT, JUMP, ROWS

FALLS = -1  # the end of a block that merely reaches the next one
NOWHERE = -1


class Block:
    """Instructions ``start`` to ``end`` (exclusive, in the order of the program). ``kind`` is that of the last one if
    it moves control, else FALLS; ``follow``, ``taken`` and ``callee`` are numbers of blocks, or NOWHERE."""

    __slots__ = ("callee", "end", "follow", "kind", "start", "taken")

    def __init__(self, start: int, end: int, kind: int) -> None:
        self.start = start
        self.end = end
        self.kind = kind
        self.follow = self.taken = self.callee = NOWHERE

    def successors(self) -> tuple[int, ...]:
        """Where a run may go on within the function; a call's callee is not among them."""
        if self.taken == NOWHERE:
            return () if self.follow == NOWHERE else (self.follow,)
        return (self.taken,) if self.follow == NOWHERE else (self.follow, self.taken)


class Graph:
    """The blocks of a program whose targets are all instructions.

    ``entries`` and ``taken_addresses`` are the blocks that a run may begin at: by name, or because reachable code or
    the state holds their address. ``order`` are the reachable blocks, each before those it leads to as far as loops
    let it.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.code: Sequence[Start] = program.starts
        self._numbers = {pc: number for number, (pc, _, _) in enumerate(self.code)}
        self._addresses: list[tuple[int, int]] = []  # number of an instruction, pc whose address it loads
        self._in_state = self._numbers.keys() & set(slots_in_state(program))
        self.blocks, self._block_at = self._cut(*self._survey())
        self.entries = tuple({self._block_at[pc] for pc in program.entries.values()})
        self.order: list[int] = []
        self.taken_addresses: set[int] = set()
        self._walk()

    @cached_property
    def callees(self) -> frozenset[int]:
        """The blocks that reachable local calls lead to."""
        return frozenset(self.blocks[number].callee for number in self.order) - {NOWHERE}

    @cached_property
    def calls_registers(self) -> bool:
        """Whether reachable code calls through a register."""
        return any(self.blocks[number].kind == CALLX for number in self.order)

    @cached_property
    def before(self) -> dict[int, list[int]]:
        """By block, the reachable blocks that lead to it within its function."""
        found: dict[int, list[int]] = {}
        for source in self.order:
            for target in self.blocks[source].successors():
                found.setdefault(target, []).append(source)
        return found

    @cached_property
    def callers(self) -> dict[int, list[int]]:
        """By block, the reachable blocks that end with a local call of it."""
        found: dict[int, list[int]] = {}
        for source in self.order if self.callees else ():
            if self.blocks[source].callee != NOWHERE:
                found.setdefault(self.blocks[source].callee, []).append(source)
        return found

    def unreachable(self) -> int | None:
        """The pc of the first instruction that nothing leads to."""
        if len(self.order) == len(self.blocks):
            return None
        reached = set(self.order)
        first = next(number for number in range(len(self.blocks)) if number not in reached)
        return self.code[self.blocks[first].start][0]

    def _survey(self) -> tuple[set[int], dict[int, int], dict[int, int]]:
        """The pcs at which blocks begin; kinds and targets, by pc, of instructions that move control."""
        starts = {*self.program.entries.values(), *self._in_state}
        kinds: dict[int, int] = {}
        targets: dict[int, int] = {}
        for number, (pc, instruction, row) in enumerate(self.code):
            kind = ROWS[row].kind
            if kind >= JUMP:
                kinds[pc] = kind
                starts.add(pc + 1)
                target = target_of(row, instruction, pc)
                if target is not None:
                    targets[pc] = target
                    starts.add(target)
            elif kind == CONSTANT and row.slots == 2:
                address = self._note_address(number, pc)
                if address is not None:
                    starts.add(address)
        starts.add(0)
        return starts, kinds, targets

    def _note_address(self, number: int, pc: int) -> int | None:
        """The pc whose address an ``lddw`` holds, if any."""
        slots = self.program.instructions
        address = wide_immediate(slots[pc], slots[pc + 1])
        if not TEXT_BASE <= address < TEXT_BASE + SLOT_BYTES * len(slots) or slot_at(address) not in self._numbers:
            return None
        self._addresses.append((number, slot_at(address)))
        return slot_at(address)

    def _cut(
        self, starts: set[int], kinds: dict[int, int], targets: dict[int, int]
    ) -> tuple[list[Block], dict[int, int]]:
        numbers, code = self._numbers, self.code
        bounds = sorted(numbers[pc] for pc in starts if pc in numbers)
        at = {code[start][0]: block for block, start in enumerate(bounds)}
        bounds.append(len(code))
        blocks: list[Block] = []
        for start, end in pairwise(bounds):
            pc = code[end - 1][0]
            kind = kinds.get(pc, FALLS)
            block = Block(start, end, kind)
            if kind != JUMP and kind != EXIT:
                block.follow = len(blocks) + 1
            if kind == JUMP:
                block.follow = at[targets[pc]]
            elif kind == BRANCH:
                block.taken = at[targets[pc]]
            elif kind == CALL:
                block.callee = at[targets[pc]]
            blocks.append(block)
        return blocks, at

    def _walk(self) -> None:
        """Find what can be reached, in reverse postorder of a walk in depth."""
        seen = bytearray(len(self.blocks))
        post: list[int] = []
        loaded = self._loaded_addresses()
        pending = [self._block_at[pc] for pc in sorted(self._in_state)]
        for root in self.entries:
            self._descend(root, seen, post, loaded, pending)
        while pending:
            root = pending.pop()
            self.taken_addresses.add(root)
            self._descend(root, seen, post, loaded, pending)
        self.order = post[::-1]

    def _loaded_addresses(self) -> dict[int, list[int]]:
        """By block, the blocks whose addresses it holds."""
        loaded: dict[int, list[int]] = {}
        bounds = [block.start for block in self.blocks] if self._addresses else []
        for number, pc in self._addresses:
            loaded.setdefault(bisect_right(bounds, number) - 1, []).append(self._block_at[pc])
        return loaded

    def _descend(
        self, root: int, seen: bytearray, post: list[int], loaded: dict[int, list[int]], pending: list[int]
    ) -> None:
        """Visit what a block leads to, calls included; a block is put into ``post`` behind all of that."""
        stack = [root]
        while stack:
            number = stack.pop()
            if number < 0:
                post.append(~number)
                continue
            if seen[number]:
                continue
            seen[number] = 1
            stack.append(~number)
            if number in loaded:
                pending += loaded[number]
            block = self.blocks[number]
            if block.callee >= 0:
                stack.append(block.callee)
            stack += block.successors()
