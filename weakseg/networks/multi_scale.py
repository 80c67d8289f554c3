"""DeepLab-v2's multi-scale inputs (Chen et al. 2016; GS §F trains the saliency network so)."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional


class MultiScale(nn.Module):
    """A segmenter that sees each photo at several `scales`, 1.0 among them: photos (B, 3, H, W) → its logits at each
    scale, in their order, and last their maximum on the grid of scale 1.

    Corners are aligned both ways, so cells stay on pixels. The wrapped network's weights are all that it has.
    """

    def __init__(self, network: nn.Module, scales: Sequence[float]) -> None:
        super().__init__()
        self.network, self.scales = network, tuple(scales)

    def forward(self, images: Tensor) -> list[Tensor]:
        logits = [self._at(scale, images) for scale in self.scales]
        grid = logits[self.scales.index(1.0)].shape[2:]
        fused = torch.stack([_on_grid(one, grid) for one in logits]).amax(0)
        return [*logits, fused]

    def _at(self, scale: float, images: Tensor) -> Tensor:
        size = torch.Size(1 + round((side - 1) * scale) for side in images.shape[2:])
        return cast(Tensor, self.network(_on_grid(images.float(), size) if scale != 1 else images))

    def last_layers(self) -> list[nn.Module]:
        layers: Any = self.network.last_layers  # type: ignore[union-attr]
        return cast(list[nn.Module], layers())


def _on_grid(maps: Tensor, size: torch.Size) -> Tensor:
    return functional.interpolate(maps, size, mode="bilinear", align_corners=True) if maps.shape[2:] != size else maps
