"""Dense CRF of one image on the permutohedral lattice (pydensecrf).

The model (Krähenbühl & Koltun, NIPS 2011): Q ← softmax(scores + w_b K'_b Q + w_g K'_g Q), with K'
symmetrically normalized. This module imports numpy, OpenCV and pydensecrf only, never torch, so that worker processes
start fast and stay small. The lattice depends on the order of the colour channels: SEC's released layers ran
BGR in training and RGB at test time; pass the image in the order you want.
"""

import math
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from pydensecrf import densecrf

from weakseg.arrays import Maps, Photo
from weakseg.crf.params import KEEP_FLOOR, MIN_PROB, CRFParams, competitors

cv2.setNumThreads(0)  # parallelism is over images, in processes

CONVOLVED_CLASSES, CONVOLVED_SIGMA = 4, 5.0  # up to these, a convolution is faster than the Gaussian kernel's lattice


def _infer(image: Photo, energy: Maps, params: CRFParams, class_weights: Maps | None = None) -> Maps:
    """Probabilities (C, H·W), a view of the CRF's own memory. `energy` (C, H·W): minus the scores.

    `class_weights` (C,) scales both Potts weights of each class.
    """
    crf = densecrf.DenseCRF2D(image.shape[1], image.shape[0], len(energy))
    crf.setUnaryEnergy(energy)
    crf.addPairwiseGaussian(
        sxy=params.gaussian_sigma_xy, compat=_potts(params.gaussian_weight, class_weights), **_NORMALIZED
    )
    _add_bilateral(crf, image, params, class_weights)
    return np.asarray(crf.inference(params.steps))


def _infer_convolved(image: Photo, energy: Maps, params: CRFParams, class_weights: Maps | None = None) -> Maps:
    """`_infer`, with the Gaussian kernel as a convolution cut off at 3 σ instead of on a lattice of its own.

    It is added to each step's energy, so pydensecrf needs no change. The lattice approximates that kernel; this is
    closer to its sum.
    """
    (height, width), classes = image.shape[:2], len(energy)
    crf = densecrf.DenseCRF2D(width, height, classes)
    crf.setUnaryEnergy(energy)
    _add_bilateral(crf, image, params, class_weights)
    probs, *buffers = crf.startInference()
    probs_view = np.asarray(probs).T.reshape(height, width, classes)  # the same memory in every step
    reach = math.ceil(3 * params.gaussian_sigma_xy)
    taps = cv2.getGaussianKernel(2 * reach + 1, params.gaussian_sigma_xy, cv2.CV_32F)
    mass = cv2.sepFilter2D(np.ones((height, width), np.float32), -1, taps, taps, borderType=cv2.BORDER_CONSTANT)
    scale = np.ascontiguousarray(np.broadcast_to(1 / np.sqrt(mass)[..., None], (height, width, classes)))
    weights = np.float32(-params.gaussian_weight) * (np.float32(1) if class_weights is None else class_weights)
    weighted_scale = scale * weights
    inner, edge = slice(reach, -reach), slice(-reach, None)  # the scale is 1 where the kernel stays within the image
    borders = (
        [(slice(reach),), (edge,), (inner, slice(reach)), (inner, edge)] if min(height, width) > 2 * reach else [()]
    )
    scaled, summed, total = np.empty_like(scale), np.empty_like(scale), np.empty_like(energy)
    for _ in range(params.steps):
        np.multiply(probs_view, weighted_scale, out=scaled)
        cv2.sepFilter2D(scaled, -1, taps, taps, dst=summed, borderType=cv2.BORDER_CONSTANT)
        for border in borders:
            summed[border] *= scale[border]
        cv2.split(summed, list(total.reshape(classes, height, width)))
        crf.setUnaryEnergy(np.add(total, energy, out=total))
        crf.stepInference(probs, *buffers)
    return np.asarray(probs)


_NORMALIZED = {"kernel": densecrf.DIAG_KERNEL, "normalization": densecrf.NORMALIZE_SYMMETRIC}


def _potts(weight: float, class_weights: Maps | None) -> float | Maps:
    """pydensecrf takes a scalar as a Potts weight, but a vector as the energy of agreement: the other sign."""
    return weight if class_weights is None else -weight * class_weights


def _add_bilateral(crf: Any, image: Photo, params: CRFParams, class_weights: Maps | None) -> None:
    crf.addPairwiseBilateral(
        sxy=params.bilateral_sigma_xy,
        srgb=params.bilateral_sigma_rgb,
        rgbim=np.require(image, np.uint8, ["C", "W"]),
        compat=_potts(params.bilateral_weight, class_weights),
        **_NORMALIZED,
    )


def _energy(scores: npt.NDArray[Any]) -> Maps:
    """Minus the scores, as one fresh contiguous float32 (C, H·W)."""
    energy = np.empty((len(scores), math.prod(scores.shape[1:])), np.float32)
    np.negative(scores.reshape(energy.shape), out=energy, casting="same_kind")
    return energy


def _check(image: Photo, scores: npt.NDArray[Any]) -> None:
    if image.dtype != np.uint8 or image.shape != (*scores.shape[1:], 3):
        raise ValueError(f"image must be uint8 {(*scores.shape[1:], 3)}, is {image.dtype} {image.shape}")


def soft(image: Photo, scores: npt.NDArray[Any], params: CRFParams, min_prob: float = MIN_PROB) -> Maps:
    """Log-probabilities (C, H, W) float32 of one image.

    As in SEC's released layer, the result is floored, max(Q, min_prob), and renormalized.

    Args:
        image: (H, W, 3) uint8.
        scores: (C, H, W) logits or log-probabilities.
        params: weights and widths, for the image's own pixels.
        min_prob: the floor; 0 floors only what underflows.

    Raises:
        ValueError: an image of another shape or type.

    Example:
        >>> image, scores = np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2, 2), np.float32)
        >>> np.exp(soft(image, scores, CRFParams(4, 10, 5, 3, 3)))[0]  # no class is preferred anywhere
        array([[0.5, 0.5],
               [0.5, 0.5]], dtype=float32)
    """
    _check(image, scores)
    if len(scores) == 1:
        return np.zeros(scores.shape, np.float32)
    floor = np.float32(max(min_prob, float(np.finfo(np.float32).tiny)))
    floored = np.maximum(_infer(image, _energy(scores), params), floor)
    floored /= floored.sum(0)
    return np.ascontiguousarray(np.log(floored, out=floored)).reshape(scores.shape)


def lattice_labels(image: Photo, log_probs: Maps, params: CRFParams, keep_floor: float = KEEP_FLOOR) -> Photo:
    """Test-time CRF at full resolution: the most probable class (H, W) uint8.

    The CRF runs only for classes with support (see `competitors`); a single one is returned without a CRF. With at most
    four classes the Gaussian kernel is a convolution instead of a lattice. Measured by benchmarks/crf.py.

    Args:
        image: (H, W, 3) uint8 RGB.
        log_probs: (C, H, W) float32.
        params: weights and widths at the photo's size.
        keep_floor: a class whose probability exceeds this nowhere, and is the highest nowhere, has no support.

    Raises:
        ValueError: an image of another shape or type.

    Example:
        >>> image = np.array([[[0, 0, 0]] * 3 + [[255, 255, 255]] * 3], np.uint8)  # a black and a white half
        >>> probs = np.array([[[0.8, 0.5, 0.5, 0.5, 0.5, 0.2]], [[0.2, 0.5, 0.5, 0.5, 0.5, 0.8]]], np.float32)
        >>> lattice_labels(image, np.log(probs), CRFParams(4, 10, 5, 0, 1))
        array([[0, 0, 0, 1, 1, 1]], dtype=uint8)
    """
    _check(image, log_probs)
    kept, scores, weights = competitors(log_probs, keep_floor)
    if len(kept) == 1:
        return np.full(image.shape[:2], kept[0], np.uint8)
    energy = np.negative(scores, out=scores).reshape(len(scores), -1)
    few = len(energy) <= CONVOLVED_CLASSES and params.gaussian_sigma_xy <= CONVOLVED_SIGMA
    infer = _infer_convolved if few else _infer
    labels: Photo = kept[infer(image, energy, params, weights)[: len(kept)].argmax(0)]
    return labels.reshape(image.shape[:2])
