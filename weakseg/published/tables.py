"""Tables as plain text and as Markdown."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from weakseg.published.comparison import Compared

NOTHING = "–"


@dataclass(frozen=True)
class Table:
    """Rows of text under a heading; the first `names` columns are words, the others numbers."""

    title: str
    head: list[str]
    rows: list[list[str]]
    names: int


def table_of(compared: Sequence[Compared]) -> Table:
    """Our numbers, the paper's in brackets where it prints one, `–` where there is none."""
    kind = compared[0].row
    head = ["table", "row", "ours is", *kind.measures.values()]
    return Table(
        f"{kind.title}: ours (published)", head, [[*_names(each), *_cells(each)] for each in compared], names=3
    )


def number(value: float | None, sd: float | None = None) -> str:
    """`61.2`, of several trainings `61.2 ± 0.8`, of none `–`."""
    if value is None or not math.isfinite(value):
        return NOTHING
    return f"{value:.1f}" if sd is None or not math.isfinite(sd) else f"{value:.1f} ± {sd:.1f}"


def _names(compared: Compared) -> list[str]:
    row = compared.row
    if row.name is None:
        return [row.paper, row.label, NOTHING]
    return [row.paper, row.label, row.name if compared.ours is not None else f"{row.name} (not run)"]


def _cells(compared: Compared) -> Iterator[str]:
    for measure in compared.row.measures:
        ours = compared.ours or {}
        own = number(ours.get(measure), ours.get(f"{measure}_sd"))
        printed = compared.published.get(measure)
        yield own if printed is None else f"{own} ({printed:.1f})"


def text_table(table: Table) -> str:
    lines = [table.head, *table.rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)
    return "\n".join([table.title, *padded]) + "\n"


def markdown_table(table: Table) -> str:
    ruler = ["---"] * table.names + ["---:"] * (len(table.head) - table.names)
    lines = [
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in (table.head, ruler, *table.rows)
    ]
    title, _, rest = table.title.partition(":")
    return "\n".join([f"**{title}**" + (f":{rest}" if rest else ""), "", *lines]) + "\n"
