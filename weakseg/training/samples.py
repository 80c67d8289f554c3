"""What a segmenter learns from, as training samples: photos paired with cues, guides, seeds or ground truth.

`.npz` archives have cues on a grid, `.zip` archives label maps at the photo's size; both can be paired with the whole
photo warped to a square (SEC) or with random crops (GS).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from weakseg.arrays import LabelMap
from weakseg.files import IGNORE_INDEX, ArrayArchive, ImageArchive, Record, SaliencyRecord, read_picture, read_target
from weakseg.images import (
    as_image_tensor,
    as_map_tensor,
    classifier_input,
    crop_area,
    crop_borders,
    flip,
    jitter_colours,
    random_crop,
    read_record,
    rescale,
    resize_nearest,
    warp_square,
)
from weakseg.settings import ClassifierAugmentation, SaliencyAugmentation, SegmenterAugmentation


def multi_hot(labels: tuple[int, ...], num_classes: int) -> npt.NDArray[np.bool_]:
    """(C-1,) bool of foreground class ids."""
    present = np.zeros(num_classes - 1, bool)
    present[np.array(labels, np.intp) - 1] = True
    return present


@dataclass(frozen=True)
class ClassificationSamples:
    """Photos and multi-hot tags for a classifier: SEC warps the whole photo, GS fits it into a square (SEC §6.1, GS table 6).

    With `saliency`, also the photo's, (S, S) uint8, cut and resized as the photo is.
    """

    records: list[Record]
    num_classes: int
    input_px: int
    geometry: str
    augmentation: ClassifierAugmentation
    saliency: ImageArchive | None = None

    def __len__(self) -> int:
        return len(self.records)

    def classes(self, index: int) -> tuple[int, ...]:
        return self.records[index].labels

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        record, augmentation = self.records[index], self.augmentation
        image = read_record(record)
        if self.saliency is not None:  # as a fourth channel, which goes wherever the photo goes
            image = np.dstack([image, read_picture(self.saliency, record)])
        image = crop_borders(image, augmentation.crop_borders_fraction, rng)
        geometry = self.geometry
        if augmentation.crop_area is not None:
            smallest, largest = augmentation.crop_area
            image, geometry = crop_area(image, smallest, largest, rng), "warp"
        image = classifier_input(image, self.input_px, geometry)
        if augmentation.flip and rng.random() < 0.5:
            image = flip(image)
        salient = {"saliency": as_map_tensor(image[..., 3])} if self.saliency is not None else {}
        image = jitter_colours(image[..., :3], augmentation.colour_jitter, rng)
        labels = multi_hot(record.labels, self.num_classes)
        found = {"images": as_image_tensor(image), "image_labels": as_map_tensor(labels), "image_id": record.image_id}
        return found | salient


@dataclass(frozen=True)
class SegmentationSamples:
    """Photos and targets at input resolution; the network's grid is taken as point samples by the loss."""

    records: list[Record]
    archive: ArrayArchive | ImageArchive
    num_classes: int
    input_px: int
    geometry: str
    flip: bool
    augmentation: SegmenterAugmentation
    stride: int

    def __len__(self) -> int:
        return len(self.records)

    def classes(self, index: int) -> tuple[int, ...]:
        return self.records[index].labels

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """images (3, S, S) uint8, targets (h, w) uint8 on the grid, image_labels (C-1,) bool, image_id."""
        record, augmentation, side = self.records[index], self.augmentation, self.input_px
        image, target = read_record(record), read_target(self.archive, record, self.num_classes)
        grid = (side - 1) // self.stride + 1
        if self.geometry == "warp":
            image, target = warp_square(image, side), resize_nearest(target, grid, grid)
        else:
            image, target = self._crop(image, target, rng)
        if self.flip and rng.random() < 0.5:
            image, target = flip(image), flip(target)
        image = jitter_colours(image, augmentation.colour_jitter, rng)
        return {
            "images": as_image_tensor(image),
            "targets": as_map_tensor(target),
            "image_labels": as_map_tensor(multi_hot(record.labels, self.num_classes)),
            "image_id": record.image_id,
        }

    def _crop(self, image: LabelMap, target: LabelMap, rng: np.random.Generator) -> tuple[LabelMap, LabelMap]:
        smallest, largest = self.augmentation.scales
        image = rescale(image, float(rng.uniform(smallest, largest))) if largest != 1 or smallest != 1 else image
        target = resize_nearest(target, *image.shape[:2])
        image, target = random_crop(image, target, self.input_px, IGNORE_INDEX, rng)
        return image, target[:: self.stride, :: self.stride]


@dataclass(frozen=True)
class SaliencySamples:
    """Photos of the saliency set and their GrabCut masks (0, 1), padded or cropped as segmentation samples are."""

    records: list[SaliencyRecord]
    archive: ImageArchive
    input_px: int
    augmentation: SaliencyAugmentation
    stride: int

    def __len__(self) -> int:
        return len(self.records)

    def classes(self, index: int) -> tuple[int, ...]:
        return ()

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        record = self.records[index]
        image, target = read_record(record), read_picture(self.archive, record, (0, 1))
        smallest, largest = self.augmentation.scales
        image = rescale(image, float(rng.uniform(smallest, largest)) * self.input_px / max(image.shape[:2]))
        target = resize_nearest(target, *image.shape[:2])
        image, target = random_crop(image, target, self.input_px, IGNORE_INDEX, rng)
        target = target[:: self.stride, :: self.stride]
        if self.augmentation.flip and rng.random() < 0.5:
            image, target = flip(image), flip(target)
        image = jitter_colours(image, self.augmentation.colour_jitter, rng)
        return {"images": as_image_tensor(image), "targets": as_map_tensor(target), "image_id": record.image_id}
