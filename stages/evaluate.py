"""Compare one experiment's masks, without and with CRF, with the ground truth; of several trainings, mean and spread."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from weakseg.evaluation import confusion_arrays, confusion_matrix, image_iou, metrics_of_trainings, read_confusions
from weakseg.files import (
    ArrayArchive,
    ImageArchive,
    read_class_names,
    read_manifest,
    read_picture,
    write_arrays,
    write_json,
)
from weakseg.runtime import arguments, run, with_progress
from weakseg.settings import read_keys


def main() -> None:
    paths = arguments(
        __doc__, named="which experiment", manifest="manifest", classes="class names", ground_truth=".zip of masks",
        raw=".zip of masks without CRF", crf=".zip of masks with CRF", repeats="folder of further trainings' counts",
        out=".npz of confusion counts to write", metrics="JSON to write",
    ).parse_args()  # fmt: skip
    first_seed, listed = read_keys("random_seed", "random_seeds", options=paths)
    seeds = [seed for seed in listed if seed != first_seed]
    class_names = read_class_names(paths.classes)
    truth, raw, crf = (ImageArchive(path) for path in (paths.ground_truth, paths.raw, paths.crf))
    repeats = [ArrayArchive(paths.repeats / f"{seed}.npz") for seed in seeds]
    num_classes = len(class_names)
    val = read_manifest(paths.manifest, "val", num_classes=num_classes)
    records = [record for record in val if record.image_id in truth]
    totals = np.zeros((1 + len(seeds), 2, num_classes, num_classes), np.int64)

    def arrays() -> Iterator[tuple[str, npt.NDArray[Any]]]:
        for record in with_progress(records, "evaluation"):
            target = read_picture(truth, record, range(num_classes))
            predicted = [read_picture(masks, record, range(num_classes), ignored=False) for masks in (raw, crf)]
            first = np.stack([confusion_matrix(target, labels, num_classes) for labels in predicted])
            others = [read_confusions(archive, record.image_id, first.shape) for archive in repeats]
            confusions = np.stack([first, *others])
            totals[...] += confusions
            yield from confusion_arrays(record.image_id, confusions)
            yield f"{record.image_id}/iou", np.array([image_iou(confusion) for confusion in first], np.float32)
        yield "raw/confusion", totals[0, 0]
        yield "crf/confusion", totals[0, 1]
        yield "repeats/confusion", totals[1:]
        yield "random_seeds", np.array([first_seed, *seeds], np.int64)

    write_arrays(paths.out, arrays())
    if not records:
        print("no val photo has a mask: there is nothing to compare with, so all metrics are null")
    metrics = metrics_of_trainings(totals, class_names, [first_seed, *seeds])
    write_json(paths.metrics, {"images_with_ground_truth": len(records), **metrics})


if __name__ == "__main__":
    run(main)
