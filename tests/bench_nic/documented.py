"""What the NIC's document says is what is measured: cycles are exact, so figures are compared as they are printed."""

from collections.abc import Iterator, Mapping
from itertools import takewhile

DOCUMENT = "rtl/nic/NIC.md"
_NOTHING = "nothing"


def differences(text: str, measured: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """A line for each figure that is another one in the document's `text`, or stands on one side alone.

    `measured` by table, which the heading of its first column names, and figure, which its row and column name."""
    for table, values in measured.items():
        cells = list(_cells(text, table))
        named = {name for name, _ in cells}
        cells += [(name, _NOTHING) for name in values if name not in named]
        for name, cell in cells:
            value = values.get(name, _NOTHING)
            if cell != value:
                where = f"{DOCUMENT}: {table}: {name}"
                yield f"{where}: {cell} is documented, {value} was measured; mend {DOCUMENT} or the RTL"


def _cells(text: str, table: str) -> Iterator[tuple[str, str]]:
    """Names and figures of a Markdown table, or nothing without it: what stands in its columns for datapaths."""
    _, start, rest = text.partition(f"| {table} |")
    lines = takewhile(lambda line: line.startswith("|"), (start + rest).splitlines())
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    for row in rows[2:]:  # below the headings and their rule
        for heading, cell in zip(rows[0], row, strict=False):
            if heading.endswith(" bits") and cell:
                yield f"{row[0]}, {heading}", cell
