"""Seeds: class heat maps turned into label maps (Oh et al., CVPR 2017, §4; SPEC §6).

A heat map is taken to cover the image exactly from corner pixel to corner pixel ("aligned corners"): crop the
padding off first. Its order-1 upsampling is two small matrix products, exact in float32.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

LabelMap = npt.NDArray[np.uint8]
Scores = npt.NDArray[np.float32]


def upsample_aligned(maps: npt.NDArray[np.floating], height: int, width: int) -> Scores:
    """Order-1 interpolation with aligned corners: (L, h, w) → (L, height, width) float32."""
    rows = _interpolation(maps.shape[1], height)
    columns = _interpolation(maps.shape[2], width)
    return np.asarray(rows @ maps.astype(np.float32) @ columns.T, np.float32)


def label_scores(
    cams: npt.NDArray[np.floating], labels: Sequence[int] | npt.NDArray[np.integer], height: int, width: int
) -> tuple[LabelMap, Scores]:
    """Every label's score at every pixel: cams (L, h, w), labels (L,) class ids → (L,) uint8 and (L, H, W) float32.

    Each upsampled map is divided by its own maximum. A map without a positive value, or NaN in it, counts as 0 there.
    Raises ValueError where cams and labels do not pair up.
    """
    ids = np.asarray(labels, np.int64).reshape(-1)
    if cams.ndim != 3 or len(cams) != len(ids):
        raise ValueError(f"{len(ids)} labels do not pair up with heat maps of shape {cams.shape}")
    if not ids.size:
        return np.zeros(0, np.uint8), np.zeros((0, height, width), np.float32)
    if not 1 <= ids.min() <= ids.max() < 255:
        raise ValueError(f"labels are class ids 1..254, not {ids.tolist()}")
    maps = upsample_aligned(np.nan_to_num(cams.astype(np.float32)), height, width)
    peaks = maps.max(axis=(1, 2), keepdims=True)
    scores = np.where(peaks > 0, maps / np.where(peaks > 0, peaks, 1), 0).astype(np.float32)
    return ids.astype(np.uint8), scores


def seed_scores(
    cams: npt.NDArray[np.floating], labels: Sequence[int] | npt.NDArray[np.integer], height: int, width: int
) -> tuple[LabelMap, Scores]:
    """The best label and its score at every pixel, before any threshold: (H, W) uint8 and (H, W) float32.

    Scores as of `label_scores`; ties go to the label named first. Without labels everything is class 0 with score 0.
    """
    ids, scores = label_scores(cams, labels, height, width)
    if not ids.size:
        return np.zeros((height, width), np.uint8), np.zeros((height, width), np.float32)
    return ids[scores.argmax(axis=0)], scores.max(axis=0)


def seeds_from_cams(
    cams: npt.NDArray[np.floating],
    labels: Sequence[int] | npt.NDArray[np.integer],
    height: int,
    width: int,
    threshold: float,
) -> LabelMap:
    """GAP seeds of SPEC §6: background where every class is below `threshold` (the paper: 0.2).

    cams (L, h, w), labels (L,) class ids → (H, W) uint8, 0 = background.
    """
    classes, scores = seed_scores(cams, labels, height, width)
    return np.where(scores >= threshold, classes, 0).astype(np.uint8)


def _interpolation(source: int, target: int) -> Scores:
    """(target, source) weights of linear interpolation with the first and the last samples aligned."""
    at = np.linspace(0, source - 1, target)
    left = np.minimum(at.astype(np.int64), max(source - 2, 0))
    right = np.minimum(left + 1, source - 1)
    weights = np.zeros((target, source))
    row = np.arange(target)
    weights[row, left] += 1 - (at - left)
    weights[row, right] += at - left
    return weights.astype(np.float32)
