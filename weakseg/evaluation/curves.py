"""Precision over recall of seeders as CSV files (GS figure 3)."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from weakseg.errors import UserError
from weakseg.evaluation.precision_recall import PrecisionRecallCurve
from weakseg.files import read_table

CURVE_COLUMNS = (
    "threshold", "foreground_precision", "foreground_recall", "background_precision", "background_recall",
)  # fmt: skip


def curve_rows(curve: PrecisionRecallCurve) -> Iterator[Mapping[str, str]]:
    """Rows of `CURVE_COLUMNS`: τ, and percentages; undefined values are empty. The last point, all background, has
    no τ and is left out."""
    for point in zip(
        *(getattr(curve, column if column != "threshold" else "thresholds") for column in CURVE_COLUMNS), strict=True
    ):
        threshold, *values = point
        if np.isfinite(threshold):
            numbers = ("" if np.isnan(value) else f"{100 * value:.3f}" for value in values)
            yield dict(zip(CURVE_COLUMNS, (f"{threshold:.3f}", *numbers), strict=True))


def read_curve(path: Path) -> dict[str, npt.NDArray[np.float64]]:
    """The columns of a file of `curve_rows`, NaN where a value is empty. Raises UserError for a damaged one."""
    rows = read_table(path, list(CURVE_COLUMNS))
    try:
        return {name: np.array([float(row[name] or "nan") for row in rows]) for name in CURVE_COLUMNS}
    except ValueError as error:
        raise UserError(f"{path}: damaged curve ({error}); measure that seeder again") from None
