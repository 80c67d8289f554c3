"""How well saliency finds the ground truth's foreground, photo by photo (GS §5.1: "about 20 % … IoU > 0.6")."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from weakseg.files import IGNORE_INDEX, ImageArchive, Record, read_picture
from weakseg.supervision import salient

GOOD_IOU = 0.6


def foreground_iou(target: npt.NDArray[np.uint8], salient: npt.NDArray[np.bool_]) -> float:
    """Intersection over union of two foregrounds: target (H, W) class ids, 255 ignored; salient (H, W) bool.

    NaN if the target has no foreground. Raises ValueError for different sizes.
    """
    if target.shape != salient.shape:
        raise ValueError(f"target {target.shape} and saliency {salient.shape} differ in size")
    known, foreground = target != IGNORE_INDEX, (target != 0) & (target != IGNORE_INDEX)
    if not foreground.any():
        return float("nan")
    return float((foreground & salient).sum() / (foreground | (salient & known)).sum())


@dataclass(frozen=True)
class SaliencyIou:
    """The IoU of one photo's saliency, thresholded at a share of its maximum, with the ground truth's foreground."""

    truth: ImageArchive
    saliency: ImageArchive
    threshold: float

    def __call__(self, record: Record) -> float:
        salient_pixels = salient(self.threshold, self.saliency, record)
        return foreground_iou(read_picture(self.truth, record), salient_pixels)


def saliency_metrics(ious: Sequence[float]) -> dict[str, Any]:
    """Per cent over the photos that have foreground: mean IoU, and the share of photos above 0.6; null without any."""
    known = np.array([iou for iou in ious if not np.isnan(iou)])
    return {
        "foreground_iou": 100 * float(known.mean()) if known.size else None,
        "images_above_60_iou": 100 * float((known > GOOD_IOU).mean()) if known.size else None,
        "images": int(known.size),
    }
