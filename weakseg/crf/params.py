"""Settings of a dense CRF, and which classes it runs for."""

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from weakseg.arrays import Maps

if TYPE_CHECKING:
    from weakseg.settings import CRF

MIN_PROB = 1e-4  # the released CRF layer floors its result there and renormalizes


KEEP_FLOOR = 0.3  # `lattice_labels` pools the classes that nowhere reach this probability; see its docstring


@dataclass(frozen=True)
class CRFParams:
    """Weights (log-odds) and widths of the two Potts kernels: σ_xy in pixels, σ_rgb in 8-bit intensities.

    `SEC` and `DEEPLAB` are the papers' two settings at full resolution (GS §C.1). Raises ValueError for a width that is
    not positive, or a negative number of steps.

    Example:
        >>> SEC
        CRFParams(bilateral_weight=10, bilateral_sigma_xy=80, bilateral_sigma_rgb=13, gaussian_weight=3, gaussian_sigma_xy=3, steps=10)
        >>> SEC.scaled(10).bilateral_sigma_xy
        8.0
    """

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
        """For a grid that is `factor` (image side / grid side) times coarser: both σ_xy are divided by it."""
        return replace(
            self,
            bilateral_sigma_xy=self.bilateral_sigma_xy / factor,
            gaussian_sigma_xy=self.gaussian_sigma_xy / factor,
        )


SEC = CRFParams(10, 80, 13, 3, 3)  # SEC's released code; "v1" in GS tables 4 and 5


DEEPLAB = CRFParams(4, 121, 5, 3, 3)  # "v2"


def competitors(
    log_probs: Maps, keep_floor: float = KEEP_FLOOR
) -> tuple[npt.NDArray[np.uint8], Maps, npt.NDArray[np.float32] | None]:
    """Which classes the test-time CRF runs for: their ids (K,), fresh scores (K or K + 1, H, W), Potts factors or None.

    log_probs (C, H, W). A class is without support if its probability exceeds `keep_floor` at no pixel and is the
    highest at none. Such classes are pooled into one that cannot win, the last of the scores, with their probabilities
    added, since these decide some borders. The pool's Potts weights are divided by their number, as if each class stood
    alone. The lattice works on four classes at a time; if the kept ones and the pool do not fill the last four, the
    likeliest of the others are kept too. `keep_floor=0` keeps all classes.
    """
    kept, pooled = _divided(log_probs, keep_floor)
    scores = np.empty((len(kept) + bool(len(pooled)), *log_probs.shape[1:]), np.float32)
    np.take(log_probs, kept, 0, out=scores[: len(kept)], mode="clip")  # the default mode copies twice
    if not len(pooled):
        return kept, scores, None
    rest = np.exp(log_probs[pooled]).sum(0, dtype=np.float32)
    np.log(np.maximum(rest, np.finfo(np.float32).tiny, out=rest), out=scores[-1])
    return kept, scores, np.array([1.0] * len(kept) + [1 / len(pooled)], np.float32)


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


def crf_params(settings: "CRF") -> CRFParams:
    """From an entry of params.yaml's `crf`."""
    return CRFParams(**settings.model_dump())
