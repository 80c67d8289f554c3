"""VGG-16 as localization network and as DeepLab-LargeFOV."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

from torch import Tensor, nn
from torch.nn import functional

from weakseg.errors import UserError
from weakseg.networks.backbones.caffe_weights import load_caffe_vgg16
from weakseg.networks.backbones.vgg_trunk import VGG16Backbone, VGGTrunk, append_fc, caffe_pool, vgg_layers
from weakseg.networks.backbones.vgg_weights import VGGNetwork, load_torchvision_vgg16
from weakseg.networks.family import Family
from weakseg.networks.layers import gaussian_conv
from weakseg.networks.weights import Imagenet, read_state_dict

NAMES = ("vgg16",)
WITH_SEC_S_POOL = ("vgg16",)  # of SEC §4.1, and its weights from Caffe; settings read this

GapKind = Literal["lowres", "highres", "roi", "deeplab"]


PLAIN_POOL5_PX = 7  # pool5's output for VGG's 224 px input, and fc6's kernel


class VGGClassifier(VGGTrunk):
    """A trunk that ends in drop6 or drop7, global average pooling, and the linear class layer `fc8`."""

    def __init__(self, layers: nn.Sequential, fc8: nn.Conv2d, normalization: str) -> None:
        super().__init__(layers, normalization)
        self.fc8 = fc8

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) → class scores before the sigmoid (B, C-1)."""
        return self.scores_from_stride8(self.stride8(images))

    def scores_from_stride8(self, low: Tensor) -> Tensor:
        """(B, C-1) class scores computed from `stride8`'s output: the mean of the class maps."""
        pooled = self.from_low(low).mean((2, 3), keepdim=True)
        return self.fc8(pooled).flatten(1)  # type: ignore[no-any-return]

    def class_maps(self, images: Tensor) -> Tensor:
        """(B, C-1, h, w): sum over channels of features × class weight, without ReLU (SEC §6.1)."""
        return self.fc8(self.features(images))  # type: ignore[no-any-return]

    def named_convs(self) -> dict[str, nn.Conv2d]:
        return {**super().named_convs(), "fc8": self.fc8}

    def last_layers(self) -> list[nn.Module]:
        return [self.fc8]


def _gap_layers(kind: GapKind, deeplab_pool5: bool) -> nn.Sequential:
    if kind == "deeplab":
        pools = {block: caffe_pool(3, 2 if block < 4 else 1) for block in range(1, 6 if deeplab_pool5 else 5)}
        return vgg_layers(pools, conv5_dilation=2)
    pools = {block: caffe_pool(2, 2) for block in range(1, 5 if kind == "lowres" else 4)}
    return vgg_layers({**pools, 5: caffe_pool(3, 1)} if kind == "roi" else pools)


def vgg_gap(
    kind: GapKind,
    num_foreground: int,
    relu_after_fc7: bool = True,
    dropout: float = 0.5,
    normalization: str = "imagenet",
    deeplab_pool5: bool = False,
) -> VGGClassifier:
    """A localization network of GS table 6; heat maps at 321 px: 21×21 for lowres, else 41×41.

    GAP commutes with the linear fc8, so one order serves "GAP before" and "GAP after fc8" (GS §B.1). ROI: a
    window of 3×3 cells at every position, pooled to one cell by the maximum, is a 3×3 max pool of stride 1;
    table 6's fc6 (1024, 1, 1) then has 512 inputs. `deeplab_pool5` adds the released code's pool5 (3×3,
    stride 1), which table 6 leaves out. `relu_after_fc7=False` is SEC's own net (lowres has no fc7 and keeps
    its one ReLU).
    """
    if kind not in ("lowres", "highres", "roi", "deeplab"):
        raise UserError(f"network: gap {kind!r} is unknown; choose lowres, highres, roi or deeplab")
    layers = _gap_layers(kind, deeplab_pool5)
    fc6_kernel, fc6_dilation = (1 if kind == "roi" else 3), (12 if kind == "deeplab" else 1)
    append_fc(layers, 6, gaussian_conv(512, 1024, fc6_kernel, 0.005, dilation=fc6_dilation), dropout)
    if kind != "lowres":
        fc7 = gaussian_conv(1024, 1024, 3 if kind == "highres" else 1, 0.005)
        append_fc(layers, 7, fc7, dropout, relu_after_fc7)
    return VGGClassifier(layers, gaussian_conv(1024, num_foreground, 1, 0.005, bias=False), normalization)


class PadToPlain(nn.Module):
    """Zero-pads a map that is smaller than fc6's 7×7 kernel to that size; larger maps are unchanged."""

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = (max(0, PLAIN_POOL5_PX - side) for side in x.shape[-2:])
        return functional.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))


def vgg_classifier(
    num_foreground: int,
    fc_channels: int = 1024,
    dropout: float = 0.5,
    fc8_bias: bool = False,
    normalization: str = "imagenet",
) -> VGGClassifier:
    """VGG-16 as multi-label classifier: SEC's background net, GS's backprop seeders and G1 (SEC §6.1, GS §4.2).

    The fully connected layers are convolutions (fc6 7×7 without padding), so at 224 px this is plain VGG-16,
    score for score, and ImageNet's fc6 fits. A larger input gives several positions (321 px: 11×11 after
    pool5, 5×5 after fc6), and the score is their mean. Inputs under 193 px are zero-padded after pool5.
    """
    layers = vgg_layers({block: caffe_pool(2, 2) for block in range(1, 6)})
    layers.add_module("pad5", PadToPlain())
    append_fc(layers, 6, gaussian_conv(512, fc_channels, PLAIN_POOL5_PX, 0.005, padding=0), dropout)
    append_fc(layers, 7, gaussian_conv(fc_channels, fc_channels, 1, 0.005), dropout)
    return VGGClassifier(layers, gaussian_conv(fc_channels, num_foreground, 1, 0.005, bias=fc8_bias), normalization)


class LargeFOV(VGGTrunk):
    """DeepLab-LargeFOV: (B, 3, 321, 321) → logits (B, C, 41, 41), cell i at pixel 8·i."""

    stride = 8

    def __init__(self, layers: nn.Sequential, fc8: nn.Conv2d, normalization: str) -> None:
        super().__init__(layers, normalization)
        self.fc8 = fc8

    def forward(self, images: Tensor) -> Tensor:
        return self.fc8(self.features(images))  # type: ignore[no-any-return]

    def named_convs(self) -> dict[str, nn.Conv2d]:
        return {**super().named_convs(), "fc8": self.fc8}

    def last_layers(self) -> list[nn.Module]:
        return [self.fc8]


def vgg_largefov(
    num_classes: int,
    small_field_of_view: bool = False,
    average_pool5a: bool = True,
    dropout: float = 0.5,
    normalization: str = "imagenet",
) -> LargeFOV:
    """DeepLab-LargeFOV (Chen et al. 2015, SEC §4.1); `average_pool5a` is SEC's extra pool.

    The small field of view has no dilations (SEC §6.2).

    The small net sees 211 px, as SEC says. The large one sees 435 px if the border does not cut its field. SEC's 378 is
    what the centre cell (20, 20) sees of a larger photo, cut at pixel 0 only; that it was measured this way is our
    inference (with three 3×3 pools every uncut field is 3 more than a multiple of 8).
    """
    small = small_field_of_view
    pools: dict[int, nn.Module] = {block: caffe_pool(3, 2 if block < 4 else 1) for block in range(1, 6)}
    layers = vgg_layers(pools, conv5_dilation=1 if small else 2)
    if average_pool5a:  # Caffe's average counts the padding
        layers.add_module("pool5a", nn.AvgPool2d(3, 1, padding=1, count_include_pad=True))
    append_fc(layers, 6, gaussian_conv(512, 1024, 3, 0.01, dilation=1 if small else 12), dropout)
    append_fc(layers, 7, gaussian_conv(1024, 1024, 1, 0.01), dropout)
    return LargeFOV(layers, gaussian_conv(1024, num_classes, 1, 0.01), normalization)


class VGG16Family(Family):
    """The papers' own classifiers and LargeFOV; heads that they do not have are the generic ones."""

    def build(self, name: str, output_stride: int, dilate: bool) -> VGG16Backbone:
        return VGG16Backbone(output_stride, dilate)

    def load(self, trunk: nn.Module, name: str, source: Path | Imagenet, fc_from_pretrained: bool) -> None:
        network = cast(VGGNetwork, trunk)
        if isinstance(source, Path) and source.suffix in (".npz", ".safetensors"):
            load_caffe_vgg16(network, source, fc_from_pretrained=fc_from_pretrained)
        else:
            load_torchvision_vgg16(network, read_state_dict(name, source), fc_from_pretrained)

    def classifier(
        self, name: str, layout: str, num_foreground: int, dropout: float, options: Mapping[str, Any]
    ) -> nn.Module:
        """`options`: `fc_channels` of a plain classifier, `relu_after_fc7` and `deeplab_pool5` of the GAP nets."""
        if layout == "classifier":
            return vgg_classifier(num_foreground, options.get("fc_channels", 1024), dropout)
        kind = cast(GapKind, layout.removeprefix("gap_"))
        relu, pool5 = options.get("relu_after_fc7", True), options.get("deeplab_pool5", False)
        return vgg_gap(kind, num_foreground, relu, dropout, deeplab_pool5=pool5)

    def segmenter(self, name: str, head: str, num_classes: int, dropout: float, average_pool5a: bool) -> nn.Module:
        if head == "aspp":
            return super().segmenter(name, head, num_classes, dropout, average_pool5a)
        return vgg_largefov(num_classes, head == "smallfov", average_pool5a, dropout)


FAMILY = VGG16Family()
