"""What refinements start from and what they give: label maps at the photos' size, and a map per tag on a grid."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from weakseg.arrays import LabelMap, Maps
from weakseg.cams import scores_of_labels
from weakseg.files import IGNORE_INDEX, ArrayArchive, ImageArchive, Record, read_cams, read_picture
from weakseg.images import resize_nearest

GRID_PX = 4  # between the cells of maps that methods give which have no grid of their own


class Refined(NamedTuple):
    """A photo's labels (H, W) uint8, and the maps (L, h, w) in [0, 1] of its tags, whose class ids are (L,)."""

    labels: LabelMap
    classes: npt.NDArray[np.uint8]
    maps: Maps


@dataclass(frozen=True)
class Source:
    """Heat maps (.npz) or label maps (.zip) of the training photos."""

    archive: ArrayArchive | ImageArchive

    @property
    def has_maps(self) -> bool:
        return isinstance(self.archive, ArrayArchive)

    def labels(self, record: Record) -> LabelMap:
        assert isinstance(self.archive, ImageArchive)
        return read_picture(self.archive, record, (0, *record.labels))

    def heat_maps(self, record: Record) -> Maps:
        """(L, h, w) as they are stored."""
        assert isinstance(self.archive, ArrayArchive)
        return read_cams(self.archive, record)[1]

    def maps(self, record: Record, height: int, width: int) -> Maps:
        """(L, height, width) in [0, 1]: heat maps, each over its maximum, or 1 where the label map has the tag."""
        if self.has_maps:
            return scores_of_labels(self.heat_maps(record), record.labels, height, width)[1]
        return indicators(self.labels(record), record.labels, height, width)


def indicators(labels: LabelMap, classes: Sequence[int], height: int, width: int) -> Maps:
    """(L, height, width): 1 where a label map has the class, 0 elsewhere."""
    small = resize_nearest(labels, height, width)
    return (small[None] == np.array(classes, np.uint8)[:, None, None]).astype(np.float32)


def grid_of(record: Record) -> tuple[int, int]:
    return (record.height - 1) // GRID_PX + 1, (record.width - 1) // GRID_PX + 1


def from_labels(labels: LabelMap, record: Record) -> Refined:
    return Refined(labels, np.array(record.labels, np.uint8), indicators(labels, record.labels, *grid_of(record)))


def above(scores: Maps, classes: Sequence[int], background: float) -> LabelMap:
    """(H, W) uint8: the class of the highest of (L, H, W) scores, background where none reaches `background`."""
    if not len(classes):
        return np.zeros(scores.shape[1:], np.uint8)
    ids = np.array(classes, np.uint8)
    return np.where(scores.max(0) >= background, ids[scores.argmax(0)], 0).astype(np.uint8)


def agreed(sure: LabelMap, possible: LabelMap) -> LabelMap:
    """Two passes: the first one's class where that is not background, 0 where both say background, else 255."""
    return np.where(sure > 0, sure, np.where(possible == 0, 0, IGNORE_INDEX)).astype(np.uint8)
