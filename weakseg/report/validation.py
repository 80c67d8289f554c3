"""mIoU over training steps, from the masks that a training left of a few validation photos. Nothing is chosen by it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from weakseg.errors import UserError
from weakseg.evaluation import confusion_matrix, mean_iou
from weakseg.files import ImageArchive, Record, read_picture

Curves = Mapping[str, npt.NDArray[np.float64]]


def validation_curves(
    progress: Path | None,
    ground_truth: Path | None,
    experiments: Sequence[str],
    records: Sequence[Record],
    num_classes: int,
) -> dict[str, Curves]:
    """By experiment: `step` and `miou` in per cent, over all pixels of the photos together; none without a photo.

    progress: folder of `<experiment>.zip`, masks by `<step>/<image id>`. ground_truth: `.zip` by image id.
    """
    if progress is None or ground_truth is None or not ground_truth.is_file():
        return {}
    truth, by_id = ImageArchive(ground_truth), {record.image_id: record for record in records}
    paths = {name: progress / f"{name}.zip" for name in experiments}
    found = {
        name: _curve(ImageArchive(path), truth, by_id, num_classes) for name, path in paths.items() if path.is_file()
    }
    return {name: curve for name, curve in found.items() if len(curve["step"])}


def _curve(masks: ImageArchive, truth: ImageArchive, records: Mapping[str, Record], num_classes: int) -> Curves:
    totals: dict[int, npt.NDArray[np.int64]] = {}
    for name in masks.names():
        step, _, image_id = name.partition("/")
        if not step.isdecimal():
            raise UserError(f"{masks.path}: entry {name!a} has no step; train that experiment again")
        if image_id in records and image_id in truth:
            target = read_picture(truth, records[image_id], range(num_classes))
            predicted = masks[name]
            if predicted.shape != target.shape:
                raise UserError(f"{masks.path}: {name!a} is not of its photo's size; train that experiment again")
            own = confusion_matrix(target, predicted, num_classes)
            totals[int(step)] = totals.get(int(step), 0) + own
    steps = sorted(totals)
    mious = [100 * mean_iou(totals[step]) for step in steps]
    return {"step": np.array(steps, np.float64), "miou": np.array(mious, np.float64)}
