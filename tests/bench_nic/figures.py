"""What was measured, with the bound that it must keep, if there is one."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from rich.console import Console

from tests.commands.tables import Column, show


@dataclass(frozen=True, kw_only=True)
class Figure:
    """`value` in `unit`; `reference` is what it is measured against, in the same unit."""

    name: str
    value: float
    unit: str
    at_least: float | None = None
    at_most: float | None = None
    reference: float | None = None

    @property
    def holds(self) -> bool:
        least = self.value if self.at_least is None else self.at_least
        most = self.value if self.at_most is None else self.at_most
        return least <= self.value <= most

    @property
    def text(self) -> str:
        """The value as it is printed, and as it stands in the NIC's document."""
        return f"{self.value:,.4g}"

    @property
    def bound(self) -> str:
        """The bound as people write it; empty if there is none."""
        if self.at_least is not None:
            return f">= {self.at_least:g}"
        return "" if self.at_most is None else f"<= {self.at_most:g}"


def as_data(figures: Iterable[Figure]) -> list[dict[str, object]]:
    """For JSON, without what was not given."""
    return [{key: value for key, value in asdict(figure).items() if value is not None} for figure in figures]


def show_figures(console: Console, title: str, figures: Iterable[Figure]) -> None:
    """Prints a table."""
    words = ("figure", "unit")
    headings = ("figure", "value", "unit", "reference", "bound", "holds")
    rows = [
        (
            figure.name,
            figure.text,
            figure.unit,
            "" if figure.reference is None else f"{figure.reference:,.4g}",
            figure.bound,
            "" if not figure.bound else "yes" if figure.holds else "NO",
        )
        for figure in figures
    ]
    show(console, [Column(heading=heading, words=heading in words) for heading in headings], rows, title=title)
