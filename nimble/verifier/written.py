"""Registers are written before they are read: on every path, and across calls.

Ref: for what a call keeps, RFC 9669, section 2. Masks have bit N for rN. Each block is summed up once: what it reads
before it writes it, what it leaves written and what it leaves unwritten; then masks flow from block to block and only
ever shrink, so that a block is visited at most once for each register.
"""

from __future__ import annotations

from nimble.isa import ARGUMENTS, Instruction, Operation
from nimble.services import Services
from nimble.verifier.facts import InsertionRefused
from nimble.verifier.graph import Block, Graph
from nimble.verifier.rows import ARGUMENTS_MASK, CALL, CALLX, EXIT, FRAME_MASK, KEPT_MASK, R0, ROWS, SERVICE
from nimble.verifier.structure import refusal

_ALL = (1 << 11) - 1
_AT_ENTRY = ARGUMENTS_MASK | FRAME_MASK


def check_written(graph: Graph, services: Services) -> None:
    """Raises InsertionRefused at an instruction that reads what some path to it has not written.

    ``exit`` reads nothing: what compilers make of a function without a result leaves r0 as it is, and in a run r0
    begins as 0. Where a function may return without having written r0, it is unwritten behind calls of it. A function
    that is called through a register gets r1..r5, and its result counts as written.
    """
    flow = _Flow(graph, services)
    flow.settle()
    for number in graph.order:
        if flow.reads[number] & ~flow.written[number]:
            raise flow.complain(number)


def _effect(instruction: Instruction, row: Operation, services: Services) -> tuple[int, int, int]:
    """Masks of what an instruction reads, leaves unwritten, and then writes."""
    kind, reads_dst, reads_src, reads, writes_dst, writes_src, writes = ROWS[row]
    if kind == SERVICE:
        service = services.get(instruction.imm)
        assert service is not None  # checked by the structure
        return (1 << len(service.arguments) + 1) - 2, ARGUMENTS_MASK, R0
    dst, src = instruction.dst, instruction.src
    return reads | reads_dst << dst | reads_src << src, 0, writes | writes_dst << dst | writes_src << src


class _Flow:
    """``reads``, ``written``: by block, what it reads of what it must find written, and what it finds written.

    ``voids`` are the blocks from which an exit can be reached, within the function, that leaves r0 unwritten.
    """

    def __init__(self, graph: Graph, services: Services) -> None:
        self._graph = graph
        self._services = services
        self._summaries = {number: self._summary(graph.blocks[number]) for number in graph.order}
        self.reads = {number: summary[0] for number, summary in self._summaries.items()}
        self.written = dict.fromkeys(graph.order, _ALL)
        self.voids: set[int] = set()
        self._work: list[int] = list(reversed(graph.order))
        for root in (*graph.entries, *graph.taken_addresses):
            self.written[root] &= _AT_ENTRY

    def settle(self) -> None:
        """Let the masks flow until nothing changes."""
        blocks, summaries, written, work = self._graph.blocks, self._summaries, self.written, self._work
        while work:
            number = work.pop()
            block = blocks[number]
            _, unwrites, writes = summaries[number]
            mask = written[number] & ~unwrites | writes
            if block.kind == CALL:
                self._meet(block.callee, mask & ARGUMENTS_MASK | FRAME_MASK)
                mask = mask & KEPT_MASK | R0 * (block.callee not in self.voids)
            elif block.kind == CALLX:
                mask = mask & KEPT_MASK | R0
            elif block.kind == EXIT:
                if not mask & R0:
                    self._return_nothing(number)
                continue
            for successor in block.successors():
                if mask & written[successor] != written[successor]:
                    self._meet(successor, mask)

    def _meet(self, number: int, mask: int) -> None:
        if self.written[number] & ~mask:
            self.written[number] &= mask
            self._work.append(number)

    def _return_nothing(self, number: int) -> None:
        """An exit leaves r0 unwritten: so do all blocks of the function that lead to it, and calls of it."""
        spread = [number]
        while spread:
            number = spread.pop()
            if number not in self.voids:
                self.voids.add(number)
                self._work += self._graph.callers.get(number, ())
                spread += self._graph.before.get(number, ())

    def _summary(self, block: Block) -> tuple[int, int, int]:
        """What a block reads before it writes it, leaves unwritten and leaves written."""
        needs = unwritten = written = 0
        services = self._services
        for _, instruction, row in self._graph.code[block.start : block.end]:
            reads, unwrites, writes = _effect(instruction, row, services)
            needs |= reads & ~written
            if reads & unwritten:
                needs |= _ALL + 1  # what no path can have written
            written = written & ~unwrites | writes
            unwritten = (unwritten | unwrites) & ~writes
        return needs, unwritten, written

    def complain(self, number: int) -> InsertionRefused:
        """The refusal for the first read of a block that finds nothing."""
        graph, known = self._graph, self.written[number]
        block = graph.blocks[number]
        for pc, instruction, row in graph.code[block.start : block.end]:
            reads, unwrites, writes = _effect(instruction, row, self._services)
            missing = reads & ~known
            if missing:
                return refusal(graph.program, pc, _unwritten(missing))
            known = known & ~unwrites | writes
        raise AssertionError("a block that reads what it does not find has an instruction that does")


def _unwritten(missing: int) -> str:
    register = (missing & -missing).bit_length() - 1
    why = "calls leave it unwritten; " if 1 <= register <= ARGUMENTS else ""
    return f"reads r{register}, which is not written on every path to here; {why}write it first"
