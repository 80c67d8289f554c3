"""Saliency of photos: the foreground probability of the class-agnostic network (GS §6.1)."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from weakseg.batch import NetworkTask
from weakseg.files import Record
from weakseg.images import input_sides, rescale, resize_aligned
from weakseg.inference.grids import GridScores, full_size
from weakseg.inference.predict import predict_grids
from weakseg.networks import rebuild_segmenter


@dataclass(frozen=True)
class SaliencyTask(NetworkTask[npt.NDArray[np.uint8]]):
    """Photos through the saliency network in a folder: foreground probability (H, W) as uint8 of each.

    A photo is shrunk only if it is larger than `max_side_px`.
    """

    model: Path
    max_side_px: int

    def network(self) -> nn.Module:
        return rebuild_segmenter(self.model)[0]

    def size(self, image: npt.NDArray[np.uint8]) -> Hashable:
        return input_sides(self.shrunk(image), "crop", None)

    def shrunk(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        scale = self.max_side_px / max(image.shape[:2])
        return rescale(image, scale) if scale < 1 else image

    def results(
        self,
        network: nn.Module,
        records: Sequence[Record],
        images: Sequence[npt.NDArray[np.uint8]],
        device: torch.device,
    ) -> list[npt.NDArray[np.uint8]]:
        shrunk = [self.shrunk(image) for image in images]
        grids = predict_grids(network, shrunk, "crop", None, device)
        return [
            foreground_probability(grid, small.shape[:2], image.shape[:2])
            for grid, small, image in zip(grids, shrunk, images, strict=True)
        ]


def foreground_probability(
    grid: GridScores, predicted: tuple[int, ...], size: tuple[int, ...]
) -> npt.NDArray[np.uint8]:
    """(H, W) 0..255 at `size`, of scores predicted at another (height, width)."""
    probability = np.exp(full_size(grid, predicted[0], predicted[1], 0.0, "crop")[1])
    resized: npt.NDArray[np.float32] = resize_aligned(probability, size[0], size[1])
    return np.rint(resized.clip(0, 1) * 255).astype(np.uint8)
