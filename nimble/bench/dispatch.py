"""How many machine instructions the ``threaded`` engine spends on each operation, and on what: counted in its assembly.

Ref: Riesen & Ferreira, HotOS 2009: threaded code adds "one or two" instructions to each statement. What is counted is
the way through a subroutine that a program takes again and again: up to the jump into the next subroutine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from statistics import mode
from typing import NamedTuple

import llvmlite.binding as llvm

from nimble.engine import jit
from nimble.engine.threaded import slots, subroutines
from nimble.isa import MEMORY, TABLE, Group, Operand, Operation

# The subroutines' parameters where LLVM passes them (x86-64): context, slot, left, cost.
_CONTEXT, _SLOT, _METER = "di", "si", ("dx", "cx")
_LONGEST = 200  # instructions; no subroutine has as many
_FORMS = {slots.SITE: "", slots.WINDOW: " in a window", slots.ON_STACK: " on the stack"}
_BOUNDS = tuple(f"{offset}(%r{_SLOT})" for offset in (slots.CELL_BASE, slots.CELL_LIMIT))
_CHECKED, _METERED, _NOT_GUARDED = "checked", "metered", ""

_BODY = re.compile(r"^(\w+):[^\n]*\n(.*?)^\.Lfunc_end", re.MULTILINE | re.DOTALL)
_LABEL = re.compile(r"^(\.L\w+):")
_REGISTER = re.compile(r"%(?:r|e)?(ax|bx|cx|dx|si|di|bp|sp|\d+)[bwdl]?\b|%([abcd])[lh]\b")


class Count(NamedTuple):
    """Machine instructions on the longest of the frequent ways through a subroutine.

    ``dispatch``: the address of the next subroutine is fetched, the slot moved on, the jump made. ``operands``: fetched
    from the slot and from the registers of the program. ``safety``: the access check, and the meter where control
    moves. ``work``: everything else.
    """

    work: int
    operands: int
    safety: int
    dispatch: int

    @property
    def total(self) -> int:
        return sum(self)


class _Line(NamedTuple):
    """One instruction: its name and its operands, the last of which it writes."""

    name: str
    operands: tuple[str, ...]

    @property
    def target(self) -> str:
        return self.operands[-1] if self.operands else ""


_Path = tuple[_Line, ...]


@cache
def count() -> Mapping[str, Count]:
    """By operation, with its operands and form as text. Empty where the machine is no x86-64.

    Left out are operations that go on only through Python: calls of services.
    """
    if not llvm.get_process_triple().startswith("x86_64"):
        return {}
    return count_in(jit.assembly(subroutines.module(())[0]))


def count_in(assembly: str) -> Mapping[str, Count]:
    """The same of a given assembly (AT&T's syntax)."""
    bodies = dict(_BODY.findall(assembly))
    found = {}
    for row in TABLE:
        for form, text in _FORMS.items():
            body = bodies.get(subroutines.name_of((row,), (form,)))
            paths = list(_paths(_lines(body))) if body else []
            if paths:
                counts = [_classify(path, _guard(row, form)) for path in paths]
                found[_name(row) + text] = max(counts, key=lambda one: one.total)
    return found


def dispatch(counts: Mapping[str, Count]) -> int:
    """The instructions from one operation to the next: those of most operations. Raises ValueError without counts."""
    if not counts:
        raise ValueError("dispatch: nothing was counted; only the assembly of x86-64 is read; take the figure from one")
    return mode(one.dispatch for one in counts.values())


def _guard(row: Operation, form: str) -> str:
    """What makes an operation safe: its access is checked, or the run that it leads to is metered."""
    if row.group in MEMORY:
        return _CHECKED if form == slots.SITE else _NOT_GUARDED
    return _NOT_GUARDED if row.group in (Group.ARITHMETIC, Group.SWAP, Group.WIDE) else _METERED


def _name(row: Operation) -> str:
    kinds = {Operand.IMMEDIATE: "imm", Operand.SRC: "reg"}
    operands = [kinds[operand] for operand in row.operands if operand in kinds]
    return " ".join((row.mnemonic, *operands))


def _lines(body: str) -> list[_Line | str]:
    """Instructions, and labels as text."""
    lines: list[_Line | str] = []
    for line in body.splitlines():
        label, text = _LABEL.match(line), line.split("#")[0].strip()
        if label:
            lines.append(label.group(1))
        elif text and not text.startswith("."):
            name, _, rest = text.partition("\t")
            lines.append(_Line(name, tuple(re.split(r",\s*(?![^(]*\))", rest)) if rest else ()))
    return lines


def _paths(lines: Sequence[_Line | str], at: int = 0, passed: _Path = ()) -> Iterator[_Path]:
    """The ways that end in the next subroutine; those that return or go to a rare one are not among them."""
    labels = {line: index for index, line in enumerate(lines) if isinstance(line, str)}
    while at < len(lines) and len(passed) < _LONGEST:
        line = lines[at]
        at += 1
        if isinstance(line, str):
            continue
        passed += (line,)
        if line.name.startswith("ret"):
            return
        if line.name.startswith("j"):
            if line.target.startswith("*"):
                yield passed
                return
            if line.target in labels:
                yield from _paths(lines, labels[line.target], passed)
            if line.name == "jmp":
                return


def _classify(path: _Path, guard: str) -> Count:
    kinds = [_kind(path, index, guard) for index in range(len(path))]
    for register in (_SLOT, _register(path[-1].target)):
        kinds[_last_write(path, register)] = "dispatch"
    return Count(*(kinds.count(kind) for kind in Count._fields))


def _kind(path: _Path, index: int, guard: str) -> str:
    line = path[index]
    if line.name in ("jmp", "jmpq"):
        return "dispatch"
    if (guard == _METERED and _is_meter(line)) or (guard == _CHECKED and _is_check(path, index)):
        return "safety"
    if any(f"(%r{_SLOT})" in operand for operand in line.operands):
        return "operands"
    read = any(f"(%r{_CONTEXT}" in operand for operand in line.operands[:-1])
    return "operands" if read and line.name.startswith("mov") else "work"


def _is_meter(line: _Line) -> bool:
    """The subtraction of what a run takes from what is left, its test, and the addition to the cost."""
    if line.name == "js" or any(_register(operand) in _METER for operand in line.operands):
        return True
    return line.name.startswith("sub") and f"(%r{_SLOT})" in line.operands[0]


def _is_check(path: _Path, index: int) -> bool:
    """Where the address lies in the window that the slot remembers, the comparison with its length, and the jump."""
    first = path[index].operands[0] if path[index].operands else ""
    if path[index].name.startswith("j"):
        first = path[index - 1].operands[0]
    return first in _BOUNDS


def _last_write(path: _Path, register: str) -> int:
    return max(index for index, line in enumerate(path[:-1]) if _register(line.target) == register)


def _register(operand: str) -> str:
    """The register that an operand is, without its width; nothing for memory and numbers."""
    found = _REGISTER.fullmatch(operand.lstrip("*"))
    return (found.group(1) or f"{found.group(2)}x") if found else ""
