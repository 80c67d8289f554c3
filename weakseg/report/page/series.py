"""What the page's script draws: curves, confusion matrices and IoUs as plain data ready for JSON."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

MOST_POINTS = 800  # of a curve on the page; of a longer one, the mean of each stretch but the first and last point


def curve_series(curves: Mapping[str, Mapping[str, npt.NDArray[np.float64]]]) -> dict[str, dict[str, list[Any]]]:
    """By run and column (`step` among them): values to 5 digits, None where there is none."""
    return {run: {name: _values(thinned(values)) for name, values in own.items()} for run, own in curves.items()}


def thinned(values: npt.NDArray[np.float64], most: int = MOST_POINTS) -> npt.NDArray[np.float64]:
    """At most `most` points: the first and the last as they are, means of equal stretches between."""
    if len(values) <= most:
        return values
    stretches = np.array_split(values[1:-1], most - 2)
    return np.array([values[0], *(_mean(stretch) for stretch in stretches), values[-1]])


def _mean(values: npt.NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")


def _values(values: npt.NDArray[np.float64]) -> list[float | None]:
    return [float(f"{value:.5g}") if np.isfinite(value) else None for value in values]


def iou_series(metrics: Mapping[str, Mapping[str, Any]], class_names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """By experiment: `raw` and `crf` IoU of each class in order, and `miou`, in per cent; None where there is none."""
    return {
        experiment: {
            "raw": [own.get("iou", {}).get(name) for name in class_names],
            "crf": [own.get("iou_crf", {}).get(name) for name in class_names],
            "miou": [own.get("miou"), own.get("miou_crf")],
        }
        for experiment, own in metrics.items()
    }


def confusion_series(confusions: Mapping[str, tuple[str, npt.NDArray[np.int64]]]) -> dict[str, dict[str, Any]]:
    """By experiment: the kind of prediction (`crf` or `raw`) and the counts, true classes in rows."""
    return {name: {"kind": kind, "counts": counts.tolist()} for name, (kind, counts) in confusions.items()}
