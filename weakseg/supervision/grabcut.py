"""Saliency training masks: GrabCut on a photo's average box (GS section 6.1)."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from weakseg.arrays import LabelMap, Mask
from weakseg.files import SaliencyRecord
from weakseg.images import read_record
from weakseg.settings import MakeGrabcutMasks

MIN_KEPT_FRACTION = 0.1  # of the box; less than that counts as a failure


FRAME_FRACTION = 0.05  # of the shorter side


MAX_SIDE_PX = 500  # MSRA's photos are smaller; GrabCut's time grows faster than the number of pixels


NO_RECTANGLE = (0, 0, 0, 0)  # the box is in the mask


def grabcut_mask(
    image: npt.NDArray[np.uint8],
    box_xyxy: npt.NDArray[np.number],
    *,
    iterations: int = 5,
    random_seed: int,
    min_kept_fraction: float = MIN_KEPT_FRACTION,
    max_side_px: int = MAX_SIDE_PX,
) -> Mask:
    """The salient object in a box by GrabCut (Rother et al., 2004): (H, W, 3) uint8 RGB, (4,) → (H, W) bool.

    Everything outside the box (left, top, right, bottom; rounded and clipped to at least one pixel of the image) is
    certain background. If the box leaves no such pixel, a frame of 5 % of the shorter side starts as probable
    background. The filled box is returned if GrabCut fails or keeps less than `min_kept_fraction` of it. Larger images
    are processed at `max_side_px`. The same arguments give the same mask, whatever ran before.
    """
    height, width = image.shape[:2]
    scale = min(1.0, max_side_px / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = image if scale == 1 else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    scaled = np.asarray(box_xyxy, np.float64) * np.tile(np.array(size) / (width, height), 2)
    inside = _inside_box(scaled, small.shape[0], small.shape[1])
    mask = _cut(np.ascontiguousarray(small), inside, iterations, random_seed)
    if mask is None or mask[inside].mean() < min_kept_fraction:
        return _inside_box(np.asarray(box_xyxy, np.float64), height, width)
    if scale < 1:
        mask = cv2.resize(mask.view(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST).astype(bool)
    return mask


def _inside_box(box_xyxy: npt.NDArray[np.float64], height: int, width: int) -> Mask:
    left, top = np.clip(np.rint(box_xyxy[:2]).astype(int), 0, (width - 1, height - 1))
    right, bottom = np.clip(np.rint(box_xyxy[2:]).astype(int), (left + 1, top + 1), (width, height))
    inside = np.zeros((height, width), bool)
    inside[top:bottom, left:right] = True
    return inside


def _cut(image: npt.NDArray[np.uint8], inside: Mask, iterations: int, random_seed: int) -> Mask | None:
    """GrabCut's foreground, or None if it cannot run (too few pixels for its colour models)."""
    labels = np.where(inside, cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
    if inside.all():
        frame = max(1, round(FRAME_FRACTION * min(labels.shape)))
        middle = labels[frame:-frame, frame:-frame].copy()
        labels[:] = cv2.GC_PR_BGD
        labels[frame:-frame, frame:-frame] = middle
    background, foreground = (np.zeros((1, 65)) for _ in range(2))  # OpenCV's: 5 Gaussians of 13 numbers
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    cv2.setRNGSeed(random_seed)
    try:
        cv2.grabCut(image, labels, NO_RECTANGLE, background, foreground, iterations, cv2.GC_INIT_WITH_MASK)
    except cv2.error:
        return None
    finally:
        cv2.setNumThreads(threads)
    return np.asarray((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD), np.bool_)


@dataclass(frozen=True)
class GrabcutMask:
    """The mask of one photo of the saliency set: 1 where it is salient."""

    settings: MakeGrabcutMasks

    def __call__(self, record: SaliencyRecord) -> LabelMap:
        box = np.array([record.left, record.top, record.right, record.bottom])
        chosen = self.settings
        mask = grabcut_mask(
            read_record(record), box,
            iterations=chosen.iterations, random_seed=chosen.random_seed, max_side_px=chosen.max_side_px,
        )  # fmt: skip
        return mask.astype(np.uint8)
