"""A segmenter's scores for whole photos, by either paper's test rule (SPEC §5)."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from weakseg import transforms
from weakseg.artifacts import ArrayArchive, Record, read_maps
from weakseg.cams import SNAP_STRIDE, resized
from weakseg.models import load_segmenter
from weakseg.seeds import upsample_aligned
from weakseg.supervision import as_image_tensor

Maps = npt.NDArray[np.float32]
PROB_FLOOR = 1e-5  # of the unary probabilities at test time (SPEC §5)


@dataclass(frozen=True)
class GridScores:
    """Scores (C, h, w) on a grid that covers `extent` = (height, width) px of the padded photo, corner to corner."""

    scores: Maps
    extent: tuple[int, int]


@dataclass(frozen=True)
class Predictions:
    """Photos through the segmenter in a folder: `GridScores` of each."""

    model: Path
    geometry: str
    input_px: int | None

    def network(self) -> nn.Module:
        return load_segmenter(self.model)[0]

    def size(self, image: npt.NDArray[np.uint8]) -> Hashable:
        return input_sides(image, self.geometry, self.input_px)

    def results(
        self, network: nn.Module, records: Sequence[Record], images: Sequence[transforms.Image], device: torch.device
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


def input_sides(image: npt.NDArray[np.uint8], geometry: str, input_px: int | None) -> tuple[int, int]:
    """(height, width) of what the network sees of a photo."""
    if geometry == "warp":
        assert input_px is not None
        return input_px, input_px
    rows, columns = (transforms.grid_side(max(side, input_px or 1), SNAP_STRIDE) for side in image.shape[:2])
    return rows, columns


def network_input(
    image: npt.NDArray[np.uint8], geometry: str, input_px: int | None
) -> tuple[torch.Tensor, tuple[int, int]]:
    """(3, h, w) uint8, and the height and width in px that its grid will cover.

    `warp` (SEC): the whole photo squeezed to input_px squared. `crop` (GS): the photo at its own size, padded by
    reflection at the right and bottom to input_px where it is smaller, else to the next side of 16·k + 1 px.
    """
    height, width = image.shape[:2]
    rows, columns = input_sides(image, geometry, input_px)
    if geometry == "warp":
        return resized(image, rows, columns)[0], (height, width)
    return as_image_tensor(transforms.pad_reflect(image, rows, columns)), (rows, columns)


def log_probs(network: nn.Module, pixels: torch.Tensor, device: torch.device) -> Maps:
    """(B, C, h, w) of photos (B, 3, H, W) of one size; in bf16 on a GPU."""
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        logits = network(pixels.to(device)).float()
    return np.asarray(functional.log_softmax(logits, 1).cpu().numpy(), np.float32)


def upsampled(grid: GridScores, height: int, width: int, geometry: str) -> Maps:
    """(C, height, width) by order-1 upsampling, padding cut off: of probabilities for `warp`, as SEC does, of
    log-probabilities for `crop`, as DeepLab does (SPEC §5)."""
    values = np.exp(grid.scores) if geometry == "warp" else grid.scores
    return upsample_aligned(values, *grid.extent)[:, :height, :width]


def label_mask(grid: GridScores, height: int, width: int, geometry: str) -> npt.NDArray[np.uint8]:
    """(height, width) most probable class ids, without CRF."""
    return upsampled(grid, height, width, geometry).argmax(0).astype(np.uint8)


def full_size(grid: GridScores, height: int, width: int, floor: float, geometry: str) -> Maps:
    """Log-probabilities (C, height, width) of the upsampled scores, floored and renormalized."""
    values = upsampled(grid, height, width, geometry)
    probs = values if geometry == "warp" else np.exp(values - values.max(0))
    probs = np.maximum(probs / probs.sum(0), floor)
    return np.ascontiguousarray(np.log(probs / probs.sum(0)), np.float32)


def read_grid(archive: ArrayArchive, image_id: str) -> GridScores:
    """One photo's scores as stage `predict` wrote them."""
    _, scores = read_maps(archive, image_id)
    height, width = (int(side) for side in archive[f"{image_id}/extent"])
    return GridScores(scores, (height, width))


def as_stored(grid: GridScores) -> GridScores:
    """Rounded as `map_arrays` stores scores, so that masks made without the archive are those made from it."""
    return GridScores(grid.scores.astype(np.float16).astype(np.float32), grid.extent)
