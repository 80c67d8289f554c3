"""SEC's localization cues: a few trusted locations per class (SEC §4.1 and §6.1).

Label 0 is the background; `labels` are the ids 1..C-1 of an image's classes, in the order of its maps.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import median_filter

BoolArray = NDArray[np.bool_]


class Coverage(NamedTuple):
    """Fractions of the locations, summing to 1."""

    foreground: float
    background: float
    unlabelled: float


def foreground_cues(cams: NDArray[Any], threshold: float = 0.2) -> BoolArray:
    """map > threshold * max(map), each map by itself (SEC §6.1).

    Args:
        cams: (L, H, W) class heat maps. One whose maximum is 0 or less gives no cue.
        threshold: fraction of the map's maximum, in [0, 1].

    Returns:
        (L, H, W) bool.

    Example:
        >>> foreground_cues(np.array([[[0.0, 1.0, 5.0]]]))
        array([[[False, False,  True]]])
    """
    maps = _at_least_float32(cams)
    cues: BoolArray = maps > threshold * maps.max((1, 2), keepdims=True)
    return cues


def background_cues(saliency: NDArray[Any], fraction: float = 0.1, median_size: int = 3) -> BoolArray:
    """The least salient locations: strictly below the value at index int(fraction * H * W) of all, sorted.

    The rule of SEC's released code, after its median filter (borders reflected). Ties with that value are
    left out, so a constant map gives no cue. A fraction of 1 takes every location.

    Args:
        saliency: (H, W).
        fraction: of the locations, in [0, 1].
        median_size: side of the median filter's window, in locations; 1 filters nothing.

    Returns:
        (H, W) bool.

    Raises:
        ValueError: `fraction` outside [0, 1].

    Example:
        >>> background_cues(np.array([[1.0, 2.0], [3.0, 4.0]]), fraction=0.5, median_size=1)
        array([[ True,  True],
               [False, False]])
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction must lie in [0, 1], got {fraction}")
    smooth = median_filter(_at_least_float32(saliency), size=median_size)
    index = int(fraction * smooth.size)
    if index == smooth.size:
        return np.ones(smooth.shape, dtype=np.bool_)
    cues: BoolArray = smooth < np.partition(smooth.ravel(), index)[index]
    return cues


def resolve_conflicts(foreground: BoolArray, labels: ArrayLike, background: BoolArray, num_classes: int) -> BoolArray:
    """One class per location: of several classes the one of the smallest area; foreground beats background.

    A class's area is the number of its cues before conflicts are resolved. Of equal areas, the lower class id wins.
    Foreground beats background whatever its size (SEC's released cues).

    Args:
        foreground: (L, H, W), the cues of each of the image's classes; L may be 0.
        labels: (L,) distinct class ids in 1..num_classes-1.
        background: (H, W).
        num_classes: C, with background.

    Returns:
        (C, H, W) bool, at most one class per location.

    Raises:
        ValueError: labels that repeat, are out of range, or do not match the maps in number.

    Example:
        >>> foreground = np.array([[[True, True, False]], [[False, True, False]]])  # of classes 1 and 2
        >>> cues = resolve_conflicts(foreground, [1, 2], background=np.array([[True, True, True]]), num_classes=3)
        >>> cues.argmax(0)  # the smaller class 2 wins the middle; background has what is left
        array([[1, 2, 0]])
    """
    class_ids = _checked_labels(labels, len(foreground), num_classes)
    area = foreground.sum((1, 2))
    # By area, then by class id; a location goes to the first of this order that claims it.
    order = np.lexsort((class_ids, area))
    resolved = np.zeros((num_classes, *background.shape), dtype=np.bool_)
    free = np.ones(background.shape, dtype=np.bool_)
    for index in order:
        resolved[class_ids[index]] = foreground[index] & free
        free &= ~foreground[index]
    resolved[0] = background & free
    return resolved


def coverage(cues: BoolArray) -> Coverage:
    """The fractions of the locations with a foreground cue, with only a background cue, and with none.

    Args:
        cues: (C, H, W) bool, or (B, C, H, W) for the mean over images on the same grid.

    Example:
        >>> coverage(np.array([[[True, False, False, False]], [[False, True, True, False]]]))
        Coverage(foreground=0.5, background=0.25, unlabelled=0.25)
    """
    foreground = cues[..., 1:, :, :].any(-3)
    background = cues[..., 0, :, :] & ~foreground
    shares = float(foreground.mean()), float(background.mean())
    return Coverage(*shares, unlabelled=1 - sum(shares))


def _checked_labels(labels: ArrayLike, num_maps: int, num_classes: int) -> NDArray[np.int64]:
    class_ids = np.asarray(labels, dtype=np.int64).reshape(-1)
    in_range = bool(((class_ids >= 1) & (class_ids < num_classes)).all())
    if len(class_ids) != num_maps or len(np.unique(class_ids)) != num_maps or not in_range:
        raise ValueError(
            f"need {num_maps} distinct labels in 1..{num_classes - 1}, one per map, got {class_ids.tolist()}"
        )
    return class_ids


def _at_least_float32(values: NDArray[Any]) -> NDArray[Any]:
    """Stored maps are float16, too coarse to compare with a threshold times their maximum."""
    return values.astype(np.promote_types(values.dtype, np.float32), copy=False)
