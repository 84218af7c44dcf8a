"""What a block carries and never looks at: why the judge may put marks into it.

A word that is marked (see `marks`) has, by a rule, a value that tells whose it is, which it need not have in the
machine. Nothing is lost by that if the block does the same whatever the word is: if none of its bits, and of the copies
that the block makes of them, is an operand of anything but copying. Then all that the block decides is independent of
the word, and a mark comes out where, and only where, the word would have. Words that are joined by an OR count as
copied, too: that all but one of them are 0 is part of what the marks show.
"""

from collections.abc import Iterator
from typing import Any

from amaranth import Fragment, Value
from amaranth.hdl import _ast, _nir
from amaranth.hdl._ir import build_netlist

from tests.formal.bench import Bench, inputs_of

_ZERO, _ONE = _nir.Net.from_const(0), _nir.Net.from_const(1)


def looked_at(bench: Bench) -> list[str]:
    """Where the block does anything but copy a bit of what it is said to carry, or of its copies: files and lines, each
    once."""
    if not bench.carried:
        return []
    netlist = build_netlist(Fragment.get(bench.block, None), ports=list(inputs_of(bench.block)))
    bits: set[Any] = {net for value in bench.carried for net in _nets(netlist, value)}
    columns: set[tuple[int, int]] = set()  # of memories: bits of a row that are such
    while True:
        known = len(bits) + len(columns)
        for number, cell in enumerate(netlist.cells):
            _copy(number, cell, bits, columns)
        if len(bits) + len(columns) == known:
            break
    places = (_place(cell) for cell in netlist.cells if not bits.isdisjoint(_decisive(cell)))
    return list(dict.fromkeys(places))


def _nets(netlist: _nir.Netlist, value: Value) -> Iterator[Any]:
    """The bits of a signal, or of parts of such."""
    value = Value.cast(value)
    if isinstance(value, _ast.Slice):
        yield from list(_nets(netlist, value.value))[value.start : value.stop]
    elif isinstance(value, _ast.Concat):
        for part in value.parts:
            yield from _nets(netlist, part)
    elif isinstance(value, _ast.Operator) and value.operator in ("u", "s"):
        yield from _nets(netlist, value.operands[0])
    else:
        yield from netlist.signals[value]


def _sources(cell: Any) -> list[Any]:
    """Of a cell that copies: words of which its output is one, bit by bit, each with the bit of the output where it
    begins."""
    match cell:
        case _nir.Operator(operator="m"):
            return [(word, 0) for word in cell.inputs[1:]]
        case _nir.Operator(operator="|", inputs=(one, other)):
            return [(one, 0), (other, 0)]
        case _nir.Operator(operator="&", inputs=(one, other)):
            return [(_masked(one, other), 0), (_masked(other, one), 0)]
        case _nir.AssignmentList():
            return [(cell.default, 0), *((one.value, one.start) for one in cell.assignments)]
        case _nir.FlipFlop():
            return [(cell.data, 0)]
        case _nir.Part():
            starts = range(0, len(cell.value), cell.stride)
            return [(cell.value[first : first + cell.width], 0) for first in starts]
    return []


def _masked(word: Any, mask: Any) -> list[Any]:
    """The bits of `word` that a `mask` lets through, and constants for those that it does not, or may not."""
    return [bit if mask_bit == _ONE else _ZERO for bit, mask_bit in zip(word, mask, strict=True)]


def _copy(number: int, cell: Any, bits: set[Any], columns: set[tuple[int, int]]) -> None:
    for word, start in _sources(cell):
        bits.update(_nir.Net.from_cell(number, start + bit) for bit, net in enumerate(word) if net in bits)
    if isinstance(cell, _nir.SyncWritePort):
        columns.update((cell.memory, bit) for bit, net in enumerate(cell.data) if net in bits)
    if isinstance(cell, _nir.SyncReadPort | _nir.AsyncReadPort):
        shown = (bit for bit in range(cell.width) if (cell.memory, bit) in columns)
        bits.update(_nir.Net.from_cell(number, bit) for bit in shown)


def _decisive(cell: Any) -> Iterator[Any]:
    """The bits of its inputs that a cell does not merely copy."""
    match cell:
        case _nir.Top():
            return
        case _nir.Operator(operator="m"):
            yield from cell.inputs[0]
        case _nir.Operator(operator="|", inputs=(_, _)):
            return
        case _nir.Operator(operator="&", inputs=(one, other)):
            for pair in zip(one, other, strict=True):
                if not any(bit.is_const for bit in pair):
                    yield from pair
        case _nir.AssignmentList():
            yield from (one.cond for one in cell.assignments)
        case _nir.FlipFlop():
            yield from (cell.clk, cell.arst)
        case _nir.Part():
            yield from cell.offset
        case _nir.SyncWritePort():
            yield from (*cell.addr, *cell.en, cell.clk)
        case _:
            yield from cell.input_nets()


def _place(cell: Any) -> str:
    file, line = cell.src_loc
    return f"{file}:{line}"
