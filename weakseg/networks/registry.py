"""Networks by name: the one registry of backbones, layouts and heads.

Every network takes RGB in 0..255 (B, 3, H, W). A classifier returns scores (B, C-1) and can show where they come from;
a segmenter returns logits (B, C, h, w) whose cell i sits at pixel stride·i. `last_layers()` lists the modules that
start from random weights and learn faster.
"""

import functools
import pkgutil
from collections.abc import Mapping
from fnmatch import fnmatchcase
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from weakseg.errors import UserError
from weakseg.networks import backbones
from weakseg.networks.backbone import Backbone
from weakseg.networks.family import Family
from weakseg.networks.heads import HEADS, LAYOUTS, BoundaryNetwork
from weakseg.networks.normalization import Normalization, Numbers
from weakseg.networks.weights import IMAGENET, NONE, Imagenet


@functools.cache
def families() -> dict[str, Family]:
    """By name; a name may be a pattern, such as `timm/*`. Every file of `networks/backbones/` is searched."""
    modules = [
        import_module(f"{backbones.__name__}.{found.name}") for found in pkgutil.iter_modules(backbones.__path__)
    ]
    return {name: module.FAMILY for module in modules for name in getattr(module, "NAMES", ())}


def family_of(backbone: str) -> Family:
    """Raises UserError for an unknown backbone."""
    for name, family in families().items():
        if fnmatchcase(backbone, name):
            return family
    raise UserError(f"backbone: {backbone!r} is unknown; choose one of {', '.join(sorted(families()))}")


def build_backbone(name: str, output_stride: int, dilate: bool) -> Backbone:
    return family_of(name).build(name, output_stride, dilate)


def build_classifier(network: str, backbone: str, num_foreground: int, dropout: float, **options: Any) -> nn.Module:
    """A localization network (SEC §6.1, GS table 6); on VGG-16 the papers' own layouts, elsewhere their counterparts.

    `options` are settings of one family, such as params.yaml's `vgg16`; others ignore them.
    """
    if network not in LAYOUTS:
        raise UserError(f"network: {network!r} is unknown; choose one of {', '.join(LAYOUTS)}")
    return family_of(backbone).classifier(backbone, network, num_foreground, dropout, options)


def build_segmenter(
    head: str, backbone: str, num_classes: int, dropout: float, average_pool5a: bool = False
) -> nn.Module:
    """DeepLab-LargeFOV on VGG-16, DeepLab-v2 on ResNet-101, else `heads.Segmenter`."""
    if head not in HEADS:
        raise UserError(f"head: {head!r} is unknown; choose one of {', '.join(HEADS)}")
    return family_of(backbone).segmenter(backbone, head, num_classes, dropout, average_pool5a)


def build_boundaries(backbone: str) -> BoundaryNetwork:
    """IRN's network of boundaries on the backbone at output stride 16 (Ahn et al. 2019, §4.2)."""
    return BoundaryNetwork(build_backbone(backbone, 16, dilate=True))


def load_pretrained(
    network: nn.Module, backbone: str, source: str | Path, fc_from_pretrained: bool, normalization: str | None = None
) -> None:
    """Start from `source`: `imagenet` (weights of a pip package or of torchvision), `none`, or a file.

    A path that ends in imagenet or none means the same; the file there, if any, says which weights these are. A file of
    weights is torchvision's state dict (.pth) or, for VGG-16, the papers' Caffe weights converted to .npz or
    .safetensors. The network then normalizes as these weights expect, or as the name `normalization` says. Raises
    UserError naming the file that is missing or does not fit.
    """
    family, trunk, path = family_of(backbone), trunk_of(network), Path(source)
    if path.name == NONE:
        family.without_weights(trunk)
    else:
        family.load(trunk, backbone, Imagenet(path) if path.name == IMAGENET else path, fc_from_pretrained)
    if normalization is not None:
        use_normalization(network, normalization)


def trunk_of(network: nn.Module) -> nn.Module:
    """The part that takes ImageNet's weights, and normalizes."""
    trunk: nn.Module = getattr(network, "backbone", network)
    return trunk


def use_normalization(network: nn.Module, name: str | Numbers) -> None:
    """Let the network normalize as weights from elsewhere expect."""
    normalizing_layer(network).use(name)


def normalization_of(network: nn.Module) -> str | Numbers:
    """The input normalization that the loaded weights chose: its name, or its numbers if it has none."""
    return normalizing_layer(network).name


def normalizing_layer(network: nn.Module) -> Normalization:
    """The layer that turns RGB in 0..255 into what the weights expect."""
    normalization: Normalization = trunk_of(network).normalization  # type: ignore[assignment]
    return normalization


def copy_matching(network: nn.Module, weights: Mapping[str, Tensor]) -> int:
    """Copy every tensor of `weights` whose name and shape the network has, except fc8; returns how many."""
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
