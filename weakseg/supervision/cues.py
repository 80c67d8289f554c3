"""SEC's localization cues: a few trusted locations per class (SEC §4.1 and §6.1).

Label 0 is the background; `labels` are the ids 1..C-1 of an image's classes, in the order of its maps.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import median_filter

from weakseg.errors import UserError

if TYPE_CHECKING:
    from weakseg.settings import Threshold

BoolArray = NDArray[np.bool_]


HISTOGRAM_BINS = 1000


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


def chosen_threshold(settings: Threshold, cams: Iterable[NDArray[Any]], what: str) -> float:
    """The settings' threshold, or the one at which `what` reaches the wanted coverage, which is then printed."""
    if settings.coverage is None:
        assert settings.threshold is not None
        return settings.threshold
    threshold = threshold_for_coverage(cams, settings.coverage)
    print(f"{what} cover {settings.coverage:.0%} of the locations at threshold {threshold:.3f}")
    return threshold


def threshold_for_coverage(cams: Iterable[NDArray[Any]], coverage: float) -> float:
    """The threshold tau at which a share `coverage` of the locations carries a foreground cue.

    The share is averaged over images, and tau is the same for all of them. A location carries a cue where
    map > tau * max(map) for any of its image's classes (`foreground_cues`). No ground truth is needed. A single pass
    fills one histogram of max over classes of map / max(map), with bins of 0.001 and linear interpolation, so memory
    does not grow with the number of images.

    Args:
        cams: for each image (L, H, W), the heat maps of its classes; grids may differ. An image without classes
            counts with a share of 0.
        coverage: wanted share of the locations, in (0, 1).

    Returns:
        tau in [0, 1]; 0, the closest possible, if positive map values cover less than `coverage`.

    Raises:
        UserError: `coverage` outside (0, 1), or no image at all.

    Example:
        >>> cams = [np.array([[[0.2, 0.4, 0.6, 1.0]]])]
        >>> tau = threshold_for_coverage(cams, 0.5)
        >>> float(foreground_cues(cams[0], tau).mean())
        0.5
    """
    if not 0 < coverage < 1:
        raise UserError(f"cue coverage must lie between 0 and 1, got {coverage}")
    share_per_bin, num_images = np.zeros(HISTOGRAM_BINS), 0
    for image_cams in cams:
        share_per_bin += _ratio_histogram(image_cams)
        num_images += 1
    if num_images == 0:
        raise UserError("no class heat maps to take a cue threshold from: give at least one image")
    # Share of locations above each bin edge 0, 0.001, ..., 1: it falls from edge to edge, down to 0.
    above = np.append(share_per_bin[::-1].cumsum()[::-1], 0.0) / num_images
    edges = np.linspace(0, 1, HISTOGRAM_BINS + 1)
    return float(np.interp(coverage, above[::-1], edges[::-1]))


def _ratio_histogram(cams: NDArray[Any]) -> NDArray[np.float64]:
    """(L, H, W) -> share of the locations per bin of max over L of map / max(map).

    Bin k is (k, k + 1] / HISTOGRAM_BINS: open below, as a cue is strictly above the threshold.
    """
    maps = _at_least_float32(cams)
    maximum = maps.max((1, 2), keepdims=True)
    maps, maximum = maps[maximum[:, 0, 0] > 0], maximum[maximum[:, 0, 0] > 0]
    if len(maps) == 0:
        return np.zeros(HISTOGRAM_BINS)
    ratio = (maps / maximum).max(0)
    bins = np.ceil(ratio[ratio > 0] * HISTOGRAM_BINS).astype(np.int64) - 1
    shares: NDArray[np.float64] = np.bincount(bins, minlength=HISTOGRAM_BINS) / ratio.size
    return shares


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
