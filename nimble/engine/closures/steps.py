"""Steps made from lines of text: of one instruction, or of a sequence of them in one.

A ``Form`` is what an operation does, with its fields and memories as ``{names}``. Each step that is made of forms keeps
its names in cells of its own. A fused step is compiled from the lines of its parts and shares their cells: so it sees
the windows that they remember and the steps that they lead to. Its parts stay what they are: jumps into the middle go
to them, and where a part of a fused step misses what it remembers, the run goes on with the part itself. Therefore a
fused step never waits and never faults.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from string import Formatter
from types import CellType, CodeType, FunctionType
from typing import Any, NamedTuple, cast

from nimble.engine import semantics
from nimble.engine.closures.run import METER, Step, short


class Form(NamedTuple):
    """Lines that do an operation on the registers ``r``. The last one of a form that ``moves`` control returns.

    ``{miss}`` is where a form goes that can't go on: the general way of a step alone, the part itself in a fused one.
    """

    lines: tuple[str, ...]
    moves: bool = False


_GLOBALS = {
    "signed_quotient": semantics.signed_quotient,
    "signed_remainder": semantics.signed_remainder,
    "short": short,
}


def landing(target: str) -> tuple[str, ...]:
    """The lines that pay for the run at a target, and go there if enough is left."""
    return (
        f"r[{METER}] = left = r[{METER}] - {{{target}_price}}",
        "if left < 0:",
        f"    return short(r, {{{target}}})",
        f"return {{{target}}}",
    )


def alone(form: Form, general: Step | None = None, **values: object) -> Step:
    """The step of one instruction, with the values of its names; ``link`` fills in where it leads to.

    ``general`` is a closure that does what the form's fast way can't: the two share its variables by name.
    """
    cells = {name: CellType(value) for name, value in values.items()}
    if general is not None:
        cells |= {**cells_of(general), "general": CellType(general)}
    code = _compile((form,))
    for name in code.co_freevars:
        cells.setdefault(name, CellType(None))
    return _bind(code, cells)


def fused(parts: Sequence[tuple[Step, Form]]) -> Step:
    """One step that does several instructions, from the step and the form of each."""
    cells: dict[str, CellType] = {}
    for index, (step, _) in enumerate(parts):
        cells |= {f"{name}{index}": cell for name, cell in cells_of(step).items()}
        cells[f"part{index}"] = CellType(step)
    return _bind(_compile(tuple(form for _, form in parts)), cells)


def cells_of(step: Step) -> dict[str, CellType]:
    """The variables of a closure by name."""
    function = cast(FunctionType, step)
    return dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))


def link(step: Step, **targets: Step | int | None) -> None:
    """Fill in the variables of a step that say which steps it leads to, and what landing on them costs."""
    for name, cell in cells_of(step).items():
        if name in targets:
            cell.cell_contents = targets[name]


def _bind(code: CodeType, cells: dict[str, CellType]) -> Step:
    return FunctionType(code, _GLOBALS, "step", None, tuple(cells[name] for name in code.co_freevars))


@cache
def _compile(forms: tuple[Form, ...]) -> CodeType:
    """The code of a step: compiled once for all instructions of the same forms."""
    body: list[str] = []
    variables: set[str] = set()
    for index, form in enumerate(forms):
        suffix = str(index) if len(forms) > 1 else ""
        names = {name: name + suffix for line in form.lines for _, name, _, _ in Formatter().parse(line) if name}
        if "miss" in names:
            variables.add(f"part{index}" if suffix else "general")
            names["miss"] = f"part{index}" if suffix else "general(r)"
        body += [line.format_map(names) for line in form.lines]
        variables.update(set(names.values()) - {names.get("miss")})
    if not forms[-1].moves:
        body.append(f"return following{suffix}")
        variables.add(f"following{suffix}")
    lines = "".join(f"\n        {line}" for line in body)
    free = "".join(f"\n    {name} = None" for name in sorted(variables))
    text = f"def make():{free}\n    def step(r):{lines}\n    return step"
    scope: dict[str, Any] = {}
    exec(compile(text, "<nimble step>", "exec"), scope)
    return cast(CodeType, scope["make"]().__code__)
