"""How good a seeder is: precision and recall over the threshold τ, as GS measures them (§4.2, figure 3, table 1).

One pass over the pixels, whatever the number of thresholds, in worker processes. Memory: (2·C + 1)·1001 + C counts of 8
bytes (0.4 MB at 21 classes) in this process and at most as much for each of the four photos a worker that wait, plus
one photo with its maps in each worker; it does not grow with the number of photos.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from weakseg.batch import map_images
from weakseg.cams import refined_scores, seed_scores
from weakseg.crf import CRFParams
from weakseg.evaluation.precision_recall import PrecisionRecallCurve, ScoreHistograms, mean_precision, precision_above
from weakseg.files import ImageArchive, Record, read_picture
from weakseg.images import read_record, resize_aligned

PhotoMaps = tuple[Record, npt.NDArray[np.intp], npt.NDArray[np.float32]]  # photo, class ids (L,), heat maps (L, h, w)


MEAN_MASK_SIDE = 65  # cells of the centre-mean baseline's masks


def measurable(records: Sequence[Record], truth: ImageArchive) -> list[Record]:
    """The photos with ground truth and tags: without tags a seeder finds nothing, whatever the photo shows."""
    known = [record for record in records if record.image_id in truth]
    tagged = [record for record in known if record.labels]
    if len(tagged) < len(known):
        print(f"{len(known) - len(tagged)} photos with ground truth have no tags; they are left out")
    return tagged


def measured(
    photos: Iterable[PhotoMaps], truth: ImageArchive, num_classes: int, crf: CRFParams | None, background_score: float
) -> ScoreHistograms:
    """The counts of all photos; with `crf` those of the refined scores (`seed_crf.refined_scores`)."""
    one = partial(_of_photo, truth, num_classes, crf, background_score)
    total = ScoreHistograms(num_classes)
    for histograms in map_images(one, photos, "precision and recall of seeds"):
        total.merge(histograms)
    return total


def _of_photo(
    truth: ImageArchive, num_classes: int, crf: CRFParams | None, background_score: float, photo: PhotoMaps
) -> ScoreHistograms:
    record, labels, maps = photo
    if crf is None:
        classes, scores = seed_scores(maps, labels, record.height, record.width)
    else:
        classes, scores = refined_scores(read_record(record), maps, labels, background_score, crf)
    histograms = ScoreHistograms(num_classes)
    histograms.update(read_picture(truth, record, range(num_classes)), classes, scores)
    return histograms


def seeder_metrics(curve: PrecisionRecallCurve, images: int, classifier_map: float | None) -> dict[str, Any]:
    """`metrics/seeders/<name>.json`, in percent: GS's mP, its two parts, and the classifier's mAP (table 1)."""
    foreground = precision_above(curve.foreground_recall, curve.foreground_precision, 0.2)
    background = precision_above(curve.background_recall, curve.background_precision, 0.8)
    return {
        "mean_precision": 100 * mean_precision(curve),
        "foreground_precision_at_20_recall": 100 * foreground,
        "background_precision_at_80_recall": 100 * background,
        "map": classifier_map,
        "images": images,
    }


def mean_masks(records: Sequence[Record], truth: ImageArchive, num_classes: int) -> npt.NDArray[np.float32]:
    """The centre-mean baseline: each class's ground truth averaged over the photos that show it, (C-1, side, side).

    No image content: every photo with a class gets the same map for it. 255 counts as not the class.
    """
    totals = np.zeros((num_classes - 1, MEAN_MASK_SIDE, MEAN_MASK_SIDE), np.float64)
    photos = np.zeros(num_classes - 1, np.int64)
    for record in records:
        target = read_picture(truth, record, range(num_classes))
        for label in np.intersect1d(target, np.arange(1, num_classes)).tolist():
            mask = (target == label).astype(np.float32)
            totals[label - 1] += resize_aligned(mask, MEAN_MASK_SIDE, MEAN_MASK_SIDE)
            photos[label - 1] += 1
    return (totals / np.maximum(photos, 1)[:, None, None]).astype(np.float32)
