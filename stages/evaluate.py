"""Compare one experiment's masks, without and with CRF, with the ground truth."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from weakseg.evaluation import confusion_matrix, image_iou, metrics_of
from weakseg.files import ImageArchive, read_class_names, read_manifest, read_picture, write_arrays, write_json
from weakseg.runtime import arguments, run, with_progress


def main() -> None:
    paths = arguments(
        __doc__, reads_params=False, named="which experiment", manifest="manifest", classes="class names", ground_truth=".zip of masks", raw=".zip of masks without CRF",
        crf=".zip of masks with CRF", out=".npz of confusion matrices to write", metrics="JSON to write",
    ).parse_args()  # fmt: skip
    class_names = read_class_names(paths.classes)
    truth, raw, crf = (ImageArchive(path) for path in (paths.ground_truth, paths.raw, paths.crf))
    num_classes = len(class_names)
    val = read_manifest(paths.manifest, "val", num_classes=num_classes)
    records = [record for record in val if record.image_id in truth]
    totals = np.zeros((2, num_classes, num_classes), np.int64)

    def arrays() -> Iterator[tuple[str, npt.NDArray[Any]]]:
        for record in with_progress(records, "evaluation"):
            target = read_picture(truth, record, range(num_classes))
            predicted = [read_picture(masks, record, range(num_classes), ignored=False) for masks in (raw, crf)]
            both = np.stack([confusion_matrix(target, labels, num_classes) for labels in predicted])
            totals[...] += both
            yield f"{record.image_id}/iou", np.array([image_iou(confusion) for confusion in both], np.float32)
        yield "raw/confusion", totals[0]
        yield "crf/confusion", totals[1]

    write_arrays(paths.out, arrays())
    if not records:
        print("no val photo has a mask: there is nothing to compare with, so all metrics are null")
    metrics = metrics_of(totals[0], totals[1], class_names)
    write_json(paths.metrics, {"images_with_ground_truth": len(records), **metrics})


if __name__ == "__main__":
    run(main)
