"""VGG-16 and what both papers made of it (SPEC §2, §5; GS table 6).

Every network takes RGB in 0..255 (B, 3, H, W) and normalizes by itself. Layers carry Caffe's names. Pooling
rounds sizes up, as Caffe does: 321 → 161 → 81 → 41 → 21. DeepLab's 3×3 pools keep cell i centred on pixel
stride·i; VGG's own 2×2 pools see pixels stride·i to stride·i + stride − 1.
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from weakseg.backbones import Features
from weakseg.errors import UserError
from weakseg.normalization import Normalization

GapKind = Literal["lowres", "highres", "roi", "deeplab"]
# convolutions and output channels of conv1 .. conv5
BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))
PLAIN_POOL5_PX = 7  # what pool5 leaves of VGG's 224 px input, and fc6's kernel


def _pool(size: int, stride: int) -> nn.MaxPool2d:
    """3×3 pools are padded to keep cells centred; 2×2 pools are not."""
    return nn.MaxPool2d(size, stride, padding=size // 2 if size == 3 else 0, ceil_mode=True)


def vgg_layers(pools: Mapping[int, nn.Module], conv5_dilation: int = 1) -> nn.Sequential:
    """conv1_1 .. conv5_3 with ReLUs and `pools[k]` after block k where there is one; He initialization."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels = 3
    for block, (repeats, out_channels) in enumerate(BLOCKS, start=1):
        dilation = conv5_dilation if block == 5 else 1
        for index in range(1, repeats + 1):
            conv = nn.Conv2d(channels, out_channels, 3, padding=dilation, dilation=dilation)
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(conv.bias) if conv.bias is not None else None
            layers[f"conv{block}_{index}"], layers[f"relu{block}_{index}"] = conv, nn.ReLU()
            channels = out_channels
        if block in pools:
            layers[f"pool{block}"] = pools[block]
    return nn.Sequential(layers)


def gaussian_conv(
    in_channels: int,
    out_channels: int,
    kernel: int,
    std: float,
    *,
    dilation: int = 1,
    padding: int | None = None,
    bias: bool = True,
) -> nn.Conv2d:
    """Caffe's new layer: Gaussian weights, zero bias; keeps the size unless `padding` is given."""
    same = dilation * (kernel // 2)
    pad = same if padding is None else padding
    conv = nn.Conv2d(in_channels, out_channels, kernel, padding=pad, dilation=dilation, bias=bias)
    nn.init.normal_(conv.weight, std=std)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv


def append_fc(layers: nn.Sequential, number: int, conv: nn.Conv2d, dropout: float, relu: bool = True) -> None:
    """fc`number`, its ReLU and its dropout, under Caffe's names."""
    layers.add_module(f"fc{number}", conv)
    if relu:
        layers.add_module(f"relu{number}", nn.ReLU())
    layers.add_module(f"drop{number}", nn.Dropout(dropout))


class VGGTrunk(nn.Module):
    """Normalization, then `layers`, a sequence of named layers from conv1_1 on."""

    def __init__(self, layers: nn.Sequential, normalization: str) -> None:
        super().__init__()
        self.normalization = Normalization(normalization)
        self.layers = layers

    def stride8(self, images: Tensor) -> Tensor:
        """(B, 512, h8, w8): conv4_1's output before its ReLU, 41×41 at 321 px (SPEC §3)."""
        return self._run(self.normalization(images), 0, self._after_stride8())

    def from_stride8(self, low: Tensor) -> Tensor:
        """`features` computed onwards from `stride8`'s output."""
        return self._run(low, self._after_stride8(), len(self.layers))

    def features(self, images: Tensor) -> Tensor:
        """(B, K, h, w): the last layer's output."""
        return self.from_stride8(self.stride8(images))

    def named_convs(self) -> dict[str, nn.Conv2d]:
        """Every convolution under its Caffe name, in order."""
        return {name: layer for name, layer in self.layers.named_children() if isinstance(layer, nn.Conv2d)}

    def _after_stride8(self) -> int:
        return [name for name, _ in self.layers.named_children()].index("conv4_1") + 1

    def _run(self, x: Tensor, start: int, stop: int) -> Tensor:
        for layer in list(self.layers)[start:stop]:
            x = layer(x)
        return x


class VGGClassifier(VGGTrunk):
    """A trunk that ends in drop6 or drop7, global average pooling, and the linear class layer `fc8`."""

    def __init__(self, layers: nn.Sequential, fc8: nn.Conv2d, normalization: str) -> None:
        super().__init__(layers, normalization)
        self.fc8 = fc8

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) → class scores before the sigmoid (B, C-1)."""
        return self.scores_from_stride8(self.stride8(images))

    def scores_from_stride8(self, low: Tensor) -> Tensor:
        """(B, C-1) class scores computed onwards from `stride8`'s output: the mean of the class maps."""
        pooled = self.from_stride8(low).mean((2, 3), keepdim=True)
        return self.fc8(pooled).flatten(1)  # type: ignore[no-any-return]

    def class_maps(self, images: Tensor) -> Tensor:
        """(B, C-1, h, w): sum over channels of features × class weight, without ReLU (SPEC §2)."""
        return self.fc8(self.features(images))  # type: ignore[no-any-return]

    def named_convs(self) -> dict[str, nn.Conv2d]:
        return {**super().named_convs(), "fc8": self.fc8}

    def last_layers(self) -> list[nn.Module]:
        return [self.fc8]


def _gap_layers(kind: GapKind, deeplab_pool5: bool) -> nn.Sequential:
    if kind == "deeplab":
        pools = {block: _pool(3, 2 if block < 4 else 1) for block in range(1, 6 if deeplab_pool5 else 5)}
        return vgg_layers(pools, conv5_dilation=2)
    pools = {block: _pool(2, 2) for block in range(1, 5 if kind == "lowres" else 4)}
    return vgg_layers({**pools, 5: _pool(3, 1)} if kind == "roi" else pools)


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
    """Zero-pads a map smaller than fc6's 7×7 kernel up to it; larger maps pass unchanged."""

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
    """VGG-16 as multi-label classifier: SEC's background net, GS's backprop seeders and G1 (SPEC §2).

    The fully connected layers are convolutions (fc6 7×7 without padding), so at 224 px this is plain VGG-16,
    score for score, and ImageNet's fc6 fits. A larger input gives several positions (321 px: 11×11 after
    pool5, 5×5 after fc6), and the score is their mean. Inputs under 193 px are zero-padded after pool5.
    """
    layers = vgg_layers({block: _pool(2, 2) for block in range(1, 6)})
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
    """SPEC §5; `average_pool5a` is SEC's extra pool, the small field of view undoes the dilations (SEC §6.2).

    The small net sees 211 px, as SEC says. The large one sees 435 px when nothing cuts its field off. SEC's
    378 equals what the centre cell (20, 20) sees of a larger photo, cut off at pixel 0 only; that it was
    measured so is our inference (with three 3×3 pools every uncut field is 3 more than a multiple of 8).
    """
    small = small_field_of_view
    pools: dict[int, nn.Module] = {block: _pool(3, 2 if block < 4 else 1) for block in range(1, 6)}
    layers = vgg_layers(pools, conv5_dilation=1 if small else 2)
    if average_pool5a:  # Caffe's average counts the padding
        layers.add_module("pool5a", nn.AvgPool2d(3, 1, padding=1, count_include_pad=True))
    append_fc(layers, 6, gaussian_conv(512, 1024, 3, 0.01, dilation=1 if small else 12), dropout)
    append_fc(layers, 7, gaussian_conv(1024, 1024, 1, 0.01), dropout)
    return LargeFOV(layers, gaussian_conv(1024, num_classes, 1, 0.01), normalization)


class VGG16Backbone(VGGTrunk):
    """conv1_1 .. relu5_3 with DeepLab's 3×3 pools, for generic heads, at output stride 8 or 16.

    At stride 8 pool4 keeps stride 1 and, with `dilate`, conv5 is dilated by 2 to make up for it.
    """

    channels = low_channels = out_channels = 512

    def __init__(self, output_stride: int = 8, dilate: bool = True, normalization: str = "imagenet") -> None:
        if output_stride not in (8, 16):
            raise UserError(f"output_stride: vgg16 has 8 and 16, not {output_stride}")
        strides = {1: 2, 2: 2, 3: 2, 4: output_stride // 8}
        pools = {block: _pool(3, stride) for block, stride in strides.items()}
        super().__init__(vgg_layers(pools, conv5_dilation=2 if dilate and output_stride == 8 else 1), normalization)

    def forward(self, images: Tensor) -> Features:
        low = self.stride8(images)
        return Features(low, self.from_stride8(low))

    def from_low(self, low: Tensor) -> Tensor:
        """The features at the output stride, computed onwards from those at stride 8."""
        return self.from_stride8(low)
