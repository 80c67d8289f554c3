"""Generic classifiers, segmenters and boundary networks on any backbone."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from weakseg.networks.backbone import Backbone
from weakseg.networks.layers import gaussian_conv, sum_of

LAYOUTS = ("gap_lowres", "gap_highres", "gap_roi", "gap_deeplab", "classifier")  # of localization networks
HEADS = ("largefov", "smallfov", "aspp")  # of segmenters
# DeepLab's rates at stride 8 (12 for LargeFOV, 6 to 24 for ASPP), halved for the generic heads' stride 16
CONTEXT_RATES: Mapping[str, tuple[int, ...]] = {"largefov": (6,), "smallfov": (1,), "aspp": (3, 6, 9, 12)}
BOUNDARY_WIDTH, BOUNDARY_GROUPS = 32, 4  # IRN's released code


class Classifier(Protocol):
    """What every localization network can do."""

    def __call__(self, images: Tensor) -> Tensor: ...
    def class_maps(self, images: Tensor) -> Tensor: ...
    def stride8(self, images: Tensor) -> Tensor: ...
    def scores_from_stride8(self, low: Tensor) -> Tensor: ...
    def last_layers(self) -> list[nn.Module]: ...


class GapClassifier(nn.Module):
    """Global average pooling over class maps (Zhou et al. 2016) on any backbone.

    The layouts mirror GS table 6: `gap_highres` drops the later strides to 8, `gap_roi` pools 3×3 `windows` before the
    1×1 layer, `gap_deeplab` dilates to stride 8, `classifier` keeps the backbone's own stride. `gap_lowres` has stride
    16, by dilation, like the segmenter's backbone, so a segmenter can start from it.
    """

    def __init__(self, backbone: Backbone, num_foreground: int, dropout: float, windows: bool = False) -> None:
        super().__init__()
        self.backbone = backbone
        self.window = nn.MaxPool2d(3, 1, 1) if windows else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.fc8 = gaussian_conv(backbone.embed_channels, num_foreground, 1, 0.005, bias=False)

    def features(self, images: Tensor) -> Tensor:
        """(B, K, h, w): what is averaged."""
        return self._features_from_stride8(self.stride8(images))

    def _features_from_stride8(self, low: Tensor) -> Tensor:
        return self.backbone.embedding(self.window(self.backbone.from_low(low)))

    def forward(self, images: Tensor) -> Tensor:
        return self.scores_from_stride8(self.stride8(images))

    def class_maps(self, images: Tensor) -> Tensor:
        """(B, C-1, h, w) class heat maps, no ReLU (Zhou et al. 2016; SEC §6.1)."""
        return self.fc8(self.features(images))  # type: ignore[no-any-return]

    def stride8(self, images: Tensor) -> Tensor:
        """(B, K, h8, w8): the features that background cues differentiate with respect to (SEC §6.1)."""
        return self.backbone.stride8(images)

    def scores_from_stride8(self, low: Tensor) -> Tensor:
        """(B, C-1) class scores computed from `stride8`'s output."""
        pooled = self._features_from_stride8(low).mean((2, 3), keepdim=True)
        return self.fc8(self.dropout(pooled)).flatten(1)  # type: ignore[no-any-return]

    def last_layers(self) -> list[nn.Module]:
        return [self.fc8]


class WithBackground(nn.Module):
    """A classifier in training that also says where no class is (EPS: Lee et al., CVPR 2021, §3.2).

    (B, 3, H, W) → (B, C, h, w) maps, the background's first, of which a class's mean is its score. Only the classifier
    is kept: the background's layer has no part in heat maps.
    """

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier
        fc8: nn.Conv2d = classifier.fc8  # type: ignore[assignment]
        self.background = gaussian_conv(fc8.in_channels, 1, 1, 0.005, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        features = self.classifier.features(images)  # type: ignore[operator]
        return torch.cat([self.background(features), self.classifier.fc8(features)], 1)  # type: ignore[operator]

    def last_layers(self) -> list[nn.Module]:
        return [*self.classifier.last_layers(), self.background]  # type: ignore[operator]


class Segmenter(nn.Module):
    """A backbone at stride 16, DeepLab-style context on it, and a small decoder to stride 8.

    The context layers are depthwise; their dilations set the field of view as the papers' heads do.
    """

    stride = 8

    def __init__(self, backbone: Backbone, head: str, num_classes: int, dropout: float) -> None:
        super().__init__()
        width, lateral = 256, 48
        self.backbone = backbone
        self.reduce = nn.Conv2d(self.backbone.channels, width, 1)
        self.context = nn.ModuleList(
            nn.Conv2d(width, width, 3, padding=rate, dilation=rate, groups=width) for rate in CONTEXT_RATES[head]
        )
        self.mix = nn.Conv2d(width, width, 1)
        self.lateral = nn.Conv2d(self.backbone.low_channels, lateral, 1)
        self.spatial = nn.Conv2d(width + lateral, width + lateral, 3, padding=1, groups=width + lateral)
        self.fuse = nn.Conv2d(width + lateral, width, 1)
        self.dropout = nn.Dropout2d(dropout)
        self.fc8 = gaussian_conv(width, num_classes, 1, 0.01)

    def forward(self, images: Tensor) -> Tensor:
        low, high = self.backbone(images)
        x = functional.relu(self.reduce(high))
        x = functional.relu(x + self.mix(sum_of(self.context, x)))
        x = functional.interpolate(x, low.shape[2:], mode="bilinear", align_corners=True)
        x = torch.cat([x, functional.relu(self.lateral(low))], 1)
        x = functional.relu(self.fuse(self.spatial(x)))
        return self.fc8(self.dropout(x))  # type: ignore[no-any-return]

    def last_layers(self) -> list[nn.Module]:
        return [self.reduce, self.context, self.mix, self.lateral, self.spatial, self.fuse, self.fc8]


class MultiScale(nn.Module):
    """A segmenter with DeepLab-v2's multi-scale inputs (Chen et al. 2016; GS §F): it sees photos at several `scales`.

    Photos (B, 3, H, W) → the segmenter's logits at each scale, in their order, and last their maximum on the grid of
    scale 1.0, which is among them. Corners are aligned both ways, so cells stay on pixels. It has no weights of its own.
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


class BoundaryNetwork(nn.Module):
    """Where objects end (IRN: Ahn, Cho & Kwak, CVPR 2019, §4.2, figure 4).

    A frozen backbone, and on it what learns: (B, 3, H, W) -> boundary logits (B, h, w), cell i at pixel 4·i.

    Each of the backbone's `levels` goes through a 1×1 convolution, group norm, resizing to stride 4, and ReLU; another
    1×1 convolution sees them side by side.
    """

    stride = 4

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone.requires_grad_(False)
        self.sides = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, BOUNDARY_WIDTH, 1, bias=False), nn.GroupNorm(BOUNDARY_GROUPS, BOUNDARY_WIDTH)
            )
            for channels in backbone.level_channels
        )
        self.fuse = nn.Conv2d(BOUNDARY_WIDTH * len(self.sides), 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        grid = [(side - 1) // self.stride + 1 for side in images.shape[2:]]
        with torch.no_grad():
            levels = self.backbone.levels(images)
        seen = [
            functional.relu(functional.interpolate(side(level), grid, mode="bilinear", align_corners=True))
            for side, level in zip(self.sides, levels, strict=True)
        ]
        return self.fuse(torch.cat(seen, 1))[:, 0]  # type: ignore[no-any-return]

    def train(self, mode: bool = True) -> "BoundaryNetwork":
        """Without the backbone, whose statistics and depth stay as they are."""
        super().train(mode)
        self.backbone.eval()
        return self

    def last_layers(self) -> list[nn.Module]:
        return [self.sides, self.fuse]
