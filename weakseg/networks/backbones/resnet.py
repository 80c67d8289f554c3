"""ResNet-101 as backbone, and DeepLab-v2 with it, the saliency network (Chen et al. 2016; GS §6.1)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from weakseg.errors import UserError
from weakseg.networks.backbone import Backbone
from weakseg.networks.batch_norm import is_batch_norm
from weakseg.networks.family import Family
from weakseg.networks.normalization import Normalization
from weakseg.networks.weights import Imagenet, copy_parameters, read_state_dict

if TYPE_CHECKING:  # otherwise imported on demand: no other network needs it, and it takes most of a second
    from torchvision.models.resnet import ResNet

NAMES = ("resnet101",)

ASPP_RATES = (6, 12, 18, 24)  # at output stride 8


class ResNet101Backbone(Backbone):
    """torchvision's ResNet-101 up to layer4 (2048 channels), output stride 8 or 16, cell i at pixel stride·i.

    The strides of the last stages are dropped and, with `dilate`, replaced by dilation. Batch norm is
    frozen unless `freeze_batch_norm` is false. Input RGB in 0..255 (B, 3, H, W). Raises UserError for any
    other stride.
    """

    channels = out_channels = 2048
    low_channels = 512

    def __init__(
        self,
        output_stride: int = 8,
        dilate: bool = True,
        freeze_batch_norm: bool = True,
        normalization: str = "imagenet",
    ) -> None:
        super().__init__()
        if output_stride not in (8, 16):
            raise UserError(f"output_stride: resnet101 has 8 and 16, not {output_stride}")
        from torchvision.models.resnet import resnet101
        from torchvision.ops import FrozenBatchNorm2d

        norm_layer = FrozenBatchNorm2d if freeze_batch_norm else nn.BatchNorm2d
        dropped = [False, output_stride == 8, True]
        resnet = resnet101(norm_layer=norm_layer, replace_stride_with_dilation=dropped if dilate else None)
        if not dilate:
            _drop_strides(resnet, dropped)
        self.normalization = Normalization(normalization)
        self.trunk = resnet
        self.trunk.fc = nn.Identity()

    def features(self, images: Tensor) -> Tensor:
        """(B, 2048, h, w) at the output stride."""
        return self.from_low(self.stride8(images))

    def stride8(self, images: Tensor) -> Tensor:
        """(B, 512, h8, w8): layer2's output, the counterpart of VGG's conv4_1 for background cues."""
        net = self.trunk
        x = net.maxpool(net.relu(net.bn1(net.conv1(self.normalization(images)))))
        return net.layer2(net.layer1(x))  # type: ignore[no-any-return]

    level_channels = (64, 256, 512, 1024, 2048)

    def levels(self, images: Tensor) -> list[Tensor]:
        """The features of conv1 (behind its pool) and of layer1 to layer4, as IRN takes them (Ahn et al. 2019, §4.2)."""
        net = self.trunk
        found = [net.maxpool(net.relu(net.bn1(net.conv1(self.normalization(images)))))]
        for layer in (net.layer1, net.layer2, net.layer3, net.layer4):
            found.append(layer(found[-1]))
        return found

    def from_low(self, low: Tensor) -> Tensor:
        """The features at the output stride, computed from those at stride 8."""
        return self.trunk.layer4(self.trunk.layer3(low))  # type: ignore[no-any-return]

    def thaw_batch_norm(self) -> None:
        """Replace frozen batch norms by trainable ones, for training from random weights."""
        for module in list(self.trunk.modules()):
            for name, child in list(module.named_children()):
                if is_batch_norm(child) and not isinstance(child, nn.BatchNorm2d):
                    setattr(module, name, nn.BatchNorm2d(len(child.weight), eps=child.eps))

    def load_torchvision(self, state_dict: Mapping[str, Tensor]) -> None:
        """Load torchvision's ImageNet weights (`pretrained.read_state_dict("resnet101")`)."""
        load_torchvision_resnet101(self.trunk, state_dict)
        self.normalization.use("imagenet")


def _drop_strides(resnet: "ResNet", dropped: Sequence[bool]) -> None:
    """Set the strides of layer2 .. layer4 to 1 where `dropped`, without dilation."""
    for layer, drop in zip((resnet.layer2, resnet.layer3, resnet.layer4), dropped, strict=True):
        if drop:
            block = layer[0]
            for conv in (block.conv2, block.downsample[0]):
                assert isinstance(conv, nn.Conv2d)
                conv.stride = (1, 1)


class ASPP(nn.Module):
    """DeepLab-v2's atrous spatial pyramid: the sum of 3×3 convolutions of several dilation rates."""

    def __init__(self, in_channels: int, num_classes: int, rates: Sequence[int] = ASPP_RATES) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Conv2d(in_channels, num_classes, 3, padding=rate, dilation=rate) for rate in rates
        )
        for parameter in self.parameters():  # Caffe's: weights Gaussian, biases 0
            nn.init.normal_(parameter, std=0.01) if parameter.ndim > 1 else nn.init.zeros_(parameter)

    def forward(self, features: Tensor) -> Tensor:
        return torch.stack([branch(features) for branch in self.branches]).sum(0)


class DeepLabV2(nn.Module):
    """ResNet-101 + ASPP: (B, 3, H, W) → logits (B, C, h, w), cell i at pixel stride·i; 321 px → 41×41.

    At output stride 16 the ASPP rates are halved, which keeps the field of view in pixels.
    """

    def __init__(
        self,
        num_classes: int,
        output_stride: int = 8,
        freeze_batch_norm: bool = True,
        normalization: str = "imagenet",
    ) -> None:
        super().__init__()
        self.backbone = ResNet101Backbone(output_stride, True, freeze_batch_norm, normalization)
        self.stride = output_stride
        self.aspp = ASPP(self.backbone.channels, num_classes, [rate * 8 // output_stride for rate in ASPP_RATES])

    def forward(self, images: Tensor) -> Tensor:
        return self.aspp(self.backbone.features(images))  # type: ignore[no-any-return]

    def last_layers(self) -> list[nn.Module]:
        return [self.aspp]


def load_torchvision_resnet101(network: nn.Module, state_dict: Mapping[str, Tensor]) -> None:
    """Start a ResNet-101 trunk (conv1 .. layer4) from torchvision's state dict; `fc` is ignored.

    Raises UserError listing every missing and mis-shaped entry.
    """
    targets = {n: t for n, t in network.state_dict().items() if not n.endswith("num_batches_tracked")}
    copy_parameters(targets, state_dict, "torchvision's resnet101")


class ResNet101Family(Family):
    """DeepLab-v2's head is the paper's own; frozen batch norm does not work with random weights."""

    def build(self, name: str, output_stride: int, dilate: bool) -> ResNet101Backbone:
        return ResNet101Backbone(output_stride, dilate)

    def load(self, trunk: nn.Module, name: str, source: Path | Imagenet, fc_from_pretrained: bool) -> None:
        cast(ResNet101Backbone, trunk).load_torchvision(read_state_dict(name, source))

    def without_weights(self, trunk: nn.Module) -> None:
        cast(ResNet101Backbone, trunk).thaw_batch_norm()

    def segmenter(self, name: str, head: str, num_classes: int, dropout: float, average_pool5a: bool) -> nn.Module:
        if head == "aspp":
            return DeepLabV2(num_classes)
        return super().segmenter(name, head, num_classes, dropout, average_pool5a)


FAMILY = ResNet101Family()
