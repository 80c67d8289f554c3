"""Each row of the papers' tables with our numbers, and both as per cent of the fully supervised network's."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from weakseg.published.rows import Numbers, PublishedRow

MIOU = ("miou", "miou_crf", "val")  # of any of these, the best counts


@dataclass(frozen=True)
class Compared:
    """One row: what the paper prints and what we measured (None: not run yet), in per cent."""

    row: PublishedRow
    published: Numbers
    ours: Numbers | None


def compare(rows: Sequence[PublishedRow], ours: Callable[[str], Numbers | None], bound: str) -> list[Compared]:
    """Each row with our numbers of its name; mIoUs of both also as per cent of the experiment `bound`."""
    found = {name: ours(name) for row in rows if (name := row.name) is not None}
    of_bound = [(row.numbers, found[bound]) for row in rows if row.name == bound]
    published_bound, our_bound = of_bound[0] if of_bound else ({}, None)
    return [
        Compared(
            row, _with_percent(row.numbers, published_bound),
            _with_percent(found[row.name], our_bound) if row.name is not None else None,
        )
        for row in rows
    ]  # fmt: skip


def _with_percent(numbers: Numbers | None, bound: Numbers | None) -> Any:
    """`percent_of_full`: the better of a row's two mIoUs over the better of the bound's two, where both are known.

    `test_percent_of_full` likewise, but for what the paper prints itself.
    """
    if numbers is None or not {*MIOU} & numbers.keys():
        return numbers
    bound = bound or {}
    best, of_bound = _best(numbers), _best(bound)
    percent = _ratio(numbers.get(best), bound.get(of_bound))
    added = {"percent_of_full": percent}
    spread = math.hypot(_relative_sd(numbers, best), _relative_sd(bound, of_bound)) if numbers != bound else 0.0
    if percent is not None and spread:
        added["percent_of_full_sd"] = percent * spread
    if numbers.get("test") is not None and numbers.get("test_percent_of_full") is None:
        added["test_percent_of_full"] = _ratio(numbers.get("test"), bound.get("test"))
    return {**numbers, **added}


def _ratio(own: float | None, whole: float | None) -> float | None:
    return 100 * own / whole if own is not None and whole else None


def _best(numbers: Numbers) -> str:
    """Which of the two mIoUs is the better; "" where neither is known."""
    known = {key: value for key in MIOU if (value := numbers.get(key)) is not None and math.isfinite(value)}
    return max(known, key=lambda key: known[key], default="")


def _relative_sd(numbers: Numbers, key: str) -> float:
    """0 for a number of one training."""
    value, sd = numbers.get(key), numbers.get(f"{key}_sd")
    return sd / value if value and sd is not None and math.isfinite(sd) else 0.0


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
