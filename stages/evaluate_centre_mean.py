"""Measure the baseline of seeders that looks at no photo: each class's mean ground-truth mask (GS §4.2)."""

from collections.abc import Iterator

import numpy as np

from weakseg.evaluation import CURVE_COLUMNS, PhotoMaps, curve_rows, mean_masks, measurable, measured, seeder_metrics
from weakseg.files import ImageArchive, read_class_names, read_manifest, write_json, write_table
from weakseg.runtime import arguments, run


def main() -> None:
    paths = arguments(
        __doc__, reads_params=False, manifest="manifest", classes="class names", ground_truth=".zip of masks",
        metrics="JSON to write", curve="CSV to write",
    ).parse_args()  # fmt: skip
    num_classes, truth = len(read_class_names(paths.classes)), ImageArchive(paths.ground_truth)
    train = read_manifest(paths.manifest, "train", num_classes=num_classes)
    masks = mean_masks([record for record in train if record.image_id in truth], truth, num_classes)
    val = measurable(read_manifest(paths.manifest, "val", num_classes=num_classes), truth)

    def photos() -> Iterator[PhotoMaps]:
        for record in val:
            labels = np.array(record.labels, np.intp)
            yield record, labels, masks[labels - 1]

    curve = measured(photos(), truth, num_classes, None, 0.0).curve()
    write_json(paths.metrics, seeder_metrics(curve, len(val), None))
    write_table(paths.curve, curve_rows(curve), list(CURVE_COLUMNS))


if __name__ == "__main__":
    run(main)
