"""Average precision of tags."""

from typing import Any

import numpy as np
import numpy.typing as npt


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
