"""A dense CRF on label maps, and the confident labels that IRN trains its boundaries on (Ahn et al., CVPR 2019, §4.1)."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from weakseg.arrays import LabelMap, Photo
from weakseg.cams import seed_scores
from weakseg.crf import CRFParams, lattice_labels
from weakseg.files import IGNORE_INDEX

CERTAINTY = 0.7  # probability of a label before the CRF, as in IRN's released code


def smoothed_labels(image: Photo, labels: LabelMap, crf: CRFParams, certainty: float = CERTAINTY) -> LabelMap:
    """A label map after a dense CRF, (H, W) uint8: each pixel starts with probability `certainty` for its own class.

    Args:
        image: (H, W, 3) uint8.
        labels: (H, W) class ids. 255 is unknown: such pixels start with all of the map's classes equally likely, and end
            with one of them. A map without any known pixel is returned unchanged.
        crf: weights and widths at the photo's size.

    Example:
        >>> image = np.array([[[0, 0, 0]] * 3 + [[255, 255, 255]] * 3], np.uint8)  # a black and a white half
        >>> smoothed_labels(image, np.array([[0, 255, 255, 255, 255, 7]], np.uint8), CRFParams(4, 10, 5, 0, 1))
        array([[0, 0, 0, 7, 7, 7]], dtype=uint8)
    """
    classes = [int(label) for label in np.unique(labels) if label != IGNORE_INDEX]
    if len(classes) < 2:
        return np.full_like(labels, classes[0]) if classes else labels.copy()
    own = labels[None] == np.array(classes, np.uint8)[:, None, None]
    probs = np.where(own, certainty, (1 - certainty) / (len(classes) - 1)).astype(np.float32)
    probs[:, labels == IGNORE_INDEX] = 1 / len(classes)
    best = lattice_labels(image, np.log(probs), crf)
    return np.array(classes, np.uint8)[best]


def confident_labels(
    image: Photo, maps: npt.NDArray[np.floating], labels: Sequence[int] | npt.NDArray[np.integer], crf: CRFParams,
    *, foreground: float = 0.30, background: float = 0.05, certainty: float = CERTAINTY,
) -> LabelMap:  # fmt: skip
    """Labels that two passes of the CRF agree on, (H, W) uint8: 0 = background, 255 = undecided.

    In the first pass a pixel is background if no map reaches `foreground` of its own maximum there, in the second if none
    reaches `background`. A pixel takes the first pass's class unless that is background, and is background if it is so in
    both passes.

    Args:
        image: (H, W, 3) uint8.
        maps: (L, h, w) heat maps.
        labels: (L,) the maps' class ids.
        crf: weights and widths at the photo's size.

    Example:
        >>> image = np.array([[[0, 0, 0]] * 2 + [[128, 128, 128]] * 2 + [[255, 255, 255]] * 2], np.uint8)
        >>> maps = np.array([[[0.0, 0.0, 0.2, 0.2, 1.0, 1.0]]])
        >>> confident_labels(image, maps, [7], CRFParams(4, 10, 5, 0, 1))
        array([[  0,   0, 255, 255,   7,   7]], dtype=uint8)
    """
    best, scores = seed_scores(maps, labels, *image.shape[:2])
    sure, possible = (
        smoothed_labels(image, np.where(scores >= threshold, best, 0).astype(np.uint8), crf, certainty)
        for threshold in (foreground, background)
    )
    return np.where(sure > 0, sure, np.where(possible == 0, 0, IGNORE_INDEX)).astype(np.uint8)
