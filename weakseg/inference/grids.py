"""A segmenter's scores on its grid, and full-size masks from them; needs no network."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from weakseg.arrays import LabelMap, Maps, Photo
from weakseg.errors import UserError
from weakseg.files import ArrayArchive, Record, map_arrays, read_maps
from weakseg.images import read_record, upsample_aligned

MOST_PADDING_PX = 4200  # on each side: the largest input_px, and what snapping adds
PROB_FLOOR = 1e-5  # of the unary probabilities at test time, as in SEC's released code


@dataclass(frozen=True)
class GridScores:
    """Scores (C, h, w) on a grid that covers `extent` = (height, width) px of the padded photo, corner to corner."""

    scores: Maps
    extent: tuple[int, int]


def upsampled(grid: GridScores, height: int, width: int, geometry: str) -> Maps:
    """(C, height, width) by order-1 upsampling, padding cut off: of probabilities for `warp`, as SEC does, of
    log-probabilities for `crop`, as DeepLab does."""
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


def grid_arrays(image_id: str, grid: GridScores) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """A photo's scores as an archive holds them: those of all classes, and the extent."""
    yield from map_arrays(image_id, np.arange(len(grid.scores)), grid.scores)
    yield f"{image_id}/extent", np.array(grid.extent, np.uint32)


def read_grid(archive: ArrayArchive, record: Record) -> GridScores:
    """One photo's scores as stage `predict` wrote them. Raises UserError for what fits no such photo."""
    labels, scores = read_maps(archive, record.image_id)
    extent = archive[f"{record.image_id}/extent"]
    at_least = np.array([record.height, record.width])
    fits = extent.shape == (2,) and extent.dtype.kind == "u" and (extent >= at_least).all()
    if not fits or (extent > at_least + MOST_PADDING_PX).any() or (labels != np.arange(len(scores))).any():
        raise UserError(f"{archive.path}: scores of {record.image_id} do not fit its photo; run `dvc repro`")
    return GridScores(scores, (int(extent[0]), int(extent[1])))


def as_stored(grid: GridScores) -> GridScores:
    """Rounded as `map_arrays` stores scores, so that masks made without the archive are those made from it."""
    return GridScores(grid.scores.astype(np.float16).astype(np.float32), grid.extent)


@dataclass(frozen=True)
class LabelMasks:
    """Masks of photos from their scores, without CRF."""

    scores: ArrayArchive
    geometry: str

    def __call__(self, record: Record) -> LabelMap:
        return label_mask(read_grid(self.scores, record), record.height, record.width, self.geometry)


@dataclass(frozen=True)
class RefinedMasks:
    """Masks of photos from their scores, refined by `crf`: (image, log-probabilities) → labels."""

    scores: ArrayArchive
    geometry: str
    crf: Callable[[Photo, Maps], LabelMap]

    def __call__(self, record: Record) -> LabelMap:
        grid = read_grid(self.scores, record)
        return self.crf(read_record(record), full_size(grid, record.height, record.width, PROB_FLOOR, self.geometry))
