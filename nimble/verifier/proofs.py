"""What registers hold, as far as it is certain, and so where accesses may go.

An abstract interpretation: every block is run on values (see ``values``) instead of numbers, until nothing new can come
to any block. A condition narrows the values that it compares on each way out; where paths meet, values are joined;
where a loop closes, bounds that still move jump to the next number that the register is compared with, so that counted
loops settle in two or three visits. What that loses in a loop, counting its turns may find again (see ``induction``),
and then everything is run once more. A local call leads into its callee with what its arguments are known to be.

What is stored in the own frame at a known place is known when it is loaded again, until a store that may hit the stack
anywhere, or a call of a function that has such a store. (Addresses of the stack can be guessed; so it does not matter
whether one was given away.) Nothing is known of what windows hold: others write there too.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Mapping
from heapq import heappop, heappush

from nimble.access import FRAME_BYTES
from nimble.isa import FRAME_POINTER
from nimble.services import Services
from nimble.verifier import induction
from nimble.verifier.arithmetic import cut32
from nimble.verifier.depth import shallowest
from nimble.verifier.graph import Block, Graph
from nimble.verifier.machine import Machine, Registers, leave_arguments
from nimble.verifier.rows import BRANCH, CALL, CALLX
from nimble.verifier.slots import Slots, is_wide, keep_lower_half, lower_half, meet
from nimble.verifier.steps import Condition, Step, condition_of, steps_of
from nimble.verifier.values import ANY, HALF, MASK, RING, Value, join, shifted, widen

# Visits of instructions; that of a block costs as many more. A program that would take more than this, some tenths of
# a second, is accepted with nothing proved of it.
WORK_LIMIT = 1 << 18
_BLOCK_WORK = 8

_FRAME: Value = (0, 0, 0, 1)
_UNKNOWN = [ANY] * FRAME_POINTER + [_FRAME]
_BOUNDS = (0, (1 << 31) - 1, (1 << 32) - 1, HALF - 1, HALF, RING - (1 << 31), MASK)
_MOST_BOUNDS = 64  # of one register; further ones are not remembered
_NOTHING: dict[int, Value] = {}
_MOST_ROUNDS = 3  # in which loops that count are looked at again
_LOST = 1 << 31  # values so far apart are no index of anything
_MOST_JOINS = 4  # of one block where a loop closes, before every bound in it that still moves is given up


class Proofs:
    """Where the accesses of a program may go. ``complete`` is False when that took too much work, and nothing is known.

    ``addresses`` and ``complaints`` are those of ``Machine``; ``above`` is what it is told, by block.
    """

    def __init__(self, graph: Graph, services: Services) -> None:
        self._graph = graph
        self._services = services
        self._machine = Machine()
        self._ranks = {number: rank for rank, number in enumerate(graph.order)}
        self._states: dict[int, tuple[Registers, Slots]] = {}
        self._joins: dict[int, int] = {}
        self._bounds: list[list[int]] = [list(_BOUNDS) for _ in range(FRAME_POINTER + 1)]
        self._steps: dict[int, list[Step]] = {}
        self._conditions: dict[int, Condition] = {}
        self._work: list[int] = []
        self._left = WORK_LIMIT
        self._straying: set[int] = set()
        # Of loops: what the head holds at most, what it held when it was entered, what comes back to it.
        self._limits: dict[int, dict[int, Value]] = {}
        self._entered: dict[int, Registers] = {number: [] for number in self._heads()}
        self._latches: dict[int, dict[int, Registers]] = {number: {} for number in self._entered}
        self.above = {number: FRAME_BYTES * depth for number, depth in shallowest(graph).items()}
        self._begin()
        self.complete = self._settle()
        self.addresses: Mapping[int, Value] = self._machine.addresses if self.complete else {}
        self.complaints: Mapping[int, str] = self._machine.complaints if self.complete else {}
        for _ in range(_MOST_ROUNDS if self.complete else 0):
            vague = any(high - low >= _LOST for low, high, _, _ in self.addresses.values())
            if not vague or not self._find_limits():
                break
            self._restart()
            if not self._settle():
                break
            self.addresses, self.complaints = self._machine.addresses, self._machine.complaints

    def _heads(self) -> set[int]:
        """The blocks where loops begin; not one that calls lead to as well, which would look like turns."""
        ranks, blocks = self._ranks, self._graph.blocks
        return {
            after for number, rank in ranks.items() for after in blocks[number].successors() if ranks[after] <= rank
        } - self._graph.callees

    def _find_limits(self) -> bool:
        """Look at loops in which something was lost that counting may find. Whether anything was."""
        found = False
        for head, latches in self._latches.items():
            # In a tangle of jumps all ways to a block may look like turns of its loop.
            if not latches or not self._entered[head] or not self._lost(head):
                continue
            limits = induction.limits(self._graph, head, self._entered[head], latches, self._steps_of)
            known = self._limits.setdefault(head, {})
            held = self._states[head][0]
            for register, limit in limits.items():
                if limit[1] - limit[0] < held[register][1] - held[register][0]:
                    known[register] = limit
                    found = True
        return found

    def _lost(self, head: int) -> bool:
        for register, held in enumerate(self._states[head][0][:FRAME_POINTER]):
            entered = self._entered[head][register]
            if held[1] - held[0] >= _LOST > entered[1] - entered[0] or (held is ANY and entered[3]):
                return True
        return False

    def _restart(self) -> None:
        self._machine = Machine()
        self._states, self._joins = {}, {}
        self._entered = {number: [] for number in self._entered}
        self._latches = {number: {} for number in self._latches}
        self._begin()

    def _steps_of(self, number: int) -> list[Step]:
        steps = self._steps.get(number)
        if steps is None:
            steps = self._steps[number] = steps_of(self._graph, self._graph.blocks[number], self._services)
        return steps

    def _begin(self) -> None:
        graph = self._graph
        for number in {*graph.entries, *graph.taken_addresses, *(graph.callees if graph.calls_registers else ())}:
            self._arrive(number, _UNKNOWN, {}, closing=False)

    def _settle(self) -> bool:
        order, blocks = self._graph.order, self._graph.blocks
        while self._work:
            rank = heappop(self._work)
            if self._work and self._work[0] == rank:
                continue  # it waits more than once
            number = order[rank]
            block = blocks[number]
            self._left -= block.end - block.start + _BLOCK_WORK
            if self._left < 0:
                return False
            self._visit(number, block)
        return True

    def _visit(self, number: int, block: Block) -> None:
        found, found_slots = self._states[number]
        registers, slots = found.copy(), found_slots.copy()
        if self._machine.run(self._steps_of(number), registers, slots, self.above.get(number, 0)):
            self._stray(number)
        if block.kind == BRANCH:
            self._branch(number, block, registers, slots)
            return
        if block.kind == CALL:
            self._call(number, block, registers, slots)
        elif block.kind == CALLX:
            self._stray(number)
            slots.clear()
            leave_arguments(registers, slots)
        for successor in block.successors():
            self._go(number, successor, registers, slots)

    def _branch(self, number: int, block: Block, registers: Registers, slots: Slots) -> None:
        condition = self._conditions.get(number)
        if condition is None:
            condition = self._conditions[number] = condition_of(self._graph, block)
        refine, refine_half, dst, src, immediate = condition
        a, b = registers[dst], registers[src] if immediate is None else immediate
        if refine_half is not None and (is_wide(a) or (is_wide(b) and immediate is None)):
            self._branch_half(number, block, condition, registers, slots)
            return
        if not b[2]:
            self._bound(dst, b[0])
        if not a[2] and immediate is None:
            self._bound(src, a[0])
        taken, other = refine(a, b)
        for pair, successor in ((other, block.follow), (taken, block.taken)):
            if pair is not None:
                narrowed = registers.copy()
                narrowed[dst] = pair[0]
                if immediate is None:
                    narrowed[src] = pair[1]
                self._go(number, successor, narrowed, slots)

    def _branch_half(self, number: int, block: Block, condition: Condition, registers: Registers, slots: Slots) -> None:
        """The same where it compares lower halves, and one of them is not all of its register."""
        _, refine, dst, src, immediate = condition
        assert refine is not None
        b = lower_half(registers, slots, src) if immediate is None else cut32(immediate)
        taken, other = refine(lower_half(registers, slots, dst), b)
        for pair, successor in ((other, block.follow), (taken, block.taken)):
            if pair is not None:
                narrowed, kept = registers.copy(), slots.copy()
                for register, half in zip((dst, src) if immediate is None else (dst,), pair, strict=False):
                    if is_wide(registers[register]):
                        keep_lower_half(kept, register, half)
                    else:
                        narrowed[register] = half
                self._go(number, successor, narrowed, kept)

    def _bound(self, register: int, number: int) -> None:
        """A register is compared with a number: where a loop moves it, it is likely to stop there."""
        bounds = self._bounds[register]
        for bound in (number - 1 & MASK, number, number + 1 & MASK):
            if bound not in bounds and len(bounds) < _MOST_BOUNDS:
                insort(bounds, bound)

    def _call(self, number: int, block: Block, registers: Registers, slots: Slots) -> None:
        """Lead into the callee, and leave in place what is there when it returns."""
        passed = [shifted(value, FRAME_BYTES) if value[3] else value for value in registers[:6]]
        self._go(number, block.callee, passed + _UNKNOWN[6:], {})
        leave_arguments(registers, slots)
        if block.callee in self._straying:
            slots.clear()

    def _stray(self, number: int) -> None:
        """A block may store to the stack outside of its frame: so may all that lead to it, and calls of it change what
        their callers' frames hold."""
        graph = self._graph
        if not graph.callees:
            return
        spread = [number]
        while spread:
            number = spread.pop()
            if number not in self._straying:
                self._straying.add(number)
                spread += graph.before.get(number, ())
                for caller in graph.callers.get(number, ()):
                    spread.append(caller)
                    if caller in self._states:
                        heappush(self._work, self._ranks[caller])

    def _go(self, source: int, target: int, registers: Registers, slots: Slots) -> None:
        closing = self._ranks[source] >= self._ranks[target]
        if closing and target in self._latches:
            self._latches[target][source] = registers
        self._arrive(target, registers, slots, closing=closing)

    def _arrive(self, number: int, registers: Registers, slots: Slots, *, closing: bool) -> None:
        """Add what comes to a block to what came before."""
        if not closing and number in self._entered:
            entered = self._entered[number] or registers
            self._entered[number] = [a if a is b else join(a, b) for a, b in zip(entered, registers, strict=True)]
        state = self._states.get(number)
        if state is None:
            held = registers.copy()
            for register, limit in self._limits.get(number, _NOTHING).items():
                held[register] = limit
            self._states[number] = held, slots.copy()
        elif not self._join(number, state, registers, slots, closing=closing):
            return
        heappush(self._work, self._ranks[number])

    def _join(
        self, number: int, state: tuple[Registers, Slots], registers: Registers, slots: Slots, *, closing: bool
    ) -> bool:
        """Whether something new came to a block."""
        held, held_slots = state
        limits = self._limits.get(number, _NOTHING)
        changed = bool(held_slots) and meet(held_slots, slots, closing=closing)
        for register in range(FRAME_POINTER):
            old, new = held[register], registers[register]
            if old is new or old is ANY or register in limits or old == new:
                continue
            both = join(old, new)
            if both != old:
                held[register] = self._widened(number, register, old, both) if closing else both
                changed = True
        if changed and closing:
            self._joins[number] = self._joins.get(number, 0) + 1
        return changed

    def _widened(self, number: int, register: int, old: Value, new: Value) -> Value:
        if self._joins.get(number, 0) >= _MOST_JOINS:
            return ANY
        return widen(old, new, self._bounds[register])
