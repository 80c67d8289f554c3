"""VGG-16 as both papers change it, in Caffe's layer names."""

from collections import OrderedDict
from collections.abc import Mapping

from torch import Tensor, nn

from weakseg.errors import UserError
from weakseg.networks.backbone import Backbone
from weakseg.networks.normalization import Normalization

# convolutions and output channels of conv1 .. conv5
BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))


def caffe_pool(size: int, stride: int) -> nn.MaxPool2d:
    """3×3 pools are padded to keep cells centred; 2×2 pools are not."""
    return nn.MaxPool2d(size, stride, padding=size // 2 if size == 3 else 0, ceil_mode=True)


def vgg_layers(pools: Mapping[int, nn.Module], conv5_dilation: int = 1) -> nn.Sequential:
    """conv1_1 .. conv5_3 with ReLUs and `pools[k]` after block k, if there is one; He initialization."""
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
        """(B, 512, h8, w8): conv4_1's output before its ReLU, 41×41 at 321 px, where SEC's released code takes gradients."""
        return self._run(self.normalization(images), 0, self._after_stride8())

    def from_low(self, low: Tensor) -> Tensor:
        """`features` computed from `stride8`'s output."""
        return self._run(low, self._after_stride8(), len(self.layers))

    def features(self, images: Tensor) -> Tensor:
        """(B, K, h, w): the last layer's output."""
        return self.from_low(self.stride8(images))

    def named_convs(self) -> dict[str, nn.Conv2d]:
        """Every convolution under its Caffe name, in order."""
        return {name: layer for name, layer in self.layers.named_children() if isinstance(layer, nn.Conv2d)}

    def _after_stride8(self) -> int:
        return [name for name, _ in self.layers.named_children()].index("conv4_1") + 1

    def _run(self, x: Tensor, start: int, stop: int) -> Tensor:
        for layer in list(self.layers)[start:stop]:
            x = layer(x)
        return x


class VGG16Backbone(VGGTrunk, Backbone):
    """conv1_1 .. relu5_3 with DeepLab's 3×3 pools, for generic heads, at output stride 8 or 16.

    At stride 8 pool4 keeps stride 1 and, with `dilate`, conv5 is dilated by 2 to compensate.
    """

    channels = low_channels = out_channels = 512

    def __init__(self, output_stride: int = 8, dilate: bool = True, normalization: str = "imagenet") -> None:
        if output_stride not in (8, 16):
            raise UserError(f"output_stride: vgg16 has 8 and 16, not {output_stride}")
        strides = {1: 2, 2: 2, 3: 2, 4: output_stride // 8}
        pools = {block: caffe_pool(3, stride) for block, stride in strides.items()}
        super().__init__(vgg_layers(pools, conv5_dilation=2 if dilate and output_stride == 8 else 1), normalization)

    level_channels = tuple(channels for _, channels in BLOCKS)

    def levels(self, images: Tensor) -> list[Tensor]:
        """What relu1_2, relu2_2, relu3_3, relu4_3 and relu5_3 give."""
        last = {f"relu{block}_{repeats}" for block, (repeats, _) in enumerate(BLOCKS, start=1)}
        x, found = self.normalization(images), []
        for name, layer in self.layers.named_children():
            x = layer(x)
            if name in last:
                found.append(x)
        return found
