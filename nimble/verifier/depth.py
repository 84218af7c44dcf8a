"""How deep calls go: the deepest chain of them, which a run must have frames for, and the shallowest way to a block."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from nimble.access import CALL_DEPTH
from nimble.verifier.graph import NOWHERE, Graph
from nimble.verifier.structure import refusal


def shallowest(graph: Graph) -> dict[int, int]:
    """By block, the least number of calls that a run is inside when it gets there."""
    depths = dict.fromkeys((*graph.entries, *graph.taken_addresses), 0)
    if not graph.callees:
        return dict.fromkeys(graph.order, 0)
    if graph.calls_registers:
        depths = dict.fromkeys(graph.callees, 1) | depths
    work = deque(sorted(depths, key=depths.__getitem__))
    done: set[int] = set()
    while work:
        number = work.popleft()
        if number in done:
            continue
        done.add(number)
        block = graph.blocks[number]
        for successor in block.successors():
            if depths.get(successor, CALL_DEPTH) > depths[number]:
                depths[successor] = depths[number]
                work.appendleft(successor)
        if block.callee != NOWHERE and depths.get(block.callee, CALL_DEPTH) > depths[number] + 1:
            depths[block.callee] = depths[number] + 1
            work.append(block.callee)
    return depths


def check_depth(graph: Graph) -> None:
    """Refuse a chain of local calls that needs more frames than there are. Raises InsertionRefused.

    Recursion, which has no such chain, and calls through registers are left to the check while they run.
    """
    if len(graph.callees) < CALL_DEPTH:
        return
    group_of: dict[int, int] = {}
    deepest: list[int] = []  # by group: how many frames the calls from there on add
    for group, members in enumerate(_groups(graph)):
        group_of.update(dict.fromkeys(members, group))
        deepest.append(0)
        for number in members:
            block = graph.blocks[number]
            depth = max((deepest[group_of[after]] for after in block.successors()), default=0)
            if block.callee != NOWHERE:
                depth = max(depth, deepest[group_of[block.callee]] + (group_of[block.callee] != group))
            deepest[group] = max(depth, deepest[group])
            if depth >= CALL_DEPTH:
                pc = graph.code[block.end - 1][0]
                text = f"calls from here on need {depth + 1} frames; there are {CALL_DEPTH}; call less deeply"
                raise refusal(graph.program, pc, text)


def _groups(graph: Graph) -> Iterator[list[int]]:
    """The blocks in groups: those that lead to each other, calls included. A group comes behind those it leads to.

    Ref: Tarjan, "Depth-first search and linear graph algorithms", SIAM J. Comput. 1 (1972), without its recursion.
    """
    lowest: dict[int, int] = {}
    open_blocks: list[int] = []
    closed: set[int] = set()
    for root in graph.order:
        if root in lowest:
            continue
        lowest[root] = len(lowest)
        open_blocks.append(root)
        work = [(root, iter(_leads_to(graph, root)), lowest[root])]
        while work:
            number, successors, index = work[-1]
            for after in successors:
                if after not in lowest:
                    lowest[after] = len(lowest)
                    open_blocks.append(after)
                    work.append((after, iter(_leads_to(graph, after)), lowest[after]))
                    break
                if after not in closed:
                    lowest[number] = min(lowest[number], lowest[after])
            else:
                work.pop()
                if work:
                    above = work[-1][0]
                    lowest[above] = min(lowest[above], lowest[number])
                if lowest[number] == index:
                    members = [open_blocks.pop()]
                    while members[-1] != number:
                        members.append(open_blocks.pop())
                    closed.update(members)
                    yield members


def _leads_to(graph: Graph, number: int) -> tuple[int, ...]:
    block = graph.blocks[number]
    return block.successors() if block.callee == NOWHERE else (*block.successors(), block.callee)
