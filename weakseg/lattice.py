"""Dense CRF of one image on the permutohedral lattice (pydensecrf).

The model is SPEC §10 (Krähenbühl & Koltun, NIPS 2011): Q ← softmax(scores + w_b K'_b Q + w_g K'_g Q), with K'
symmetrically normalized. This module imports numpy and pydensecrf only, never torch, so that worker processes
start fast and stay small. The lattice depends on the order of the colour channels: SEC's released layers ran
BGR in training and RGB at test time; pass the image in the order you mean.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from pydensecrf import densecrf

Image = npt.NDArray[np.uint8]
Maps = npt.NDArray[np.float32]

MIN_PROB = 1e-4  # the released CRF layer floors its result there and renormalizes (SPEC §4)
KEEP_FLOOR = 0.3  # `refine` pools the classes that nowhere reach this probability; see its docstring


@dataclass(frozen=True)
class CRFParams:
    """Weights (log-odds) and widths of the two Potts kernels: σ_xy in pixels, σ_rgb in 8-bit intensities."""

    bilateral_weight: float
    bilateral_sigma_xy: float
    bilateral_sigma_rgb: float
    gaussian_weight: float
    gaussian_sigma_xy: float
    steps: int = 10

    def __post_init__(self) -> None:
        widths = (self.bilateral_sigma_xy, self.bilateral_sigma_rgb, self.gaussian_sigma_xy)
        if min(widths) <= 0 or self.steps < 0:
            raise ValueError(f"CRF widths must be positive and steps at least 0: {self}")

    def scaled(self, factor: float) -> "CRFParams":
        """For a grid `factor` times coarser (image side / grid side): both σ_xy shrink by it."""
        return replace(
            self,
            bilateral_sigma_xy=self.bilateral_sigma_xy / factor,
            gaussian_sigma_xy=self.gaussian_sigma_xy / factor,
        )


SEC = CRFParams(10, 80, 13, 3, 3)  # SPEC §4 and §5; "v1" in GS tables 4 and 5
DEEPLAB = CRFParams(4, 121, 5, 3, 3)  # "v2"


def _infer(image: Image, energy: Maps, params: CRFParams, class_weights: Maps | None = None) -> Maps:
    """Probabilities (C, H·W), a view of the CRF's own memory. `energy` (C, H·W): minus the scores.

    `class_weights` (C,) scales both Potts weights of each class.
    """
    # pydensecrf takes a scalar as a Potts weight, but a vector as the energy of agreement: the other sign.
    potts: float | Maps = 1.0 if class_weights is None else -class_weights
    height, width = image.shape[:2]
    crf = densecrf.DenseCRF2D(width, height, len(energy))
    crf.setUnaryEnergy(energy)
    kernel = {"kernel": densecrf.DIAG_KERNEL, "normalization": densecrf.NORMALIZE_SYMMETRIC}
    crf.addPairwiseGaussian(sxy=params.gaussian_sigma_xy, compat=params.gaussian_weight * potts, **kernel)
    crf.addPairwiseBilateral(
        sxy=params.bilateral_sigma_xy,
        srgb=params.bilateral_sigma_rgb,
        rgbim=np.require(image, np.uint8, ["C", "W"]),
        compat=params.bilateral_weight * potts,
        **kernel,
    )
    return np.asarray(crf.inference(params.steps))


def _energy(scores: npt.NDArray[Any]) -> Maps:
    """Minus the scores, as one fresh contiguous float32 (C, H·W)."""
    energy = np.empty((len(scores), math.prod(scores.shape[1:])), np.float32)
    np.negative(scores.reshape(energy.shape), out=energy, casting="same_kind")
    return energy


def _check(image: Image, scores: npt.NDArray[Any]) -> None:
    if image.dtype != np.uint8 or image.shape != (*scores.shape[1:], 3):
        raise ValueError(f"image must be uint8 {(*scores.shape[1:], 3)}, is {image.dtype} {image.shape}")


def soft(image: Image, scores: npt.NDArray[Any], params: CRFParams, min_prob: float = MIN_PROB) -> Maps:
    """Log-probabilities (C, H, W) float32 of one image.

    image (H, W, 3) uint8; scores (C, H, W), logits or log-probabilities. As in SEC's released layer (golden
    `crf_log_probs`) the result is floored, max(Q, min_prob), and renormalized; 0 floors only what underflows.
    """
    _check(image, scores)
    if len(scores) == 1:
        return np.zeros(scores.shape, np.float32)
    floor = np.float32(max(min_prob, float(np.finfo(np.float32).tiny)))
    floored = np.maximum(_infer(image, _energy(scores), params), floor)
    floored /= floored.sum(0)
    return np.ascontiguousarray(np.log(floored, out=floored)).reshape(scores.shape)


def refine(image: Image, log_probs: Maps, params: CRFParams, keep_floor: float = KEEP_FLOOR) -> Image:
    """Test-time CRF at full resolution (SPEC §5): the most probable class (H, W) uint8.

    image (H, W, 3) uint8; log_probs (C, H, W). A class is without support if its probability exceeds
    `keep_floor` at no pixel and is the highest at none. Such classes are pooled into one that cannot win,
    their probabilities added: what they take from the others decides some borders. The pool's Potts weights
    are divided by their number, since each would have spoken for itself only. The lattice works on four
    classes at a time; where the kept ones and the pool don't fill the last four, the likeliest of the others
    are kept too. A single class with support is returned without a CRF. `keep_floor=0` runs all classes.
    Measured: benchmarks/crf.py.
    """
    _check(image, log_probs)
    kept, pooled = _divided(log_probs, keep_floor)
    if len(kept) == 1:
        return np.full(image.shape[:2], kept[0], np.uint8)
    scores = np.empty((len(kept) + bool(len(pooled)), *log_probs.shape[1:]), np.float32)
    np.take(log_probs, kept, 0, out=scores[: len(kept)], mode="clip")  # the default mode copies twice
    weights = None
    if len(pooled):
        rest = np.exp(log_probs[pooled]).sum(0, dtype=np.float32)
        np.log(np.maximum(rest, np.finfo(np.float32).tiny, out=rest), out=scores[-1])
        weights = np.array([1.0] * len(kept) + [1 / len(pooled)], np.float32)
    energy = np.negative(scores, out=scores).reshape(len(scores), -1)
    labels: Image = kept[_infer(image, energy, params, weights)[: len(kept)].argmax(0)]
    return labels.reshape(image.shape[:2])


def _divided(log_probs: Maps, keep_floor: float) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.intp]]:
    """Class ids, ascending, for the CRF on their own and for the pool of those without support."""
    classes = len(log_probs)
    peaks, highest = log_probs.max((1, 2)), log_probs.max(0)
    supported = peaks > (math.log(keep_floor) if keep_floor > 0 else -math.inf)
    for label in np.flatnonzero(~supported):
        supported[label] = keep_floor <= 0 or (log_probs[label] == highest).any()
    count = int(supported.sum())
    if 1 < count < classes:
        count = min(classes, 4 * (count // 4) + 3)
    ranked = np.lexsort((-peaks, ~supported))  # with support first, then by their highest probability
    if count == classes - 1:
        count = classes  # a pool of one would cost as much
    return np.sort(ranked[:count]).astype(np.uint8), np.sort(ranked[count:])
