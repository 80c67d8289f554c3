"""A segmenter's scores on its grid, and full-size masks from them; needs no network."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from weakseg.arrays import Maps
from weakseg.files import ArrayArchive, read_maps
from weakseg.images import upsample_aligned

PROB_FLOOR = 1e-5  # of the unary probabilities at test time (SPEC §5)


@dataclass(frozen=True)
class GridScores:
    """Scores (C, h, w) on a grid that covers `extent` = (height, width) px of the padded photo, corner to corner."""

    scores: Maps
    extent: tuple[int, int]


def upsampled(grid: GridScores, height: int, width: int, geometry: str) -> Maps:
    """(C, height, width) by order-1 upsampling, padding cut off: of probabilities for `warp`, as SEC does, of
    log-probabilities for `crop`, as DeepLab does (SPEC §5)."""
    values = np.exp(grid.scores) if geometry == "warp" else grid.scores
    return upsample_aligned(values, *grid.extent)[:, :height, :width]


def label_mask(grid: GridScores, height: int, width: int, geometry: str) -> npt.NDArray[np.uint8]:
    """(height, width) most probable class ids, without CRF."""
    return upsampled(grid, height, width, geometry).argmax(0).astype(np.uint8)


def full_size(grid: GridScores, height: int, width: int, floor: float, geometry: str) -> Maps:
    """Log-probabilities (C, height, width) of the upsampled scores, floored and renormalized."""
    values = upsampled(grid, height, width, geometry)
    probs = values if geometry == "warp" else np.exp(values - values.max(0))
    probs = np.maximum(probs / probs.sum(0), floor)
    return np.ascontiguousarray(np.log(probs / probs.sum(0)), np.float32)


def read_grid(archive: ArrayArchive, image_id: str) -> GridScores:
    """One photo's scores as stage `predict` wrote them."""
    _, scores = read_maps(archive, image_id)
    height, width = (int(side) for side in archive[f"{image_id}/extent"])
    return GridScores(scores, (height, width))


def as_stored(grid: GridScores) -> GridScores:
    """Rounded as `map_arrays` stores scores, so that masks made without the archive are those made from it."""
    return GridScores(grid.scores.astype(np.float16).astype(np.float32), grid.extent)
