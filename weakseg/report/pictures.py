"""What a stage made of one photo, as small pictures: label maps at display size, colours, overlays.

A label map here is (H, W) uint8 of class ids, 255 = ignored, and 254 (`UNLABELLED`) where cues say nothing.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from weakseg.arrays import LabelMap, Photo
from weakseg.errors import UserError
from weakseg.evaluation import confusion_matrix
from weakseg.files import ArrayArchive, ImageArchive, Record, read_cues, read_picture, voc_palette
from weakseg.images import read_record, resize_nearest
from weakseg.report.colours import Palette

UNLABELLED = 254


BACKGROUND_OPACITY = 0.62


VOC_COLOURS = voc_palette()  # 255 is VOC's cream (224, 224, 192)


def display_size(record: Record, side_px: int) -> tuple[int, int]:
    """(height, width) of the photo's picture with its longer side at `side_px`; small photos are enlarged."""
    scale = side_px / max(record.width, record.height, 1)
    return max(1, round(record.height * scale)), max(1, round(record.width * scale))


def photo_at(record: Record, side_px: int) -> Photo | None:
    """(H, W, 3) of the photo at display size; None where the file is gone or damaged."""
    height, width = display_size(record, side_px)
    try:
        photo = read_record(record, side_px)
    except UserError:
        return None
    return np.asarray(Image.fromarray(photo).resize((width, height), Image.Resampling.LANCZOS), np.uint8)


def resize_labels(labels: LabelMap, height: int, width: int) -> LabelMap:
    """Nearest resampling of a full-resolution map (pixel centres at half integers)."""
    resized = Image.fromarray(labels).resize((width, height), Image.Resampling.NEAREST)
    return np.asarray(resized, np.uint8)


def cue_labels(cues: npt.NDArray[np.bool_]) -> LabelMap:
    """(C, h, w) cues as one label grid: the class of the cue, `UNLABELLED` where there is none."""
    return np.where(cues.any(0), cues.argmax(0), UNLABELLED).astype(np.uint8)


def opacities(labels: LabelMap, opacity: float) -> npt.NDArray[np.float64]:
    """(H, W) how much of its class's colour covers each pixel: none of background, so that the photo is seen there.

    Where some pixels are `UNLABELLED`, as between cues, those are bare and background is shaded.
    """
    background = BACKGROUND_OPACITY if (labels == UNLABELLED).any() else 0.0
    return np.select([labels == UNLABELLED, labels == 0], [0.0, background], opacity)


def paint(labels: LabelMap, photo: Photo | None, opacity: float, palette: Palette = VOC_COLOURS) -> Photo:
    """(H, W, 3): the labels' colours over the greyed photo (white without one)."""
    base = np.full((*labels.shape, 1), 255.0) if photo is None else 64 + 0.75 * photo.mean(2, keepdims=True)
    alpha = opacities(labels, opacity)[..., None]
    painted: Photo = np.rint(alpha * palette[labels] + (1 - alpha) * base).astype(np.uint8)
    return painted


def spread(items: list[Any], count: int) -> list[Any]:
    """`count` items (all if there are fewer) at even distances, first and last among them."""
    if count >= len(items):
        return list(items)
    return [items[index] for index in np.linspace(0, len(items) - 1, count).round().astype(int)]


def open_arrays(path: Path | None) -> ArrayArchive | None:
    """None where the stage did not run; UserError for a damaged file."""
    return ArrayArchive(path) if path is not None and path.is_file() else None


def open_images(path: Path | None) -> ImageArchive | None:
    return ImageArchive(path) if path is not None and path.is_file() else None


@dataclass(frozen=True)
class Views:
    """The artifacts of each photo at display size; a method gives None where there is nothing to show."""

    side_px: int
    archives: dict[str, ImageArchive | None]  # ground_truth, seeds, saliency
    cues_archive: ArrayArchive | None
    guides: dict[str, ImageArchive]  # by rule
    raw_masks: dict[str, ImageArchive]  # by experiment
    masks: dict[str, ImageArchive]  # by experiment

    def photo(self, record: Record) -> Photo | None:
        return photo_at(record, self.side_px)

    def mask(self, kind: str, record: Record) -> LabelMap | None:
        """`kind`: ground_truth, seeds, or saliency (then grey values, white = salient)."""
        return self._entry(self.archives.get(kind), record)

    def guide(self, rule: str, record: Record) -> LabelMap | None:
        return self._entry(self.guides.get(rule), record)

    def crf(self, experiment: str, record: Record) -> LabelMap | None:
        return self._entry(self.masks.get(experiment), record)

    def raw(self, experiment: str, record: Record) -> LabelMap | None:
        return self._entry(self.raw_masks.get(experiment), record)

    def cues(self, record: Record) -> LabelMap | None:
        archive = self.cues_archive
        if archive is None or f"{record.image_id}/labels" not in archive:
            return None
        grid = cue_labels(read_cues(archive, record.image_id))
        return resize_nearest(grid, *display_size(record, self.side_px))

    def confusion(self, experiment: str, record: Record, num_classes: int) -> npt.NDArray[np.int64] | None:
        """(C, C) pixels of this photo by true and predicted class, with CRF where there is one."""
        truth, predicted = self.archives.get("ground_truth"), self.masks.get(experiment, self.raw_masks.get(experiment))
        if truth is None or predicted is None or record.image_id not in truth or record.image_id not in predicted:
            return None
        maps = (read_picture(truth, record, range(num_classes)), _full_map(predicted, record))
        return confusion_matrix(*maps, num_classes)

    def _entry(self, archive: ImageArchive | None, record: Record) -> LabelMap | None:
        if archive is None or record.image_id not in archive:
            return None
        return resize_labels(_full_map(archive, record), *display_size(record, self.side_px))


@lru_cache(maxsize=64)
def _full_map(archive: ImageArchive, record: Record) -> LabelMap:
    """A photo's map at its own size; the last few are kept, which serve both pictures and counts."""
    return read_picture(archive, record)
