"""The threshold at which heat maps cover a given share of the photos, which needs no mask."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weakseg.errors import UserError
from weakseg.settings import Threshold

HISTOGRAM_BINS = 1000


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
        >>> float((cams[0] > tau).mean())
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
    maps = cams.astype(np.promote_types(cams.dtype, np.float32), copy=False)  # stored maps are float16, too coarse
    maximum = maps.max((1, 2), keepdims=True)
    maps, maximum = maps[maximum[:, 0, 0] > 0], maximum[maximum[:, 0, 0] > 0]
    if len(maps) == 0:
        return np.zeros(HISTOGRAM_BINS)
    ratio = (maps / maximum).max(0)
    bins = np.ceil(ratio[ratio > 0] * HISTOGRAM_BINS).astype(np.int64) - 1
    shares: NDArray[np.float64] = np.bincount(bins, minlength=HISTOGRAM_BINS) / ratio.size
    return shares
