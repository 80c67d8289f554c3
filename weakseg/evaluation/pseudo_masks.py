"""Pseudo-masks of the training photos against their masks, where there are any: the mIoU that papers compare."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from weakseg.arrays import LabelMap, Maps
from weakseg.cams import seed_scores
from weakseg.evaluation.iou import Confusion, confusion_matrix, iou_per_class, mean_iou
from weakseg.files import (
    IGNORE_INDEX,
    ArrayArchive,
    ImageArchive,
    Record,
    has_target,
    read_cams,
    read_picture,
    read_target,
)
from weakseg.images import resize_nearest, upsample_aligned

BINS = 100  # thresholds 0.00, 0.01, … 1.00


def pseudo_mask_metrics(
    archive: ArrayArchive | ImageArchive, records: Sequence[Record], truth: ImageArchive, class_names: Sequence[str], name: str
) -> dict[str, Any]:  # fmt: skip
    """Per cent over the photos with masks: `miou` with every pixel labelled, an unlabelled one (255) counting as
    background; `miou_labelled` over the labelled pixels alone; by class. Null without any mask.

    Where the labels are on a grid coarser than the photo, the mask is point-sampled there.
    """
    num_classes = len(class_names)
    every, labelled = np.zeros((2, num_classes, num_classes), np.int64)
    with_masks = [record for record in records if record.image_id in truth and has_target(archive, record.image_id)]
    for record in tqdm(with_masks, f"mIoU of {name}", unit="image", disable=None):
        labels = read_target(archive, record, num_classes)
        target = resize_nearest(read_picture(truth, record, range(num_classes)), *labels.shape)
        known = labels != IGNORE_INDEX
        every += confusion_matrix(target, np.where(known, labels, 0), num_classes)
        labelled += confusion_matrix(np.where(known, target, IGNORE_INDEX), labels, num_classes)
    if not with_masks:
        return {"images_with_ground_truth": 0, "miou": None, "miou_labelled": None, "iou": None}
    iou = dict(zip(class_names, (100 * iou_per_class(every)).tolist(), strict=True))
    means = {"miou": 100 * mean_iou(every), "miou_labelled": 100 * mean_iou(labelled)}
    return {"images_with_ground_truth": len(with_masks), **means, "iou": iou}


@dataclass(frozen=True)
class MapScores:
    """A photo's best tag (H, W) and its score (H, W), from maps: each over its own maximum, or as they are stored."""

    maps: ArrayArchive
    own_maximum: bool

    def __call__(self, record: Record) -> tuple[LabelMap, Maps]:
        classes, maps = read_cams(self.maps, record)
        if self.own_maximum or not len(classes):
            return seed_scores(maps, classes, record.height, record.width)
        scores = upsample_aligned(maps, record.height, record.width)
        return classes.astype(np.uint8)[scores.argmax(0)], scores.max(0)


def best_threshold(
    scored: Callable[[Record], tuple[LabelMap, Maps]], records: Iterable[Record], truth: ImageArchive, num_classes: int, name: str
) -> dict[str, float] | None:  # fmt: skip
    """The background threshold whose pseudo-masks agree best with the masks, and their mIoU in per cent: for comparison
    with the field's habit alone, since it needs the masks. None without any.

    scored: a photo's best class (H, W) and its score (H, W) in [0, 1]. Thresholds are multiples of 0.01.
    """
    counts = np.zeros((num_classes, num_classes, BINS + 1), np.int64)  # target, best class, score
    with_masks = [record for record in records if record.image_id in truth]
    for record in tqdm(with_masks, f"thresholds of {name}", unit="image", disable=None):
        best, score = scored(record)
        target = read_picture(truth, record, range(num_classes))
        counts += _counted(target, best, np.floor(score * BINS).clip(0, BINS).astype(np.int64), num_classes)
    if not with_masks:
        return None
    mious = [mean_iou(_confusion_at(counts, level)) for level in range(BINS + 1)]
    level = int(np.nanargmax(mious))
    return {"threshold": level / BINS, "miou": 100 * mious[level]}


def _counted(target: LabelMap, best: LabelMap, level: npt.NDArray[np.int64], num_classes: int) -> npt.NDArray[np.int64]:
    known = target != IGNORE_INDEX
    index = (target[known].astype(np.int64) * num_classes + best[known]) * (BINS + 1) + level[known]
    return np.bincount(index, minlength=num_classes**2 * (BINS + 1)).reshape(num_classes, num_classes, BINS + 1)


def _confusion_at(counts: npt.NDArray[np.int64], level: int) -> Confusion:
    """What scores below the level is background."""
    confusion = counts[:, :, level:].sum(2)
    confusion[:, 0] += counts[:, :, :level].sum((1, 2))
    return np.asarray(confusion, np.int64)
