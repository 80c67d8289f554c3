"""How well masks and tags agree with the ground truth: confusion counts, IoU, average precision.

A confusion matrix is (C, C) int64 pixel counts: rows are the target's classes, columns the prediction's, background
first. Counts of several images add up, so every measure here is one over all pixels of a data set (VOC's rule).
Functions return fractions 0..1; only `metrics_of`, which makes the JSON files, returns percentages.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from weakseg.errors import UserError
from weakseg.files import IGNORE_INDEX, ArrayArchive

Confusion = npt.NDArray[np.int64]


def confusion_matrix(
    target: npt.NDArray[np.integer[Any]], prediction: npt.NDArray[np.integer[Any]], num_classes: int
) -> Confusion:
    """(C, C) int64 pixel counts of two label maps; pixels whose target is 255 do not count.

    Fast for uint8: both labels of a pixel become one 16-bit number, counted in one pass.

    Args:
        target: class ids 0..C-1 or 255, any shape.
        prediction: class ids 0..C-1, of the target's shape.
        num_classes: C, with background.

    Returns:
        Rows are the target's classes, columns the prediction's.

    Raises:
        ValueError: maps of different shape, a target outside 0..C-1 and 255, or a prediction outside 0..C-1 where the
            target counts.

    Example:
        >>> confusion_matrix(np.array([0, 0, 1, 255]), np.array([0, 1, 1, 1]), num_classes=2)
        array([[1, 1],
               [0, 1]])
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
    """(C,) intersection over union; NaN for a class that is in neither target nor prediction.

    Example:
        >>> iou_per_class(np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0]]))
        array([0.5, 0.5, nan])
    """
    hits = np.diag(confusion)
    union = confusion.sum(0) + confusion.sum(1) - hits
    return _ratio(hits, union)


def _ratio(part: npt.NDArray[np.int64], whole: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)


def _mean_of_known(values: npt.NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def mean_iou(confusion: Confusion) -> float:
    """Mean of `iou_per_class` over the classes that occur; NaN if no pixel counts.

    Example:
        >>> mean_iou(np.array([[2, 0, 0], [1, 1, 0], [0, 0, 0]]))  # (2/3 + 1/2) / 2
        0.5833333333333333
    """
    return _mean_of_known(iou_per_class(confusion))


def image_iou(confusion: Confusion) -> float:
    """Mean IoU over the classes in the target of one image, background included; NaN if all is ignored.

    Example:
        >>> image_iou(np.array([[2, 2], [0, 0]]))  # the false alarm costs the background, and is no class of its own
        0.5
    """
    return _mean_of_known(iou_per_class(confusion)[confusion.sum(1) > 0])


def pixel_accuracy(confusion: Confusion) -> float:
    """Share of the counted pixels with the right class; NaN if there are none."""
    return float(_ratio(np.trace(confusion)[None], confusion.sum()[None])[0])


def foreground_fraction(confusion: Confusion) -> float:
    """Share of the counted pixels that are predicted to be foreground, of any class (SEC figure 6); NaN if there are none.

    Example:
        >>> foreground_fraction(np.array([[1, 1], [0, 2]]))
        0.75
    """
    return float(_ratio(confusion[:, 1:].sum()[None], confusion.sum()[None])[0])


def _percent_by_name(iou: npt.NDArray[np.float64], class_names: Sequence[str]) -> dict[str, float]:
    return {name: 100 * float(value) for name, value in zip(class_names, iou, strict=True)}


def metrics_of(confusion_raw: Confusion, confusion_crf: Confusion, class_names: Sequence[str]) -> dict[str, Any]:
    """`metrics/<experiment>.json`, in percent; a class in neither map is NaN (null in the file).

    `pixel_accuracy` and `foreground_fraction` are those of the prediction without CRF.

    Args:
        confusion_raw: (C, C) counts of the masks without CRF.
        confusion_crf: (C, C) counts of the masks with CRF.
        class_names: C names, background first.

    Raises:
        ValueError: a matrix that does not have a row per class name.

    Example:
        >>> raw, crf = np.array([[1, 1], [0, 2]]), np.array([[2, 0], [0, 2]])
        >>> metrics_of(raw, crf, ["background", "cat"])["iou_crf"]
        {'background': 100.0, 'cat': 100.0}
    """
    return {
        "miou": 100 * mean_iou(confusion_raw),
        "miou_crf": 100 * mean_iou(confusion_crf),
        "pixel_accuracy": 100 * pixel_accuracy(confusion_raw),
        "foreground_fraction": 100 * foreground_fraction(confusion_raw),
        "iou": _percent_by_name(iou_per_class(confusion_raw), class_names),
        "iou_crf": _percent_by_name(iou_per_class(confusion_crf), class_names),
    }


def confusion_arrays(image_id: str, confusions: Confusion) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """(…, C, C) pixel counts of one photo → `<id>/shape`, and `<id>/counts` (K, 2): flat places and counts above 0."""
    places = np.flatnonzero(confusions)
    yield f"{image_id}/shape", np.array(confusions.shape, np.uint16)
    yield f"{image_id}/counts", np.stack([places, confusions.ravel()[places]], 1).astype(np.uint32)


def read_confusions(archive: ArrayArchive, image_id: str, shape: tuple[int, ...]) -> Confusion:
    """The counts of one photo. Raises UserError where they are not of that shape, or damaged."""
    stored, counts = archive[f"{image_id}/shape"], archive[f"{image_id}/counts"]
    is_pairs = counts.dtype == np.uint32 and counts.ndim == 2 and counts.shape[1] == 2
    if stored.tolist() != list(shape) or not is_pairs or (counts[:, 0] >= np.prod(shape)).any():
        raise UserError(f"{archive.path}: counts of {image_id} are not of shape {shape}; run `dvc repro`")
    confusions = np.zeros(int(np.prod(shape)), np.int64)
    confusions[counts[:, 0]] = counts[:, 1]
    return confusions.reshape(shape)


def photo_parts(confusions: Confusion) -> npt.NDArray[np.int64]:
    """(…, C, C) counts → (…, 3, C): pixels that are of a class in both maps, in the target, and in the prediction."""
    hits = np.diagonal(confusions, axis1=-2, axis2=-1)
    return np.stack([hits, confusions.sum(-1), confusions.sum(-2)], -2)
