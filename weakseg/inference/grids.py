"""A segmenter's scores on its grid, and full-size masks from them; needs no network."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from weakseg.arrays import LabelMap, Maps, Photo
from weakseg.errors import UserError
from weakseg.files import IGNORE_INDEX, ArrayArchive, Record, map_arrays, read_maps
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


def grid_arrays(
    image_id: str, grid: GridScores, classes: Sequence[int] | None = None
) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """A photo's scores as an archive holds them: those of all classes or of some, and the extent."""
    kept = np.arange(len(grid.scores)) if classes is None else np.array(classes, np.intp)
    yield from map_arrays(image_id, kept, grid.scores[kept])
    yield f"{image_id}/extent", np.array(grid.extent, np.uint32)


def own_classes(record: Record) -> list[int]:
    """Background and the photo's tags."""
    return [0, *record.labels]


def read_grid(archive: ArrayArchive, record: Record, classes: Sequence[int] | None = None) -> GridScores:
    """One photo's scores of all classes, or of some. Raises UserError for what fits no such photo."""
    labels, scores = read_maps(archive, record.image_id)
    extent = archive[f"{record.image_id}/extent"]
    at_least = np.array([record.height, record.width])
    fits = extent.shape == (2,) and extent.dtype.kind == "u" and (extent >= at_least).all()
    expected = list(range(len(scores)) if classes is None else classes)
    if not fits or (extent > at_least + MOST_PADDING_PX).any() or labels.tolist() != expected:
        raise UserError(f"{archive.path}: scores of {record.image_id} do not fit its photo; run `dvc repro`")
    return GridScores(scores, (int(extent[0]), int(extent[1])))


def as_stored(grid: GridScores) -> GridScores:
    """Rounded as `map_arrays` stores scores, so masks made without the archive equal those made from it."""
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


@dataclass(frozen=True)
class OwnTagMasks:
    """Masks of training photos for the next round of self-training, from scores of their own tags and background.

    `crf` as in `RefinedMasks`, None for none. What is probably wrong is 255, by two rules that need no masks: pixels
    whose label the network itself gives less than `min_probability`; and, of a tag that got no pixel at all, the pixels
    where it is at least half as probable as at its best, for some of them must show it.
    """

    scores: ArrayArchive
    geometry: str
    crf: Callable[[Photo, Maps], LabelMap] | None
    min_probability: float

    def __call__(self, record: Record) -> LabelMap:
        classes = own_classes(record)
        grid = read_grid(self.scores, record, classes)
        log_probs = full_size(grid, record.height, record.width, PROB_FLOOR, self.geometry)
        with_crf = self.crf if len(classes) > 1 else None
        chosen = with_crf(read_record(record), log_probs) if with_crf else log_probs.argmax(0)
        probs = np.exp(log_probs)
        noisy = np.take_along_axis(probs, chosen[None].astype(np.intp), 0)[0] < self.min_probability
        for place in set(range(1, len(classes))) - set(np.unique(chosen).tolist()):
            noisy |= probs[place] >= probs[place].max() / 2
        return np.where(noisy, IGNORE_INDEX, np.array(classes, np.uint8)[chosen]).astype(np.uint8)
