"""How good cues, seeds, guides and pseudo-masks are: what they cover, and precision and recall (GS table 2)."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from weakseg.evaluation.precision_recall import LabelCounts, count_labels, mean_precision_and_recall
from weakseg.files import IGNORE_INDEX, ArrayArchive, ImageArchive, Record, has_target, read_picture, read_target
from weakseg.images import resize_nearest
from weakseg.runtime import with_progress


def supervision_metrics(
    archive: ArrayArchive | ImageArchive, records: Sequence[Record], truth: ImageArchive, num_classes: int, name: str
) -> dict[str, Any]:
    """In percent: coverage over the archive's photos; precision and recall over those with ground truth, null without
    any.

    A photo with ground truth that the archive lacks raises UserError. Ground truth is point-sampled on the labels' grid
    if that is coarser than the photo.
    """
    records = [record for record in records if record.image_id in truth or has_target(archive, record.image_id)]
    counts, shares, with_truth = LabelCounts.zeros(num_classes), np.zeros(3), 0
    for record in with_progress(records, f"quality of {name}"):
        labels = read_target(archive, record, num_classes)
        ignored = labels == IGNORE_INDEX
        shares += [((labels > 0) & ~ignored).mean(), (labels == 0).mean(), ignored.mean()]
        if record.image_id in truth:
            target = resize_nearest(read_picture(truth, record, range(num_classes)), *labels.shape)
            counts += count_labels(target, labels, num_classes)
            with_truth += 1
    foreground, background, unknown = (100 * shares / max(len(records), 1)).tolist()
    fractions = mean_precision_and_recall(counts) if with_truth else {}
    return {
        "coverage": {"foreground": foreground, "background": background, "unlabelled": unknown},
        "images_with_ground_truth": with_truth,
        "against_ground_truth": {key: 100 * value for key, value in fractions.items()} or None,
    }
