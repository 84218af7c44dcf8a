"""The results for people, as tables, and for programs, as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table

from nimble.bench import dispatch
from nimble.bench.bench import Measured, Results
from nimble.bench.bounds import Bound, bounds, over_c, per_instruction
from nimble.bench.contenders import CHECKED, TIMED, UNCHECKED, UNPROVED, C, Name
from nimble.bench.overheads import INSTRUCTIONS
from nimble.bench.times import Ratio, Times
from nimble.engine import ENGINES

# Of the table of machine instructions: one operation of each kind.
_SHOWN = (
    "mov reg", "add imm", "add reg", "mul reg", "div reg", "lsh imm", "be32", "lddw", "ldxdw", "ldxdw in a window",
    "ldxdw on the stack", "stxdw reg", "stxdw reg in a window", "lock fetch_add reg", "ja", "jeq imm", "jlt reg",
    "call local", "callx", "exit",
)  # fmt: skip


def show(results: Results, console: Console) -> None:
    """Print all tables."""
    if results.measured:
        console.print(_speed(results))
        console.print(_checks(results))
    console.print(_overheads(results))
    if results.counts:
        console.print(_dispatch(results))
    console.print(_bounds(results))


def _table(title: str, *headings: str, caption: str = "") -> Table:
    table = Table(title=title, caption=caption or None, caption_justify="left")
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="right" if index else "left")
    return table


def _speed(results: Results) -> Table:
    """Checked, with proofs, metered."""
    with_c = results.yardstick is not None
    headings = [part for engine in ENGINES for part in (f"{engine}\nns / instruction", "\nof C")[: 1 + with_c]]
    caption = "medians (and least against least); metered, checked unless proved; mean: geometric, of the first five"
    if results.yardstick is not None:
        caption += f"; an addition in C that waits for the one before it takes {_pair(results.yardstick)} ns"
    table = _table("speed, checked and metered", "program", "instructions\na repetition", *headings, caption=caption)
    for one in results.measured:
        cells = [_pair(cell) for engine in ENGINES for cell in _pairs(one, (engine, CHECKED.name)) if cell is not None]
        table.add_row(one.case.name, f"{one.instructions:,.0f}", *cells)
    means = [
        _number(mean(results, (engine, CHECKED.name)))
        for engine in ENGINES
        for mean in (per_instruction, over_c)[: 1 + with_c]
    ]
    table.add_section()
    table.add_row("mean", "", *means)
    return table


def _pairs(one: Measured, name: Name) -> tuple[Times, Ratio | None]:
    return one.ns(name), one.ratio(name)


def _checks(results: Results) -> Table:
    headings = [f"{engine}\n{what}" for engine in ENGINES for what in ("proofs", "no proofs", "timed")]
    table = _table(
        "checked against unchecked: how many times as long",
        "program", "accesses", "of these\nproved", *headings,
        caption="unchecked code is that of a trusted extension; what is proved is not checked in either; timed: "
        "checked, with proofs, and the time on a modeled core counted by operation, as under a kernel",
    )  # fmt: skip
    for one in results.measured:
        cells = [
            _pair(one.times[engine, variant.name].over(one.times[engine, UNCHECKED.name]))
            for engine in ENGINES
            for variant in (CHECKED, UNPROVED, TIMED)
        ]
        table.add_row(one.case.name, str(one.accesses), str(one.proved), *cells)
    return table


def _overheads(results: Results) -> Table:
    caption = f"us; a call of an empty native function by ctypes takes {_pair(results.native_call, 1e3)}"
    if results.measured:
        caption += f"; native compiles in {compile_us(results):.0f} an instruction"
    table = _table(
        f"insertion of {INSTRUCTIONS} instructions, and calls of an empty extension",
        "engine", "verify", "translate", "insert: ready", "Thread.run", "raise_event",
        caption=caption,
    )  # fmt: skip
    for engine in ENGINES:
        insertion, calls = results.insertions[engine], results.calls[engine]
        times = (insertion.verify, insertion.translate, insertion.ready, calls.run, calls.event)
        table.add_row(engine, *(_pair(one, 1e3) for one in times))
    return table


def compile_us(results: Results) -> float:
    """What native takes to compile, microseconds per instruction over all programs."""
    return sum(one.compile_ns for one in results.measured) / sum(one.slots for one in results.measured) / 1e3


def _dispatch(results: Results) -> Table:
    table = _table(
        "machine instructions of threaded",
        "operation", "work", "operands", "check or meter", "dispatch", "all",
        caption=f"dispatch of most operations: {dispatch.dispatch(results.counts)} (the next subroutine's address, the "
        "slot, the jump), where the paper says one or two",
    )  # fmt: skip
    for name in _SHOWN:
        one = results.counts.get(name)
        if one is not None:
            table.add_row(name, *map(str, (*one, one.total)))
    return table


def _bounds(results: Results) -> Table:
    table = _table("bounds", "figure", "measured", "at most", "", "", caption="addition: see the table of speed")
    for bound in bounds(results):
        table.add_row(bound.figure, _number(bound.value), _number(bound.most), bound.unit, bound.verdict)
    return table


def _pair(times: Times | Ratio, scale: float = 1) -> str:
    return f"{_number(times.median / scale)} ({_number(times.least / scale)})"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


# ---- JSON ----


def as_json(results: Results) -> dict[str, Any]:
    """Everything, with stable keys."""
    return {
        "yardstick_ns": _both(results.yardstick),
        "programs": {one.case.name: _program(one) for one in results.measured},
        "insertion_ns": {
            engine: {name: _both(getattr(one, name)) for name in ("verify", "translate", "ready")}
            for engine, one in results.insertions.items()
        },
        "call_ns": {
            engine: {"run": _both(one.run), "event": _both(one.event)} for engine, one in results.calls.items()
        },
        "native_call_ns": _both(results.native_call),
        "native_compile_us_per_instruction": compile_us(results) if results.measured else None,
        "machine_instructions": {name: one._asdict() for name, one in results.counts.items()},
        "bounds": [_bound(one) for one in bounds(results)],
    }


def _program(one: Measured) -> dict[str, Any]:
    return {
        "instructions_per_repetition": one.instructions,
        "slots": one.slots,
        "accesses": one.accesses,
        "proved": one.proved,
        "runs": list(_runs(one)),
    }


def _runs(one: Measured) -> Iterator[dict[str, Any]]:
    for name, times in one.times.items():
        engine, variant = name
        run: dict[str, Any] = {"engine": engine, "variant": variant, "ns_per_repetition": _both(times)}
        if engine != C:
            run |= {"ns_per_instruction": _both(one.ns(name)), "over_c": _both(one.ratio(name))}
        yield run


def _bound(one: Bound) -> dict[str, Any]:
    return {"figure": one.figure, "unit": one.unit, "value": one.value, "most": one.most, "verdict": one.verdict}


def _both(times: Times | Ratio | None) -> dict[str, float] | None:
    return None if times is None else {"median": times.median, "least": times.least}
