"""What every backbone is: photos in, feature maps at a chosen output stride out.

Every backbone takes RGB in 0..255 (B, 3, H, W) and normalizes by itself, because normalization belongs to the weights.
Sides of stride·k + 1 pixels give grids whose cell i sits exactly at pixel stride·i, so maps are enlarged to image size
with aligned corners and nothing shifts.
"""

from typing import NamedTuple

from torch import Tensor, nn

from weakseg.networks.normalization import Normalization


class Features(NamedTuple):
    """`low` (B, low_channels, h8, w8) at stride 8 and `high` (B, channels, h, w) at the output stride."""

    low: Tensor
    high: Tensor


class Backbone(nn.Module):
    """A feature extractor. `embed_channels` are those of `embedding`, which classifiers average."""

    normalization: Normalization
    channels: int
    low_channels: int

    def stride8(self, images: Tensor) -> Tensor:
        """(B, low_channels, h8, w8) features at stride 8."""
        raise AssertionError("each backbone has its own")

    def from_low(self, low: Tensor) -> Tensor:
        """The features at the output stride, computed from those at stride 8."""
        raise AssertionError("each backbone has its own")

    def forward(self, images: Tensor) -> Features:
        low = self.stride8(images)
        return Features(low, self.from_low(low))

    @property
    def level_channels(self) -> tuple[int, ...]:
        """Channels of each of `levels`."""
        return self.low_channels, self.channels

    def levels(self, images: Tensor) -> list[Tensor]:
        """The features of every stage, finest first: at least those at stride 8 and at the output stride."""
        return list(self(images))

    @property
    def embed_channels(self) -> int:
        return self.channels

    def embedding(self, high: Tensor) -> Tensor:
        """(B, embed_channels, h, w): a last layer before the average, if ImageNet's classifier has one."""
        return high
