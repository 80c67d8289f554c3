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

    image (H, W, 3) uint8; labels (H, W) class ids, 255 = unknown, which start with all of the map's classes alike and end
    with one of them. A map without any known pixel comes back as it is.
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
    """Labels that two passes of the CRF agree on, (H, W) uint8: 0 = background, 255 = neither.

    The first pass calls background what no map (L, h, w) of the photo's classes `labels` reaches `foreground` of its own
    maximum on, the second what none reaches `background` on. A pixel takes the first pass's class where that is no
    background, and is background where both say so.
    """
    best, scores = seed_scores(maps, labels, *image.shape[:2])
    sure, possible = (
        smoothed_labels(image, np.where(scores >= threshold, best, 0).astype(np.uint8), crf, certainty)
        for threshold in (foreground, background)
    )
    return np.where(sure > 0, sure, np.where(possible == 0, 0, IGNORE_INDEX)).astype(np.uint8)
