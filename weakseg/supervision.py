"""What a segmenter learns from, as training samples: photos paired with cues, guides, seeds or ground truth.

`.npz` archives hold cues on a grid, `.zip` archives hold label maps at the photo's size; either kind can be paired
with the whole photo warped to a square (SEC) or with random crops (GS).
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from weakseg import artifacts, photos, transforms
from weakseg.artifacts import IGNORE_INDEX, ArrayArchive, ImageArchive, Record
from weakseg.errors import UserError
from weakseg.params import ClassifierAugmentation, SaliencyAugmentation, SegmenterAugmentation

Labels = npt.NDArray[np.uint8]


def open_archive(path: Path) -> ArrayArchive | ImageArchive:
    return ArrayArchive(path) if path.suffix == ".npz" else ImageArchive(path)


def read_target(archive: ArrayArchive | ImageArchive, image_id: str) -> Labels:
    """(H, W) class ids on the archive's own grid; 255 where nothing is known."""
    if isinstance(archive, ImageArchive):
        return archive[image_id]
    cues = artifacts.read_cues(archive, image_id)
    return np.where(cues.any(0), cues.argmax(0), IGNORE_INDEX).astype(np.uint8)


def check_complete(archive: ArrayArchive | ImageArchive, records: list[Record]) -> None:
    """Raises UserError listing the photos that the archive knows nothing of."""
    suffix = "/labels" if isinstance(archive, ArrayArchive) else ""
    missing = [record.image_id for record in records if record.image_id + suffix not in archive]
    if missing:
        shown = ", ".join(missing[:10]) + (", …" if len(missing) > 10 else "")
        raise UserError(f"{archive.path}: nothing for {len(missing)} training photos ({shown}); run `dvc repro`")


def multi_hot(labels: tuple[int, ...], num_classes: int) -> npt.NDArray[np.bool_]:
    """(C-1,) bool of foreground class ids."""
    present = np.zeros(num_classes - 1, bool)
    present[np.array(labels, np.intp) - 1] = True
    return present


def as_image_tensor(image: npt.NDArray[np.uint8]) -> torch.Tensor:
    """(H, W, 3) uint8 → (3, H, W) uint8, laid out channels last."""
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)


def as_map_tensor(array: npt.NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))


@dataclass(frozen=True)
class ClassificationSamples:
    """Photos and multi-hot tags for a classifier: SEC warps the whole photo, GS fits it into a square (SPEC §2)."""

    records: list[Record]
    num_classes: int
    input_px: int
    geometry: str
    augmentation: ClassifierAugmentation

    def __len__(self) -> int:
        return len(self.records)

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        record, augmentation = self.records[index], self.augmentation
        image = photos.read_photo(Path(record.image))
        image = transforms.crop_borders(image, augmentation.crop_borders_fraction, rng)
        geometry = self.geometry
        if augmentation.crop_area is not None:
            smallest, largest = augmentation.crop_area
            image, geometry = transforms.crop_area(image, smallest, largest, rng), "warp"
        image = classifier_input(image, self.input_px, geometry)
        if augmentation.flip and rng.random() < 0.5:
            image = transforms.flip(image)
        image = transforms.jitter_colours(image, augmentation.colour_jitter, rng)
        labels = multi_hot(record.labels, self.num_classes)
        return {"images": as_image_tensor(image), "image_labels": as_map_tensor(labels), "image_id": record.image_id}


def classifier_input(image: npt.NDArray[np.uint8], input_px: int, geometry: str) -> npt.NDArray[np.uint8]:
    """(input_px, input_px, 3): `warp` squeezes the whole photo, `pad` keeps its proportions and reflects."""
    warp = transforms.warp_square if geometry == "warp" else transforms.fit_square
    return warp(image, input_px)


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

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """images (3, S, S) uint8, targets (h, w) uint8 on the grid, image_labels (C-1,) bool, image_id."""
        record, augmentation, side = self.records[index], self.augmentation, self.input_px
        image, target = photos.read_photo(Path(record.image)), read_target(self.archive, record.image_id)
        grid = (side - 1) // self.stride + 1
        if self.geometry == "warp":
            image, target = transforms.warp_square(image, side), transforms.resize_nearest(target, grid, grid)
        else:
            image, target = self._crop(image, target, rng)
        if self.flip and rng.random() < 0.5:
            image, target = transforms.flip(image), transforms.flip(target)
        image = transforms.jitter_colours(image, augmentation.colour_jitter, rng)
        return {
            "images": as_image_tensor(image),
            "targets": as_map_tensor(target),
            "image_labels": as_map_tensor(multi_hot(record.labels, self.num_classes)),
            "image_id": record.image_id,
        }

    def _crop(self, image: Labels, target: Labels, rng: np.random.Generator) -> tuple[Labels, Labels]:
        smallest, largest = self.augmentation.scales
        image = (
            transforms.rescale(image, float(rng.uniform(smallest, largest))) if largest != 1 or smallest != 1 else image
        )
        target = transforms.resize_nearest(target, *image.shape[:2])
        image, target = transforms.random_crop(image, target, self.input_px, IGNORE_INDEX, rng)
        return image, target[:: self.stride, :: self.stride]


@dataclass(frozen=True)
class SaliencySamples:
    """Photos of the saliency set and their GrabCut masks (0, 1), padded or cropped as segmentation samples are."""

    image_paths: dict[str, str]
    archive: ImageArchive
    input_px: int
    augmentation: SaliencyAugmentation
    stride: int

    def __len__(self) -> int:
        return len(self.image_paths)

    @cached_property
    def _image_ids(self) -> list[str]:
        return list(self.image_paths)

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        image_id = self._image_ids[index]
        image, target = photos.read_photo(Path(self.image_paths[image_id])), self.archive[image_id]
        smallest, largest = self.augmentation.scales
        image = transforms.rescale(image, float(rng.uniform(smallest, largest)) * self.input_px / max(image.shape[:2]))
        target = transforms.resize_nearest(target, *image.shape[:2])
        image, target = transforms.random_crop(image, target, self.input_px, IGNORE_INDEX, rng)
        target = target[:: self.stride, :: self.stride]
        if self.augmentation.flip and rng.random() < 0.5:
            image, target = transforms.flip(image), transforms.flip(target)
        image = transforms.jitter_colours(image, self.augmentation.colour_jitter, rng)
        return {"images": as_image_tensor(image), "targets": as_map_tensor(target), "image_id": image_id}
