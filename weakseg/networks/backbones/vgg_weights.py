"""ImageNet's weights for VGG-16's networks, layer by layer."""

from collections.abc import Iterable, Mapping
from typing import Protocol

import torch
from torch import Tensor, nn

from weakseg.networks.normalization import Normalization
from weakseg.networks.weights import copy_parameters

# Positions of conv1_1 .. conv5_3 in torchvision's `vgg16().features`, and of fc6 .. fc8 in its `classifier`.
VGG16_CONVS = {
    "conv1_1": 0, "conv1_2": 2, "conv2_1": 5, "conv2_2": 7, "conv3_1": 10, "conv3_2": 12, "conv3_3": 14,
    "conv4_1": 17, "conv4_2": 19, "conv4_3": 21, "conv5_1": 24, "conv5_2": 26, "conv5_3": 28,
}  # fmt: skip


VGG16_FCS = {"fc6": 0, "fc7": 3, "fc8": 6}


PLAIN_FC_CHANNELS, PLAIN_FC6_KERNEL = 4096, 7


class VGGNetwork(Protocol):
    """VGG-16, a classifier or segmenter of it."""

    normalization: Normalization

    def named_convs(self) -> dict[str, nn.Conv2d]: ...


def load_torchvision_vgg16(network: VGGNetwork, state_dict: Mapping[str, Tensor], fc_from_pretrained: bool) -> None:
    """Load torchvision's vgg16 state dict into a VGG network and use torchvision's normalization.

    `fc_from_pretrained`: fc6 and fc7 are decimated from ImageNet's, as DeepLab did; else they are unchanged. fc8 is
    always unchanged. Raises UserError listing every missing and mis-shaped layer.
    """
    names = {name: f"features.{index}" for name, index in VGG16_CONVS.items()}
    names |= {name: f"classifier.{index}" for name, index in VGG16_FCS.items()}
    layers = {
        f"{name}.{kind}": state_dict[f"{theirs}.{kind}"]
        for name, theirs in names.items()
        for kind in ("weight", "bias")
        if f"{theirs}.{kind}" in state_dict
    }
    load_vgg_layers(network, layers, "torchvision's vgg16", ("fc6", "fc7") if fc_from_pretrained else ())
    network.normalization.use("imagenet")


def load_vgg_layers(network: VGGNetwork, layers: Mapping[str, Tensor], origin: str, fcs: Iterable[str]) -> None:
    """Copy `layers` ("conv1_1.weight", …) into all convolutions below fc6 and into those of `fcs` it has.

    Fully connected weights may be matrices. Plain VGG's fc6 (4096, 25088) and fc7 are decimated if the network is
    smaller. Raises UserError listing every missing and mis-shaped layer; then nothing was copied.
    """
    convs = {n: conv for n, conv in network.named_convs().items() if not n.startswith("fc") or n in set(fcs)}
    targets: dict[str, Tensor] = {f"{name}.weight": conv.weight for name, conv in convs.items()}
    targets |= {f"{name}.bias": conv.bias for name, conv in convs.items() if conv.bias is not None}
    sources = {name: _fit(name, layers[name], targets[name]) for name in targets if name in layers}
    copy_parameters(targets, sources, origin)


def _fit(name: str, source: Tensor, target: Tensor) -> Tensor:
    """A fully connected layer converted to the target's shape if possible; anything else unchanged."""
    if not name.startswith("fc"):
        return source
    if source.ndim == 2 and target.ndim == 4:
        kernel = PLAIN_FC6_KERNEL if name == "fc6.weight" else 1
        if source.shape[1] % kernel**2 == 0:
            source = source.reshape(source.shape[0], -1, kernel, kernel)
    is_plain = name[:3] in ("fc6", "fc7") and source.shape[0] == PLAIN_FC_CHANNELS
    return thin_out(source, target.shape) if is_plain and source.ndim == target.ndim else source


def thin_out(weight: Tensor, shape: torch.Size) -> Tensor:
    """DeepLab's decimation of a fully connected layer: evenly spaced channels and kernel taps.

    Kernels: 7 → 3 keeps taps 0, 3, 6; → 1 the middle one; a 1×1 layer put into 3×3 fills the middle tap, the rest is 0.
    What cannot be decimated to `shape` (channels that do not divide) keeps its own size there.
    """
    for axis in (0, 1):
        if axis < weight.ndim and shape[axis] and weight.shape[axis] % shape[axis] == 0:
            weight = weight[(slice(None),) * axis + (slice(None, None, weight.shape[axis] // shape[axis]),)]
    for axis in range(2, weight.ndim):
        weight = _resize_kernel(weight, axis, shape[axis])
    return weight


def _resize_kernel(weight: Tensor, axis: int, size: int) -> Tensor:
    old = weight.shape[axis]
    if old < size:
        wider = weight.new_zeros([*weight.shape[:axis], size, *weight.shape[axis + 1 :]])
        start = (size - old) // 2
        wider.narrow(axis, start, old).copy_(weight)
        return wider
    taps = torch.linspace(0, old - 1, size).round().long() if size > 1 else torch.tensor([old // 2])
    return weight.index_select(axis, taps)
