"""Average precision of tags."""

from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from weakseg.files import Record
from weakseg.runtime import pick_device
from weakseg.settings import TrainClassifier
from weakseg.training.classification import scores
from weakseg.training.samples import multi_hot


def multi_label_average_precision(
    scores: npt.NDArray[np.floating[Any]], labels: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """(C-1,) average precision of each tag over N images, scores and labels (N, C-1); NaN for a tag of no image.

    scikit-learn's definition: Σ (recall step) · precision, ties counted together, no interpolation.
    """
    if scores.shape != labels.shape or scores.ndim != 2:
        raise ValueError(f"scores {scores.shape} and labels {labels.shape} must both be (N, C-1)")
    from sklearn.metrics import (
        average_precision_score,
    )  # a second to import, and only the classifier needs it

    return np.array(
        [
            average_precision_score(labels[:, tag], scores[:, tag]) if labels[:, tag].any() else np.nan
            for tag in range(labels.shape[1])
        ]
    )


def mean_average_precision(
    network: nn.Module, records: list[Record], class_names: list[str], settings: TrainClassifier
) -> dict[str, object]:
    """mAP in per cent on the val photos that have tags, and by class; null where there are none."""
    val = [record for record in records if record.split == "val" and record.labels]
    if not val:
        return {"map": None}
    device = pick_device()
    network.to(device)
    values = np.concatenate(list(scores(network, val, settings.input_px, settings.geometry, device)))
    labels = np.stack([multi_hot(record.labels, len(class_names)) for record in val])
    precision = 100 * multi_label_average_precision(values, labels)
    known = precision[np.isfinite(precision)]
    return {
        "map": float(known.mean()) if known.size else None,
        "by_class": dict(zip(class_names[1:], precision.tolist(), strict=True)),
    }
