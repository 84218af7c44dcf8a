"""Superoperators: frequent sequences of operations that engines do in one step.

The table knows rows of the instruction set only; what a fused step looks like is an engine's business. Sequences were
chosen by ``nimble profile`` from compiled loops: arithmetic, checksums, sieves, recursion, lists, tables in state.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import NamedTuple

from nimble.engine.runs import Placed
from nimble.isa import BY_MNEMONIC, TABLE, Group, Operand, Operation

Superoperator = tuple[Operation, ...]

# Groups whose rows may stand in a sequence; those that move control can only be its end.
FUSIBLE = (
    Group.ARITHMETIC, Group.WIDE, Group.LOAD, Group.STORE, Group.JUMP, Group.BRANCH, Group.CALL_LOCAL, Group.EXIT,
)  # fmt: skip


def label(row: Operation) -> str:
    """The name of a row in sequences: its mnemonic; ``i`` or ``r`` says whether an operand may be a register too."""
    if len(BY_MNEMONIC[row.mnemonic]) == 1:
        return row.mnemonic
    return f"{row.mnemonic} {'r' if Operand.SRC in row.operands else 'i'}"


_BY_LABEL = {label(row): row for row in TABLE}


def _sequence(text: str) -> Superoperator:
    return tuple(_BY_LABEL[part.strip()] for part in text.split(";"))


# Addresses and elements of tables; loads with what follows them; read, change and write; loops; parts of values; calls.
_DECLARED = """
    mov r; add r
    mov r; add r; ldxb
    mov r; add r; ldxw
    mov r; add r; ldxdw
    mov r; add r; stb
    add r; ldxw
    add r; ldxdw
    lddw; add r
    lsh i; lddw; add r
    lsh i; lddw; add r; ldxw
    lddw; add r; ldxdw
    mov r; lsh i
    mov r; and i; lsh i
    lddw; ldxw
    lddw; ldxdw
    lddw; stxdw

    ldxb; ldxb
    ldxb; add r
    ldxh; add r
    ldxh; add32 r
    ldxw; add r
    ldxw; add32 r
    ldxdw; add r
    ldxdw; xor r
    ldxb; jne i
    ldxb; jeq i
    ldxw; jne i
    ldxw; jeq i
    ldxw; jne32 i
    ldxw; jeq32 i
    ldxdw; jne i
    ldxdw; jeq i
    ldxdw; jge r

    ldxdw; stxdw
    ldxdw; stxdw; add i
    ldxdw; add r; stxdw
    ldxdw; add i; stxdw
    ldxdw; xor r; stxdw
    ldxw; add i; stxw
    ldxw; add32 i; stxw
    mov i; stxw
    stb; add r
    stxdw; mov r

    add i; jlt i
    add i; jlt r
    add i; jgt i
    add i; jgt r
    add i; jeq i
    add i; jne i
    add i; jne r
    sub i; jne i
    add r; jlt r
    add i; add i; jeq i
    add i; add i; jlt r
    add i; add i; jgt i
    add r; add i; jlt i
    mov32 r; jlt r
    mov r; mul r; jgt r
    mov r; mod r; jeq i
    mov r; mov i; jlt i
    and i; jeq i
    and i; jne i
    add i; ja
    mov r; ja
    add r; ja

    add i; add i
    add r; add i
    add i; mov r
    add r; mov r
    mov r; add r; mov r
    mul r; mov r
    mov r; mul r
    mov r; mod r
    mov r; sub r
    mov r; mov r
    mov r; mov i
    mov r; ldxdw
    mov r; lddw

    lsh i; rsh i
    lsh i; arsh i
    mov r; lsh i; rsh i
    mov r; lsh i; xor r
    mov r; rsh i
    mov r; rsh i; xor r
    rsh i; add r
    rsh i; xor r
    add r; xor r
    mov r; and i
    lddw; and r
    and i; xor r
    xor r; mov r
    mov32 r; mov32 r
    mov32 r; mov32 r; xor32 r
    mov32 r; and32 i
    mov32 r; rsh32 i; xor32 r
    mov32 r; rsh32 r
    mov32 r; mod32 r
    mov32 i; sub32 r
    lsh32 i; or32 r
    or32 r; add32 r
    xor32 r; add32 r
    lsh32 i; arsh32 i

    mov r; add i; call local
    mov r; sub i; call local
    add i; call local
    sub i; call local
    mov r; call local
    mov i; exit
    mov r; exit
    add r; exit
    add r; mov r; exit
"""

SUPEROPERATORS: tuple[Superoperator, ...] = tuple(_sequence(line) for line in _DECLARED.splitlines() if line.strip())


class _Node(NamedTuple):
    """The sequences with a common beginning: the next row leads to longer ones; ``ends``: the beginning is one."""

    longer: dict[Operation, _Node]
    ends: bool


@cache
def _tree(sequences: tuple[Superoperator, ...]) -> _Node:
    longer = {}
    for row in dict.fromkeys(sequence[0] for sequence in sequences if sequence):
        longer[row] = _tree(tuple(sequence[1:] for sequence in sequences if sequence and sequence[0] is row))
    return _Node(longer, () in sequences)


def cover(places: Mapping[int, Placed], sequences: Iterable[Superoperator] = SUPEROPERATORS) -> dict[int, int]:
    """By pc, how many instructions the step there does, so that the rest of its run takes the fewest steps.

    Each pc has its answer, whatever step it is in the middle of: a jump may go there. No step leaves its run.
    """
    tree = _tree(tuple(sequences))
    lengths: dict[int, int] = {}
    steps: dict[int | None, int] = {None: 0}  # that the rest of a run takes, by pc
    for pc in sorted(places, reverse=True):
        for length, behind in _prefixes(tree, places, pc):
            if length == 1 or steps[behind] < steps[pc] - 1:
                lengths[pc], steps[pc] = length, steps[behind] + 1
    return lengths


def _prefixes(tree: _Node, places: Mapping[int, Placed], pc: int) -> Iterator[tuple[int, int | None]]:
    """Lengths of what one step can do from ``pc``, one instruction first, and the pc behind; None at the run's end."""
    node: _Node | None = tree
    at: int | None = pc
    for length in range(1, places[pc].length + 1):
        assert at is not None  # the run goes on
        row = places[at].row
        node = node.longer.get(row) if node else None
        at = at + row.slots if places[at].length > 1 else None
        if length == 1 or (node and node.ends):
            yield length, at
        if node is None:
            return
