"""Seeds: class heat maps turned into label maps (Oh et al., CVPR 2017, §4), without or with a dense CRF.

For the CRF ("crf-seed", GS supplement C, tables 4 and 5), the paper does not say what its input is. Here the unary
probability of a label is its score and that of the background is the threshold τ, so that without pairwise terms the
CRF changes nothing: a label wins where its score is the best and at least τ.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from weakseg.arrays import LabelMap
from weakseg.cams import refined_scores, seed_scores
from weakseg.crf import CRFParams
from weakseg.files import ArrayArchive, Record, read_cams
from weakseg.images import read_record


def seeds_from_cams(
    cams: npt.NDArray[np.floating],
    labels: Sequence[int] | npt.NDArray[np.integer],
    height: int,
    width: int,
    threshold: float,
) -> LabelMap:
    """GAP seeds of GS §4.2: background where every class is below `threshold` (the paper: 0.2).

    cams (L, h, w), labels (L,) class ids → (H, W) uint8, 0 = background.
    """
    classes, scores = seed_scores(cams, labels, height, width)
    return np.where(scores >= threshold, classes, 0).astype(np.uint8)


def refined_seeds(
    image: npt.NDArray[np.uint8],
    cams: npt.NDArray[np.floating],
    labels: Sequence[int] | npt.NDArray[np.integer],
    threshold: float,
    crf: CRFParams,
) -> LabelMap:
    """`seeds.seeds_from_cams` with the CRF: (H, W) uint8, 0 = background."""
    classes, scores = refined_scores(image, cams, labels, threshold, crf)
    return np.where(scores >= 0.5, classes, 0).astype(np.uint8)


@dataclass(frozen=True)
class PhotoSeeds:
    """Seeds of a photo from its heat maps; with `crf`, refined by it."""

    cams: ArrayArchive
    threshold: float
    crf: CRFParams | None

    def __call__(self, record: Record) -> LabelMap:
        ids, maps = read_cams(self.cams, record)
        if self.crf is None:
            return seeds_from_cams(maps, ids, record.height, record.width, self.threshold)
        return refined_seeds(read_record(record), maps, ids, self.threshold, self.crf)
