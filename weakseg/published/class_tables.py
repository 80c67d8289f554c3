"""A paper's IoU by class, method beside method, with ours at the end."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from weakseg.files import BACKGROUND, VOC_CLASSES
from weakseg.published.rows import ClassColumn
from weakseg.published.tables import Table, number

MEAN = "mean"


@dataclass(frozen=True)
class ClassNumbers:
    """IoU of each class by its name, and their mean, in per cent; None: unknown."""

    classes: Mapping[str, float | None]
    mean: float | None

    def of(self, name: str) -> float | None:
        return self.mean if name == MEAN else self.classes.get(name)


def class_table(columns: Sequence[ClassColumn], ours: Callable[[str], ClassNumbers | None]) -> Table:
    """A row for each of VOC's classes and the mean; a column for each method and each of ours that goes with one.

    All columns are of one paper's table and split.
    """
    names = list(dict.fromkeys(column.experiment for column in columns if column.experiment is not None))
    found = [(name, ours(name)) for name in names]
    head = ["class", *(column.method for column in columns)]
    head += [f"ours: {name}" if numbers is not None else f"ours: {name} (not run)" for name, numbers in found]
    printed = [ClassNumbers(column.classes, column.mean) for column in columns]
    rows = [
        [name, *(number(numbers.of(name)) if numbers is not None else number(None)
                 for numbers in [*printed, *(numbers for _, numbers in found)])]
        for name in (BACKGROUND, *VOC_CLASSES, MEAN)
    ]  # fmt: skip
    return Table(f"IoU by class, {columns[0].split}: {columns[0].paper}", head, rows, names=1)
