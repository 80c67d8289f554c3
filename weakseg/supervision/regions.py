"""Connected components of saliency and of seeds, and which of them touch (GS supplement E)."""

import cv2
import numpy as np
import numpy.typing as npt

from weakseg.arrays import LabelMap, Mask
from weakseg.files import IGNORE_INDEX


def components(mask: Mask, least_px: float) -> tuple[npt.NDArray[np.int32], int]:
    """8-connected components of at least that area, numbered 1..count; the rest is 0."""
    if mask.size == 0:
        return np.zeros(mask.shape, np.int32), 0
    pixels = np.ascontiguousarray(mask, np.bool_).view(np.uint8)
    _, numbers, stats, _ = cv2.connectedComponentsWithStats(pixels, connectivity=8, ltype=cv2.CV_32S)
    kept = stats[:, cv2.CC_STAT_AREA] >= least_px
    kept[0] = False
    renumbered = (np.cumsum(kept) * kept).astype(np.int32)
    return renumbered[numbers], int(kept.sum())


def seed_components(seeds: LabelMap, least_px: float) -> tuple[npt.NDArray[np.int32], LabelMap]:
    """Components per class: their numbers (H, W), and the class of each number, with 0 for none."""
    numbers = np.zeros(seeds.shape, np.int32)
    classes = [0]
    present = np.flatnonzero(np.bincount(seeds.ravel(), minlength=256)[1:IGNORE_INDEX]) + 1
    for label in present:
        own, count = components(seeds == label, least_px)
        numbers += np.where(own > 0, own + (len(classes) - 1), 0).astype(np.int32)
        classes += [int(label)] * count
    return numbers, np.array(classes, np.uint8)


def touches(seed_ids: npt.NDArray[np.int32], num_seeds: int, regions: npt.NDArray[np.int32], count: int) -> Mask:
    """Which seed component (row; 0, none, is False) shares a pixel with which region (column 0: region 1)."""
    pairs = np.bincount((seed_ids * (count + 1) + regions).ravel(), minlength=num_seeds * (count + 1))
    shared = pairs.reshape(num_seeds, count + 1)[:, 1:] > 0
    shared[0] = False
    return shared


def min_area_px(mask: npt.NDArray[np.generic], fraction: float) -> float:
    # Slightly less, so rounding does not drop a component of exactly that share.
    return float(mask.shape[0] * mask.shape[1] * fraction - 1e-6)
