"""How well masks and tags agree with the ground truth: confusion counts, IoU, average precision.

A confusion matrix is (C, C) int64 pixel counts: rows are the target's classes, columns the prediction's, background
first. Counts of several images add up, so every measure here is one over all pixels of a data set (VOC's rule).
Functions return fractions 0..1; only `metrics_of` and `summary_of`, which make the JSON files, speak in per cent.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from weakseg.files import IGNORE_INDEX

Confusion = npt.NDArray[np.int64]


def confusion_matrix(
    target: npt.NDArray[np.integer[Any]], prediction: npt.NDArray[np.integer[Any]], num_classes: int
) -> Confusion:
    """(C, C) pixel counts of two label maps of one shape; where the target is 255 nothing counts.

    Fast for uint8: both labels of a pixel become one 16-bit number, counted in one pass. Raises ValueError for
    maps of different shape, a target outside 0..C-1 and 255, a prediction outside 0..C-1 where the target counts.
    """
    if target.shape != prediction.shape:
        raise ValueError(f"target {target.shape} and prediction {prediction.shape} differ in shape")
    if not 1 <= num_classes <= IGNORE_INDEX:
        raise ValueError(f"num_classes is {num_classes}, expected 1..{IGNORE_INDEX}")
    pairs = _target_bytes(target).astype(np.uint16)
    pairs <<= 8
    pairs |= _prediction_bytes(prediction)
    counts = np.bincount(pairs.ravel(), minlength=1 << 16).reshape(256, 256)[:IGNORE_INDEX]
    if counts[num_classes:].any():
        raise ValueError(f"target holds a class outside 0..{num_classes - 1} that is not {IGNORE_INDEX}")
    if counts[:, num_classes:].any():
        raise ValueError(f"prediction holds a class outside 0..{num_classes - 1} where the target is not ignored")
    return counts[:num_classes, :num_classes].astype(np.int64)


def _target_bytes(target: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.uint8]:
    if target.dtype == np.uint8:
        return target.view(np.uint8)
    if not np.issubdtype(target.dtype, np.integer):
        raise ValueError(f"target has dtype {target.dtype}, expected integers")
    if target.size and (target.min() < 0 or target.max() > IGNORE_INDEX):
        raise ValueError(f"target holds a class outside 0..{IGNORE_INDEX}")
    return target.astype(np.uint8)


def _prediction_bytes(prediction: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.uint8]:
    """Wider integers outside a byte become 255, which is no class: legal only where the target is ignored."""
    if prediction.dtype == np.uint8:
        return prediction.view(np.uint8)
    if not np.issubdtype(prediction.dtype, np.integer):
        raise ValueError(f"prediction has dtype {prediction.dtype}, expected integers")
    is_byte = (prediction >= 0) & (prediction <= IGNORE_INDEX)
    return np.where(is_byte, prediction, IGNORE_INDEX).astype(np.uint8)


def iou_per_class(confusion: Confusion) -> npt.NDArray[np.float64]:
    """(C,) intersection over union; NaN for a class that is in neither target nor prediction."""
    hits = np.diag(confusion)
    union = confusion.sum(0) + confusion.sum(1) - hits
    return _ratio(hits, union)


def _ratio(part: npt.NDArray[np.int64], whole: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)


def _mean_of_known(values: npt.NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def mean_iou(confusion: Confusion) -> float:
    """Mean of `iou_per_class` over the classes that occur; NaN without any counted pixel."""
    return _mean_of_known(iou_per_class(confusion))


def image_iou(confusion: Confusion) -> float:
    """Mean IoU over the classes the target of one image holds (background too); NaN if all is ignored."""
    return _mean_of_known(iou_per_class(confusion)[confusion.sum(1) > 0])


def pixel_accuracy(confusion: Confusion) -> float:
    """Share of the counted pixels with the right class; NaN without any."""
    return float(_ratio(np.trace(confusion)[None], confusion.sum()[None])[0])


def foreground_fraction(confusion: Confusion) -> float:
    """Share of the counted pixels that the prediction calls any foreground class (SEC figure 6); NaN without any."""
    return float(_ratio(confusion[:, 1:].sum()[None], confusion.sum()[None])[0])


def _percent_by_name(iou: npt.NDArray[np.float64], class_names: Sequence[str]) -> dict[str, float]:
    return {name: 100 * float(value) for name, value in zip(class_names, iou, strict=True)}


def metrics_of(confusion_raw: Confusion, confusion_crf: Confusion, class_names: Sequence[str]) -> dict[str, Any]:
    """`metrics/<experiment>.json`, in per cent; a class in neither map is NaN (null once written).

    `pixel_accuracy` and `foreground_fraction` are those of the prediction without CRF.
    Raises ValueError unless both matrices have a row per class name.
    """
    return {
        "miou": 100 * mean_iou(confusion_raw),
        "miou_crf": 100 * mean_iou(confusion_crf),
        "pixel_accuracy": 100 * pixel_accuracy(confusion_raw),
        "foreground_fraction": 100 * foreground_fraction(confusion_raw),
        "iou": _percent_by_name(iou_per_class(confusion_raw), class_names),
        "iou_crf": _percent_by_name(iou_per_class(confusion_crf), class_names),
    }


def _best_miou(metrics: Mapping[str, Any]) -> float | None:
    values = [metrics.get(key) for key in ("miou", "miou_crf")]
    known = [float(value) for value in values if value is not None and np.isfinite(value)]
    return max(known, default=None)


def summary_of(metrics: Mapping[str, Mapping[str, Any]], bound: str = "full") -> dict[str, dict[str, float | None]]:
    """`metrics/summary.json` from the metrics of all experiments, in their order.

    `percent_of_full` is the better of an experiment's two mIoUs over the better of the bound's two;
    None without the bound, or where it is 0.
    """
    best_bound = _best_miou(metrics.get(bound, {}))
    summary: dict[str, dict[str, float | None]] = {}
    for experiment, values in metrics.items():
        best = _best_miou(values)
        percent = 100 * best / best_bound if best is not None and best_bound else None
        summary[experiment] = {
            "miou": values.get("miou"),
            "miou_crf": values.get("miou_crf"),
            "percent_of_full": percent,
        }
    return summary
