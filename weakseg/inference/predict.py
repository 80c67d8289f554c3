"""A segmenter's scores for whole photos, by either paper's test rule (SEC §4.1, GS §6.1)."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from weakseg.arrays import Maps, Photo
from weakseg.batch import NetworkTask
from weakseg.files import Record
from weakseg.images import input_sides, network_input
from weakseg.inference.grids import GridScores
from weakseg.networks import rebuild_segmenter


@dataclass(frozen=True)
class SegmenterTask(NetworkTask[GridScores]):
    """Photos through the segmenter in a folder: `GridScores` of each. `geometry` is that of its training."""

    model: Path
    geometry: str
    input_px: int | None

    def network(self) -> nn.Module:
        return rebuild_segmenter(self.model)[0]

    def size(self, image: Photo) -> Hashable:
        return input_sides(image, self.geometry, self.input_px)

    def results(
        self, network: nn.Module, records: Sequence[Record], images: Sequence[Photo], device: torch.device
    ) -> list[GridScores]:
        return predict_grids(network, images, self.geometry, self.input_px, device)


def predict_grids(
    network: nn.Module,
    images: Sequence[npt.NDArray[np.uint8]],
    geometry: str,
    input_px: int | None,
    device: torch.device,
) -> list[GridScores]:
    """Log-probabilities of photos with equal `input_sides`, on the network's grid."""
    inputs = [network_input(image, geometry, input_px) for image in images]
    scores = log_probs(network, torch.stack([pixels for pixels, _ in inputs]), device)
    return [GridScores(maps, extent) for maps, (_, extent) in zip(scores, inputs, strict=True)]


def log_probs(network: nn.Module, pixels: torch.Tensor, device: torch.device) -> Maps:
    """(B, C, h, w) of photos (B, 3, H, W) of one size; in bf16 on a GPU."""
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        logits = network(pixels.to(device)).float()
    return np.asarray(functional.log_softmax(logits, 1).cpu().numpy(), np.float32)
