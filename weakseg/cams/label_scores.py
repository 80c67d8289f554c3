"""Heat maps as scores of a photo's labels at every pixel, without or with a dense CRF (GS §4.2).

A heat map is taken to cover the image exactly from corner pixel to corner pixel ("aligned corners"): crop the padding
off first.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from weakseg.arrays import LabelMap, Maps
from weakseg.crf import MIN_PROB, CRFParams, soft
from weakseg.images import upsample_aligned

MIN_SCORE = 1e-5  # of a unary probability: as at test time


def scores_of_labels(
    cams: npt.NDArray[np.floating], labels: Sequence[int] | npt.NDArray[np.integer], height: int, width: int
) -> tuple[LabelMap, Maps]:
    """Every label's score at every pixel: cams (L, h, w), labels (L,) class ids → (L,) uint8 and (L, H, W) float32.

    Each upsampled map is divided by its own maximum. A map without a positive value counts as 0, and so does NaN.
    Raises ValueError if cams and labels do not pair up.
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
) -> tuple[LabelMap, Maps]:
    """The best label and its score at every pixel, before any threshold: (H, W) uint8 and (H, W) float32.

    Maps as of `scores_of_labels`; ties go to the first label. Without labels everything is class 0 with score 0.
    """
    ids, scores = scores_of_labels(cams, labels, height, width)
    if not ids.size:
        return np.zeros((height, width), np.uint8), np.zeros((height, width), np.float32)
    return ids[scores.argmax(axis=0)], scores.max(axis=0)


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
    ids, scores = scores_of_labels(cams, labels, height, width)
    if not ids.size:
        return np.zeros((height, width), np.uint8), np.zeros((height, width), np.float32)
    unary = np.concatenate([scores, np.full((1, height, width), background_score, np.float32)])
    log_q = soft(image, np.log(np.maximum(unary, MIN_SCORE)), crf)
    best = log_q[:-1].argmax(axis=0)
    log_odds = log_q[:-1].max(axis=0) - log_q[-1]
    return ids[best], (0.5 - log_odds / (2 * np.log(MIN_PROB))).clip(0, 1).astype(np.float32)
