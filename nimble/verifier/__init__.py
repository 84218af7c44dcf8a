"""Static acceptance: what must hold of a program before it is translated. Errors name the instruction and its line.

Refused is what cannot be right: fields, jumps and services that do not exist, code that nothing reaches or that a run
would fall off, registers read before they are written, accesses that leave the frame for certain, calls deeper than
there are frames, arguments that a service is certain to refuse. Everything else is accepted, and checked while it runs
where it is not proved here: ``structure`` looks at single instructions, ``graph`` cuts the program into blocks,
``written`` and ``depth`` look at registers and calls, ``proofs`` at what registers hold.
"""

from __future__ import annotations

from nimble.access import AddressSpace, Window
from nimble.program import Program
from nimble.services import Services
from nimble.verifier.depth import check_depth
from nimble.verifier.facts import Facts, InsertionRefused
from nimble.verifier.graph import Graph
from nimble.verifier.places import Places, access_of
from nimble.verifier.proofs import Proofs
from nimble.verifier.report import Access, accesses
from nimble.verifier.structure import check_structure, refusal
from nimble.verifier.written import check_written

__all__ = ["Access", "Facts", "InsertionRefused", "access_report", "verify"]


def verify(program: Program, services: Services, space: AddressSpace | None = None) -> Facts:
    """Accept a program and say what is known of it. Raises InsertionRefused with the instruction and its line.

    Accesses are proved against the windows of ``space``; without it nothing but the stack is known.
    """
    graph = _accepted(program, services)
    proofs = Proofs(graph, services)
    for pc in sorted(proofs.complaints):
        raise refusal(program, pc, proofs.complaints[pc])
    return Facts(_proved(graph, proofs, Places(space)))


def access_report(program: Program, services: Services, space: AddressSpace | None, facts: Facts) -> tuple[Access, ...]:
    """Each access of an accepted program, with what is known of its address; the arguments are those of ``verify``,
    which gave the facts. Raises InsertionRefused, as that does."""
    return accesses(program, space, facts, Proofs(_accepted(program, services), services))


def _accepted(program: Program, services: Services) -> Graph:
    check_structure(program, services)
    graph = Graph(program)
    pc = graph.unreachable()
    if pc is not None:
        raise refusal(program, pc, "no entry and no function leads here; remove it or call it")
    check_written(graph, services)
    check_depth(graph)
    return graph


def _proved(graph: Graph, proofs: Proofs, places: Places) -> dict[int, Window]:
    proved = {}
    for number in graph.order if proofs.addresses else ():
        block, above = graph.blocks[number], proofs.above.get(number, 0)
        for pc, _, row in graph.code[block.start : block.end]:
            address = proofs.addresses.get(pc)
            if address is not None:
                window = places.window(address, access_of(row), above)
                if window is not None:
                    proved[pc] = window
    return proved
