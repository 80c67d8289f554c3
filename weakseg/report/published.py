"""The papers' numbers beside ours: what `ablations/published.yaml` holds, and the tables made from it."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import yaml
from pydantic import Field, ValidationError

from weakseg.errors import UserError
from weakseg.files import read_text
from weakseg.settings import Name, Section

Percent = Annotated[float, Field(ge=0, le=100)]


Numbers = Mapping[str, float | None]


class PublishedRow(Section):
    """A row of a paper's table: `measures` are its numbers, in per cent, with their headings.

    `compared_with` is the key of the experiment, seeder or guide that stands beside it.
    """

    title: ClassVar[str]
    compared_with: ClassVar[str]
    measures: ClassVar[dict[str, str]]
    paper: str
    row: str

    @property
    def name(self) -> str:
        """Of the experiment, seeder or guide that the row is compared with."""
        return str(getattr(self, self.compared_with))

    @property
    def numbers(self) -> Numbers:
        return {measure: getattr(self, measure, None) for measure in self.measures}


class ExperimentRow(PublishedRow):
    title: ClassVar[str] = "Experiments"
    compared_with: ClassVar[str] = "experiment"
    measures: ClassVar[dict[str, str]] = {
        "miou": "mIoU %", "miou_crf": "with CRF", "percent_of_full": "% of full", "foreground": "foreground %",
        "foreground_crf": "with CRF",
    }  # fmt: skip
    experiment: Name
    miou: Percent | None
    miou_crf: Percent | None


class GuideRow(PublishedRow):
    title: ClassVar[str] = "Guides"
    compared_with: ClassVar[str] = "guide"
    measures: ClassVar[dict[str, str]] = {
        "foreground_precision": "foreground precision %", "foreground_recall": "recall %",
        "background_precision": "background precision %", "background_recall": "recall %",
    }  # fmt: skip
    guide: Name
    foreground_precision: Percent | None
    foreground_recall: Percent | None
    background_precision: Percent | None
    background_recall: Percent | None


class SeederRow(PublishedRow):
    title: ClassVar[str] = "Seeders"
    compared_with: ClassVar[str] = "seeder"
    measures: ClassVar[dict[str, str]] = {
        "mean_precision": "mP %", "foreground_precision_at_20_recall": "foreground precision at 20 % recall",
        "background_precision_at_80_recall": "background precision at 80 % recall", "map": "mAP %",
    }  # fmt: skip
    seeder: Name
    mean_precision: Percent | None
    map: Percent | None


class Published(Section):
    """The whole file."""

    experiments: list[ExperimentRow]
    guides: list[GuideRow]
    seeders: list[SeederRow]


@dataclass(frozen=True)
class Compared:
    """One row: what the paper prints and what we measured (None: not run yet), in per cent."""

    row: PublishedRow
    published: Numbers
    ours: Numbers | None


def read_published(path: Path) -> Published:
    """Raises UserError, naming every wrong entry."""
    try:
        content = yaml.safe_load(read_text(path))
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read as YAML: {error}") from None
    try:
        return Published.model_validate(content)
    except ValidationError as error:
        problems = [f"  {'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise UserError(f"{path}:\n" + "\n".join(problems)) from None


def compare(rows: Sequence[PublishedRow], ours: Callable[[str], Numbers | None], bound: str) -> list[Compared]:
    """Each row with our numbers of its name; mIoUs of both also as per cent of the experiment `bound`."""
    found = {row.name: ours(row.name) for row in rows}
    of_bound = [(row.numbers, found[row.name]) for row in rows if row.name == bound]
    published_bound, our_bound = of_bound[0] if of_bound else ({}, None)
    return [
        Compared(row, _with_percent(row.numbers, published_bound), _with_percent(found[row.name], our_bound))
        for row in rows
    ]  # fmt: skip


def _with_percent(numbers: Numbers | None, bound: Numbers | None) -> Any:
    """`percent_of_full`: the better of a row's two mIoUs over the better of the bound's two, where both are known."""
    if numbers is None or "miou" not in numbers:
        return numbers
    own, whole = _best(numbers), _best(bound or {})
    return {**numbers, "percent_of_full": 100 * own / whole if own is not None and whole else None}


def _best(numbers: Numbers) -> float | None:
    return max(
        (value for key in ("miou", "miou_crf") if (value := numbers.get(key)) is not None and math.isfinite(value)),
        default=None,
    )


def _cells(compared: Compared) -> list[str]:
    """Ours, and the paper's in brackets where it prints one."""
    cells = []
    for measure in compared.row.measures:
        own = "–" if compared.ours is None else _number(compared.ours.get(measure))
        printed = compared.published.get(measure)
        cells.append(own if printed is None else f"{own} ({printed:.1f})")
    return cells


def _number(value: float | None) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.1f}"


def _rows(table: Sequence[Compared]) -> Iterator[list[str]]:
    for compared in table:
        name = compared.row.name if compared.ours is not None else f"{compared.row.name} (not run)"
        yield [compared.row.paper, compared.row.row, name, *_cells(compared)]


def _head(table: Sequence[Compared]) -> list[str]:
    return ["table", "row", "ours is", *table[0].row.measures.values()]


def text_table(table: Sequence[Compared]) -> str:
    """Plain text: our numbers, the paper's in brackets, `–` where there is none."""
    rows = [_head(table), *_rows(table)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([f"{table[0].row.title}: ours (published)", *lines]) + "\n"


def markdown_table(table: Sequence[Compared]) -> str:
    """The same as markdown."""
    head = _head(table)
    ruler = ["---"] * 3 + ["---:"] * (len(head) - 3)
    lines = ["| " + " | ".join(row) + " |" for row in (head, ruler, *_rows(table))]
    return "\n".join([f"**{table[0].row.title}**: ours (published)", "", *lines]) + "\n"


def long_rows(table: Sequence[Compared]) -> Iterator[dict[str, Any]]:
    """One number a row, for the CSV."""
    for compared in table:
        for measure in compared.row.measures:
            yield {
                "paper": compared.row.paper, "row": compared.row.row, "name": compared.row.name, "measure": measure,
                "published": compared.published.get(measure), "ours": (compared.ours or {}).get(measure),
            }  # fmt: skip


def as_json(table: Sequence[Compared]) -> list[dict[str, Any]]:
    return [
        {
            "paper": compared.row.paper, "row": compared.row.row, "name": compared.row.name,
            "published": dict(compared.published), "ours": None if compared.ours is None else dict(compared.ours),
        }
        for compared in table
    ]  # fmt: skip
