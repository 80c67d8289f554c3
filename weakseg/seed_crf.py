"""A dense CRF on seeds: GS's "crf-seed" (supplement C, tables 4 and 5) and the last step of its backprop seeders (§4.2).

The papers leave open what the CRF is given. Here the unary probability of a label is its score (`seeds.label_scores`)
and that of the background is the threshold τ, so that without pairwise terms the CRF changes nothing: a label wins
where its score is the best and at least τ.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from weakseg import lattice
from weakseg.lattice import CRFParams
from weakseg.seeds import label_scores

LabelMap = npt.NDArray[np.uint8]
MIN_SCORE = 1e-5  # of a unary probability: as at test time (SPEC §5)


def refined_scores(
    image: npt.NDArray[np.uint8],
    cams: npt.NDArray[np.floating],
    labels: Sequence[int] | npt.NDArray[np.integer],
    background_score: float,
    crf: CRFParams,
) -> tuple[LabelMap, npt.NDArray[np.float32]]:
    """The best label and its score after the CRF, each (H, W): a score of ½ or more beats the background.

    image (H, W, 3) uint8, cams (L, h, w), labels (L,) class ids. With Q the CRF's probabilities, floored at ε = 1e-4,
    the score is ½ + log(Q_label / Q_background) / (2·log(1/ε)): monotone in the odds, spread evenly over 0..1, so that
    a threshold can be swept over it. Without labels everything is class 0 with score 0.
    """
    height, width = image.shape[:2]
    ids, scores = label_scores(cams, labels, height, width)
    if not ids.size:
        return np.zeros((height, width), np.uint8), np.zeros((height, width), np.float32)
    unary = np.concatenate([scores, np.full((1, height, width), background_score, np.float32)])
    log_q = lattice.soft(image, np.log(np.maximum(unary, MIN_SCORE)), crf)
    best = log_q[:-1].argmax(axis=0)
    log_odds = log_q[:-1].max(axis=0) - log_q[-1]
    return ids[best], (0.5 - log_odds / (2 * np.log(lattice.MIN_PROB))).clip(0, 1).astype(np.float32)


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
