"""Tables for terminals of 40 columns and more. Figures and verdicts are never broken; words are, where it must be."""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from rich.console import Console
from rich.table import Table
from rich.text import Text

_LEAST_NAME = 16  # columns for names beside their figures; where there is less, they stand above them
_INDENT = 1  # of figures below a name


@dataclass(frozen=True, kw_only=True)
class Column:
    """`words` may be broken between lines, other cells may not."""

    heading: str
    words: bool = False


def show(
    console: Console, columns: Sequence[Column], rows: Sequence[Sequence[str]], *, name: int = 0, title: str = ""
) -> None:
    """Prints a table: framed where it fits, else without lines and empty columns. `name` is the place of the column
    that says what a row is about."""
    if _framed_width(columns, rows, name) <= console.width:
        console.print(_framed(columns, rows, title))
        return
    for line in (*textwrap.wrap(title, console.width), *_plain(columns, rows, name, console.width)):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _framed_width(columns: Sequence[Column], rows: Sequence[Sequence[str]], name: int) -> int:
    """The least in which nothing is broken but words from each other, headings of figures neither."""
    least = [_least(column, cells) for column, *cells in zip(columns, *rows, strict=True)]
    whole = [0 if column.words else len(column.heading) for column in columns]
    whole[name] = min(_LEAST_NAME, max((len(row[name]) for row in rows), default=0))
    return 1 + sum(3 + max(pair) for pair in zip(least, whole, strict=True))


def _framed(columns: Sequence[Column], rows: Sequence[Sequence[str]], title: str) -> Table:
    table = Table(title=title or None)
    for column in columns:
        table.add_column(column.heading, justify="left" if column.words else "right", no_wrap=not column.words)
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _plain(columns: Sequence[Column], rows: Sequence[Sequence[str]], name: int, width: int) -> Iterator[str]:
    """The lines: names beside their figures, or once above all of theirs where that leaves too little."""
    kept = [place for place in range(len(columns)) if place != name and any(row[place] for row in rows)]
    figures = [columns[place] for place in kept]
    cells = [[row[place] for place in kept] for row in rows]
    widths = _widths(figures, cells, width - _INDENT)
    left = width - sum(1 + size for size in widths)
    if left < 0:
        yield from _spelled_out(figures, [row[name] for row in rows], cells, width)
        return
    names = [columns[name].heading, *(row[name] for row in rows)]
    above = ""
    for text, line in zip(names, [[column.heading for column in figures], *cells], strict=True):
        if left >= _LEAST_NAME:
            yield from _line([text, *line], [left, *widths], [columns[name], *figures])
            continue
        if text != above:
            yield from textwrap.wrap(text, width)
        yield from (" " * _INDENT + part for part in _line(line, widths, figures))
        above = text


def _spelled_out(
    columns: Sequence[Column], names: Sequence[str], rows: Sequence[Sequence[str]], width: int
) -> Iterator[str]:
    """Below each name its figures, each with its heading: for what no columns hold."""
    for name, row in zip(names, rows, strict=True):
        said = ", ".join(f"{column.heading} {cell}" for column, cell in zip(columns, row, strict=True) if cell)
        yield from textwrap.wrap(name, width)
        yield from textwrap.wrap(said, width, initial_indent=" " * _INDENT, subsequent_indent=" " * _INDENT)


def _widths(columns: Sequence[Column], rows: Sequence[Sequence[str]], room: int) -> list[int]:
    """Of each column: what its cells and words need, then as much of what is left as it has use for."""
    of_columns = [[column.heading, *(row[place] for row in rows)] for place, column in enumerate(columns)]
    widths = [_least(column, cells) for column, (_, *cells) in zip(columns, of_columns, strict=True)]
    left = room - sum(widths) - max(0, len(widths) - 1)
    for place, (column, cells) in enumerate(zip(columns, of_columns, strict=True)):
        if column.words:
            more = min(max(left, 0), max(map(len, cells)) - widths[place])
            widths[place] += more
            left -= more
    return widths


def _least(column: Column, cells: Sequence[str]) -> int:
    """Headings may be broken between words in any column."""
    whole = [word for cell in cells for word in cell.split()] if column.words else cells
    return max(map(len, (*column.heading.split(), *whole)), default=0)


def _line(cells: Sequence[str], widths: Sequence[int], columns: Sequence[Column]) -> Iterator[str]:
    """A row, in as many lines as its longest cell takes."""
    parts = [textwrap.wrap(cell, max(width, 1)) for cell, width in zip(cells, widths, strict=True)]
    for line in zip_longest(*parts, fillvalue=""):
        placed = [
            part.ljust(width) if column.words else part.rjust(width)
            for part, width, column in zip(line, widths, columns, strict=True)
        ]
        yield " ".join(placed).rstrip()
