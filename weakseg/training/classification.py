"""The tag classifiers' loss, scores and average precision."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from weakseg.errors import UserError
from weakseg.files import Record, SaliencyRecord
from weakseg.images import as_image_tensor, classifier_input, read_record
from weakseg.losses import eps_saliency_loss
from weakseg.runtime import pick_device
from weakseg.settings import EpsLoss, TrainClassifier
from weakseg.training.samples import multi_hot


def classification_terms(network: nn.Module, batch: dict[str, Any]) -> dict[str, Tensor]:
    """Multi-label logistic loss: summed over classes, mean over images."""
    scores = network(batch["images"]).float()
    loss = functional.binary_cross_entropy_with_logits(scores, batch["image_labels"].float(), reduction="none")
    return {"logistic": loss.sum(1).mean()}


@dataclass(frozen=True)
class EpsTerms:
    """The logistic loss of the maps' means, and EPS' term of the maps and the photo's saliency (Lee et al. 2021, §3.3)."""

    settings: EpsLoss

    @property
    def weights(self) -> Mapping[str, float]:
        return {"logistic": 1.0, "saliency": self.settings.saliency_weight}

    def __call__(self, network: nn.Module, batch: dict[str, Any]) -> dict[str, Tensor]:
        maps = network(batch["images"]).float()
        scores, tags = maps[:, 1:].mean((2, 3)), batch["image_labels"]
        logistic = functional.binary_cross_entropy_with_logits(scores, tags.float(), reduction="none")
        saliency = _sampled(batch["saliency"], maps.shape[2], maps.shape[3]).float() / 255
        term = eps_saliency_loss(maps, saliency, tags, self.settings.threshold, self.settings.foreground_weight)
        return {"logistic": logistic.sum(1).mean(), "saliency": term}


def _sampled(maps: Tensor, height: int, width: int) -> Tensor:
    """(B, H, W) at the pixels next to the cells of a grid from corner to corner, (B, height, width)."""
    rows, columns = (
        torch.linspace(0, side - 1, cells, device=maps.device).round().long()
        for side, cells in zip(maps.shape[1:], (height, width), strict=True)
    )
    return maps[:, rows[:, None], columns]


def scores(
    network: nn.Module, records: Sequence[Record | SaliencyRecord], input_px: int, geometry: str, device: torch.device,
    batch_size: int = 16,
) -> Iterator[npt.NDArray[np.float32]]:  # fmt: skip
    """Class scores before the sigmoid, (b, C-1) a batch, of whole photos as the classifier was trained on them."""
    for start in range(0, len(records), batch_size):
        pixels = torch.stack(
            [_classifier_pixels(record, input_px, geometry) for record in records[start : start + batch_size]]
        )
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            result: Any = network(pixels.to(device)).float().cpu().numpy()
        yield result


def _classifier_pixels(record: Record | SaliencyRecord, input_px: int, geometry: str) -> Tensor:
    image = read_record(record)
    return as_image_tensor(classifier_input(image, input_px, geometry))


def without_classes(
    records: list[SaliencyRecord], best: npt.NDArray[np.floating[Any]], above: float
) -> list[SaliencyRecord]:
    """The photos whose best class has a probability of at most `above`; best (N,) is its score before the sigmoid."""
    probability = 1 / (1 + np.exp(-best.astype(np.float64)))
    kept = [record for record, value in zip(records, probability.tolist(), strict=True) if value <= above]
    if not kept:
        raise UserError(f"select_saliency_photos.exclude_scores_above: {above} leaves no saliency photo; raise it")
    return kept


def multi_label_average_precision(
    scores: npt.NDArray[np.floating[Any]], labels: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """(C-1,) average precision of each tag over N images, scores and labels (N, C-1); NaN for a tag that no image has.

    scikit-learn's definition: Σ (recall step) · precision, ties counted together, no interpolation.
    """
    if scores.shape != labels.shape or scores.ndim != 2:
        raise ValueError(f"scores {scores.shape} and labels {labels.shape} must both be (N, C-1)")
    from sklearn.metrics import average_precision_score  # a second to import, and only train_classifier needs it

    return np.array(
        [
            average_precision_score(labels[:, tag], scores[:, tag]) if labels[:, tag].any() else np.nan
            for tag in range(labels.shape[1])
        ]
    )


def mean_average_precision(
    network: nn.Module, records: list[Record], class_names: list[str], settings: TrainClassifier
) -> dict[str, object]:
    """mAP in percent on the val photos that have tags, and by class; null if there are none."""
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
