"""The loss of the tag classifiers; apart from the segmenters' losses, so that those can change without retraining."""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional


def classification_terms(network: nn.Module, batch: dict[str, Any]) -> dict[str, Tensor]:
    """Multi-label logistic loss: summed over classes, mean over images."""
    scores = network(batch["images"]).float()
    loss = functional.binary_cross_entropy_with_logits(scores, batch["image_labels"].float(), reduction="none")
    return {"logistic": loss.sum(1).mean()}
